package pipeline

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/tensor"
)

// Match says how well a text fits a picture.
type Match struct {
	Text string
	// Similarity is the cosine between the picture's and the text's embeddings,
	// from -1 to 1; the largest over the queries for BLIP-2 (its ITC score).
	Similarity float64
	// Probability is that the two belong together. BLIP and BLIP-2 judge each
	// text for itself (their ITM head), as SigLIP does; CLIP only compares, so
	// that its probabilities sum to 1 over the texts given.
	Probability float64
}

// Label is a label with its probability.
type Label struct {
	Label       string
	Probability float64
}

// matcher is a model that compares pictures with texts.
type matcher interface {
	model
	// match judges texts against one picture, pixels [1,3,H,W].
	match(ctx context.Context, pixels *tensor.Tensor, texts []string) ([]Match, error)
}

// embedder is a model with one space for pictures and texts.
type embedder interface {
	model
	// embedImages and embedTexts return L2-normalised rows [B,E].
	embedImages(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error)
	embedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error)
}

// Match judges how well each text fits the picture, in the order given.
func (p *Pipeline) Match(ctx context.Context, img image.Image, texts ...string) (matches []Match, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(matcher)
	if !ok {
		return nil, p.unsupported("match pictures with texts")
	}
	if err := checkTexts(texts); err != nil {
		return nil, err
	}
	if err := checkLimit("texts at once", len(texts), p.limits.Batch); err != nil {
		return nil, err
	}
	pixels, err := p.preprocess(ctx, img)
	if err != nil {
		return nil, err
	}
	return m.match(ctx, pixels, texts)
}

// Classify gives each label a probability, the best first: zero-shot
// classification. The label stands in the bundle's prompt for the task, such as
// "a photo of a {}".
func (p *Pipeline) Classify(ctx context.Context, img image.Image, labels ...string) ([]Label, error) {
	if err := checkTexts(labels); err != nil {
		return nil, err
	}
	template, ok := p.bundle.Prompts["classify"]
	if !ok {
		template = "{}"
	}
	texts := make([]string, len(labels))
	for i, label := range labels {
		texts[i] = strings.Replace(template, "{}", label, 1)
	}
	matches, err := p.Match(ctx, img, texts...)
	if err != nil {
		return nil, err
	}
	scored := make([]Label, len(labels))
	for i, m := range matches {
		scored[i] = Label{labels[i], m.Probability}
	}
	slices.SortStableFunc(scored, func(a, b Label) int {
		switch {
		case a.Probability > b.Probability:
			return -1
		case a.Probability < b.Probability:
			return 1
		}
		return 0
	})
	return scored, nil
}

// EmbedImages returns one L2-normalised vector for each picture. Their dot
// products with those of EmbedTexts are cosines.
func (p *Pipeline) EmbedImages(ctx context.Context, imgs ...image.Image) (rows [][]float32, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(embedder)
	if !ok {
		return nil, p.unsupported("embed pictures")
	}
	if len(imgs) == 0 {
		return nil, nil
	}
	pixels, err := p.preprocess(ctx, imgs...)
	if err != nil {
		return nil, err
	}
	return vectors(m.embedImages(ctx, pixels))
}

// EmbedTexts returns one L2-normalised vector for each text.
func (p *Pipeline) EmbedTexts(ctx context.Context, texts ...string) (rows [][]float32, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(embedder)
	if !ok {
		return nil, p.unsupported("embed texts")
	}
	if len(texts) == 0 {
		return nil, nil
	}
	if err := checkLimit("texts at once", len(texts), p.limits.Batch); err != nil {
		return nil, err
	}
	return vectors(m.embedTexts(ctx, texts))
}

func (p *Pipeline) unsupported(task string) error {
	return fmt.Errorf("%w: model %s, of family %s, cannot %s", ErrUnsupported, p.bundle.Name, p.bundle.Family, task)
}

func checkTexts(texts []string) error {
	if len(texts) == 0 {
		return fmt.Errorf("%w: no texts to compare the picture with", ErrPrompt)
	}
	for i, text := range texts {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%w: text %d is empty", ErrPrompt, i+1)
		}
	}
	return nil
}

// vectors takes the rows of t [B,E].
func vectors(t *tensor.Tensor, err error) ([][]float32, error) {
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, t.Dim(0))
	for i := range rows {
		rows[i] = rowOf(t, i)
	}
	return rows, nil
}

// normalized scales each row of t [...,E] to length 1, as torch's
// functional.normalize does: a row of zeros stays zeros.
func normalized(t *tensor.Tensor) (*tensor.Tensor, error) {
	values, err := tensor.Values[float32](t)
	if err != nil {
		return nil, err
	}
	if err := checkNumbers("the embeddings", values); err != nil {
		return nil, err
	}
	width := t.Dim(-1)
	out := make([]float32, len(values))
	for at := 0; at < len(values); at += width {
		row := values[at : at+width]
		scale := 1 / max(math.Sqrt(dot(row, row)), 1e-12)
		for i, v := range row {
			out[at+i] = float32(float64(v) * scale)
		}
	}
	return tensor.New(t.Shape(), out)
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
