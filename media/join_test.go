package media

import (
	"slices"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// Pictures of different sizes are joined where a mask tells what is padding, and only there.
func TestJoinPads(t *testing.T) {
	t.Parallel()
	item := func(h, w int, masked bool) Prepared {
		pixels := make([]float32, 2*h*w)
		for i := range pixels {
			pixels[i] = float32(i + 1)
		}
		p := Prepared{Rows: [][2]int{{0, 1}}, Tensors: map[string]*tensor.Tensor{
			"pixel_values": tensor.Must(tensor.New([]int{1, 2, h, w}, pixels)),
		}}
		if masked {
			seen := slices.Repeat([]bool{true}, h*w)
			p.Tensors["pixel_mask"] = tensor.Must(tensor.New([]int{1, h, w}, seen))
		}
		return p
	}
	joined, err := Join(item(1, 3, true), item(2, 2, true))
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{1, 2, 3, 0, 0, 0, 4, 5, 6, 0, 0, 0, 1, 2, 0, 3, 4, 0, 5, 6, 0, 7, 8, 0}
	if got := tensor.Data[float32](joined.Tensors["pixel_values"]); !slices.Equal(got, want) {
		t.Errorf("pixels %v, want %v", got, want)
	}
	seen := []bool{true, true, true, false, false, false, true, true, false, true, true, false}
	if got := tensor.Data[bool](joined.Tensors["pixel_mask"]); !slices.Equal(got, seen) {
		t.Errorf("mask %v, want %v", got, seen)
	}
	if joined.Rows[1] != [2]int{1, 2} {
		t.Errorf("rows %v", joined.Rows)
	}
	if _, err := Join(item(1, 3, false), item(2, 2, false)); err == nil {
		t.Error("joined without a mask")
	}
}
