package vision

import (
	"context"
	"image"
	"math"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// lfm2 is how LFM2-VL sees: a picture in about its own aspect, or a large one in tiles and as a
// whole, each a list of patches. Source: image_processing_lfm2_vl.py, transformers 5.24.
type lfm2 struct {
	side               int // of a patch, encoder_patch_size; 0: the model is none of these
	merge              int // downsample_factor: patches a side that become one row
	split              bool
	leastTiles, most   int // min_tiles, max_tiles
	tile               int // tile_size, a side in pixels
	whole              bool
	leastRows, mostRow int // min_image_tokens, max_image_tokens: of a picture that is not cut
	tolerance          float64
}

// lfm2Rule reads the keys that only Lfm2VlImageProcessor has.
func (c *config) lfm2Rule(p *Preprocessor) error {
	if p.doCrop || !isNull(c.PadSize) || !p.doResize {
		return imageErrorf(
			"Lfm2VlImageProcessor knows no do_center_crop and no pad_size, and resizes always")
	}
	l := lfm2{
		side: orElse(c.EncoderPatchSize, 16), merge: orElse(c.Downsample, 2), split: orElse(c.DoSplit, true),
		leastTiles: orElse(c.MinTiles, 2), most: orElse(c.MaxTiles, 10), tile: orElse(c.TileSize, 512),
		whole: orElse(c.UseThumbnail, true), leastRows: orElse(c.MinImageTokens, 64),
		mostRow: orElse(c.MaxImageTokens, 256), tolerance: orElse(c.PixelTolerance, 2),
	}
	for name, n := range map[string]int{
		"encoder_patch_size": l.side, "downsample_factor": l.merge, "min_tiles": l.leastTiles,
		"max_tiles": l.most, "min_image_tokens": l.leastRows, "max_image_tokens": l.mostRow,
	} {
		if n < 1 || n > 1<<10 {
			return imageErrorf("%s is %d", name, n)
		}
	}
	if l.tile < l.side || l.tile%(l.side*l.merge) != 0 || l.tile > defaultMaxSide {
		return imageErrorf("tile_size %d is no whole number of %d patches of %d", l.tile, l.merge, l.side)
	}
	if l.leastTiles > l.most || l.leastRows > l.mostRow {
		return imageErrorf("min_tiles and min_image_tokens are over max_tiles and max_image_tokens")
	}
	if l.patches() > mostPixels/(3*l.side*l.side) {
		return imageErrorf("a picture of %d patches of %dx%d pixels is too large", l.patches(), l.side, l.side)
	}
	p.lfm2, p.doPad, p.size = l, false, sizeRule{height: l.tile, width: l.tile}
	return nil
}

// patches is the length to which lists of patches are padded.
func (l *lfm2) patches() int {
	n := l.mostRow * l.merge * l.merge
	if l.split {
		n = max(n, (l.tile/l.side)*(l.tile/l.side))
	}
	return n
}

// cells returns the patches that merge of a side of so many pixels, to the nearest; ties go to the
// even number.
func (l *lfm2) cells(pixels int) float64 {
	return math.RoundToEven(float64(pixels) / float64(l.side*l.merge))
}

// fit returns the size of a picture as a whole: whole numbers of patches that merge, within the
// limits of rows (smart_resize).
func (l *lfm2) fit(w, h int) (int, int) {
	factor := float64(l.side * l.merge)
	least, most := float64(l.leastRows)*factor*factor, float64(l.mostRow)*factor*factor
	area := float64(int64(w) * int64(h))
	fitW, fitH := max(factor, l.cells(w)*factor), max(factor, l.cells(h)*factor)
	switch {
	case fitW*fitH > most:
		beta := math.Sqrt(area / most)
		fitW = max(factor, math.Floor(float64(w)/beta/factor)*factor)
		fitH = max(factor, math.Floor(float64(h)/beta/factor)*factor)
	case fitW*fitH < least:
		beta := math.Sqrt(least / area)
		fitW = math.Ceil(float64(w)*beta/factor) * factor
		fitH = math.Ceil(float64(h)*beta/factor) * factor
	}
	return int(fitW), int(fitH)
}

// grid returns the columns and rows of tiles of a picture; zero where it is seen as one.
func (l *lfm2) grid(w, h int) image.Point {
	factor := float64(l.side * l.merge)
	side := func(n int) float64 { return max(float64(l.side), l.cells(n)*factor) }
	large := side(w)*side(h) > float64(l.mostRow)*factor*factor*l.tolerance
	if !large || !l.split || l.leastTiles == 1 && l.most == 1 {
		return image.Point{}
	}
	var grids []image.Point
	for columns := 1; columns <= l.most; columns++ {
		for rows := 1; rows*columns <= l.most; rows++ {
			if rows*columns >= l.leastTiles {
				grids = append(grids, image.Pt(columns, rows))
			}
		}
	}
	// Fewer tiles come first. Of equally near grids the last wins that the picture fills by half.
	slices.SortStableFunc(grids, func(a, b image.Point) int { return a.X*a.Y - b.X*b.Y })
	best, nearest := image.Pt(1, 1), math.Inf(1)
	aspect, area := float64(w)/float64(h), float64(int64(w)*int64(h))
	for _, g := range grids {
		off := math.Abs(aspect - float64(g.X)/float64(g.Y))
		tiles := float64(l.tile*l.tile) * float64(g.X*g.Y)
		if off < nearest || off == nearest && area > 0.5*tiles {
			best, nearest = g, off
		}
	}
	return best
}

// cutLFM2 returns the tiles of a picture, row by row, and the picture as a whole.
func (p *Preprocessor) cutLFM2(img image.Image) (tiles []*RGB, grid image.Point, err error) {
	m, err := seen(img)
	if err != nil {
		return nil, grid, err
	}
	side := p.lfm2.tile
	grid = p.lfm2.grid(m.Width, m.Height)
	if grid != (image.Point{}) {
		large, err := Resize(m, grid.X*side, grid.Y*side, p.resample, WithLimits(p.limits))
		if err != nil {
			return nil, grid, err
		}
		for row := range grid.Y {
			for column := range grid.X {
				at := image.Pt(column*side, row*side)
				tiles = append(tiles, large.crop(image.Rectangle{at, at.Add(image.Pt(side, side))}))
			}
		}
		if !p.lfm2.whole || len(tiles) == 1 {
			return tiles, grid, nil
		}
	}
	w, h := p.lfm2.fit(m.Width, m.Height)
	if w/p.lfm2.side > p.lfm2.patches()/(h/p.lfm2.side) {
		return nil, grid, imageErrorf("a picture of %dx%d pixels becomes one of %dx%d: over %d patches",
			m.Width, m.Height, w, h, p.lfm2.patches())
	}
	if w != m.Width || h != m.Height {
		if m, err = Resize(m, w, h, p.resample, WithLimits(p.limits)); err != nil {
			return nil, grid, err
		}
	}
	return append(tiles, m), grid, nil
}

// prepareLFM2 returns pixel_values [N,P,S*S*3] of the tiles of all pictures, those patches that a
// tile lacks being 0, pixel_attention_mask [N,P] int64, and spatial_shapes [N,2] int64, the rows
// and columns of patches. Grids has the columns and rows of tiles.
func (p *Preprocessor) prepareLFM2(
	ctx context.Context, imgs []image.Image,
) (media.Prepared, error) {
	each := make([][]*RGB, len(imgs))
	grids := make([]image.Point, len(imgs))
	err := parallel(ctx, len(imgs), func(i int) (err error) {
		each[i], grids[i], err = p.cutLFM2(imgs[i])
		return err
	})
	if err != nil {
		return media.Prepared{}, err
	}
	tiles := slices.Concat(each...)
	prepared, err := p.patchLists(ctx, tiles, p.lfm2.side, p.lfm2.patches())
	if err != nil {
		return media.Prepared{}, err
	}
	prepared.Rows, prepared.Grids = nil, grids
	at := 0
	for _, list := range each {
		prepared.Rows = append(prepared.Rows, [2]int{at, at + len(list)})
		at += len(list)
	}
	return prepared, nil
}

// patchLists cuts pictures, each whole patches of side pixels, into lists of so many.
func (p *Preprocessor) patchLists(
	ctx context.Context, pictures []*RGB, side, most int,
) (media.Prepared, error) {
	width := 3 * side * side
	if err := p.checkLists(len(pictures), side, most); err != nil {
		return media.Prepared{}, err
	}
	values := make([]float32, len(pictures)*most*width)
	mask := make([]int64, len(pictures)*most)
	shapes := make([]int64, 2*len(pictures))
	err := parallel(ctx, len(pictures), func(i int) error {
		m := pictures[i]
		rows, columns := m.Height/side, m.Width/side
		p.rowsOfPatches(values[i*most*width:], m, side)
		for k := range rows * columns {
			mask[i*most+k] = 1
		}
		shapes[2*i], shapes[2*i+1] = int64(rows), int64(columns)
		return nil
	})
	if err != nil {
		return media.Prepared{}, err
	}
	prepared := media.Prepared{Tensors: map[string]*tensor.Tensor{}}
	add := func(name string, t *tensor.Tensor, failed error) {
		if prepared.Tensors[name] = t; err == nil {
			err = failed
		}
	}
	t, failed := tensor.New([]int{len(pictures), most, width}, values)
	add("pixel_values", t, failed)
	t, failed = tensor.New([]int{len(pictures), most}, mask)
	add("pixel_attention_mask", t, failed)
	t, failed = tensor.New([]int{len(pictures), 2}, shapes)
	add("spatial_shapes", t, failed)
	return prepared, err
}

// checkLists refuses more lists of so many patches than the limits allow.
func (p *Preprocessor) checkLists(lists, side, most int) error {
	if lists == 0 {
		return imageErrorf("no picture to preprocess")
	}
	limit := p.limits.withDefaults().Pixels
	if lists > min(limit/(side*side), mostPixels/(3*side*side))/most {
		return limitErrorf("Pixels", "%d pictures of up to %d patches of %dx%d pixels are over %d in all",
			lists, most, side, side, limit)
	}
	return nil
}
