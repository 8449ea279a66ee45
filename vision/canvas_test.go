package vision

import (
	"image"
	"image/color"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// Canvases, sizes and ids are those of MllamaImageProcessor of transformers 4.57.6. That its pixels
// are, too, shows in testdata/families/mllama.
func TestCanvas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, side, most, columns, rows, fitW, fitH, id int }{
		{771, 276, 16, 4, 3, 1, 44, 16, 3},
		{1262, 2536, 100, 1, 1, 1, 49, 100, 1},
		{2686, 3088, 448, 4, 2, 2, 779, 896, 6},
		{4106, 1402, 448, 4, 3, 1, 1312, 448, 3},
		{3604, 3258, 100, 1, 1, 1, 100, 90, 1},
		{37, 3890, 448, 4, 1, 4, 17, 1792, 8},
		{2053, 997, 224, 6, 3, 2, 672, 326, 9},
		{1896, 2903, 100, 1, 1, 1, 65, 100, 1},
		{3470, 3955, 16, 4, 2, 2, 28, 32, 6},
		{1407, 1196, 448, 4, 2, 2, 896, 761, 6},
		{1111, 3490, 100, 1, 1, 1, 31, 100, 1},
		{3478, 485, 560, 4, 4, 1, 2240, 312, 4},
		{4597, 439, 224, 6, 6, 1, 1344, 128, 6},
		{839, 2, 560, 4, 2, 1, 839, 2, 2},
		{4381, 1265, 224, 6, 4, 1, 775, 224, 4},
		{4136, 4876, 100, 1, 1, 1, 84, 100, 1},
		{1282, 4294, 224, 6, 1, 4, 224, 750, 12},
		{3430, 3366, 32, 12, 4, 3, 97, 96, 22},
		{1, 5000, 560, 4, 1, 4, 1, 2240, 8},
		{5000, 1, 560, 4, 4, 1, 2240, 1, 4},
		{560, 560, 560, 4, 1, 1, 560, 560, 1},
		{1120, 560, 560, 4, 2, 1, 1120, 560, 2},
		{1121, 1120, 560, 4, 2, 2, 1120, 1119, 6},
		{3, 3, 560, 4, 1, 1, 560, 560, 1},
		{64, 48, 16, 4, 2, 2, 32, 24, 6},
		{1680, 560, 560, 4, 3, 1, 1680, 560, 3},
	} {
		rule := canvas{side: c.side, most: c.most}
		tiles := rule.tiles(c.w, c.h)
		if tiles != image.Pt(c.columns, c.rows) {
			t.Errorf("%dx%d on %d tiles of %d: %v, want %dx%d", c.w, c.h, c.most, c.side, tiles, c.columns, c.rows)
			continue
		}
		if w, h := rule.fit(c.w, c.h, tiles); w != c.fitW || h != c.fitH {
			t.Errorf("%dx%d on %v tiles of %d: %dx%d, want %dx%d", c.w, c.h, tiles, c.side, w, h, c.fitW, c.fitH)
		}
		if got := rule.arrangements()[c.id-1]; got != tiles {
			t.Errorf("%d tiles: id %d is %v, want %v", c.most, c.id, got, tiles)
		}
	}
}

// The canvas is black, in the numbers of pixels, where the picture does not reach; tiles that a
// picture lacks are 0; transparent pixels are white.
func TestCanvasPixels(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 3,
		"size": {"height": 8, "width": 8}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}`))
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewNRGBA(image.Rect(0, 0, 14, 6))
	img.SetNRGBA(0, 0, color.NRGBA{A: 255})
	made, err := p.prepareCanvas(t.Context(), []image.Image{img})
	if err != nil {
		t.Fatal(err)
	}
	pixels := made.Tensors["pixel_values"]
	if got := pixels.Shape(); len(got) != 5 || got[1] != 3 || made.Grids[0] != image.Pt(2, 1) {
		t.Fatalf("%v, %v", got, made.Grids)
	}
	values := tensor.Data[float32](pixels)
	tile := 3 * 8 * 8
	for at, want := range map[int]float32{4: 1, 7*8 + 2: -1, tile + 3: 1, tile + 6*8 + 1: -1, 2 * tile: 0, 3*tile - 1: 0} {
		if values[at] != want {
			t.Errorf("value %d is %v, want %v", at, values[at], want)
		}
	}
	for _, config := range []string{
		`"size": {"height": 2, "width": 3}`, `"max_image_tiles": 0`, `"max_image_tiles": 257`, `"do_pad": false`,
		`"do_resize": false`,
	} {
		_, err := ParseConfig([]byte(`{"image_processor_type": "MllamaImageProcessor", ` + config + `}`))
		if err == nil {
			t.Errorf("%s: no error", config)
		}
	}
	if _, err := ParseConfig([]byte(`{"image_processor_type": "", "max_image_tiles": 4}`)); err == nil {
		t.Error("max_image_tiles without a class: no error")
	}
}
