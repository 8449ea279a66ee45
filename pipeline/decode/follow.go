package decode

import (
	"context"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Follow has a decoder read a text behind a prompt, and gives each the logits [V] of what follows the
// prompt and the first i tokens of the text, for i from 0 to their number. begin starts a batch of one
// sequence from ids. It is one run of the decoder where the graph gives the logits of all positions, else
// one a token.
func Follow(
	ctx context.Context, begin func(ids []int64) (Sequences, error), prompt, text []int64,
	each func(i int, logits []float32) error,
) error {
	sequences, err := begin(slices.Concat(prompt, text))
	if err != nil {
		return err
	}
	if b, ok := sequences.(*batch); ok && b.givesAll() {
		return b.follow(ctx, len(prompt)-1, each)
	}
	if sequences, err = begin(prompt); err != nil {
		return err
	}
	logits, err := sequences.Prefill(ctx)
	for i := 0; err == nil; i++ {
		if err = each(i, graph.Row(logits, 0)); err != nil || i == len(text) {
			break
		}
		logits, err = sequences.Step(ctx, text[i:i+1])
	}
	return err
}

// givesAll reports whether one run over the prompts gives the logits of all positions.
func (b *batch) givesAll() bool {
	if b.head != nil {
		return !b.stepwise
	}
	logits := slices.IndexFunc(b.first.Outputs(), func(s tensor.Spec) bool { return s.Name == graph.Logits })
	shape := b.first.Outputs()[logits].Shape
	return !b.stepwise && (b.keep != nil || len(shape) < 2 || shape[1] != 1)
}

// follow reads the only prompt and gives each the logits of its positions from one on.
func (b *batch) follow(ctx context.Context, from int, each func(i int, logits []float32) error) error {
	keep := b.keep
	if keep != nil {
		var err error
		if keep, err = tensor.Zeros(keep.DType(), keep.Shape()...); err != nil {
			return err
		}
	}
	logits, err := b.forwardAll(engine.AllPositions(ctx), b.tokens, keep, false)
	if err != nil {
		return err
	}
	if err := graph.CheckOutput(graph.Logits, logits, 1, b.length, -1); err != nil {
		return err
	}
	rows, err := logits.Reshape(b.length, logits.Dim(2))
	if err != nil {
		return err
	}
	for i := range b.length - from {
		row := graph.Row(rows, from+i)
		if err := graph.CheckNumbers("the decoder's logits", row); err != nil {
			return err
		}
		if err := each(i, row); err != nil {
			return err
		}
	}
	return nil
}
