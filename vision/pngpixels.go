package vision

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"hash/adler32"
	"io"
)

// sizePNG is the size that the header gives, even if nothing follows it.
func sizePNG(data []byte) (w, h int, err error) {
	f, _, err := openPNG(data)
	if err != nil && f.headers == nil {
		return 0, 0, err
	}
	return f.w, f.h, nil
}

func decodePNG(data []byte, _ *options) (*RGB, int, error) {
	f, r, err := openPNG(data)
	if err != nil {
		return nil, 0, err
	}
	px, err := f.first()
	if err != nil {
		return nil, 0, err
	}
	if err := f.finish(r); err != nil {
		return nil, 0, err
	}
	m, err := f.colors(px)
	if err != nil {
		return nil, 0, err
	}
	if f.kind.color == pngRGB {
		m.Alpha = nil // one colour of an RGB picture does not make it RGBA
	}
	return m, f.meta.metadata().orientation(), nil
}

// pngPixels are the samples of a picture, 8 bits each: an index, a grey, grey and alpha, RGB, or
// RGB and alpha.
type pngPixels struct {
	pix        []byte
	w, h, step int
}

func newPNGPixels(kind pngKind, w, h int) *pngPixels {
	step := map[uint8]int{pngGrey: 1, pngPalette: 1, pngGreyAlpha: 2, pngRGB: 3, pngRGBA: 4}[kind.color]
	return &pngPixels{make([]byte, w*h*step), w, h, step}
}

func (m *pngPixels) row(y int) []byte { return m.pix[y*m.w*m.step:][:m.w*m.step] }

// first decodes the pixels that the file begins with, at their place in the picture.
func (f *pngFile) first() (*pngPixels, error) {
	w, h := f.box[2]-f.box[0], f.box[3]-f.box[1]
	if w <= 0 || h <= 0 {
		return nil, imageErrorf("has a frame of %dx%d pixels", w, h)
	}
	part, err := f.unpack(f.blocks, w, h)
	if err != nil || w == f.w && h == f.h {
		return part, err
	}
	if f.w*f.h > 1<<24 && f.w*f.h/1032 > w*h {
		return nil, imageErrorf("begins with %dx%d of %dx%d pixels", w, h, f.w, f.h)
	}
	m := newPNGPixels(f.kind, f.w, f.h)
	for y := range h {
		copy(m.row(f.box[1] + y)[f.box[0]*m.step:], part.row(y))
	}
	return m, nil
}

// pngPass is one of the seven sparse pictures that an interlaced one is sent as: every dx-th pixel
// from x on of every dy-th row from y on.
type pngPass struct{ x, y, dx, dy int }

var pngPasses = []pngPass{
	{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
}

// unpack decodes blocks of deflated rows into a picture of w by h pixels. Rows that the data ends
// before are 0.
func (f *pngFile) unpack(blocks [][]byte, w, h int) (*pngPixels, error) {
	bits := f.kind.bits()
	passes := []pngPass{{0, 0, 1, 1}}
	if f.interlace {
		passes = pngPasses
	}
	total := 0
	for _, p := range passes {
		pw, ph := p.size(w, h)
		total += ph * ((pw*bits+7)/8 + 1)
	}
	data, err := inflateRows(blocks, total)
	if err != nil {
		return nil, err
	}
	m := newPNGPixels(f.kind, w, h)
	for _, p := range passes {
		pw, ph := p.size(w, h)
		n := (pw*bits + 7) / 8
		above := make([]byte, n)
		for y := range ph {
			if len(data) == 0 {
				return m, nil
			}
			if len(data) < n+1 {
				return nil, errTruncated
			}
			row := data[1 : n+1]
			if err := unfilter(data[0], row, above, (bits+7)/8); err != nil {
				return nil, err
			}
			f.spread(m.row(p.y + y*p.dy)[p.x*m.step:], row, pw, p.dx*m.step)
			above, data = row, data[n+1:]
		}
	}
	return m, nil
}

// size is that of the pass's own picture; 0 by 0 if it has no pixels.
func (p pngPass) size(w, h int) (int, int) {
	pw, ph := (w-p.x+p.dx-1)/p.dx, (h-p.y+p.dy-1)/p.dy
	if pw <= 0 || ph <= 0 {
		return 0, 0
	}
	return pw, ph
}

// spread writes n pixels of a row, step bytes apart.
func (f *pngFile) spread(dst, row []byte, n, step int) {
	switch d := int(f.kind.depth); {
	case d < 8:
		scale := byte(1)
		if f.kind.color == pngGrey {
			scale = byte(255 / (1<<d - 1))
		}
		for i := range n {
			at := i * d
			dst[i*step] = row[at/8] >> (8 - d - at%8) & (1<<d - 1) * scale
		}
	case d == 16 && f.kind.color == pngGrey:
		for i := range n {
			dst[i*step] = clip16(row[2*i], row[2*i+1])
		}
	default:
		samples, wide := f.kind.bits()/d, d/8
		for i := range n {
			for j := range samples {
				dst[i*step+j] = row[(i*samples+j)*wide]
			}
		}
	}
}

// unfilter undoes one of the five filters of a row, whose pixels take bpp bytes.
func unfilter(kind byte, row, above []byte, bpp int) error {
	switch kind {
	case 0:
	case 1:
		for i := bpp; i < len(row); i++ {
			row[i] += row[i-bpp]
		}
	case 2:
		for i := range row {
			row[i] += above[i]
		}
	case 3:
		for i := range row {
			left := 0
			if i >= bpp {
				left = int(row[i-bpp])
			}
			row[i] += byte((left + int(above[i])) / 2)
		}
	case 4:
		for i := range row {
			a, c := 0, 0
			if i >= bpp {
				a, c = int(row[i-bpp]), int(above[i-bpp])
			}
			row[i] += paeth(a, int(above[i]), c)
		}
	default:
		return imageErrorf("a row has filter %d", kind)
	}
	return nil
}

// paeth returns that of left, above and upper left which is nearest to their plane.
func paeth(a, b, c int) byte {
	pa, pb, pc := max(b-c, c-b), max(a-c, c-a), max(a+b-2*c, 2*c-a-b)
	switch {
	case pa <= pb && pa <= pc:
		return byte(a)
	case pb <= pc:
		return byte(b)
	}
	return byte(c)
}

// inflateRows returns up to n bytes of deflated data, in the way of Pillow's ZipDecode.c: once all
// is there it takes no notice of what follows, except for what it sees of it in the same block. The
// data may end earlier, if it does so properly and within a block.
func inflateRows(blocks [][]byte, n int) ([]byte, error) {
	in := &pngBlocks{}
	packed := 0
	for _, b := range blocks {
		packed += len(b)
		for len(b) > pngReadAtOnce {
			in.blocks, b = append(in.blocks, b[:pngReadAtOnce]), b[pngReadAtOnce:]
		}
		in.blocks = append(in.blocks, b)
	}
	// Deflate packs 1032 bytes into one at the best. This keeps a short file from asking for the
	// memory of a large picture.
	if n/1032 > packed {
		return nil, errTruncated
	}
	var head [2]byte
	for i := range head {
		b, err := in.ReadByte()
		if err != nil {
			return nil, errTruncated
		}
		head[i] = b
	}
	if head[0]&15 != 8 || head[0]>>4 > 7 || (int(head[0])<<8|int(head[1]))%31 != 0 || head[1]&0x20 != 0 {
		return nil, imageErrorf("the pixels are not deflated")
	}
	start := *in
	out := make([]byte, n+1) // one more, to see what follows
	k, err := readUpTo(flate.NewReader(in), out)
	if k == n && err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		// Behind the end zlib has not looked yet how far back a repetition reaches.
		again := flate.NewReaderDict(&start, make([]byte, 32<<10))
		k, err = readUpTo(again, make([]byte, n+1))
	}
	switch {
	case k > n:
		return out[:n], nil
	case errors.Is(err, io.EOF):
		sum, ok := in.tail()
		switch {
		case ok && sum != adler32.Checksum(out[:k]):
			return nil, imageErrorf("wrong checksum of the pixels")
		case k < n && !ok, k == 0:
			return nil, errTruncated
		}
		return out[:k], nil
	case errors.Is(err, io.ErrUnexpectedEOF) && k == n:
		return out[:n], nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTruncated
	}
	return nil, imageErrorf("damaged: %w", err)
}

// readUpTo fills p, unless r ends before or fails.
func readUpTo(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

// pngReadAtOnce is how much of a chunk Pillow reads at once (ImageFile.MAXBLOCK).
const pngReadAtOnce = 65536

// pngBlocks reads the bytes of blocks one after the other.
type pngBlocks struct {
	blocks [][]byte
	at     int // in the first
}

func (b *pngBlocks) ReadByte() (byte, error) {
	for len(b.blocks) > 0 && b.at == len(b.blocks[0]) {
		if len(b.blocks) == 1 {
			return 0, io.EOF
		}
		b.blocks, b.at = b.blocks[1:], 0
	}
	if len(b.blocks) == 0 {
		return 0, io.EOF
	}
	b.at++
	return b.blocks[0][b.at-1], nil
}

func (b *pngBlocks) Read(p []byte) (int, error) {
	for i := range p {
		v, err := b.ReadByte()
		if err != nil {
			return i, err
		}
		p[i] = v
	}
	return len(p), nil
}

// tail returns the checksum that follows, if it lies in the same block.
func (b *pngBlocks) tail() (sum uint32, ok bool) {
	if len(b.blocks) == 0 || len(b.blocks[0])-b.at < 4 {
		return 0, false
	}
	for _, v := range b.blocks[0][b.at:][:4] {
		sum = sum<<8 | uint32(v)
	}
	return sum, true
}

// colors turns samples into pixels. A single transparent colour (tRNS of grey and RGB pictures) is
// compared as Pillow does: the low byte of each of its samples, after the pixels have become 8-bit.
func (f *pngFile) colors(px *pngPixels) (*RGB, error) {
	m := newRGB(px.w, px.h)
	dst := m.Pix
	src := px.pix
	switch f.kind.color {
	case pngPalette:
		table, err := f.colorTable()
		if err != nil {
			return nil, err
		}
		for i, v := range src {
			copy(dst[4*i:4*i+4], table[v][:])
		}
		return m.splitAlpha(), nil
	case pngGrey:
		for i, v := range src {
			put(dst[4*i:], v, v, v, 255)
		}
	case pngGreyAlpha:
		for i := range len(src) / 2 {
			v := src[2*i]
			put(dst[4*i:], v, v, v, src[2*i+1])
		}
		return m.splitAlpha(), nil
	case pngRGB:
		for i := range len(src) / 3 {
			put(dst[4*i:], src[3*i], src[3*i+1], src[3*i+2], 255)
		}
	case pngRGBA:
		copy(dst, src)
		return m.splitAlpha(), nil
	}
	f.clearOne(m)
	return m, nil
}

// clearOne makes the single transparent colour of a picture transparent.
func (f *pngFile) clearOne(m *RGB) {
	if f.trns == nil {
		return
	}
	var clear [3]uint8
	for i := range clear {
		switch {
		case f.kind.color == pngRGB:
			clear[i] = f.trns[2*i+1]
		case f.kind.depth == 1:
			clear[i] = 255 * min(f.trns[0]|f.trns[1], 1)
		default:
			clear[i] = f.trns[1]
		}
	}
	alpha := make([]uint8, m.Width*m.Height)
	opaque := true
	for i := range alpha {
		if [3]uint8(m.Pix[4*i:4*i+3]) == clear {
			opaque = false
		} else {
			alpha[i] = 255
		}
	}
	if !opaque {
		m.Alpha = alpha
	}
}

// colorTable is the palette with what tRNS says of it. What the file leaves out is black.
func (f *pngFile) colorTable() (*palette, error) {
	if len(f.palette)/3 > 256 {
		return nil, imageErrorf("has a palette of %d colours", len(f.palette)/3)
	}
	p := new(palette)
	for i := range p {
		p[i][3] = 255
		if 3*i+3 <= len(f.palette) {
			copy(p[i][:3], f.palette[3*i:])
		}
		if i < len(f.trns) {
			p[i][3] = f.trns[i]
		}
	}
	return p, nil
}

// readText takes what matters of a chunk of text.
func (f *pngFile) readText(kind string, b []byte) error {
	key, val, cut := bytes.Cut(b, []byte{0})
	switch kind {
	case "zTXt":
		if len(val) > 0 && val[0] != 0 {
			return imageErrorf("unknown compression in chunk zTXt")
		}
		text, ok, err := inflate(val[min(len(val), 1):])
		if err != nil {
			return err
		}
		if val = nil; ok {
			val = text
		}
	case "iTXt":
		if !cut || len(val) < 2 {
			return nil
		}
		packed, method := val[0], val[1]
		_, rest, ok1 := bytes.Cut(val[2:], []byte{0}) // language
		_, text, ok2 := bytes.Cut(rest, []byte{0})    // translated keyword
		if !ok1 || !ok2 || packed != 0 && method != 0 {
			return nil
		}
		if packed != 0 {
			var ok bool
			var err error
			if text, ok, err = inflate(text); err != nil || !ok {
				return err
			}
		}
		if val = text; string(key) == "XML:com.adobe.xmp" {
			f.meta.xmpBytes = val
		}
	}
	const most = 64 << 20 // MAX_TEXT_MEMORY of Pillow
	if f.text += int64(len(val)); f.text > most {
		return limitErrorf("", "has more than %d bytes of text", most)
	}
	switch string(key) {
	case "Raw profile type exif":
		f.meta.raw = rawProfile(string(val))
	case "XML:com.adobe.xmp":
		f.meta.xmpText = val
	case "exif":
		if kind == "tEXt" {
			f.meta.exif = val
		}
	}
	return nil
}

func (t *pngText) metadata() metadata {
	md := metadata{exif: t.exif, xmp: [2][]byte{t.xmpText, t.xmpBytes}}
	if md.exif == nil {
		md.exif = t.raw
	}
	return md
}

// inflate unpacks at most a megabyte of text, as Pillow does: more is an error. Text that is cut off
// counts as far as it goes; ok is false where it is damaged.
func inflate(b []byte) (text []byte, ok bool, err error) {
	const most = 1 << 20
	if len(b) == 0 {
		return nil, true, nil
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), nil
	}
	text, err = io.ReadAll(io.LimitReader(z, most+1))
	if len(text) > most {
		return nil, false, limitErrorf("", "text of more than %d bytes", most)
	}
	return text, err == nil || errors.Is(err, io.ErrUnexpectedEOF), nil
}
