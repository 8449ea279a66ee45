package api

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/searchable"
	"github.com/crossattn/xpipe/pipeline"
)

// PageForms are the forms that pages are written in, beside JSON lines and PDF.
var PageForms = []string{"text", "markdown", "hocr", "alto"}

// PageWriter writes pages in a form. Begin and End write what stands around them.
type PageWriter struct {
	form  string
	w     io.Writer
	pages int
}

// NewPageWriter returns a writer in one of PageForms.
func NewPageWriter(w io.Writer, form string) *PageWriter { return &PageWriter{form: form, w: w} }

// Begin writes what stands before the first page.
func (p *PageWriter) Begin() error {
	switch p.form {
	case "hocr":
		return p.write(hocrHead)
	case "alto":
		return p.write(altoHead)
	}
	return nil
}

// Page writes a page; head is a title of it, "" for none, which hOCR and ALTO do not need.
func (p *PageWriter) Page(page *Page, head string) error {
	first := p.pages == 0
	p.pages++
	switch p.form {
	case "hocr":
		return p.write(hocrPage(page, p.pages))
	case "alto":
		return p.write(altoPage(page, p.pages))
	case "markdown":
		if head != "" {
			head = "<!-- " + strings.ReplaceAll(head, "--", "- -") + " -->\n\n"
		}
		return p.part(first, head, page.Markdown())
	}
	if head != "" {
		head += ":\n"
	}
	return p.part(first, head, Printable(page.Text))
}

// part writes a page's text, a blank line before it.
func (p *PageWriter) part(first bool, head, text string) error {
	if !first {
		head = "\n" + head
	}
	return p.write(head + text + "\n")
}

// End writes what stands behind the last page.
func (p *PageWriter) End() error {
	switch p.form {
	case "hocr":
		return p.write("</body>\n</html>\n")
	case "alto":
		return p.write("</Layout>\n</alto>\n")
	}
	return nil
}

func (p *PageWriter) write(s string) error {
	_, err := io.WriteString(p.w, s)
	return err
}

// Markdown returns a page as GitHub's Markdown. Figures that were cut out are pictures in it.
func (p *Page) Markdown() string {
	blocks := make([]document.Block, 0, len(p.Blocks))
	figure := 0
	for _, b := range p.Blocks {
		if b.Kind == document.Figure {
			if b.Box != (document.Box{}) {
				figure++
			}
			if figure > 0 && figure <= len(p.Figures) && p.Figures[figure-1].File != "" {
				b.File = string(p.Figures[figure-1].File)
			} else if b.Text == "" {
				continue // there is nothing to show
			}
		}
		blocks = append(blocks, b)
	}
	return document.Markdown(blocks)
}

// spaced returns a line's words, and whether a blank follows each.
func (l *PageLine) spaced() (words []PageWord, blank []bool) {
	words = l.Words
	if len(words) == 0 && strings.TrimSpace(l.Text) != "" {
		words = []PageWord{{l.Text, l.Quad, l.Confidence}}
	}
	blank = make([]bool, len(words))
	rest := l.Text
	for i, w := range words {
		at := strings.Index(rest, w.Text)
		if at < 0 {
			blank[i] = true
			continue
		}
		rest = rest[at+len(w.Text):]
		blank[i] = rest == "" || strings.TrimLeftFunc(rest, unicode.IsSpace) != rest
	}
	return words, blank
}

// Searchable returns what was read on a page's pictures as words to lay over it, and whether that is all
// of its text. What the page says of itself is there already.
func (p *Page) Searchable() (words []searchable.Word, whole bool) {
	for i := range p.Lines {
		if p.Lines[i].own {
			continue
		}
		all, blank := p.Lines[i].spaced()
		for k, w := range all {
			words = append(words, searchable.Word{Text: w.Text, Quad: uprightQuad(w.Quad, p.Turn), Space: blank[k]})
		}
	}
	return words, p.whole
}

// uprightQuad begins a quadrilateral at the upper left corner of its text, on a page that has to be turned
// clockwise by so many degrees for it to stand upright.
func uprightQuad(q pipeline.Quad, turn int) (out [4][2]float64) {
	for i := range q {
		out[i] = q[(i+4-turn/90)%4]
	}
	return out
}

const hocrHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title></title>
<meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
<meta name="ocr-system" content="xpipe"/>
<meta name="ocr-capabilities" content="ocr_page ocr_line ocrx_word"/>
</head>
<body>
`

// pixels is the box of a quadrilateral in a page's pixels.
func (p *Page) pixels(q pipeline.Quad) (x0, y0, x1, y1 int) {
	b := q.Box()
	w, h := float64(p.Width), float64(p.Height)
	return int(b.X0*w + 0.5), int(b.Y0*h + 0.5), int(b.X1*w + 0.5), int(b.Y1*h + 0.5)
}

// hocrPage writes a page as the hOCR specification (1.2) has it: lines and words, in reading order, with
// their boxes in pixels.
func hocrPage(p *Page, number int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<div class=\"ocr_page\" id=\"page_%d\" title=\"image &quot;%s&quot;; bbox 0 0 %d %d; ppageno %d\">\n",
		number, escaped(string(p.Document)), p.Width, p.Height, p.Number-1)
	for i := range p.Lines {
		l := &p.Lines[i]
		x0, y0, x1, y1 := p.pixels(l.Quad)
		fmt.Fprintf(&b, "<span class=\"ocr_line\" id=\"line_%d_%d\" title=\"bbox %d %d %d %d\">", number, i+1, x0, y0, x1, y1)
		words, blank := l.spaced()
		for k, w := range words {
			x0, y0, x1, y1 := p.pixels(w.Quad)
			fmt.Fprintf(&b, "<span class=\"ocrx_word\" id=\"word_%d_%d_%d\" title=\"bbox %d %d %d %d; x_wconf %d\">%s</span>",
				number, i+1, k+1, x0, y0, x1, y1, int(w.Confidence*100+0.5), escaped(w.Text))
			if blank[k] && k+1 < len(words) {
				b.WriteString(" ")
			}
		}
		b.WriteString("</span>\n")
	}
	b.WriteString("</div>\n")
	return b.String()
}

const altoHead = `<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
<Description><MeasurementUnit>pixel</MeasurementUnit></Description>
<Layout>
`

// altoPage writes a page as ALTO 4 has it: a block of lines and words, in reading order.
func altoPage(p *Page, number int) string {
	var b strings.Builder
	place := func(q pipeline.Quad) string {
		x0, y0, x1, y1 := p.pixels(q)
		return fmt.Sprintf("HPOS=\"%d\" VPOS=\"%d\" WIDTH=\"%d\" HEIGHT=\"%d\"", x0, y0, x1-x0, y1-y0)
	}
	fmt.Fprintf(&b, "<Page ID=\"page_%d\" PHYSICAL_IMG_NR=\"%d\" WIDTH=\"%d\" HEIGHT=\"%d\"><PrintSpace HPOS=\"0\" VPOS=\"0\" WIDTH=\"%d\" HEIGHT=\"%d\">\n",
		number, number, p.Width, p.Height, p.Width, p.Height)
	if len(p.Lines) > 0 {
		around := document.Box{}
		for _, l := range p.Lines {
			around = around.Union(l.Quad.Box())
		}
		fmt.Fprintf(&b, "<TextBlock ID=\"block_%d\" %s>\n", number, place(around.Quad()))
		for i := range p.Lines {
			l := &p.Lines[i]
			fmt.Fprintf(&b, "<TextLine ID=\"line_%d_%d\" %s>", number, i+1, place(l.Quad))
			words, blank := l.spaced()
			for k, w := range words {
				fmt.Fprintf(&b, "<String ID=\"word_%d_%d_%d\" CONTENT=\"%s\" WC=\"%.2f\" %s/>",
					number, i+1, k+1, escaped(w.Text), w.Confidence, place(w.Quad))
				if blank[k] && k+1 < len(words) {
					b.WriteString("<SP/>")
				}
			}
			b.WriteString("</TextLine>\n")
		}
		b.WriteString("</TextBlock>\n")
	}
	b.WriteString("</PrintSpace></Page>\n")
	return b.String()
}

// escaped returns text as XML has it.
func escaped(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // to memory: it cannot fail
	return b.String()
}
