package reading

import (
	"context"
	"math"
	"testing"

	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/geometry"
)

// A page is brought within the bounds and shapes of the detector, and quadrilaterals back.
func TestSheet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, width, height, left, top int }{
		{1240, 1755, 1240, 1755, 0, 0},
		{4000, 3000, 1984, 1504, 0, 0},   // 2000 and 1500, to multiples of 32, half to even
		{900, 60, 900, 60 + 2*82, 0, 82}, // 2*max(112, 30)-60
		{60, 900, 60 + 2*82, 900, 82, 0},
		{200, 20, 288, 32, 0, 20},
		{1, 100000, 0, 0, 0, 0},
		{1, 1, 0, 0, 0, 0},
	} {
		s := newSheet(vision.NewRGB(c.w, c.h))
		p := s.picture
		if c.width == 0 {
			if p.Width*p.Height > 20e6 || p.Width < 1 || p.Height < 1 {
				t.Errorf("%dx%d becomes %dx%d", c.w, c.h, p.Width, p.Height)
			}
			continue
		}
		if c.w == 200 { // its bands depend on the size that it gets
			c.height, c.top = p.Height, s.top
		}
		if p.Width != c.width || p.Height != c.height || s.left != c.left || s.top != c.top {
			t.Errorf("%dx%d becomes %dx%d with %d and %d, want %v", c.w, c.h, p.Width, p.Height, s.left, s.top, c)
		}
		x, y := float64(s.left), float64(s.top)
		inner := geometry.Quad{{X: x, Y: y}, {X: float64(p.Width) - x, Y: y},
			{X: float64(p.Width) - x, Y: float64(p.Height) - y}, {X: x, Y: float64(p.Height) - y}}
		if got, want := s.quad(inner), (Quad{{0, 0}, {1, 0}, {1, 1}, {0, 1}}); got != want {
			t.Errorf("%dx%d: the whole page is %v", c.w, c.h, got)
		}
	}
}

// Values of columns become characters: repeats are dropped before blanks.
func TestDecode(t *testing.T) {
	t.Parallel()
	r := &Reader{Characters: []string{"a", "b", " "}}
	line := func(classes ...int) []float32 {
		var values []float32
		for _, c := range classes {
			row := make([]float32, 4)
			row[c] = 0.9
			values = append(values, row...)
		}
		return values
	}
	got := r.decode(line(0, 1, 1, 0, 1, 2, 3, 3, 2, 0, 0, 0), 10)
	if got.text != "aab b" || got.confidence != 0.9 {
		t.Errorf("read %q, %v", got.text, got.confidence)
	}
	words := got.words(true)
	if len(words) != 2 || words[0].Text != "aab" || words[1].Text != "b" {
		t.Fatalf("words %+v", words)
	}
	if math.Abs(words[0].from-0.05) > 1e-9 || math.Abs(words[0].to-0.65) > 1e-9 || math.Abs(words[1].from-0.75) > 1e-9 {
		t.Errorf("words %+v", words)
	}
	if got := r.decode(nil, 0); got.text != "" || got.confidence != 0 || got.words(true) != nil && len(got.words(true)) > 0 {
		t.Errorf("of nothing %+v", got)
	}
	// A wide gap parts words, and so does each ideograph.
	r = &Reader{Characters: []string{"x", "中", " "}}
	got = r.decode(line(1, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2), 12)
	if words := got.words(true); len(words) != 4 {
		t.Errorf("words of %q: %+v", got.text, words)
	}
}

// Most lines, by their widths, decide whether a page stands on its head.
func TestDirectionIsThePages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		turned []int // widths of lines that the classifier calls turned, at a height of 10
		other  []int
		want   bool
	}{
		{[]int{100}, []int{100, 100}, false},
		{[]int{100, 100}, []int{100}, true},
		{[]int{30, 30}, []int{100}, false},
		{[]int{10, 10, 10}, []int{50}, false}, // too short to tell
		{[]int{2000}, []int{100, 100}, false}, // a long line weighs as one of 15 times its height
		{nil, nil, false},
	} {
		r := &Reader{Direct: func(_ context.Context, in *tensor.Tensor) (*tensor.Tensor, error) {
			out := make([]float32, 2*in.Dim(0))
			values := tensor.Data[float32](in)
			for i := range in.Dim(0) {
				out[2*i+1] = 0
				if values[i*in.Len()/in.Dim(0)] > 0.5 { // a white line
					out[2*i+1] = 0.9
				}
				out[2*i] = 1 - out[2*i+1]
			}
			return tensor.New([]int{in.Dim(0), 2}, out)
		}}
		var strips []*strip
		for _, w := range c.other {
			strips = append(strips, &strip{picture: vision.NewRGB(w, 10)})
		}
		for _, w := range c.turned {
			white := vision.NewRGB(w, 10)
			for i := range white.Pix {
				white.Pix[i] = 255
			}
			strips = append(strips, &strip{picture: white})
		}
		if err := r.turn(t.Context(), strips); err != nil {
			t.Fatal(err)
		}
		for _, s := range strips {
			if s.turned != c.want {
				t.Errorf("%v turned, %v not: turned %v", c.turned, c.other, s.turned)
				break
			}
		}
	}
}

// Parts of a line lie on the page where its text runs.
func TestPartsOfLines(t *testing.T) {
	t.Parallel()
	across := geometry.Quad{{X: 10, Y: 0}, {X: 110, Y: 0}, {X: 110, Y: 20}, {X: 10, Y: 20}}
	down := geometry.Quad{{X: 0, Y: 10}, {X: 20, Y: 10}, {X: 20, Y: 110}, {X: 0, Y: 110}}
	for _, c := range []struct {
		strip strip
		want  geometry.Quad
	}{
		{strip{region: region{quad: across}}, geometry.Quad{{X: 10, Y: 0}, {X: 35, Y: 0}, {X: 35, Y: 20}, {X: 10, Y: 20}}},
		{strip{region: region{quad: across}, turned: true}, geometry.Quad{{X: 85, Y: 0}, {X: 110, Y: 0}, {X: 110, Y: 20}, {X: 85, Y: 20}}},
		{strip{region: region{quad: down}, upended: true}, geometry.Quad{{X: 0, Y: 10}, {X: 20, Y: 10}, {X: 20, Y: 35}, {X: 0, Y: 35}}},
		{strip{region: region{quad: down}, upended: true, turned: true},
			geometry.Quad{{X: 0, Y: 85}, {X: 20, Y: 85}, {X: 20, Y: 110}, {X: 0, Y: 110}}},
	} {
		if got := c.strip.part(0, 0.25); got != c.want {
			t.Errorf("turned %v, upended %v: %v, want %v", c.strip.turned, c.strip.upended, got, c.want)
		}
	}
}

// What is transparent gets the ground that shows what is drawn.
func TestOpaque(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ink, want uint8 }{{0, 255}, {255, 0}} {
		img := vision.NewRGB(2, 1)
		img.Alpha = []uint8{255, 0}
		copy(img.Pix, []uint8{c.ink, c.ink, c.ink})
		got := Opaque(img)
		if got.Pix[0] != c.ink || got.Pix[4] != c.want {
			t.Errorf("ink %d: pixels %v", c.ink, got.Pix)
		}
	}
}
