package vision

import (
	"context"
	"encoding/json"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// pixtral is how Pixtral and Mistral 3 see: a picture in its own shape, in whole patches. Source:
// image_processing_pixtral.py, transformers 4.57.6.
type pixtral struct {
	side    int // of patches that merge, in pixels; 0: the model is none of these
	longest int // size.longest_edge
}

// patchSide is patch_size: a number, or an object of equal height and width.
type patchSide int

// UnmarshalJSON reads either form.
func (s *patchSide) UnmarshalJSON(data []byte) error {
	var sides struct{ Height, Width int }
	if json.Unmarshal(data, (*int)(s)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &sides); err != nil {
		return imageErrorf("patch_size: %w", err)
	}
	if sides.Height != sides.Width {
		return imageErrorf("patch_size is %d by %d: only squares are made", sides.Height, sides.Width)
	}
	*s = patchSide(sides.Height)
	return nil
}

// pixtralRule reads the keys that only PixtralImageProcessor has.
func (c *config) pixtralRule(p *Preprocessor) error {
	if p.doCrop || !isNull(c.PadSize) || !p.doResize {
		return imageErrorf(
			"PixtralImageProcessor knows no do_center_crop and no pad_size, and resizes here always")
	}
	if p.size.longest == 0 || p.size.shortest != 0 {
		return imageErrorf("PixtralImageProcessor needs size.longest_edge")
	}
	patch, merge := int(orElse(c.PatchSize, 16)), orElse(c.SpatialMerge, 1)
	if patch < 1 || merge < 1 || max(patch, merge) > 1<<10 {
		return imageErrorf("patch_size is %d and spatial_merge_size %d", patch, merge)
	}
	p.pixtral = pixtral{side: patch * merge, longest: p.size.longest}
	p.doPad, p.onWhite = false, orElse(c.DoConvertRGB, true)
	return nil
}

// fit returns the size to which a picture is resized: within the longest edge, rounded up to whole
// patches that merge (get_resize_output_image_size).
func (t pixtral) fit(w, h int) (int, int) {
	ratio := max(float64(h)/float64(t.longest), float64(w)/float64(t.longest))
	whole := func(n int) int {
		if ratio > 1 {
			n = int(math.Floor(float64(n) / ratio))
		}
		return max((n+t.side-1)/t.side, 1) * t.side
	}
	return whole(w), whole(h)
}

// preparePixtral returns pixel_values [N,3,H,W] of pictures, with zeros to the right and below
// those that are not the largest, and image_sizes [N,2] int64, the height and width of each. Grids
// has the columns and rows that patches merge to.
func (p *Preprocessor) preparePixtral(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	pictures := make([]*RGB, len(imgs))
	err := parallel(ctx, len(imgs), func(i int) (err error) {
		pictures[i], err = p.Picture(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	padded := *p
	padded.doPad = true
	prepared := media.Prepared{Tensors: map[string]*tensor.Tensor{}}
	if prepared.Tensors["pixel_values"], err = padded.Tensor(ctx, pictures...); err != nil {
		return media.Prepared{}, err
	}
	var sizes []int64
	for i, m := range pictures {
		sizes = append(sizes, int64(m.Height), int64(m.Width))
		prepared.Rows = append(prepared.Rows, [2]int{i, i + 1})
		prepared.Grids = append(prepared.Grids, image.Pt(m.Width/p.pixtral.side, m.Height/p.pixtral.side))
	}
	prepared.Tensors["image_sizes"], err = tensor.New([]int{len(pictures), 2}, sizes)
	return prepared, err
}
