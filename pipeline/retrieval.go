package pipeline

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// retrieval judges whether a text belongs to a picture, as BLIP and BLIP-2 do:
// by cross-attention from the text to the picture (image-text matching, ITM),
// and by the cosine of two embeddings (image-text contrast, ITC).
type retrieval struct {
	*graphOpener
	vision    engine.Session
	text      engine.Session
	cross     engine.Session // blip2: the Q-Former; blip: the matcher
	blip2     bool
	itm       *projection // 2 rows: no match, match
	visual    *projection
	textual   *projection
	tokenizer *tokenize.Tokenizer
	positions int // of a text; 0: unknown
}

func openRetrieval(graphs *graphOpener, tokenizer *tokenize.Tokenizer, blip2 bool) (*retrieval, error) {
	m := &retrieval{graphOpener: graphs, tokenizer: tokenizer, blip2: blip2}
	weights, err := graphs.bundle.Weights()
	if err != nil {
		return nil, err
	}
	role, visual, textual, section := "matcher", "vision_proj", "text_proj", "text_config"
	if blip2 {
		role, visual, textual, section = "qformer", "vision_projection", "text_projection", "qformer_config"
	}
	if m.positions, err = graphs.textPositions(section); err != nil {
		return nil, err
	}
	if m.itm, err = loadProjection(weights, "itm_head"); err != nil {
		return nil, err
	}
	if m.itm.out != 2 {
		return nil, fmt.Errorf("%w: itm_head gives %d values, not 2", ErrBundle, m.itm.out)
	}
	if m.visual, err = loadProjection(weights, visual); err != nil {
		return nil, err
	}
	if m.textual, err = loadProjection(weights, textual); err != nil {
		return nil, err
	}
	if m.vision, err = graphs.open("vision_encoder"); err != nil {
		return nil, err
	}
	if m.text, err = graphs.open("text_encoder"); err != nil {
		return nil, err
	}
	m.cross, err = graphs.open(role)
	return m, err
}

func (m *retrieval) match(ctx context.Context, pixels *tensor.Tensor, texts []string) ([]Match, error) {
	patches, err := runVision(ctx, m.vision, pixels, "image_embeds", 1, -1, -1)
	if err != nil {
		return nil, err
	}
	ids, mask, err := m.encodeRight(m.tokenizer, texts, m.positions)
	if err != nil {
		return nil, err
	}
	repeated, err := takeRows(patches, make([]int, len(texts)))
	if err != nil {
		return nil, err
	}
	logits, err := m.itmLogits(ctx, repeated, ids, mask)
	if err != nil {
		return nil, err
	}
	if err := checkNumbers("the matching head's logits", tensor.Data[float32](logits)); err != nil {
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
		best := dot(rowOf(image, 0), rowOf(words, i))
		for q := 1; q < image.Dim(0); q++ {
			best = max(best, dot(rowOf(image, q), rowOf(words, i)))
		}
		matches[i] = Match{Text: text, Similarity: best, Probability: softmax(rowOf(logits, i))[1]}
	}
	return matches, nil
}

// itmLogits returns [B,2]: BLIP-2 takes the mean over the queries of the
// Q-Former's output, BLIP the text's first position.
func (m *retrieval) itmLogits(ctx context.Context, patches, ids, mask *tensor.Tensor) (*tensor.Tensor, error) {
	if !m.blip2 {
		pooled, err := runOne(ctx, m.cross, map[string]*tensor.Tensor{"input_ids": ids, attentionMask: mask, "image_embeds": patches}, "pooled_output", ids.Dim(0), -1)
		if err != nil {
			return nil, err
		}
		return m.itm.apply(ctx, pooled)
	}
	queries, err := m.queries(ctx, patches, ids, mask)
	if err != nil {
		return nil, err
	}
	each, err := m.itm.apply(ctx, queries) // [B,Q,2]; the head is linear, so the mean may come after it
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

func (m *retrieval) queries(ctx context.Context, patches, ids, mask *tensor.Tensor) (*tensor.Tensor, error) {
	queries, err := runOne(ctx, m.cross, map[string]*tensor.Tensor{"image_embeds": patches, "qformer_input_ids": ids, "qformer_attention_mask": mask}, "query_output", patches.Dim(0), -1, -1)
	return queries, err
}

// imageVectors returns the picture's normalised vectors [n,E]: one for each
// query of BLIP-2, one in all for BLIP.
func (m *retrieval) imageVectors(ctx context.Context, patches *tensor.Tensor) (*tensor.Tensor, error) {
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
	projected, err := m.visual.apply(ctx, first)
	if err != nil {
		return nil, err
	}
	return normalized(projected)
}

// textVectors returns the texts' normalised vectors [B,E].
func (m *retrieval) textVectors(ctx context.Context, ids, mask *tensor.Tensor) (*tensor.Tensor, error) {
	pooled, err := runOne(ctx, m.text, map[string]*tensor.Tensor{"input_ids": ids, attentionMask: mask}, "pooled_output", ids.Dim(0), -1)
	if err != nil {
		return nil, err
	}
	projected, err := m.textual.apply(ctx, pooled)
	if err != nil {
		return nil, err
	}
	return normalized(projected)
}
