package family

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// dualEncoder is a model of two encoders, of items of one kind and of texts, each followed by a
// projection into one space and L2 normalisation. One of CLIP's kind compares by a softmax over the
// texts, one of SigLIP's judges each pair by a sigmoid.
//
// Graphs of transformers.js and optimum have the projection inside. A graph of the whole model
// gives the logits itself. Two separate graphs lack the trained scale of the logits; config.json
// holds the value that training began with. They give similarities, and no probabilities.
type dualEncoder struct {
	side        dualSide
	item, text  tower
	joint       *graph.Graph // both towers and the logits in one graph; nil where there is none
	scale, bias float64
	scaled      bool // scale and bias are known
	sigmoid     bool
	words       dualTexts

	last struct { // texts that were compared last, with their embeddings
		sync.Mutex
		texts  []string
		embeds *tensor.Tensor
	}
}

// dualSide is how a kind of dual encoders takes its items.
type dualSide struct {
	kind       media.Kind
	role       string // of the encoder's graph
	names      towerNames
	projection string                                // of the encoder's states, where xpipe applies it
	logits     string                                // output of a graph of the whole model, [items,texts]
	blank      func(front media.Preparer) media.Item // that says nothing
}

const textEmbeds = "text_embeds"

func (m *dualEncoder) Media() []media.Kind { return []media.Kind{m.side.kind} }

// open opens the graphs of a model whose items come in by a side.
func (m *dualEncoder) open(o *graph.Opener, c *Config, side dualSide) error {
	m.side = side
	var manifest struct {
		Scores string `json:"scores"` // softmax or sigmoid
	}
	if err := o.Bundle.JSON(models.ManifestName, &manifest); err != nil {
		return err
	}
	m.sigmoid = manifest.Scores == "sigmoid"
	var err error
	if m.words, err = openDualTexts(o.Bundle, c.Texts, m.sigmoid); err != nil {
		return err
	}
	if err := m.loadWeights(o.Bundle); err != nil {
		return err
	}
	whole, err := o.OpenIfThere(graph.Model)
	if err != nil {
		return err
	}
	if whole != nil && whole.HasOutput(side.logits) {
		m.joint = whole
	}
	if err := m.openTower(o, &m.item, side.role, side.names, whole); err != nil {
		return err
	}
	if c.ItemsAlone && whole == nil && o.Bundle.Has(graph.TextEncoder) {
		return nil
	}
	if err := m.openTower(o, &m.text, graph.TextEncoder, textNames, whole); err != nil {
		return err
	}
	m.words.fit(m.text.graph)
	if whole != nil {
		err = m.standIn(o.Context(), c, whole)
	}
	return err
}

// standIn makes placeholders for the other tower's inputs, for towers in a graph of the whole
// model.
func (m *dualEncoder) standIn(ctx context.Context, c *Config, whole *graph.Graph) error {
	front, err := c.Preparer(m.side.kind)
	if err != nil {
		return err
	}
	blank, err := front.Prepare(ctx, []media.Item{m.side.blank(front)})
	if err != nil {
		return err
	}
	word, err := m.words.inputs(whole, []string{"a"})
	if err != nil {
		return err
	}
	if m.item.graph == whole {
		m.item.rest = word
	}
	if m.text.graph == whole {
		m.text.rest = blank.Tensors
	}
	return nil
}

// loadWeights reads the scale of the logits and the projections from the bundle's weights, if it
// has any.
func (m *dualEncoder) loadWeights(bundle *models.Bundle) error {
	if bundle.Projection == "" {
		return nil
	}
	weights, err := bundle.Weights()
	if err != nil {
		return err
	}
	scale, err := weights.Need("logit_scale", 1)
	if err != nil {
		return err
	}
	m.scale, m.scaled = math.Exp(float64(tensor.Data[float32](scale)[0])), true
	if weights["logit_bias"] != nil {
		bias, err := weights.Need("logit_bias", 1)
		if err != nil {
			return err
		}
		m.bias = float64(tensor.Data[float32](bias)[0])
	}
	towers := map[string]*tower{m.side.projection: &m.item, "text_projection": &m.text}
	for name, t := range towers {
		if weights[name+".weight"] != nil {
			if t.projection, err = graph.LoadProjection(weights, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// EmbedMedia embeds items.
func (m *dualEncoder) EmbedMedia(ctx context.Context, prepared media.Prepared) (*tensor.Tensor, error) {
	embeds, err := m.item.embed(ctx, prepared.Items(), prepared.Tensors)
	return embeds, graph.Misfit(err)
}

// ReadText returns the ids of a text as the text tower gets them, without padding.
func (m *dualEncoder) ReadText(text string) ([]int64, error) { return m.words.read(text) }

// EmbedTexts embeds texts; those longer than the model's positions lose their end.
func (m *dualEncoder) EmbedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	if m.words.alone && len(texts) > 1 {
		rows := make([]*tensor.Tensor, len(texts))
		for i := range texts {
			var err error
			if rows[i], err = m.EmbedTexts(ctx, texts[i:i+1]); err != nil {
				return nil, err
			}
		}
		return graph.Stack(rows)
	}
	if m.text.graph == nil {
		return nil, fmt.Errorf("%w: the model was opened for items alone, without its encoder of texts",
			graph.ErrUnsupported)
	}
	in, err := m.words.inputs(m.text.graph, texts)
	if err != nil {
		return nil, err
	}
	return m.text.embed(ctx, len(texts), in)
}

// Match compares each text's embedding with the item's.
func (m *dualEncoder) Match(
	ctx context.Context, prepared media.Prepared, texts []string,
) ([]Match, error) {
	items, words, logits, err := m.compare(ctx, prepared, texts)
	if err != nil {
		return nil, err
	}
	return m.judge(items, 0, words, logits, texts)
}

// MatchAll is Match for several items. A graph of the whole model takes them one by one.
func (m *dualEncoder) MatchAll(
	ctx context.Context, prepared media.Prepared, texts []string,
) ([][]Match, error) {
	if m.joint != nil {
		return MatchEach(ctx, m, prepared, texts)
	}
	items, words, _, err := m.compare(ctx, prepared, texts)
	if err != nil {
		return nil, err
	}
	matches := make([][]Match, prepared.Items())
	for i := range matches {
		if matches[i], err = m.judge(items, i, words, nil, texts); err != nil {
			return nil, err
		}
	}
	return matches, nil
}

// judge makes the matches of one row of items' embeddings and of the texts' and, where the graph gives
// them, the logits.
func (m *dualEncoder) judge(
	items *tensor.Tensor, row int, words *tensor.Tensor, logits []float32, texts []string,
) ([]Match, error) {
	if items.Dim(-1) != words.Dim(-1) {
		return nil, fmt.Errorf("%w: %ss are embedded in %d dimensions, texts in %d",
			graph.ErrBundle, m.side.kind, items.Dim(-1), words.Dim(-1))
	}
	matches := make([]Match, len(texts))
	for i, text := range texts {
		similarity := graph.Dot(graph.Row(items, row), graph.Row(words, i))
		matches[i] = Match{Text: text, Similarity: similarity}
	}
	if logits == nil && !m.scaled {
		for i := range matches {
			matches[i].Unscaled = true
		}
		return matches, nil
	}
	if logits == nil {
		logits = make([]float32, len(texts))
		for i, match := range matches {
			logits[i] = float32(match.Similarity*m.scale + m.bias)
		}
	}
	for i, p := range decode.Softmax(logits) {
		if m.sigmoid {
			p = sigmoid(float64(logits[i]))
		}
		matches[i].Probability = p
	}
	return matches, nil
}

// embedWords returns EmbedTexts of the texts of Match, which are often those of the item before.
func (m *dualEncoder) embedWords(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	m.last.Lock()
	embeds := m.last.embeds
	same := embeds != nil && slices.Equal(m.last.texts, texts)
	m.last.Unlock()
	if same {
		return embeds, nil
	}
	embeds, err := m.EmbedTexts(ctx, texts)
	if err == nil {
		m.last.Lock()
		m.last.texts, m.last.embeds = slices.Clone(texts), embeds
		m.last.Unlock()
	}
	return embeds, err
}

// compare returns the items' embeddings [N,E], the texts' [B,E] and, from a graph that is the
// whole model, the logits of the texts; nil without one.
func (m *dualEncoder) compare(
	ctx context.Context, prepared media.Prepared, texts []string,
) (items, words *tensor.Tensor, logits []float32, err error) {
	if m.joint == nil {
		if items, err = m.EmbedMedia(ctx, prepared); err != nil {
			return nil, nil, nil, err
		}
		words, err = m.embedWords(ctx, texts)
		return items, words, nil, err
	}
	in, err := m.words.inputs(m.joint, texts)
	if err != nil {
		return nil, nil, nil, err
	}
	if in, err = m.joint.Feed(in, prepared.Tensors); err != nil {
		return nil, nil, nil, err
	}
	embeds, scores := m.side.names.embeds[0], m.side.logits
	out, err := m.joint.Run(ctx, in, embeds, textEmbeds, scores)
	if err != nil {
		return nil, nil, nil, err
	}
	// A graph that takes one text at a time gives the item's embedding with each.
	if items = out[embeds]; items.Rank() == 2 && items.Dim(0) == len(texts) {
		if out[embeds], err = items.Slice(0, 1); err != nil {
			return nil, nil, nil, err
		}
	}
	for name, rows := range map[string]int{embeds: 1, textEmbeds: len(texts)} {
		if err := graph.CheckOutput(name, out[name], rows, -1); err != nil {
			return nil, nil, nil, err
		}
	}
	if out[scores].Len() != len(texts) {
		return nil, nil, nil, fmt.Errorf(
			"%w: the graph gives logits %v for one %s and %d texts",
			graph.ErrBundle, out[scores], m.side.kind, len(texts))
	}
	if items, err = graph.Normalized(out[embeds]); err != nil {
		return nil, nil, nil, err
	}
	words, err = graph.Normalized(out[textEmbeds])
	return items, words, out[scores].Float32s(), err
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
