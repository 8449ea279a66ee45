package vision

import "testing"

// Sizes are those of BridgeTowerImageProcessor of transformers 4.57.6. That its pixels are, too, shows
// in testdata/families/bridgetower-itm.
func TestDividedSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, shortest, divisor, fitW, fitH int }{
		{1950, 4855, 600, 8, 400, 992},
		{3031, 4948, 32, 32, 32, 32},
		{4962, 108, 32, 16, 48, 0},
		{4513, 1920, 294, 1, 489, 208},
		{4432, 4503, 32, 1, 32, 33},
		{1234, 1900, 294, 1, 294, 453},
		{125, 525, 294, 32, 96, 480},
		{2468, 255, 384, 1, 639, 66},
		{4873, 3176, 32, 1, 49, 32},
		{4727, 3643, 294, 16, 368, 288},
		{799, 294, 294, 1, 489, 180},
		{1778, 2114, 32, 16, 32, 32},
		{3451, 4156, 32, 16, 32, 32},
		{4376, 4793, 32, 8, 32, 32},
	} {
		if w, h := fitDivided(c.w, c.h, c.shortest, c.divisor); w != c.fitW || h != c.fitH {
			t.Errorf("%dx%d to %d by %d: %dx%d, want %dx%d", c.w, c.h, c.shortest, c.divisor, w, h, c.fitW, c.fitH)
		}
	}
	for _, config := range []string{
		`"size": {"height": 2, "width": 2}`, `"size_divisor": 0`, `"crop_size": {"height": 2, "width": 2}`,
	} {
		_, err := ParseConfig([]byte(`{"image_processor_type": "BridgeTowerImageProcessor", ` + config + `}`))
		if err == nil {
			t.Errorf("%s: no error", config)
		}
	}
	// The processor crops and normalises, whatever the file says.
	p, err := ParseConfig([]byte(`{"image_processor_type": "BridgeTowerImageProcessor", "size": {"shortest_edge": 64},
		"do_center_crop": false, "do_normalize": false, "image_mean": 0.5, "image_std": 0.25}`))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := p.Picture(NewRGB(300, 90)); err != nil || m.Width != 64 || m.Height != 64 || p.table[0][255] != 2 {
		t.Errorf("%v, %v, %v", m.Bounds(), p.table[0][255], err)
	}
}
