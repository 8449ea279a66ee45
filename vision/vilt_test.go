package vision

import (
	"slices"
	"testing"

	"github.com/crossattn/xpipe/media"
)

// Sizes are those of get_resize_output_image_size of image_processing_vilt.py, transformers 4.57.6; its
// pixels and masks are in testdata/families/vilt-vqa.
func TestViltSizes(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type": "ViltImageProcessor"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ w, h, fitW, fitH int }{
		{640, 480, 512, 384},
		{333, 500, 384, 576},
		{1280, 300, 608, 128},
		{50, 400, 64, 608},
		{384, 384, 384, 384},
		{1000, 999, 384, 384},
	} {
		made, err := p.Prepare(t.Context(), []media.Item{media.Picture{Image: NewRGB(c.w, c.h)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := made.Tensors["pixel_values"].Shape(); !slices.Equal(got, []int{1, 3, c.fitH, c.fitW}) {
			t.Errorf("%dx%d: %v, want %dx%d", c.w, c.h, got, c.fitW, c.fitH)
		}
	}
	for _, fields := range []string{`"size": {"height": 8, "width": 8}`, `"size_divisor": 0`, `"do_resize": false`} {
		if _, err := ParseConfig([]byte(`{"image_processor_type": "ViltImageProcessor", ` + fields + `}`)); err == nil {
			t.Errorf("%s: no error", fields)
		}
	}
}
