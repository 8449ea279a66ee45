package vision

import (
	"encoding/json"
	"image"
)

// janus is how Janus sees: a picture in its own shape, in the middle of a square of one colour. A side of
// 0 is that of other models.
type janus struct {
	side, least int // of the square, and of a picture's shorter side
	fill        [3]uint8
}

// janusRule fills p.janus. The colour is the mean's, or grey, as in the classes.
func (c *config) janusRule(p *Preprocessor) error {
	switch {
	case p.doCrop || !isNull(c.PadSize):
		return imageErrorf("JanusImageProcessor knows no do_center_crop and no pad_size")
	case p.size.height == 0 || p.size.height != p.size.width:
		return imageErrorf("JanusImageProcessor needs image_size, or a size of one height and width")
	case !p.doResize || !p.doPad:
		return imageErrorf("JanusImageProcessor makes pictures of one size only with do_resize and do_pad")
	}
	p.janus = janus{side: p.size.height, least: orElse(c.MinSize, 14), fill: [3]uint8{127, 127, 127}}
	p.doPad = false
	if p.janus.least < 1 || p.janus.least > p.janus.side {
		return imageErrorf("min_size %d is not between 1 and %d", p.janus.least, p.janus.side)
	}
	var mean []float64
	if !isNull(c.ImageMean) && json.Unmarshal(c.ImageMean, &mean) == nil && len(mean) == 3 {
		for i, v := range mean {
			p.janus.fill[i] = uint8(min(max(v*255, 0), 255))
		}
	}
	var color []int
	if !isNull(c.Background) {
		if err := json.Unmarshal(c.Background, &color); err != nil || len(color) != 3 {
			return imageErrorf("background_color is %.60s, not three numbers", c.Background)
		}
		for i, v := range color {
			p.janus.fill[i] = uint8(min(max(v, 0), 255))
		}
	}
	return nil
}

// layout fits a picture of w by h pixels into the square (VLMImageProcessor.resize of the checkpoints'
// image_processing_vlm.py, and expand2square there).
func (j janus) layout(w, h int) (l layout) {
	longer := max(w, h)
	fit := func(n int) int { return max(int(float64(n)/float64(longer)*float64(j.side)), j.least) }
	l.w, l.h = fit(w), fit(h)
	l.win, l.out = image.Rect(0, 0, l.w, l.h), image.Pt(j.side, j.side)
	l.offset = l.out.Sub(l.win.Size()).Div(2)
	return l
}
