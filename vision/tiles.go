package vision

import (
	"context"
	"image"
	"image/color"
	"math"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// tiling is how Idefics3's kind of model sees: in squares of side pixels, each as large as what the
// vision encoder takes.
type tiling struct {
	side    int  // max_image_size.longest_edge; 0: the model has no tiles
	longest int  // size.longest_edge, to which a picture is resized first
	split   bool // do_image_splitting: cut the picture into squares, and add it as a whole
}

// maxTiledSide is what Idefics3ImageProcessor resizes to at most, MAX_IMAGE_SIZE.
const maxTiledSide = 4096

// tiling reads the keys that only Idefics3ImageProcessor and SmolVLMImageProcessor have.
func (c *config) tiling(p *Preprocessor) error {
	if p.doCrop || !isNull(c.PadSize) {
		return imageErrorf("Idefics3ImageProcessor knows no do_center_crop and no pad_size")
	}
	if p.doResize && p.size.longest == 0 || p.size.shortest != 0 {
		return imageErrorf("Idefics3ImageProcessor needs size.longest_edge")
	}
	side := sizeRule{longest: 364}
	if !isNull(c.MaxImageSize) {
		var err error
		if side, err = parseSize("max_image_size", c.MaxImageSize, true); err != nil {
			return err
		}
	}
	if side.longest == 0 || side.shortest != 0 {
		return imageErrorf("Idefics3ImageProcessor needs max_image_size.longest_edge")
	}
	p.tiles = tiling{side: side.longest, longest: p.size.longest, split: orElse(c.DoSplit, true)}
	p.size, p.doPad = square(side.longest), false // the whole picture is one square
	p.onWhite = orElse(c.DoConvertRGB, true)
	return nil
}

// cut returns the squares of a picture, row by row, and the columns and rows that they make; then
// the picture as a whole, which is all there is, with no columns and rows, where it is small or
// pictures are not split. Source: preprocess of image_processing_idefics3.py, transformers 4.57.6.
// Transparent pixels are blended with white before resizing, not after it.
func (p *Preprocessor) cut(img image.Image) (squares []*RGB, grid image.Point, err error) {
	m, err := seen(img)
	if err != nil {
		return nil, grid, err
	}
	if p.onWhite {
		m = m.On(color.RGBA{255, 255, 255, 255})
	}
	resize := func(w, h int) {
		if err == nil && (w != m.Width || h != m.Height) {
			m, err = Resize(m, w, h, p.resample, WithLimits(p.limits))
		}
	}
	side := p.tiles.side
	if p.doResize {
		resize(p.tiles.fit(m.Width, m.Height))
	}
	if !p.tiles.split {
		resize(side, side)
		return []*RGB{m}, grid, err
	}
	resize(p.tiles.whole(m.Width, m.Height))
	if err != nil {
		return nil, grid, err
	}
	if m.Width == side && m.Height == side {
		return []*RGB{m}, grid, nil
	}
	grid = image.Pt(m.Width/side, m.Height/side)
	for row := range grid.Y {
		for column := range grid.X {
			at := image.Pt(column*side, row*side)
			squares = append(squares, m.crop(image.Rectangle{at, at.Add(image.Pt(side, side))}))
		}
	}
	resize(side, side)
	return append(squares, m), grid, err
}

// cutAll cuts pictures into squares. Those of picture i are from rows[i][0] up to but not including
// rows[i][1].
func (p *Preprocessor) cutAll(
	ctx context.Context, imgs []image.Image,
) (squares []*RGB, rows [][2]int, grids []image.Point, err error) {
	each := make([][]*RGB, len(imgs))
	grids = make([]image.Point, len(imgs))
	err = parallel(ctx, len(imgs), func(i int) (err error) {
		each[i], grids[i], err = p.cut(imgs[i])
		return err
	})
	if err != nil {
		return nil, nil, nil, err
	}
	for _, list := range each {
		rows = append(rows, [2]int{len(squares), len(squares) + len(list)})
		squares = append(squares, list...)
	}
	return squares, rows, grids, nil
}

// prepareTiles is Prepare for a model that sees squares: pixel_values [N,3,S,S] of the squares of
// all pictures, and pixel_attention_mask [N,S,S] bool, in which every pixel counts.
func (p *Preprocessor) prepareTiles(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	squares, rows, grids, err := p.cutAll(ctx, imgs)
	if err != nil {
		return media.Prepared{}, err
	}
	pixels, err := p.Tensor(ctx, squares...)
	if err != nil {
		return media.Prepared{}, err
	}
	side := p.tiles.side
	seen := make([]bool, len(squares)*side*side)
	for i := range seen {
		seen[i] = true
	}
	mask, err := tensor.New([]int{len(squares), side, side}, seen)
	if err != nil {
		return media.Prepared{}, err
	}
	return media.Prepared{
		Tensors: map[string]*tensor.Tensor{"pixel_values": pixels, "pixel_attention_mask": mask},
		Rows:    rows, Grids: grids,
	}, nil
}

// fit returns the size at which the longer side is longest, or maxTiledSide if that is less; the
// other is even (get_resize_output_image_size).
func (t tiling) fit(w, h int) (int, int) {
	even := func(n int) int { return max(n+n%2, 1) }
	aspect := float64(w) / float64(h)
	if w >= h {
		w, h = t.longest, even(int(float64(t.longest)/aspect))
	} else {
		w, h = even(int(float64(t.longest)*aspect)), t.longest
	}
	aspect = float64(w) / float64(h)
	switch {
	case w >= h && w > maxTiledSide:
		w, h = maxTiledSide, int(maxTiledSide/aspect)
	case h > w && h > maxTiledSide:
		w, h = int(maxTiledSide*aspect), maxTiledSide
	}
	return max(w, 1), max(h, 1)
}

// whole returns the size at which both sides are whole numbers of squares
// (resize_for_vision_encoder).
func (t tiling) whole(w, h int) (int, int) {
	up := func(n int) int { return int(math.Ceil(float64(n)/float64(t.side))) * t.side }
	aspect := float64(w) / float64(h)
	if w >= h {
		w = up(w)
		return w, up(int(float64(w) / aspect))
	}
	h = up(h)
	return up(int(float64(h) * aspect)), h
}
