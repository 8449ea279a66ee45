package vision

import "image/color"

// onevisionRule reads the keys of LlavaOnevisionImageProcessor. Without do_image_splitting, which
// xpipe's own bundles have, a picture is seen as a whole alone, the first view of the class's, as
// transformers.js takes it.
func (c *config) onevisionRule(f family, p *Preprocessor) error {
	if !orElse(c.DoSplit, false) {
		return nil
	}
	side := max(p.size.shortest, p.size.height)
	if side <= 0 || p.size.height != p.size.width {
		return imageErrorf("LlavaOnevisionImageProcessor needs size.height and an equal size.width")
	}
	var pinpoints [][]int
	for rows := range 6 {
		for columns := range 6 {
			pinpoints = append(pinpoints, []int{384 * (rows + 1), 384 * (columns + 1)})
		}
	}
	if err := c.canvases(p, side, pinpoints); err != nil {
		return err
	}
	mean, _, err := c.statistics(f)
	if err != nil {
		return err
	}
	for _, m := range mean {
		if !(m >= 0 && m <= 1) {
			return imageErrorf("image_mean has %v, which is no colour for the edges of pictures", m)
		}
	}
	p.anyres.amid = true
	p.anyres.paint = color.RGBA{uint8(mean[0] * 255), uint8(mean[1] * 255), uint8(mean[2] * 255), 255}
	return nil
}

// stripRows is how many rows of a picture are widened at a time.
const stripRows = 64

// squared returns a picture in the middle of a square of the paint, resized to a square of the model's
// (pad_to_square of image_processing_llava_onevision.py, transformers 4.57.6). It resizes across
// before down, as Pillow does, and so needs no square as large as the picture's longer side.
func (p *Preprocessor) squared(m *RGB) (*RGB, error) {
	side, long := p.anyres.side, max(m.Width, m.Height)
	narrow := p.painted(side, long)
	left, top := (long-m.Width)/2, (long-m.Height)/2
	for y := 0; y < m.Height; y += stripRows {
		rows := min(stripRows, m.Height-y)
		strip := p.painted(long, rows)
		for i := range rows {
			copy(strip.row(i)[4*left:], m.row(y+i))
		}
		part, err := Resize(strip, side, rows, p.resample, WithLimits(p.limits))
		if err != nil {
			return nil, err
		}
		for i := range rows {
			copy(narrow.row(top+y+i), part.row(i))
		}
	}
	return Resize(narrow, side, side, p.resample, WithLimits(p.limits))
}

// painted returns a picture of the paint alone.
func (p *Preprocessor) painted(w, h int) *RGB {
	m, c := newRGB(w, h), p.anyres.paint
	for i := 0; i < len(m.Pix); i += 4 {
		put(m.Pix[i:], c.R, c.G, c.B, 255)
	}
	return m
}
