package layout

import (
	"cmp"
	"math"
	"slices"
)

// usualAspect is the width of a sheet of A4 by its height, where a page's is not known.
const usualAspect = 1 / math.Sqrt2

// Order returns the reading order of boxes of lines (and of tables and figures, whose boxes are
// higher): indexes into lines. aspect is the page's width by its height; 0 stands for a sheet of A4.
// The order is the same however lines are shuffled, but for boxes that are equal. It takes
// n log n steps at each of at most 24 levels of columns.
func Order(lines []Box, aspect float64) []int {
	head, parts, foot := leaves(lines, aspect)
	order := head
	for _, part := range parts {
		order = append(order, part...)
	}
	return append(order, foot...)
}

// leaves is Order, with the parts that are read in rows: columns between what crosses them.
func leaves(lines []Box, aspect float64) (head []int, parts [][]int, foot []int) {
	if !(aspect > 1e-3 && aspect < 1e3) {
		aspect = usualAspect
	}
	o := &orderer{boxes: make([]Box, len(lines))}
	ids := make([]int, len(lines))
	heights := make([]float64, len(lines))
	for i, b := range lines {
		b = sane(b)
		// In heights of the page from here on, in both directions.
		o.boxes[i] = Box{X0: b.X0 * aspect, Y0: b.Y0, X1: b.X1 * aspect, Y1: b.Y1}
		ids[i] = i
		heights[i] = b.H()
	}
	o.high = max(median(heights), 1e-4)
	o.sort(ids)
	head, ids, foot = o.edges(ids)
	o.order(ids, 0)
	return o.rows(head), o.parts, o.rows(foot)
}

// sane returns a box with its corners in order and near the page: files say what they like.
func sane(b Box) Box {
	for _, v := range []*float64{&b.X0, &b.Y0, &b.X1, &b.Y1} {
		if math.IsNaN(*v) {
			*v = 0
		}
		*v = min(max(*v, -100), 100)
	}
	return Box{X0: min(b.X0, b.X1), Y0: min(b.Y0, b.Y1), X1: max(b.X0, b.X1), Y1: max(b.Y0, b.Y1)}
}

type orderer struct {
	boxes []Box
	high  float64 // of a line, usually
	parts [][]int // what is read in rows, in order
}

// leaf adds boxes that are read in rows.
func (o *orderer) leaf(ids []int) {
	if len(ids) > 0 {
		o.parts = append(o.parts, o.rows(ids))
	}
}

// sort puts boxes from top to bottom, and from left to right where that is equal.
func (o *orderer) sort(ids []int) {
	slices.SortFunc(ids, func(a, b int) int {
		p, q := o.boxes[a], o.boxes[b]
		return cmp.Or(cmp.Compare(p.Y0, q.Y0), cmp.Compare(p.X0, q.X0), cmp.Compare(p.Y1, q.Y1),
			cmp.Compare(p.X1, q.X1), cmp.Compare(a, b))
	})
}

// edge is how far from the upper and lower edge of the page what stands there alone may be.
const edge = 0.065

// edges takes off what stands alone at the upper and lower edge: headers and page numbers.
func (o *orderer) edges(ids []int) (head, middle, foot []int) {
	low := func(i int) bool { return o.boxes[i].Y1 < edge }
	upper, lower := 0.0, 1.0
	next, last := math.Inf(1), math.Inf(-1)
	for _, i := range ids {
		b := o.boxes[i]
		switch {
		case low(i):
			upper = max(upper, b.Y1)
		case b.Y0 > 1-edge:
			lower = min(lower, b.Y0)
		}
		if !low(i) {
			next = min(next, b.Y0)
		}
		if b.Y0 <= 1-edge {
			last = max(last, b.Y1)
		}
	}
	gap := 1.5 * o.high
	hasHead := next-upper > gap && upper > 0
	hasFoot := lower-last > gap && lower < 1
	for _, i := range ids {
		switch {
		case hasHead && low(i):
			head = append(head, i)
		case hasFoot && o.boxes[i].Y0 > 1-edge:
			foot = append(foot, i)
		default:
			middle = append(middle, i)
		}
	}
	return head, middle, foot
}

const deepest = 24

// order puts boxes, sorted from top to bottom, into reading order.
func (o *orderer) order(ids []int, depth int) {
	if n := o.heading(ids); n > 0 && depth < deepest {
		o.leaf(ids[:n])
		o.order(ids[n:], depth+1)
		return
	}
	x, ok := o.gutter(ids)
	if !ok || depth == deepest {
		o.leaf(ids)
		return
	}
	left, right, crossing := o.bands(ids, x)
	// Bands end where a line crosses.
	for len(left)+len(right)+len(crossing) > 0 {
		until := math.Inf(1)
		if len(crossing) > 0 {
			until = o.boxes[crossing[0]].CY()
		}
		var l, r []int
		l, left = o.above(left, until)
		r, right = o.above(right, until)
		o.order(l, depth+1)
		o.order(r, depth+1)
		if len(crossing) == 0 {
			continue
		}
		// All that cross before the next band begins.
		next := math.Inf(1)
		for _, side := range [][]int{left, right} {
			if len(side) > 0 {
				next = min(next, o.boxes[side[0]].CY())
			}
		}
		n := 1
		for n < len(crossing) && o.boxes[crossing[n]].CY() <= next {
			n++
		}
		o.order(crossing[:n], depth+1)
		crossing = crossing[n:]
	}
}

// heading returns how many lines at the top stand alone, none beside them, with space below them, where
// columns begin under them: no line below begins where they do, as those of a column would, or there are
// lines on both sides soon below. A head line of two or three boxes does, too, where not all begin a column.
func (o *orderer) heading(ids []int) (n int) {
	if n := o.headLine(ids); n > 0 {
		return n
	}
	aligned := false
	for n < len(ids)-1 {
		b, next := o.boxes[ids[n]], o.boxes[ids[n+1]]
		if next.Y0 < b.Y1 || b.H() > 6*o.high {
			return 0
		}
		aligned = aligned || o.beginsColumn(b, ids[n+1:])
		n++
		if next.Y0-b.Y1 <= o.high {
			continue
		}
		if !aligned {
			return n
		}
		left, right := false, false
		for _, i := range ids[n:] {
			c := o.boxes[i]
			if c.Y0 > next.Y1+4*o.high {
				break
			}
			left = left || c.X1 < b.X0
			right = right || c.X0 > b.X1
		}
		if left && right {
			return n
		}
		return 0
	}
	return 0
}

// beginsColumn reports whether lines below begin where b does; some words do by chance.
func (o *orderer) beginsColumn(b Box, below []int) bool {
	same := 0
	for _, i := range below {
		if math.Abs(o.boxes[i].X0-b.X0) < o.high/2 {
			same++
		}
	}
	return same > 1+(len(below)+1)/20
}

// headLine returns how many boxes, two or three, stand level at the top with space below them, not all
// of which begin a column; 0 for none.
func (o *orderer) headLine(ids []int) (n int) {
	var row Box
	for n < len(ids) && (n == 0 || o.boxes[ids[n]].Y0 < row.Y1) {
		if n == 3 || o.boxes[ids[n]].H() > 3*o.high || n > 0 && !o.beside(o.boxes[ids[n]], o.boxes[ids[0]]) {
			return 0
		}
		row = row.Union(o.boxes[ids[n]])
		n++
	}
	if n < 2 || n == len(ids) || o.boxes[ids[n]].Y0-row.Y1 <= o.high {
		return 0
	}
	for _, i := range ids[:n] {
		if !o.beginsColumn(o.boxes[i], ids[n:]) {
			return n
		}
	}
	return 0
}

// above parts a side where its boxes' middles pass y, which they do in order but for high boxes.
func (o *orderer) above(ids []int, y float64) (upper, rest []int) {
	for _, i := range ids {
		if o.boxes[i].CY() < y {
			upper = append(upper, i)
		} else {
			rest = append(rest, i)
		}
	}
	return upper, rest
}

// part sorts boxes by the side of a gutter that they are on.
func (o *orderer) part(ids []int, x float64) (left, right, crossing []int) {
	for _, i := range ids {
		switch b := o.boxes[i]; {
		case b.X1 <= x+o.slack():
			left = append(left, i)
		case b.X0 >= x-o.slack():
			right = append(right, i)
		default:
			crossing = append(crossing, i)
		}
	}
	return left, right, crossing
}

// bands is part, but that lines which stand alone in the whole width count as crossing, too, where they
// are wider than a column, or higher than its lines and between parts of both sides: titles over two of three
// columns, short ones over two.
func (o *orderer) bands(ids []int, x float64) (left, right, crossing []int) {
	left, right, crossing = o.part(ids, x)
	widths := make([]float64, len(ids))
	for k, i := range ids {
		widths[k] = o.boxes[i].W()
	}
	slices.Sort(widths)
	wide := 1.15 * widths[len(widths)*9/10]
	alone := func(k int, above, below float64) bool {
		b := o.boxes[ids[k]]
		for j := k - 1; j >= 0 && j >= k-8; j-- {
			if o.boxes[ids[j]].Y1+above > b.Y0 {
				return false
			}
		}
		return k+1 == len(ids) || o.boxes[ids[k+1]].Y0 >= b.Y1+below
	}
	from, until := math.Inf(1), math.Inf(-1) // where both sides have begun, and one ends
	if len(left) > 0 && len(right) > 0 {
		from = max(o.boxes[left[0]].Y1, o.boxes[right[0]].Y1)
		until = min(o.boxes[left[len(left)-1]].Y0, o.boxes[right[len(right)-1]].Y0)
	}
	titles := map[int]bool{}
	for k, i := range ids {
		b := o.boxes[i]
		high := b.H() > 1.1*o.high && b.H() < 3*o.high && b.Y0 > from && b.Y1 < until
		if b.W() > wide && alone(k, 0, 0) || high && alone(k, 2*o.high, o.high) {
			titles[i] = true
		}
	}
	is := func(i int) bool { return titles[i] }
	if l, r := slices.DeleteFunc(slices.Clone(left), is), slices.DeleteFunc(slices.Clone(right), is); len(l) > 0 && len(r) > 0 {
		for _, i := range slices.Concat(left, right) {
			if titles[i] {
				crossing = append(crossing, i)
			}
		}
		left, right = l, r
		o.sort(crossing)
	}
	return left, right, crossing
}

// slack is how far a line may reach into a gutter.
func (o *orderer) slack() float64 { return o.high / 4 }

const strips = 512

// gutter returns the middle of the strip that parts columns best: the one that fewest lines cross, and
// of those the widest.
func (o *orderer) gutter(ids []int) (x float64, ok bool) {
	if len(ids) < 4 {
		return 0, false
	}
	var all Box
	for _, i := range ids {
		all = all.Union(o.boxes[i])
	}
	step := all.W() / strips
	if step <= 0 || math.IsNaN(step) || math.IsInf(step, 0) {
		return 0, false
	}
	var change [strips + 1]int
	for _, i := range ids {
		b := o.boxes[i]
		from := int((b.X0 + o.slack() - all.X0) / step)
		to := int(math.Ceil((b.X1 - o.slack() - all.X0) / step))
		from, to = max(from, 0), min(to, strips)
		if from < to {
			change[from]++
			change[to]--
		}
	}
	covered := make([]int, strips)
	n := 0
	for s := range strips {
		n += change[s]
		covered[s] = n
	}
	levels := slices.Clone(covered)
	slices.Sort(levels)
	levels = slices.Compact(levels)
	tried := 0
	for _, level := range levels {
		// Runs of strips that at most level lines cross, the widest first. With slack on both sides they
		// seem wider than they are.
		type run struct{ from, to int }
		var runs []run
		from := -1
		for s, c := range covered {
			switch {
			case c <= level && from < 0:
				from = s
			case c > level && from >= 0:
				if from > 0 && float64(s-from)*step-2*o.slack() >= 0.4*o.high {
					runs = append(runs, run{from, s})
				}
				from = -1
			}
		}
		slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(b.to-b.from, a.to-a.from) })
		for _, r := range runs {
			x := all.X0 + float64(r.from+r.to)/2*step
			if o.columns(ids, x) {
				return x, true
			}
			if tried++; tried == 32 {
				return 0, false
			}
		}
	}
	return 0, false
}

// columns reports whether a gutter parts columns of text.
func (o *orderer) columns(ids []int, x float64) bool {
	left, right, crossing := o.part(ids, x)
	if len(left) < 2 || len(right) < 2 || o.rowCount(crossing) > 3*(o.rowCount(left)+o.rowCount(right)) {
		return false
	}
	// Do both sides stand side by side anywhere between lines that cross? Gaps between words that
	// happen to stand one below the other do, too, but hardly in more than two rows.
	beside := false
	l, r := left, right
	for k := 0; k <= len(crossing) && !beside; k++ {
		to := math.Inf(1)
		if k < len(crossing) {
			to = o.boxes[crossing[k]].CY()
		}
		var inLeft, inRight []int
		inLeft, l = o.above(l, to)
		inRight, r = o.above(r, to)
		beside = len(inLeft) > 0 && len(inRight) > 0 && o.rowCount(inLeft)+o.rowCount(inRight) >= 5
	}
	if !beside || !o.aligned(right) {
		return false
	}
	if o.prose(left) && o.prose(right) {
		return true
	}
	return min(len(left), len(right)) >= 4 && o.level(left, right) < 0.6
}

// aligned reports whether at least two in five rows of boxes begin at one place, as those of a column
// do and words behind a wide gap do not.
func (o *orderer) aligned(ids []int) bool {
	var starts []float64
	end := math.Inf(-1)
	for _, i := range ids { // from top to bottom
		b := o.boxes[i]
		if b.CY() > end {
			starts = append(starts, b.X0)
			end = b.Y1
		} else {
			starts[len(starts)-1] = min(starts[len(starts)-1], b.X0)
		}
	}
	slices.Sort(starts)
	most, from := 0, 0
	for k, x := range starts {
		for x-starts[from] > o.high/4 {
			from++
		}
		most = max(most, k-from+1)
	}
	return most >= min(3, len(starts)) && most*5 >= len(starts)*2
}

// rowCount is how many rows boxes stand in, which are sorted from top to bottom.
func (o *orderer) rowCount(ids []int) (n int) {
	end := math.Inf(-1)
	for _, i := range ids {
		if b := o.boxes[i]; b.CY() > end {
			n++
			end = b.Y1
		}
	}
	return n
}

// prose reports whether boxes look like lines of a column, where what stands in a row with gaps of less
// than two and a half times its height counts as one: lines that are spread to the column's width.
func (o *orderer) prose(ids []int) bool {
	rows := slices.Clone(ids)
	rows = o.rows(rows)
	var widths []float64
	var line Box
	for _, i := range rows {
		b := o.boxes[i]
		if line != (Box{}) && o.beside(line, b) && b.X0 >= line.X0 && b.X0-line.X1 < 2.5*o.high {
			line = line.Union(b)
			widths[len(widths)-1] = line.W()
			continue
		}
		line = b
		widths = append(widths, b.W())
	}
	return median(widths) >= 10*o.high
}

// level returns which share of the smaller side's boxes stand level with one of the other side.
func (o *orderer) level(left, right []int) float64 {
	if len(left) > len(right) {
		left, right = right, left
	}
	n := 0
	from := 0
	for _, i := range left {
		b := o.boxes[i]
		// Both are sorted by their upper sides: what ends well above b is level with none that follows,
		// but for high boxes, which do not matter here.
		for from < len(right) && o.boxes[right[from]].Y1 < b.Y0 {
			from++
		}
		for _, j := range right[from:] {
			if o.boxes[j].Y0 > b.Y1 {
				break
			}
			if o.beside(b, o.boxes[j]) {
				n++
				break
			}
		}
	}
	return float64(n) / float64(len(left))
}

// beside reports whether two boxes stand in one row: they overlap by half of the lower one's height and
// none is much higher than a line.
func (o *orderer) beside(a, b Box) bool {
	both := min(a.Y1, b.Y1) - max(a.Y0, b.Y0)
	return both >= 0.5*min(a.H(), b.H()) && (max(a.H(), b.H()) < 3*o.high || min(a.H(), b.H()) > 0.5*max(a.H(), b.H()))
}

// rows returns boxes, sorted from top to bottom, in rows: those that overlap in height by half belong
// to one and are read from left to right.
func (o *orderer) rows(ids []int) []int {
	var order []int
	for k := 0; k < len(ids); {
		first := o.boxes[ids[k]]
		row := []int{ids[k]}
		var rest []int
		n := k + 1
		for ; n < len(ids); n++ {
			b := o.boxes[ids[n]]
			if b.Y0 > first.Y1 {
				break
			}
			if o.beside(b, first) {
				row = append(row, ids[n])
			} else {
				rest = append(rest, ids[n])
			}
		}
		slices.SortStableFunc(row, func(a, b int) int { return cmp.Compare(o.boxes[a].X0, o.boxes[b].X0) })
		order = append(order, row...)
		// What was passed over comes next: put it where the row was taken out.
		copy(ids[n-len(rest):n], rest)
		k = n - len(rest)
	}
	return order
}
