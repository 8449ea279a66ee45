package reading

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/geometry"
)

// The detector's parameters, RapidOCR's.
const (
	leastSide   = 736  // pixels of the shorter side that it sees
	textual     = 0.3  // what a pixel of text reaches
	leastMean   = 0.5  // what the pixels of a line reach in the mean
	mostRegions = 1000 // of a page
	leastRegion = 3    // pixels of a region's shorter side
	leastGrown  = 5    // the same once it has grown
	growth      = 1.6  // by this times area/length: the map has lines shrunken
	leastLine   = 3    // pixels of a line's sides, which must be more
)

// divided rounds a side to a multiple of 32, half to even, and at least one.
func divided(n int) int {
	return max(int(math.RoundToEven(float64(n)/multiple))*multiple, multiple)
}

// region is where a line is on a page.
type region struct {
	quad  geometry.Quad // on whole pixels
	score float64       // the mean of the detector's map in it
}

// detect returns the regions of the lines on a page, in rows from above.
func (r *Reader) detect(ctx context.Context, img *vision.RGB) ([]region, error) {
	w, h := img.Width, img.Height
	if short := min(w, h); short < leastSide {
		scale := float64(leastSide) / float64(short)
		w, h = int(float64(w)*scale), int(float64(h)*scale)
	}
	w, h = divided(w), divided(h)
	seen := geometry.Resize(img, w, h)
	pixels := make([]float32, 3*w*h)
	for y := range h {
		planes(pixels[y*w:], w*h, seen.Pix[y*seen.Stride:][:4*w], &detectorValues)
	}
	in, err := tensor.New([]int{1, 3, h, w}, pixels)
	if err != nil {
		return nil, err
	}
	out, err := r.Detect(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := graph.CheckOutput("the detector's map", out, 1, 1, h, w); err != nil {
		return nil, err
	}
	regions := lines(tensor.Data[float32](out), w, h, img.Width, img.Height)
	rows(regions)
	return regions, nil
}

// detectorValues are what the detector gets of each value of a pixel, lineValues what the others get:
// -1 to 1, which two orders of rounding make.
var detectorValues, lineValues = func() (detector, line [256]float32) {
	const unit float32 = 1. / 255
	for v := range detector {
		detector[v] = float32((float64(float32(v)*unit) - 0.5) / 0.5)
		line[v] = (float32(v)/255 - 0.5) / 0.5
	}
	return detector, line
}()

// planes writes a row of pixels, R G B and a fourth byte each, as three planes of values, blue first.
func planes(dst []float32, plane int, row []uint8, values *[256]float32) {
	n := len(row) / 4
	blue, green, red := dst[:n], dst[plane:][:n], dst[2*plane:][:n]
	for x := range n {
		p := row[4*x:]
		red[x], green[x], blue[x] = values[p[0]], values[p[1]], values[p[2]]
	}
}

// lines makes regions of a page, width by height pixels, out of the detector's map, w by h.
func lines(values []float32, w, h, width, height int) (regions []region) {
	for _, border := range geometry.Contours(thick(values, w), w, mostRegions) {
		rect := geometry.MinAreaRect(border)
		if rect.Shorter() < leastRegion {
			continue
		}
		q := rect.Quad()
		score := geometry.Mean(values, w, q)
		if score < leastMean {
			continue
		}
		rect = geometry.MinAreaRect(geometry.Grow(q, q.Area()*growth/q.Length()))
		if rect.Shorter() < leastGrown {
			continue
		}
		q = placed(rect.Quad(), w, h, width, height)
		right, down := geometry.Distance(q[0], q[1]), geometry.Distance(q[0], q[3])
		if int(right) > leastLine && int(down) > leastLine {
			regions = append(regions, region{q, score})
		}
	}
	return regions
}

// thick is a mask of the map's text, in which each pixel reaches over those to the right, below, and
// below to the right.
func thick(values []float32, w int) []uint8 {
	mask := make([]uint8, len(values))
	for i, v := range values {
		if !(v > textual) {
			continue
		}
		mask[i] = 1
		right := i%w != w-1
		below := i+w < len(mask)
		if right {
			mask[i+1] = 1
		}
		if below {
			mask[i+w] = 1
		}
		if right && below {
			mask[i+w+1] = 1
		}
	}
	return mask
}

// placed scales a quadrilateral from the map to the page, on whole pixels of it, and orders its
// corners: of the two leftmost the upper one first, then the rightmost, clockwise.
func placed(q geometry.Quad, w, h, width, height int) geometry.Quad {
	whole := func(v float64, from, to int) float64 {
		v = math.RoundToEven(float64(float32(v) / float32(from) * float32(to)))
		return min(max(v, 0), float64(to))
	}
	for i, p := range q {
		q[i] = geometry.Point{X: whole(p.X, w, width), Y: whole(p.Y, h, height)}
	}
	slices.SortStableFunc(q[:], func(a, b geometry.Point) int { return int(a.X - b.X) })
	if q[0].Y > q[1].Y {
		q[0], q[1] = q[1], q[0]
	}
	if q[2].Y > q[3].Y {
		q[2], q[3] = q[3], q[2]
	}
	q = geometry.Quad{q[0], q[2], q[3], q[1]}
	for i, p := range q {
		q[i] = geometry.Point{X: min(p.X, float64(width-1)), Y: min(p.Y, float64(height-1))}
	}
	return q
}

// rows sorts regions as RapidOCR does: from above, and in rows, which end where the next one
// begins 10 pixels lower, from the left. It is the order in which lines go into batches.
func rows(regions []region) {
	const step = 10
	first := func(at int) geometry.Point { return regions[at].quad[0] }
	slices.SortStableFunc(regions, func(a, b region) int { return int(a.quad[0].Y - b.quad[0].Y) })
	for from := 0; from < len(regions); {
		to := from + 1
		for to < len(regions) && first(to).Y-first(to-1).Y < step {
			to++
		}
		slices.SortStableFunc(regions[from:to], func(a, b region) int { return int(a.quad[0].X - b.quad[0].X) })
		from = to
	}
}

// errGraph is about what a graph gives.
func errGraph(format string, args ...any) error {
	return fmt.Errorf("%w: %s", graph.ErrBundle, fmt.Sprintf(format, args...))
}
