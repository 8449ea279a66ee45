package api

import (
	"math"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/pipeline"
)

// Page is one page's line of read.
type Page struct {
	Document Name       `json:"document"`
	Number   int        `json:"page"`  // from 1
	Width    int        `json:"width"` // of its picture, in pixels; 0 where pages have no fixed look
	Height   int        `json:"height"`
	Turn     int        `json:"turn,omitempty"` // degrees clockwise after which the text stands upright
	Text     string     `json:"text"`
	Lines    []PageLine `json:"lines"` // in reading order
	Tables   []Table    `json:"tables"`
	Figures  []Figure   `json:"figures"`
	// Record has texts of a medical picture's record by their keywords.
	Record map[string]string `json:"record,omitempty"`
	// Fields are what a model wrote as fields (Donut); absent where there is no such thing.
	Fields  any     `json:"fields,omitempty"`
	Seconds float64 `json:"seconds"`
	*Origin

	// Blocks are what the page consists of, in reading order: what Text was made of. Their boxes are on
	// the page as it stands upright.
	Blocks []document.Block `json:"-"`

	whole bool // its picture was read: all of Lines come from there
}

// PageLine is a line of a page, or a cell of a table.
type PageLine struct {
	Text       string        `json:"text"`
	Quad       pipeline.Quad `json:"quad"`       // its corners in units of the page's width and height
	Confidence float64       `json:"confidence"` // 0 to 1
	Words      []PageWord    `json:"words"`

	own bool // the page says it of itself: it was not read
}

// PageWord is a word of a line.
type PageWord struct {
	Text       string        `json:"text"`
	Quad       pipeline.Quad `json:"quad"`
	Confidence float64       `json:"confidence"`
}

// Table is a table of a page.
type Table struct {
	Rows    [][]string     `json:"rows"`              // of a cell that spans others the text stands in the first
	Quad    *pipeline.Quad `json:"quad,omitempty"`    // nil where the document has no places
	Caption string         `json:"caption,omitempty"` // what is written about it
}

// Figure is a picture on a page.
type Figure struct {
	Quad    pipeline.Quad `json:"quad"`
	Caption string        `json:"caption,omitempty"`
	File    Name          `json:"file,omitempty"` // the picture cut out (--figures)
}

// NewPage makes a page's line of what was read on it, in some seconds.
func NewPage(name string, number int, p *pipeline.Page, seconds float64) Page {
	page := Page{
		Document: Name(name), Number: number, Width: p.Width, Height: p.Height, Turn: p.Turn,
		Lines: []PageLine{}, Fields: p.Fields, Seconds: orZero(seconds),
	}
	for _, l := range p.Lines {
		page.Lines = append(page.Lines, pageLine(l, func(q pipeline.Quad) pipeline.Quad { return q }))
	}
	page.setBlocks(p.Blocks, p.Quad)
	return page
}

// pageLine makes a line of what was read; place says where on the page a quadrilateral lies.
func pageLine(l pipeline.Line, place func(pipeline.Quad) pipeline.Quad) PageLine {
	line := PageLine{Text: l.Text, Quad: short(place(l.Quad)), Confidence: digits(l.Confidence), Words: []PageWord{}}
	for _, w := range l.Words {
		line.Words = append(line.Words, PageWord{w.Text, short(place(w.Quad)), digits(w.Confidence)})
	}
	return line
}

// setBlocks sets what a page consists of; place says where a block's box lies.
func (p *Page) setBlocks(blocks []document.Block, place func(document.Box) pipeline.Quad) {
	p.Blocks, p.Text = blocks, document.Text(blocks)
	p.Tables, p.Figures = []Table{}, []Figure{}
	captions := map[int]string{}
	for _, b := range blocks {
		if b.Kind == document.Caption && b.Of > 0 {
			captions[b.Of-1] = b.Text
		}
	}
	for i, b := range blocks {
		switch {
		case b.Table != nil:
			t := Table{Rows: b.Table.Texts(), Caption: captions[i]}
			if b.Box != (document.Box{}) {
				q := short(place(b.Box))
				t.Quad = &q
			}
			p.Tables = append(p.Tables, t)
		case b.Kind == document.Figure && b.Box != (document.Box{}):
			p.Figures = append(p.Figures, Figure{Quad: short(place(b.Box)), Caption: captions[i]})
		}
	}
}

// digits keeps six digits: of a page of 5,000 pixels a hundredth.
func digits(v float64) float64 { return math.Round(v*1e6) / 1e6 }

func short(q pipeline.Quad) pipeline.Quad {
	for i := range q {
		for j, v := range q[i] {
			q[i][j] = digits(min(max(v, 0), 1)) // files may draw beyond the page
		}
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
