package vision

import (
	"slices"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Sizes are those of get_resize_output_image_size of transformers 4.57.6. That its pixels are, too,
// shows in testdata/families/idefics2.
func TestQuarterSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, shortest, longest, fitW, fitH int }{
		{558, 433, 28, 56, 56, 43},
		{2563, 2380, 28, 56, 56, 52},
		{240, 496, 28, 56, 28, 56},
		{1627, 2618, 378, 980, 609, 980},
		{3556, 3793, 378, 980, 918, 980},
		{606, 343, 378, 980, 606, 378},
		{276, 784, 28, 56, 28, 56},
		{821, 890, 378, 980, 821, 890},
		{3600, 1498, 28, 56, 56, 28},
		{689, 746, 28, 56, 51, 56},
	} {
		rule := quartered{size: sizeRule{shortest: c.shortest, longest: c.longest}}
		if w, h := rule.fit(c.w, c.h); w != c.fitW || h != c.fitH {
			t.Errorf("%dx%d to %d and %d: %dx%d, want %dx%d", c.w, c.h, c.shortest, c.longest, w, h, c.fitW, c.fitH)
		}
	}
}

// The quarters of a picture come before it, and the mask says how far each part reaches.
func TestQuarters(t *testing.T) {
	t.Parallel()
	prepare := func(fields string, pictures ...*RGB) (media.Prepared, error) {
		p, err := ParseConfig([]byte(`{"image_processor_type": "Idefics2ImageProcessor", ` + fields + `}`))
		if err != nil {
			t.Fatal(err)
		}
		var items []media.Item
		for _, m := range pictures {
			items = append(items, media.Picture{Image: m})
		}
		return p.Prepare(t.Context(), items)
	}
	split := `"do_image_splitting": true, "size": {"shortest_edge": 8, "longest_edge": 20}`
	made, err := prepare(split, NewRGB(40, 21), NewRGB(9, 9))
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Tensors["pixel_values"].Shape(); !slices.Equal(got, []int{10, 3, 11, 20}) {
		t.Errorf("pixels %v", got)
	}
	if made.Rows[1] != [2]int{5, 10} {
		t.Errorf("rows %v", made.Rows)
	}
	seen := tensor.Data[bool](made.Tensors["pixel_attention_mask"])
	for i, want := range []int{20 * 10, 20 * 10, 20 * 11, 20 * 11, 20 * 10, 8 * 8, 8 * 8, 8 * 8, 8 * 8, 9 * 9} {
		got := 0
		for _, s := range seen[i*220:][:220] {
			if s {
				got++
			}
		}
		if got != want {
			t.Errorf("part %d has %d pixels, want %d", i, got, want)
		}
	}
	made, err = prepare(`"size": {"height": 5, "width": 7}`, NewRGB(40, 21))
	if err != nil || !slices.Equal(made.Tensors["pixel_values"].Shape(), []int{1, 3, 5, 7}) {
		t.Errorf("%v, %v", made.Tensors, err)
	}
	if _, err := prepare(split, NewRGB(40, 1)); err == nil {
		t.Error("a picture one pixel high is split")
	}
	for _, fields := range []string{`"size": {"longest_edge": 8}`, `"size": 8`} {
		if _, err := ParseConfig([]byte(`{"image_processor_type": "Idefics2ImageProcessor", ` + fields + `}`)); err == nil {
			t.Errorf("%s: no error", fields)
		}
	}
}
