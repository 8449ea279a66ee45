package layout

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// Pair is a label of a form and its value.
type Pair struct {
	Label    string `json:"label"` // without its colon
	Value    string `json:"value"`
	LabelBox Box    `json:"label_box"`
	ValueBox Box    `json:"value_box"`
}

// Pairs finds labels and their values, in reading order:
//
//   - what stands behind a colon, in the same line, to the right of it, or else below it;
//   - what is written on a level rule that begins behind a text;
//   - lines below each other in a ruled cell, or everywhere, where the upper is smaller or bold and the
//     lower is not;
//   - lines that stand level in two columns, of which the left ones begin and the right ones begin at one
//     place in three rows at least.
//
// A line is in one pair at most.
func Pairs(page *document.Page) []Pair {
	page = tidy(page)
	f := &form{page: page, lines: atColons(Lines(page), page)}
	slices.SortStableFunc(f.lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Box.Y0, b.Box.Y0), cmp.Compare(a.Box.X0, b.Box.X0))
	})
	f.used = make([]bool, len(f.lines))
	f.index()
	f.colons()
	f.written()
	f.stacked()
	f.columns()
	slices.SortStableFunc(f.pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(math.Round(a.LabelBox.CY()*200), math.Round(b.LabelBox.CY()*200)),
			cmp.Compare(a.LabelBox.X0, b.LabelBox.X0))
	})
	return f.pairs
}

// form is a page on which pairs are sought.
type form struct {
	page  *document.Page
	lines []Line // from top to bottom
	used  []bool
	pairs []Pair
	tops  []float64
	high  float64 // of the highest line
}

func (f *form) index() {
	f.tops = make([]float64, len(f.lines))
	for i, l := range f.lines {
		f.tops[i] = l.Box.Y0
		f.high = max(f.high, l.Box.H())
	}
}

// between returns the lines that overlap y0..y1, which need not be long: a page has few lines of a
// height.
func (f *form) between(y0, y1 float64) (ids []int) {
	from, _ := slices.BinarySearch(f.tops, y0-f.high)
	for i := from; i < len(f.lines) && f.tops[i] <= y1; i++ {
		if f.lines[i].Box.Y1 >= y0 {
			ids = append(ids, i)
		}
	}
	return ids
}

// atColons parts lines behind a word that ends with a colon, and where an upright rule or the beginning
// of a level one stands between words.
func atColons(lines []Line, page *document.Page) (out []Line) {
	for _, l := range lines {
		from := 0
		for i, w := range l.Words[:max(len(l.Words)-1, 0)] {
			if strings.HasSuffix(w.Text, ":") || ruleBetween(page, w.Box, l.Words[i+1].Box) {
				out = append(out, newLine(l.Words[from:i+1], page.Height))
				from = i + 1
			}
		}
		out = append(out, newLine(l.Words[from:], page.Height))
	}
	return out
}

// ruleBetween reports whether a line on which to write begins between two words, or an upright one
// stands there.
func ruleBetween(page *document.Page, a, b Box) bool {
	if len(page.Rules) > mostRules {
		return false
	}
	slack := 2 / page.Width
	for _, r := range page.Rules {
		if r.X0 < a.X1-slack || r.X0 > b.X0+slack {
			continue
		}
		if r.W()*page.Width < r.H()*page.Height { // upright
			if r.Y0 < a.CY() && r.Y1 > a.CY() {
				return true
			}
		} else if r.Y0 > a.CY() && r.Y0 < a.Y1+a.H() && r.X1 > b.CX() {
			return true
		}
	}
	return false
}

func (f *form) add(label, value int) {
	f.used[label], f.used[value] = true, true
	l, v := f.lines[label], f.lines[value]
	f.pairs = append(f.pairs, Pair{strings.TrimSpace(strings.TrimSuffix(l.Text, ":")), v.Text, l.Box, v.Box})
}

// right returns the next line to the right in the same row; -1 for none.
func (f *form) right(i int) int {
	l := f.lines[i].Box
	best := -1
	for _, j := range f.between(l.Y0, l.Y1) {
		b := f.lines[j].Box
		both := min(l.Y1, b.Y1) - max(l.Y0, b.Y0)
		if j == i || b.X0 < l.CX() || both < 0.5*min(l.H(), b.H()) {
			continue
		}
		if best < 0 || b.X0 < f.lines[best].Box.X0 {
			best = j
		}
	}
	return best
}

// below returns the line that begins where i does, or overlaps it, in the two line heights below it; -1
// for none.
func (f *form) below(i int) int {
	l := f.lines[i]
	down := 2 * max(l.Size, 1) / f.page.Height
	best := -1
	for _, j := range f.between(l.Box.Y1, l.Box.Y1+down) {
		b := f.lines[j].Box
		if j == i || b.CY() <= l.Box.Y1 || b.Y0 > l.Box.Y1+down/2 ||
			math.Abs(b.X0-l.Box.X0)*f.page.Width > 1.5*max(l.Size, 1) {
			continue
		}
		if best < 0 || b.Y0 < f.lines[best].Box.Y0 {
			best = j
		}
	}
	return best
}

func label(text string) bool { return strings.HasSuffix(text, ":") && len(text) > 1 && len(text) < 80 }

func (f *form) colons() {
	for i, l := range f.lines {
		if f.used[i] || !label(l.Text) {
			continue
		}
		j := f.right(i)
		// What stands to the right may belong to the next label below which it is.
		if j >= 0 && (f.used[j] || label(f.lines[j].Text) || f.above(j, i)) {
			j = -1
		}
		if j < 0 {
			if k := f.below(i); k >= 0 && !f.used[k] && !label(f.lines[k].Text) {
				j = k
			}
		}
		if j >= 0 {
			f.add(i, j)
		}
	}
}

// above reports whether line j stands below a label that is not i, closer than i is to its left.
func (f *form) above(j, i int) bool {
	b := f.lines[j]
	up := 1.2 * max(b.Size, 1) / f.page.Height
	for _, k := range f.between(b.Box.Y0-up, b.Box.Y0) {
		l := f.lines[k]
		if k != i && k != j && label(l.Text) && l.Box.CY() < b.Box.Y0 && f.right(k) < 0 &&
			math.Abs(b.Box.X0-l.Box.X0)*f.page.Width < max(l.Size, 1) {
			return true
		}
	}
	return false
}

// written pairs what stands on a level rule with what stands before it.
func (f *form) written() {
	if len(f.page.Rules) > mostRules {
		return
	}
	for _, r := range f.page.Rules {
		if r.W()*f.page.Width < 10*r.H()*f.page.Height {
			continue
		}
		slack := 3 / f.page.Height
		value := -1
		for _, j := range f.between(r.Y0-f.high, r.Y0+slack) {
			b := f.lines[j].Box
			if !f.used[j] && b.CX() > r.X0 && b.CX() < r.X1 && math.Abs(b.Y1-r.CY()) < max(slack, b.H()/2) {
				value = j
				break
			}
		}
		if value < 0 {
			continue
		}
		best := -1
		for _, j := range f.between(f.lines[value].Box.Y0, f.lines[value].Box.Y1) {
			b := f.lines[j].Box
			if j != value && !f.used[j] && b.X1 <= r.X0+slack && (r.X0-b.X1)*f.page.Width < 3*max(f.lines[j].Size, 1) &&
				(best < 0 || b.X1 > f.lines[best].Box.X1) {
				best = j
			}
		}
		if best >= 0 {
			f.add(best, value)
		}
	}
}

// stacked pairs lines below each other of which the upper is a label by its looks.
func (f *form) stacked() {
	for i, l := range f.lines {
		if f.used[i] || len(l.Words) > 8 {
			continue
		}
		j := f.below(i)
		if j < 0 || f.used[j] {
			continue
		}
		v := f.lines[j]
		if l.Size < 0.92*v.Size || l.Bold && !v.Bold && l.Size < 1.2*v.Size {
			f.add(i, j)
		}
	}
}

// columns pairs lines that stand level in two columns.
func (f *form) columns() {
	type two struct{ left, right int }
	var rows []two
	for i := range f.lines {
		if f.used[i] || len(f.lines[i].Words) > 6 {
			continue
		}
		j := f.right(i)
		if j < 0 || f.used[j] || f.lines[j].Bold && !f.lines[i].Bold {
			continue
		}
		rows = append(rows, two{i, j})
	}
	near := func(a, b float64) bool { return math.Abs(a-b)*f.page.Width < 2.5 }
	level := func(r two) bool {
		n := 0
		for _, o := range rows {
			if near(f.lines[r.left].Box.X0, f.lines[o.left].Box.X0) && near(f.lines[r.right].Box.X0, f.lines[o.right].Box.X0) {
				if n++; n == 3 {
					return true
				}
			}
		}
		return false
	}
	if len(rows) > 2000 { // no form
		return
	}
	for _, r := range rows { // from top to bottom, and from left to right: a value is no label then
		if !f.used[r.left] && !f.used[r.right] && level(r) {
			f.add(r.left, r.right)
		}
	}
}
