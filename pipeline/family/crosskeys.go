package family

import (
	"context"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// KeyMaker is a Writer whose decoder reads items by cross-attention, with a graph for the keys and values
// alone: they can be made once for many prompts.
type KeyMaker interface {
	Writer
	// Keys returns what Encoded.Keys is of an item; nil where the model's graphs make them otherwise.
	Keys(ctx context.Context, e Encoded) (map[string]*tensor.Tensor, error)
}

// Keys implements KeyMaker. A question encoder and a decoder of its own keys have none.
func (m *crossReader) Keys(ctx context.Context, e Encoded) (map[string]*tensor.Tensor, error) {
	if m.cross == nil {
		return nil, nil
	}
	return m.cross.Run(ctx, map[string]*tensor.Tensor{graph.ImageEmbeds: e.States}, nil)
}

// Keys implements KeyMaker.
func (m *whisper) Keys(ctx context.Context, e Encoded) (map[string]*tensor.Tensor, error) {
	return m.reader.Keys(ctx, e)
}

// Keys implements KeyMaker.
func (m *flamingo) Keys(ctx context.Context, e Encoded) (map[string]*tensor.Tensor, error) {
	return m.cross.Run(ctx, map[string]*tensor.Tensor{latents: e.States}, nil)
}

// Keys implements KeyMaker.
func (m *mllama) Keys(ctx context.Context, e Encoded) (map[string]*tensor.Tensor, error) {
	return m.cross.Run(ctx, map[string]*tensor.Tensor{latents: e.States}, nil)
}

// keysOf puts the keys and values of each prompt's items side by side, most of them at most:
// [B,heads,most*N,dim] by name, with zeros for missing items. It returns nil where those of an item were
// not made, or items differ in N.
func keysOf(prompts [][]Segment, most int) (map[string]*tensor.Tensor, error) {
	var items []Segment
	which := make([][]int, len(prompts)) // the items of each prompt
	for i, p := range prompts {
		for _, s := range p {
			if s.Embeds == nil {
				continue
			}
			if s.Keys == nil || !slices.Equal(s.Embeds.Shape(), append(items, s)[0].Embeds.Shape()) {
				return nil, nil
			}
			which[i] = append(which[i], len(items))
			items = append(items, s)
		}
	}
	if len(items) == 0 {
		return nil, nil
	}
	fixed := make(map[string]*tensor.Tensor, len(items[0].Keys))
	for name, t := range items[0].Keys {
		if len(prompts) == 1 && most == 1 {
			fixed[name] = t
			continue
		}
		var err error
		if fixed[name], err = headsSideBySide(items, name, which, most); err != nil {
			return nil, err
		}
	}
	return fixed, nil
}

// headsSideBySide is keysOf for one tensor [1,heads,N,dim] of each item.
func headsSideBySide(items []Segment, name string, which [][]int, most int) (*tensor.Tensor, error) {
	first := items[0].Keys[name]
	heads, size := first.Dim(1), first.Dim(2)*first.Dim(3)
	parts := make([]*tensor.Tensor, len(items)+1)
	var err error
	for i, item := range items {
		if parts[i], err = item.Keys[name].Reshape(heads, size); err != nil {
			return nil, err
		}
	}
	blank := len(items) * heads
	if parts[len(items)], err = tensor.Zeros(first.DType(), 1, size); err != nil {
		return nil, err
	}
	var rows []int // of all parts
	for _, own := range which {
		for head := range heads {
			for j := range most {
				row := blank
				if j < len(own) {
					row = own[j]*heads + head
				}
				rows = append(rows, row)
			}
		}
	}
	all, err := tensor.Join(parts...)
	if err != nil {
		return nil, err
	}
	if all, err = all.Take(rows); err != nil {
		return nil, err
	}
	return all.Reshape(len(which), heads, most*first.Dim(2), first.Dim(3))
}
