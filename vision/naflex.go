package vision

import (
	"context"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
)

// naflex is how SigLIP 2's NaFlex models see: a picture in about its own aspect, as a list of at
// most so many patches. Source: image_processing_siglip2.py, transformers 4.57.6.
type naflex struct {
	side int // of a patch, patch_size; 0: the model is none of these
	most int // patches of a picture, max_num_patches, to which lists are padded
}

// naflexRule reads the keys that only Siglip2ImageProcessor has.
func (c *config) naflexRule(p *Preprocessor) error {
	if p.doCrop || !isNull(c.PadSize) {
		return imageErrorf("Siglip2ImageProcessor knows no do_center_crop and no pad_size")
	}
	n := naflex{side: int(orElse(c.PatchSize, 16)), most: orElse(c.MaxNumPatches, 256)}
	if n.side < 1 || n.side > 1<<10 {
		return imageErrorf("patch_size is %d", n.side)
	}
	if n.most < 1 || n.most > mostPixels/(3*n.side*n.side) {
		return imageErrorf("max_num_patches is %d", n.most)
	}
	p.naflex, p.doPad = n, false
	return nil
}

// fit returns the size to which a picture is resized: whole patches, at most so many, by a scale
// that is looked for by halves (get_image_size_for_max_num_patches).
func (n naflex) fit(w, h int) (int, int) {
	const eps = 1e-5
	side := func(scale float64, pixels int) int {
		patches := math.Ceil(float64(float64(pixels)*scale) / float64(n.side))
		return max(n.side, int(patches)*n.side)
	}
	low, high := eps/10, 100.0
	for high-low >= eps {
		scale := (low + high) / 2
		rows, columns := side(scale, h)/n.side, side(scale, w)/n.side
		if float64(rows)*float64(columns) <= float64(n.most) {
			low = scale
		} else {
			high = scale
		}
	}
	return side(low, w), side(low, h)
}

// prepareNaFlex is Prepare for NaFlex models: pixel_values [B,P,S*S*3] of P patches, those that a
// picture lacks being 0, pixel_attention_mask [B,P] int64, 1 where a patch is, and spatial_shapes
// [B,2] int64, the rows and columns of patches.
func (p *Preprocessor) prepareNaFlex(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	side, most := p.naflex.side, p.naflex.most
	if err := p.checkLists(len(imgs), side, most); err != nil {
		return media.Prepared{}, err
	}
	pictures := make([]*RGB, len(imgs))
	err := parallel(ctx, len(imgs), func(i int) error {
		m, err := p.Picture(imgs[i])
		if err != nil {
			return err
		}
		rows, columns := m.Height/side, m.Width/side
		if m.Height%side != 0 || m.Width%side != 0 || rows > most/columns {
			return imageErrorf("a picture of %dx%d is no whole number of patches of %d, up to %d",
				m.Width, m.Height, side, most)
		}
		pictures[i] = m
		return nil
	})
	if err != nil {
		return media.Prepared{}, err
	}
	prepared, err := p.patchLists(ctx, pictures, side, most)
	for i := range imgs {
		prepared.Rows = append(prepared.Rows, [2]int{i, i + 1})
	}
	return prepared, err
}

// rowsOfPatches writes a picture's patches row by row, of each patch its pixels row by row, of each
// pixel its channels.
func (p *Preprocessor) rowsOfPatches(dst []float32, m *RGB, side int) {
	for top := 0; top < m.Height; top += side {
		for left := 0; left < m.Width; left += side {
			for y := range side {
				from := m.row(top + y)[4*left:]
				for x := range side {
					for channel := range 3 {
						dst[channel] = p.table[channel][from[4*x+channel]]
					}
					dst = dst[3:]
				}
			}
		}
	}
}
