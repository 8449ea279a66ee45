// Package doctags reads DocTags, the markup in which SmolDocling and granite-docling write pages down
// (Nassar et al., 2503.11576): elements with their places, and tables as OTSL (Lysak et al., 2305.03393).
package doctags

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// kinds are the elements that are blocks. Others are kept for the text in them.
var kinds = map[string]document.Kind{
	"title": document.Heading, "text": document.Paragraph, "paragraph": document.Paragraph,
	"caption": document.Caption, "footnote": document.Footnote, "page_header": document.Header,
	"page_footer": document.Footer, "list_item": document.ListItem, "formula": document.Paragraph,
	"code": document.Code, "picture": document.Figure, "chart": document.Figure, "otsl": document.TableKind,
	"document_index": document.TableKind, "reference": document.Paragraph,
	"checkbox_selected": document.ListItem, "checkbox_unselected": document.ListItem,
}

var tag = regexp.MustCompile(`<(/?)([a-z][a-z_]*?)(?:_?(\d+))?>|<_([^<>]*)_>`)

// locations is how many steps a page's width and height have.
const locations = 500

// mostCells bounds a table, whose rows may be of any length.
const mostCells = 100_000

// Parse returns the blocks that a text in DocTags has, in its order. It takes what a model wrote, whole or
// cut off: what is no known tag is text, and what is not closed ends with the text.
func Parse(text string) []document.Block {
	p := &parser{page: 1}
	at := 0
	for _, m := range tag.FindAllStringSubmatchIndex(text, -1) {
		p.text(text[at:m[0]])
		at = m[1]
		part := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return text[m[2*i]:m[2*i+1]]
		}
		if m[8] >= 0 {
			continue // the language of a piece of code
		}
		number, err := strconv.Atoi(part(3))
		if err != nil {
			number = -1
		}
		if part(1) == "/" {
			p.closed(part(2))
		} else {
			p.opened(part(2), number)
		}
	}
	p.text(text[at:])
	for len(p.open) > 0 {
		p.end()
	}
	return p.blocks
}

// element is a block that is not closed.
type element struct {
	name  string
	at    int // of its block
	place []float64
	rows  [][]cell
}

// cell is one of a table in OTSL.
type cell struct {
	kind string
	text string
}

type parser struct {
	blocks []document.Block
	open   []*element
	lists  []int // the next number of each list; 0 of one without numbers
	page   int
	cells  int
}

func (p *parser) top() *element {
	if len(p.open) == 0 {
		return nil
	}
	return p.open[len(p.open)-1]
}

func (p *parser) opened(name string, number int) {
	top := p.top()
	switch name {
	case "loc":
		if top != nil && number >= 0 {
			top.place = append(top.place, float64(min(number, locations))/locations)
		}
		return
	case "page_break":
		p.page++
		return
	case "ordered_list":
		p.lists = append(p.lists, 1)
		return
	case "unordered_list":
		p.lists = append(p.lists, 0)
		return
	case "fcel", "ecel", "lcel", "ucel", "xcel", "ched", "rhed", "srow":
		if top != nil && top.rows != nil && p.cells < mostCells {
			p.cells++
			row := &top.rows[len(top.rows)-1]
			*row = append(*row, cell{kind: name})
		}
		return
	case "nl":
		if top != nil && top.rows != nil && p.cells < mostCells {
			p.cells++
			top.rows = append(top.rows, []cell{})
		}
		return
	case "section_header_level":
		p.begin(name, document.Block{Kind: document.Heading, Level: max(number, 1) + 1})
		return
	}
	kind, ok := kinds[name]
	if !ok {
		return
	}
	b := document.Block{Kind: kind}
	switch {
	case name == "title":
		b.Level = 1
	case name == "list_item":
		b.Level, b.Text = max(len(p.lists), 1), "• "
		if n := len(p.lists); n > 0 && p.lists[n-1] > 0 {
			b.Text = fmt.Sprintf("%d. ", p.lists[n-1])
			p.lists[n-1]++
		}
	case name == "checkbox_selected":
		b.Level, b.Text = 1, "• [x] "
	case name == "checkbox_unselected":
		b.Level, b.Text = 1, "• [ ] "
	}
	p.begin(name, b)
}

// begin begins a block. Only captions stand in others, and a list's items; what else begins ends them.
func (p *parser) begin(name string, b document.Block) {
	for top := p.top(); top != nil; top = p.top() {
		holds := top.name == "picture" || top.name == "chart" || top.name == "otsl" || top.name == "document_index"
		if name == "caption" && holds {
			b.Of = top.at + 1
			break
		}
		p.end()
	}
	b.Page = p.page
	e := &element{name: name, at: len(p.blocks)}
	if b.Kind == document.TableKind {
		e.rows = [][]cell{{}}
	}
	p.blocks = append(p.blocks, b)
	p.open = append(p.open, e)
}

func (p *parser) closed(name string) {
	switch name {
	case "ordered_list", "unordered_list":
		if n := len(p.lists); n > 0 {
			p.lists = p.lists[:n-1]
		}
	case "section_header_level":
	default:
		if kinds[name] == "" {
			return
		}
	}
	k := slices.IndexFunc(p.open, func(e *element) bool { return e.name == name })
	for k >= 0 && len(p.open) > k {
		p.end()
	}
}

// text adds text to what is open. Outside of everything it is a paragraph, but for white space.
func (p *parser) text(s string) {
	top := p.top()
	switch {
	case s == "":
	case top == nil:
		if strings.TrimSpace(s) != "" {
			p.blocks = append(p.blocks, document.Block{Kind: document.Paragraph, Page: p.page, Text: strings.TrimSpace(s)})
		}
	case top.rows != nil:
		if row := top.rows[len(top.rows)-1]; len(row) > 0 {
			row[len(row)-1].text += s
		}
	default:
		p.blocks[top.at].Text += s
	}
}

// end ends the innermost element.
func (p *parser) end() {
	e := p.top()
	p.open = p.open[:len(p.open)-1]
	b := &p.blocks[e.at]
	if b.Text = strings.TrimSpace(b.Text); b.Kind != document.Code {
		b.Text = strings.Join(strings.Fields(b.Text), " ")
	}
	if len(e.place) >= 4 {
		b.Box = document.Box{X0: min(e.place[0], e.place[2]), Y0: min(e.place[1], e.place[3]),
			X1: max(e.place[0], e.place[2]), Y1: max(e.place[1], e.place[3])}
	}
	if e.rows != nil {
		b.Table = table(e.rows)
	}
}

// table makes a table of rows of OTSL, in which a cell that spans goes on in lcel to its right, ucel below
// it, and xcel in both directions.
func table(rows [][]cell) *document.Table {
	rows = slices.DeleteFunc(rows, func(r []cell) bool { return len(r) == 0 })
	t := &document.Table{Rows: len(rows)}
	is := func(r, c int, kind string) bool { return r < len(rows) && c < len(rows[r]) && rows[r][c].kind == kind }
	for r, row := range rows {
		t.Columns = max(t.Columns, len(row))
		for c, one := range row {
			if one.kind == "lcel" || one.kind == "ucel" || one.kind == "xcel" {
				continue
			}
			made := document.Cell{Row: r, Col: c, RowSpan: 1, ColSpan: 1, Text: strings.Join(strings.Fields(one.text), " "),
				Header: one.kind == "ched"}
			for is(r, c+made.ColSpan, "lcel") {
				made.ColSpan++
			}
			for is(r+made.RowSpan, c, "ucel") {
				made.RowSpan++
			}
			if one.kind != "ecel" || made.ColSpan > 1 || made.RowSpan > 1 {
				t.Cells = append(t.Cells, made)
			}
		}
	}
	return t
}
