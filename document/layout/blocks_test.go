package layout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/layout"
	"github.com/crossattn/xpipe/document/pdf"
)

func outline(blocks []document.Block) string {
	var b strings.Builder
	for _, x := range blocks {
		fmt.Fprintf(&b, "%s %d %d %.60q\n", x.Kind, x.Level, x.Of, x.Text)
	}
	return b.String()
}

// The blocks of a page with a heading, columns, a list, a figure with its caption, a footnote, a header
// and a footer, put together by hand.
func TestAnalyze(t *testing.T) {
	t.Parallel()
	page := &document.Page{Number: 3, Width: 600, Height: 800}
	put := func(x, y, size float64, bold bool, text string) {
		for _, w := range strings.Fields(text) {
			wide := float64(len([]rune(w))) * size * 0.5
			page.Words = append(page.Words, document.Word{Text: w, Size: size, Bold: bold,
				Box: document.Box{X0: x / 600, Y0: (y - size*0.7) / 800, X1: (x + wide) / 600, Y1: y / 800}})
			x += wide + size*0.3
		}
	}
	put(50, 30, 8, false, "The journal of things")
	put(50, 90, 18, true, "A title over both of the columns here")
	left := []string{"In the first column there are some words and they go on", "for more than one line as is usual, of all differ-",
		"ences that there are. The paragraph ends here."}
	for i, l := range left {
		put(50, 130+14*float64(i), 10, false, l)
	}
	put(50, 200, 11, true, "2 Of lists")
	put(50, 220, 10, false, "• the first of them goes on in")
	put(62, 234, 10, false, "a second line")
	put(50, 248, 10, false, "• the second")
	page.Figures = []document.Box{{X0: 320. / 600, Y0: 120. / 800, X1: 560. / 600, Y1: 200. / 800}}
	put(320, 216, 9, false, "Figure 1. A rise and a fall, over the years")
	for i, l := range []string{"The second column says more on what was begun in the", "first and does so for quite a number of lines, so that",
		"it is seen as a column of the text and not as a table", "that has two columns in which there is little."} {
		put(320, 244+14*float64(i), 10, false, l)
	}
	put(320, 700, 8, false, "1 A note that nobody reads, as they say")
	put(300, 780, 9, false, "17")
	want := `page_header 0 0 "The journal of things"
heading 1 0 "A title over both of the columns here"
paragraph 0 0 "In the first column there are some words and they go on for "
heading 2 0 "2 Of lists"
list_item 1 0 "• the first of them goes on in a second line"
list_item 1 0 "• the second"
figure 0 0 ""
caption 0 7 "Figure 1. A rise and a fall, over the years"
paragraph 0 0 "The second column says more on what was begun in the first a"
footnote 0 0 "1 A note that nobody reads, as they say"
page_footer 0 0 "17"
`
	blocks := layout.Analyze(page)
	if got := outline(blocks); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if text := blocks[2].Text; !strings.Contains(text, "of all differences that there are.") || len(blocks[2].Lines) != 3 {
		t.Errorf("%q", text)
	}
	// The order of the words in the file does not matter.
	slices.Reverse(page.Words)
	if got := outline(layout.Analyze(page)); got != want {
		t.Errorf("reversed: got\n%s", got)
	}
	markdown := document.Markdown(blocks)
	if !strings.Contains(markdown, "# A title") || !strings.Contains(markdown, "- the first of them goes on in a second line\n- the second") {
		t.Errorf("%s", markdown)
	}
}

// Every word of the made pages is in a block, once.
func TestAnalyzeLosesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"order", "tables", "forms", "pages"} {
		d, err := pdf.Open(context.Background(), "../../testdata/document/"+name+".pdf", pdf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for n := 1; n <= d.Pages(); n += 3 {
			page, err := d.Page(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			count := map[string]int{}
			letters := func(s string, by int) {
				for _, r := range s {
					if !unicode.IsSpace(r) && r != '-' {
						count[string(r)] += by
					}
				}
			}
			for _, w := range page.Visible() {
				letters(w.Text, 1)
			}
			for _, b := range layout.Analyze(page) {
				letters(b.Text, -1)
				if b.Table != nil {
					for _, c := range b.Table.Cells {
						letters(c.Text, -1)
					}
				}
			}
			for r, k := range count {
				if k != 0 {
					t.Errorf("%s, page %d: %q %+d", name, n, r, -k)
				}
			}
		}
	}
}

// Boxes by the ten thousand, and boxes that are no boxes, come to an end.
func TestManyBoxes(t *testing.T) {
	t.Parallel()
	page := &document.Page{Number: 1, Width: 600, Height: 800}
	for i := range 30_000 {
		x, y := float64(i%173)/173, float64(i/173)/173
		page.Words = append(page.Words, document.Word{Text: "x", Box: document.Box{X0: x, Y0: y, X1: x + 0.001, Y1: y + 0.001}})
	}
	for i := range 10_000 {
		y := float64(i) / 10_000
		page.Rules = append(page.Rules, document.Box{X0: 0.1, Y0: y, X1: 0.9, Y1: y})
	}
	layout.Analyze(page)
	layout.Pairs(page)
}

// Lines of an address stay lines, those of running text are joined, and wide gaps of a row are tabs.
func TestLinesOfParagraphs(t *testing.T) {
	t.Parallel()
	const width, height, size = 600., 800., 10.
	page := &document.Page{Number: 1, Width: width, Height: height}
	write := func(x, y float64, text string) {
		for _, word := range strings.Fields(text) {
			w := 5 * float64(len(word))
			page.Words = append(page.Words, document.Word{Text: word, Size: size,
				Box: document.Box{X0: x / width, Y0: y / height, X1: (x + w) / width, Y1: (y + size) / height}})
			x += w + 4
		}
	}
	for i, line := range []string{"Anna Meyer", "12 Garden Street", "1010 Vienna"} {
		write(60, 100+13*float64(i), line)
	}
	for i, line := range []string{
		"Running text goes to the end of its column before it goes on in the next", "line, where a word that found no room stands at the beginning of it, and",
		"so on to the last line.",
	} {
		write(60, 200+13*float64(i), line)
	}
	write(60, 300, "TOTAL")
	write(400, 300, "12.50")
	got := document.Text(layout.Analyze(page))
	for _, part := range []string{"Anna Meyer\n12 Garden Street\n1010 Vienna\n", "in the next line, where", "of it, and so on", "TOTAL\t12.50"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q lacks %q", got, part)
		}
	}
}
