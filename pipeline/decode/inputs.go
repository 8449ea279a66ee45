package decode

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// inputs returns the inputs of g, one of the decoder's graphs, for new positions.
func (b *batch) inputs(
	g *graph.Graph, tokens, keep *tensor.Tensor,
) (map[string]*tensor.Tensor, error) {
	mask, err := tensor.New([]int{len(b.mask), len(b.mask[0])}, slices.Concat(b.mask...))
	if err != nil {
		return nil, err
	}
	every := map[string]*tensor.Tensor{graph.AttentionMask: mask}
	if b.embed != nil {
		every[graph.InputsEmbeds] = tokens
	} else {
		every[graph.InputIDs] = tokens
	}
	maps.Copy(every, b.past)
	constants, err := b.constants.rows()
	if err != nil {
		return nil, err
	}
	maps.Copy(every, constants)
	maps.Copy(every, b.beside)
	if keep != nil {
		every[graph.LogitsToKeep] = keep
	}
	if b.branch != "" {
		every[b.branch] = tensor.Must(tensor.New([]int{1}, []bool{b.began && b.next != nil}))
	}
	if err := b.addPositions(g, every, tokens.Dim(1)); err != nil {
		return nil, err
	}
	if b.seesMedia {
		if err := b.addMedia(every); err != nil {
			return nil, err
		}
	}
	if g.HasInput(graph.TokenTypeIDs) {
		if every[graph.TokenTypeIDs], err = b.types(tokens.Dim(1)); err != nil {
			return nil, err
		}
	}
	in := make(map[string]*tensor.Tensor, len(g.Inputs()))
	for _, spec := range g.Inputs() {
		t := every[spec.Name]
		if t == nil {
			return nil, fmt.Errorf("%w: the decoder has an input this pipeline does not know: %v",
				graph.ErrBundle, spec)
		}
		if spec.Name == b.branch && spec.Shape != nil && len(spec.Shape) == 0 {
			t = tensor.Must(t.Reshape())
		}
		in[spec.Name] = graph.Cast(t, spec.DType)
	}
	return in, nil
}

// addPositions adds the positions of the new tokens, which are the last so many of the mask, for
// graphs that do not count them themselves. Padding has position 0, as transformers gives it at
// most.
func (b *batch) addPositions(
	g *graph.Graph, every map[string]*tensor.Tensor, length int,
) (err error) {
	if hasPlaces(g) {
		every[graph.PositionIDs], err = b.places(length)
	} else if g.HasInput(graph.PositionIDs) {
		positions := make([]int64, 0, len(b.mask)*length)
		for _, row := range b.mask {
			at := b.origin
			for i, one := range row {
				if i >= len(row)-length {
					positions = append(positions, at)
				}
				at += one
			}
		}
		every[graph.PositionIDs], err = tensor.New([]int{len(b.mask), length}, positions)
	}
	if g.HasInput(graph.CachePosition) && err == nil {
		positions := make([]int64, length)
		for i := range positions {
			positions[i] = int64(len(b.mask[0]) - length + i)
		}
		every[graph.CachePosition], err = tensor.New([]int{length}, positions)
	}
	return err
}

// types returns the types [B,T] of the new tokens: those behind the prompt are text.
func (b *batch) types(length int) (*tensor.Tensor, error) {
	types := make([]int64, len(b.mask)*length)
	for i := range b.mask {
		if given := b.start[b.constants.of[i]].Types; !b.began {
			copy(types[(i+1)*length-len(given):], given)
		}
	}
	return tensor.New([]int{len(b.mask), length}, types)
}

// addMedia adds the masks of gated cross-attention for the new positions.
func (b *batch) addMedia(in map[string]*tensor.Tensor) error {
	length := len(b.media[0])
	mask := make([]int64, len(b.media)*length*b.most)
	gate := make([]float32, len(b.media)*length)
	for i, row := range b.media {
		prompt := &b.start[b.constants.of[i]]
		for j, number := range row {
			at, view := i*length+j, prompt.view(number)
			for _, column := range view.Columns {
				mask[at*b.most+column] = 1
			}
			if !view.Shut {
				gate[at] = 1
			}
		}
	}
	var err error
	in[graph.ImageAttentionMask], err = tensor.New([]int{len(b.media), length, b.most}, mask)
	if err != nil {
		return err
	}
	in[graph.CrossAttentionGate], err = tensor.New([]int{len(b.media), length}, gate)
	return err
}
