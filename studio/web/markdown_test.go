package web

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// allowed are the elements and attributes that a rendered text may have.
var allowed = map[string]string{
	"p": "class", "span": "class data-f data-t", "a": "href target rel", "em": "", "strong": "", "del": "", "code": "class", "pre": "",
	"ul": "", "ol": "start", "li": "", "blockquote": "", "br": "", "hr": "", "h1": "", "h2": "", "h3": "", "h4": "", "h5": "", "h6": "",
	"table": "", "thead": "", "tbody": "", "tr": "", "th": "align", "td": "align", "input": "type checked disabled",
}

// check reports whatever a rendered text has that it may not.
func check(t *testing.T, source, rendered string) {
	t.Helper()
	tokens := html.NewTokenizer(strings.NewReader(rendered))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return
		case html.CommentToken, html.DoctypeToken:
			t.Errorf("%q has a comment or a doctype: %s", source, rendered)
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := tokens.Token()
			attributes, ok := allowed[tag.Data]
			if !ok {
				t.Errorf("%q gives <%s>: %s", source, tag.Data, rendered)
			}
			for _, a := range tag.Attr {
				if !strings.Contains(" "+attributes+" ", " "+a.Key+" ") {
					t.Errorf("%q gives <%s %s>: %s", source, tag.Data, a.Key, rendered)
				}
				if a.Key == "href" && !safeLink(a.Val) {
					t.Errorf("%q links to %q", source, a.Val)
				}
			}
		}
	}
}

// attacks are texts that would run something, or tell somebody, if they were taken for markup.
var attacks = []string{
	"<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "text <b onclick=alert(1)>x</b>", "<svg/onload=alert(1)>",
	"[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](java\nscript:alert(1))", "[x](data:text/html,<script>)", "[x](vbscript:x)",
	"[x](&#106;avascript:alert(1))", "[x](\x01javascript:alert(1))", "<javascript:alert(1)>", "![x](https://evil.example/?q=secret)",
	"![x\" onerror=\"alert(1)](https://evil.example)", "[x](https://e.example/\"onmouseover=\"alert(1))", "[a]: javascript:alert(1)\n\n[a]",
	"<iframe src=//evil>", "<!-- x --><style>*{}</style>", "```<script>\n</script>\n```", "`<b>`", "<a href=javascript:x>y</a>", "<details open ontoggle=alert(1)>",
	"# <img src=x>\n\n| <td> | b |\n|---|---|\n| <script> | [x](javascript:1) |", "&lt;script&gt;", "\\<script>", "<https://ok.example/<script>>", "<me@x.example>",
	"\x00<script>", "\xff\xfe<b>", "<div>\n<script>\n\nx", "[x](//evil.example)", "[x](/studio/purge)", "<form action=/x><button>", "- [x] <input onfocus=alert(1) autofocus>",
}

func TestMarkdownIsSafe(t *testing.T) {
	t.Parallel()
	for _, text := range attacks {
		check(t, text, string(Markdown(text)))
		check(t, text, string(Plain(text)))
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, text := range attacks {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 10_000 {
			check(t, text, string(Markdown(text)))
			check(t, text, string(Plain(text)))
		}
	})
}

var word = regexp.MustCompile(`<span class=w data-f=(\d+) data-t=(\d+)>([^<]*)</span>`)

// Words stand at their places in the source.
func TestWords(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a photo of a dog", "  two  spaces\nand **bold words** in it", "- one\n- two *three*", "שלום עולם, ça va", "| a | b |\n|--|--|\n| c d | e |", "# Heading here\n\ntext",
	} {
		for _, rendered := range []string{string(Markdown(text)), string(Plain(text))} {
			found := word.FindAllStringSubmatch(rendered, -1)
			for _, m := range found {
				from, _ := strconv.Atoi(m[1])
				to, _ := strconv.Atoi(m[2])
				if text[from:to] != m[3] {
					t.Errorf("%q: %q stands at %q", text, m[3], text[from:to])
				}
			}
			if len(found) < 3 {
				t.Errorf("%q has %d words: %s", text, len(found), rendered)
			}
		}
	}
}
