package vision

import (
	"image"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Sizes are those of select_best_resolution and get_patch_output_size of transformers 4.57.6, with the
// resolutions of LLaVA 1.6. That its pixels are, too, shows in testdata/families/llava-next.
func TestAnyresSizes(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type": "LlavaNextImageProcessor",
		"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ w, h, canvasW, canvasH, fitW, fitH int }{
		{488, 1214, 336, 1008, 336, 836},
		{1115, 268, 1008, 336, 1008, 243},
		{758, 1876, 336, 1008, 336, 832},
		{1237, 971, 672, 672, 672, 528},
		{1282, 1190, 672, 672, 672, 624},
		{135, 1241, 336, 1008, 110, 1008},
		{1, 480, 336, 672, 2, 672},
		{100, 672, 336, 672, 100, 672},
		{7, 333, 672, 336, 8, 336},
		{640, 480, 672, 672, 672, 504},
		{672, 672, 672, 672, 672, 672},
		{336, 480, 336, 672, 336, 480},
	} {
		canvas := p.anyres.canvas(c.w, c.h)
		if canvas != image.Pt(c.canvasW, c.canvasH) {
			t.Errorf("%dx%d: a canvas of %v, want %dx%d", c.w, c.h, canvas, c.canvasW, c.canvasH)
		}
		if w, h := p.anyres.fit(c.w, c.h, canvas); w != c.fitW || h != c.fitH {
			t.Errorf("%dx%d: %dx%d, want %dx%d", c.w, c.h, w, h, c.fitW, c.fitH)
		}
	}
}

// Of each picture the whole comes first, and its size stands beside each of its squares.
func TestAnyresSquares(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": 8},
		"crop_size": 8, "image_grid_pinpoints": [[8, 16], [24, 8]]}`))
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.Prepare(t.Context(), []media.Item{
		media.Picture{Image: NewRGB(40, 20)}, media.Picture{Image: NewRGB(10, 90)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Tensors["pixel_values"].Shape(); got[0] != 7 || got[2] != 8 || got[3] != 8 {
		t.Errorf("pixels %v", got)
	}
	if made.Rows[1] != [2]int{3, 7} || made.Grids[0] != image.Pt(2, 1) || made.Grids[1] != image.Pt(1, 3) {
		t.Errorf("rows %v, grids %v", made.Rows, made.Grids)
	}
	sizes := tensor.Data[int64](made.Tensors["image_sizes"])
	if sizes[0] != 20 || sizes[1] != 40 || sizes[6] != 90 || sizes[13] != 10 {
		t.Errorf("sizes %v", sizes)
	}
}

func TestAnyresRefuses(t *testing.T) {
	t.Parallel()
	for _, fields := range []string{
		`"size": {"shortest_edge": 8}, "crop_size": 4`, `"size": {"shortest_edge": 8}`,
		`"size": 8, "crop_size": 8, "image_grid_pinpoints": []`,
		`"size": 8, "crop_size": 8, "image_grid_pinpoints": [[8]]`,
		`"size": 8, "crop_size": 8, "image_grid_pinpoints": [[8, 12]]`,
		`"size": 8, "crop_size": 8, "image_grid_pinpoints": [[0, 8]]`,
		`"size": 8, "crop_size": 8, "image_grid_pinpoints": [[800000, 800000]]`,
		`"size": 8, "crop_size": 8, "image_grid_pinpoints": "(1x1)"`,
	} {
		if _, err := ParseConfig([]byte(`{"image_processor_type": "LlavaNextImageProcessor", ` + fields + `}`)); err == nil {
			t.Errorf("%s: no error", fields)
		}
	}
}
