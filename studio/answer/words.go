package answer

import (
	"context"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/studio"
)

// aligner finds words in a text, one after the other.
type aligner struct {
	text string
	at   int
}

// next finds a word behind those before.
func (a *aligner) next(word string) (studio.Word, bool) {
	word = strings.TrimSpace(word)
	i := strings.Index(a.text[a.at:], word)
	if word == "" || i < 0 {
		return studio.Word{}, false
	}
	from := a.at + i
	a.at = from + len(word)
	return studio.Word{From: from, To: a.at}, true
}

// leastLogProb stands for the logarithm of nothing, which JSON has no word for.
const leastLogProb = -9999

func logOf(probability float64) *float64 {
	l := leastLogProb + 0.0
	if probability > 0 {
		l = math.Log(probability)
	}
	return &l
}

// wordsOf are the words of a text that a model wrote, with their probabilities. The text is that of the tokens
// without white space around it.
func wordsOf(text string, tokens []pipeline.Token) []studio.Word {
	var whole strings.Builder
	for _, t := range tokens {
		whole.WriteString(t.Text)
	}
	skip := strings.Index(whole.String(), text)
	if text == "" || skip < 0 {
		return nil
	}
	var words []studio.Word
	at := aligner{text: text}
	for _, f := range strings.Fields(text) {
		word, _ := at.next(f)
		words = append(words, word)
	}
	from, i := -skip, 0
	for _, t := range tokens {
		to := from + len(t.Text)
		begins := from + len(t.Text) - len(strings.TrimLeftFunc(t.Text, unicode.IsSpace))
		for i < len(words)-1 && begins >= words[i].To {
			i++
		}
		if begins < to && to > words[i].From && begins < words[i].To {
			l := max(t.LogProb, leastLogProb)
			if words[i].LogProb != nil {
				l += *words[i].LogProb
			}
			words[i].LogProb = &l
		}
		from = to
	}
	return words
}

// Trace finds where each word of an answer came from, for an answer whose words have no sources yet: in the
// picture by the model's attention, in documents by what stands there. The model is opened for it if need be.
// The result may have no sources: models without attention, answers about nothing.
func (d *Desk) Trace(ctx context.Context, q Question, answer *studio.Message) ([]studio.Word, error) {
	text := answer.Text()
	if text == "" || answer.Answer == nil {
		return nil, nil
	}
	if attached(q.Branch, studio.KindPage) != nil {
		words, err := d.quoted(ctx, q.Branch, text)
		if err != nil || q.Model.Upstream != "" || slices.ContainsFunc(words, func(w studio.Word) bool { return w.Sources != nil }) {
			return withLogProbs(words, answer.Answer.Words), err
		}
	}
	pictures := attached(q.Branch, studio.KindPicture)
	if len(pictures) == 0 || q.Model.Upstream != "" {
		return nil, nil
	}
	m, release, err := d.Serving.Use(ctx, q.Model.Name)
	if err != nil {
		return nil, err
	}
	defer release()
	if !m.Can.Attend {
		return nil, nil
	}
	var words []studio.Word
	if several := apart(m, q.Branch); several != nil && !m.Can.Embed {
		words, err = d.lookedApart(ctx, m, q, text, several)
	} else {
		words, err = d.looked(ctx, m, q, text)
	}
	return withLogProbs(words, answer.Answer.Words), err
}

// withLogProbs gives words the probabilities of those that stand in their places.
func withLogProbs(words, known []studio.Word) []studio.Word {
	for i := range words {
		if k := slices.IndexFunc(known, func(w studio.Word) bool { return w.From == words[i].From }); k >= 0 {
			words[i].LogProb = known[k].LogProb
		}
	}
	return words
}

// lookedApart is looked for the answers about several pictures, each behind its heading.
func (d *Desk) lookedApart(
	ctx context.Context, m *serving.Model, q Question, text string, pictures []studio.Part,
) (words []studio.Word, err error) {
	at := 0
	for i, p := range pictures {
		from := strings.Index(text[at:], heading(p))
		if from < 0 {
			break // the answer was stopped
		}
		from += at + len(heading(p))
		to := len(text)
		if i+1 < len(pictures) {
			if next := strings.Index(text[from:], heading(pictures[i+1])); next >= 0 {
				to = from + next
			}
		}
		one := q
		one.Branch = alone(q.Branch, p)
		some, err := d.looked(ctx, m, one, strings.TrimSpace(text[from:to]))
		if err != nil {
			return words, err
		}
		for _, w := range some {
			w.From, w.To = w.From+from, w.To+from
			words = append(words, w)
		}
		at = to
	}
	return words, nil
}

// looked has a model write a text again under watch, and says where it looked for each word.
func (d *Desk) looked(ctx context.Context, m *serving.Model, q Question, text string) ([]studio.Word, error) {
	messages, shown, err := d.messages(ctx, m, q, false)
	if err != nil || len(shown) == 0 {
		return nil, err
	}
	r := m.Conversation(messages)
	if picture, ok := r.Item.(media.Picture); ok { // by which regions are found
		r.Image, r.Item = picture.Image, nil
	}
	last := shown[len(shown)-1]
	var a *pipeline.Attention
	switch {
	case m.Can.Write:
		a, err = m.P.AttendText(ctx, r, text)
	case m.Can.Embed:
		a, err = m.P.Attend(ctx, pipeline.Request{Image: r.Image, Question: r.Question})
	default:
		a, err = m.P.Attend(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	attention := a.Words()
	if a.Boxes != nil || m.Can.Embed { // of the question, or of the picture as a whole
		return shared(a, attention, last.Blob, text)
	}
	most, err := a.Greatest(attention)
	if err != nil {
		return nil, err
	}
	var words []studio.Word
	at := aligner{text: text}
	for _, w := range attention {
		word, ok := at.next(w.Text)
		if !ok {
			continue
		}
		one, err := a.WordMap(w)
		if err != nil {
			return nil, err
		}
		word.Sources = []studio.Source{{Blob: last.Blob, Map: heat(a, one, most), Share: one.Share}}
		words = append(words, word)
	}
	return words, nil
}

// heat is a map for people: 255 is the answer's greatest weight.
func heat(a *pipeline.Attention, m pipeline.Map, most float64) *studio.HeatMap {
	h := &studio.HeatMap{Rows: m.Rows, Cols: m.Cols, Weights: make([]byte, len(m.Weights))}
	for i, v := range a.Seen {
		h.Seen[i] = float64(v)
	}
	for i, v := range m.Weights {
		h.Weights[i] = byte(math.Round(255 * min(max(float64(v)/max(most, 1e-12), 0), 1)))
	}
	return h
}

// mostRegions bounds the regions that an answer is said to come from.
const mostRegions = 4

// shared gives all words of a text one source: the mean of the maps there are.
func shared(a *pipeline.Attention, attention []pipeline.Word, blob studio.Hash, text string) ([]studio.Word, error) {
	var mean pipeline.Map
	for _, w := range attention {
		m, err := a.WordMap(w)
		if err != nil {
			return nil, err
		}
		if mean.Weights == nil {
			mean = pipeline.Map{Rows: m.Rows, Cols: m.Cols, Weights: make([]float32, len(m.Weights))}
		}
		for i, v := range m.Weights {
			mean.Weights[i] += v / float32(len(attention))
		}
	}
	if len(mean.Weights) == 0 {
		return nil, nil
	}
	source := studio.Source{Blob: blob}
	if a.Boxes != nil {
		order := make([]int, min(len(a.Boxes), len(mean.Weights)))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int {
			if mean.Weights[i] > mean.Weights[j] {
				return -1
			}
			return 1
		})
		for _, i := range order[:min(len(order), mostRegions)] {
			var box [4]float64
			for k, v := range a.Boxes[i] {
				box[k] = float64(v)
			}
			source.Boxes = append(source.Boxes, box)
			source.Share += float64(mean.Weights[i])
		}
	} else {
		source.Map = heat(a, mean, float64(slices.Max(mean.Weights)))
	}
	var words []studio.Word
	at := aligner{text: text}
	for _, f := range strings.Fields(text) {
		if word, ok := at.next(f); ok {
			word.Sources = []studio.Source{source}
			words = append(words, word)
		}
	}
	return words, nil
}

// Embed embeds a picture, a file, as the server's model for search does; name is the model's.
func (d *Desk) Embed(ctx context.Context, p studio.Part) (vector []float32, name string, err error) {
	data, err := d.read(ctx, p)
	if err != nil {
		return nil, "", err
	}
	return d.embed(ctx, func(m *serving.Model) ([][]float32, error) { return m.EmbedPictures(ctx, data) })
}

// EmbedText embeds a text among pictures.
func (d *Desk) EmbedText(ctx context.Context, text string) (vector []float32, name string, err error) {
	return d.embed(ctx, func(m *serving.Model) ([][]float32, error) { return m.EmbedTexts(ctx, text) })
}

func (d *Desk) embed(ctx context.Context, run func(*serving.Model) ([][]float32, error)) ([]float32, string, error) {
	m, release, err := d.Serving.Use(ctx, d.Serving.Catalog.For("embed"))
	if err != nil {
		return nil, "", err
	}
	defer release()
	rows, err := run(m)
	if err != nil {
		return nil, "", err
	}
	return rows[0], m.Name, nil
}
