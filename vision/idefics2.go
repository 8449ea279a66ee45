package vision

import (
	"context"
	"image"
	"image/color"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// quartered is how Idefics2 sees: a picture in its own shape, resized only where a side is too long or
// too short, and its four quarters before it. Source: image_processing_idefics2.py, transformers
// 4.57.6.
type quartered struct {
	there bool
	split bool     // do_image_splitting: quarters, and the picture as a whole behind them
	size  sizeRule // shortest and longest edge, or height and width
}

// quarters reads the keys that only Idefics2ImageProcessor has.
func (c *config) quarters(p *Preprocessor) error {
	if s := p.size; p.doResize && s.height == 0 && (s.shortest == 0 || s.longest == 0) {
		return imageErrorf(
			"Idefics2ImageProcessor needs size.shortest_edge and longest_edge, or height and width")
	}
	p.quartered = quartered{there: true, split: orElse(c.DoSplit, false), size: p.size}
	p.doPad, p.onWhite = false, orElse(c.DoConvertRGB, true)
	return nil
}

// fit returns the size to which a picture is resized: neither side longer than the longest edge,
// then neither shorter than the shortest (get_resize_output_image_size).
func (q quartered) fit(w, h int) (int, int) {
	if q.size.height > 0 {
		return q.size.width, q.size.height
	}
	aspect := float64(w) / float64(h)
	switch {
	case w >= h && w > q.size.longest:
		w, h = q.size.longest, int(float64(q.size.longest)/aspect)
	case h > w && h > q.size.longest:
		w, h = int(float64(q.size.longest)*aspect), q.size.longest
	}
	return max(w, q.size.shortest), max(h, q.size.shortest)
}

// parts returns the quarters of a picture, row by row, and it as a whole.
func (p *Preprocessor) parts(img image.Image) (list []*RGB, err error) {
	m, err := seen(img)
	if err != nil {
		return nil, err
	}
	if p.onWhite {
		m = m.On(color.RGBA{255, 255, 255, 255})
	}
	if p.quartered.split {
		if m.Width < 2 || m.Height < 2 {
			return nil, imageErrorf("a picture of %dx%d pixels cannot be split in four", m.Width, m.Height)
		}
		x, y := m.Width/2, m.Height/2
		for _, r := range []image.Rectangle{
			image.Rect(0, 0, x, y), image.Rect(x, 0, m.Width, y),
			image.Rect(0, y, x, m.Height), image.Rect(x, y, m.Width, m.Height),
		} {
			list = append(list, m.crop(r))
		}
	}
	list = append(list, m)
	if !p.doResize {
		return list, nil
	}
	for i, part := range list {
		w, h := p.quartered.fit(part.Width, part.Height)
		if list[i], err = Resize(part, w, h, p.resample, WithLimits(p.limits)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// prepareQuarters is Prepare for Idefics2: pixel_values [N,3,H,W] of the parts of all pictures, with
// zeros to the right and below those that are not the largest, and pixel_attention_mask [N,H,W] bool,
// which is true where a part has pixels.
func (p *Preprocessor) prepareQuarters(
	ctx context.Context, imgs []image.Image,
) (made media.Prepared, err error) {
	each := make([][]*RGB, len(imgs))
	err = parallel(ctx, len(imgs), func(i int) (err error) {
		each[i], err = p.parts(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	var all []*RGB
	for _, list := range each {
		made.Rows = append(made.Rows, [2]int{len(all), len(all) + len(list)})
		all = append(all, list...)
	}
	padded := *p
	padded.doPad = true
	pixels, err := padded.Tensor(ctx, all...)
	if err != nil {
		return media.Prepared{}, err
	}
	mask, err := pixelMask(all, pixels.Dim(3), pixels.Dim(2))
	made.Tensors = map[string]*tensor.Tensor{"pixel_values": pixels, "pixel_attention_mask": mask}
	return made, err
}

// pixelMask returns [N,h,w] bool, true where a picture at the top left has pixels.
func pixelMask(pictures []*RGB, w, h int) (*tensor.Tensor, error) {
	seen := make([]bool, len(pictures)*w*h)
	for i, m := range pictures {
		for y := range m.Height {
			row := seen[(i*h+y)*w:][:m.Width]
			for x := range row {
				row[x] = true
			}
		}
	}
	return tensor.New([]int{len(pictures), h, w}, seen)
}
