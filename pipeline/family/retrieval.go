package family

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// retrieval judges whether a text belongs to a picture, as BLIP and BLIP-2 do: by cross-attention
// from the text to the picture (image-text matching, ITM), and by the cosine of two embeddings
// (image-text contrast, ITC).
type retrieval struct {
	onePicture
	vision    *graph.Graph
	text      *graph.Graph
	cross     *graph.Graph // blip2: the Q-Former; blip: the matcher
	blip2     bool
	itm       *graph.Projection // 2 rows: no match, match
	visual    *graph.Projection
	textual   *graph.Projection
	texts     Texts
	positions int // of a text; 0: unknown
}

func openRetrieval(o *graph.Opener, c *Config, blip2 bool) (*retrieval, error) {
	m := &retrieval{texts: c.Texts, blip2: blip2}
	weights, err := o.Bundle.Weights()
	if err != nil {
		return nil, err
	}
	role, visual, textual, section := graph.Matcher, "vision_proj", "text_proj", "text_config"
	if blip2 {
		role, section = graph.QFormer, "qformer_config"
		visual, textual = "vision_projection", "text_projection"
	}
	if m.positions, err = maxPositions(o.Bundle, section); err != nil {
		return nil, err
	}
	if m.itm, err = graph.LoadProjection(weights, "itm_head"); err != nil {
		return nil, err
	}
	if m.itm.Out != 2 {
		return nil, fmt.Errorf("%w: itm_head gives %d values, not 2", graph.ErrBundle, m.itm.Out)
	}
	if m.visual, err = graph.LoadProjection(weights, visual); err != nil {
		return nil, err
	}
	if m.textual, err = graph.LoadProjection(weights, textual); err != nil {
		return nil, err
	}
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.text, err = o.Open(graph.TextEncoder); err != nil {
		return nil, err
	}
	m.cross, err = o.Open(role)
	return m, err
}

// Match judges texts against one picture.
func (m *retrieval) Match(
	ctx context.Context, prepared media.Prepared, texts []string,
) ([]Match, error) {
	patches, err := m.vision.RunPrepared(ctx, prepared.Tensors, graph.ImageEmbeds, 1, -1, -1)
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
	repeated, err := patches.Take(make([]int, len(texts)))
	if err != nil {
		return nil, err
	}
	logits, err := m.itmLogits(ctx, repeated, ids, mask)
	if err != nil {
		return nil, err
	}
	err = graph.CheckNumbers("the matching head's logits", tensor.Data[float32](logits))
	if err != nil {
		return nil, err
	}
	image, err := m.imageVectors(ctx, patches)
	if err != nil {
		return nil, err
	}
	words, err := m.textVectors(ctx, ids, mask)
	if err != nil {
		return nil, err
	}
	matches := make([]Match, len(texts))
	for i, text := range texts {
		best := graph.Dot(graph.Row(image, 0), graph.Row(words, i))
		for q := 1; q < image.Dim(0); q++ {
			best = max(best, graph.Dot(graph.Row(image, q), graph.Row(words, i)))
		}
		belongs := decode.Softmax(graph.Row(logits, i))[1]
		matches[i] = Match{Text: text, Similarity: best, Probability: belongs}
	}
	return matches, nil
}

// itmLogits returns [B,2]: BLIP-2 takes the mean over the queries of the Q-Former's output, BLIP
// the text's first position.
func (m *retrieval) itmLogits(
	ctx context.Context, patches, ids, mask *tensor.Tensor,
) (*tensor.Tensor, error) {
	if !m.blip2 {
		in := map[string]*tensor.Tensor{
			graph.InputIDs: ids, graph.AttentionMask: mask, graph.ImageEmbeds: patches,
		}
		pooled, err := m.cross.RunOne(ctx, in, graph.PooledOutput, ids.Dim(0), -1)
		if err != nil {
			return nil, err
		}
		return m.itm.Apply(ctx, pooled)
	}
	queries, err := m.queries(ctx, patches, ids, mask)
	if err != nil {
		return nil, err
	}
	// The head is linear, so the mean may come after it.
	each, err := m.itm.Apply(ctx, queries) // [B,Q,2]
	if err != nil {
		return nil, err
	}
	values := tensor.Data[float32](each)
	rows, count := each.Dim(0), each.Dim(1)
	mean := make([]float32, rows*2)
	for r := range rows {
		for q := range count {
			for c := range 2 {
				mean[r*2+c] += values[(r*count+q)*2+c] / float32(count)
			}
		}
	}
	return tensor.New([]int{rows, 2}, mean)
}

// queries runs the Q-Former over patches and texts: [B,Q,Dq].
func (m *retrieval) queries(
	ctx context.Context, patches, ids, mask *tensor.Tensor,
) (*tensor.Tensor, error) {
	in := map[string]*tensor.Tensor{
		graph.ImageEmbeds: patches, qformerIDs: ids, qformerMask: mask,
	}
	return m.cross.RunOne(ctx, in, queryOutput, patches.Dim(0), -1, -1)
}

// imageVectors returns the picture's normalised vectors [n,E]: one for each query of BLIP-2, one in
// all for BLIP.
func (m *retrieval) imageVectors(
	ctx context.Context, patches *tensor.Tensor,
) (*tensor.Tensor, error) {
	states := patches // BLIP: the first patch, the class token
	rows := 1
	if m.blip2 {
		none, err := tensor.Zeros(tensor.Int64, 1, 0)
		if err != nil {
			return nil, err
		}
		if states, err = m.queries(ctx, patches, none, none); err != nil {
			return nil, err
		}
		rows = states.Dim(1)
	}
	width := states.Dim(-1)
	first, err := tensor.New([]int{rows, width}, states.Float32s()[:rows*width])
	if err != nil {
		return nil, err
	}
	projected, err := m.visual.Apply(ctx, first)
	if err != nil {
		return nil, err
	}
	return graph.Normalized(projected)
}

// textVectors returns the texts' normalised vectors [B,E].
func (m *retrieval) textVectors(
	ctx context.Context, ids, mask *tensor.Tensor,
) (*tensor.Tensor, error) {
	in := map[string]*tensor.Tensor{graph.InputIDs: ids, graph.AttentionMask: mask}
	pooled, err := m.text.RunOne(ctx, in, graph.PooledOutput, ids.Dim(0), -1)
	if err != nil {
		return nil, err
	}
	projected, err := m.textual.Apply(ctx, pooled)
	if err != nil {
		return nil, err
	}
	return graph.Normalized(projected)
}
