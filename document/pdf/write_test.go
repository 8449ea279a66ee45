package pdf_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/pdf"
	"github.com/crossattn/xpipe/document/searchable"
)

// boxed is a word in an upright box.
func boxed(text string, x0, y0, x1, y1 float64) searchable.Word {
	return searchable.Word{Text: text, Quad: document.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}.Quad(), Space: true}
}

var layerWords = []searchable.Word{
	boxed("Größe", 0.1, 0.2, 0.3, 0.24), boxed("(38%)", 0.32, 0.2, 0.4, 0.24), boxed("中文字", 0.1, 0.5, 0.3, 0.55),
	// Runs down the page: its upper left corner is the upper right one.
	{Text: "down", Quad: [4][2]float64{{0.9, 0.3}, {0.9, 0.6}, {0.86, 0.6}, {0.86, 0.3}}},
	{Text: "flat", Quad: [4][2]float64{}},
}

// checkLayer looks for the words of a layer on a page, hidden and in their places.
func checkLayer(t *testing.T, what string, page *document.Page) {
	t.Helper()
	for _, want := range layerWords {
		b := document.Box{X0: 1, Y0: 1}
		for _, c := range want.Quad {
			b = document.Box{X0: min(b.X0, c[0]), Y0: min(b.Y0, c[1]), X1: max(b.X1, c[0]), Y1: max(b.Y1, c[1])}
		}
		found := b.Empty()
		for _, w := range page.Words {
			const near = 0.012
			found = found || w.Text == want.Text && w.Hidden && math.Abs(w.Box.X0-b.X0) < near && math.Abs(w.Box.X1-b.X1) < near &&
				math.Abs(w.Box.Y0-b.Y0) < near && math.Abs(w.Box.Y1-b.Y1) < near
		}
		if !found {
			t.Errorf("%s: %q is not at %.3f", what, want.Text, b)
			for _, w := range page.Words {
				if w.Hidden {
					t.Logf("%q at %.3f, turned by %v", w.Text, w.Box, w.Angle)
				}
			}
		}
	}
}

// Pictures become pages that look the same and have the words in their places.
func TestSearchablePictures(t *testing.T) {
	t.Parallel()
	grey := image.NewGray(image.Rect(0, 0, 60, 80))
	coloured := image.NewRGBA(grey.Rect)
	for i := range grey.Pix {
		grey.Pix[i] = uint8(i)
		coloured.Set(i%60, i/60, color.RGBA{uint8(4 * (i % 60)), uint8(3 * (i / 60)), 200, 255})
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, coloured, nil); err != nil {
		t.Fatal(err)
	}
	photo, err := jpeg.Decode(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := searchable.NewWriter(&out)
	pages := []searchable.Page{
		{Width: 60, Height: 80, Picture: grey, Words: layerWords}, {Width: 60, Height: 80, Picture: coloured, Words: layerWords},
		{Width: 60, Height: 80, Picture: photo, JPEG: file.Bytes(), Words: layerWords}, {Width: 300, Height: 200, Words: layerWords},
	}
	for _, p := range pages {
		if err := w.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if w.Add(searchable.Page{Width: 0, Height: 10}) == nil || w.Add(searchable.Page{Width: 10, Height: 20_000}) == nil {
		t.Error("pages of no size are written")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out.Bytes(), file.Bytes()) {
		t.Error("the JPEG file is not taken as it is")
	}
	d, err := pdf.New(t.Context(), bytes.NewReader(out.Bytes()), int64(out.Len()), pdf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Pages() != len(pages) {
		t.Fatalf("%d pages", d.Pages())
	}
	for i, p := range pages {
		page, err := d.Page(t.Context(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		checkLayer(t, "a picture", page)
		if p.Picture == nil {
			continue
		}
		shown, err := d.Render(t.Context(), i+1, 72)
		if err != nil {
			t.Fatal(err)
		}
		for y := range 80 {
			for x := range 60 {
				r, g, b, _ := p.Picture.At(x, y).RGBA()
				got := shown.RGBAAt(x, y)
				const near = 6 // of JPEG, whose decoders differ
				if math.Abs(float64(got.R)-float64(r>>8)) > near || math.Abs(float64(got.G)-float64(g>>8)) > near ||
					math.Abs(float64(got.B)-float64(b>>8)) > near {
					t.Fatalf("page %d: pixel %d,%d is %v, want %v", i+1, x, y, got, p.Picture.At(x, y))
				}
			}
		}
	}
}

// A layer over a file that is there is found in its place, on turned and cropped pages, too, and nothing
// else changes; what was hidden there goes where the layer is the whole text.
func TestWriteWithText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, password string }{{"pages.pdf", ""}, {"encrypted.pdf", "secret"}} {
		before, err := pdf.Open(t.Context(), "../../testdata/document/"+c.file, pdf.Options{Password: c.password})
		if err != nil {
			t.Fatal(err)
		}
		defer before.Close()
		layers := map[int]pdf.Layer{1: {Words: layerWords}, 3: {Words: layerWords}, 4: {Words: layerWords, Whole: true}}
		var out bytes.Buffer
		if err := before.WriteWithText(t.Context(), &out, layers); err != nil {
			t.Fatal(err)
		}
		after, err := pdf.New(t.Context(), bytes.NewReader(out.Bytes()), int64(out.Len()), pdf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer after.Close()
		if after.Pages() != before.Pages() || len(after.Outline()) != len(before.Outline()) || after.Info().Title != before.Info().Title {
			t.Errorf("%d pages, outline %v", after.Pages(), after.Outline())
		}
		for n := 1; n <= before.Pages(); n++ {
			page, err := after.Page(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if _, laid := layers[n]; laid {
				checkLayer(t, c.file, page)
			}
			text := ""
			for _, w := range page.Words {
				text += w.Text + " "
			}
			if strings.Contains(text, "hidden reading") {
				t.Errorf("%s, page %d: what was hidden is there still: %s", c.file, n, text)
			}
			if n == 4 && !strings.Contains(text, "shown") {
				t.Errorf("%s, page %d lacks what it shows: %s", c.file, n, text)
			}
			if c.password != "" {
				continue
			}
			a, err := before.Render(t.Context(), n, 72)
			if err != nil {
				t.Fatal(err)
			}
			b, err := after.Render(t.Context(), n, 72)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.Pix, b.Pix) {
				t.Errorf("%s, page %d looks otherwise", c.file, n)
			}
		}
		if path := os.Getenv("XPIPE_WRITTEN"); path != "" {
			os.WriteFile(path+c.file, out.Bytes(), 0o666)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := pdf.Open(t.Context(), "../../testdata/document/pages.pdf", pdf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.WriteWithText(cancelled, &bytes.Buffer{}, nil); err == nil {
		t.Error("it is written though the context has ended")
	}
}
