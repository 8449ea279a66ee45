package family

import (
	"fmt"

	"github.com/crossattn/xpipe/pipeline/graph"
)

// qwenVLKinds are Qwen2-VL (Wang et al., 2409.12191) and its successors: pictures of any size, whose
// rows have places in time, row and column.
var qwenVLKinds = []imageKind{{
	types: []string{"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}, token: "<|image_pad|>", places: true,
	around: "<|vision_start|>%s<|vision_end|>",
}}

// positions returns the time, row and column [3][L] of each position of a prompt. Text counts on in
// all three. A picture stands still in time, and its rows and columns count from there; text behind
// it goes on from the largest. Source: get_rope_index of modeling_qwen2_vl.py, transformers 4.57.6.
func (m *imageTokens) positions(ids []int64, pictures []Segment) ([][]int64, error) {
	places := [][]int64{make([]int64, len(ids)), make([]int64, len(ids)), make([]int64, len(ids))}
	next := int64(0)
	for at := 0; at < len(ids); {
		if ids[at] != m.token {
			for plane := range places {
				places[plane][at] = next
			}
			next++
			at++
			continue
		}
		p := pictures[0]
		pictures = pictures[1:]
		rows := p.Embeds.Dim(1)
		merge := 1 // patches a side that become one row
		for merge*merge*rows < p.Grid.X*p.Grid.Y {
			merge++
		}
		columns := p.Grid.X / merge
		if merge*merge*rows != p.Grid.X*p.Grid.Y || columns*(p.Grid.Y/merge) != rows {
			return nil, fmt.Errorf("%w: %d features of %d by %d patches", graph.ErrBundle,
				rows, p.Grid.X, p.Grid.Y)
		}
		for i := range rows {
			places[0][at+i] = next
			places[1][at+i] = next + int64(i/columns)
			places[2][at+i] = next + int64(i%columns)
		}
		next += int64(max(columns, rows/columns))
		at += rows
	}
	return places, nil
}
