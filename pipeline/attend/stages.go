package attend

import (
	"fmt"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// StageOf joins the layers' maps of a batch's first row to a stage: rows from row0 and columns from
// col0 on. No layers give an error that wraps graph.ErrUnsupported, maps that are too small one
// that wraps graph.ErrBundle.
func StageOf(name string, layers []Layer, row0, rows, col0, cols int) (Stage, error) {
	s := Stage{Name: name, Layers: len(layers)}
	if len(layers) == 0 {
		return s, fmt.Errorf("%w: no attention found for %s", graph.ErrUnsupported, name)
	}
	s.Heads = layers[0].Dim(1)
	var all []float32
	for _, m := range layers {
		if m.Dim(0) < 1 || m.Dim(1) != s.Heads || m.Dim(2) < row0+rows || m.Dim(3) < col0+cols {
			return s, fmt.Errorf(
				"%w: attention %s is %v; %d heads, %d rows and %d columns are needed",
				graph.ErrBundle, m.output, m.Tensor, s.Heads, row0+rows, col0+cols)
		}
		v := tensor.Data[float32](m.Tensor)
		for h := range s.Heads {
			for r := row0; r < row0+rows; r++ {
				at := (h*m.Dim(2)+r)*m.Dim(3) + col0
				all = append(all, v[at:at+cols]...)
			}
		}
	}
	var err error
	s.Maps, err = tensor.New([]int{s.Layers, s.Heads, rows, cols}, all)
	return s, err
}

// StageOfPlaces makes a stage of one map [rows,cols] that is no attention; the map is its own
// rollout.
func StageOfPlaces(name string, rows, cols int, values []float32) (s Stage, err error) {
	s = Stage{Name: name, Layers: 1, Heads: 1}
	if s.Maps, err = tensor.New([]int{1, 1, rows, cols}, values); err == nil {
		s.Rollout, err = tensor.New([]int{rows, cols}, values)
	}
	return s, err
}

// StepsOf makes a stage of a decoder's runs: the last row of each, which chose a token, and the
// columns from col0 on. Errors are those of StageOf.
func StepsOf(name string, runs []Run, kind Kind, tokens, col0, cols int) (Stage, error) {
	s := Stage{Name: name}
	var maps []float32 // [tokens,layers,heads,columns]
	for t := range tokens {
		layers := runs[t].Kind(kind)
		if len(layers) == 0 {
			return s, fmt.Errorf("%w: no attention found for %s", graph.ErrUnsupported, name)
		}
		one, err := StageOf(name, layers, layers[0].Dim(2)-1, 1, col0, cols)
		if err != nil {
			return s, err
		}
		s.Layers, s.Heads = one.Layers, one.Heads
		maps = append(maps, tensor.Data[float32](one.Maps)...)
	}
	planes := s.Layers * s.Heads
	all := make([]float32, len(maps))
	for t := range tokens {
		for p := range planes {
			copy(all[(p*tokens+t)*cols:(p*tokens+t+1)*cols], maps[(t*planes+p)*cols:])
		}
	}
	var err error
	s.Maps, err = tensor.New([]int{s.Layers, s.Heads, tokens, cols}, all)
	return s, err
}

// MeanOf returns the map of a batch's first row averaged over heads, [rows,columns].
func MeanOf(m Layer) (*tensor.Tensor, error) {
	size := m.Len() / max(1, m.Dim(0))
	first, err := tensor.New(m.Shape()[1:], tensor.Data[float32](m.Tensor)[:size])
	if err != nil {
		return nil, err
	}
	return attention.MeanHeads(first)
}
