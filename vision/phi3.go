package vision

import (
	"context"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision/internal/resample"
)

// Phi-3-vision sees a picture in crops of 336 pixels a side, and as a whole. Sources:
// phi3_hd_transform of image_transforms_phi_3.hpp, onnxruntime-extensions 0.15.2, which looks at no
// attribute; for Phi3VImageProcessor image_processing_phi3_v.py of the checkpoints.
const (
	phi3Side  = 336
	phi3Crops = 16
)

func (b *listBuilder) phi3(op operation) error {
	var ignored any
	if err := op.read(map[string]any{"num_crops": &ignored, "num_img_tokens": &ignored}); err != nil {
		return err
	}
	b.p.ops.phi3, b.p.crops = true, phi3Crops
	b.scale = 1 / float32(255)
	for i := range b.mean {
		b.mean[i], b.std[i] = float32(clipMean[i]), float32(clipStd[i])
	}
	return nil
}

// phi3Rule reads the keys that only Phi3VImageProcessor has.
func (c *config) phi3Rule(p *Preprocessor) error {
	p.crops = orElse(c.NumCrops, 1)
	if p.crops < 1 || p.crops > 1<<10 {
		return imageErrorf("num_crops is %d", p.crops)
	}
	p.doPad = false
	return nil
}

// phi3Fit returns the size at which a picture has as many crops, up to most, as can be without
// changing its shape.
func phi3Fit(w, h, most int) (int, int) {
	ratio := float64(max(w, h)) / float64(min(w, h))
	scale := 1
	for float64(scale)*math.Ceil(float64(scale)/ratio) <= float64(most) {
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

// transposed is Exif's number of a picture whose rows are columns.
const transposed = 5

// preparePhi3Pictures is Prepare for Phi3VImageProcessor.
func (p *Preprocessor) preparePhi3Pictures(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	pictures := make([]*RGB, len(imgs))
	for i, img := range imgs {
		var err error
		if pictures[i], err = seen(img); err != nil {
			return media.Prepared{}, err
		}
	}
	return p.preparePhi3(ctx, pictures)
}

// phi3Page resizes a picture and puts it in the middle of a white one of whole crops.
func (p *Preprocessor) phi3Page(m *RGB) (*RGB, error) {
	w, h := phi3Fit(m.Width, m.Height, p.crops)
	var err error
	switch {
	case p.ops.phi3:
		m, err = p.rowsFirst(m, w, h, Bilinear)
	case w < h: // the class turns a tall picture, whose rows are resized first so
		if m, err = Resize(orient(m, transposed), h, w, Bilinear, WithLimits(p.limits)); err == nil {
			m = orient(m, transposed)
		}
	default:
		m, err = Resize(m, w, h, Bilinear, WithLimits(p.limits))
	}
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

// preparePhi3 returns pixel_values [B,1+C,3,336,336] for up to C crops, the picture as a whole and
// its crops row by row, with zeros behind them; and image_sizes [B,2] int64, the height and width
// of all crops.
func (p *Preprocessor) preparePhi3(ctx context.Context, pictures []*RGB) (media.Prepared, error) {
	const plane, crop = phi3Side * phi3Side, 3 * phi3Side * phi3Side
	if len(pictures) == 0 {
		return media.Prepared{}, imageErrorf("no picture to preprocess")
	}
	each := (p.crops + 1) * crop
	if most := p.limits.withDefaults().Pixels; len(pictures) > most/(each/3) {
		return media.Prepared{}, limitErrorf("Pixels", "%d pictures of %d crops of %dx%d pixels are over "+
			"%d in all", len(pictures), p.crops+1, phi3Side, phi3Side, most)
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
			if p.ops.phi3 {
				resample.Floats(dst[c*plane:][:plane], planes[c*w*h:][:w*h], w, h, phi3Side, phi3Side,
					resample.Bicubic)
			} else {
				torchBicubic(dst[c*plane:][:plane], planes[c*w*h:][:w*h], w, h, phi3Side)
			}
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
	pixels, err := tensor.New([]int{len(pictures), p.crops + 1, 3, phi3Side, phi3Side}, values)
	if err != nil {
		return media.Prepared{}, err
	}
	shapes, err := tensor.New([]int{len(pictures), 2}, sizes)
	return media.Prepared{
		Tensors: map[string]*tensor.Tensor{"pixel_values": pixels, "image_sizes": shapes}, Rows: rows,
	}, err
}

// torchBicubic resizes a plane of w by h to a square of side as torch's interpolate does in the
// mode bicubic, without antialiasing: four values a side by Keys' kernel with -0.75, edges
// repeated.
func torchBicubic(dst, src []float32, w, h, side int) {
	type taps struct {
		at     [4]int
		weight [4]float32
	}
	along := func(n int) []taps {
		list := make([]taps, side)
		scale := float32(n) / float32(side)
		for i := range list {
			real := float32(scale*(float32(i)+0.5)) - 0.5
			low := math.Floor(float64(real))
			t := real - float32(low)
			for k := range 4 {
				list[i].at[k] = min(max(int(low)+k-1, 0), n-1)
				list[i].weight[k] = keys(float32(k-1) - t)
			}
		}
		return list
	}
	rows, columns := along(h), along(w)
	for y, row := range rows {
		for x, column := range columns {
			var sum float32
			for k, at := range row.at {
				line, part := src[at*w:][:w], float32(0)
				for j, weight := range column.weight {
					part += float32(weight * line[column.at[j]])
				}
				sum += float32(row.weight[k] * part)
			}
			dst[y*side+x] = sum
		}
	}
}

// keys is the cubic convolution kernel with -0.75, torch's.
func keys(x float32) float32 {
	const a = -0.75
	x = max(x, -x)
	if x <= 1 {
		return ((a+2)*x-(a+3))*x*x + 1
	}
	return ((a*x-5*a)*x+8*a)*x - 4*a
}
