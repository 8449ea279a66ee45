package doctags_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/doctags"
)

// A page as docling-core 2.x writes it in DocTags becomes its blocks.
func TestParse(t *testing.T) {
	t.Parallel()
	blocks := doctags.Parse(`<doctag><page_header><loc_50><loc_10><loc_450><loc_20>Journal</page_header>
<section_header_level_1><loc_50><loc_40><loc_450><loc_60>1 What a < b means</section_header_level_1>
<text><loc_50><loc_70><loc_450><loc_90>Some
text</text><unordered_list><list_item><loc_1><loc_2><loc_3><loc_4>one</list_item>
<list_item>two</list_item></unordered_list><ordered_list><list_item>first</list_item><list_item>second</list_item></ordered_list>
<picture><loc_100><loc_100><loc_200><loc_200><bar_chart><caption><loc_100><loc_205><loc_200><loc_215>Figure 1. Bars</caption></picture>
<otsl><loc_0><loc_250><loc_500><loc_350><caption>Table 1</caption><ched>a<lcel><ched>b<nl><fcel>1<ecel><fcel>3<nl><ucel><fcel>5<fcel>6<nl></otsl>
<code><_Go_>x := 1
	y</code><footnote>1 note</footnote></doctag>`)
	var b strings.Builder
	for _, x := range blocks {
		fmt.Fprintf(&b, "%s %d %d %q\n", x.Kind, x.Level, x.Of, x.Text)
	}
	const want = `page_header 0 0 "Journal"
heading 2 0 "1 What a < b means"
paragraph 0 0 "Some text"
list_item 1 0 "• one"
list_item 1 0 "• two"
list_item 1 0 "1. first"
list_item 1 0 "2. second"
figure 0 0 ""
caption 0 8 "Figure 1. Bars"
table 0 0 ""
caption 0 10 "Table 1"
code 0 0 "x := 1\n\ty"
footnote 0 0 "1 note"
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	if got := blocks[7].Box; got != (document.Box{X0: 0.2, Y0: 0.2, X1: 0.4, Y1: 0.4}) {
		t.Errorf("the picture is at %v", got)
	}
	table := blocks[9].Table
	if got, want := table.Texts(), [][]string{{"a", "", "b"}, {"1", "", "3"}, {"", "5", "6"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if a, one := table.Cells[0], table.Cells[2]; a.ColSpan != 2 || !a.Header || one.RowSpan != 2 || one.Header {
		t.Errorf("%+v", table.Cells)
	}
}

// What is cut off, or no DocTags at all, is read as far as it goes.
func TestParseParts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "",
		"plain words":                     "plain words",
		"<text>cut of":                    "cut of",
		"<otsl><fcel>1<fcel>2<nl":         "1\t2<nl",
		"</text></otsl><nl><loc_7><fcel>": "",
		"<text>a<text>b</text></text>":    "a\n\nb",
		"<unknown>x</unknown>":            "x",
	} {
		if got := document.Text(doctags.Parse(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<doctag><text><loc_1><loc_2><loc_3><loc_4>a</text><otsl><fcel>1<lcel><nl><ucel><xcel></otsl>")
	f.Add("<list_item><caption><picture><caption>x</picture></ordered_list><loc_99999999999999999999>")
	f.Fuzz(func(t *testing.T, text string) {
		blocks := doctags.Parse(text)
		document.Markdown(blocks)
		for i, b := range blocks {
			if b.Of < 0 || b.Of > len(blocks) || b.Of == i+1 {
				t.Fatalf("%+v", b)
			}
		}
	})
}
