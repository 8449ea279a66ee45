package office

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"github.com/crossattn/xpipe/document"
)

// readMarkdown reads CommonMark with GitHub's tables, by way of HTML.
func readMarkdown(data []byte) (*Document, error) {
	text, err := decoded(data)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := md.Convert([]byte(text), &page); err != nil {
		return nil, err
	}
	d, err := parseHTML(&page)
	if err == nil {
		d.Info.Format = "Markdown"
	}
	return d, err
}

// readHTML reads a page: what is shown of it, but for pictures.
func readHTML(data []byte) (*Document, error) {
	if len(data) == 0 { // of which charset says that it ends
		return &Document{Info: document.Info{Format: "HTML"}}, nil
	}
	r, err := charset.NewReader(bytes.NewReader(data), "text/html")
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if _, err := page.ReadFrom(r); err != nil {
		return nil, err
	}
	d, err := parseHTML(&page)
	if err == nil {
		d.Info.Format = "HTML"
	}
	return d, err
}

func parseHTML(r *bytes.Buffer) (*Document, error) {
	root, err := nethtml.Parse(r)
	if err != nil {
		return nil, err
	}
	h := &htmlReader{doc: &Document{}}
	h.children(root, 0)
	h.flush()
	return h.doc, h.err
}

// htmlReader makes blocks of a tree: text gathers until a block begins or ends.
type htmlReader struct {
	doc   *Document
	text  strings.Builder
	kind  document.Block // what the gathered text is
	depth int
	err   error
}

func (h *htmlReader) flush() {
	text := strings.Join(strings.Fields(h.text.String()), " ")
	h.text.Reset()
	if text == "" {
		return
	}
	b := h.kind
	if b.Kind == "" {
		b.Kind = document.Paragraph
	}
	b.Text = text
	h.add(b)
}

func (h *htmlReader) add(b document.Block) {
	if len(h.doc.Blocks) >= mostBlocks {
		h.err = tooLarge("more than %d paragraphs", mostBlocks)
		return
	}
	h.doc.Blocks = append(h.doc.Blocks, b)
}

// within reads an element as a block of its own.
func (h *htmlReader) within(n *nethtml.Node, lists int, b document.Block) {
	h.flush()
	before := h.kind
	h.kind = b
	h.children(n, lists)
	h.flush()
	h.kind = before
}

// children reads the contents of an element, which lies in so many lists.
func (h *htmlReader) children(n *nethtml.Node, lists int) {
	if h.depth++; h.depth > 4*mostDepth {
		h.err = tooLarge("elements in elements, more than %d deep", 4*mostDepth)
	}
	defer func() { h.depth-- }()
	for k := n.FirstChild; k != nil && h.err == nil; k = k.NextSibling {
		if k.Type == nethtml.TextNode {
			h.text.WriteString(k.Data)
			continue
		}
		if k.Type != nethtml.ElementNode {
			if k.Type == nethtml.DocumentNode {
				h.children(k, lists)
			}
			continue
		}
		switch k.Data {
		case "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "select", "textarea":
		case "head":
			if t := find(k, "title"); t != nil {
				h.doc.Info.Title = strings.TrimSpace(plain(t))
			}
		case "h1", "h2", "h3", "h4", "h5", "h6":
			h.within(k, lists, document.Block{Kind: document.Heading, Level: int(k.Data[1] - '0')})
		case "li":
			h.within(k, lists, document.Block{Kind: document.ListItem, Level: max(lists, 1)})
		case "ul", "ol", "menu":
			h.flush()
			h.children(k, lists+1)
			h.flush()
		case "figcaption", "caption":
			h.within(k, lists, document.Block{Kind: document.Caption})
		case "pre":
			h.flush()
			if text := strings.Trim(plain(k), "\n"); text != "" {
				h.add(document.Block{Kind: document.Code, Text: text})
			}
		case "img":
			h.flush()
			h.add(document.Block{Kind: document.Figure, Text: strings.TrimSpace(attribute(k, "alt"))})
		case "br":
			h.text.WriteString("\n")
		case "table":
			h.flush()
			h.table(k)
		case "header", "footer", "section", "article", "main", "nav", "aside", "div", "p", "blockquote", "dl", "dt", "dd",
			"figure", "address", "form", "fieldset", "hr", "body", "html", "details", "summary", "tr", "td", "th":
			h.within(k, lists, h.kind)
		default:
			h.children(k, lists)
		}
	}
}

// table reads a table; tables within cells become their text.
func (h *htmlReader) table(n *nethtml.Node) {
	t := &document.Table{}
	covered := map[[2]int]bool{}
	places := 0
	var rows func(n *nethtml.Node, header bool)
	rows = func(n *nethtml.Node, header bool) {
		for k := n.FirstChild; k != nil && h.err == nil; k = k.NextSibling {
			switch k.Data {
			case "caption":
				h.within(k, 0, document.Block{Kind: document.Caption})
			case "thead", "tbody", "tfoot":
				rows(k, k.Data == "thead")
			case "tr":
				col := 0
				for c := k.FirstChild; c != nil; c = c.NextSibling {
					if c.Data != "td" && c.Data != "th" {
						continue
					}
					for covered[[2]int{t.Rows, col}] {
						col++
					}
					cell := document.Cell{Row: t.Rows, Col: col, RowSpan: number(attribute(c, "rowspan")), ColSpan: number(attribute(c, "colspan")),
						Text: strings.Join(strings.Fields(plain(c)), " "), Header: header || c.Data == "th"}
					if places += cell.RowSpan * cell.ColSpan; places > mostCells {
						h.err = tooLarge("a table of more than %d cells", mostCells)
						return
					}
					for i := range cell.RowSpan {
						for j := range cell.ColSpan {
							covered[[2]int{t.Rows + i, col + j}] = true
						}
					}
					t.Cells = append(t.Cells, cell)
					col += cell.ColSpan
					t.Columns = max(t.Columns, col)
				}
				t.Rows++
			}
		}
	}
	rows(n, false)
	for i := range t.Cells {
		t.Cells[i].RowSpan = min(t.Cells[i].RowSpan, t.Rows-t.Cells[i].Row)
	}
	if _, err := bounded(t); err != nil {
		h.err = err
	} else if len(t.Cells) > 0 && h.err == nil {
		h.add(document.Block{Kind: document.TableKind, Table: t})
	}
}

func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 1 {
		return 1
	}
	return min(n, 1000)
}

func attribute(n *nethtml.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func find(n *nethtml.Node, name string) *nethtml.Node {
	for k := range n.Descendants() {
		if k.Type == nethtml.ElementNode && k.Data == name {
			return k
		}
	}
	return nil
}

// plain returns the text in an element.
func plain(n *nethtml.Node) string {
	var b strings.Builder
	for k := range n.Descendants() {
		switch {
		case k.Type == nethtml.TextNode && k.Parent.Data != "script" && k.Parent.Data != "style":
			b.WriteString(k.Data)
		case k.Type == nethtml.ElementNode && (k.Data == "br" || k.Data == "p" || k.Data == "div" || k.Data == "tr" || k.Data == "td" || k.Data == "li"):
			b.WriteString("\n")
		}
	}
	return b.String()
}
