package api

import (
	"encoding/xml"
	"errors"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/pipeline"
)

// madePage has a heading, a figure with its caption, and a table, and lines that were read and not.
func madePage() *Page {
	box := func(x0, y0, x1, y1 float64) document.Box { return document.Box{X0: x0, Y0: y0, X1: x1, Y1: y1} }
	word := func(text string, b document.Box) PageWord { return PageWord{text, b.Quad(), 0.9} }
	p := &Page{
		Document: `a"<b>.png`, Number: 2, Width: 100, Height: 200,
		Lines: []PageLine{
			{Text: "Größe & 38", Quad: box(0.1, 0.1, 0.6, 0.2).Quad(), Confidence: 0.95, Words: []PageWord{
				word("Größe", box(0.1, 0.1, 0.3, 0.2)), word("&", box(0.35, 0.1, 0.4, 0.2)), word("38", box(0.45, 0.1, 0.6, 0.2)),
			}},
			{Text: "中文", Quad: box(0.1, 0.3, 0.3, 0.4).Quad(), Confidence: 1, Words: []PageWord{
				word("中", box(0.1, 0.3, 0.2, 0.4)), word("文", box(0.2, 0.3, 0.3, 0.4)),
			}},
			{Text: "of its own", Quad: box(0.1, 0.5, 0.3, 0.6).Quad(), Confidence: 1, Words: []PageWord{}, own: true},
		},
	}
	p.setBlocks([]document.Block{
		{Kind: document.Heading, Level: 1, Text: "Größe & 38"},
		{Kind: document.Figure, Box: box(0.1, 0.25, 0.9, 0.45)},
		{Kind: document.Caption, Text: "Figure 1. What", Of: 2},
		{Kind: document.TableKind, Box: box(0, 0.7, 1, 1.2), Table: document.NewTable([][]string{{"a", "b"}, {"1", "2"}})},
	}, func(b document.Box) pipeline.Quad { return b.Quad() })
	return p
}

func TestPageForms(t *testing.T) {
	t.Parallel()
	p := madePage()
	if len(p.Figures) != 1 || p.Figures[0].Caption != "Figure 1. What" || len(p.Tables) != 1 || p.Tables[0].Quad[2] != [2]float64{1, 1} {
		t.Errorf("figures %+v, tables %+v", p.Figures, p.Tables)
	}
	p.Figures[0].File = "out/a b-2-1.png"
	for form, parts := range map[string][]string{
		"text":     {"a page:\nGröße & 38\n\nFigure 1. What\n\na\tb\n1\t2\n", "\n\nanother:\nGröße"},
		"markdown": {"<!-- a page -->\n\n# Größe & 38\n", "![](<out/a b-2-1.png>)", "\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"},
		"hocr": {`title="image &quot;a&#34;&lt;b&gt;.png&quot;; bbox 0 0 100 200; ppageno 1"`,
			`<span class="ocrx_word" id="word_1_1_1" title="bbox 10 20 30 40; x_wconf 90">Größe</span> <span`, ">中</span><span", ">of its own</span>", `id="page_2"`},
		"alto": {`CONTENT="&amp;" WC="0.90" HPOS="35" VPOS="20" WIDTH="5" HEIGHT="20"/><SP/>`, `CONTENT="中" WC="0.90" HPOS="10" VPOS="60" WIDTH="10" HEIGHT="20"/><String`},
	} {
		var b strings.Builder
		w := NewPageWriter(&b, form)
		if err := errors.Join(w.Begin(), w.Page(p, "a page"), w.Page(p, "another"), w.End()); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(b.String(), part) {
				t.Errorf("%s lacks %q:\n%s", form, part, b.String())
			}
		}
		if form == "hocr" || form == "alto" {
			d := xml.NewDecoder(strings.NewReader(b.String()))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s: %v", form, err)
				}
			}
		}
	}
}

// What was read is laid over a page from where its text begins, which on a turned page is another corner.
func TestSearchableWords(t *testing.T) {
	t.Parallel()
	p := madePage()
	for turn, corner := range map[int]int{0: 0, 90: 3, 180: 2, 270: 1} {
		p.Turn = turn
		words, _ := p.Searchable()
		if len(words) != 5 || words[0].Quad[0] != p.Lines[0].Words[0].Quad[corner] {
			t.Errorf("turned by %d: %+v", turn, words)
		}
		if !words[0].Space || words[3].Space || !words[4].Space {
			t.Errorf("blanks: %+v", words)
		}
	}
}

// Figures are cut out as they stand upright, each to a file of its own.
func TestCutFigures(t *testing.T) {
	t.Parallel()
	img := image.NewRGBA(image.Rect(0, 0, 100, 200))
	for y := range 200 {
		for x := range 100 {
			img.SetRGBA(x, y, color.RGBA{uint8(2 * x), uint8(y), 0, 255})
		}
	}
	dir := filepath.Join(t.TempDir(), "figures")
	for turn, first := range map[int]color.RGBA{0: {20, 50, 0, 255}, 180: {178, 89, 0, 255}, 90: {20, 89, 0, 255}} {
		p := madePage()
		p.Turn = turn
		if err := cutFigures(p, img, dir); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(string(p.Figures[0].File))
		if err != nil {
			t.Fatal(err)
		}
		cut, _, err := image.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		size := cut.Bounds().Size()
		if turn == 90 {
			size.X, size.Y = size.Y, size.X
		}
		got := color.RGBAModel.Convert(cut.At(0, 0)).(color.RGBA)
		near := func(a, b uint8) bool { return max(a, b)-min(a, b) <= 3 }
		if size != (image.Point{80, 40}) || !near(got.R, first.R) || !near(got.G, first.G) {
			t.Errorf("turned by %d: %v, %v, want %v", turn, size, got, first)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}
}

// A text layer is taken at its word where it has letters and few signs that stand for nothing.
func TestHasText(t *testing.T) {
	t.Parallel()
	scan := []document.Box{{X1: 1, Y1: 1}}
	for _, c := range []struct {
		text     string
		pictures []document.Box
		hidden   bool
		want     bool
	}{
		{"", nil, false, false},
		{"Some words of a page", nil, false, true},
		{"Some words of a page", nil, true, false},
		{"Seite 3", scan, false, false},
		{strings.Repeat("words ", 40), scan, false, true},
		{"\uf041\uf042\uf043\uf044", nil, false, false},
		{"ab\ufffd\ufffdcd\ufffd", nil, false, false},
		{"#$%&'()*+,-./:;<=>", nil, false, false},
	} {
		p := &document.Page{Width: 600, Height: 800, Pictures: c.pictures}
		for _, w := range strings.Fields(c.text) {
			p.Words = append(p.Words, document.Word{Text: w, Hidden: c.hidden})
		}
		if got := hasText(p); got != c.want {
			t.Errorf("%q, %v: %v", c.text, c.pictures, got)
		}
	}
}

// Words that a page says of itself are painted over in the colour around them.
func TestPaintOver(t *testing.T) {
	t.Parallel()
	img := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range img.Pix {
		img.Pix[i] = 200
	}
	img.SetRGBA(20, 20, color.RGBA{0, 0, 0, 255})
	paintOver(img, image.Rect(10, 15, 30, 25))
	if got := img.RGBAAt(20, 20); got.R != 200 || got.B != 200 {
		t.Errorf("%v", got)
	}
	for _, r := range []image.Rectangle{{}, image.Rect(-5, -5, 100, 100), image.Rect(50, 50, 60, 60)} {
		paintOver(img, r)
	}
}
