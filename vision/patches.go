package vision

import (
	"context"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// patching is how Qwen2-VL's kind of model sees: a picture of any size, as a list of its patches.
type patching struct {
	side        int // of a patch, patch_size; 0: the model takes pictures
	merge       int // merge_size: so many patches a side become one token
	frames      int // temporal_patch_size: a picture is a film of so many equal frames
	least, most int // pixels of a picture
}

// mostAspect is the ratio of sides beyond which smart_resize refuses a picture.
const mostAspect = 200

// patching reads the keys that only Qwen2VLImageProcessor has.
func (c *config) patching(p *Preprocessor) error {
	if p.doCrop || !isNull(c.PadSize) {
		return imageErrorf("Qwen2VLImageProcessor knows no do_center_crop and no pad_size")
	}
	t := patching{
		side: int(orElse(c.PatchSize, 14)), merge: orElse(c.MergeSize, 2), frames: orElse(c.TemporalSize, 2),
		least: 56 * 56, most: 28 * 28 * 1280,
	}
	if !isNull(c.Size) {
		size, err := parsePixels(c.Size)
		if err != nil {
			return err
		}
		t.least, t.most = size[0], size[1]
	}
	t.least, t.most = orElse(c.MinPixels, t.least), orElse(c.MaxPixels, t.most)
	for name, n := range map[string]int{
		"patch_size": t.side, "merge_size": t.merge, "temporal_patch_size": t.frames,
	} {
		if n < 1 || n > 1<<10 {
			return imageErrorf("%s is %d", name, n)
		}
	}
	if t.least < 1 || t.most < t.least || t.most > mostPixels/3 {
		return imageErrorf("min_pixels is %d and max_pixels %d", t.least, t.most)
	}
	p.patches, p.doPad = t, false
	return nil
}

// fit returns the size to which a picture is resized: whole numbers of patches that merge, between
// the least and the most pixels. Source: smart_resize of image_processing_qwen2_vl.py, transformers
// 4.57.6.
func (t patching) fit(w, h int) (int, int, error) {
	if float64(max(w, h))/float64(min(w, h)) > mostAspect {
		return 0, 0, imageErrorf("a picture of %dx%d is more than %d times as long as wide", w, h,
			mostAspect)
	}
	factor := float64(t.side * t.merge)
	width, height, area := float64(w), float64(h), float64(int64(w)*int64(h))
	fitW, fitH := math.RoundToEven(width/factor)*factor, math.RoundToEven(height/factor)*factor
	switch {
	case fitW*fitH > float64(t.most):
		beta := math.Sqrt(area / float64(t.most))
		fitW = max(factor, math.Floor(width/beta/factor)*factor)
		fitH = max(factor, math.Floor(height/beta/factor)*factor)
	case fitW*fitH < float64(t.least):
		beta := math.Sqrt(float64(t.least) / area)
		fitW = math.Ceil(width*beta/factor) * factor
		fitH = math.Ceil(height*beta/factor) * factor
	}
	return int(fitW), int(fitH), nil
}

// resized returns a picture whose sides are whole numbers of patches that merge.
func (p *Preprocessor) resized(img image.Image) (*RGB, error) {
	m, err := seen(img)
	if err != nil {
		return nil, err
	}
	factor := p.patches.side * p.patches.merge
	if !p.doResize {
		if m.Width%factor != 0 || m.Height%factor != 0 {
			return nil, imageErrorf("a picture of %dx%d is no whole number of patches of %d",
				m.Width, m.Height, factor)
		}
		return m, nil
	}
	w, h, err := p.patches.fit(m.Width, m.Height)
	if err != nil || w == m.Width && h == m.Height {
		return m, err
	}
	return Resize(m, w, h, p.resample, WithLimits(p.limits))
}

// preparePatches is Prepare for a model that sees patches: pixel_values [N,3*F*S*S] of the patches
// of all pictures, those that merge one behind another. Grids has their columns and rows.
func (p *Preprocessor) preparePatches(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	if len(imgs) == 0 {
		return media.Prepared{}, imageErrorf("no picture to preprocess")
	}
	pictures := make([]*RGB, len(imgs))
	err := parallel(ctx, len(imgs), func(i int) (err error) {
		pictures[i], err = p.resized(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	return p.patchesOf(ctx, pictures)
}

// patchesOf cuts pictures into patches, of which their sides are whole numbers that merge.
func (p *Preprocessor) patchesOf(ctx context.Context, pictures []*RGB) (media.Prepared, error) {
	prepared := media.Prepared{}
	side, total := p.patches.side, 0
	for _, m := range pictures {
		grid := image.Pt(m.Width/side, m.Height/side)
		prepared.Grids = append(prepared.Grids, grid)
		prepared.Rows = append(prepared.Rows, [2]int{total, total + grid.X*grid.Y})
		total += grid.X * grid.Y
	}
	width := 3 * p.patches.frames * side * side
	if most := p.limits.withDefaults().Pixels; total > min(most/(side*side), mostPixels/width) {
		return media.Prepared{}, limitErrorf("Pixels", "%d patches of %dx%d pixels are over %d in all",
			total, side, side, most)
	}
	values := make([]float32, total*width)
	err := parallel(ctx, len(pictures), func(i int) error {
		p.patchesInto(values[prepared.Rows[i][0]*width:prepared.Rows[i][1]*width], pictures[i])
		return nil
	})
	if err != nil {
		return media.Prepared{}, err
	}
	pixels, err := tensor.New([]int{total, width}, values)
	prepared.Tensors = map[string]*tensor.Tensor{"pixel_values": pixels}
	return prepared, err
}

// patchesInto writes a picture's patches: blocks of those that merge row by row, inside of each the
// patches row by row, of each patch the channels, of each channel the equal frames.
func (p *Preprocessor) patchesInto(dst []float32, m *RGB) {
	t := p.patches
	block := t.side * t.merge
	for y := 0; y < m.Height; y += block {
		for x := 0; x < m.Width; x += block {
			for i := range t.merge * t.merge {
				left, top := x+i%t.merge*t.side, y+i/t.merge*t.side
				for channel := range 3 {
					table := &p.table[channel]
					for range t.frames {
						for row := range t.side {
							from := m.row(top + row)[4*left+channel:]
							for column := range t.side {
								dst[column] = table[from[4*column]]
							}
							dst = dst[t.side:]
						}
					}
				}
			}
		}
	}
}
