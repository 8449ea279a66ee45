package office

import (
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/document"
)

// readPPTX reads slides in the order in which they are shown.
func readPPTX(data []byte) (*Document, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	const main = "ppt/presentation.xml"
	root, err := a.part(main)
	if err != nil {
		return nil, err
	}
	d := &Document{Info: a.properties("PPTX")}
	targets := a.relations(main)
	if list := root.kid("sldIdLst"); list != nil {
		for i, k := range list.kids {
			id := ""
			for _, at := range k.attrs { // the other attribute of that name has no prefix
				if at.Name.Local == "id" && at.Name.Space != "" {
					id = at.Value
				}
			}
			slide, err := a.part(targets[id])
			if err != nil {
				return nil, err
			}
			s := &slideReader{page: i + 1}
			if tree := slide.kid("cSld", "spTree"); tree != nil {
				s.shapes(tree)
			}
			if s.err != nil {
				return nil, s.err
			}
			d.Blocks = append(d.Blocks, s.out...)
			if len(d.Blocks) > mostBlocks {
				return nil, tooLarge("more than %d paragraphs", mostBlocks)
			}
		}
	}
	return d, nil
}

type slideReader struct {
	page int
	out  []document.Block
	err  error
}

func (s *slideReader) shapes(n *node) {
	for _, k := range n.kids {
		switch k.name {
		case "sp":
			s.shape(k)
		case "graphicFrame":
			k.all("tbl", func(t *node) {
				table, err := slideTable(t)
				if err != nil {
					s.err = err
					return
				}
				s.out = append(s.out, document.Block{Kind: document.TableKind, Table: table, Page: s.page})
			})
		case "pic":
			if p := k.kid("nvPicPr", "cNvPr"); p != nil {
				s.out = append(s.out, document.Block{Kind: document.Figure, Text: p.attr("descr"), Page: s.page})
			}
		default:
			s.shapes(k)
		}
	}
}

func (s *slideReader) shape(n *node) {
	kind, level := document.Paragraph, 0
	if ph := n.kid("nvSpPr", "nvPr", "ph"); ph != nil {
		switch ph.attr("type") {
		case "title", "ctrTitle":
			kind, level = document.Heading, 1
		case "subTitle":
			kind, level = document.Heading, 2
		case "sldNum", "dt", "ftr":
			kind = document.Footer
		case "", "body", "obj":
			kind, level = document.ListItem, 1
		}
	}
	body := n.kid("txBody")
	if body == nil {
		return
	}
	for _, p := range body.kids {
		text := strings.TrimSpace(runText(p))
		if p.name != "p" || text == "" {
			continue
		}
		b := document.Block{Kind: kind, Level: level, Text: text, Page: s.page}
		if kind == document.ListItem {
			if pr := p.kid("pPr"); pr != nil {
				if v, err := strconv.Atoi(pr.attr("lvl")); err == nil && v >= 0 && v < 9 {
					b.Level = v + 1
				}
			}
		}
		s.out = append(s.out, b)
	}
}

func slideTable(n *node) (*document.Table, error) {
	t := &document.Table{}
	for _, tr := range n.kids {
		if tr.name != "tr" {
			continue
		}
		col := 0
		for _, tc := range tr.kids {
			if tc.name != "tc" {
				continue
			}
			if tc.attr("hMerge") != "1" && tc.attr("vMerge") != "1" {
				span := func(name string) int {
					if v, err := strconv.Atoi(tc.attr(name)); err == nil && v > 0 && v < 1000 {
						return v
					}
					return 1
				}
				t.Cells = append(t.Cells, document.Cell{Row: t.Rows, Col: col, RowSpan: span("rowSpan"), ColSpan: span("gridSpan"),
					Text: paragraphs(tc)})
			}
			col++
		}
		t.Columns = max(t.Columns, col)
		t.Rows++
	}
	return bounded(t)
}
