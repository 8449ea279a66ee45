package family

import (
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// onevisionKinds are LLaVA-OneVision (2408.03326) as tools/export writes it: a picture alone as
// LLaVA-NeXT sees it, but with fewer lines and columns where there are many; one of several as one
// square. Other tools' folders of it are among llavaKinds.
var onevisionKinds = []imageKind{{
	types: []string{"llava_onevision"}, around: "%s\n", lines: true, amid: true, own: true,
}}

// loadMostSquares reads how many squares' rows a picture has at most.
func (m *imageTokens) loadMostSquares(bundle *models.Bundle) error {
	var config struct {
		Ratio string `json:"vision_aspect_ratio"`
	}
	if err := bundle.JSON("config.json", &config); err != nil {
		return err
	}
	const prefix = "anyres_max_"
	most, err := strconv.Atoi(strings.TrimPrefix(config.Ratio, prefix))
	if err != nil || most < 1 || !strings.HasPrefix(config.Ratio, prefix) {
		return fmt.Errorf("%w: vision_aspect_ratio of config.json is %q, not %sN",
			graph.ErrBundle, config.Ratio, prefix)
	}
	m.mostSquares = most
	return nil
}

// amongOthers takes the last square's rows off states [N,L,D] and returns them with the row that ends a
// line, [1,L+1,D]: what a picture is in a prompt with others (pack_image_features of
// modeling_llava_onevision.py, transformers 4.57.6).
func (m *imageTokens) amongOthers(states *tensor.Tensor) (rest, amid *tensor.Tensor, err error) {
	if states.Rank() != 3 || states.Dim(0) < 2 || states.Dim(2) != len(m.newline) {
		return nil, nil, fmt.Errorf("%w: rows %v of a picture and of its squares, the last of which is "+
			"the picture among others, are not as wide as %s, %d", graph.ErrBundle, states, newline, len(m.newline))
	}
	n, each, width := states.Dim(0), states.Dim(1), states.Dim(2)
	if rest, err = states.Slice(0, n-1); err != nil {
		return nil, nil, err
	}
	last := tensor.Data[float32](states)[(n-1)*each*width:]
	rows := make([]float32, 0, len(last)+width)
	rows = append(append(rows, last...), m.newline...)
	amid, err = tensor.New([]int{1, each + 1, width}, rows)
	return rest, amid, err
}

// fewer returns how many columns and rows are left of size, where squares have side of each.
func (m *imageTokens) fewer(size image.Point, side int) image.Point {
	if m.mostSquares == 0 {
		return size
	}
	ratio := math.Sqrt(float64(size.X*size.Y) / float64(m.mostSquares*side*side))
	if ratio <= 1.1 {
		return size
	}
	return image.Pt(floorDiv(size.X, ratio), floorDiv(size.Y, ratio))
}

// floorDiv is Python's a // b.
func floorDiv(a int, b float64) int {
	x := (float64(a) - math.Mod(float64(a), b)) / b
	if floor := math.Floor(x); x-floor > 0.5 {
		return int(floor) + 1
	}
	return int(math.Floor(x))
}

// resampled is a grid of rows, each width wide, as bilinear interpolation makes it of another size
// (torch's interpolate without align_corners and antialiasing).
func resampled(values []float32, width int, from, to image.Point) []float32 {
	out := make([]float32, 0, to.X*to.Y*width)
	for y := range to.Y {
		y0, y1, down := between(y, from.Y, to.Y)
		for x := range to.X {
			x0, x1, across := between(x, from.X, to.X)
			a, b := values[(y0*from.X+x0)*width:][:width], values[(y0*from.X+x1)*width:][:width]
			c, d := values[(y1*from.X+x0)*width:][:width], values[(y1*from.X+x1)*width:][:width]
			for i := range width {
				top := (1-across)*a[i] + across*b[i]
				bottom := (1-across)*c[i] + across*d[i]
				out = append(out, (1-down)*top+down*bottom)
			}
		}
	}
	return out
}

// between returns the two places of n that place i of size lies between, and the share of the second.
func between(i, n, size int) (first, second int, share float32) {
	at := max(float32(n)/float32(size)*(float32(i)+0.5)-0.5, 0)
	first = min(int(at), n-1)
	return first, min(first+1, n-1), at - float32(first)
}
