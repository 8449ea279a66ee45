package own

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/web"
)

// errNoPicture is the error of a request whose verb needs a picture.
func (q *query) errNoPicture() error {
	return web.Badf("%s needs a picture: a file of the field image", q.verb.name)
}

// caption describes pictures.
func (q *query) caption() error {
	options, err := api.ParseGeneration(q.values)
	if err != nil {
		return err
	}
	raw := q.value("raw-prompt")
	if len(q.files["image"]) == 0 && raw == "" {
		return q.errNoPicture()
	}
	release, err := q.use(q.service.Catalog.For("caption"))
	if err != nil {
		return err
	}
	defer release()
	settings := api.Settings{}
	if raw != "" {
		settings["raw_prompt"] = raw
	}
	if err := q.made(settings, options); err != nil {
		return err
	}
	write := func(ctx context.Context, name string, request pipeline.Request, start time.Time) ([]any, error) {
		texts, err := q.m.Write(ctx, request, nil, options...)
		if err != nil {
			return nil, err
		}
		var confidence *pipeline.Confidence
		if name != "" {
			confidence = q.m.P.CaptionConfidence(texts[0].Tokens)
		}
		line := api.NewCaption(name, texts, confidence, time.Since(start).Seconds())
		line.Origin = q.origin
		line.Places, err = q.placesOf(request, texts[0].Text)
		return []any{line}, err
	}
	if len(q.files["image"]) == 0 {
		q.lines, err = write(q.ctx, "", pipeline.Request{Prompt: raw}, time.Now())
		return err
	}
	return q.each("image", q.pictureFailure, func(ctx context.Context, name string, data []byte, start time.Time) ([]any, error) {
		picture, err := q.m.Picture(ctx, data)
		if err != nil {
			return nil, err
		}
		return write(ctx, name, pipeline.Request{Item: picture, Prompt: raw}, start)
	})
}

// placesOf are the places in its picture that a text names; none where the model names none.
func (q *query) placesOf(request pipeline.Request, text string) ([]pipeline.Place, error) {
	if !q.m.Can.Find || request.Item == nil {
		return nil, nil
	}
	found, err := q.m.P.Find(request, text)
	return found.Places, err
}

// asked is what a request of ask asks about each picture.
type asked struct {
	questions, choices []string
	raw                string
	shots              []pipeline.Shot
	options            []pipeline.GenerateOption
}

// ask answers questions about pictures, or without one where the model reads texts alone.
func (q *query) ask() error {
	a, err := q.readAsked()
	if err != nil {
		return err
	}
	documents, page, err := q.asksDocuments()
	if err != nil {
		return err
	}
	if documents {
		return q.askDocuments(a, page)
	}
	usual := q.service.Catalog.For("ask")
	if len(q.files["shot"]) > 0 {
		usual = mini.Flamingo
	}
	release, err := q.use(usual)
	if err != nil {
		return err
	}
	defer release()
	if err := q.readShots(a); err != nil {
		return err
	}
	settings := api.Settings{}
	if len(a.questions) == 1 {
		settings["question"] = a.questions[0]
	} else {
		settings.SetList("questions", a.questions)
	}
	if a.raw != "" {
		settings["raw_prompt"] = a.raw
	}
	settings.SetList("choices", a.choices)
	if err := q.made(settings, a.options); err != nil {
		return err
	}
	if len(q.files["image"]) == 0 {
		if len(a.choices) > 0 || len(a.shots) > 0 || q.m.Can.Takes(media.Pictures) && !q.m.Can.Chat && a.raw == "" {
			return q.errNoPicture()
		}
		q.lines, err = q.answers(q.ctx, a, "", nil, time.Now())
		return err
	}
	return q.each("image", q.pictureFailure, func(ctx context.Context, name string, data []byte, start time.Time) ([]any, error) {
		picture, err := q.m.Picture(ctx, data)
		if err != nil {
			return nil, err
		}
		return q.answers(ctx, a, name, picture, start)
	})
}

// readAsked reads the fields of ask that are texts.
func (q *query) readAsked() (*asked, error) {
	a := &asked{questions: q.values["question"], raw: q.value("raw-prompt")}
	for _, choice := range append(slices.Clone(q.values["choice"]), q.values["choices"]...) {
		a.choices = append(a.choices, strings.TrimSpace(choice))
	}
	if err := distinct("choice", a.choices); err != nil {
		return nil, err
	}
	switch {
	case a.raw != "" && len(a.questions)+len(a.choices) > 0:
		return nil, web.Badf("raw-prompt takes the place of questions, and knows no choices")
	case a.raw != "":
		a.questions = []string{a.raw}
	case len(a.questions) == 0:
		return nil, web.Badf("ask needs the field question")
	}
	for _, question := range a.questions {
		if strings.TrimSpace(question) == "" {
			return nil, fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
		}
	}
	if len(a.choices) > 0 {
		for _, name := range api.GenerationNames() {
			if len(q.values[name]) > 0 {
				return nil, web.Badf("%s has no effect with choices", name)
			}
		}
	}
	if n, texts := len(q.files["shot"]), len(q.values["shot-text"]); n != texts {
		return nil, web.Badf("there are %d examples (shot) and %d texts of them (shot-text)", n, texts)
	}
	var err error
	a.options, err = api.ParseGeneration(q.values)
	return a, err
}

// readShots reads the examples' pictures.
func (q *query) readShots(a *asked) error {
	for i, f := range q.files["shot"] {
		picture, err := q.m.Picture(q.ctx, f.Data)
		if err != nil {
			return fmt.Errorf("example %d: %w", i+1, err)
		}
		a.shots = append(a.shots, pipeline.Shot{Item: picture, Text: q.values["shot-text"][i]})
	}
	return nil
}

// answers answers the questions about a picture; nil stands for none.
func (q *query) answers(
	ctx context.Context, a *asked, name string, picture media.Item, start time.Time,
) (lines []any, err error) {
	var requests []pipeline.Request
	for _, question := range a.questions {
		r := pipeline.Request{Item: picture, Shots: a.shots, Question: question, Prompt: a.raw}
		requests = append(requests, r)
	}
	var answers []api.Answer
	add := func(answer api.Answer) { answers = append(answers, answer) }
	about := func() api.Question { return api.Question{Image: api.Name(name), Question: a.questions[len(answers)]} }
	if len(a.choices) > 0 {
		for scored, err := range api.ChooseEach(ctx, q.m.P, requests, a.choices) {
			if err != nil {
				return nil, err
			}
			add(api.NewChosen(about(), scored, 0))
		}
	} else {
		for _, r := range requests {
			texts, err := q.m.Write(ctx, r, nil, a.options...)
			if err != nil {
				return nil, err
			}
			answer := api.NewAnswer(about(), texts, 0)
			if answer.Places, err = q.placesOf(r, answer.Answer); err != nil {
				return nil, err
			}
			add(answer)
		}
	}
	seconds := time.Since(start).Seconds() / float64(len(answers))
	for _, answer := range answers {
		answer.Seconds, answer.Origin = seconds, q.origin
		lines = append(lines, answer)
	}
	return lines, nil
}

// distinct refuses texts that are empty or stand there twice, and would share a probability.
func distinct(what string, texts []string) error {
	for i, text := range texts {
		switch {
		case strings.TrimSpace(text) == "":
			return fmt.Errorf("%w: %s %d is empty", pipeline.ErrPrompt, what, i+1)
		case slices.Contains(texts[:i], text):
			return web.Badf("the %s %q is given twice, and would share its probability", what, web.Shortened(text))
		}
	}
	return nil
}

// item reads a picture for models that compare it.
func (q *query) item(data []byte) ([]media.Item, error) {
	img, err := q.m.Image(data)
	return []media.Item{media.Picture{Image: img}}, err
}

// only is the one result for one input, or its error.
func only[T any](list []T, err error) (one T, _ error) {
	if failed := pipeline.ItemErrors(err); len(failed) == 1 {
		err = failed[0].Err
	}
	if err != nil {
		return one, err
	}
	return list[0], nil
}

// match compares pictures with texts.
func (q *query) match() error {
	texts := q.values["text"]
	if err := distinct("text", texts); err != nil {
		return err
	}
	if len(q.files["image"]) == 0 {
		return q.errNoPicture()
	}
	release, err := q.use(q.service.Catalog.For("match"))
	if err != nil {
		return err
	}
	defer release()
	settings := api.Settings{}
	settings.SetList("texts", texts)
	if err := q.made(settings, nil); err != nil {
		return err
	}
	return q.each("image", q.pictureFailure, func(ctx context.Context, name string, data []byte, _ time.Time) (lines []any, err error) {
		items, err := q.item(data)
		if err != nil {
			return nil, err
		}
		matches, err := only(q.m.P.MatchItems(ctx, items, texts...))
		for _, m := range matches {
			line := api.NewMatch(name, m)
			line.Origin = q.origin
			lines = append(lines, line)
		}
		return lines, err
	})
}

// classify gives labels probabilities.
func (q *query) classify() error {
	labels := slices.Clone(q.values["label"])
	for _, label := range q.values["labels"] {
		labels = append(labels, strings.TrimSpace(label))
	}
	if err := distinct("label", labels); err != nil {
		return err
	}
	top, err := strconv.Atoi(cmp.Or(q.value("top"), "0"))
	if err != nil || top < 0 {
		return web.Badf("top is %q; it is a whole number of 0 or more", web.Shortened(q.value("top")))
	}
	if len(q.files["image"]) == 0 {
		return q.errNoPicture()
	}
	release, err := q.use(q.service.Catalog.For("classify"))
	if err != nil {
		return err
	}
	defer release()
	most := len(labels)
	settings := api.Settings{}
	settings.SetList("labels", labels)
	if most == 0 {
		own, err := q.m.P.Classes()
		if err != nil && q.m.Can.Match {
			err = web.Badf("classify needs the field label, or labels with commas between")
		}
		if err != nil {
			return err
		}
		most = len(own)
	}
	if top > 0 && top < most {
		most, settings["top"] = top, top
	}
	if err := q.made(settings, nil); err != nil {
		return err
	}
	return q.each("image", q.pictureFailure, func(ctx context.Context, name string, data []byte, _ time.Time) (lines []any, err error) {
		scored, err := q.m.Classify(ctx, data, labels...)
		for _, label := range scored[:min(most, len(scored))] {
			line := api.NewLabel(name, label)
			line.Origin = q.origin
			lines = append(lines, line)
		}
		return lines, err
	})
}

// embed embeds pictures, and texts behind them.
func (q *query) embed() error {
	texts := q.values["text"]
	if len(q.files["image"])+len(texts) == 0 {
		return web.Badf("embed needs a file of the field image, or the field text")
	}
	for i, text := range texts {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%w: text %d is empty", pipeline.ErrPrompt, i+1)
		}
	}
	release, err := q.use(q.service.Catalog.For("embed"))
	if err != nil {
		return err
	}
	defer release()
	if err := q.made(api.Settings{}, nil); err != nil {
		return err
	}
	err = q.each("image", q.pictureFailure, func(ctx context.Context, name string, data []byte, _ time.Time) ([]any, error) {
		vector, err := only(q.m.EmbedPictures(ctx, data))
		return []any{api.Embedding{Image: api.Name(name), Embedding: vector, Origin: q.origin}}, err
	})
	if err != nil || len(texts) == 0 {
		return err
	}
	vectors, err := q.m.EmbedTexts(q.ctx, texts...)
	if err != nil {
		return err
	}
	for i, v := range vectors {
		q.lines = append(q.lines, api.Embedding{Text: texts[i], Embedding: v, Origin: q.origin})
	}
	return nil
}

// attend says where the model looked in a picture.
func (q *query) attend() error {
	options, err := api.ParseGeneration(q.values)
	if err != nil {
		return err
	}
	picks, rollout, err := q.picks()
	if err != nil {
		return err
	}
	text, written := q.value("text"), len(q.values["text"]) > 0
	switch n := len(q.files["image"]); {
	case n != 1:
		return web.Badf("attend takes one picture, and there are %d files of the field image", n)
	case written && strings.TrimSpace(text) == "":
		return web.Badf("text is empty")
	case written && len(options) > 0:
		return web.Badf("parameters of decoding have no effect with text")
	}
	release, err := q.use(q.service.Catalog.For("attend"))
	if err != nil {
		return err
	}
	defer release()
	img, err := q.m.Image(q.files["image"][0].Data)
	if err != nil {
		return err
	}
	request := pipeline.Request{Image: img, Question: strings.TrimSpace(q.value("question"))}
	var a *pipeline.Attention
	if written {
		a, err = q.m.P.AttendText(q.ctx, request, text)
	} else {
		a, err = q.m.P.Attend(q.ctx, request, options...)
	}
	if err != nil {
		return err
	}
	if rollout {
		picks = slices.Repeat([]pipeline.Pick{{Rollout: true}}, len(a.Stages))
	}
	v, err := api.NewAttentionView(a, cmp.Or(q.files["image"][0].Name, unnamed), request.Question, picks...)
	if err != nil {
		return err
	}
	v.MadeBy = api.MadeBy{Model: q.m.P.Bundle().Name, Engine: q.m.P.Engine().Name(), Version: q.version}
	data, err := v.Data()
	q.lines = []any{data}
	return err
}

// picks reads what chooses among the maps.
func (q *query) picks() (picks []pipeline.Pick, rollout bool, err error) {
	if text := q.value("rollout"); text != "" {
		if rollout, err = strconv.ParseBool(text); err != nil {
			return nil, false, web.Badf("rollout is %q, not true or false", web.Shortened(text))
		}
	}
	if rollout && len(q.values["pick"]) > 0 {
		return nil, false, web.Badf("rollout and pick exclude each other")
	}
	for _, text := range q.values["pick"] {
		p, err := api.ParsePick(text)
		if err != nil {
			return nil, false, err
		}
		picks = append(picks, p)
	}
	return picks, rollout, nil
}
