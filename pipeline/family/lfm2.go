package family

import (
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/tensor"
)

// lfm2VLKinds are LFM2-VL: a picture in about its own shape, or in tiles with their places and as a
// whole. lfm2-vl is how transformers 4.57 spells it.
var lfm2VLKinds = []imageKind{{
	types: []string{"lfm2_vl", "lfm2-vl"}, token: "<image>", around: "%s", markup: placedMarkup, bare: true,
	unpacked: true,
}}

// spatialShapes is [N,2]: the rows and columns of patches of each tile.
const spatialShapes = "spatial_shapes"

// rowsOfTiles returns how many of a picture's rows are those of each tile, of which spatial_shapes
// has the patches: as many patches merge to a row in all of them.
func rowsOfTiles(shapes *tensor.Tensor, rows int) []int {
	sides := tensor.Data[int64](shapes)
	each, all := make([]int, len(sides)/2), int64(0)
	for i := range each {
		all += sides[2*i] * sides[2*i+1]
	}
	for i := range each {
		each[i] = int(sides[2*i] * sides[2*i+1] * int64(rows) / max(all, 1))
	}
	return each
}

// placedMarkup is that of LFM2-VL (processing_lfm2_vl.py, transformers 5.24).
func placedMarkup(token string, e Encoded) string {
	var b strings.Builder
	b.WriteString("<|image_start|>")
	for i, rows := range e.Each {
		switch tiles := e.Grid.X * e.Grid.Y; {
		case i < tiles && tiles > 1:
			fmt.Fprintf(&b, "<|img_row_%d_col_%d|>", i/e.Grid.X+1, i%e.Grid.X+1)
		case tiles > 1:
			b.WriteString("<|img_thumbnail|>")
		}
		b.WriteString(strings.Repeat(token, rows))
	}
	b.WriteString("<|image_end|>")
	return b.String()
}
