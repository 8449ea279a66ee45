package pipeline_test

import (
	"encoding/json"
	"errors"
	"image"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/models/ocr"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// goldenPage is what RapidOCR reads on a page: testdata/ocr/golden.py.
type goldenPage struct {
	Lines []struct {
		Text  string
		Score float64
		Quad  [4][2]float64
	}
	True []string
}

// Texts and quadrilaterals of the embedded model are RapidOCR's, but for a line in fifty at most: it
// runs the original weights. Words lie in their lines.
func TestReadEqualsRapidOCR(t *testing.T) {
	t.Parallel()
	pipeline.EachEngine(t, func(t *testing.T, eng engine.Engine) {
		p, err := pipeline.OpenFS(t.Context(), ocr.FS(), pipeline.WithEngine(eng))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		lines, texts, quads := 0, 0, 0
		for i, c := range []struct {
			name string
			turn int
		}{{"note", 0}, {"east", 0}, {"cells", 0}, {"head", 180}, {"skewed", 0}} {
			if !sweep.Whole && i > 0 && (i > 1 || eng.Name() == "ort") {
				break
			}
			data, err := os.ReadFile("../testdata/ocr/golden/" + c.name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var want goldenPage
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			page, err := p.ReadFile(t.Context(), "../testdata/ocr/golden/"+c.name+".png", pipeline.WithPlacedWords())
			if err != nil {
				t.Fatal(err)
			}
			wordsLie(t, page)
			if i == 0 && (len(page.Lines) == 0 || len(page.Lines[0].Words) != 5 || page.Lines[0].Words[0].Text != "Frühstück") {
				t.Errorf("%s: lines %+v", c.name, page.Lines)
			}
			if page.Turn != c.turn || len(page.Lines) != len(want.Lines) {
				t.Errorf("%s: turned by %d, %d lines, want %d and %d", c.name, page.Turn, len(page.Lines), c.turn, len(want.Lines))
			}
			for _, w := range want.Lines {
				lines++
				at := slices.IndexFunc(page.Lines, func(l pipeline.Line) bool { return lies(l.Quad, w.Quad, page, 3) })
				if at < 0 {
					t.Errorf("%s: no line at %v: %q", c.name, w.Quad, w.Text)
					continue
				}
				got := page.Lines[at]
				if lies(got.Quad, w.Quad, page, 0.01) {
					quads++
				}
				if got.Text == w.Text {
					texts++
				} else {
					t.Logf("%s: %q, RapidOCR reads %q", c.name, got.Text, w.Text)
				}
				if got.Text == w.Text && math.Abs(got.Confidence-w.Score) > 0.02 {
					t.Errorf("%s: %q is sure to %v, RapidOCR to %v", c.name, got.Text, got.Confidence, w.Score)
				}
			}
		}
		t.Logf("of %d lines %d texts and %d quadrilaterals are RapidOCR's", lines, texts, quads)
		if 50*(lines-texts) > lines || 50*(lines-quads) > lines {
			t.Errorf("of %d lines %d texts and %d quadrilaterals are RapidOCR's", lines, texts, quads)
		}
	})
}

// lies compares a quadrilateral with one in pixels.
func lies(q pipeline.Quad, pixels [4][2]float64, p *pipeline.Page, within float64) bool {
	for i, c := range pixels {
		if math.Abs(q[i][0]*float64(p.Width)-c[0]) > within || math.Abs(q[i][1]*float64(p.Height)-c[1]) > within {
			return false
		}
	}
	return true
}

// wordsLie holds that words lie in their line, in its order. Corners are named as they lie in the picture, so
// that the first word of a page that is upside down is at its line's right end.
func wordsLie(t *testing.T, page *pipeline.Page) {
	t.Helper()
	for _, l := range page.Lines {
		from, to := l.Quad[0], l.Quad[1]
		if page.Turn == 180 {
			from, to = to, from
		}
		dx, dy := to[0]-from[0], to[1]-from[1]
		along := func(p [2]float64) float64 { return ((p[0]-from[0])*dx + (p[1]-from[1])*dy) / (dx*dx + dy*dy) }
		last := 0.0
		for _, w := range l.Words {
			start, end := along(w.Quad[0]), along(w.Quad[1])
			if page.Turn == 180 {
				start, end = end, start
			}
			if start < last-1e-6 || end > 1+1e-6 || start >= end {
				t.Errorf("%q: %q from %v to %v of the line, after %v", l.Text, w.Text, start, end, last)
			}
			last = end
		}
	}
}

// What has nothing written on it, or cannot be read at all, is no failure of the model.
func TestReadPlain(t *testing.T) {
	t.Parallel()
	p, err := pipeline.OpenFS(t.Context(), ocr.FS())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, size := range [][2]int{{400, 20}, {1, 1}, {64, 64}} {
		if !sweep.Whole && i > 0 {
			break
		}
		page, err := p.Read(t.Context(), vision.NewRGB(size[0], size[1]))
		if err != nil || len(page.Lines) != 0 || page.Width != size[0] || page.Text() != "" {
			t.Errorf("%v: %+v, %v", size, page, err)
		}
	}
	if _, err := p.Read(t.Context(), nil); !errors.Is(err, pipeline.ErrImage) {
		t.Errorf("no picture: %v", err)
	}
	if _, err := p.Read(t.Context(), image.NewRGBA(image.Rectangle{})); !errors.Is(err, pipeline.ErrImage) {
		t.Errorf("an empty picture: %v", err)
	}
	if _, err := p.Caption(t.Context(), vision.NewRGB(8, 8)); !errors.Is(err, pipeline.ErrUnsupported) {
		t.Errorf("a caption: %v", err)
	}
	if a := p.Abilities(); !a.Read || a.Write || !slices.Equal(p.Tasks(), []string{"read"}) {
		t.Errorf("abilities %+v, tasks %v", a, p.Tasks())
	}
}
