package vision

import (
	"context"
	"image"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// canvas is how Mllama sees: a picture in its own aspect at the top left of a canvas of whole tiles,
// which is black where the picture does not reach. Source: image_processing_mllama.py, transformers
// 4.57.6.
type canvas struct {
	side int // of a tile, size.height and size.width; 0: the model is none of these
	most int // tiles of a picture, max_image_tiles
}

// maxCanvasTiles bounds max_image_tiles, far above the 4 of released models.
const maxCanvasTiles = 256

// canvasRule reads the keys that only MllamaImageProcessor has.
func (c *config) canvasRule(p *Preprocessor) error {
	switch {
	case p.doCrop || !isNull(c.PadSize):
		return imageErrorf("MllamaImageProcessor knows no do_center_crop and no pad_size")
	case !p.doResize || !orElse(c.DoPad, true):
		return imageErrorf("MllamaImageProcessor always resizes and pads")
	case p.size.height <= 0 || p.size.height != p.size.width:
		return imageErrorf("MllamaImageProcessor needs size.height and an equal size.width")
	}
	p.canvas = canvas{side: p.size.height, most: orElse(c.MaxImageTiles, 4)}
	if p.canvas.most < 1 || p.canvas.most > maxCanvasTiles {
		return imageErrorf("max_image_tiles is %d, not 1 to %d", p.canvas.most, maxCanvasTiles)
	}
	p.doPad, p.onWhite = false, orElse(c.DoConvertRGB, true)
	return nil
}

// arrangements lists the rows (Y) and columns (X) that tiles can make; the place of one, from 1 on, is
// its id (get_all_supported_aspect_ratios).
func (c canvas) arrangements() (list []image.Point) {
	for rows := 1; rows <= c.most; rows++ {
		for columns := 1; rows*columns <= c.most; columns++ {
			list = append(list, image.Pt(columns, rows))
		}
	}
	return list
}

// tiles returns the columns and rows of the canvas for a picture of w by h pixels: the one that
// enlarges it least or, where all are smaller than the picture, shrinks it least; of several, the
// first of the smallest (get_optimal_tiled_canvas).
func (c canvas) tiles(w, h int) (best image.Point) {
	selected := 0.0
	for _, t := range c.arrangements() {
		scale := min(float64(t.Y*c.side)/float64(h), float64(t.X*c.side)/float64(w))
		better := scale < selected
		if selected < 1 {
			better = scale > selected
		} else if scale < 1 {
			better = false
		}
		if better || scale == selected && t.X*t.Y < best.X*best.Y {
			selected, best = scale, t
		}
	}
	return best
}

// fit returns the size of a picture of w by h pixels on a canvas of so many tiles: neither side
// is larger than the canvas, nor is the picture enlarged beyond a tile
// (get_image_size_fit_to_canvas).
func (c canvas) fit(w, h int, tiles image.Point) (int, int) {
	mostW := min(max(w, c.side), tiles.X*c.side)
	mostH := min(max(h, c.side), tiles.Y*c.side)
	scaleW, scaleH := float64(mostW)/float64(w), float64(mostH)/float64(h)
	if scaleW < scaleH {
		return mostW, min(max(int(math.Floor(float64(h)*scaleW)), 1), mostH)
	}
	return min(max(int(math.Floor(float64(w)*scaleH)), 1), mostW), mostH
}

// prepareCanvas is Prepare for a model that sees a canvas: pixel_values [B,T,3,S,S] of T tiles, those
// that a picture lacks being 0, aspect_ratio_ids [B] int64, the number of the arrangement, and
// aspect_ratio_mask [B,T] int64, 1 where a tile is.
func (p *Preprocessor) prepareCanvas(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	side, most := p.canvas.side, p.canvas.most
	if len(imgs) == 0 {
		return media.Prepared{}, imageErrorf("no picture to preprocess")
	}
	limit := min(p.limits.withDefaults().Pixels, mostPixels/3)
	if len(imgs) > limit/(side*side)/most {
		return media.Prepared{}, limitErrorf("Pixels",
			"%d pictures of up to %d tiles of %dx%d pixels are over %d in all",
			len(imgs), most, side, side, limit)
	}
	size := 3 * side * side
	values := make([]float32, len(imgs)*most*size)
	ids, mask := make([]int64, len(imgs)), make([]int64, len(imgs)*most)
	made := media.Prepared{Rows: make([][2]int, len(imgs)), Grids: make([]image.Point, len(imgs))}
	err := parallel(ctx, len(imgs), func(i int) error {
		m, err := p.Picture(imgs[i])
		if err != nil {
			return err
		}
		grid := image.Pt(m.Width/side, m.Height/side)
		made.Rows[i], made.Grids[i] = [2]int{i, i + 1}, grid
		for at, t := range p.canvas.arrangements() {
			if t == grid {
				ids[i] = int64(at + 1)
			}
		}
		for tile := range grid.X * grid.Y {
			at := image.Pt(tile%grid.X, tile/grid.X).Mul(side)
			part := m.crop(image.Rectangle{at, at.Add(image.Pt(side, side))})
			p.planes(values[(i*most+tile)*size:][:size], part, side, side)
			mask[i*most+tile] = 1
		}
		return nil
	})
	if err != nil {
		return media.Prepared{}, err
	}
	made.Tensors = map[string]*tensor.Tensor{}
	made.Tensors["pixel_values"], err = tensor.New([]int{len(imgs), most, 3, side, side}, values)
	if err == nil {
		made.Tensors["aspect_ratio_ids"], err = tensor.New([]int{len(imgs)}, ids)
	}
	if err == nil {
		made.Tensors["aspect_ratio_mask"], err = tensor.New([]int{len(imgs), most}, mask)
	}
	return made, err
}
