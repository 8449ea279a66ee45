package vision

import (
	"context"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision/internal/resample"
)

// flattened is how Pix2Struct sees: a picture of its own mean and deviation, as large as so many
// patches are, and in about its own shape. Source: image_processing_pix2struct.py, transformers 4.57.6.
type flattened struct {
	side int // of a patch, patch_size; 0: the model is none of these
	most int // patches of a picture, max_patches, to which lists are padded
}

// flattenedRule reads the keys that only Pix2StructImageProcessor has.
func (c *config) flattenedRule(p *Preprocessor) error {
	if orElse(c.IsVQA, false) {
		return imageErrorf("is_vqa: Pix2StructImageProcessor writes the question above the picture in a font " +
			"that is not here; only models that caption pictures are run")
	}
	if !orElse(c.DoNormalize, true) {
		return imageErrorf("Pix2StructImageProcessor without do_normalize fails on pictures of bytes")
	}
	f := flattened{side: int(orElse(c.PatchSize, 16)), most: orElse(c.MaxPatches, 2048)}
	if f.side < 1 || f.side > 1<<10 {
		return imageErrorf("patch_size is %d", f.side)
	}
	if f.most < 1 || f.most > mostPixels/(3*f.side*f.side) {
		return imageErrorf("max_patches is %d", f.most)
	}
	p.flattened, p.doPad, p.doResize = f, false, false
	return nil
}

// grid returns the columns and rows of patches of a picture of w by h pixels: as many as there may be
// in about its shape.
func (f flattened) grid(w, h int) image.Point {
	side := float64(f.side)
	scale := math.Sqrt(float64(f.most) * (side / float64(h)) * (side / float64(w)))
	feasible := func(n int) int {
		return max(min(int(math.Floor(scale*float64(n)/side)), f.most), 1)
	}
	return image.Pt(feasible(w), feasible(h))
}

// prepareFlattened is Prepare for Pix2Struct: flattened_patches [B,P,2+S*S*3], of each patch its row and
// column from 1 on and then its pixels row by row, each with its channels; those that a picture lacks
// are 0. attention_mask [B,P] float32 is 1 where a patch is.
func (p *Preprocessor) prepareFlattened(
	ctx context.Context, imgs []image.Image,
) (made media.Prepared, err error) {
	side, most := p.flattened.side, p.flattened.most
	if err := p.checkLists(len(imgs), side, most); err != nil {
		return media.Prepared{}, err
	}
	width := 2 + 3*side*side
	values, mask := make([]float32, len(imgs)*most*width), make([]float32, len(imgs)*most)
	made.Rows, made.Grids = make([][2]int, len(imgs)), make([]image.Point, len(imgs))
	err = parallel(ctx, len(imgs), func(i int) error {
		m, err := seen(imgs[i])
		if err != nil {
			return err
		}
		grid := p.flattened.grid(m.Width, m.Height)
		if grid.X > most/grid.Y {
			return imageErrorf("a picture of %dx%d pixels is at least %dx%d patches, over max_patches %d",
				m.Width, m.Height, grid.X, grid.Y, most)
		}
		made.Rows[i], made.Grids[i] = [2]int{i, i + 1}, grid
		p.flattenInto(values[i*most*width:], m, grid)
		for j := range grid.X * grid.Y {
			mask[i*most+j] = 1
		}
		return nil
	})
	if err != nil {
		return media.Prepared{}, err
	}
	made.Tensors = map[string]*tensor.Tensor{}
	made.Tensors["flattened_patches"], err = tensor.New([]int{len(imgs), most, width}, values)
	if err == nil {
		made.Tensors["attention_mask"], err = tensor.New([]int{len(imgs), most}, mask)
	}
	return made, err
}

// flattenInto writes the patches of a picture, row by row.
func (p *Preprocessor) flattenInto(dst []float32, m *RGB, grid image.Point) {
	side := p.flattened.side
	w, h := grid.X*side, grid.Y*side
	planes := standardised(m)
	var resized [3][]float32
	for c := range planes {
		resized[c] = make([]float32, w*h)
		resample.Floats(resized[c], planes[c], m.Width, m.Height, w, h, resample.Bilinear)
	}
	for row := range grid.Y {
		for column := range grid.X {
			dst[0], dst[1] = float32(row+1), float32(column+1)
			dst = dst[2:]
			for y := range side {
				at := (row*side+y)*w + column*side
				for x := range side {
					dst[0], dst[1], dst[2] = resized[0][at+x], resized[1][at+x], resized[2][at+x]
					dst = dst[3:]
				}
			}
		}
	}
}

// standardised returns the planes of a picture with mean 0 and deviation 1 over all of its samples,
// as tf.image.per_image_standardization does.
func standardised(m *RGB) (planes [3][]float32) {
	n := m.Width * m.Height
	sum, squares := 0.0, 0.0
	for y := range m.Height {
		row := m.row(y)
		for i := 0; i < len(row); i += 4 {
			for _, v := range row[i : i+3] {
				sum += float64(v)
				squares += float64(int(v) * int(v))
			}
		}
	}
	total := float64(3 * n)
	mean := float32(sum / total)
	deviation := float32(math.Sqrt(max(squares/total-sum/total*sum/total, 0)))
	deviation = max(deviation, float32(1/math.Sqrt(total)))
	for c := range planes {
		planes[c] = make([]float32, n)
		for y := range m.Height {
			row := m.row(y)
			for x := range m.Width {
				planes[c][y*m.Width+x] = (float32(row[4*x+c]) - mean) / deviation
			}
		}
	}
	return planes
}
