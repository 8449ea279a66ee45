package family

import (
	"image"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// The places are those of unpad_image of transformers 4.57.6, 24 rows a side of a square.
func TestShown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		canvas        image.Point
		width, height int
		want          image.Rectangle
	}{
		{image.Pt(24, 72), 488, 1214, image.Rect(0, 6, 24, 66)},
		{image.Pt(72, 24), 1115, 268, image.Rect(0, 3, 72, 21)},
		{image.Pt(24, 72), 758, 1876, image.Rect(0, 6, 24, 66)},
		{image.Pt(48, 48), 1237, 971, image.Rect(0, 5, 48, 43)},
		{image.Pt(48, 48), 1282, 1190, image.Rect(0, 2, 48, 46)},
		{image.Pt(24, 72), 135, 1241, image.Rect(8, 0, 16, 72)},
		{image.Pt(24, 48), 100, 672, image.Rect(8, 0, 16, 48)},
		{image.Pt(24, 48), 1, 480, image.Rectangle{image.Pt(12, 0), image.Pt(12, 48)}},
		{image.Pt(48, 48), 640, 480, image.Rect(0, 6, 48, 42)},
		{image.Pt(48, 48), 672, 672, image.Rect(0, 0, 48, 48)},
		{image.Pt(24, 48), 336, 480, image.Rect(0, 7, 24, 41)},
	} {
		if got := shown(c.canvas, c.height, c.width); got != c.want {
			t.Errorf("%dx%d on %v: %v, want %v", c.width, c.height, c.canvas, got, c.want)
		}
	}
}

// Two squares of 2 x 2 rows beside each other: the whole, then lines over both, each with its end.
func TestInLines(t *testing.T) {
	t.Parallel()
	m := &imageTokens{newline: []float32{-1}}
	states, err := tensor.New([]int{3, 4, 1}, []float32{0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23})
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := tensor.New([]int{1, 2}, []int64{5, 10})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.inLines(states, image.Pt(2, 1), sizes)
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{0, 1, 2, 3, 10, 11, 20, 21, -1, 12, 13, 22, 23, -1}
	for i, v := range tensor.Data[float32](got) {
		if len(want) != got.Len() || v != want[i] {
			t.Fatalf("%v, want %v", tensor.Data[float32](got), want)
		}
	}
	for _, grid := range []image.Point{{}, {X: 1, Y: 1}, {X: 3, Y: 1}} {
		if _, err := m.inLines(states, grid, sizes); err == nil {
			t.Errorf("%v squares: no error", grid)
		}
	}
	if _, err := m.inLines(states, image.Pt(2, 1), nil); err == nil {
		t.Error("no size: no error")
	}
	m.newline = []float32{1, 2}
	if _, err := m.inLines(states, image.Pt(2, 1), sizes); err == nil {
		t.Error("a row of another width: no error")
	}
}
