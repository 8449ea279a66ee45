package find

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/crossattn/xpipe/document"
)

// page is a page with what stands around its lines.
type page struct {
	*Page
	lines     []line
	sentences []sentence
	order     []int   // lines from the top of the page down
	high      float64 // of the highest line
	body      float64 // of most lines: boxes are as high as the signs in them, with or without descenders
}

// line is a line with its words.
type line struct {
	text    string
	box     document.Box // upright, x in units of the page's height
	words   []word
	passage int  // in Index.passages
	heading int  // line of the heading above it in reading order; -1: none
	numeric bool // more digits than letters
}

// most bounds what is looked through on a page: one of more lines, a drawing with text or an attack, has no cells.
const mostCells = 2000

// headingHeight is how high a heading is beside most lines.
const headingHeight = 1.3

// mostCellWords is how long a cell, a label or a value is at most.
const mostCellWords = 10

func newPage(p *Page) *page {
	made := &page{Page: p, lines: make([]line, len(p.Lines))}
	aspect := p.Aspect
	if !(aspect > 0.01 && aspect < 100) {
		aspect = 210.0 / 297
	}
	heights := make([]float64, 0, len(p.Lines))
	for i, l := range p.Lines {
		box := l.Box()
		box.X0, box.X1 = box.X0*aspect, box.X1*aspect
		if math.IsNaN(box.X0 + box.Y0 + box.X1 + box.Y1) {
			box = document.Box{}
		}
		made.lines[i] = line{text: l.Text, box: box, words: wordsOf(l.Text), heading: -1, numeric: numeric(l.Text)}
		made.order = append(made.order, i)
		made.high = max(made.high, box.H())
		heights = append(heights, box.H())
	}
	slices.SortStableFunc(made.order, func(a, b int) int { return cmp.Compare(made.lines[a].box.Y0, made.lines[b].box.Y0) })
	slices.Sort(heights)
	if len(heights) > 0 {
		made.body = heights[len(heights)/2]
	}
	heading := -1
	for i := range made.lines {
		l := &made.lines[i]
		if l.box.H() > headingHeight*made.body && len(l.words) > 0 && len(l.words) <= 12 && !l.numeric {
			heading = i
		} else {
			l.heading = heading
		}
	}
	made.split()
	return made
}

func numeric(text string) bool {
	digits, letters := 0, 0
	for _, r := range text {
		if unicode.IsDigit(r) {
			digits++
		} else if unicode.IsLetter(r) {
			letters++
		}
	}
	return digits > letters
}

// surroundings are lines that say what a cell is about.
type surroundings struct {
	left    []int // in its row, the nearest first
	right   []int // in its row, in no order
	above   []int // in its column, the nearest first
	caption int   // the line above all of them; -1: none
	// under says that the line and the one above it are set closer than others, as a value is to the label above it, and
	// over that it and the one below it are.
	under, over bool
	// label says that what stands to its right is nearer than what stands to its left.
	label bool
}

// around finds what surrounds a line.
func (p *page) around(i int) (s surroundings) {
	l := &p.lines[i]
	s.caption = -1
	if len(p.lines) > mostCells {
		return s
	}
	right := math.Inf(1)
	high := max(l.box.H(), p.body)
	const reach = 3.0 // rows of a column are at most so many heights apart
	var above, below []int
	first, _ := slices.BinarySearchFunc(p.order, l.box.Y0-40*max(l.box.H(), p.high/4)-p.high, func(k int, y float64) int {
		return cmp.Compare(p.lines[k].box.Y0, y)
	})
	for _, k := range p.order[first:] {
		o := &p.lines[k]
		if o.box.Y0 > l.box.Y1+reach*high {
			break
		}
		if k == i || len(o.words) == 0 || len(o.words) > mostCellWords {
			continue
		}
		switch both := min(l.box.X1, o.box.X1) - max(l.box.X0, o.box.X0); {
		case level(l.box, o.box):
			if o.box.X1 <= l.box.X0+0.3*l.box.H() {
				s.left = append(s.left, k)
			} else if o.box.X0 >= l.box.X1 {
				s.right = append(s.right, k)
				right = min(right, o.box.X0-l.box.X1)
			}
		case both <= 0.2*min(l.box.W(), o.box.W()) && math.Abs(l.box.X0-o.box.X0) > high:
		case o.box.CY() < l.box.Y0:
			above = append(above, k)
		case o.box.CY() > l.box.Y1:
			below = append(below, k)
		}
	}
	slices.SortFunc(s.left, func(a, b int) int { return cmp.Compare(p.lines[b].box.X1, p.lines[a].box.X1) })
	slices.SortStableFunc(above, func(a, b int) int { return cmp.Compare(p.lines[b].box.Y1, p.lines[a].box.Y1) })
	at, pitch := l.box, 0.0
	for _, k := range above {
		o := p.lines[k].box
		gap, step := at.Y0-o.Y1, at.CY()-o.CY()
		if level(at, o) && len(s.above) > 0 {
			s.above = append(s.above, k)
			continue
		}
		if gap > reach*max(at.H(), o.H(), p.body) || pitch > 0 && step > 1.7*pitch {
			break
		}
		s.above = append(s.above, k)
		at, pitch = o, max(pitch, step)
	}
	s.label = len(s.left) > 0 && right < l.box.X0-p.lines[s.left[0]].box.X1
	s.caption = p.captionAbove(at)
	slices.SortStableFunc(below, func(a, b int) int { return cmp.Compare(p.lines[a].box.Y0, p.lines[b].box.Y0) })
	// gap is the one behind n steps up or down the column.
	gap := func(column []int, n int) float64 {
		near, far := l.box, document.Box{}
		for _, k := range column {
			if o := p.lines[k].box; !level(near, o) {
				if far = o; n == 0 {
					return max(near.Y0-far.Y1, far.Y0-near.Y1, 0)
				}
				near = o
				n--
			}
		}
		return math.Inf(1)
	}
	tight := func(column, other []int) bool {
		one := gap(column, 0)
		return one < high && one+0.1*high < 0.75*min(gap(column, 1), gap(other, 0))
	}
	s.under, s.over = tight(above, below), tight(below, above)
	return s
}

// captionAbove returns the line next above a table whose first row is at: its caption, or what introduces it.
func (p *page) captionAbove(at document.Box) int {
	const reach = 3.5
	best := -1
	end, _ := slices.BinarySearchFunc(p.order, at.Y0, func(k int, y float64) int { return cmp.Compare(p.lines[k].box.Y0, y) })
	for _, k := range slices.Backward(p.order[:end]) {
		o := &p.lines[k]
		if o.box.Y0 < at.Y0-reach*at.H()-p.high {
			break
		}
		if o.box.Y1 <= at.Y0+0.2*at.H() && at.Y0-o.box.Y1 < reach*at.H() && len(o.words) > 1 && !o.numeric &&
			(best < 0 || o.box.Y1 > p.lines[best].box.Y1) {
			best = k
		}
	}
	return best
}

// sentence is a piece of running text: lines of it, or a line that stands alone.
type sentence struct {
	text  string
	words []word
	lines []int // of the page
	ends  []int // of each line in text
}

// lineAt returns the line of the page in which a byte of the sentence stands.
func (s *sentence) lineAt(at int) int {
	for k, end := range s.ends {
		if at < end {
			return s.lines[k]
		}
	}
	return s.lines[len(s.lines)-1]
}

// split parts the page's text into sentences. Lines are joined where the next one goes on below in running text.
func (p *page) split() {
	for i := 0; i < len(p.lines); {
		n := i + 1
		for n < len(p.lines) && n-i < 40 && p.goesOn(n) {
			n++
		}
		p.sentencesOf(i, n)
		i = n
	}
}

// goesOn reports whether line n goes on with what the one before it says.
func (p *page) goesOn(n int) bool {
	a, b := &p.lines[n-1], &p.lines[n]
	return len(a.words) >= 4 && !level(a.box, b.box) && !apart(a.box, b.box) && len(a.words)+len(b.words) > 5 &&
		b.box.X1 < a.box.X1+0.35*a.box.W() && !strings.Contains(b.text, ": ")
}

// sentencesOf adds the sentences of lines i up to n, which are one text.
func (p *page) sentencesOf(i, n int) {
	var b strings.Builder
	var ends []int
	for k := i; k < n; k++ {
		text := p.lines[k].text
		if k+1 < n && strings.HasSuffix(text, "-") {
			b.WriteString(strings.TrimSuffix(text, "-"))
		} else {
			b.WriteString(text + " ")
		}
		ends = append(ends, b.Len())
	}
	text := b.String()
	from := 0
	add := func(to int) {
		s := sentence{text: strings.TrimRight(text[from:to], " ")}
		for k, end := range ends {
			begin := 0
			if k > 0 {
				begin = ends[k-1]
			}
			if end > from && begin < to {
				s.lines = append(s.lines, i+k)
				s.ends = append(s.ends, min(end, to)-from)
			}
		}
		if s.words = wordsOf(s.text); len(s.words) > 0 {
			p.sentences = append(p.sentences, s)
		}
		from = to
	}
	for k := 0; k+2 < len(text); k++ {
		if endsSentence(text, k) {
			add(k + 2)
		}
	}
	add(len(text))
}

// endsSentence reports whether a sentence ends with the byte at k.
func endsSentence(text string, k int) bool {
	if strings.HasPrefix(text[k:], "。") {
		return false // Chinese and Japanese sentences stay together: a line of them is short
	}
	if (text[k] != '.' && text[k] != '!' && text[k] != '?') || text[k+1] != ' ' {
		return false
	}
	before := text[:k]
	if at := strings.LastIndexAny(before, " ("); len(before)-at <= 3 && text[k] == '.' { // "Dr.", "No.", an initial
		last := before[at+1:]
		return last != "" && isDigit(last[len(last)-1]) && len(text) > k+2 && !isDigit(text[k+2])
	}
	for _, r := range text[k+2:] {
		return unicode.IsUpper(r) || unicode.IsDigit(r) || unicode.In(r, unicode.Han, unicode.Pi, unicode.Ps)
	}
	return true
}
