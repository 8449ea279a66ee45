// Package find finds where a document answers a question. It works on the lines of pages that were read, whoever read
// them, with no model:
//
//   - Passages parts a page into passages: lines that belong together. They are what a search over many documents
//     keeps, and what a language model is given of a long one.
//   - Index.Search ranks passages by BM25 (Robertson and Zaragoza, 2009) over stems.
//   - Index.Answer picks the line that answers a question, and what in it does. See there what it goes by.
package find

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// Line is a line of a page, or a cell of a table.
type Line struct {
	Text string
	Quad [4][2]float64 // corners from the upper left clockwise, in units of the page's width and height
}

// Box returns the upright rectangle around the line.
func (l Line) Box() document.Box {
	b := document.Box{X0: math.Inf(1), Y0: math.Inf(1), X1: math.Inf(-1), Y1: math.Inf(-1)}
	for _, p := range l.Quad {
		b = document.Box{X0: min(b.X0, p[0]), Y0: min(b.Y0, p[1]), X1: max(b.X1, p[0]), Y1: max(b.Y1, p[1])}
	}
	return b
}

// Page is what was read on a page.
type Page struct {
	Number int     // from 1
	Aspect float64 // the page's width divided by its height; 0 stands for that of A4
	Lines  []Line  // in reading order
}

// Passage is a piece of a page: lines that follow each other and belong together.
type Passage struct {
	Page        int // its number
	First, Last int // its lines are Page.Lines[First:Last]
	Text        string
	Box         document.Box
	Score       float64 // of a search; BM25's, without an upper bound
}

// mostWords bounds a passage, so that it says one thing and many fit into what a model reads.
const mostWords = 120

// Passages parts a page into passages. A passage ends where the next line stands in another column, is set off by more
// than a line's height, or is much larger or smaller; and where it has 120 words.
func Passages(p *Page) (passages []Passage) {
	words := 0
	var last document.Box
	for i, l := range p.Lines {
		box := l.Box()
		n := len(strings.Fields(l.Text))
		if i == 0 || apart(last, box) || words+n > mostWords {
			passages = append(passages, Passage{Page: p.Number, First: i, Last: i})
			words = 0
		}
		now := &passages[len(passages)-1]
		if now.Last++; now.Text != "" {
			now.Text += "\n"
		}
		now.Text += l.Text
		now.Box = now.Box.Union(box)
		words += n
		last = box
	}
	return passages
}

// apart reports whether a line does not go on where the one before it ended.
func apart(before, box document.Box) bool {
	high := max(before.H(), box.H())
	if level(before, box) {
		return false
	}
	return box.Y0-before.Y1 > 0.9*high || box.Y1 < before.Y0+0.5*high || min(before.H(), box.H()) < 0.6*high ||
		min(before.X1, box.X1) <= max(before.X0, box.X0)
}

// level reports whether two lines stand side by side.
func level(a, b document.Box) bool {
	return min(a.Y1, b.Y1)-max(a.Y0, b.Y0) >= 0.5*min(a.H(), b.H())
}

// Index is a document in which questions are looked up. It is not changed by that, so that several may be at once.
type Index struct {
	pages    []*page
	passages []passage
	df       map[string]int // passages that have a stem
	mean     float64        // words of a passage
	body     float64        // height of most lines
}

// passage is a passage with its words.
type passage struct {
	Passage
	page  *page
	count map[string]int
	words int
}

// New makes an index of pages.
func New(pages []Page) *Index {
	x := &Index{df: map[string]int{}}
	var heights []float64
	for i := range pages {
		p := newPage(&pages[i])
		x.pages = append(x.pages, p)
		for _, l := range p.lines {
			heights = append(heights, l.box.H())
		}
		for _, found := range Passages(&pages[i]) {
			made := passage{Passage: found, page: p, count: map[string]int{}}
			for k := found.First; k < found.Last; k++ {
				p.lines[k].passage = len(x.passages)
				for _, w := range p.lines[k].words {
					made.count[w.stem]++
					made.words++
				}
			}
			x.mean += float64(made.words)
			x.passages = append(x.passages, made)
		}
		for _, s := range p.sentences { // words that a line's end parts
			for _, w := range s.words {
				if count := x.passages[p.lines[s.lines[0]].passage].count; len(s.lines) > 1 && count[w.stem] == 0 {
					count[w.stem]++
				}
			}
		}
	}
	for i := range x.passages {
		for s := range x.passages[i].count {
			x.df[s]++
		}
	}
	x.mean = max(x.mean/float64(max(len(x.passages), 1)), 1)
	slices.Sort(heights)
	if len(heights) > 0 {
		x.body = heights[len(heights)/2]
	}
	return x
}

// Empty reports whether there is no text.
func (x *Index) Empty() bool {
	return !slices.ContainsFunc(x.passages, func(p passage) bool { return p.words > 0 })
}

// idf says how much a stem tells: the fewer passages have it, the more.
func (x *Index) idf(s string) float64 {
	n, df := float64(len(x.passages)), float64(x.df[s])
	return math.Log(1 + (n-df+0.5)/(df+0.5))
}

// The parameters of BM25, as most systems have them.
const (
	k1 = 1.2
	b  = 0.75
)

// Search returns the passages that fit a query best, at most so many, the best first; those that have none of its
// words are left out. Words akin to the query's count less.
func (x *Index) Search(query string, most int) []Passage {
	scores := x.scores(ask(query))
	var found []Passage
	for i, s := range scores {
		if s > 0 {
			p := x.passages[i].Passage
			p.Score = s
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b Passage) int { return cmp.Compare(b.Score, a.Score) })
	return found[:min(len(found), max(most, 0))]
}

// scores gives each passage its score for a question.
func (x *Index) scores(q question) []float64 {
	scores := make([]float64, len(x.passages))
	kin := x.kin(q)
	for k, t := range q.terms {
		idf := x.idf(t)
		for i := range x.passages {
			p := &x.passages[i]
			tf := float64(p.count[t])
			if tf == 0 {
				for s, v := range kin[k] {
					if p.count[s] > 0 {
						tf = max(tf, v*0.7)
					}
				}
			}
			if tf > 0 {
				scores[i] += idf * tf * (k1 + 1) / (tf + k1*(1-b+b*float64(p.words)/x.mean))
			}
		}
	}
	return scores
}
