package decode

import (
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// prefillBeside joins what the graph of embeddings gave beside those of prompts, padded on the left with
// zeros to so many positions: [B,T,...] by name.
func (d *Decoder) prefillBeside(prompts []Prompt, longest int) (map[string]*tensor.Tensor, error) {
	if len(d.beside) == 0 {
		return nil, nil
	}
	joined := map[string]*tensor.Tensor{}
	for _, name := range d.beside {
		var values []float32
		var shape []int
		for i := range prompts {
			t := prompts[i].Beside[name]
			if t == nil {
				return nil, fmt.Errorf("%w: the decoder takes %q, which nothing before it makes", graph.ErrBundle, name)
			}
			t = graph.AsFloat32(t)
			own, err := tensor.Values[float32](t)
			if err != nil {
				return nil, fmt.Errorf("%w: %q: %w", graph.ErrBundle, name, err)
			}
			if shape == nil {
				shape = t.Shape()[1:]
			}
			if !slices.Equal(shape, t.Shape()[1:]) || t.Dim(0) > longest {
				return nil, fmt.Errorf("%w: %q is %v for one text, and has other sizes for another", graph.ErrBundle, name, t)
			}
			pad := longest - t.Dim(0)
			values = append(values, make([]float32, pad*len(own)/max(t.Dim(0), 1))...)
			values = append(values, own...)
		}
		var err error
		if joined[name], err = tensor.New(append([]int{len(prompts), longest}, shape...), values); err != nil {
			return nil, err
		}
	}
	return joined, nil
}

// between takes the positions from one up to but not including another of tensors [B,T,...].
func between(beside map[string]*tensor.Tensor, from, to int) (map[string]*tensor.Tensor, error) {
	if beside == nil {
		return nil, nil
	}
	parts := make(map[string]*tensor.Tensor, len(beside))
	for name, t := range beside {
		var err error
		if parts[name], err = graph.At(t, 1, from, to); err != nil {
			return nil, err
		}
	}
	return parts, nil
}
