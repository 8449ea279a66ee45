package geometry

import (
	"math"
)

// truncated cuts the fractions of a corner off.
func truncated(p Point) Pixel { return Pixel{int(p.X), int(p.Y)} }

// Mean returns the mean of a map, w values wide, over a quadrilateral whose corners are cut to whole
// pixels, its border included, as OpenCV's fillPoly and mean.
func Mean(values []float32, w int, q Quad) float64 {
	h := len(values) / max(w, 1)
	if h == 0 {
		return 0
	}
	low, high := Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
	for _, p := range q {
		low = Point{min(low.X, p.X), min(low.Y, p.Y)}
		high = Point{max(high.X, p.X), max(high.Y, p.Y)}
	}
	clip := func(v float64, most int) int { return int(min(max(v, 0), float64(most-1))) }
	x0, y0 := clip(math.Floor(low.X), w), clip(math.Floor(low.Y), h)
	x1, y1 := clip(math.Ceil(high.X), w), clip(math.Ceil(high.Y), h)
	var corners [4]Pixel
	for i, p := range q {
		corners[i] = Pixel{int(float32(p.X) - float32(x0)), int(float32(p.Y) - float32(y0))}
	}
	spans := make([]span, y1-y0+1)
	for i := range spans {
		spans[i] = span{math.MaxInt, math.MinInt}
	}
	for i, p := range corners {
		cover(spans, p, corners[(i+1)%4])
	}
	var sum float64
	count := 0
	for i, s := range spans {
		from, to := max(s.from, 0), min(s.to, x1-x0)
		for x := from; x <= to; x++ {
			sum += float64(values[(y0+i)*w+x0+x])
		}
		count += max(0, to-from+1)
	}
	if count == 0 {
		return 0
	}
	return sum / float64(count)
}

// span is what a convex polygon covers of a line of pixels.
type span struct{ from, to int }

func (s *span) reach(x int) { s.from, s.to = min(s.from, x), max(s.to, x) }

// cover widens the spans by the pixels of a line between two of them, drawn from the left to the
// right by Bresenham's algorithm.
func cover(spans []span, a, b Pixel) {
	if a.X > b.X {
		a, b = b, a
	}
	dx, dy, down := b.X-a.X, b.Y-a.Y, 1
	if dy < 0 {
		dy, down = -dy, -1
	}
	steep := dy > dx
	long, short := dx, dy
	if steep {
		long, short = dy, dx
	}
	off := long - 2*short
	for range long + 1 {
		if a.Y >= 0 && a.Y < len(spans) {
			spans[a.Y].reach(a.X)
		}
		both := off < 0
		if both {
			off += 2 * long
		}
		off -= 2 * short
		if steep || both {
			a.Y += down
		}
		if !steep || both {
			a.X++
		}
	}
}

// Area returns the area of a polygon.
func (q Quad) Area() float64 {
	var twice float64
	for i, p := range q {
		n := q[(i+1)%4]
		twice += p.X*n.Y - n.X*p.Y
	}
	return math.Abs(twice) / 2
}

// Length returns the length of the border.
func (q Quad) Length() float64 {
	var sum float64
	for i, p := range q {
		sum += Distance(p, q[(i+1)%4])
	}
	return sum
}

// arcTolerance is how far a rounded corner may stray from the circle, Clipper's own.
const arcTolerance = 0.25

// Grow returns the border of a quadrilateral that is pushed outwards by a distance, with round
// corners, on whole pixels: what Clipper's offset makes (JT_ROUND, ET_CLOSEDPOLYGON) of its corners
// cut to whole pixels. It is empty where those have no area.
func Grow(q Quad, distance float64) []Pixel {
	var corners []Pixel
	for _, p := range q {
		c := truncated(p)
		if len(corners) == 0 || corners[len(corners)-1] != c {
			corners = append(corners, c)
		}
	}
	for len(corners) > 1 && corners[0] == corners[len(corners)-1] {
		corners = corners[:len(corners)-1]
	}
	n := len(corners)
	twice := 0
	for i, p := range corners {
		next := corners[(i+1)%n]
		twice += p.X*next.Y - next.X*p.Y
	}
	if n < 3 || twice == 0 || !(distance > 0) {
		return nil
	}
	if twice < 0 {
		for i := range n / 2 {
			corners[i], corners[n-1-i] = corners[n-1-i], corners[i]
		}
	}
	tolerance := min(arcTolerance, distance*arcTolerance)
	steps := min(math.Pi/math.Acos(1-tolerance/distance), distance*math.Pi) // of a whole turn
	sin, cos := math.Sincos(2 * math.Pi / steps)
	normals := make([]Point, n)
	for i, p := range corners {
		a, b := p.point(), corners[(i+1)%n].point()
		long := Distance(a, b)
		normals[i] = Point{(b.Y - a.Y) / long, -(b.X - a.X) / long}
	}
	var grown []Pixel
	push := func(corner Pixel, to Point) {
		p := Pixel{
			int(math.Round(float64(corner.X) + to.X*distance)),
			int(math.Round(float64(corner.Y) + to.Y*distance)),
		}
		if len(grown) == 0 || grown[len(grown)-1] != p {
			grown = append(grown, p)
		}
	}
	for i, c := range corners {
		before, after := normals[(i+n-1)%n], normals[i]
		turn := before.X*after.Y - after.X*before.Y
		along := before.X*after.X + before.Y*after.Y
		if math.Abs(turn*distance) < 1 && along > 0 {
			push(c, before)
			continue
		}
		turn = min(max(turn, -1), 1)
		if turn < 0 { // the corner points inwards
			push(c, before)
			push(c, Point{})
			push(c, after)
			continue
		}
		angle := math.Abs(math.Atan2(turn, along))
		to := before
		for range max(1, int(math.Round(steps/(2*math.Pi)*angle))) {
			push(c, to)
			to = Point{to.X*cos - sin*to.Y, to.X*sin + to.Y*cos}
		}
		push(c, after)
	}
	return grown
}
