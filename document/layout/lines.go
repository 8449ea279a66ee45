// Package layout finds the order in which a page is read, and what its parts are: headings,
// paragraphs, lists, captions, footnotes, tables, figures, labels with values. It works on boxes
// alone and knows neither PDF nor pictures, so that words of a text layer and lines that were read
// from a picture go the same way:
//
//   - Order puts boxes of lines into reading order: it takes those of any reader.
//   - Lines makes lines of words, Tables finds tables, Pairs labels and values.
//   - Analyze does all of it for a page and returns blocks.
//
// # The order
//
// What stands alone at the upper and lower edge comes first and last. Then columns: a gutter is an
// upright strip that fewest lines cross, with at least two lines on both sides that overlap in height.
// Lines that cross it (titles, wide figures) part the page into bands, from top to bottom; in a band
// the left side comes before the right one, and each is parted again in the same way. Both sides must
// look like text in columns: lines of at least ten times their height that fill half of the column, or
// rows that do not stand level with each other; else (forms, tables) rows are read from left to right.
package layout

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// Box is an upright rectangle in units of the page's width and height.
type Box = document.Box

// Line is words side by side, without a gap as wide as the font is high: a line of a column, or what
// stands in a cell.
type Line struct {
	Text  string
	Box   Box
	Words []document.Word
	Size  float64 // of the font, in points: the widest word's; from the box where it is not known
	Bold  bool    // all of its words
}

// wordGap is how wide the gap between words of one line may be, in heights of the font.
const wordGap = 0.9

// Lines makes lines of a page's words, the visible ones, in no particular order. Words that are turned
// stay lines of their own, by their angle.
func Lines(page *document.Page) []Line {
	page = tidy(page)
	return linesOf(page.Words, page.Width, page.Height, wordGap)
}

// tidy returns a page with its visible words alone, sane boxes, and a size.
func tidy(page *document.Page) *document.Page {
	p := *page
	p.Words = page.Visible()
	for i := range p.Words {
		w := &p.Words[i]
		w.Box = sane(w.Box)
		if !(w.Size >= 0 && w.Size < 1e5) {
			w.Size = 0
		}
		// What lies a little askew, as a scan does, stands in lines all the same.
		if right := 90 * math.Round(w.Angle/90); math.Abs(w.Angle-right) < 3 {
			w.Angle = math.Mod(right, 360)
		}
	}
	boxes := func(from []Box) []Box {
		to := make([]Box, len(from))
		for i, b := range from {
			to[i] = sane(b)
		}
		return to
	}
	p.Rules, p.Figures = boxes(page.Rules), boxes(page.Figures)
	if !(p.Width > 0.1 && p.Width < 1e6 && p.Height > 0.1 && p.Height < 1e6) {
		p.Width, p.Height = 595, 842
	}
	return &p
}

func linesOf(words []document.Word, width, height, gap float64) []Line {
	order := make([]int, len(words))
	tall := make([]float64, len(words)) // in points
	for i, w := range words {
		order[i] = i
		tall[i] = max(w.Size, w.Box.H()*height)
	}
	bucket := max(median(tall), 1) / height
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(words[a].Box.X0, words[b].Box.X0) })
	type open struct {
		words []int
		box   Box
		tall  float64
	}
	var lines []*open
	rows := map[int][]*open{} // by the bucket of the last word's middle
	place := func(y float64) int { return int(math.Floor(min(max(y/bucket, -1e6), 1e6))) }
	for _, i := range order {
		w := words[i]
		if w.Angle != 0 {
			continue
		}
		var best *open
		bestGap := math.Inf(1)
		at := place(w.Box.CY())
		for b := at - 1; b <= at+1; b++ {
			for _, l := range rows[b] {
				between := (w.Box.X0 - l.box.X1) * width
				size := max(tall[i], l.tall)
				if between > gap*size || between < -0.5*size {
					continue
				}
				both := min(w.Box.Y1, l.box.Y1) - max(w.Box.Y0, l.box.Y0)
				if both < 0.5*min(w.Box.H(), l.box.H()) || size > 2.2*min(tall[i], l.tall) {
					continue
				}
				if between < bestGap {
					best, bestGap = l, between
				}
			}
		}
		if best == nil {
			best = &open{}
			lines = append(lines, best)
		} else {
			from := place(best.box.CY())
			rows[from] = slices.DeleteFunc(rows[from], func(l *open) bool { return l == best })
		}
		best.words = append(best.words, i)
		best.box = best.box.Union(w.Box)
		best.tall = max(best.tall, tall[i])
		to := place(best.box.CY())
		rows[to] = append(rows[to], best)
	}
	out := make([]Line, 0, len(lines))
	for _, l := range lines {
		members := make([]document.Word, len(l.words))
		for k, i := range l.words {
			members[k] = words[i]
		}
		out = append(out, newLine(members, height))
	}
	return append(out, turned(words, width, height)...)
}

// newLine makes a line of words from left to right.
func newLine(words []document.Word, height float64) Line {
	line := Line{Words: words, Bold: true}
	widest := -1.0
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.Text
		line.Box = line.Box.Union(w.Box)
		line.Bold = line.Bold && w.Bold
		if w.Box.W() > widest {
			widest = w.Box.W()
			if line.Size = w.Size; line.Size == 0 {
				line.Size = w.Box.H() * height
			}
		}
	}
	line.Text = strings.Join(texts, " ")
	return line
}

// turned makes lines of words that are turned by the same angle and follow each other.
func turned(words []document.Word, width, height float64) (lines []Line) {
	var run []document.Word
	end := func() {
		if len(run) > 0 {
			lines = append(lines, newLine(run, height))
		}
		run = nil
	}
	for _, w := range words {
		if w.Angle == 0 {
			continue
		}
		if len(run) > 0 {
			last := run[len(run)-1]
			apart := math.Hypot((w.Box.CX()-last.Box.CX())*width, (w.Box.CY()-last.Box.CY())*height)
			reach := (max(w.Box.W()*width, w.Box.H()*height) + max(last.Box.W()*width, last.Box.H()*height)) / 2
			if last.Angle != w.Angle || apart > reach+max(w.Size, last.Size, 1) {
				end()
			}
		}
		run = append(run, w)
	}
	end()
	return lines
}

// median returns the middle value; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
