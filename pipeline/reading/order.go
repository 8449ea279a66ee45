package reading

import (
	"cmp"
	"math"
	"slices"

	"github.com/crossattn/xpipe/vision/geometry"
)

// The order of reading is found from the boxes of lines alone. A set of them is arranged so:
//
//  1. A single row at its top or bottom that stands apart, such as a head line, is read first or
//     last.
//  2. A gutter that divides lines of running text, on both sides of it, makes columns: what lies
//     across it, such as headings, is read where it stands, and between two of those all of the left
//     column before the right one. Each part is arranged in the same way, so that three columns are
//     two of which one is two.
//  3. Else the widest gap between rows, if it is wider than usual, divides what is above, which is
//     read first, from what is below.
//  4. Else it is a block: read row by row, each from the left.
//
// This is the recursive XY cut (Nagy and Seth, 1984) with two changes: gutters may be crossed, and
// only what looks like running text makes columns, so that tables, forms and receipts are read by
// rows.

// box is the upright rectangle of a line, in pixels of a page that stands upright and level.
type box struct{ left, top, right, bottom float64 }

func (b box) width() float64  { return b.right - b.left }
func (b box) height() float64 { return b.bottom - b.top }
func (b box) middle() float64 { return (b.top + b.bottom) / 2 }

// place is where a box comes in the order of reading.
type place struct {
	box, block, row int
	gap             bool // it stands apart from the one before it in its row
}

// boxesOf returns the boxes of strips on a page that is turned upright, by degrees clockwise, and
// level: by the angle that most lines have.
func boxesOf(strips []*strip, turn int) (boxes []box, aside []bool) {
	upright := func(p geometry.Point) geometry.Point {
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
	boxes, aside = make([]box, len(strips)), make([]bool, len(strips))
	quads := make([]geometry.Quad, len(strips))
	type slope struct{ angle, long float64 }
	var slopes []slope
	var total float64
	for i, s := range strips {
		for j, p := range s.quad {
			quads[i][j] = upright(p)
		}
		// The line's top edge as it is read.
		first := quads[i]
		for first[0].X+first[0].Y > min(first[1].X+first[1].Y, first[2].X+first[2].Y, first[3].X+first[3].Y) {
			first = geometry.Quad{first[1], first[2], first[3], first[0]}
		}
		quads[i] = first
		dx, dy := first[1].X-first[0].X, first[1].Y-first[0].Y
		aside[i] = s.upended != (turn%180 == 90)
		if long := math.Hypot(dx, dy); !aside[i] && s.ratio() > 3 && dx > 0 {
			slopes = append(slopes, slope{math.Atan2(dy, dx), long})
			total += long
		}
	}
	level := 0.0 // the median, by length
	slices.SortFunc(slopes, func(a, b slope) int { return cmp.Compare(a.angle, b.angle) })
	sum := 0.0
	for _, s := range slopes {
		if sum += s.long; sum >= total/2 {
			level = s.angle
			break
		}
	}
	sin, cos := math.Sincos(-level)
	for i, q := range quads {
		b := box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
		for _, p := range q {
			x, y := p.X*cos-p.Y*sin, p.X*sin+p.Y*cos
			b = box{min(b.left, x), min(b.top, y), max(b.right, x), max(b.bottom, y)}
		}
		boxes[i] = b
	}
	return boxes, aside
}

// inOrder returns the places of boxes, in the order of reading. Those aside run otherwise than the
// others and come last.
func inOrder(boxes []box, aside []bool) []place {
	o := &order{boxes: boxes}
	var set, rest []int
	for i := range boxes {
		if aside != nil && aside[i] {
			rest = append(rest, i)
		} else {
			set = append(set, i)
		}
	}
	o.arrange(set)
	for _, i := range rest {
		o.block([]int{i})
	}
	return o.places
}

type order struct {
	boxes  []box
	places []place
	blocks int
	rows   int
}

// arrange adds the places of a set of boxes.
func (o *order) arrange(set []int) {
	if len(set) < 2 {
		o.block(set)
		return
	}
	high := o.usualHeight(set)
	bands := o.bands(set)
	const apart, few = 0.8, 3
	if n := len(bands); n > 1 && len(set) > few {
		switch {
		case o.isRow(bands[0], few) && o.gap(bands[0], bands[1]) >= apart*high && !o.aligned(bands[0], set, high):
			o.block(bands[0])
			o.arrange(slices.Concat(bands[1:]...))
			return
		case o.isRow(bands[n-1], few) && o.gap(bands[n-2], bands[n-1]) >= apart*high && !o.aligned(bands[n-1], set, high):
			o.arrange(slices.Concat(bands[:n-1]...))
			o.block(bands[n-1])
			return
		}
	}
	if at, ok := o.gutter(set, high); ok {
		o.columns(set, at)
		return
	}
	if at := o.widestGap(bands, high); at > 0 {
		o.arrange(slices.Concat(bands[:at]...))
		o.arrange(slices.Concat(bands[at:]...))
		return
	}
	o.block(set)
}

// usualHeight is the median of the boxes' heights.
func (o *order) usualHeight(set []int) float64 {
	heights := make([]float64, len(set))
	for i, b := range set {
		heights[i] = o.boxes[b].height()
	}
	return median(heights)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// bands divides a set where nothing lies, over all its width, from the top. What overlaps by less
// than a fifth of a line counts as divided.
func (o *order) bands(set []int) [][]int {
	sorted := slices.Clone(set)
	slices.SortStableFunc(sorted, func(a, b int) int { return cmp.Compare(o.boxes[a].top, o.boxes[b].top) })
	slack := o.usualHeight(set) / 5
	var bands [][]int
	bottom := math.Inf(-1)
	for _, i := range sorted {
		if b := o.boxes[i]; len(bands) == 0 || b.top >= bottom-slack {
			bands = append(bands, nil)
		}
		bands[len(bands)-1] = append(bands[len(bands)-1], i)
		bottom = max(bottom, o.boxes[i].bottom)
	}
	return bands
}

// extent is the box around a set.
func (o *order) extent(set []int) box {
	all := box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	for _, i := range set {
		b := o.boxes[i]
		all = box{min(all.left, b.left), min(all.top, b.top), max(all.right, b.right), max(all.bottom, b.bottom)}
	}
	return all
}

// gap is how far a set lies below another one.
func (o *order) gap(above, below []int) float64 {
	return o.extent(below).top - o.extent(above).bottom
}

// isRow says whether a set is one row, of few boxes.
func (o *order) isRow(set []int, few int) bool { return len(set) <= few && len(o.split(set)) == 1 }

// aligned says whether all boxes of a row begin where lines of the set do, as the first and last lines
// of columns, and not head and foot lines.
func (o *order) aligned(row, set []int, high float64) bool {
	for _, i := range row {
		same := 0
		for _, j := range set {
			if math.Abs(o.boxes[j].left-o.boxes[i].left) < high/2 {
				same++
			}
		}
		if same <= leastLines {
			return false
		}
	}
	return true
}

// widestGap returns before which band the widest gap is, where it is wider than usual by half a line;
// 0 where none is.
func (o *order) widestGap(bands [][]int, high float64) int {
	at, widest := 0, 0.0
	var gaps []float64
	for i := 1; i < len(bands); i++ {
		g := o.gap(bands[i-1], bands[i])
		if gaps = append(gaps, g); g > widest {
			at, widest = i, g
		}
	}
	if at > 0 && widest >= median(gaps)+high/2 {
		return at
	}
	return 0
}

// What makes columns of running text: lines of both sides so many times longer than high, and so
// much of the widest one's width, in the median; boxes of each; how many may lie across; and how wide
// the gutter may be, in heights of a line and in widths.
const (
	longLine    = 6
	filledLine  = 0.75
	leastLines  = 3
	mostAcross  = 0.3
	leastGutter = 0.15 // of a line's height
	mostGutter  = 0.35 // of a line's width
	leastBeside = 0.3  // of the shorter side's height
	headline    = 1.3  // of a line's height
)

// gutter returns where the best gutter is.
func (o *order) gutter(set []int, high float64) (x float64, ok bool) {
	all := o.extent(set)
	step := max(high/10, (all.right-all.left)/4096)
	if !(step > 0) || len(set) < 2*leastLines {
		return 0, false
	}
	cover := make([]int, int((all.right-all.left)/step)+2) // how many boxes lie over each step
	for _, i := range set {
		b := o.boxes[i]
		cover[int((b.left-all.left)/step)]++
		cover[int((b.right-all.left)/step)+1]--
	}
	for i := 1; i < len(cover); i++ {
		cover[i] += cover[i-1]
	}
	type candidate struct {
		x, wide float64
		across  int
	}
	var candidates []candidate
	for from := 1; from < len(cover)-1; {
		to := from + 1
		for to < len(cover)-1 && cover[to] == cover[from] {
			to++
		}
		if cover[from-1] > cover[from] && cover[to] > cover[from] && float64(to-from)*step >= leastGutter*high &&
			float64(cover[from]) <= mostAcross*float64(len(set)) {
			candidates = append(candidates, candidate{
				all.left + (float64(from+to)/2)*step, float64(to - from), cover[from],
			})
		}
		from = to
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.across, b.across), cmp.Compare(b.wide, a.wide))
	})
	const most = 32
	for _, c := range candidates[:min(len(candidates), most)] {
		left, right, _ := o.sides(set, c.x)
		if o.running(left, high) && o.running(right, high) && o.beside(left, right) {
			return c.x, true
		}
	}
	return 0, false
}

// sides divides a set into what lies left and right of a gutter, and across it. A line that is higher
// than others and has nothing beside it, such as a heading, counts as across.
func (o *order) sides(set []int, x float64) (left, right, across []int) {
	high := o.usualHeight(set)
	for _, band := range o.bands(set) {
		if len(band) == 1 && o.boxes[band[0]].height() >= headline*high {
			across = append(across, band[0])
			continue
		}
		l, r, a := o.cut(band, x)
		left, right, across = append(left, l...), append(right, r...), append(across, a...)
	}
	return left, right, across
}

func (o *order) cut(set []int, x float64) (left, right, across []int) {
	for _, i := range set {
		switch b := o.boxes[i]; {
		case b.right <= x:
			left = append(left, i)
		case b.left >= x:
			right = append(right, i)
		default:
			across = append(across, i)
		}
	}
	return left, right, across
}

// running says whether boxes look like lines of running text: long ones, most as wide as the widest
// that begin where they do.
func (o *order) running(set []int, high float64) bool {
	if len(set) < leastLines {
		return false
	}
	var long, filled []float64
	for _, i := range set {
		b := o.boxes[i]
		widest := 0.0
		for _, j := range set {
			if c := o.boxes[j]; math.Abs(b.left-c.left) < high/2 {
				widest = max(widest, c.width())
			}
		}
		long = append(long, b.width()/b.height())
		filled = append(filled, b.width()/widest)
	}
	return median(long) >= longLine && median(filled) >= filledLine
}

// beside says whether two sides stand next to each other, and not one above the other, and no further
// apart than columns do.
func (o *order) beside(left, right []int) bool {
	var widths []float64
	for _, i := range slices.Concat(left, right) {
		widths = append(widths, o.boxes[i].width())
	}
	a, b := o.extent(left), o.extent(right)
	return min(a.bottom, b.bottom)-max(a.top, b.top) >= leastBeside*min(a.height(), b.height()) &&
		b.left-a.right <= mostGutter*median(widths)
}

// columns arranges the sides of a gutter. What lies across it divides them.
func (o *order) columns(set []int, x float64) {
	left, right, across := o.sides(set, x)
	slices.SortStableFunc(across, func(a, b int) int {
		return cmp.Compare(o.boxes[a].middle(), o.boxes[b].middle())
	})
	above := func(side []int, y float64) (before, after []int) {
		for _, i := range side {
			if o.boxes[i].middle() < y {
				before = append(before, i)
			} else {
				after = append(after, i)
			}
		}
		return before, after
	}
	var together []int // lines across with nothing between them
	for _, i := range across {
		var l, r []int
		l, left = above(left, o.boxes[i].middle())
		r, right = above(right, o.boxes[i].middle())
		if len(l)+len(r) > 0 {
			o.arrangeAny(together)
			together = nil
			o.arrangeAny(l)
			o.arrangeAny(r)
		}
		together = append(together, i)
	}
	o.arrangeAny(together)
	o.arrangeAny(left)
	o.arrangeAny(right)
}

func (o *order) arrangeAny(set []int) {
	if len(set) > 0 {
		o.arrange(set)
	}
}

// split divides a set into rows, from the top: a box belongs to a row where it overlaps half of the
// lower one's height. Rows are from the left.
func (o *order) split(set []int) [][]int {
	sorted := slices.Clone(set)
	slices.SortStableFunc(sorted, func(a, b int) int {
		return cmp.Compare(o.boxes[a].middle(), o.boxes[b].middle())
	})
	var rows [][]int
	var top, bottom float64
	for _, i := range sorted {
		b := o.boxes[i]
		if len(rows) == 0 || min(bottom, b.bottom)-max(top, b.top) < 0.5*min(bottom-top, b.height()) {
			rows = append(rows, nil)
			top, bottom = b.top, b.bottom
		}
		last := &rows[len(rows)-1]
		*last = append(*last, i)
		// The row's own height stays: else a slope would draw in the next row.
		top, bottom = max(top, b.top), min(bottom, b.bottom)
		if bottom-top < b.height()/2 {
			top, bottom = b.top, b.bottom
		}
	}
	for _, row := range rows {
		slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(o.boxes[a].left, o.boxes[b].left) })
	}
	return rows
}

// block adds a set as one block, row by row.
func (o *order) block(set []int) {
	const cell = 1 // of a line's height: what stands further apart is a cell
	for _, row := range o.split(set) {
		for j, i := range row {
			p := place{box: i, block: o.blocks, row: o.rows}
			if j > 0 {
				b := o.boxes[i]
				p.gap = b.left-o.boxes[row[j-1]].right > cell*b.height()
			}
			o.places = append(o.places, p)
		}
		o.rows++
	}
	o.blocks++
}
