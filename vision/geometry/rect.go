package geometry

import (
	"math"
	"slices"
)

// hull returns the corners of the smallest convex polygon around pixels, clockwise as the eye sees
// them. Where the pixels go round it in their order, either way, the polygon begins with the first
// or the last of them, otherwise with the rightmost and lowest, as OpenCV's convexHull: in a tie
// that decides which rectangle is the smallest one.
func hull(pixels []Pixel) []Pixel {
	order := make([]int, len(pixels))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := pixels[i], pixels[j]
		switch {
		case a.X != b.X:
			return a.X - b.X
		case a.Y != b.Y:
			return a.Y - b.Y
		}
		return i - j
	})
	order = slices.CompactFunc(order, func(i, j int) bool { return pixels[i] == pixels[j] })
	if len(order) < 3 {
		return corners(pixels, order)
	}
	// Andrew's monotone chain: below from the right to the left, then above and back.
	turn := func(i, j, k int) int {
		a, b, c := pixels[i], pixels[j], pixels[k]
		return (b.X-a.X)*(c.Y-b.Y) - (b.Y-a.Y)*(c.X-b.X)
	}
	var ring []int
	half := func(each func(yield func(int) bool)) {
		from := len(ring)
		for i := range each {
			for len(ring) >= from+2 && turn(ring[len(ring)-2], ring[len(ring)-1], i) <= 0 {
				ring = ring[:len(ring)-1]
			}
			ring = append(ring, i)
		}
		ring = ring[:len(ring)-1]
	}
	half(func(yield func(int) bool) {
		for i := len(order) - 1; i >= 0 && yield(order[i]); i-- {
		}
	})
	half(func(yield func(int) bool) {
		for i := 0; i < len(order) && yield(order[i]); i++ {
		}
	})
	return corners(pixels, begin(ring))
}

func corners(pixels []Pixel, at []int) []Pixel {
	out := make([]Pixel, len(at))
	for i, j := range at {
		out[i] = pixels[j]
	}
	return out
}

// begin turns a ring of indices so that they rise or fall, where they can.
func begin(ring []int) []int {
	n := len(ring)
	if n < 3 {
		return ring
	}
	rises := 0
	low, high := 0, 0
	for i, at := range ring {
		if at < ring[(i+1)%n] {
			rises++
		}
		if at < ring[low] {
			low = i
		}
		if at > ring[high] {
			high = i
		}
	}
	first := 0
	switch {
	case rises == n-1:
		first = low
	case rises == 1:
		first = high
	}
	return slices.Concat(ring[first:], ring[:first])
}

// vector is a Point in the precision in which OpenCV turns rectangles.
type vector struct{ x, y float32 }

// Rect is a rectangle that may be turned.
type Rect struct {
	corners [4]vector
	width   float32
	height  float32
}

// Shorter returns the length of the shorter side.
func (r Rect) Shorter() float64 { return float64(min(r.width, r.height)) }

// Quad returns the corners: of the two leftmost the upper one first, then of the two rightmost, in
// reading order round the rectangle.
func (r Rect) Quad() Quad {
	c := r.corners
	slices.SortStableFunc(c[:], func(a, b vector) int {
		switch {
		case a.x < b.x:
			return -1
		case a.x > b.x:
			return 1
		}
		return 0
	})
	if !(c[1].y > c[0].y) {
		c[0], c[1] = c[1], c[0]
	}
	if !(c[3].y > c[2].y) {
		c[2], c[3] = c[3], c[2]
	}
	var q Quad
	for i, v := range [4]vector{c[0], c[2], c[3], c[1]} {
		q[i] = Point{float64(v.x), float64(v.y)}
	}
	return q
}

// MinAreaRect returns the rectangle of the smallest area around pixels, as OpenCV's minAreaRect and
// boxPoints: by calipers that turn round the convex hull (Toussaint, Solving Geometric Problems with
// the Rotating Calipers, 1983), in float32; of equal ones it takes the last.
func MinAreaRect(pixels []Pixel) Rect {
	ring := hull(pixels)
	points := make([]vector, len(ring))
	for i, p := range ring {
		points[i] = vector{float32(p.X), float32(p.Y)}
	}
	switch len(points) {
	case 0:
		return Rect{}
	case 1:
		return Rect{corners: [4]vector{points[0], points[0], points[0], points[0]}}
	case 2:
		return lineRect(points[0], points[1])
	}
	return calipers(points)
}

// lineRect is the rectangle, without height, around two points.
func lineRect(a, b vector) Rect {
	middle := vector{(a.x + b.x) * 0.5, (a.y + b.y) * 0.5}
	dx, dy := float64(a.x-b.x), float64(a.y-b.y)
	long := float32(math.Sqrt(dx*dx + dy*dy))
	switch {
	case dx == 0:
		return turnedRect(middle, long, 0, -math.Pi/2)
	case dy < 0:
		return turnedRect(middle, long, 0, math.Atan2(dy, dx))
	case dy > 0:
		return turnedRect(middle, 0, long, -math.Atan2(dx, dy))
	}
	return turnedRect(middle, 0, long, -math.Pi/2)
}

// calipers turns four sides round a convex polygon, one edge after the other.
func calipers(points []vector) Rect {
	n := len(points)
	edges := make([]vector, n)
	inverse := make([]float32, n) // of the edges' lengths
	var left, bottom, right, top int
	for i, p := range points {
		if p.x < points[left].x {
			left = i
		}
		if p.x > points[right].x {
			right = i
		}
		if p.y > points[top].y {
			top = i
		}
		if p.y < points[bottom].y {
			bottom = i
		}
		next := points[(i+1)%n]
		edges[i] = vector{next.x - p.x, next.y - p.y}
		dx, dy := float64(edges[i].x), float64(edges[i].y)
		inverse[i] = float32(1 / math.Sqrt(dx*dx+dy*dy))
	}
	at := [4]int{bottom, right, top, left} // the corners that the sides touch
	least := float32(math.MaxFloat32)
	var best struct {
		a, b          float32 // the direction of the first side
		width, height float32
		left, bottom  vector
	}
	for range n {
		// The side that has the least way to turn to its next edge.
		ways := [4]vector{
			edges[at[0]],
			{edges[at[1]].y, -edges[at[1]].x},
			{-edges[at[2]].x, -edges[at[2]].y},
			{-edges[at[3]].y, edges[at[3]].x},
		}
		side := 0
		for i := 1; i < 4; i++ {
			if float32(ways[i].y*ways[side].x)-float32(ways[i].x*ways[side].y) < 0 {
				side = i
			}
		}
		lead := at[side]
		lx, ly := edges[lead].x*inverse[lead], edges[lead].y*inverse[lead]
		direction := [4]vector{{lx, ly}, {ly, -lx}, {-lx, -ly}, {-ly, lx}}[side]
		a, b := direction.x, direction.y
		at[side] = (at[side] + 1) % n
		across := vector{points[at[1]].x - points[at[3]].x, points[at[1]].y - points[at[3]].y}
		up := vector{points[at[2]].x - points[at[0]].x, points[at[2]].y - points[at[0]].y}
		width := float32(across.x*a) + float32(across.y*b)
		height := float32(-up.x*b) + float32(up.y*a)
		if area := width * height; area <= least {
			least = area
			best.a, best.b, best.width, best.height = a, b, width, height
			best.left, best.bottom = points[at[3]], points[at[0]]
		}
	}
	a1, b1 := best.a, best.b
	a2, b2 := -best.b, best.a
	c1 := float32(a1*best.left.x) + float32(best.left.y*b1)
	c2 := float32(a2*best.bottom.x) + float32(best.bottom.y*b2)
	inv := 1 / (float32(a1*b2) - float32(a2*b1))
	corner := vector{(float32(c1*b2) - float32(c2*b1)) * inv, (float32(a1*c2) - float32(a2*c1)) * inv}
	across := vector{a1 * best.width, b1 * best.width}
	up := vector{a2 * best.height, b2 * best.height}
	middle := vector{corner.x + float32((across.x+up.x)*0.5), corner.y + float32((across.y+up.y)*0.5)}
	length := func(v vector) float32 {
		x, y := float64(v.x), float64(v.y)
		return float32(math.Sqrt(x*x + y*y))
	}
	if across.x == 0 && across.y > 0 {
		return turnedRect(middle, length(across), length(up), -math.Pi/2)
	}
	return turnedRect(middle, length(up), length(across), -math.Atan2(float64(across.x), float64(across.y)))
}

// turnedRect is the rectangle of a middle, size and angle, as RotatedRect::points has its corners.
// The angle passes through degrees in float32.
func turnedRect(middle vector, width, height float32, angle float64) Rect {
	degrees := float32(angle * 180 / math.Pi)
	angle = float64(degrees) * math.Pi / 180
	b := float32(math.Cos(angle)) * 0.5
	a := float32(math.Sin(angle)) * 0.5
	r := Rect{width: width, height: height}
	r.corners[0] = vector{middle.x - float32(a*height) - float32(b*width), middle.y + float32(b*height) - float32(a*width)}
	r.corners[1] = vector{middle.x + float32(a*height) - float32(b*width), middle.y - float32(b*height) - float32(a*width)}
	for i := range 2 {
		r.corners[2+i] = vector{2*middle.x - r.corners[i].x, 2*middle.y - r.corners[i].y}
	}
	return r
}
