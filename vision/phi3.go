package vision

import (
	"context"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision/internal/resample"
)

// Phi-3-vision sees a picture in crops of 336 pixels a side, and as a whole. Source: phi3_hd_transform
// of image_transforms_phi_3.hpp, onnxruntime-extensions 0.15.2, which looks at no attribute.
const (
	phi3Side  = 336
	phi3Crops = 16
)

func (b *listBuilder) phi3(op operation) error {
	var ignored any
	if err := op.read(map[string]any{"num_crops": &ignored, "num_img_tokens": &ignored}); err != nil {
		return err
	}
	b.p.ops.phi3 = true
	b.scale = 1 / float32(255)
	for i := range b.mean {
		b.mean[i], b.std[i] = float32(clipMean[i]), float32(clipStd[i])
	}
	return nil
}

// phi3Fit returns the size at which a picture has as many crops as can be without changing its
// shape.
func phi3Fit(w, h int) (int, int) {
	ratio := float64(max(w, h)) / float64(min(w, h))
	scale := 1
	for float64(scale)*math.Ceil(float64(scale)/ratio) <= phi3Crops {
		scale++
	}
	scale--
	long := scale * phi3Side
	short := max(int(float64(long)/ratio), 1)
	if w < h {
		return short, long
	}
	return long, short
}

// phi3Page resizes a picture and puts it in the middle of a white one of whole crops.
func (p *Preprocessor) phi3Page(m *RGB) (*RGB, error) {
	w, h := phi3Fit(m.Width, m.Height)
	m, err := p.rowsFirst(m, w, h, Bilinear)
	if err != nil {
		return nil, err
	}
	up := func(n int) int { return (n + phi3Side - 1) / phi3Side * phi3Side }
	page := newRGB(up(w), up(h))
	if page.Width == w && page.Height == h {
		return m, nil
	}
	for y := range page.Height {
		row := page.row(y)
		for i := range row {
			row[i] = 255
		}
	}
	at := image.Pt((page.Width-w)/2, (page.Height-h)/2)
	for y := range h {
		copy(page.row(at.Y + y)[4*at.X:], m.row(y))
	}
	return page, nil
}

// preparePhi3 returns pixel_values [B,17,3,336,336], the picture as a whole and its crops row by row,
// with zeros behind them; and image_sizes [B,2] int64, the height and width of all crops.
func (p *Preprocessor) preparePhi3(ctx context.Context, pictures []*RGB) (media.Prepared, error) {
	const plane, crop = phi3Side * phi3Side, 3 * phi3Side * phi3Side
	each := (phi3Crops + 1) * crop
	if most := p.limits.withDefaults().Pixels; len(pictures) > most/(each/3) {
		return media.Prepared{}, limitErrorf("Pixels", "%d pictures of %d crops of %dx%d pixels are over "+
			"%d in all", len(pictures), phi3Crops+1, phi3Side, phi3Side, most)
	}
	values := make([]float32, len(pictures)*each)
	sizes := make([]int64, 2*len(pictures))
	rows := make([][2]int, len(pictures))
	err := parallel(ctx, len(pictures), func(i int) error {
		page, err := p.phi3Page(pictures[i])
		if err != nil {
			return err
		}
		w, h := page.Width, page.Height
		sizes[2*i], sizes[2*i+1], rows[i] = int64(h), int64(w), [2]int{i, i + 1}
		dst := values[i*each:][:each]
		planes := make([]float32, 3*w*h)
		p.planes(planes, page, w, h)
		for c := range 3 {
			resample.Floats(dst[c*plane:][:plane], planes[c*w*h:][:w*h], w, h, phi3Side, phi3Side,
				resample.Bicubic)
		}
		dst = dst[crop:]
		for top := 0; top < h; top += phi3Side {
			for left := 0; left < w; left += phi3Side {
				for c := range 3 {
					for y := range phi3Side {
						copy(dst[c*plane+y*phi3Side:][:phi3Side], planes[c*w*h+(top+y)*w+left:])
					}
				}
				dst = dst[crop:]
			}
		}
		return nil
	})
	if err != nil {
		return media.Prepared{}, err
	}
	pixels, err := tensor.New([]int{len(pictures), phi3Crops + 1, 3, phi3Side, phi3Side}, values)
	if err != nil {
		return media.Prepared{}, err
	}
	shapes, err := tensor.New([]int{len(pictures), 2}, sizes)
	return media.Prepared{
		Tensors: map[string]*tensor.Tensor{"pixel_values": pixels, "image_sizes": shapes}, Rows: rows,
	}, err
}
