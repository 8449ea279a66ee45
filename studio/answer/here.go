package answer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/studio"
)

// here has a model of the server answer, in the way that it can.
func (d *Desk) here(ctx context.Context, q Question, w *writer) error {
	m, release, err := d.Serving.Use(ctx, q.Model.Name)
	if err != nil {
		return err
	}
	defer release()
	switch {
	case m.Can.Transcribe && !m.Can.Chat:
		return d.hear(ctx, m, q, w)
	case m.Can.Read:
		return d.readPages(ctx, q, w)
	case m.Can.Write || m.Can.Pick:
		return d.write(ctx, m, q, w)
	case m.Can.Match || m.Can.Classify:
		return d.classify(ctx, m, q, w)
	}
	return cannot("%s writes nothing; it serves search", m.Name)
}

// attached finds the attachments of some kinds in a conversation: those of the last message that has any.
func attached(branch []*studio.Message, kinds ...studio.Kind) []studio.Part {
	for _, m := range slices.Backward(branch) {
		var found []studio.Part
		for _, p := range m.Parts {
			if m.Role == studio.RoleUser && slices.Contains(kinds, p.Kind) {
				found = append(found, p)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// generation reads the settings of writing.
func generation(settings map[string]any, used func(string, any)) ([]pipeline.GenerateOption, error) {
	values := map[string][]string{}
	set := func(name, field string, n float64) {
		values[field] = []string{strconv.FormatFloat(n, 'f', -1, 64)}
		used(name, n)
	}
	if t, ok := number(settings, "temperature"); ok && t > 0 {
		values["do-sample"] = []string{"true"}
		set("temperature", "temperature", t)
		if seed, ok := number(settings, "seed"); ok && seed >= 0 {
			set("seed", "seed", float64(uint64(seed)))
		}
	}
	if n, ok := number(settings, "max_new_tokens"); ok && n >= 1 {
		set("max_new_tokens", "max-new-tokens", float64(int(n)))
	}
	return api.ParseGeneration(values)
}

// write has a model write.
func (d *Desk) write(ctx context.Context, m *serving.Model, q Question, w *writer) error {
	options, err := generation(q.Settings, w.used)
	if err != nil {
		return err
	}
	w.used("task", TaskWrite)
	if several := apart(m, q.Branch); several != nil {
		for i, p := range several {
			w.say(strings.Repeat("\n\n", min(i, 1)) + heading(p))
			q.Branch = alone(q.Branch, p)
			if err := d.writeOne(ctx, m, q, w, options); err != nil {
				return err
			}
		}
		w.reply.Answer.Confidence, w.reply.Answer.Unsure = nil, false // of the last one alone
		return nil
	}
	return d.writeOne(ctx, m, q, w, options)
}

// apart are the pictures of a question that a model answers about one by one, nil where there is one alone or the
// model takes several.
func apart(m *serving.Model, branch []*studio.Message) []studio.Part {
	pictures := attached(branch, studio.KindPicture)
	if m.Can.Chat || m.Can.Examples || len(pictures) < 2 {
		return nil
	}
	return pictures
}

// alone is the last question of a conversation, about one attachment.
func alone(branch []*studio.Message, p studio.Part) []*studio.Message {
	last := *branch[len(branch)-1]
	parts := []studio.Part{p}
	if text := last.Text(); text != "" {
		parts = append(parts, studio.TextPart(text))
	}
	last.Parts = parts
	return []*studio.Message{&last}
}

// heading stands before the answer about one picture of several.
func heading(p studio.Part) string {
	return "**" + strings.Map(func(r rune) rune {
		if strings.ContainsRune("*_`[]<>\\", r) {
			return -1
		}
		return r
	}, p.Name) + "** "
}

// writeOne has a model write an answer behind what is said already.
func (d *Desk) writeOne(
	ctx context.Context, m *serving.Model, q Question, w *writer, options []pipeline.GenerateOption,
) error {
	from := w.text.Len()
	messages, _, err := d.messages(ctx, m, q, true)
	if err != nil {
		return err
	}
	r := m.Conversation(messages)
	if r.Item == nil && len(r.Parts)+len(r.Messages) == 0 && len(m.Can.Media) > 0 {
		return cannot("%s answers about %s: attach one", m.Name, kindsOf(m.Can.Media))
	}
	var pieces serving.Pieces
	emit := func(t pipeline.Token) bool {
		text, _ := pieces.Push(t.Text)
		w.say(text)
		return ctx.Err() == nil
	}
	if !m.Can.Write {
		emit = nil
	}
	texts, err := m.Write(ctx, r, emit, options...)
	if err != nil {
		return err
	}
	t := texts[0]
	if emit == nil {
		w.say(strings.TrimSpace(t.Text))
	} else {
		w.say(pieces.End())
	}
	a := &w.reply.Answer
	a.Tokens += len(t.Tokens)
	a.Prompt += t.PromptTokens
	confidence := t.Confidence
	if confidence == nil && r.Question == "" && len(r.Messages) == 0 && r.Item != nil {
		confidence = m.P.CaptionConfidence(t.Tokens)
	}
	if confidence != nil {
		a.Confidence, a.Unsure = &confidence.Probability, confidence.Unsure
	}
	for _, word := range wordsOf(w.text.String()[from:], t.Tokens) {
		word.From, word.To = word.From+from, word.To+from
		a.Words = append(a.Words, word)
	}
	return ctx.Err()
}

// kindsOf names kinds of media for people.
func kindsOf(kinds []media.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, "a "+string(k))
	}
	return strings.Join(names, " or ")
}

// messages makes a conversation for a model, and says which attachment each item is. prepared says that pictures
// may be those that the server keeps encoded.
func (d *Desk) messages(
	ctx context.Context, m *serving.Model, q Question, prepared bool,
) (list []pipeline.Message, shown []studio.Part, err error) {
	if q.Persona != nil && q.Persona.Instructions != "" {
		list = append(list, pipeline.Message{Role: pipeline.RoleSystem, Text: q.Persona.Instructions})
	}
	for i, said := range q.Branch {
		one := pipeline.Message{Role: string(said.Role), Text: said.Text()}
		for _, p := range said.Parts {
			if said.Role != studio.RoleUser {
				continue
			}
			// Models without a template answer about what was shown last: earlier files are not read.
			if !m.Can.Chat && i < len(q.Branch)-1 && attached(q.Branch[i+1:], studio.KindPicture, studio.KindPage, studio.KindSound, studio.KindFilm) != nil {
				continue
			}
			items, text, err := d.items(ctx, m, p, prepared)
			if err != nil {
				return nil, nil, err
			}
			one.Items = append(one.Items, items...)
			for range items {
				shown = append(shown, p)
			}
			if text != "" {
				one.Text = "[" + p.Name + "]\n" + text + "\n\n" + one.Text
			}
		}
		if one.Text != "" || len(one.Items) > 0 {
			list = append(list, one)
		}
	}
	return list, shown, nil
}

// items makes of an attachment what a model reads: items, or else a text.
func (d *Desk) items(
	ctx context.Context, m *serving.Model, p studio.Part, prepared bool,
) (items []media.Item, text string, err error) {
	refuse := func() error { return cannot("%s cannot take %s, which is a %s", m.Name, p.Name, p.Kind) }
	sees := m.Can.Takes(media.Pictures) || m.Can.Takes(media.Regions)
	switch p.Kind {
	case studio.KindPicture:
		if !sees {
			return nil, "", refuse()
		}
		data, err := d.read(ctx, p)
		if err != nil {
			return nil, "", err
		}
		if prepared {
			item, err := m.Picture(ctx, data)
			return []media.Item{item}, "", named(p, err)
		}
		img, err := m.Image(data)
		return []media.Item{media.Picture{Image: img}}, "", named(p, err)
	case studio.KindFilm:
		if !sees {
			return nil, "", refuse()
		}
		n := 1
		if m.Can.Chat {
			n = 4
		}
		frames, err := d.frames(ctx, p, n)
		for _, f := range frames {
			items = append(items, media.Picture{Image: f})
		}
		return items, "", err
	case studio.KindSound:
		if !m.Can.Takes(media.Sounds) {
			return nil, "", refuse()
		}
		data, err := d.read(ctx, p)
		if err != nil {
			return nil, "", err
		}
		sound, err := m.Sound(ctx, data)
		return []media.Item{sound}, "", named(p, err)
	case studio.KindPage, studio.KindFile:
		if m.Can.Chat {
			text, err := d.textOf(ctx, p)
			return nil, text, err
		}
		if !sees {
			return nil, "", refuse()
		}
		doc, err := d.Paged(ctx, p)
		if err != nil {
			return nil, "", err
		}
		defer doc.Close()
		img, err := doc.Render(ctx, 1, 100)
		return []media.Item{media.Picture{Image: img}}, "", err
	}
	return nil, "", nil
}

// named names an attachment in an error.
func named(p studio.Part, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", p.Name, err)
}

// classify says how well the words of the last message fit a picture.
func (d *Desk) classify(ctx context.Context, m *serving.Model, q Question, w *writer) error {
	pictures := attached(q.Branch, studio.KindPicture)
	text := q.Branch[len(q.Branch)-1].Text()
	var labels []string
	for _, label := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == ';' }) {
		if label = strings.TrimSpace(label); label != "" && !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	switch {
	case len(pictures) == 0:
		return cannot("%s says how well words fit a picture: attach one", m.Name)
	case len(labels) == 0 && !m.Can.Classify || m.Can.Match && len(labels) == 1:
		return cannot("%s chooses among words: write two or more with commas between, such as: a circle, a square", m.Name)
	}
	w.used("task", TaskClassify)
	for i, p := range pictures {
		data, err := d.read(ctx, p)
		if err != nil {
			return err
		}
		scored, err := m.Classify(ctx, data, labels...)
		if err != nil {
			return named(p, err)
		}
		if len(pictures) > 1 {
			w.say(fmt.Sprintf("%s**%s**\n\n", strings.Repeat("\n", min(i, 1)), p.Name))
		}
		for _, s := range scored[:min(len(scored), 10)] {
			w.say(fmt.Sprintf("- %s — %.0f %%\n", s.Label, 100*s.Probability))
		}
		if len(pictures) == 1 && len(scored) > 0 {
			best := scored[0].Probability
			w.reply.Answer.Confidence, w.reply.Answer.Unsure = &best, best < 0.5
		}
	}
	return nil
}

// hear writes down what is said in the sound of the conversation, each word with its time.
func (d *Desk) hear(ctx context.Context, m *serving.Model, q Question, w *writer) error {
	sounds := attached(q.Branch, studio.KindSound, studio.KindFilm)
	if len(sounds) == 0 {
		return cannot("%s writes down what is said in a sound: attach one", m.Name)
	}
	option := func(t *pipeline.Transcription) {
		t.Words = true
		if language, _ := q.Settings["language"].(string); language != "" {
			t.Language = language
		}
		if task, _ := q.Settings["task"].(string); task == TaskTranslate {
			t.Task = task
		}
	}
	task := TaskTranscribe
	if q.Settings["task"] == TaskTranslate {
		task = TaskTranslate
	}
	w.used("task", task)
	if language, _ := q.Settings["language"].(string); language != "" {
		w.used("language", language)
	}
	for i, p := range sounds {
		if i > 0 {
			w.say("\n\n")
		}
		if err := d.hearOne(ctx, m, p, w, option); err != nil {
			return named(p, err)
		}
	}
	return nil
}

func (d *Desk) hearOne(
	ctx context.Context, m *serving.Model, p studio.Part, w *writer, option pipeline.TranscribeOption,
) error {
	data, err := d.read(ctx, p)
	if err != nil {
		return err
	}
	options := []audio.Option{audio.WithRate(m.P.HearingRate())}
	if p.Kind == studio.KindSound {
		options = append(options, audio.WithoutFFmpeg())
	}
	stream, err := audio.Open(ctx, bytes.NewReader(data), options...)
	if err != nil {
		return err
	}
	defer stream.Close()
	begun := w.text.Len()
	for segment, err := range m.P.Segments(ctx, stream, option) {
		if err != nil {
			return err
		}
		text := segment.Text
		if w.text.Len() == begun {
			text = strings.TrimLeft(text, " ")
		}
		from := w.text.Len()
		w.say(text)
		w.reply.Answer.Tokens += len(segment.IDs)
		at := aligner{text: w.text.String(), at: from}
		for _, spoken := range segment.Words {
			word, ok := at.next(spoken.Text)
			if !ok {
				continue
			}
			word.LogProb = logOf(spoken.Probability)
			word.Sources = []studio.Source{{Blob: p.Blob, Start: spoken.Start, End: spoken.End, Label: strings.TrimSpace(spoken.Text)}}
			w.reply.Answer.Words = append(w.reply.Answer.Words, word)
		}
	}
	if w.text.Len() == begun {
		w.say("(nobody speaks)")
	}
	return nil
}
