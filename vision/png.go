package vision

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"regexp"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

func isPNG(data []byte) bool { return bytes.HasPrefix(data, []byte(pngSignature)) }

// pngKind is a kind of pixels: a colour type at a depth.
type pngKind struct {
	depth, color uint8
}

const (
	pngGrey      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGreyAlpha = 4
	pngRGBA      = 6
)

// bits a pixel takes; 0: there is no such kind.
func (k pngKind) bits() int {
	d := int(k.depth)
	switch {
	case k.color == pngGrey && (d == 1 || d == 2 || d == 4 || d == 8 || d == 16),
		k.color == pngPalette && (d == 1 || d == 2 || d == 4 || d == 8):
		return d
	case d != 8 && d != 16:
		return 0
	case k.color == pngRGB:
		return 3 * d
	case k.color == pngGreyAlpha:
		return 2 * d
	case k.color == pngRGBA:
		return 4 * d
	}
	return 0
}

// pngFile is a PNG file as Pillow's PngImagePlugin reads it: chunks in any order, checksums up to
// the pixels only, and whatever stands behind them as long as its parts are whole. What it refuses
// is refused here, too.
type pngFile struct {
	w, h      int
	kind      pngKind
	interlace bool
	palette   []byte // of the last PLTE before the pixels; nil: none
	trns      []byte // of the last tRNS that fits the pixels; nil: none
	box       [4]int // of the pixels: left, top, right, bottom
	blocks    [][]byte
	headers   []byte // data of the last IHDR before the pixels

	animated bool
	frame    struct { // of the last fcTL
		seen     bool
		sequence uint32 // of the last part
		box      [4]int
	}
	text int64 // bytes of text
	meta pngText
}

// pngText are the chunks that tell how a picture is to be turned.
type pngText struct {
	exif, raw         []byte
	xmpText, xmpBytes []byte
}

// pngReader goes through the chunks of a file.
type pngReader struct {
	data []byte
	pos  int
}

// header reads the length and the kind of the next chunk.
func (r *pngReader) header() (kind string, n int, err error) {
	if len(r.data)-r.pos < 8 {
		r.pos = len(r.data)
		return "", 0, errTruncated
	}
	b := r.data[r.pos:]
	r.pos += 8
	kind = string(b[4:8])
	if !pngName.MatchString(kind) {
		return kind, 0, imageErrorf("broken (chunk %q)", kind)
	}
	return kind, int(min(int64(binary.BigEndian.Uint32(b)), 1<<31-1)), nil
}

var pngName = regexp.MustCompile(`^[A-Za-z0-9_]{4}$`)

// take returns the next n bytes.
func (r *pngReader) take(n int) ([]byte, error) {
	if n > len(r.data)-r.pos {
		return nil, errTruncated
	}
	r.pos += n
	return r.data[r.pos-n : r.pos], nil
}

// skip goes over up to n bytes.
func (r *pngReader) skip(n int) { r.pos = min(r.pos+n, len(r.data)) }

// openPNG reads all that comes before the pixels. With an error it returns what it has read.
func openPNG(data []byte) (*pngFile, *pngReader, error) {
	f, r := new(pngFile), &pngReader{data: data, pos: len(pngSignature)}
	for {
		kind, n, err := r.header()
		if err != nil {
			return f, r, err
		}
		start := r.pos
		switch {
		case kind == "IEND":
			return f, r, imageErrorf("has no pixels")
		case kind == "fdAT":
			if err := f.frameData(r, n); err != nil {
				return f, r, err
			}
			n -= 4
			fallthrough
		case kind == "IDAT" && f.headers != nil:
			if f.w <= 0 || f.h <= 0 {
				return f, r, imageErrorf("the header gives %dx%d pixels", f.w, f.h)
			}
			if f.headers == nil {
				return f, r, imageErrorf("has pixels before their header")
			}
			f.box = [4]int{0, 0, f.w, f.h}
			if f.frame.seen {
				f.box = f.frame.box
			}
			f.readBlocks(r, n)
			return f, r, nil
		}
		b, err := r.take(n)
		if err != nil {
			return f, r, err
		}
		if err := f.chunk(kind, b, true); err != nil {
			return f, r, err
		}
		sum, err := r.take(4)
		if err != nil {
			return f, r, err
		}
		if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(data[start-4:start+n]) {
			return f, r, imageErrorf("wrong checksum of chunk %s", kind)
		}
	}
}

// readBlocks collects the chunks of pixels from here on, the first being of n bytes. Their
// checksums do not count.
func (f *pngFile) readBlocks(r *pngReader, n int) {
	for {
		n = max(n, 0)
		whole := n <= len(r.data)-r.pos
		if !whole {
			n = len(r.data) - r.pos
		}
		f.blocks = append(f.blocks, r.data[r.pos:r.pos+n])
		r.skip(n)
		if !whole {
			return
		}
		before := *r
		r.skip(4)
		kind, next, err := r.header()
		switch {
		case err == nil && (kind == "IDAT" || kind == "DDAT"):
			n = next
		case err == nil && kind == "fdAT" && !f.animated:
			if f.frameData(r, next) != nil {
				*r = before
				return
			}
			n = next - 4
		default:
			*r = before
			return
		}
	}
}

// finish reads what stands behind the pixels, which may say how transparent they are and how the
// picture is to be turned.
func (f *pngFile) finish(r *pngReader) error {
	for {
		r.skip(4) // a checksum, which nobody compares
		kind, n, err := r.header()
		if err != nil || kind == "IEND" || kind == "fcTL" && f.animated {
			return nil
		}
		if kind == "fdAT" {
			if err := f.frameData(r, n); err != nil {
				return err
			}
			n -= 4
		}
		b, err := r.take(max(n, 0))
		if err != nil {
			return err
		}
		if err := f.chunk(kind, b, false); err != nil {
			return err
		}
	}
}

// frameData reads the number in front of the pixels of a frame.
func (f *pngFile) frameData(r *pngReader, n int) error {
	b, err := r.take(4)
	if n < 4 || err != nil {
		return errTruncated
	}
	if !f.frame.seen {
		return imageErrorf("frame data without a frame header")
	}
	return f.sequence(binary.BigEndian.Uint32(b))
}

// sequence checks that the parts of an animation are numbered in order.
func (f *pngFile) sequence(n uint32) error {
	if f.frame.seen && n != f.frame.sequence+1 || !f.frame.seen && n != 0 {
		return imageErrorf("frames are out of order")
	}
	f.frame.sequence, f.frame.seen = n, true
	return nil
}

// chunk reads one chunk other than those of pixels. Chunks that are not known change nothing.
func (f *pngFile) chunk(kind string, b []byte, before bool) error {
	least := map[string]int{
		"IHDR": 13, "gAMA": 4, "cHRM": 32, "sRGB": 1, "pHYs": 9, "acTL": 8, "fcTL": 26,
	}
	if n, ok := least[kind]; ok && len(b) < n {
		return imageErrorf("chunk %s of %d bytes is too short", kind, len(b))
	}
	switch kind {
	case "IHDR":
		return f.header(b, before)
	case "PLTE":
		if before && f.headers != nil && f.kind.color == pngPalette {
			f.palette = b
		}
	case "tRNS":
		return f.transparency(b)
	case "iCCP":
		at := bytes.IndexByte(b, 0) + 1
		if at >= len(b) || b[at] != 0 {
			return imageErrorf("unknown compression in chunk iCCP")
		}
		_, _, err := inflate(b[min(at+1, len(b)):])
		return err
	case "tEXt", "zTXt", "iTXt":
		return f.readText(kind, b)
	case "eXIf":
		f.meta.exif = append([]byte{}, b...)
	case "acTL":
		frames := binary.BigEndian.Uint32(b)
		f.animated = !f.animated && frames > 0 && frames <= 1<<31
	case "fcTL":
		if err := f.sequence(binary.BigEndian.Uint32(b)); err != nil {
			return err
		}
		at := func(i int) int64 { return int64(binary.BigEndian.Uint32(b[i:])) }
		x, y, w, h := at(12), at(16), at(4), at(8)
		if x+w > int64(f.w) || y+h > int64(f.h) {
			return imageErrorf("a frame reaches over the edge")
		}
		f.frame.box = [4]int{int(x), int(y), int(x + w), int(y + h)}
	}
	return nil
}

func (f *pngFile) header(b []byte, before bool) error {
	if b[11] != 0 {
		return imageErrorf("unknown filter category %d", b[11])
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w > 1<<31-1 || h > 1<<31-1 {
		return imageErrorf("the header gives %dx%d pixels", w, h)
	}
	if !before {
		return nil
	}
	f.w, f.h = int(w), int(h)
	f.interlace = f.interlace || b[12] != 0
	if kind := (pngKind{b[8], b[9]}); kind.bits() > 0 {
		f.kind, f.headers = kind, b
	}
	return nil
}

// transparency reads tRNS where the kind of pixels has it.
func (f *pngFile) transparency(b []byte) error {
	if f.headers == nil {
		return nil
	}
	need := map[uint8]int{pngGrey: 2, pngRGB: 6, pngPalette: 0}
	n, ok := need[f.kind.color]
	if !ok {
		return nil
	}
	if len(b) < n {
		return imageErrorf("chunk tRNS of %d bytes is too short", len(b))
	}
	f.trns = append([]byte{}, b...)
	return nil
}
