package family

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// BridgeTower names the family of BridgeTower's retrieval models. Its contrastive ones are of CLIP's.
const BridgeTower models.Family = "bridgetower"

var bridgeTowerRow = Family{
	Name: BridgeTower,
	Layouts: []models.Layout{{
		Type: "bridgetower", Family: BridgeTower,
		Forms: [][]string{{graph.VisionEncoder, graph.Matcher, models.ProjectionName}},
	}},
	Open: openBridgeTower,
}

// bridgeTower judges whether a text belongs to a picture (Xu et al., 2206.08657): each of the upper
// layers of a vision and of a text encoder is bridged to a layer of two-way cross-attention.
type bridgeTower struct {
	onePicture
	vision    *graph.Graph
	matcher   *graph.Graph      // the text encoder and the cross-attention
	itm       *graph.Projection // 2 rows: no match, match
	texts     Texts
	positions int // of a text; 0: unknown
}

func openBridgeTower(o *graph.Opener, c *Config) (Model, error) {
	m := &bridgeTower{texts: c.Texts, positions: o.Bundle.Limits["max_text"]}
	weights, err := o.Bundle.Weights()
	if err != nil {
		return nil, err
	}
	if m.itm, err = graph.LoadProjection(weights, "itm_head"); err != nil {
		return nil, err
	}
	if m.itm.Out != 2 {
		return nil, fmt.Errorf("%w: itm_head gives %d values, not 2", graph.ErrBundle, m.itm.Out)
	}
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	m.matcher, err = o.Open(graph.Matcher)
	return m, err
}

// Match judges texts against one picture. There are no embeddings to compare, so no similarities.
func (m *bridgeTower) Match(
	ctx context.Context, prepared media.Prepared, texts []string,
) ([]Match, error) {
	states, err := m.vision.RunPrepared(ctx, prepared.Tensors, graph.ImageEmbeds, 1, -1, -1, -1)
	if err != nil {
		return nil, err
	}
	rows, err := m.texts.ReadAll(m.positions, texts)
	if err != nil {
		return nil, err
	}
	ids, mask, err := padRight(rows)
	if err != nil {
		return nil, err
	}
	repeated, err := states.Take(make([]int, len(texts)))
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{
		graph.InputIDs: ids, graph.AttentionMask: mask, graph.ImageEmbeds: repeated,
	}
	pooled, err := m.matcher.RunOne(ctx, in, graph.PooledOutput, len(texts), -1)
	if err != nil {
		return nil, err
	}
	logits, err := m.itm.Apply(ctx, pooled)
	if err != nil {
		return nil, err
	}
	if err := graph.CheckNumbers("the matching head's logits", tensor.Data[float32](logits)); err != nil {
		return nil, err
	}
	matches := make([]Match, len(texts))
	for i, text := range texts {
		matches[i] = Match{Text: text, Probability: decode.Softmax(graph.Row(logits, i))[1]}
	}
	return matches, nil
}
