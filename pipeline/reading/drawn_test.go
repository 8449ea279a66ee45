package reading

import (
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/vision"
)

// Ruling lines and figures are found on paper that light falls on unevenly; strokes of text are neither.
func TestDrawn(t *testing.T) {
	t.Parallel()
	const w, h, usual = 600, 800, 24
	img := vision.NewRGB(w, h)
	for y := range h {
		for x := range w {
			p := img.Pix[y*img.Stride+4*x:]
			v := uint8(250 - x/10)
			p[0], p[1], p[2] = v, v, v
		}
	}
	fill := func(x0, y0, x1, y1 int, v uint8) {
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				p := img.Pix[y*img.Stride+4*x:]
				p[0], p[1], p[2] = v, v, v
			}
		}
	}
	for i := range 3 {
		fill(100, 100+60*i, 400, 102+60*i, 90)   // level
		fill(100+150*i, 100, 101+150*i, 222, 90) // upright
	}
	fill(100, 400, 300, 560, 120) // a figure
	fill(120, 310, 200, 313, 0)   // a dash in a line of text
	text := []document.Box{{X0: 110. / w, Y0: 300. / h, X1: 210. / w, Y1: 324. / h}}
	rules, figures := drawn(img, text, usual)
	if len(rules) != 6 {
		t.Errorf("%d ruling lines: %.3f", len(rules), rules)
	}
	want := document.Box{X0: 100. / w, Y0: 400. / h, X1: 300. / w, Y1: 560. / h}
	if len(figures) != 1 || figures[0].Intersect(want).W() < 0.98*want.W() || figures[0].W() > 1.1*want.W() || figures[0].H() > 1.1*want.H() {
		t.Errorf("figures %.3f, want %.3f", figures, want)
	}
	for _, size := range [][2]int{{1, 1}, {16, 16}, {3, 900}} {
		if r, f := drawn(vision.NewRGB(size[0], size[1]), text, usual); len(f) > 1 || len(r) > 2 {
			t.Errorf("%v: %v, %v", size, r, f)
		}
	}
	drawn(nil, nil, usual)
}
