package pdf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/crossattn/xpipe/document"
)

const golden = "../../testdata/document/"

// reference is what pypdfium2 says of a file (testdata/document/pdf.py).
type reference struct {
	Pages []struct {
		Width, Height float64
		Pixels        map[string]struct {
			Width, Height int
			SHA256        string
		}
		Chars [][5]float64 // Unicode, left, bottom, right, top
	}
}

func pypdfium2(t *testing.T) reference {
	t.Helper()
	data, err := os.ReadFile(golden + "pages.json")
	if err != nil {
		t.Fatal(err)
	}
	var want reference
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

func open(t testing.TB, name string, options Options) *Document {
	t.Helper()
	d, err := Open(context.Background(), name, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Pages look as pypdfium2 draws them: every pixel, but where there are curves, which may differ by 1 in
// a pixel of 10,000.
func TestRenderEqualsPypdfium2(t *testing.T) {
	t.Parallel()
	want := pypdfium2(t)
	for _, name := range []string{"pages.pdf", "encrypted.pdf"} {
		d := open(t, golden+name, Options{Password: "secret"})
		if d.Pages() != len(want.Pages) {
			t.Fatalf("%d pages", d.Pages())
		}
		for i, page := range want.Pages {
			for name, w := range page.Pixels {
				dpi, _ := strconv.ParseFloat(name, 64)
				got, err := d.Render(context.Background(), i+1, dpi)
				if err != nil {
					t.Fatal(err)
				}
				if b := got.Bounds(); b.Dx() != w.Width || b.Dy() != w.Height {
					t.Errorf("page %d at %s dpi: %v, want %dx%d", i+1, name, b, w.Width, w.Height)
				}
				if i == 1 {
					compare(t, got, fmt.Sprintf("%spages.%d.%sdpi.png", golden, i+1, name))
				} else if rgbSum(got) != w.SHA256 {
					t.Errorf("page %d at %s dpi: other pixels", i+1, name)
				}
			}
		}
	}
}

func rgbSum(m *image.RGBA) string {
	rgb := make([]byte, 0, len(m.Pix)/4*3)
	for at := 0; at < len(m.Pix); at += 4 {
		rgb = append(rgb, m.Pix[at:at+3]...)
	}
	sum := sha256.Sum256(rgb)
	return hex.EncodeToString(sum[:])
}

func compare(t *testing.T, got *image.RGBA, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	other, most := 0, 0.0
	for y := range got.Rect.Dy() {
		for x := range got.Rect.Dx() {
			r, g, b, _ := want.At(x, y).RGBA()
			c := got.RGBAAt(x, y)
			off := 0.0
			for i, v := range []uint32{r, g, b} {
				off = max(off, math.Abs(float64([]uint8{c.R, c.G, c.B}[i])-float64(v>>8)))
			}
			if off > 0 {
				other++
			}
			most = max(most, off)
		}
	}
	t.Logf("%s: %d pixels differ, by %g at most", name, other, most)
	if most > 1 || other*10_000 > got.Rect.Dx()*got.Rect.Dy() {
		t.Errorf("%s: %d pixels differ, by %g at most", name, other, most)
	}
}

// Words are pypdfium2's characters between white space, and their boxes what surrounds those.
func TestWordsEqualPypdfium2(t *testing.T) {
	t.Parallel()
	want := pypdfium2(t)
	d := open(t, golden+"pages.pdf", Options{})
	for i, page := range want.Pages {
		got, err := d.Page(context.Background(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		if got.Width != page.Width || got.Height != page.Height {
			t.Errorf("page %d: %g by %g, want %g by %g", i+1, got.Width, got.Height, page.Width, page.Height)
		}
		var words []document.Word
		open := false
		for _, c := range page.Chars {
			text := clean(string(rune(c[0])))
			if text == "" {
				open = false
				continue
			}
			if !open {
				words = append(words, document.Word{})
			}
			open = !atLineEnd(string(rune(c[0])))
			w := &words[len(words)-1]
			w.Text += text
			w.Box = w.Box.Union(document.Box{
				X0: c[1] / page.Width, Y0: 1 - c[4]/page.Height, X1: c[3] / page.Width, Y1: 1 - c[2]/page.Height,
			})
		}
		if len(got.Words) != len(words) {
			t.Fatalf("page %d: %d words, want %d: %q, want %q", i+1, len(got.Words), len(words), text(got.Words), text(words))
		}
		for k, w := range words {
			g := got.Words[k]
			if g.Text != w.Text {
				t.Errorf("page %d: word %d %q, want %q", i+1, k, g.Text, w.Text)
			}
			if i == 2 { // turned: TestPage has its boxes
				continue
			}
			if off := max(math.Abs(g.Box.X0-w.Box.X0), math.Abs(g.Box.Y0-w.Box.Y0),
				math.Abs(g.Box.X1-w.Box.X1), math.Abs(g.Box.Y1-w.Box.Y1)); off > 1e-5 {
				t.Errorf("page %d: %q at %v, want %v", i+1, g.Text, g.Box, w.Box)
			}
		}
	}
}

func text(words []document.Word) string {
	var all []string
	for _, w := range words {
		all = append(all, w.Text)
	}
	return strings.Join(all, " ")
}

// What a page says beside its picture.
func TestPage(t *testing.T) {
	t.Parallel()
	d := open(t, golden+"pages.pdf", Options{})
	page := func(n int) *document.Page {
		p, err := d.Page(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one := page(1)
	if w := one.Words[0]; w.Size != 18 || !w.Bold || w.Angle != 0 {
		t.Errorf("the heading: %+v", w)
	}
	if all := text(one.Words); !strings.Contains(all, "finest of all differ- ences") || !strings.Contains(all, "“quoted”, 3,8 %") {
		t.Errorf("text %q", all)
	}
	last := one.Words[len(one.Words)-1]
	if last.Text != "text" || last.Angle != 270 || last.Box.H() < last.Box.W() {
		t.Errorf("turned text: %+v", last)
	}
	links := fmt.Sprint(len(one.Links))
	for _, l := range one.Links {
		links += fmt.Sprintf(" %s %d %.2f %.2f", l.URL, l.Page, l.Box.X0, l.Box.Y0)
	}
	if want := "2 https://example.org/first 0 0.10 0.22  2 0.10 0.26"; links != want {
		t.Errorf("links %q, want %q", links, want)
	}
	two := page(2)
	if len(two.Rules) != 9 || len(two.Figures) < 3 {
		t.Errorf("%d rules, %d figures", len(two.Rules), len(two.Figures))
	}
	three := page(3)
	if three.Width != 260 || three.Height != 250 || three.Words[0].Angle != 90 || len(three.Rules) != 4 {
		t.Errorf("turned and cropped: %+v", three)
	}
	four := page(4)
	if text(four.Words) != "hidden reading shown" || text(four.Visible()) != "shown" || len(four.Figures) != 1 {
		t.Errorf("a scan: %+v", four)
	}
	if five := page(5); len(five.Words) != 0 || five.Partial {
		t.Errorf("an empty page: %+v", five)
	}

	info := d.Info()
	if info.Title != "Pages for tests" || info.Author != "Ada Löwe" || info.Keywords != "pdf, test" {
		t.Errorf("info %+v", info)
	}
	want := []document.Mark{{Title: "First chapter", Level: 1, Page: 1}, {Title: "Second chapter", Level: 1, Page: 2},
		{Title: "A part of it", Level: 2, Page: 2}}
	if got := d.Outline(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("outline %+v", got)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{
		"secret": "", "owner": "",
		"":      "the PDF is encrypted: give its password",
		"wrong": "the PDF is encrypted and has another password",
	} {
		d, err := Open(context.Background(), golden+"encrypted.pdf", Options{Password: password})
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", password, err)
				continue
			}
			d.Close()
			continue
		}
		if !errors.Is(err, document.ErrDocument) || !errors.Is(err, document.ErrPassword) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", password, err, want)
		}
	}
}

// Pages that are read at once are what they are one by one.
func TestParallel(t *testing.T) {
	t.Parallel()
	want := pypdfium2(t)
	d := open(t, golden+"pages.pdf", Options{Workers: 3})
	var g errgroup.Group
	for k := range 30 {
		n := []int{0, 2, 3}[k%3]
		g.Go(func() error {
			m, err := d.Render(context.Background(), n+1, 72)
			if err == nil && rgbSum(m) != want.Pages[n].Pixels["72"].SHA256 {
				err = fmt.Errorf("page %d: other pixels", n+1)
			}
			if _, textErr := d.Page(context.Background(), n+1); err == nil {
				err = textErr
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
