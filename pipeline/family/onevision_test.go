package family

import (
	"image"
	"math"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// Numbers are those of pack_image_features of modeling_llava_onevision.py, transformers 4.57.6, and of
// torch 2.8.0's interpolate.
func TestFewerLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		side, most int
		size, want image.Point
	}{
		{3, 2, image.Pt(3, 14), image.Pt(1, 9)},
		{24, 1, image.Pt(30, 107), image.Pt(12, 45)},
		{27, 1, image.Pt(147, 122), image.Pt(29, 24)},
		{27, 2, image.Pt(90, 53), image.Pt(49, 29)},
		{27, 9, image.Pt(131, 82), image.Pt(102, 64)},
		{24, 1, image.Pt(135, 141), image.Pt(23, 24)},
		{27, 1, image.Pt(59, 140), image.Pt(17, 41)},
		{27, 9, image.Pt(81, 81), image.Pt(81, 81)},
		{27, 0, image.Pt(810, 81), image.Pt(810, 81)},
	} {
		if got := (&imageTokens{mostSquares: c.most}).fewer(c.size, c.side); got != c.want {
			t.Errorf("%v of squares of %d: %v, want %v", c.size, c.side, got, c.want)
		}
	}
	values := []float32{1, 4, 2, 8, 5, 0, 3, 9, 1, 7, 6, 2, 2, 4, 1, 3, 3, 0, 5, 8}
	for size, want := range map[image.Point][]float64{
		image.Pt(2, 3): {3.083333, 6.458333, 2.625, 2.875, 3, 5.333334},
		image.Pt(3, 2): {1.5, 5.5, 5.5, 3.833333, 1, 4.5},
	} {
		for i, v := range resampled(values, 1, image.Pt(5, 4), size) {
			if math.Abs(float64(v)-want[i]) > 2e-6 {
				t.Errorf("%v: %v at %d, want %v", size, v, i, want[i])
			}
		}
	}
}

// The last square is what a picture is among others, with the row that ends a line.
func TestAmongOthers(t *testing.T) {
	t.Parallel()
	m := &imageTokens{newline: []float32{9}}
	states, err := tensor.New([]int{3, 2, 1}, []float32{0, 1, 2, 3, 4, 5})
	if err != nil {
		t.Fatal(err)
	}
	rest, amid, err := m.amongOthers(states)
	if err != nil || rest.Dim(0) != 2 || amid.Dim(1) != 3 {
		t.Fatalf("%v and %v: %v", rest, amid, err)
	}
	for i, want := range []float32{4, 5, 9} {
		if got := tensor.Data[float32](amid)[i]; got != want {
			t.Errorf("row %d: %v, want %v", i, got, want)
		}
	}
	for _, m := range []*imageTokens{{newline: []float32{1, 2}}, {}} {
		if _, _, err := m.amongOthers(states); err == nil {
			t.Error("a row of another width: no error")
		}
	}
	one := []Encoded{{States: rest}, {States: rest, Amid: amid}}
	if got := amidOthers(one); got[0].States != rest || got[1].States != amid || one[1].States != rest {
		t.Errorf("%v of %v", got, one)
	}
}
