package layout

import (
	"cmp"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/crossattn/xpipe/document"
)

// Tables finds a page's tables, from top to bottom: those that lines are drawn around and, of the other
// words, rows that stand level in columns which white space parts.
func Tables(page *document.Page) []document.Block {
	page = tidy(page)
	words := page.Words
	tables, taken := ruled(page, words)
	var rest []document.Word
	for i, w := range words {
		if !taken[i] {
			rest = append(rest, w)
		}
	}
	more, _ := unruled(page, linesOf(rest, page.Width, page.Height, wordGap))
	tables = append(tables, more...)
	slices.SortStableFunc(tables, func(a, b document.Block) int { return cmp.Compare(a.Box.Y0, b.Box.Y0) })
	return tables
}

// row is lines that stand level, from left to right.
type row struct {
	lines []int
	box   Box
}

// unruled finds tables among lines, and returns which lines are in them.
func unruled(page *document.Page, lines []Line) (tables []document.Block, taken []bool) {
	taken = make([]bool, len(lines))
	boxes := make([]Box, len(lines))
	for i, l := range lines {
		boxes[i] = l.Box
	}
	aspect := page.Width / page.Height
	_, parts, _ := leaves(boxes, aspect)
	for _, part := range merged(parts, boxes) {
		rows := rowsOf(part, lines)
		for k := 0; k < len(rows); {
			n := tableEnd(rows, k, page, lines)
			if n > k {
				from := k
				// A title of several columns stands half a row above titles of one.
				if k > 0 && len(rows[k-1].lines) == 1 && !taken[rows[k-1].lines[0]] &&
					math.Abs(rows[k].box.Y0-rows[k-1].box.Y1)*page.Height < 0.6*size(rows[k], lines) {
					from--
				}
				if b, ok := tableOf(rows[from:n], page, lines); ok {
					tables = append(tables, b)
					for _, r := range rows[from:n] {
						for _, i := range r.lines {
							taken[i] = true
						}
					}
					k = n
					continue
				}
			}
			k++
		}
	}
	return tables, taken
}

// merged joins parts that follow each other and stand in one column: a table's title row may have been
// taken for a heading.
func merged(parts [][]int, boxes []Box) (out [][]int) {
	around := func(ids []int) (b Box) {
		for _, i := range ids {
			b = b.Union(boxes[i])
		}
		return b
	}
	for _, part := range parts {
		if n := len(out); n > 0 {
			above, below := around(out[n-1]), around(part)
			across := min(above.X1, below.X1) - max(above.X0, below.X0)
			if below.Y0 >= above.Y1 && across > 0.5*min(above.W(), below.W()) {
				out[n-1] = append(out[n-1], part...)
				continue
			}
		}
		out = append(out, slices.Clone(part))
	}
	return out
}

// rowsOf parts lines in reading order into rows.
func rowsOf(part []int, lines []Line) (rows []row) {
	for _, i := range part {
		b := lines[i].Box
		if n := len(rows); n > 0 {
			last := &rows[n-1]
			both := min(b.Y1, last.box.Y1) - max(b.Y0, last.box.Y0)
			if both >= 0.5*min(b.H(), last.box.H()) && b.X0 >= last.box.X1 {
				last.lines = append(last.lines, i)
				last.box = last.box.Union(b)
				continue
			}
		}
		rows = append(rows, row{[]int{i}, b})
	}
	return rows
}

// tableEnd returns up to where rows may be a table that begins at k: rows of two lines and more, and
// between them ones that fill part of a row; k for none.
func tableEnd(rows []row, k int, page *document.Page, lines []Line) int {
	if len(rows[k].lines) < 2 {
		return k
	}
	last, single := k, 0
	for n := k + 1; n < len(rows); n++ {
		space := (rows[n].box.Y0 - rows[n-1].box.Y1) * page.Height
		if space > 2.5*size(rows[n], lines) || space < -size(rows[n], lines) {
			break
		}
		if len(rows[n].lines) > 1 {
			last, single = n, 0
			continue
		}
		if single++; single > 1 || rows[n].box.W() > 0.6*rows[k].box.W() && rows[k].box.W() > 0.5 {
			break
		}
	}
	if last == k {
		return k
	}
	return last + 1
}

// size returns the font size of a row, in points.
func size(r row, lines []Line) (s float64) {
	for _, i := range r.lines {
		s = max(s, lines[i].Size)
	}
	return max(s, 1)
}

// span is an extent from left to right.
type span struct{ from, to float64 }

// columnsOf returns the columns that most rows have: what the lines of rows with at least as many as
// usual cover.
func columnsOf(rows []row, lines []Line) []span {
	counts := make([]float64, len(rows))
	for i, r := range rows {
		counts[i] = float64(len(r.lines))
	}
	usual := max(2, int(median(counts)))
	var all []span
	for _, r := range rows {
		if len(r.lines) < usual {
			continue
		}
		for _, i := range r.lines {
			all = append(all, span{lines[i].Box.X0, lines[i].Box.X1})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var columns []span
	for _, s := range all {
		if n := len(columns); n > 0 && s.from <= columns[n-1].to {
			columns[n-1].to = max(columns[n-1].to, s.to)
			continue
		}
		columns = append(columns, s)
	}
	return columns
}

// placed is a text in a row, over columns from..to.
type placed struct {
	words    []document.Word
	box      Box
	from, to int
}

// tableOf makes a table of rows; ok is false where they are none.
func tableOf(rows []row, page *document.Page, lines []Line) (b document.Block, ok bool) {
	columns := columnsOf(rows, lines)
	if len(columns) < 2 || len(rows) < 2 || len(rows) == 2 && len(columns) < 3 || !tabular(rows, columns, lines) {
		return b, false
	}
	// Where a column ends and the next begins: the middle between them.
	bounds := make([]float64, len(columns)+1)
	bounds[0], bounds[len(columns)] = math.Inf(-1), math.Inf(1)
	for k := 1; k < len(columns); k++ {
		bounds[k] = (columns[k-1].to + columns[k].from) / 2
	}
	at := func(x float64) int {
		k, _ := slices.BinarySearch(bounds, x)
		return min(max(k-1, 0), len(columns)-1)
	}
	var grid [][]placed
	var centres, pitches []float64
	for _, r := range rows {
		var cells []placed
		for _, i := range r.lines {
			cells = append(cells, split(lines[i], bounds, page.Width)...)
		}
		for k := range cells {
			// Words reach a little into a gap without belonging to the next column.
			c := &cells[k]
			c.from, c.to = at(c.box.X0), at(c.box.X1)
			for c.from < c.to && c.box.X0 > columns[c.from].to {
				c.from++
			}
			for c.to > c.from && c.box.X1 < columns[c.to].from {
				c.to--
			}
		}
		grid = append(grid, cells)
		centres = append(centres, r.box.CY())
		if n := len(centres); n > 1 {
			pitches = append(pitches, centres[n-1]-centres[n-2])
		}
		b.Box = b.Box.Union(r.box)
	}
	grid, heights := fold(grid, centres, median(pitches))
	widen(grid, heights, columns)
	t := &document.Table{Columns: len(columns), Rows: 0}
	of := map[int][]document.Word{}
	for r, cells := range grid {
		for _, c := range cells {
			of[len(t.Cells)] = c.words
			t.Cells = append(t.Cells, document.Cell{Row: r, Col: c.from, RowSpan: min(heights[r][c.from], len(grid)-r),
				ColSpan: c.to - c.from + 1, Text: cellText(c.words, page.Width, page.Height), Box: c.box})
		}
	}
	t.Rows = len(grid)
	markHeader(t, of)
	b.Kind, b.Page, b.Table = document.TableKind, page.Number, t
	return b, true
}

// split parts a line where it goes over the boundary of columns with a gap wider than a blank.
func split(l Line, bounds []float64, width float64) (parts []placed) {
	column := func(w document.Word) int {
		k, _ := slices.BinarySearch(bounds, w.Box.CX())
		return k
	}
	for i, w := range l.Words {
		if i > 0 {
			gap := (w.Box.X0 - l.Words[i-1].Box.X1) * width
			if column(w) == column(l.Words[i-1]) || gap < 0.5*l.Size {
				p := &parts[len(parts)-1]
				p.words = append(p.words, w)
				p.box = p.box.Union(w.Box)
				continue
			}
		}
		parts = append(parts, placed{words: []document.Word{w}, box: w.Box})
	}
	return parts
}

// fold puts rows that stand half a row below another, in other columns, into that: cells over two rows,
// whose text is in the middle between them.
func fold(grid [][]placed, centres []float64, pitch float64) (out [][]placed, heights []map[int]int) {
	free := func(a, b []placed) bool {
		for _, p := range a {
			for _, q := range b {
				if p.from <= q.to && q.from <= p.to {
					return false
				}
			}
		}
		return true
	}
	height := func(cells []placed, n int) map[int]int {
		h := map[int]int{}
		for _, c := range cells {
			h[c.from] = n
		}
		return h
	}
	for k := 0; k < len(grid); k++ {
		if k+2 < len(grid) && centres[k+2]-centres[k] < 1.45*pitch && free(grid[k], grid[k+1]) && free(grid[k+1], grid[k+2]) {
			h := height(grid[k], 1)
			for c, n := range height(grid[k+1], 2) {
				h[c] = n
			}
			row := append(slices.Clone(grid[k]), grid[k+1]...)
			slices.SortFunc(row, func(a, b placed) int { return cmp.Compare(a.from, b.from) })
			out, heights = append(out, row), append(heights, h)
			k++
			continue
		}
		out, heights = append(out, grid[k]), append(heights, height(grid[k], 1))
	}
	return out, heights
}

// widen lets titles of several columns cover those whose middle they stand in: texts of a row that
// leaves places empty, above a row that does not.
func widen(grid [][]placed, heights []map[int]int, columns []span) {
	for r := 0; r+1 < len(grid) && r < 3; r++ {
		covered := make([]bool, len(columns))
		for _, c := range grid[r] {
			for k := c.from; k <= c.to; k++ {
				covered[k] = true
			}
		}
		if !slices.Contains(covered, false) {
			continue
		}
		below := make([]bool, len(columns))
		for _, c := range grid[r+1] {
			for k := c.from; k <= c.to; k++ {
				below[k] = true
			}
		}
		for i := range grid[r] {
			c := &grid[r][i]
			if heights[r][c.from] > 1 {
				continue
			}
			best, off := *c, math.Inf(1)
			for from := c.from; from >= 0 && (from == c.from || !covered[from] && below[from]); from-- {
				for to := c.to; to < len(columns) && (to == c.to || !covered[to] && below[to]); to++ {
					d := math.Abs((columns[from].from+columns[to].to)/2 - c.box.CX())
					if d < off-1e-3 {
						best.from, best.to, off = from, to, d
					}
				}
			}
			// A text that begins or ends with its column stands over that alone.
			one := columns[c.from]
			tol := 0.004
			if c.from == c.to && (math.Abs(c.box.X0-one.from) < tol || math.Abs(c.box.X1-one.to) < tol || math.Abs(c.box.CX()-(one.from+one.to)/2) < tol) &&
				math.Abs(c.box.CX()-(columns[best.from].from+columns[best.to].to)/2) > tol/4 {
				continue
			}
			h := heights[r][c.from]
			delete(heights[r], c.from)
			c.from, c.to = best.from, best.to
			heights[r][c.from] = h
			for k := c.from; k <= c.to; k++ {
				covered[k] = true
			}
		}
	}
}

// tabular reports whether rows look like those of a table and not like running text with wide gaps or a
// list: short texts, most of which begin, end or stand in the middle of their column.
func tabular(rows []row, columns []span, lines []Line) bool {
	words, texts, marks, inFirst := 0, 0, 0, 0
	left, right, middle := make([]int, len(columns)), make([]int, len(columns)), make([]int, len(columns))
	n := make([]int, len(columns))
	for _, r := range rows {
		for _, i := range r.lines {
			l := lines[i]
			words += len(l.Words)
			texts++
			for k, c := range columns {
				if l.Box.X0 > c.to || l.Box.X1 < c.from {
					continue
				}
				const tol = 0.004
				n[k]++
				if math.Abs(l.Box.X0-c.from) < tol {
					left[k]++
				}
				if math.Abs(l.Box.X1-c.to) < tol {
					right[k]++
				}
				if math.Abs(l.Box.CX()-(c.from+c.to)/2) < tol {
					middle[k]++
				}
				if k == 0 {
					inFirst++
					if _, ok := listMark(l.Text); ok && len(l.Words) == 1 {
						marks++
					}
				}
			}
		}
	}
	if words > 6*texts || marks*2 > inFirst {
		return false
	}
	lined := 0
	for k := range columns {
		if m := max(left[k], right[k], middle[k]); m >= 2 && m*2 >= n[k] {
			lined++
		}
	}
	return lined*10 >= len(columns)*6
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func lastRune(s string) rune {
	r, _ := utf8.DecodeLastRuneInString(s)
	return r
}

func isLetter(r rune) bool { return unicode.IsLetter(r) }

// ideographic reports whether a character stands in text that has no blanks.
func ideographic(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r < 0x3040 || r >= 0xff00 && r < 0xff61
}

func isSmall(r rune) bool { return unicode.IsLower(r) }
