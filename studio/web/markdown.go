package web

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
)

// markdown renders what models and people write. Markup in it is shown as it is written, never taken for markup;
// pictures, which would tell their servers that they are looked at, are links; links of other kinds than http,
// https and mailto are none. Each word stands in a span of class w with its first and last byte in the source, so
// that the page can say where it came from.
var markdown = goldmark.New(
	goldmark.WithExtensions(
		// A style would not pass the page's policy.
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
		extension.Strikethrough, extension.TaskList),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(&words{}, 1))),
)

// Markdown renders a text.
func Markdown(text string) template.HTML {
	var b bytes.Buffer
	if err := markdown.Convert([]byte(text), &b); err != nil {
		return Plain(text)
	}
	return template.HTML(b.String())
}

// Plain renders a text as it is, each word in its span.
func Plain(text string) template.HTML {
	var b bytes.Buffer
	b.WriteString("<p class=plain>")
	spans(&b, []byte(text), 0)
	b.WriteString("</p>")
	return template.HTML(b.String())
}

// writer is what spans writes to.
type spanWriter interface {
	WriteString(string) (int, error)
}

// spans writes a text whose first byte stands at an offset of the source.
func spans(w spanWriter, text []byte, offset int) {
	for i := 0; i < len(text); {
		space := i
		for space < len(text) {
			r, n := utf8.DecodeRune(text[space:])
			if !unicode.IsSpace(r) {
				break
			}
			space += n
		}
		end := space
		for end < len(text) {
			r, n := utf8.DecodeRune(text[end:])
			if unicode.IsSpace(r) {
				break
			}
			end += n
		}
		w.WriteString(string(text[i:space]))
		if end > space {
			fmt.Fprintf(byteWriter{w}, `<span class=w data-f=%d data-t=%d>%s</span>`,
				offset+space, offset+end, html.EscapeString(strings.ToValidUTF8(string(text[space:end]), "\uFFFD")))
		}
		i = end
	}
}

type byteWriter struct{ w spanWriter }

func (b byteWriter) Write(p []byte) (int, error) { return b.w.WriteString(string(p)) }

// words renders the nodes that are not goldmark's way here.
type words struct{}

// RegisterFuncs serves goldmark.
func (r *words) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(ast.KindText, r.text)
	reg.Register(ast.KindRawHTML, r.rawHTML)
	reg.Register(ast.KindHTMLBlock, r.htmlBlock)
	reg.Register(ast.KindImage, r.image)
	reg.Register(ast.KindLink, r.link)
	reg.Register(ast.KindAutoLink, r.autoLink)
}

func (r *words) text(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	n := node.(*ast.Text)
	value := n.Segment.Value(source)
	if n.Parent() != nil && n.Parent().Kind() == ast.KindCodeSpan {
		w.WriteString(html.EscapeString(string(value)))
		return ast.WalkContinue, nil
	}
	if bytes.ContainsAny(value, `\&`) { // whose escapes and entities stand for others
		w.WriteString(html.EscapeString(html.UnescapeString(unescaped(string(value)))))
	} else {
		spans(w, value, n.Segment.Start)
	}
	switch {
	case n.HardLineBreak():
		w.WriteString("<br>\n")
	case n.SoftLineBreak():
		w.WriteString("\n")
	}
	return ast.WalkContinue, nil
}

// unescaped takes away the backslashes before punctuation.
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && util.IsPunct(s[i+1]) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (r *words) rawHTML(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		n := node.(*ast.RawHTML)
		for i := range n.Segments.Len() {
			s := n.Segments.At(i)
			w.WriteString(html.EscapeString(string(s.Value(source))))
		}
	}
	return ast.WalkSkipChildren, nil
}

func (r *words) htmlBlock(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	n := node.(*ast.HTMLBlock)
	if !entering {
		return ast.WalkContinue, nil
	}
	w.WriteString("<p class=plain>")
	for i := range n.Lines().Len() {
		s := n.Lines().At(i)
		w.WriteString(html.EscapeString(string(s.Value(source))))
	}
	if n.HasClosure() {
		w.WriteString(html.EscapeString(string(n.ClosureLine.Value(source))))
	}
	w.WriteString("</p>\n")
	return ast.WalkContinue, nil
}

// safeLink reports whether a link may be followed.
func safeLink(to string) bool {
	lower := strings.ToLower(to)
	return strings.HasPrefix(lower, "https://") || strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "mailto:")
}

// open begins a link; close ends it.
func open(w util.BufWriter, to []byte) {
	if !safeLink(string(to)) {
		w.WriteString("<span>")
		return
	}
	fmt.Fprintf(w, `<a href="%s" target=_blank rel="noopener noreferrer nofollow">`,
		html.EscapeString(string(util.URLEscape(to, true))))
}

func closeLink(w util.BufWriter, to []byte) {
	if safeLink(string(to)) {
		w.WriteString("</a>")
	} else {
		w.WriteString("</span>")
	}
}

func (r *words) link(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	to := node.(*ast.Link).Destination
	if entering {
		open(w, to)
	} else {
		closeLink(w, to)
	}
	return ast.WalkContinue, nil
}

func (r *words) image(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	to := node.(*ast.Image).Destination
	if entering {
		open(w, to)
		w.WriteString("🖼 ")
	} else {
		closeLink(w, to)
	}
	return ast.WalkContinue, nil
}

func (r *words) autoLink(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	n := node.(*ast.AutoLink)
	to := n.URL(source)
	if n.AutoLinkType == ast.AutoLinkEmail {
		to = append([]byte("mailto:"), to...)
	}
	open(w, to)
	w.WriteString(html.EscapeString(string(n.Label(source))))
	closeLink(w, to)
	return ast.WalkContinue, nil
}
