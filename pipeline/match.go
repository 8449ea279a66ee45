package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// The matches of texts with pictures; package family defines them.
type (
	// Match says how well a text fits a picture.
	Match = family.Match
	// MatchJSON is a Match in JSON.
	MatchJSON = family.MatchJSON
)

// Label is a label with its probability. In JSON it is a LabelJSON.
type Label struct {
	Label       string
	Probability float64 // 0 where Unscaled is true
	Similarity  float64 // that of the label's text: Match.Similarity
	// Unscaled says that similarities rank the labels, for want of probabilities: see Match.
	Unscaled bool
}

// LabelJSON is a Label in JSON. The lines of the command are made of it, too.
type LabelJSON struct {
	Label       string   `json:"label"`
	Probability *float64 `json:"probability"`          // nil where there is none
	Similarity  *float64 `json:"similarity,omitempty"` // where there is no probability
	Score       string   `json:"score,omitempty"`      // "similarity" then
}

// JSON returns what MarshalJSON writes.
func (l Label) JSON() LabelJSON {
	if l.Unscaled {
		return LabelJSON{Label: l.Label, Similarity: &l.Similarity, Score: family.BySimilarity}
	}
	return LabelJSON{Label: l.Label, Probability: &l.Probability}
}

// MarshalJSON writes the label as a LabelJSON.
func (l Label) MarshalJSON() ([]byte, error) { return json.Marshal(l.JSON()) }

// UnmarshalJSON reads what MarshalJSON writes. The similarity of a label with a probability is not
// there.
func (l *Label) UnmarshalJSON(data []byte) error {
	var j LabelJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*l = Label{Label: j.Label, Unscaled: j.Probability == nil}
	if j.Probability != nil {
		l.Probability = *j.Probability
	}
	if j.Similarity != nil {
		l.Similarity = *j.Similarity
	}
	return nil
}

// Match judges how well each text fits the picture, in the order given; no texts have no matches.
// An empty text gives an ItemError that wraps ErrPrompt, a model that compares no texts
// ErrUnsupported. A model whose files lack the trained scale of its scores gives similarities alone
// (Match.Unscaled).
func (p *Pipeline) Match(
	ctx context.Context, img image.Image, texts ...string,
) (matches []Match, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.Matcher)
	if !ok {
		return nil, p.unsupported("match pictures with texts")
	}
	if len(texts) == 0 {
		return nil, nil
	}
	if err := checkTexts(texts); err != nil {
		return nil, err
	}
	if err := graph.CheckLimit("Batch", "texts at once", len(texts), p.limits.Batch); err != nil {
		return nil, err
	}
	prepared, err := p.preparePictures(ctx, img)
	if err != nil {
		return nil, err
	}
	return m.Match(ctx, prepared, texts)
}

// Classify gives each label a probability, the best first: zero-shot classification. The label
// stands in the bundle's prompt for the task, such as "a photo of a {}". A model that was trained
// on classes of its own (Abilities.Classify) takes no labels, and gives those. As of Match there may
// be similarities alone.
func (p *Pipeline) Classify(
	ctx context.Context, img image.Image, labels ...string,
) ([]Label, error) {
	if m, ok := p.model.(family.Classifier); ok {
		all, err := p.classifyItems(ctx, m, []media.Item{media.Picture{Image: img}}, labels)
		if err != nil {
			return nil, err
		}
		return all[0], nil
	}
	if len(labels) == 0 {
		return nil, nil
	}
	if err := checkTexts(labels); err != nil {
		return nil, err
	}
	matches, err := p.Match(ctx, img, p.labelTexts(labels)...)
	if err != nil {
		return nil, err
	}
	return rankLabels(labels, matches), nil
}

// Classes returns the names of the model's own classes. A model without such has an error that wraps
// ErrUnsupported.
func (p *Pipeline) Classes() ([]string, error) {
	m, ok := p.model.(family.Classifier)
	if !ok {
		return nil, p.unsupported("classify without labels")
	}
	classes, err := m.Classes()
	return slices.Clone(classes), err
}

// Scores returns the logits of the model's own classes for each picture, in the order in which the
// model has them; nil, and an ItemError each, for pictures that cannot be used. The classes need no
// names. A model without classes has an error that wraps ErrUnsupported.
func (p *Pipeline) Scores(ctx context.Context, imgs ...image.Image) ([][]float32, error) {
	m, ok := p.model.(family.Classifier)
	if !ok {
		return nil, p.unsupported("score classes of its own")
	}
	items := make([]media.Item, len(imgs))
	for i, img := range imgs {
		items[i] = media.Picture{Image: img}
	}
	return p.scores(ctx, m, items)
}

func (p *Pipeline) scores(
	ctx context.Context, m family.Classifier, items []media.Item,
) (rows [][]float32, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	return p.vectorsOf(ctx, items, m.Scores)
}

// classifyItems gives each item's probabilities of the model's own classes.
func (p *Pipeline) classifyItems(
	ctx context.Context, m family.Classifier, items []media.Item, labels []string,
) ([][]Label, error) {
	classes, err := m.Classes()
	if err != nil {
		return nil, err
	}
	if len(labels) > 0 {
		return nil, fmt.Errorf("%w: model %s knows no labels but its own %d; give none",
			ErrUnsupported, p.bundle.Name, len(classes))
	}
	rows, err := p.scores(ctx, m, items)
	if rows == nil {
		return nil, err
	}
	scored := make([][]Label, len(items))
	for i, logits := range rows {
		if logits == nil {
			continue
		}
		matches := make([]Match, len(classes))
		for k, probability := range decode.Softmax(logits) {
			matches[k].Probability = probability
		}
		scored[i] = rankLabels(classes, matches)
	}
	return scored, err
}

// labelTexts are the texts that the model reads for labels.
func (p *Pipeline) labelTexts(labels []string) []string {
	template, ok := p.bundle.Prompts["classify"]
	if !ok {
		template = "{}"
	}
	texts := make([]string, len(labels))
	for i, label := range labels {
		texts[i] = strings.Replace(template, "{}", label, 1)
	}
	return texts
}

// rankLabels gives labels the probabilities of their texts, or the similarities, the best first.
func rankLabels(labels []string, matches []Match) []Label {
	scored := make([]Label, len(labels))
	for i, m := range matches {
		scored[i] = Label{labels[i], m.Probability, m.Similarity, m.Unscaled}
	}
	slices.SortStableFunc(scored, func(a, b Label) int {
		if a.Unscaled && b.Unscaled {
			return cmp.Compare(b.Similarity, a.Similarity)
		}
		return cmp.Compare(b.Probability, a.Probability)
	})
	return scored
}

// EmbedImages returns one vector of length 1 for each picture; nil, and an ItemError each, for those
// that cannot be used. The dot product of two vectors, of pictures or texts, is their cosine; see
// Cosine and TopK. EmbedAll takes any number of pictures.
func (p *Pipeline) EmbedImages(
	ctx context.Context, imgs ...image.Image,
) (rows [][]float32, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.Embedder)
	if !ok {
		return nil, p.unsupported("embed pictures")
	}
	if len(imgs) == 0 {
		return nil, nil
	}
	if err := p.checkPictures(len(imgs)); err != nil {
		return nil, err
	}
	check := func(i int) error { return p.checkPicture(imgs[i]) }
	return inBatch("picture", len(imgs), check, func(at []int) ([][]float32, error) {
		prepared, err := p.preparePictures(ctx, pick(imgs, at)...)
		if err != nil {
			return nil, err
		}
		return vectors(m.EmbedMedia(ctx, prepared))
	})
}

// EmbedTexts returns one vector of length 1 for each text; nil, and an ItemError each, for those
// that cannot be used, such as empty ones.
func (p *Pipeline) EmbedTexts(ctx context.Context, texts ...string) (rows [][]float32, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.Embedder)
	if !ok {
		return nil, p.unsupported("embed texts")
	}
	if len(texts) == 0 {
		return nil, nil
	}
	if err := graph.CheckLimit("Batch", "texts at once", len(texts), p.limits.Batch); err != nil {
		return nil, err
	}
	check := func(i int) error { return checkText(texts[i]) }
	return inBatch("text", len(texts), check, func(at []int) ([][]float32, error) {
		return vectors(m.EmbedTexts(ctx, pick(texts, at)))
	})
}

// checkTexts refuses empty texts, and none at all.
func checkTexts(texts []string) error {
	if len(texts) == 0 {
		return fmt.Errorf("%w: no texts to compare the picture with", ErrPrompt)
	}
	for i, text := range texts {
		if err := checkText(text); err != nil {
			return &ItemError{"text", i, err, len(texts) == 1}
		}
	}
	return nil
}

func checkText(text string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("%w: it is empty", ErrPrompt)
	}
	return nil
}

// vectors returns the rows of t [B,E].
func vectors(t *tensor.Tensor, err error) ([][]float32, error) {
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, t.Dim(0))
	for i := range rows {
		rows[i] = graph.Row(t, i)
	}
	return rows, nil
}
