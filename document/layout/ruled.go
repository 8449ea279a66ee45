package layout

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// Sizes in points.
const (
	snap      = 2.5 // lines that lie so near are one
	reach     = 3.5 // how far a line may end from one that it meets
	mostRules = 3_000
	mostCells = 100_000
)

// stroke is a ruling line in points: at is its place across, from..to its extent.
type stroke struct{ at, from, to float64 }

// strokes sorts ruling lines into level and upright ones, in points, those on one line joined.
func strokes(rules []document.Rule, width, height float64) (level, upright []stroke) {
	for _, r := range rules {
		w, h := r.W()*width, r.H()*height
		if w >= h {
			level = append(level, stroke{r.CY() * height, r.X0 * width, r.X1 * width})
		} else {
			upright = append(upright, stroke{r.CX() * width, r.Y0 * height, r.Y1 * height})
		}
	}
	return joined(level), joined(upright)
}

func joined(all []stroke) (out []stroke) {
	slices.SortFunc(all, func(a, b stroke) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.from, b.from)) })
	for k := 0; k < len(all); {
		n := k + 1
		for n < len(all) && all[n].at-all[k].at <= snap {
			n++
		}
		line := slices.Clone(all[k:n])
		slices.SortFunc(line, func(a, b stroke) int { return cmp.Compare(a.from, b.from) })
		last := line[0]
		for _, s := range line[1:] {
			if s.from <= last.to+snap {
				last.to = max(last.to, s.to)
				continue
			}
			out = append(out, last)
			last = s
		}
		out = append(out, last)
		k = n
	}
	return out
}

// grid is a set of lines that meet.
type grid struct{ level, upright []stroke }

// grids finds the lines that meet: level and upright ones, two of each at least.
func grids(level, upright []stroke) []grid {
	if len(level)+len(upright) > mostRules {
		return nil
	}
	parent := make([]int, len(level)+len(upright))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for i, h := range level {
		for j, v := range upright {
			if v.at >= h.from-reach && v.at <= h.to+reach && h.at >= v.from-reach && h.at <= v.to+reach {
				parent[find(i)] = find(len(level) + j)
			}
		}
	}
	at := map[int]int{}
	var all []grid
	place := func(i int) *grid {
		root := find(i)
		k, ok := at[root]
		if !ok {
			k = len(all)
			at[root] = k
			all = append(all, grid{})
		}
		return &all[k]
	}
	for i, h := range level {
		g := place(i)
		g.level = append(g.level, h)
	}
	for j, v := range upright {
		g := place(len(level) + j)
		g.upright = append(g.upright, v)
	}
	return slices.DeleteFunc(all, func(g grid) bool { return len(g.level) < 2 || len(g.upright) < 1 })
}

// edges returns where a grid's lines are, one for those that lie near; an outer edge that is not drawn
// is where the lines across end.
func edges(lines, across []stroke) []float64 {
	var at []float64
	for _, l := range lines {
		at = append(at, l.at)
	}
	from, to := math.Inf(1), math.Inf(-1)
	for _, l := range across {
		from, to = min(from, l.from), max(to, l.to)
	}
	slices.Sort(at)
	if from < at[0]-2*reach {
		at = append([]float64{from}, at...)
	}
	if to > at[len(at)-1]+2*reach {
		at = append(at, to)
	}
	out := at[:1]
	for _, x := range at[1:] {
		if x-out[len(out)-1] > snap {
			out = append(out, x)
		}
	}
	return out
}

// drawn says for every line of a grid (edges at) and every step between the edges across whether it is
// drawn there, by three fifths at least.
func drawn(lines []stroke, at, across []float64) [][]bool {
	out := make([][]bool, len(at))
	for i := range out {
		out[i] = make([]bool, len(across)-1)
	}
	for _, l := range lines {
		i, _ := slices.BinarySearch(at, l.at-snap)
		if i == len(at) || math.Abs(at[i]-l.at) > 2*snap {
			continue
		}
		for k := range len(across) - 1 {
			if min(l.to, across[k+1])-max(l.from, across[k]) >= 0.6*(across[k+1]-across[k]) {
				out[i][k] = true
			}
		}
	}
	return out
}

// ruled finds the tables that lines are drawn around, and returns which words are in them.
func ruled(page *document.Page, words []document.Word) (tables []document.Block, taken []bool) {
	taken = make([]bool, len(words))
	width, height := page.Width, page.Height
	level, upright := strokes(page.Rules, width, height)
	for _, g := range grids(level, upright) {
		xs, ys := edges(g.upright, g.level), edges(g.level, g.upright)
		rows, cols := len(ys)-1, len(xs)-1
		if rows < 1 || cols < 1 || rows*cols < 2 || rows*cols > mostCells {
			continue
		}
		box := Box{X0: xs[0] / width, Y0: ys[0] / height, X1: xs[cols] / width, Y1: ys[rows] / height}
		table := cells(xs, ys, drawn(g.upright, xs, ys), drawn(g.level, ys, xs))
		// Words by the cell that their middle is in.
		of := map[int][]document.Word{}
		var mine []int
		for i, w := range words {
			x, y := w.Box.CX()*width, w.Box.CY()*height
			if taken[i] || !box.Holds(w.Box.CX(), w.Box.CY()) {
				continue
			}
			c, _ := slices.BinarySearch(xs, x)
			r, _ := slices.BinarySearch(ys, y)
			c, r = min(max(c-1, 0), cols-1), min(max(r-1, 0), rows-1)
			k := table.owner[r*cols+c]
			of[k] = append(of[k], w)
			mine = append(mine, i)
		}
		if len(of) < 2 || !several(table.cells) {
			continue // a frame
		}
		for _, i := range mine {
			taken[i] = true
		}
		for k := range table.cells {
			c := &table.cells[k]
			c.Text = cellText(of[k], width, height)
			c.Box = Box{X0: xs[c.Col] / width, Y0: ys[c.Row] / height,
				X1: xs[c.Col+c.ColSpan] / width, Y1: ys[c.Row+c.RowSpan] / height}
		}
		t := &document.Table{Rows: rows, Columns: cols, Ruled: true, Cells: table.cells}
		markHeader(t, of)
		tables = append(tables, document.Block{Kind: document.TableKind, Page: page.Number, Box: box, Table: t})
	}
	return tables, taken
}

// several reports whether there are cells beside and below each other.
func several(cells []document.Cell) bool {
	rows, cols := false, false
	for _, c := range cells {
		rows = rows || c.Row > 0
		cols = cols || c.Col > 0
	}
	return rows && cols
}

// cellsOf are the cells of a grid, and for every place in it which one covers it.
type cellsOf struct {
	cells []document.Cell
	owner []int
}

// cells joins places of a grid between which no line is drawn.
func cells(xs, ys []float64, upright, level [][]bool) cellsOf {
	rows, cols := len(ys)-1, len(xs)-1
	t := cellsOf{owner: make([]int, rows*cols)}
	for i := range t.owner {
		t.owner[i] = -1
	}
	for start := range t.owner {
		if t.owner[start] >= 0 {
			continue
		}
		k := len(t.cells)
		r0, c0 := start/cols, start%cols
		r1, c1 := r0, c0
		t.owner[start] = k
		for stack := []int{start}; len(stack) > 0; {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			r, c := at/cols, at%cols
			r0, c0, r1, c1 = min(r0, r), min(c0, c), max(r1, r), max(c1, c)
			visit := func(r, c int, line bool) {
				if line || r < 0 || c < 0 || r >= rows || c >= cols || t.owner[r*cols+c] >= 0 {
					return
				}
				t.owner[r*cols+c] = k
				stack = append(stack, r*cols+c)
			}
			visit(r, c+1, upright[c+1][r])
			visit(r, c-1, upright[c][r])
			visit(r+1, c, level[r+1][c])
			visit(r-1, c, level[r][c])
		}
		t.cells = append(t.cells, document.Cell{Row: r0, Col: c0, RowSpan: r1 - r0 + 1, ColSpan: c1 - c0 + 1})
	}
	return t
}

// cellText joins the words of a cell, line by line.
func cellText(words []document.Word, width, height float64) string {
	lines := linesOf(words, width, height, 1e6)
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Box.CY(), b.Box.CY()) })
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.Text
	}
	return joinLines(texts)
}

// joinLines joins lines of running text: a word that is parted at a line's end becomes one again, and
// Chinese and Japanese have no blanks between words.
func joinLines(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			text := b.String()
			switch {
			case parted(text, line):
				b.Reset()
				b.WriteString(strings.TrimSuffix(text, "-"))
			case !ideographic(lastRune(text)) || !ideographic(firstRune(line)):
				b.WriteString(" ")
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// parted reports whether the last word of a line goes on in the next: a letter and a hyphen, and then a
// small letter.
func parted(line, next string) bool {
	before, ok := strings.CutSuffix(line, "-")
	if !ok {
		return false
	}
	last, first := lastRune(before), firstRune(next)
	return isLetter(last) && isSmall(first)
}

// markHeader marks the cells of the first row, and of those that its cells span, where all their words
// are bold and some below are not.
func markHeader(t *document.Table, of map[int][]document.Word) {
	bold := func(k int) bool {
		for _, w := range of[k] {
			if !w.Bold {
				return false
			}
		}
		return true
	}
	until, plain := 0, false
	for k, c := range t.Cells {
		if c.Row == 0 {
			until = max(until, c.RowSpan)
		}
		if len(of[k]) > 0 && !bold(k) {
			plain = true
		}
	}
	for k, c := range t.Cells {
		if c.Row < until && !bold(k) {
			return
		}
	}
	if !plain {
		return
	}
	for k := range t.Cells {
		if t.Cells[k].Row < until {
			t.Cells[k].Header = true
		}
	}
}
