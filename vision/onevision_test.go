package vision

import (
	"bytes"
	"testing"

	"github.com/crossattn/xpipe/media"
)

func parseOnevision(t *testing.T, fields string) *Preprocessor {
	t.Helper()
	p, err := ParseConfig([]byte(`{"image_processor_type": "LlavaOnevisionImageProcessor", ` + fields + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A picture among others is what resizing it in the middle of a square of its own makes.
func TestSquared(t *testing.T) {
	t.Parallel()
	p := parseOnevision(t, `"do_image_splitting": true, "size": {"height": 24, "width": 24}, "image_mean": [0.1, 0.5, 0.99],
		"image_grid_pinpoints": [[24, 48]]`)
	for _, size := range [][2]int{{50, 300}, {300, 50}, {7, 7}, {1, 64}, {65, 2}, {24, 24}} {
		m := NewRGB(size[0], size[1])
		for i := range m.Pix {
			if i%4 != 3 {
				m.Pix[i] = uint8(i * i / 7)
			}
		}
		long := max(m.Width, m.Height)
		square := NewRGB(long, long)
		for i := 0; i < len(square.Pix); i += 4 {
			put(square.Pix[i:], 25, 127, 252, 255)
		}
		for y := range m.Height {
			copy(square.row((long-m.Height)/2 + y)[4*((long-m.Width)/2):], m.row(y))
		}
		want, err := Resize(square, 24, 24, Bicubic)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.squared(m)
		if err != nil || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%v: other pixels, %v", size, err)
		}
	}
}

// Squares are made where the file asks for them, one view where it does not.
func TestOnevisionSquares(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]int{
		`"size": {"height": 24, "width": 24}`: 1,
		`"size": {"height": 24, "width": 24}, "do_image_splitting": true, "image_grid_pinpoints": [[24, 24], [24, 72]]`: 5,
		`"do_image_splitting": true`: 3,
	} {
		made, err := parseOnevision(t, fields).Prepare(t.Context(), []media.Item{media.Picture{Image: NewRGB(100, 30)}})
		if err != nil || made.Tensors["pixel_values"].Dim(0) != want {
			t.Errorf("%s: %v, want %d, %v", fields, made.Tensors["pixel_values"], want, err)
		}
	}
	for _, fields := range []string{
		`"size": {"height": 24, "width": 48}`, `"size": {"height": 24, "width": 24}`, `"image_mean": 3`,
		`"size": {"height": 24, "width": 24}, "image_grid_pinpoints": []`,
	} {
		config := `{"image_processor_type": "LlavaOnevisionImageProcessor", "do_image_splitting": true, ` + fields + `}`
		if _, err := ParseConfig([]byte(config)); err == nil {
			t.Errorf("%s: no error", fields)
		}
	}
}
