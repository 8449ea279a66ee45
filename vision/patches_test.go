package vision

import (
	"context"
	"errors"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Sizes are those of smart_resize of transformers 4.57.6. That pixels are those of
// Qwen2VLImageProcessor, too, shows in the ids of testdata/layouts/qwen2vl-transformersjs.
func TestSmartResize(t *testing.T) {
	t.Parallel()
	rule := patching{side: 14, merge: 2, frames: 2, least: 3136, most: 1003520}
	for _, c := range []struct{ w, h, wantW, wantH int }{
		{1000, 600, 1008, 588},
		{10, 12, 56, 84},
		{5000, 3000, 1288, 756},
		{42, 14, 112, 56},
		{70, 70, 56, 56},
		{98, 126, 112, 112},
		{30, 2000, 28, 1988},
		{1, 100, 28, 560},
		{232, 395, 224, 392},
		{348, 1498, 336, 1512},
		{693, 2763, 476, 1988},
		{1263, 1050, 1092, 896},
		{2482, 889, 1652, 588},
		{2486, 166, 2492, 168},
		{2381, 2810, 896, 1064},
		{649, 1784, 588, 1652},
	} {
		if w, h, err := rule.fit(c.w, c.h); err != nil || w != c.wantW || h != c.wantH {
			t.Errorf("%dx%d: %dx%d %v, want %dx%d", c.w, c.h, w, h, err, c.wantW, c.wantH)
		}
	}
	if _, _, err := rule.fit(1, 201); !errors.Is(err, ErrImage) {
		t.Errorf("1x201: %v", err)
	}
}

func TestPatches(t *testing.T) {
	t.Parallel()
	const class = `{"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 2, "do_rescale": false, "do_normalize": false, `
	p, err := ParseConfig([]byte(class + `"size": {"min_pixels": 16, "max_pixels": 64}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := NewRGB(8, 4)
	for i := range 32 {
		m.Pix[4*i] = uint8(i)
	}
	got, err := p.Prepare(context.Background(), []media.Item{media.Picture{Image: m}})
	if err != nil {
		t.Fatal(err)
	}
	values := tensor.Data[float32](got.Tensors["pixel_values"])
	// The first channel of the first frame: of the first block its four patches, then the second's.
	want := []float32{0, 1, 8, 9, 2, 3, 10, 11, 16, 17, 24, 25, 18, 19, 26, 27, 4, 5, 12, 13}
	for i, v := range want {
		if at := i/4*24 + i%4; values[at] != v || values[at+4] != v {
			t.Errorf("value %d is %v and %v in the second frame, want %v", at, values[at], values[at+4], v)
		}
	}
	for _, config := range []string{`"size": {"shortest_edge": 3}}`, `"merge_size": 0}`, `"max_pixels": 0}`, `"min_pixels": 9, "max_pixels": 8}`} {
		if _, err := ParseConfig([]byte(class + config)); err == nil {
			t.Errorf("%s: no error", config)
		}
	}
}
