package office

import (
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// readDOCX reads the body of a text document and its footnotes. Deleted text and the codes of fields
// are left out.
func readDOCX(data []byte) (*Document, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	root, err := a.part("word/document.xml")
	if err != nil {
		return nil, err
	}
	w := &wordReader{styles: map[string]int{}}
	if styles, err := a.part("word/styles.xml"); err == nil {
		w.readStyles(styles)
	}
	if body := root.kid("body"); body != nil {
		w.blocks(body)
	}
	if notes, err := a.part("word/footnotes.xml"); err == nil {
		notes.all("footnote", func(n *node) {
			if n.attr("type") != "" { // separators
				return
			}
			if text := strings.TrimSpace(paragraphs(n)); text != "" {
				w.out = append(w.out, document.Block{Kind: document.Footnote, Text: text})
			}
		})
	}
	if w.err != nil {
		return nil, w.err
	}
	return &Document{Blocks: w.out, Info: a.properties("DOCX")}, nil
}

type wordReader struct {
	styles map[string]int // levels of headings by the id of their style
	out    []document.Block
	err    error
}

// readStyles finds styles that are headings: by their outline level, or named "heading 1", in which
// files agree whatever language their ids are in.
func (w *wordReader) readStyles(root *node) {
	root.all("style", func(s *node) {
		level := 0
		if n := s.kid("name"); n != nil {
			name := strings.ToLower(n.attr("val"))
			if rest, ok := strings.CutPrefix(name, "heading "); ok {
				level, _ = strconv.Atoi(rest)
			} else if name == "title" {
				level = 1
			}
		}
		if n := s.kid("pPr", "outlineLvl"); n != nil && level == 0 {
			if v, err := strconv.Atoi(n.attr("val")); err == nil && v < 9 {
				level = v + 1
			}
		}
		if level >= 1 && level <= 9 {
			w.styles[s.attr("styleId")] = level
		}
	})
}

// blocks adds the paragraphs and tables in an element; others, such as content controls, are looked
// through.
func (w *wordReader) blocks(n *node) {
	for _, k := range n.kids {
		switch k.name {
		case "p":
			w.paragraph(k)
		case "tbl":
			t, err := wordTable(k)
			if err != nil {
				w.err = err
				return
			}
			if t.Rows > 0 {
				w.out = append(w.out, document.Block{Kind: document.TableKind, Table: t})
			}
		case "del", "moveFrom", "sectPr":
		default:
			w.blocks(k)
		}
	}
}

func (w *wordReader) paragraph(p *node) {
	text := strings.TrimSpace(runText(p))
	if text == "" {
		return
	}
	b := document.Block{Kind: document.Paragraph, Text: text}
	if style := p.kid("pPr", "pStyle"); style != nil {
		id := style.attr("val")
		if level := w.styles[id]; level > 0 {
			b.Kind, b.Level = document.Heading, level
		} else if strings.EqualFold(id, "caption") {
			b.Kind = document.Caption
		}
	}
	if list := p.kid("pPr", "numPr"); list != nil && b.Kind == document.Paragraph {
		b.Kind, b.Level = document.ListItem, 1
		if l := list.kid("ilvl"); l != nil {
			if v, err := strconv.Atoi(l.attr("val")); err == nil && v >= 0 && v < 9 {
				b.Level = v + 1
			}
		}
	}
	w.out = append(w.out, b)
}

// runText returns the text of a paragraph of DOCX or PPTX.
func runText(n *node) string {
	var b strings.Builder
	var walk func(n *node)
	walk = func(n *node) {
		for _, k := range n.kids {
			switch k.name {
			case "t":
				b.WriteString(k.text)
			case "tab":
				b.WriteString("\t")
			case "br", "cr":
				b.WriteString("\n")
			case "noBreakHyphen":
				b.WriteString("-")
			case "del", "moveFrom", "instrText", "delText", "pPr", "rPr", "Fallback", "txbxContent":
			default:
				walk(k)
			}
		}
	}
	walk(n)
	return b.String()
}

// paragraphs returns the text of the paragraphs in an element, a line each; of tables in it, too.
func paragraphs(n *node) string {
	var lines []string
	n.all("p", func(p *node) {
		if text := strings.TrimSpace(runText(p)); text != "" {
			lines = append(lines, text)
		}
	})
	return strings.Join(lines, "\n")
}

// wordTable reads a table with cells that span.
func wordTable(n *node) (*document.Table, error) {
	t := &document.Table{}
	open := map[int]int{} // by column: the cell that may go on below
	row := 0
	for _, tr := range n.kids {
		if tr.name != "tr" {
			continue
		}
		header := tr.kid("trPr", "tblHeader") != nil
		col := 0
		for _, tc := range tr.kids {
			if tc.name != "tc" {
				continue
			}
			span := 1
			if g := tc.kid("tcPr", "gridSpan"); g != nil {
				if v, err := strconv.Atoi(g.attr("val")); err == nil && v > 0 && v < 1000 {
					span = v
				}
			}
			merge := tc.kid("tcPr", "vMerge")
			if k, ok := open[col]; merge != nil && merge.attr("val") != "restart" && ok {
				t.Cells[k].RowSpan = row - t.Cells[k].Row + 1
			} else {
				delete(open, col)
				if merge != nil {
					open[col] = len(t.Cells)
				}
				t.Cells = append(t.Cells, document.Cell{Row: row, Col: col, RowSpan: 1, ColSpan: span,
					Text: paragraphs(tc), Header: header})
			}
			col += span
			if len(t.Cells) > mostCells || col > mostTableDim {
				return nil, tooLarge("a table of more than %d cells", mostCells)
			}
		}
		t.Columns = max(t.Columns, col)
		row++
	}
	t.Rows = row
	return bounded(t)
}

// bounded refuses tables whose grid is far larger than their cells.
func bounded(t *document.Table) (*document.Table, error) {
	if t.Rows > 0 && t.Columns > 8*mostCells/t.Rows {
		return nil, tooLarge("a table of %d rows and %d columns", t.Rows, t.Columns)
	}
	return t, nil
}
