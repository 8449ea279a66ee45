package vision

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"errors"
	"image"
	"io"
)

func isGIF(data []byte) bool {
	return bytes.HasPrefix(data, []byte("GIF87a")) || bytes.HasPrefix(data, []byte("GIF89a"))
}

// sizeGIF is the size of the first frame's canvas: the screen, or more where the frame reaches over
// its edge.
func sizeGIF(data []byte) (w, h int, err error) {
	g, err := newGIF(data)
	if err != nil {
		return 0, 0, err
	}
	f, err := g.nextFrame()
	if err != nil {
		return 0, 0, gifEnd(err)
	}
	return max(g.w, f.rect.Max.X), max(g.h, f.rect.Max.Y), nil
}

func decodeGIF(data []byte, o *options) (*RGB, int, error) {
	g, err := newGIF(data)
	if err != nil {
		return nil, 0, err
	}
	m, err := g.next(o)
	if err != nil {
		return nil, 0, gifEnd(err)
	}
	return m, 1, nil
}

func gifEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return imageErrorf("has no frame")
	}
	return err
}

// palette maps indices to pixels with alpha.
type palette [256][4]uint8

func greyPalette() *palette {
	p := new(palette)
	for i := range p {
		v := uint8(i)
		p[i] = [4]uint8{v, v, v, 255}
	}
	return p
}

// gifReader goes through the frames of a GIF and puts each on the canvas, in the way of Pillow's
// GifImagePlugin with its default loading strategy.
type gifReader struct {
	data       []byte
	pos        int
	w, h       int
	global     *palette // nil: none
	entries    int      // of global that the file has
	background int

	frames   int
	canvas   []uint8 // R G B A, w*h
	disposal int     // a frame that gives none keeps the one before
	dispose  func()  // what is to be done before the next frame; nil: nothing
}

// gifFrame is an image descriptor with what came before it.
type gifFrame struct {
	rect      image.Rectangle
	colors    *palette
	entries   int // of colors that the file has
	clear     int // the index that is transparent; -1: none
	disposal  int // 0: not given
	interlace bool
	litWidth  int
	data      []byte // after the code size: blocks up to an empty one
}

func newGIF(data []byte) (*gifReader, error) {
	if len(data) < 13 {
		return nil, errTruncated
	}
	g := &gifReader{data: data, pos: 13}
	g.w, g.h = int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:]))
	if flags := data[10]; flags&0x80 != 0 {
		g.background = int(data[11])
		p, n, err := g.readPalette(flags)
		if err != nil {
			return nil, err
		}
		g.global, g.entries = p, n
	}
	return g, nil
}

// take returns the next n bytes.
func (g *gifReader) take(n int) ([]byte, error) {
	if len(g.data)-g.pos < n {
		return nil, errTruncated
	}
	g.pos += n
	return g.data[g.pos-n : g.pos], nil
}

// readPalette returns a palette and how many entries of it the file has.
func (g *gifReader) readPalette(flags uint8) (*palette, int, error) {
	n := 2 << (flags & 7)
	b, err := g.take(3 * n)
	if err != nil {
		return nil, 0, err
	}
	// Beyond the entries that a file has lies black, unless its palette says what greys would be
	// without one: then Pillow drops it.
	p, grey := new(palette), true
	for i := range p {
		p[i][3] = 255
		if i < n {
			p[i] = [4]uint8{b[3*i], b[3*i+1], b[3*i+2], 255}
			v := uint8(i)
			grey = grey && p[i] == [4]uint8{v, v, v, 255}
		}
	}
	if grey {
		return greyPalette(), 256, nil
	}
	return p, n, nil
}

// blocks returns the sub-blocks from here to their end, sizes included.
func (g *gifReader) blocks() ([]byte, error) {
	start := g.pos
	for {
		n, err := g.take(1)
		if err != nil {
			return nil, err
		}
		if n[0] == 0 {
			return g.data[start:g.pos], nil
		}
		if _, err := g.take(int(n[0])); err != nil {
			return nil, err
		}
	}
}

// nextFrame reads up to the end of the next frame's data without decoding it. It returns io.EOF
// after the last.
func (g *gifReader) nextFrame() (*gifFrame, error) {
	f := &gifFrame{clear: -1}
	for {
		b, err := g.take(1)
		if err != nil || b[0] == ';' {
			return nil, io.EOF
		}
		switch b[0] {
		case '!':
			kind, err := g.take(1)
			if err != nil {
				return nil, err
			}
			ext, err := g.blocks()
			if err != nil {
				return nil, err
			}
			if kind[0] == 0xf9 && len(ext) >= 5 && ext[0] >= 4 {
				if ext[1]&1 != 0 {
					f.clear = int(ext[4])
				}
				if d := int(ext[1] >> 2 & 7); d != 0 {
					f.disposal = d
				}
			}
		case ',':
			return f, g.readDescriptor(f)
		}
	}
}

func (g *gifReader) readDescriptor(f *gifFrame) error {
	b, err := g.take(9)
	if err != nil {
		return err
	}
	at := func(i int) int { return int(binary.LittleEndian.Uint16(b[i:])) }
	f.rect = image.Rect(at(0), at(2), at(0)+at(4), at(2)+at(6))
	f.interlace = b[8]&0x40 != 0
	switch {
	case b[8]&0x80 != 0:
		if f.colors, f.entries, err = g.readPalette(b[8]); err != nil {
			return err
		}
	case g.global != nil:
		f.colors, f.entries = g.global, g.entries
	default:
		f.colors, f.entries = greyPalette(), 256
	}
	if b, err = g.take(1); err != nil {
		return err
	}
	f.litWidth = int(b[0])
	if f.litWidth < 2 || f.litWidth > 8 {
		return imageErrorf("frame has codes of %d bits", f.litWidth)
	}
	// Pillow reads blocks as it needs them, so the last need not be complete.
	start := g.pos
	if f.data, err = g.blocks(); err != nil {
		f.data, g.pos = g.data[start:], len(g.data)
	}
	return nil
}

// next decodes the next frame and returns the canvas, or io.EOF.
func (g *gifReader) next(o *options) (*RGB, error) {
	f, err := g.nextFrame()
	if err != nil {
		return nil, err
	}
	if f.disposal != 0 {
		g.disposal = f.disposal
	}
	if g.dispose != nil {
		g.dispose()
		g.dispose = nil
	}
	w, h := max(g.w, f.rect.Max.X), max(g.h, f.rect.Max.Y)
	if err := o.limits.checkSize(w, h); err != nil {
		return nil, err
	}
	indices, err := f.decode()
	if err != nil {
		return nil, err
	}

	first := g.frames == 0
	g.frames++
	// From the second frame on Pillow fills with colours, not indices, and takes the first colour
	// for an index beyond the palette.
	fillColor := func(index int) [4]uint8 {
		if !first && index >= f.entries {
			index = 0
		}
		return f.colors[index]
	}
	clear, cleared := max(f.clear, 0), fillColor(max(f.clear, 0))
	if f.clear >= 0 {
		cleared[3] = 0
	}
	switch {
	case first:
		g.w, g.h = w, h
		g.canvas = make([]uint8, 4*w*h)
		g.fill(image.Rect(0, 0, w, h), cleared)
	case w != g.w || h != g.h:
		fill := [4]uint8{}
		if f.clear < 0 {
			fill = f.colors[0]
		}
		g.grow(w, h, fill)
	}

	// What the next frame will find where this one is.
	switch g.disposal {
	case 2: // the background, by custom transparent
		fill := cleared
		if f.clear < 0 {
			fill = fillColor(g.background)
		}
		g.dispose = func() { g.fill(f.rect, fill) }
	case 3: // what was there before
		if first {
			if f.clear >= 0 {
				g.dispose = func() { g.fill(f.rect, cleared) }
			}
			break
		}
		before := g.copyRect(f.rect)
		g.dispose = func() { g.paste(f.rect, before) }
	}

	for y := range f.rect.Dy() {
		row := indices[y*f.rect.Dx():][:f.rect.Dx()]
		dst := g.canvas[4*((f.rect.Min.Y+y)*g.w+f.rect.Min.X):]
		for x, v := range row {
			switch {
			case f.clear < 0 || int(v) != clear:
				copy(dst[4*x:4*x+4], f.colors[v][:])
			case first:
				copy(dst[4*x:4*x+4], cleared[:])
			}
		}
	}
	m := &RGB{Pix: bytes.Clone(g.canvas), Stride: 4 * g.w, Width: g.w, Height: g.h}
	return m.splitAlpha(), nil
}

func (g *gifReader) fill(r image.Rectangle, c [4]uint8) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			copy(g.canvas[4*(y*g.w+x):], c[:])
		}
	}
}

func (g *gifReader) copyRect(r image.Rectangle) []uint8 {
	out := make([]uint8, 0, 4*r.Dx()*r.Dy())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		out = append(out, g.canvas[4*(y*g.w+r.Min.X):4*(y*g.w+r.Max.X)]...)
	}
	return out
}

func (g *gifReader) paste(r image.Rectangle, px []uint8) {
	n := 4 * r.Dx()
	for y := range r.Dy() {
		copy(g.canvas[4*((r.Min.Y+y)*g.w+r.Min.X):], px[y*n:(y+1)*n])
	}
}

// grow enlarges the canvas; the new part is filled.
func (g *gifReader) grow(w, h int, fill [4]uint8) {
	old := *g
	g.w, g.h, g.canvas = w, h, make([]uint8, 4*w*h)
	g.fill(image.Rect(0, 0, w, h), fill)
	g.paste(image.Rect(0, 0, old.w, old.h), old.canvas)
}

// decode returns the colour indices of a frame, its rows in order.
func (f *gifFrame) decode() ([]uint8, error) {
	w, h := f.rect.Dx(), f.rect.Dy()
	// LZW packs a row of 4096 codes into 12 bits at the best, in two thousand times fewer bytes: a
	// short file cannot ask for much memory.
	if w*h/4096 > len(f.data) {
		return nil, errTruncated
	}
	r := lzw.NewReader(&blockReader{data: f.data}, lzw.LSB, f.litWidth)
	defer r.Close()
	out := make([]uint8, w*h)
	if _, err := io.ReadFull(r, out); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errTruncated
		}
		return nil, imageErrorf("damaged: %w", err)
	}
	if !f.interlace {
		return out, nil
	}
	rows := make([]uint8, w*h)
	from := 0
	for _, pass := range [4][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
		for y := pass[0]; y < h; y += pass[1] {
			copy(rows[y*w:(y+1)*w], out[from:])
			from += w
		}
	}
	return rows, nil
}

// blockReader reads the bytes within sub-blocks.
type blockReader struct {
	data []byte
	left int // of the current block
}

func (b *blockReader) ReadByte() (byte, error) {
	if b.left == 0 {
		if len(b.data) == 0 || b.data[0] == 0 {
			return 0, io.EOF
		}
		b.left, b.data = int(b.data[0]), b.data[1:]
	}
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	v := b.data[0]
	b.data, b.left = b.data[1:], b.left-1
	return v, nil
}

func (b *blockReader) Read(p []byte) (int, error) {
	for i := range p {
		v, err := b.ReadByte()
		if err != nil {
			return i, err
		}
		p[i] = v
	}
	return len(p), nil
}
