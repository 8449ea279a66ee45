package vision

import (
	"context"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// viltRule reads the keys of ViltImageProcessor: pictures in about their own shape, whose sides are
// multiples of a number (image_processing_vilt.py, transformers 4.57.6).
func (c *config) viltRule(p *Preprocessor) error {
	if !p.doResize || p.size.shortest <= 0 {
		return imageErrorf("ViltImageProcessor needs size.shortest_edge, and resizes here always")
	}
	p.divisor = orElse(c.SizeDivisor, 32)
	if p.divisor < 1 || p.divisor > maxDivisor {
		return imageErrorf("size_divisor is %d, not 1 to %d", p.divisor, maxDivisor)
	}
	p.masks, p.doPad = true, false
	return nil
}

// prepareMasked is Prepare for ViLT: pixel_values [B,3,H,W], with zeros to the right and below pictures
// that are not the largest, and pixel_mask [B,H,W] bool, which is true where a picture has pixels.
func (p *Preprocessor) prepareMasked(
	ctx context.Context, imgs []image.Image,
) (made media.Prepared, err error) {
	pictures := make([]*RGB, len(imgs))
	err = parallel(ctx, len(imgs), func(i int) (err error) {
		pictures[i], err = p.Picture(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	padded := *p
	padded.doPad = true
	pixels, err := padded.Tensor(ctx, pictures...)
	if err != nil {
		return media.Prepared{}, err
	}
	mask, err := pixelMask(pictures, pixels.Dim(3), pixels.Dim(2))
	for i := range imgs {
		made.Rows = append(made.Rows, [2]int{i, i + 1})
	}
	made.Tensors = map[string]*tensor.Tensor{"pixel_values": pixels, "pixel_mask": mask}
	return made, err
}
