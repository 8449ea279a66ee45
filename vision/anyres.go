package vision

import (
	"context"
	"encoding/json"
	"image"
	"image/color"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// anyres is how LLaVA-NeXT sees: a picture as a whole, and in the middle of a black canvas of as many
// squares as suit its shape. Source: image_processing_llava_next.py, transformers 4.57.6.
type anyres struct {
	side     int           // of a square, crop_size; 0: the model is none of these
	canvases []image.Point // image_grid_pinpoints: widths and heights in pixels

	// LLaVA-OneVision sees a picture that is one of several in the middle of a square of a colour.
	amid  bool
	paint color.RGBA
}

// maxAnyresSquares bounds the squares of a canvas, far above the 4 of released models.
const maxAnyresSquares = 256

// anyresRule reads the keys that only LlavaNextImageProcessor has.
func (c *config) anyresRule(p *Preprocessor) error {
	side, crop := p.size.shortest, square(p.size.shortest)
	if p.size.height > 0 {
		side = min(p.size.height, p.size.width)
	}
	if !isNull(c.CropSize) {
		var err error
		if crop, err = parseSize("crop_size", c.CropSize, true); err != nil {
			return err
		}
	}
	if side <= 0 || crop != square(side) {
		return imageErrorf("LlavaNextImageProcessor needs a crop_size as large as its size")
	}
	return c.canvases(p, side, [][]int{{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}})
}

// canvases reads image_grid_pinpoints for squares of side pixels; pinpoints are the class's own.
func (c *config) canvases(p *Preprocessor, side int, pinpoints [][]int) error {
	if !isNull(c.Pinpoints) {
		pinpoints = nil
		if err := json.Unmarshal(c.Pinpoints, &pinpoints); err != nil {
			return imageErrorf("image_grid_pinpoints: %w", err)
		}
	}
	for _, at := range pinpoints {
		if len(at) != 2 || at[0] < side || at[1] < side || at[0]%side != 0 || at[1]%side != 0 ||
			at[0]/side > maxAnyresSquares/(at[1]/side) {
			return imageErrorf("image_grid_pinpoints has %v: no height and width of up to %d squares of %d",
				at, maxAnyresSquares, side)
		}
		p.anyres.canvases = append(p.anyres.canvases, image.Pt(at[1], at[0]))
	}
	if len(pinpoints) == 0 {
		return imageErrorf("image_grid_pinpoints is empty")
	}
	p.anyres.side = side
	p.size, p.doCrop, p.doPad = square(side), false, false
	return nil
}

// canvas returns the size that loses the least of a picture of w by h pixels; of several, the one that
// it fills best (select_best_resolution).
func (a anyres) canvas(w, h int) (best image.Point) {
	kept, unused := 0, math.MaxInt
	for _, c := range a.canvases {
		scale := min(float64(c.X)/float64(w), float64(c.Y)/float64(h))
		fits := min(int(float64(w)*scale)*int(float64(h)*scale), w*h)
		if fits > kept || fits == kept && c.X*c.Y-fits < unused {
			kept, unused, best = fits, c.X*c.Y-fits, c
		}
	}
	return best
}

// fit returns the size of a picture of w by h pixels on a canvas (get_patch_output_size).
func (a anyres) fit(w, h int, canvas image.Point) (int, int) {
	scaleW, scaleH := float64(canvas.X)/float64(w), float64(canvas.Y)/float64(h)
	if scaleW < scaleH {
		return canvas.X, min(int(math.Ceil(float64(h)*scaleW)), canvas.Y)
	}
	return min(int(math.Ceil(float64(w)*scaleH)), canvas.X), canvas.Y
}

// squares returns a picture as a whole and then the squares of its canvas, row by row, with their
// columns and rows and the picture's own size.
func (p *Preprocessor) squares(img image.Image) (list []*RGB, grid, size image.Point, err error) {
	m, err := seen(img)
	if err != nil {
		return nil, grid, size, err
	}
	size = image.Pt(m.Width, m.Height)
	side, canvas := p.anyres.side, p.anyres.canvas(m.Width, m.Height)
	if canvas == (image.Point{}) {
		return nil, grid, size, imageErrorf("a picture of %dx%d pixels fits no canvas", m.Width, m.Height)
	}
	whole, err := Resize(m, side, side, p.resample, WithLimits(p.limits))
	if err != nil {
		return nil, grid, size, err
	}
	w, h := p.anyres.fit(m.Width, m.Height, canvas)
	part, err := Resize(m, w, h, p.resample, WithLimits(p.limits))
	if err != nil {
		return nil, grid, size, err
	}
	page := NewRGB(canvas.X, canvas.Y)
	left, top := (canvas.X-w)/2, (canvas.Y-h)/2
	for y := range h {
		copy(page.row(top + y)[4*left:], part.row(y))
	}
	list, grid = append(list, whole), canvas.Div(side)
	for row := range grid.Y {
		for column := range grid.X {
			at := image.Pt(column, row).Mul(side)
			list = append(list, page.crop(image.Rectangle{at, at.Add(image.Pt(side, side))}))
		}
	}
	if p.anyres.amid {
		framed, err := p.squared(m)
		if err != nil {
			return nil, grid, size, err
		}
		list = append(list, framed)
	}
	return list, grid, size, nil
}

// prepareAnyres is Prepare for LLaVA-NeXT: pixel_values [N,3,S,S], of each picture the whole and then
// its squares (for LLaVA-OneVision also what it is among others, the last), and image_sizes [N,2] int64, the height and width of the picture that each is of.
func (p *Preprocessor) prepareAnyres(
	ctx context.Context, imgs []image.Image,
) (made media.Prepared, err error) {
	each, sizes := make([][]*RGB, len(imgs)), make([]image.Point, len(imgs))
	made.Grids = make([]image.Point, len(imgs))
	err = parallel(ctx, len(imgs), func(i int) (err error) {
		each[i], made.Grids[i], sizes[i], err = p.squares(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	var all []*RGB
	var shapes []int64
	for i, list := range each {
		made.Rows = append(made.Rows, [2]int{len(all), len(all) + len(list)})
		all = append(all, list...)
		for range list {
			shapes = append(shapes, int64(sizes[i].Y), int64(sizes[i].X))
		}
	}
	made.Tensors = map[string]*tensor.Tensor{}
	if made.Tensors["pixel_values"], err = p.Tensor(ctx, all...); err != nil {
		return media.Prepared{}, err
	}
	made.Tensors["image_sizes"], err = tensor.New([]int{len(all), 2}, shapes)
	return made, err
}
