package vision

import (
	"image"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
)

// Grids are those of extract_flattened_patches of transformers 4.57.6. That its patches are, too, shows
// in testdata/families/pix2struct.
func TestFlattenedGrids(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		w, h, most int
		want       image.Point
	}{
		{640, 480, 2048, image.Pt(52, 39)},
		{1, 900, 100, image.Pt(1, 100)},
		{3000, 20, 64, image.Pt(64, 1)},
		{777, 1234, 2048, image.Pt(35, 57)},
		{16, 16, 9, image.Pt(3, 3)},
		{33, 70, 36, image.Pt(4, 8)},
		{1024, 1024, 1024, image.Pt(32, 32)},
		{50, 71, 40, image.Pt(5, 7)},
	} {
		if got := (flattened{side: 16, most: c.most}).grid(c.w, c.h); got != c.want {
			t.Errorf("%dx%d in %d: %v, want %v", c.w, c.h, c.most, got, c.want)
		}
	}
}

func TestFlattenedRefuses(t *testing.T) {
	t.Parallel()
	for fields, why := range map[string]string{
		`"is_vqa": true`:                           "in a font",
		`"do_normalize": false`:                    "do_normalize",
		`"max_patches": 0`:                         "max_patches",
		`"patch_size": {"height": 8, "width": 16}`: "patch_size",
	} {
		_, err := ParseConfig([]byte(`{"image_processor_type": "Pix2StructImageProcessor", ` + fields + `}`))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", fields, err)
		}
	}
	if _, err := ParseConfig([]byte(`{"image_processor_type": "ViTImageProcessor", "max_patches": 8}`)); err != nil {
		t.Errorf("a key of another class: %v", err)
	}
	p, err := ParseConfig([]byte(`{"image_processor_type": "Pix2StructImageProcessor", "max_patches": 9,
		"patch_size": {"height": 4, "width": 4}}`))
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.Prepare(t.Context(), []media.Item{media.Picture{Image: NewRGB(9, 500)}, media.Picture{Image: NewRGB(8, 8)}})
	if err != nil || made.Grids[0] != image.Pt(1, 9) || made.Grids[1] != image.Pt(3, 3) {
		t.Errorf("%v, %v", made.Grids, err)
	}
	if got := p.Seen(9, 500); got != (Region{0, 0, 1, 1}) {
		t.Errorf("seen %v", got)
	}
}
