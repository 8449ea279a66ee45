package office

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/crossattn/xpipe/document"
)

// packed makes an archive of parts.
func packed(parts map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range parts {
		w, _ := z.Create(name)
		w.Write([]byte(text))
	}
	z.Close()
	return b.Bytes()
}

// shown is what tests compare.
func shown(d *Document) string {
	var b strings.Builder
	for _, x := range d.Blocks {
		fmt.Fprintf(&b, "%s %d %d %q", x.Kind, x.Level, x.Page, x.Text)
		if x.Table != nil {
			fmt.Fprintf(&b, " %dx%d", x.Table.Rows, x.Table.Columns)
			for _, c := range x.Table.Cells {
				fmt.Fprintf(&b, " %d,%d", c.Row, c.Col)
				if c.RowSpan != 1 || c.ColSpan != 1 {
					fmt.Fprintf(&b, "(%dx%d)", c.RowSpan, c.ColSpan)
				}
				if c.Header {
					b.WriteString("*")
				}
				fmt.Fprintf(&b, "%q", c.Text)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func check(t *testing.T, name string, data []byte, want string) *Document {
	t.Helper()
	d, err := Read(name, data)
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(d); got != strings.TrimLeft(want, "\n") {
		t.Errorf("%s: got\n%swant\n%s", name, got, want)
	}
	return d
}

const wordNS = `xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"`

func docx() []byte {
	return packed(map[string]string{
		"word/document.xml": `<?xml version="1.0"?><w:document ` + wordNS + `><w:body>
<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>A title</w:t></w:r></w:p>
<w:p><w:r><w:t xml:space="preserve">Some </w:t></w:r><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>
<w:r><w:tab/><w:t>text</w:t><w:br/><w:t>and more</w:t></w:r><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>
<w:p><w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="3"/></w:numPr></w:pPr><w:r><w:t>an item</w:t></w:r></w:p>
<w:sdt><w:sdtContent><w:p><w:r><w:t>in a control</w:t></w:r></w:p></w:sdtContent></w:sdt>
<w:tbl><w:tr><w:trPr><w:tblHeader/></w:trPr><w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr><w:p><w:r><w:t>both</w:t></w:r></w:p></w:tc>
<w:tc><w:tcPr><w:vMerge w:val="restart"/></w:tcPr><w:p><w:r><w:t>down</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>1</w:t></w:r></w:p><w:p><w:r><w:t>2</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc></w:tr></w:tbl>
</w:body></w:document>`,
		"word/styles.xml": `<w:styles ` + wordNS + `><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>`,
		"word/footnotes.xml": `<w:footnotes ` + wordNS + `><w:footnote w:type="separator"><w:p><w:r><w:t>-</w:t></w:r></w:p></w:footnote>
<w:footnote w:id="2"><w:p><w:r><w:t>a note</w:t></w:r></w:p></w:footnote></w:footnotes>`,
		"docProps/core.xml": `<cp:coreProperties xmlns:cp="x" xmlns:dc="y"><dc:title>T</dc:title><dc:creator>Ada</dc:creator></cp:coreProperties>`,
	})
}

func TestDOCX(t *testing.T) {
	t.Parallel()
	d := check(t, "a.docx", docx(), `
heading 1 0 "A title"
paragraph 0 0 "Some new\ttext\nand more"
list_item 2 0 "an item"
paragraph 0 0 "in a control"
table 0 0 "" 2x3 0,0(1x2)*"both" 0,2(2x1)*"down" 1,0"1\n2" 1,1""
footnote 0 0 "a note"
`)
	if d.Info.Title != "T" || d.Info.Author != "Ada" || d.Info.Format != "DOCX" {
		t.Errorf("%+v", d.Info)
	}
}

func pptx() []byte {
	slide := func(inner string) string {
		return `<p:sld xmlns:p="p" xmlns:a="a"><p:cSld><p:spTree>` + inner + `</p:spTree></p:cSld></p:sld>`
	}
	return packed(map[string]string{
		"ppt/presentation.xml":            `<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst><p:sldId id="256" r:id="rId2"/><p:sldId id="257" r:id="rId1"/></p:sldIdLst></p:presentation>`,
		"ppt/_rels/presentation.xml.rels": `<Relationships><Relationship Id="rId1" Target="slides/slide1.xml"/><Relationship Id="rId2" Target="/ppt/slides/slide2.xml"/></Relationships>`,
		"ppt/slides/slide1.xml": slide(`<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tr><a:tc gridSpan="2"><a:txBody><a:p><a:r><a:t>x</a:t></a:r></a:p></a:txBody></a:tc><a:tc hMerge="1"/></a:tr>
<a:tr><a:tc><a:txBody><a:p><a:r><a:t>y</a:t></a:r></a:p></a:txBody></a:tc><a:tc/></a:tr></a:tbl></a:graphicData></a:graphic></p:graphicFrame>`),
		"ppt/slides/slide2.xml": slide(`<p:sp><p:nvSpPr><p:nvPr><p:ph type="title"/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>First</a:t></a:r></a:p></p:txBody></p:sp>
<p:grpSp><p:sp><p:nvSpPr><p:nvPr><p:ph idx="1"/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>one</a:t></a:r></a:p><a:p><a:pPr lvl="1"/><a:r><a:t>two</a:t></a:r></a:p></p:txBody></p:sp></p:grpSp>`),
	})
}

func TestPPTX(t *testing.T) {
	t.Parallel()
	check(t, "a.pptx", pptx(), `
heading 1 1 "First"
list_item 1 1 "one"
list_item 2 1 "two"
table 0 2 "" 2x2 0,0(1x2)"x" 1,0"y" 1,1""
`)
}

func xlsx(t testing.TB) []byte {
	f := excelize.NewFile()
	defer f.Close()
	for cell, v := range map[string]any{"A1": "both", "A2": "n", "B2": 1.5, "A3": "sum", "C3": 0.25} {
		if err := f.SetCellValue("Sheet1", cell, v); err != nil {
			t.Fatal(err)
		}
	}
	style, _ := f.NewStyle(&excelize.Style{NumFmt: 9}) // 0%
	f.SetCellStyle("Sheet1", "C3", "C3", style)
	f.MergeCell("Sheet1", "A1", "B1")
	f.NewSheet("Empty")
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestXLSX(t *testing.T) {
	t.Parallel()
	check(t, "a.xlsx", xlsx(t), `
heading 1 1 "Sheet1"
table 0 1 "" 3x3 0,0(1x2)"both" 1,0"n" 1,1"1.5" 2,0"sum" 2,2"25%"
heading 1 2 "Empty"
`)
}

func TestMarkup(t *testing.T) {
	t.Parallel()
	page := `<html><head><title>T</title><style>p{}</style></head><body><h2>A <b>title</b></h2><p>Some
text &amp; more<script>no()</script></p><ul><li>one<ul><li>two</li></ul></li></ul><pre>a
  b</pre><table><caption>Table 1. Of x</caption><tr><th rowspan=2>h</th><td colspan="2">c</td></tr><tr><td>1<td>2</table>
<figure><img alt="a cat" src="http://example.org/x.png"><figcaption>Figure 1</figcaption></figure>loose</body>`
	d := check(t, "a.html", []byte(page), `
heading 2 0 "A title"
paragraph 0 0 "Some text & more"
list_item 1 0 "one"
list_item 2 0 "two"
code 0 0 "a\n  b"
caption 0 0 "Table 1. Of x"
table 0 0 "" 2x3 0,0(2x1)*"h" 0,1(1x2)"c" 1,1"1" 1,2"2"
figure 0 0 "a cat"
caption 0 0 "Figure 1"
paragraph 0 0 "loose"
`)
	if d.Info.Title != "T" {
		t.Errorf("%+v", d.Info)
	}
	markdown := "# A *title*\n\nText with `code`.\n\n- one\n- two\n\n```\nx\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
	d = check(t, "a.md", []byte(markdown), `
heading 1 0 "A title"
paragraph 0 0 "Text with code."
list_item 1 0 "one"
list_item 1 0 "two"
code 0 0 "x"
table 0 0 "" 2x2 0,0*"a" 0,1*"b" 1,0"1" 1,1"2"
`)
	// Written as Markdown it is the same again.
	check(t, "a.md", []byte(document.Markdown(d.Blocks)), "\n"+shown(d))
}

func TestText(t *testing.T) {
	t.Parallel()
	table := "\ntable 0 0 \"\" 2x2 0,0\"a\" 0,1\"ü, x\" 1,0\"1\" 1,1\"2\"\n"
	for _, text := range []string{"a,\"ü, x\"\n1,2\n", "a;ü, x\r\n1;2\r\n", "a\tü, x\n1\t2", "\xef\xbb\xbfa|ü, x\n1|2\n", "a;\xfc, x\n1;2\n",
		"\xff\xfea\x00;\x00\xfc\x00,\x00 \x00x\x00\n\x001\x00;\x002\x00"} {
		check(t, "a.csv", []byte(text), table)
	}
	check(t, "a.txt", []byte("one\ntwo\r\n\r\nthree"), `
paragraph 0 0 "one\ntwo"
paragraph 0 0 "three"
`)
	check(t, "a.csv", nil, "\n")
}

// Files that are no good, or unpack to more than they should.
func TestBad(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("<a>", 100_000)
	for name, c := range map[string]struct {
		data []byte
		is   error
	}{
		"cut.docx":     {docx()[:300], document.ErrDocument},
		"other.docx":   {pptx(), document.ErrDocument},
		"old.docx":     {[]byte("\xd0\xcf\x11\xe0\xa1\xb1"), document.ErrDocument},
		"cut.xlsx":     {xlsx(t)[:500], document.ErrDocument},
		"empty.xlsx":   {packed(nil), document.ErrDocument},
		"bomb.docx":    {packed(map[string]string{"word/document.xml": strings.Repeat(" ", mostPart+1)}), document.ErrLimit},
		"deep.docx":    {packed(map[string]string{"word/document.xml": deep}), document.ErrLimit},
		"entity.docx":  {packed(map[string]string{"word/document.xml": `<!DOCTYPE x [<!ENTITY a "aaa">]><x>&a;</x>`}), document.ErrDocument},
		"loose.pptx":   {packed(map[string]string{"ppt/presentation.xml": `<p><sldIdLst><sldId r:id="x"/></sldIdLst></p>`}), document.ErrDocument},
		"unknown.docy": {nil, document.ErrDocument},
		"span.html":    {[]byte("<table>" + strings.Repeat("<tr><td colspan=1000 rowspan=1000>", 50)), document.ErrLimit},
	} {
		if _, err := Read(name, c.data); !errors.Is(err, c.is) || strings.HasSuffix(err.Error(), "EOF") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"a.html", "a.md", "a.csv", "a.txt"} {
		if d, err := Read(name, nil); err != nil || len(d.Blocks) > 0 {
			t.Errorf("an empty %s: %v, %v", name, d, err)
		}
	}
	if _, err := Read("deep.html", []byte(strings.Repeat("<div>", 100_000))); err != nil && !errors.Is(err, document.ErrDocument) && !errors.Is(err, document.ErrLimit) {
		t.Error(err)
	}
}

// FuzzRead reads anything as everything.
func FuzzRead(f *testing.F) {
	names := []string{"a.docx", "a.pptx", "a.xlsx", "a.html", "a.md", "a.csv", "a.txt"}
	f.Add(0, docx())
	f.Add(1, pptx())
	f.Add(2, xlsx(f))
	f.Add(3, []byte("<table><tr><td rowspan=3>x</table>"))
	f.Add(4, []byte("# a\n\n| a |\n|---|\n| b |"))
	f.Add(5, []byte("a;b\n\"c"))
	f.Fuzz(func(t *testing.T, kind int, data []byte) {
		d, err := Read(names[uint(kind)%uint(len(names))], data)
		if err != nil {
			if !errors.Is(err, document.ErrDocument) && !errors.Is(err, document.ErrLimit) {
				t.Error(err)
			}
			return
		}
		document.Markdown(d.Blocks)
		document.Text(d.Blocks)
	})
}
