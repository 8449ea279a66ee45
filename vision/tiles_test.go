package vision

import (
	"image"
	"testing"
)

// Sizes are those of Idefics3ImageProcessor of transformers 4.57.6. That its pixels are, too, shows
// in the ids of testdata/layouts/idefics3-transformersjs.
func TestTiledSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, longest, side, fitW, fitH, wholeW, wholeH int }{
		{1, 4999, 1456, 364, 1, 1456, 364, 1456},
		{4663, 517, 64, 32, 64, 8, 64, 32},
		{966, 4059, 6000, 500, 974, 4096, 1500, 4500},
		{3869, 3110, 1456, 364, 1456, 1170, 1456, 1456},
		{769, 3997, 2048, 512, 394, 2048, 512, 2048},
		{3194, 3546, 2048, 512, 1844, 2048, 2048, 2048},
		{3649, 2182, 1456, 364, 1456, 870, 1456, 1092},
		{4843, 838, 64, 32, 64, 12, 64, 32},
		{251, 183, 2048, 512, 2048, 1494, 2048, 1536},
		{4436, 76, 6000, 500, 4096, 69, 4500, 500},
		{1775, 3458, 2048, 512, 1052, 2048, 1536, 2048},
		{4323, 1817, 6000, 500, 4096, 1721, 4500, 2000},
		{4062, 4530, 1456, 364, 1306, 1456, 1456, 1456},
		{2832, 1892, 1456, 364, 1456, 972, 1456, 1092},
		{3766, 2374, 2048, 512, 2048, 1292, 2048, 1536},
		{3410, 4559, 2048, 512, 1532, 2048, 1536, 2048},
	} {
		rule := tiling{side: c.side, longest: c.longest}
		w, h := rule.fit(c.w, c.h)
		if w != c.fitW || h != c.fitH {
			t.Errorf("%dx%d to %d: %dx%d, want %dx%d", c.w, c.h, c.longest, w, h, c.fitW, c.fitH)
		}
		if w, h = rule.whole(w, h); w != c.wholeW || h != c.wholeH {
			t.Errorf("%dx%d in squares of %d: %dx%d, want %dx%d", c.w, c.h, c.side, w, h, c.wholeW, c.wholeH)
		}
	}
}

// A small picture, and one that is not split, is one square.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config  string
		squares int
		grid    image.Point
	}{
		{`"size": {"longest_edge": 64}`, 5, image.Pt(2, 2)},
		{`"size": {"longest_edge": 96}`, 7, image.Pt(3, 2)},
		{`"size": {"longest_edge": 32}`, 1, image.Point{}},
		{`"size": {"longest_edge": 64}, "do_image_splitting": false`, 1, image.Point{}},
		{`"do_resize": false`, 7, image.Pt(3, 2)},
	} {
		p, err := ParseConfig([]byte(`{"image_processor_type": "SmolVLMImageProcessor",
			"max_image_size": {"longest_edge": 32}, ` + c.config + `}`))
		if err != nil {
			t.Fatal(err)
		}
		squares, grid, err := p.cut(NewRGB(80, 50))
		if err != nil || len(squares) != c.squares || grid != c.grid {
			t.Errorf("%s: %d squares, %v, %v; want %d, %v", c.config, len(squares), grid, err, c.squares, c.grid)
		}
		for _, s := range squares {
			if s.Width != 32 || s.Height != 32 {
				t.Errorf("%s: a square of %dx%d", c.config, s.Width, s.Height)
			}
		}
	}
	for _, config := range []string{
		`"size": {"height": 2, "width": 2}`, `"max_image_size": {"height": 2, "width": 2}`, `"max_image_size": 3`,
	} {
		if _, err := ParseConfig([]byte(`{"image_processor_type": "Idefics3ImageProcessor", ` + config + `}`)); err == nil {
			t.Errorf("%s: no error", config)
		}
	}
}
