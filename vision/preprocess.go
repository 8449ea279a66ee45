package vision

import (
	"context"
	"image"
	"image/color"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/crossattn/xpipe/tensor"
)

// Preprocessor turns pictures into the input of one model. ParseConfig makes one. It is never
// changed and may be used by many goroutines at once.
type Preprocessor struct {
	limits    Limits
	doResize  bool
	size      sizeRule
	divisor   int     // BridgeTower, ViLT: of both sides; else 0
	masks     bool    // ViLT: pixel_mask beside the pixels
	cropPct   float64 // ConvNext: the share of the picture that is kept; else 0
	resample  Filter
	doCrop    bool
	cropSize  sizeRule
	doPad     bool
	padSize   sizeRule // zero: the largest of the batch
	onWhite   bool     // blend transparent pixels with white
	table     [3][256]float32
	tiles     tiling
	patches   patching
	naflex    naflex
	lfm2      lfm2
	pixtral   pixtral
	crops     int // num_crops of Phi-3-vision; else 0
	canvas    canvas
	anyres    anyres
	janus     janus
	quartered quartered
	flattened flattened
	torch     *torchRule // the transforms of open_clip and timm; nil: those of transformers
	ops       operations

	// Donut's pictures are laid on a page.
	page        sizeRule // its height and width
	doAlign     bool     // turn pictures whose longer side is not the page's
	doThumbnail bool     // make what is larger than the page fit
	// plainThumbnail makes it fit with the filter of all else, as transformers 5 does: 4.57 takes a bicubic
	// one, and reduces by whole factors before it.
	plainThumbnail bool
	padPage        bool // put the picture in the middle of a black page
}

// sizeRule is a size as configurations give it: height and width, or the shorter edge, the longer
// edge, or both. Zero fields are not given.
type sizeRule struct{ height, width, shortest, longest int }

// fit returns the size to which a picture of w by h pixels is resized.
func (s sizeRule) fit(w, h int) (int, int) {
	short, long := min(w, h), max(w, h)
	switch {
	case s.height > 0:
		return s.width, s.height
	case s.longest == 0: // get_resize_output_image_size of transformers
		l := int(float64(int64(s.shortest)*int64(long)) / float64(short))
		if w <= h {
			return s.shortest, l
		}
		return l, s.shortest
	case s.shortest == 0: // SamImageProcessor: round half up
		scale := float64(s.longest) / float64(long)
		return max(int(float64(float64(w)*scale)+0.5), 1), max(int(float64(float64(h)*scale)+0.5), 1)
	}
	// get_size_with_aspect_ratio of DETR: the shorter edge, unless the longer one would pass its
	// limit.
	size, raw := s.shortest, float64(s.shortest)
	if float64(long)/float64(short)*raw > float64(s.longest) {
		raw = float64(int64(s.longest)*int64(short)) / float64(long)
		size = int(math.RoundToEven(raw))
	}
	if short == size {
		return w, h
	}
	if w < h {
		return max(size, 1), int(raw * float64(h) / float64(w))
	}
	return int(raw * float64(w) / float64(h)), max(size, 1)
}

// thumbnail returns the size that DonutImageProcessor.thumbnail makes of w by h pixels to fit into
// a page. It shares the reference's faults: a square larger than the page takes the page's shape,
// and a picture larger than the page in both ways may still be too wide or too high.
func (s sizeRule) thumbnail(w, h int) (int, int) {
	width, height := min(w, s.width), min(h, s.height)
	switch {
	case width == w && height == h:
	case h > w:
		width = int(float64(int64(w)*int64(height)) / float64(h))
	case w > h:
		height = int(float64(int64(h)*int64(width)) / float64(w))
	}
	return width, height
}

// maxResized bounds the sides of a picture of which a crop keeps only a window.
const maxResized = 1 << 30

// layout says how a picture becomes the model's: resized to w by h, of which win is kept, put at
// offset into a black picture of size out. For Donut it may be turned clockwise before that, and
// what the thumbnail makes smaller is resized to whole first.
type layout struct {
	turn   bool
	whole  image.Point // zero: straight to w by h
	w, h   int
	win    image.Rectangle
	offset image.Point
	out    image.Point
}

func (p *Preprocessor) layout(w, h int) (l layout) {
	page := p.page
	if p.doAlign && (page.width < page.height && w > h || page.width > page.height && w < h) {
		l.turn = true
		w, h = h, w
	}
	crop, doCrop := p.cropSize, p.doCrop
	if t := p.patches; t.side > 0 && p.doResize {
		if fitW, fitH, err := t.fit(w, h); err == nil {
			w, h = fitW, fitH
		}
	} else if p.naflex.side > 0 && p.doResize {
		w, h = p.naflex.fit(w, h)
	} else if p.pixtral.side > 0 {
		w, h = p.pixtral.fit(w, h)
	} else if p.canvas.side > 0 {
		tiles := p.canvas.tiles(w, h)
		w, h = p.canvas.fit(w, h, tiles)
		side := p.canvas.side
		return layout{w: w, h: h, win: image.Rect(0, 0, w, h), out: tiles.Mul(side)}
	} else if p.janus.side > 0 {
		return p.janus.layout(w, h)
	} else if p.torch != nil {
		w, h = p.torch.fit(w, h)
	} else if p.doResize {
		rule := p.size
		if p.cropPct > 0 { // ConvNext
			if s := rule.shortest; s < 384 {
				rule = sizeRule{shortest: int(float64(s) / p.cropPct)}
				crop, doCrop = square(s), true
			} else {
				rule = square(s)
			}
		}
		if p.divisor > 0 {
			w, h = fitDivided(w, h, rule.shortest, p.divisor)
		} else {
			w, h = rule.fit(w, h)
		}
	}
	if p.doThumbnail {
		if tw, th := page.thumbnail(w, h); tw != w || th != h {
			l.whole = image.Pt(w, h)
			w, h = tw, th
		}
	}
	l.w, l.h, l.win, l.out = w, h, image.Rect(0, 0, w, h), image.Pt(w, h)
	if p.padPage {
		l.out = image.Pt(page.width, page.height)
		l.offset = l.out.Sub(image.Pt(w, h)).Div(2)
	}
	if doCrop {
		l.out = image.Pt(crop.width, crop.height)
		middle := centre
		if p.torch != nil {
			middle = p.torch.centre
		}
		l.win.Min.X, l.win.Max.X, l.offset.X = middle(w, crop.width)
		l.win.Min.Y, l.win.Max.Y, l.offset.Y = middle(h, crop.height)
	}
	return l
}

// centre crops or pads one axis of n pixels to size as center_crop of transformers does: pixels lo
// to hi are kept and start at offset.
func centre(n, size int) (lo, hi, offset int) {
	if size <= n {
		lo = (n - size) / 2
		return lo, lo + size, 0
	}
	return 0, n, (size - n + 1) / 2
}

// Seen returns the part of a picture of width by height pixels that the model sees: all of it where
// it is stretched, the middle where a crop cuts the edges off. Where a crop or Donut's page pads,
// it reaches beyond 0 to 1. Padding at the right and bottom that evens out a batch does not count.
// The region is one of the picture as it is given, also where the model sees it turned (see Turn):
// the left edge of the model's input is then the region's lower edge.
func (p *Preprocessor) Seen(width, height int) Region {
	if width <= 0 || height <= 0 {
		return Region{0, 0, 1, 1}
	}
	l := p.layout(width, height)
	w, h := float32(max(l.w, 1)), float32(max(l.h, 1))
	x, y := float32(l.win.Min.X-l.offset.X), float32(l.win.Min.Y-l.offset.Y)
	r := Region{x / w, y / h, (x + float32(l.out.X)) / w, (y + float32(l.out.Y)) / h}
	if l.turn {
		r = Region{r[1], 1 - r[2], r[3], 1 - r[0]}
	}
	return r
}

// Turn returns img with its sides where they are in the model's input: turned clockwise where
// do_align_long_axis says so, else img itself. What lies on a grid of the model's input, such as a
// map of attention, lies on Seen of the picture returned. Preprocess makes the same of both.
func (p *Preprocessor) Turn(img image.Image) image.Image {
	if b := boundsOf(img); p.layout(max(b.Dx(), 1), max(b.Dy(), 1)).turn {
		return turnClockwise(FromImage(img))
	}
	return img
}

// turnClockwise turns by a quarter: 6 is the number that Exif has for it.
func turnClockwise(m *RGB) *RGB { return orient(m, 6) }

// Picture returns what the model will see, before its samples are rescaled to numbers: turned, if
// do_align_long_axis says so, resized, cropped and, where a crop or Donut's page is larger than the
// picture, padded.
func (p *Preprocessor) Picture(img image.Image) (*RGB, error) {
	m := new(RGB)
	if err := p.pictureInto(m, img); err != nil {
		return nil, err
	}
	return m, nil
}

// pictureInto is Picture into dst, whose memory is used if it is enough.
func (p *Preprocessor) pictureInto(dst *RGB, img image.Image) error {
	m, err := seen(img)
	if err != nil {
		return err
	}
	if p.onWhite {
		m = m.On(color.RGBA{255, 255, 255, 255})
	}
	l := p.layout(m.Width, m.Height)
	if err := p.limits.withDefaults().checkSize(l.out.X, l.out.Y); err != nil {
		return err
	}
	if l.w <= 0 || l.h <= 0 || l.w > maxResized || l.h > maxResized {
		return limitErrorf("Pixels", "a picture of %dx%d pixels would be resized to %dx%d",
			m.Width, m.Height, l.w, l.h)
	}
	if l.win.Dx() > l.out.X || l.win.Dy() > l.out.Y {
		return imageErrorf("a picture of %dx%d pixels becomes one of %dx%d, too large to be padded "+
			"to %dx%d", m.Width, m.Height, l.w, l.h, l.out.X, l.out.Y)
	}
	if l.turn {
		m = turnClockwise(m)
	}
	dst.reshape(l.out.X, l.out.Y)
	if l.win.Size() == l.out {
		return p.scaleInto(dst, m, l)
	}
	part := newRGB(l.win.Dx(), l.win.Dy())
	if err := p.scaleInto(part, m, l); err != nil {
		return err
	}
	fill := p.janus.fill // black of others
	if p.torch != nil {
		fill = p.torch.fill
	}
	for y := range dst.Height {
		row := dst.row(y)
		for i := 0; i < len(row); i += 4 {
			put(row[i:], fill[0], fill[1], fill[2], 255)
		}
	}
	for y := range part.Height {
		copy(dst.row(l.offset.Y + y)[4*l.offset.X:], part.row(y))
	}
	return nil
}

// scaleInto computes the part l.win of m resized as l says, into dst, which has the size of that
// part.
func (p *Preprocessor) scaleInto(dst, m *RGB, l layout) error {
	if l.whole == (image.Point{}) {
		return resizeInto(dst, m, l.w, l.h, p.resample, l.win)
	}
	if l.whole != m.Bounds().Size() {
		whole, err := Resize(m, l.whole.X, l.whole.Y, p.resample, WithLimits(p.limits))
		if err != nil {
			return err
		}
		m = whole
	}
	if p.plainThumbnail {
		return resizeInto(dst, m, l.w, l.h, p.resample, l.win)
	}
	shrinkInto(dst, m)
	return nil
}

// reshape makes m a picture of w by h pixels of any content, in the memory that it has if that is
// enough.
func (m *RGB) reshape(w, h int) {
	if n := 4 * w * h; cap(m.Pix) < n {
		m.Pix = make([]uint8, n)
	} else {
		m.Pix = m.Pix[:n]
	}
	m.Stride, m.Width, m.Height, m.Alpha = 4*w, w, h, nil
}

// pictures keeps memory of pictures between the steps of Preprocess.
var pictures = sync.Pool{New: func() any { return new(RGB) }}

// Preprocess returns the model input [B,3,H,W] float32 for a batch of pictures, equal to the slow
// image processor of transformers 4.57.6 to 1e-6. Pictures are worked on by all cores. The error
// wraps ErrImage, ErrLimit or ctx.Err(); a batch whose pictures end in different sizes is an
// ErrImage.
//
// One thing is not as in transformers: a picture 1 or 3 pixels high, which it takes for a stack of
// planes, is treated like every other.
func (p *Preprocessor) Preprocess(
	ctx context.Context, imgs ...image.Image,
) (*tensor.Tensor, error) {
	if prepare := p.ownWay(); prepare != nil {
		prepared, err := prepare(ctx, imgs)
		return prepared.Tensors["pixel_values"], err
	}
	batch := make([]*RGB, len(imgs))
	for i := range batch {
		batch[i] = pictures.Get().(*RGB)
		defer pictures.Put(batch[i])
	}
	err := parallel(ctx, len(imgs), func(i int) error { return p.pictureInto(batch[i], imgs[i]) })
	if err != nil {
		return nil, err
	}
	return p.Tensor(ctx, batch...)
}

// Tensor does the rest of Preprocess for pictures made by Picture: samples to numbers, [B,3,H,W].
func (p *Preprocessor) Tensor(ctx context.Context, pictures ...*RGB) (*tensor.Tensor, error) {
	if len(pictures) == 0 {
		return nil, imageErrorf("no picture to preprocess")
	}
	w, h := pictures[0].Width, pictures[0].Height
	for i, m := range pictures {
		if p.doPad {
			w, h = max(w, m.Width), max(h, m.Height)
		} else if m.Width != w || m.Height != h {
			return nil, imageErrorf("picture %d comes out as %dx%d and the first as %dx%d: "+
				"give them one at a time", i+1, m.Width, m.Height, w, h)
		}
	}
	if p.padSize.width > 0 {
		if w > p.padSize.width || h > p.padSize.height {
			return nil, imageErrorf("a picture of %dx%d does not fit pad_size %dx%d",
				w, h, p.padSize.width, p.padSize.height)
		}
		w, h = p.padSize.width, p.padSize.height
	}
	limits := p.limits.withDefaults()
	if err := limits.checkSize(w, h); err != nil {
		return nil, err
	}
	if most := min(limits.Pixels, mostPixels/3); len(pictures) > most/(w*h) {
		return nil, limitErrorf("Pixels", "a batch of %d pictures of %dx%d pixels is over %d in all",
			len(pictures), w, h, most)
	}
	data := make([]float32, len(pictures)*3*w*h)
	err := parallel(ctx, len(pictures), func(i int) error {
		p.planes(data[i*3*w*h:(i+1)*3*w*h], pictures[i], w, h)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tensor.New([]int{len(pictures), 3, h, w}, data)
}

// planes writes m into the top left of three planes of w by h.
func (p *Preprocessor) planes(dst []float32, m *RGB, w, h int) {
	n := w * h
	for y := range m.Height {
		r, g, b := dst[y*w:][:m.Width], dst[n+y*w:][:m.Width], dst[2*n+y*w:][:m.Width]
		row := m.row(y)
		for x := range r {
			px := row[4*x : 4*x+4]
			r[x], g[x], b[x] = p.table[0][px[0]], p.table[1][px[1]], p.table[2][px[2]]
		}
	}
}

// parallel calls f for 0..n-1 on all cores. It returns the first error or ctx's, after every call
// has returned.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	if n == 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f(0)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(i)
		})
	}
	return g.Wait()
}
