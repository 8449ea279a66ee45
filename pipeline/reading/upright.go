package reading

import (
	"cmp"
	"math"
	"slices"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/layout"
	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/geometry"
)

// upright is a page turned upright, by degrees clockwise, and level, by the angle that most of its lines
// have: the axes on which a page is laid out. Its size is that of the smallest rectangle in which the
// turned picture has room.
type upright struct {
	sheet         *sheet
	turn          int
	sin, cos      float64
	left, top     float64
	width, height float64
}

// newUpright finds the axes of a page by the strips that are read on it.
func newUpright(s *sheet, strips []*strip, turn int) *upright {
	u := &upright{sheet: s, turn: turn, cos: 1}
	const least = 0.1 * math.Pi / 180 // less shows in no line
	if a := level(strips, turn); math.Abs(a) >= least {
		u.sin, u.cos = math.Sincos(-a)
	}
	left, top, right, bottom := bounds(s.corners(), u.to)
	u.left, u.top, u.width, u.height = left, top, max(right-left, 1), max(bottom-top, 1)
	return u
}

// turned turns a point by whole right angles.
func turned(p geometry.Point, turn int) geometry.Point {
	switch turn {
	case 90:
		return geometry.Point{X: -p.Y, Y: p.X}
	case 180:
		return geometry.Point{X: -p.X, Y: -p.Y}
	case 270:
		return geometry.Point{X: p.Y, Y: -p.X}
	}
	return p
}

// level returns the angle of lines on a turned page in radians: the median, by length, of those that
// are long and run across it.
func level(strips []*strip, turn int) float64 {
	type slope struct{ angle, long float64 }
	var slopes []slope
	var total float64
	for _, s := range strips {
		if s.aside(turn) || s.ratio() <= 3 {
			continue
		}
		var q geometry.Quad
		for j, p := range s.quad {
			q[j] = turned(p, turn)
		}
		// The line's top edge as it is read.
		for q[0].X+q[0].Y > min(q[1].X+q[1].Y, q[2].X+q[2].Y, q[3].X+q[3].Y) {
			q = geometry.Quad{q[1], q[2], q[3], q[0]}
		}
		dx, dy := q[1].X-q[0].X, q[1].Y-q[0].Y
		if long := math.Hypot(dx, dy); dx > 0 {
			slopes = append(slopes, slope{math.Atan2(dy, dx), long})
			total += long
		}
	}
	slices.SortFunc(slopes, func(a, b slope) int { return cmp.Compare(a.angle, b.angle) })
	sum := 0.0
	for _, s := range slopes {
		if sum += s.long; sum >= total/2 {
			return s.angle
		}
	}
	return 0
}

// aside reports whether a strip runs down a page that is turned so.
func (s *strip) aside(turn int) bool { return s.upended != (turn%180 == 90) }

// to maps a place on the sheet's picture onto the upright page, in pixels.
func (u *upright) to(p geometry.Point) geometry.Point {
	p = turned(p, u.turn)
	return geometry.Point{X: p.X*u.cos - p.Y*u.sin - u.left, Y: p.X*u.sin + p.Y*u.cos - u.top}
}

// from is the inverse of to.
func (u *upright) from(p geometry.Point) geometry.Point {
	x, y := p.X+u.left, p.Y+u.top
	return turned(geometry.Point{X: x*u.cos + y*u.sin, Y: -x*u.sin + y*u.cos}, (360-u.turn)%360)
}

// bounds returns the extent of a quadrilateral that is mapped.
func bounds(q geometry.Quad, to func(geometry.Point) geometry.Point) (left, top, right, bottom float64) {
	left, top, right, bottom = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range q {
		p = to(p)
		left, top, right, bottom = min(left, p.X), min(top, p.Y), max(right, p.X), max(bottom, p.Y)
	}
	return left, top, right, bottom
}

// box returns the box around a quadrilateral of the sheet's picture, in units of the upright page.
func (u *upright) box(q geometry.Quad) document.Box {
	left, top, right, bottom := bounds(q, u.to)
	return document.Box{X0: left / u.width, Y0: top / u.height, X1: right / u.width, Y1: bottom / u.height}
}

// quad returns where a box of the upright page lies on the page as it came.
func (u *upright) quad(b document.Box) Quad {
	var q geometry.Quad
	for i, c := range b.Quad() {
		q[i] = u.from(geometry.Point{X: c[0] * u.width, Y: c[1] * u.height})
	}
	return u.sheet.quad(q)
}

// straight reports whether the upright page is the sheet's picture itself.
func (u *upright) straight() bool {
	return u.turn == 0 && u.sin == 0 && u.left == 0 && u.top == 0
}

// picture returns the upright page's pixels.
func (u *upright) picture() *vision.RGB {
	if u.straight() {
		return u.sheet.picture
	}
	var q geometry.Quad
	for i, c := range (document.Box{X1: 1, Y1: 1}).Quad() {
		q[i] = u.from(geometry.Point{X: c[0] * u.width, Y: c[1] * u.height})
	}
	return geometry.Crop(u.sheet.picture, q, int(math.Ceil(u.width)), int(math.Ceil(u.height)))
}

// usualSize is the size of a font in points that most text is printed in: what a page is taken to have
// whose resolution nobody knows. A line's box is a fifth higher than its font.
const (
	usualSize  = 10
	boxBySize  = 1.2
	usualScale = 72. / 150 // points a pixel, of a page without text
)

// page describes an upright page for package layout: words, ruling lines and figures.
func (u *upright) page(strips []*strip, regions []region) *document.Page {
	heights := make([]float64, 0, len(strips))
	for _, s := range strips {
		if !s.aside(u.turn) {
			heights = append(heights, s.high())
		}
	}
	usual := usualSize * boxBySize / usualScale
	if len(heights) > 0 {
		slices.Sort(heights)
		usual = heights[len(heights)/2]
	}
	points := usualSize * boxBySize / usual // a pixel
	p := &document.Page{Number: 1, Width: u.width * points, Height: u.height * points}
	sizes := alike(heights)
	for _, s := range strips {
		size := s.high()
		angle := float64((s.angle() + u.turn) % 360)
		if !s.aside(u.turn) {
			size, angle = sizes(size), 0
		}
		for _, w := range s.words(false) {
			p.Words = append(p.Words, document.Word{
				Text: w.Text, Box: u.box(s.part(w.from, w.to)), Size: size * points / boxBySize, Angle: angle,
			})
		}
	}
	boxes := make([]document.Box, len(regions))
	for i, r := range regions {
		boxes[i] = u.box(r.quad)
	}
	p.Rules, p.Figures = drawn(u.picture(), boxes, usual)
	return p
}

// high is a strip's height in pixels of the page.
func (s *strip) high() float64 { return float64(s.picture.Height) }

// alike puts heights of lines that differ little into classes, as fonts have a few sizes and lines of
// one font differ by which letters they have; it returns the middle of a height's class.
func alike(sorted []float64) func(float64) float64 {
	const step, slack = 1.1, 1.5 // from one height to the next of a class: times, and pixels beyond
	type class struct{ from, to, middle float64 }
	var classes []class
	for k := 0; k < len(sorted); {
		n := k + 1
		for n < len(sorted) && sorted[n] <= sorted[n-1]*step+slack {
			n++
		}
		classes = append(classes, class{sorted[k], sorted[n-1], sorted[(k+n)/2]})
		k = n
	}
	return func(h float64) float64 {
		for _, c := range classes {
			if h >= c.from && h <= c.to {
				return c.middle
			}
		}
		return h
	}
}

// order returns the reading order of strips: those that run otherwise than the page come last.
func (u *upright) order(strips []*strip) []int {
	var boxes []document.Box
	var along, aside []int
	for i, s := range strips {
		if s.aside(u.turn) {
			aside = append(aside, i)
			continue
		}
		boxes = append(boxes, u.box(s.quad))
		along = append(along, i)
	}
	order := make([]int, 0, len(strips))
	for _, k := range layout.Order(boxes, u.width/u.height) {
		order = append(order, along[k])
	}
	return append(order, aside...)
}
