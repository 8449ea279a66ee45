package layout

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/document"
)

// Analyze returns the blocks of a page in reading order. What it goes by:
//
//   - tables: see Tables. Figures: the page's, but for those behind text.
//   - headings: lines in a larger font than most of the page's text, or bold ones of a line or two that
//     are set off; the sizes that are found give the levels.
//   - list items begin with a bullet, a number or a letter; captions with "Figure 1", "Table 2" and the
//     like; footnotes stand in the lower half in a smaller font and begin with a mark; headers and
//     footers stand alone at the edges.
//   - paragraphs end where the next line is set off, begins further right than the one before, or the
//     font changes. Their lines are joined, but for those that mostly end before the column does though
//     the next one's first word had room, as in addresses: these stay lines.
//   - what stands level in a row is parted by tabs where the gap is wide.
func Analyze(page *document.Page) []document.Block {
	page = tidy(page)
	words := page.Words
	tables, taken := ruled(page, words)
	var rest []document.Word
	for i, w := range words {
		if !taken[i] {
			rest = append(rest, w)
		}
	}
	lines := linesOf(rest, page.Width, page.Height, wordGap)
	more, inTable := unruled(page, lines)
	tables = append(tables, more...)
	var flow []Line
	for i, l := range lines {
		if !inTable[i] {
			flow = append(flow, l)
		}
	}
	figures, flow := figuresOf(page, flow, tables)

	boxes := make([]Box, 0, len(flow)+len(tables)+len(figures))
	for _, l := range flow {
		boxes = append(boxes, l.Box)
	}
	for _, b := range slices.Concat(tables, figures) {
		boxes = append(boxes, b.Box)
	}
	head, parts, foot := leaves(boxes, page.Width/page.Height)
	a := &analysis{page: page, lines: flow, others: slices.Concat(tables, figures)}
	a.body = a.bodySize()
	a.edge(head, document.Header)
	for _, part := range parts {
		a.part(part)
	}
	a.edge(foot, document.Footer)
	a.levels()
	a.captions()
	return a.blocks
}

// figuresOf returns the page's figures as blocks, with the words on them, and the lines that are left.
func figuresOf(page *document.Page, lines []Line, tables []document.Block) (figures []document.Block, rest []Line) {
	const most = 200
	for _, f := range page.Figures {
		f = f.Intersect(Box{X1: 1, Y1: 1})
		if f.Empty() || f.W()*f.H() > 0.8 || f.W()*page.Width < 12 || f.H()*page.Height < 12 || len(figures) == most {
			continue
		}
		inside := func(o document.Block) bool { return !o.Box.Intersect(f).Empty() }
		if slices.ContainsFunc(tables, inside) {
			continue
		}
		text, over := 0.0, false
		for _, l := range lines {
			if f.Holds(l.Box.CX(), l.Box.CY()) {
				text += l.Box.W() * l.Box.H()
			}
		}
		over = text > 0.2*f.W()*f.H() // a coloured ground behind text
		if !over {
			figures = append(figures, document.Block{Kind: document.Figure, Page: page.Number, Box: f})
		}
	}
	for _, l := range lines {
		k := slices.IndexFunc(figures, func(f document.Block) bool { return f.Box.Holds(l.Box.CX(), l.Box.CY()) })
		if k < 0 {
			rest = append(rest, l)
			continue
		}
		figures[k].Text = strings.TrimSpace(figures[k].Text + " " + l.Text)
	}
	return figures, rest
}

type analysis struct {
	page   *document.Page
	lines  []Line
	others []document.Block // tables and figures: indexes behind those of lines
	body   float64          // size of most of the text
	blocks []document.Block
	sizes  []float64 // of blocks' fonts
}

// bodySize returns the font size that most characters have.
func (a *analysis) bodySize() float64 {
	count := map[float64]int{}
	for _, l := range a.lines {
		count[math.Round(l.Size*2)/2] += len(l.Text)
	}
	best, n := 0.0, -1
	for size, c := range count {
		if c > n || c == n && size < best {
			best, n = size, c
		}
	}
	return best
}

func (a *analysis) add(b document.Block, size float64) {
	b.Page = a.page.Number
	a.blocks = append(a.blocks, b)
	a.sizes = append(a.sizes, size)
}

// edge adds what stands alone at an edge of the page, a block a row.
func (a *analysis) edge(ids []int, kind document.Kind) {
	for _, r := range a.rows(ids) {
		if r.other >= 0 {
			a.add(a.others[r.other], 0)
			continue
		}
		a.add(document.Block{Kind: kind, Text: r.text, Box: r.box, Lines: []Box{r.box}}, r.size)
	}
}

// textRow is a row of a column: lines that stand level, joined; or a table or figure.
type textRow struct {
	other int // index of a table or figure; -1 for lines
	text  string
	box   Box
	start float64 // where its text begins
	first float64 // the width of its first word
	size  float64
	bold  bool
	angle float64
}

func (a *analysis) rows(ids []int) (rows []textRow) {
	for _, i := range ids {
		if i >= len(a.lines) {
			o := i - len(a.lines)
			rows = append(rows, textRow{other: o, box: a.others[o].Box})
			continue
		}
		l := a.lines[i]
		angle := l.Words[0].Angle
		if n := len(rows); n > 0 && rows[n-1].other < 0 && angle == 0 && rows[n-1].angle == 0 {
			last := &rows[n-1]
			both := min(l.Box.Y1, last.box.Y1) - max(l.Box.Y0, last.box.Y0)
			if both >= 0.5*min(l.Box.H(), last.box.H()) && l.Box.X0 >= last.box.X1 {
				// So wide a gap is none between words, however a line is spread.
				if (l.Box.X0-last.box.X1)*a.page.Width > 2.5*max(l.Size, last.size) {
					last.text += "\t" + l.Text
				} else {
					last.text += " " + l.Text
				}
				last.box = last.box.Union(l.Box)
				last.size, last.bold = max(last.size, l.Size), last.bold && l.Bold
				continue
			}
		}
		rows = append(rows, textRow{-1, l.Text, l.Box, l.Box.X0, l.Words[0].Box.W(), l.Size, l.Bold, angle})
	}
	return rows
}

// part makes blocks of a column.
func (a *analysis) part(ids []int) {
	rows := a.rows(ids)
	right := math.Inf(-1)
	var pitches []float64
	for k, r := range rows {
		if r.other < 0 {
			right = max(right, r.box.X1)
			if k > 0 && rows[k-1].other < 0 && math.Abs(r.size-rows[k-1].size) < 0.6 {
				pitches = append(pitches, r.box.Y1-rows[k-1].box.Y1)
			}
		}
	}
	pitch := median(pitches)
	for k := 0; k < len(rows); {
		if rows[k].other >= 0 {
			a.add(a.others[rows[k].other], 0)
			k++
			continue
		}
		n := k + 1
		for n < len(rows) && a.goesOn(rows, k, n, pitch) {
			n++
		}
		a.block(rows[k:n], right)
		k = n
	}
}

// goesOn reports whether row n belongs to the block that begins at row k.
func (a *analysis) goesOn(rows []textRow, k, n int, pitch float64) bool {
	first, last, next := rows[k], rows[n-1], rows[n]
	if next.other >= 0 || next.angle != first.angle || math.Abs(next.size-first.size) > 0.1*first.size+0.3 {
		return false
	}
	step := next.box.Y1 - last.box.Y1
	usual := pitch
	if usual <= 0 || first.size > 1.1*a.body {
		usual = 1.3 * first.size / a.page.Height
	}
	if step > 1.4*usual || step < 0 || next.bold != first.bold && (first.bold || n == k+1) {
		return false
	}
	if _, mark := listMark(next.text); mark {
		return false
	}
	if captionMark.MatchString(next.text) {
		return false
	}
	em := max(first.size, 1) / a.page.Width
	if _, mark := listMark(first.text); mark {
		// An item goes on below its text, not below its mark.
		return next.start > first.start+0.4*em || n > k+1 && math.Abs(next.start-last.start) < 0.4*em
	}
	// The first line of a paragraph may be indented; a later one that is begins another.
	return n == k+1 && next.start < first.start || next.start < last.start+0.8*em
}

var (
	captionMark = regexp.MustCompile(`^(?i:fig(ure|\.)?|table|tab\.|chart|scheme|abb(ildung|\.)|tabelle|tableau|figura|tabla)\s*\d+`)
	noteMark    = regexp.MustCompile(`^(\d{1,3}|[*†‡§¹²³]+)\s?\S`)
)

// block adds a block of rows that belong together, in a column that ends at right, and says of what
// kind it is.
func (a *analysis) block(rows []textRow, right float64) {
	b := document.Block{Kind: document.Paragraph}
	texts := make([]string, len(rows))
	for i, r := range rows {
		texts[i] = r.text
		b.Box = b.Box.Union(r.box)
		b.Lines = append(b.Lines, r.box)
	}
	b.Text = joinLines(texts)
	first := rows[0]
	_, mark := listMark(b.Text)
	switch {
	case captionMark.MatchString(b.Text) && len(b.Text) < 500:
		b.Kind = document.Caption
	case a.heading(rows, b.Text):
		b.Kind = document.Heading
	case mark:
		b.Kind, b.Level = document.ListItem, 1
	case first.size <= 0.9*a.body && b.Box.Y0 > 0.5 && noteMark.MatchString(b.Text):
		b.Kind = document.Footnote
	case a.verse(rows, right):
		b.Text = strings.Join(texts, "\n")
	}
	a.add(b, first.size)
}

// verse reports whether lines end where they were meant to, as those of addresses, receipts and poems:
// they are short, or after most of them there was room for the next line's first word, or a wide gap
// parts them.
func (a *analysis) verse(rows []textRow, right float64) bool {
	const short = 28 // characters: the narrowest columns of running text have more
	early, lengths := 0, make([]float64, len(rows))
	for k, r := range rows {
		lengths[k] = float64(utf8.RuneCountInString(r.text))
		if ideographic(firstRune(r.text)) {
			lengths[k] *= 2
		}
		if k == len(rows)-1 || r.angle != 0 {
			continue
		}
		room := r.box.X1+rows[k+1].first+0.5*r.size/a.page.Width < right
		if room || strings.Contains(r.text, "\t") {
			early++
		}
	}
	return early*2 > len(rows)-1 || median(lengths) < short
}

func (a *analysis) heading(rows []textRow, text string) bool {
	r := rows[0]
	if len(rows) > 3 || len(text) > 250 || len(text) < 2 || !slices.ContainsFunc([]rune(text), isLetter) {
		return false
	}
	if r.size >= 1.15*a.body {
		return true
	}
	return r.bold && r.size >= 0.95*a.body && len(rows) <= 2 && !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ":")
}

// levels gives headings their levels, by the sizes of their fonts.
func (a *analysis) levels() {
	var sizes []float64
	for i, b := range a.blocks {
		if b.Kind == document.Heading {
			sizes = append(sizes, math.Round(a.sizes[i]))
		}
	}
	slices.SortFunc(sizes, func(x, y float64) int { return cmp.Compare(y, x) })
	sizes = slices.Compact(sizes)
	for i := range a.blocks {
		if a.blocks[i].Kind == document.Heading {
			a.blocks[i].Level = slices.Index(sizes, math.Round(a.sizes[i])) + 1
		}
	}
}

// captions joins captions with the figures and tables that they stand next to, above or below.
func (a *analysis) captions() {
	explained := map[int]bool{}
	for i := range a.blocks {
		c := &a.blocks[i]
		if c.Kind != document.Caption {
			continue
		}
		best, near := -1, 0.12 // of the page's height
		for k, o := range a.blocks {
			if o.Kind != document.Figure && o.Kind != document.TableKind || explained[k] {
				continue
			}
			if min(o.Box.X1, c.Box.X1) <= max(o.Box.X0, c.Box.X0) {
				continue
			}
			if d := max(c.Box.Y0-o.Box.Y1, o.Box.Y0-c.Box.Y1, 0); d < near {
				best, near = k, d
			}
		}
		if best >= 0 {
			c.Of = best + 1
			explained[best] = true
		}
	}
}
