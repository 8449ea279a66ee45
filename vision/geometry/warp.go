package geometry

import (
	"math"

	"github.com/crossattn/xpipe/vision"
)

// homography maps the corners of a rectangle of w by h to those of a quadrilateral: 3x3, row by row.
// It is false where the corners do not allow one.
func homography(q Quad, w, h float64) ([9]float64, bool) {
	from := Quad{{0, 0}, {w, 0}, {w, h}, {0, h}}
	// Two equations a corner for the first eight numbers; the ninth is 1.
	var m [8][9]float64
	for i, p := range from {
		x, y := q[i].X, q[i].Y
		m[2*i] = [9]float64{p.X, p.Y, 1, 0, 0, 0, -p.X * x, -p.Y * x, x}
		m[2*i+1] = [9]float64{0, 0, 0, p.X, p.Y, 1, -p.X * y, -p.Y * y, y}
	}
	for c := range 8 { // Gauss and Jordan
		pivot := c
		for r := c + 1; r < 8; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[pivot][c]) {
				pivot = r
			}
		}
		m[c], m[pivot] = m[pivot], m[c]
		if math.Abs(m[c][c]) < 1e-12 {
			return [9]float64{}, false
		}
		for r := range 8 {
			if r == c || m[r][c] == 0 {
				continue
			}
			f := m[r][c] / m[c][c]
			for k := c; k < 9; k++ {
				m[r][k] -= f * m[c][k]
			}
		}
	}
	out := [9]float64{8: 1}
	for i := range 8 {
		out[i] = m[i][8] / m[i][i]
	}
	return out, true
}

// Sides returns the width and height of a quadrilateral in whole pixels: the longer one of each two
// opposite sides, its fraction cut off.
func (q Quad) Sides() (w, h int) {
	length := func(a, b Point) float32 { return float32(Distance(a, b)) }
	return int(max(length(q[0], q[1]), length(q[2], q[3]))), int(max(length(q[0], q[3]), length(q[1], q[2])))
}

// Crop cuts a quadrilateral out of a picture and makes it the rectangle of w by h pixels: by
// perspective, cubic interpolation with a = -0.75, and the picture's edge repeated beyond it, as
// OpenCV's warpPerspective (INTER_CUBIC, BORDER_REPLICATE). Values may differ from OpenCV's by 1, as
// places are reckoned in float64 here. It is nil where the corners span no area.
func Crop(src *vision.RGB, q Quad, w, h int) *vision.RGB {
	if w <= 0 || h <= 0 {
		return nil
	}
	if at, ok := whole(q, w, h); ok {
		return cut(src, at, w, h)
	}
	m, ok := homography(q, float64(w), float64(h))
	if !ok {
		return nil
	}
	dst := vision.NewRGB(w, h)
	for y := range h {
		out := dst.Pix[y*dst.Stride:]
		for x := range w {
			u, v := float64(x), float64(y)
			z := m[6]*u + m[7]*v + m[8]
			if z == 0 {
				continue
			}
			cubic(out[4*x:], src, (m[0]*u+m[1]*v+m[2])/z, (m[3]*u+m[4]*v+m[5])/z)
		}
	}
	return dst
}

// whole says whether a quadrilateral is an upright rectangle of w by h on whole pixels, and where it
// begins: nothing needs to be interpolated then.
func whole(q Quad, w, h int) (Pixel, bool) {
	at := truncated(q[0])
	p := at.point()
	return at, q == Quad{p, {p.X + float64(w), p.Y}, {p.X + float64(w), p.Y + float64(h)}, {p.X, p.Y + float64(h)}}
}

// cut copies a rectangle of a picture, whose edge is repeated beyond it.
func cut(src *vision.RGB, at Pixel, w, h int) *vision.RGB {
	dst := vision.NewRGB(w, h)
	for y := range h {
		from := src.Pix[min(max(at.Y+y, 0), src.Height-1)*src.Stride:]
		to := dst.Pix[y*dst.Stride:]
		if at.X >= 0 && at.X+w <= src.Width {
			copy(to[:4*w], from[4*at.X:])
			continue
		}
		for x := range w {
			copy(to[4*x:4*x+4], from[4*min(max(at.X+x, 0), src.Width-1):])
		}
	}
	return dst
}

// cubicA is the coefficient of the cubic kernel (Keys, 1981), OpenCV's.
const cubicA = -0.75

// weights returns those of the four pixels round a place that is part pixels after the second.
func weights(part float64) [4]float64 {
	near := func(d float64) float64 { return ((cubicA+2)*d-(cubicA+3))*d*d + 1 }
	far := func(d float64) float64 { return ((cubicA*d-5*cubicA)*d+8*cubicA)*d - 4*cubicA }
	w := [4]float64{far(part + 1), near(part), near(1 - part)}
	w[3] = 1 - w[0] - w[1] - w[2]
	return w
}

// cubic sets a pixel to what stands at (x, y) between those of a picture.
func cubic(dst []uint8, src *vision.RGB, x, y float64) {
	// Far outside there is the edge alone, however far.
	x = min(max(x, -4), float64(src.Width+4))
	y = min(max(y, -4), float64(src.Height+4))
	x0, y0 := math.Floor(x), math.Floor(y)
	across, down := weights(x-x0), weights(y-y0)
	var sum [3]float64
	for j, v := range down {
		if v == 0 {
			continue
		}
		row := src.Pix[min(max(int(y0)-1+j, 0), src.Height-1)*src.Stride:]
		for i, u := range across {
			p := row[4*min(max(int(x0)-1+i, 0), src.Width-1):]
			for c := range sum {
				sum[c] += v * u * float64(p[c])
			}
		}
	}
	for c, v := range sum {
		dst[c] = uint8(min(max(math.RoundToEven(v), 0), 255))
	}
}

// TurnLeft turns a picture by 90 degrees counterclockwise.
func TurnLeft(src *vision.RGB) *vision.RGB {
	dst := vision.NewRGB(src.Height, src.Width)
	for y := range dst.Height {
		for x := range dst.Width {
			copy(dst.Pix[y*dst.Stride+4*x:][:4], src.Pix[x*src.Stride+4*(src.Width-1-y):])
		}
	}
	return dst
}

// TurnOver turns a picture by 180 degrees.
func TurnOver(src *vision.RGB) *vision.RGB {
	dst := vision.NewRGB(src.Width, src.Height)
	for y := range dst.Height {
		for x := range dst.Width {
			copy(dst.Pix[y*dst.Stride+4*x:][:4], src.Pix[(src.Height-1-y)*src.Stride+4*(src.Width-1-x):])
		}
	}
	return dst
}
