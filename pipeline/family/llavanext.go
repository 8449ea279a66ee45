package family

import (
	"fmt"
	"image"
	"slices"
	"strconv"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// llavaNextKinds are LLaVA-NeXT (1.6): a picture as a whole, and in squares whose rows are laid out as
// those of one picture. The row that ends a line is a weight that no other tool's folder has.
var llavaNextKinds = []imageKind{{types: []string{"llava_next"}, around: "%s\n", lines: true, own: true}}

// newline is the name of the row [D] that ends each line.
const newline = "image_newline"

// loadNewline reads the row that ends a line of a picture.
func (m *imageTokens) loadNewline(bundle *models.Bundle) error {
	weights, err := bundle.Weights()
	if err != nil {
		return err
	}
	row, err := weights.Need(newline, -1)
	if err != nil {
		return err
	}
	m.newline = tensor.Data[float32](row)
	return nil
}

// inLines lays out the rows [N,L,D] of a picture whose height and width begin sizes [N,2]: those of the
// whole picture, then the others line by line over all squares, without what is padding, each line with
// its end (pack_image_features of modeling_llava_next.py, transformers 4.57.6).
func (m *imageTokens) inLines(states *tensor.Tensor, grid image.Point, sizes *tensor.Tensor) (*tensor.Tensor, error) {
	if states.Rank() != 3 || sizes == nil {
		return nil, fmt.Errorf("%w: rows %v of a picture, whose size is %v: neither squares of rows nor "+
			"LlavaNextImageProcessor's", graph.ErrBundle, states, sizes)
	}
	size := tensor.Data[int64](sizes)
	n, each, width := states.Dim(0), states.Dim(1), states.Dim(2)
	side := 1
	for (side+1)*(side+1) <= each {
		side++
	}
	if n != 1+grid.X*grid.Y || side*side != each || width != len(m.newline) {
		return nil, fmt.Errorf("%w: rows %v of a picture in %d squares are no squares of rows, or not as wide as %s, %d",
			graph.ErrBundle, states, grid.X*grid.Y, newline, len(m.newline))
	}
	values := tensor.Data[float32](states)
	laid := slices.Clone(values[:each*width])
	part := shown(grid.Mul(side), int(size[0]), int(size[1]))
	var plane []float32
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			square := 1 + y/side*grid.X + x/side
			at := (square*each + y%side*side + x%side) * width
			plane = append(plane, values[at:at+width]...)
		}
	}
	lines := m.fewer(part.Size(), side)
	if lines != part.Size() {
		plane = resampled(plane, width, part.Size(), lines)
	}
	for y := range lines.Y {
		laid = append(laid, plane[y*lines.X*width:(y+1)*lines.X*width]...)
		laid = append(laid, m.newline...)
	}
	return tensor.New([]int{1, len(laid) / width, width}, laid)
}

// shown returns which of so many columns and rows of a canvas show a picture of height by width pixels
// (unpad_image).
func shown(canvas image.Point, height, width int) image.Rectangle {
	// As Python's int(round(x, 7)).
	down := func(x float64) int {
		near, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 7, 64), 64)
		return int(near)
	}
	r := image.Rectangle{Max: canvas}
	if float64(width)/float64(height) > float64(canvas.X)/float64(canvas.Y) {
		scale := float64(canvas.X) / float64(width)
		pad := (canvas.Y - down(float64(height)*scale)) / 2
		r.Min.Y, r.Max.Y = pad, canvas.Y-pad
	} else {
		scale := float64(canvas.Y) / float64(height)
		pad := (canvas.X - down(float64(width)*scale)) / 2
		r.Min.X, r.Max.X = pad, canvas.X-pad
	}
	return r
}
