package api

import (
	"math"

	"github.com/crossattn/xpipe/pipeline"
)

// Page is one page's line of read.
type Page struct {
	Document Name       `json:"document"`
	Number   int        `json:"page"`  // from 1
	Width    int        `json:"width"` // of its picture, in pixels
	Height   int        `json:"height"`
	Turn     int        `json:"turn,omitempty"` // degrees clockwise after which the text stands upright
	Text     string     `json:"text"`
	Lines    []PageLine `json:"lines"` // in reading order
	Tables   []Table    `json:"tables"`
	Figures  []Figure   `json:"figures"`
	Seconds  float64    `json:"seconds"`
	*Origin
}

// PageLine is a line of a page, or a cell of a table.
type PageLine struct {
	Text       string        `json:"text"`
	Quad       pipeline.Quad `json:"quad"`       // its corners in units of the page's width and height
	Confidence float64       `json:"confidence"` // 0 to 1
	Words      []PageWord    `json:"words"`
}

// PageWord is a word of a line.
type PageWord struct {
	Text       string        `json:"text"`
	Quad       pipeline.Quad `json:"quad"`
	Confidence float64       `json:"confidence"`
}

// Table is a table of a page.
type Table struct {
	Rows [][]string `json:"rows"`
}

// Figure is a picture on a page.
type Figure struct {
	Quad pipeline.Quad `json:"quad"`
}

// NewPage makes a page's line of what was read on it, in some seconds.
func NewPage(document string, number int, p *pipeline.Page, seconds float64) Page {
	page := Page{
		Document: Name(document), Number: number, Width: p.Width, Height: p.Height, Turn: p.Turn,
		Text: p.Text(), Lines: []PageLine{}, Tables: []Table{}, Figures: []Figure{}, Seconds: orZero(seconds),
	}
	for _, l := range p.Lines {
		line := PageLine{Text: l.Text, Quad: short(l.Quad), Confidence: digits(l.Confidence), Words: []PageWord{}}
		for _, w := range l.Words {
			line.Words = append(line.Words, PageWord{w.Text, short(w.Quad), digits(w.Confidence)})
		}
		page.Lines = append(page.Lines, line)
	}
	return page
}

// digits keeps six digits: of a page of 5,000 pixels a hundredth.
func digits(v float64) float64 { return math.Round(v*1e6) / 1e6 }

func short(q pipeline.Quad) pipeline.Quad {
	for i := range q {
		q[i] = [2]float64{digits(q[i][0]), digits(q[i][1])}
	}
	return q
}

// PageFailure takes the place of a document's line where it failed and others go on.
type PageFailure struct {
	Document Name   `json:"document"`
	Error    string `json:"error"` // one line
	*Origin
}

// NewPageFailure is what is printed of a document that failed.
func NewPageFailure(document string, err error) PageFailure {
	return PageFailure{Document: Name(document), Error: OneLine(err)}
}
