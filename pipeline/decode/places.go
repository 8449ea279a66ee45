package decode

import (
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// hasPlaces reports whether a graph's position_ids are [3,B,T]: time, row and column, which differ
// inside pictures alone.
func hasPlaces(g *graph.Graph) bool {
	return slices.ContainsFunc(g.Inputs(), func(s tensor.Spec) bool {
		return s.Name == graph.PositionIDs && len(s.Shape) == 3
	})
}

// places returns position_ids [3,B,T] of the new tokens, which are the last so many of the mask.
// Tokens behind the prompt count on from its largest position.
func (b *batch) places(length int) (*tensor.Tensor, error) {
	rows := len(b.mask)
	ids := make([]int64, 3*rows*length)
	for i, mask := range b.mask {
		given := b.start[b.constants.of[i]].Places
		behind := int64(0) // what a position behind the prompt is more than its number
		if given != nil {
			largest := int64(-1)
			for _, plane := range given {
				largest = max(largest, slices.Max(plane))
			}
			behind = largest + 1 - int64(len(given[0]))
		}
		at := 0
		for j, one := range mask {
			for plane := 0; plane < 3 && j >= len(mask)-length; plane++ {
				position := int64(at) + behind
				if given != nil && at < len(given[plane]) {
					position = given[plane][at]
				}
				ids[(plane*rows+i)*length+j-(len(mask)-length)] = position
			}
			at += int(one)
		}
	}
	return tensor.New([]int{3, rows, length}, ids)
}
