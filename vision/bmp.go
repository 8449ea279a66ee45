package vision

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

func isBMP(data []byte) bool { return bytes.HasPrefix(data, []byte("BM")) }

// bmpHeader is what Pillow's BmpImagePlugin reads of a BMP file.
type bmpHeader struct {
	w, h        int
	topDown     bool
	bits        int
	compression uint32
	masks       [3]uint32 // of bit fields
	palette     []byte
	entry       int // bytes a palette entry, 3 or 4
	colors      int
	pixels      []byte // from the first row on
}

const (
	bmpRaw       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitFields = 3
)

func sizeBMP(data []byte) (w, h int, err error) {
	b, err := readBMPHeader(data)
	return b.w, b.h, err
}

func readBMPHeader(data []byte) (b bmpHeader, err error) {
	if len(data) < 14 {
		return b, errTruncated
	}
	return readDIBHeader(data, 14, int64(binary.LittleEndian.Uint32(data[10:])))
}

// dibHeaders are the sizes that the headers of bitmaps have.
var dibHeaders = []int64{12, 40, 52, 56, 64, 108, 124}

// readDIBHeader reads the header of a bitmap at byte at. Its pixels are at offset, or where the
// header and the palette end if that is 0.
func readDIBHeader(data []byte, at int, offset int64) (b bmpHeader, err error) {
	if at < 0 || len(data) < at+4 {
		return b, errTruncated
	}
	le := binary.LittleEndian
	size := int64(le.Uint32(data[at:]))
	if !slices.Contains(dibHeaders, size) {
		return b, imageErrorf("header of %d bytes is not supported", size)
	}
	if int64(len(data)) < int64(at)+size {
		return b, errTruncated
	}
	head, rest := data[at:at+int(size)], data[at+int(size):]
	if size == 12 {
		b.w, b.h = int(le.Uint16(head[4:])), int(le.Uint16(head[6:]))
		b.bits, b.entry = int(le.Uint16(head[10:])), 3
	} else {
		h := int32(le.Uint32(head[8:]))
		// Pillow tells a negative height by its highest byte alone.
		if b.topDown = head[11] == 0xff; b.topDown {
			h = -h
		}
		b.w, b.h = int(int32(le.Uint32(head[4:]))), int(h)
		b.bits, b.entry = int(le.Uint16(head[14:])), 4
		b.compression = le.Uint32(head[16:])
		b.colors = int(int32(le.Uint32(head[32:])))
	}
	if b.w <= 0 || b.h <= 0 {
		return b, imageErrorf("the header gives %dx%d pixels", b.w, b.h)
	}
	if b.compression == bmpBitFields {
		masks := rest
		if size >= 52 {
			masks = head[40:]
		} else if len(rest) >= 12 {
			rest = rest[12:]
		}
		if len(masks) < 12 {
			return b, errTruncated
		}
		for i := range b.masks {
			b.masks[i] = le.Uint32(masks[4*i:])
		}
	}
	if b.bits <= 8 {
		if b.colors == 0 {
			b.colors = 1 << b.bits
		}
		if b.colors < 0 || b.colors > 65536 {
			return b, imageErrorf("palette of %d colours", b.colors)
		}
		if len(rest) < b.entry*b.colors {
			return b, errTruncated
		}
		b.palette, rest = rest[:b.entry*b.colors], rest[b.entry*b.colors:]
		if offset == 14+size { // some writers forget to count the palette
			offset += int64(len(b.palette))
		}
	}
	switch {
	case offset == 0:
		b.pixels = rest
	case offset <= int64(len(data)):
		b.pixels = data[offset:]
	default:
		return b, errTruncated
	}
	return b, nil
}

func decodeBMP(data []byte, _ *options) (*RGB, int, error) {
	b, err := readBMPHeader(data)
	if err != nil {
		return nil, 0, err
	}
	m, err := b.decode(data)
	return m, 1, err
}

// decode reads the pixels of the file data.
func (b *bmpHeader) decode(data []byte) (*RGB, error) {
	switch {
	case b.compression == bmpRLE8 && b.bits == 8, b.compression == bmpRLE4 && b.bits == 4:
		return b.runs(data)
	case b.compression == bmpRaw || b.compression == bmpBitFields:
		return b.raw()
	}
	return nil, imageErrorf("compression %d with %d bits is not supported", b.compression, b.bits)
}

// row maps the rows of the file to those of the picture.
func (b *bmpHeader) row(y int) int {
	if b.topDown {
		return y
	}
	return b.h - 1 - y
}

func (b *bmpHeader) colorTable() *palette {
	p := new(palette)
	for i := range p {
		p[i][3] = 255
		if e := b.entry * i; e+3 <= len(b.palette) {
			put(p[i][:], b.palette[e+2], b.palette[e+1], b.palette[e], 255)
		}
	}
	return p
}

// raw reads uncompressed rows, each filled up to four bytes.
func (b *bmpHeader) raw() (*RGB, error) {
	stride := (b.w*b.bits + 31) / 32 * 4
	if len(b.pixels) < stride*(b.h-1)+(b.w*b.bits+7)/8 {
		return nil, errTruncated
	}
	pixel, err := b.pixel()
	if err != nil {
		return nil, err
	}
	m := newRGB(b.w, b.h)
	for y := range b.h {
		src, dst := b.pixels[y*stride:], m.row(b.row(y))
		for x := range b.w {
			pixel(dst[4*x:4*x+4], src, x)
		}
	}
	return m.splitAlpha(), nil
}

// pixel returns the function that reads pixel x of a row.
func (b *bmpHeader) pixel() (func(dst, row []byte, x int), error) {
	switch b.bits {
	case 1, 4, 8:
		if b.compression != bmpRaw {
			break
		}
		table, n := b.colorTable(), b.bits
		return func(dst, row []byte, x int) {
			at := x * n
			v := row[at/8] >> (8 - n - at%8) & (1<<n - 1)
			copy(dst, table[v][:])
		}, nil
	case 16:
		green := 5
		switch {
		case b.compression == bmpRaw, b.masks == [3]uint32{0x7c00, 0x3e0, 0x1f}:
		case b.masks == [3]uint32{0xf800, 0x7e0, 0x1f}:
			green = 6
		default:
			return nil, imageErrorf("bit fields %#x are not supported", b.masks)
		}
		return func(dst, row []byte, x int) {
			v := int(binary.LittleEndian.Uint16(row[2*x:]))
			most := 1<<green - 1
			put(dst, uint8(v>>(5+green)&31*255/31), uint8(v>>5&most*255/most),
				uint8(v&31*255/31), 255)
		}, nil
	case 24:
		if b.compression == bmpBitFields && b.masks != [3]uint32{0xff0000, 0xff00, 0xff} {
			break
		}
		return func(dst, row []byte, x int) { put(dst, row[3*x+2], row[3*x+1], row[3*x], 255) }, nil
	case 32:
		if b.compression == bmpRaw || b.masks == [3]uint32{} {
			return func(dst, row []byte, x int) {
				put(dst, row[4*x+2], row[4*x+1], row[4*x], 255)
			}, nil
		}
		var at [3]int
		for i, mask := range b.masks {
			at[i] = bits.TrailingZeros32(mask)
			if at[i]%8 != 0 || mask != 0xff<<at[i] {
				return nil, imageErrorf("bit fields %#x are not supported", b.masks)
			}
			at[i] /= 8
		}
		return func(dst, row []byte, x int) {
			put(dst, row[4*x+at[0]], row[4*x+at[1]], row[4*x+at[2]], 255)
		}, nil
	}
	return nil, imageErrorf(
		"%d bits a pixel with compression %d and bit fields %#x are not supported", b.bits,
		b.compression, b.masks)
}

// runs reads run-length encoded rows. What they leave out is index 0.
func (b *bmpHeader) runs(data []byte) (*RGB, error) {
	total := b.w * b.h
	indices := make([]uint8, 0, total)
	src, start := b.pixels, len(data)-len(b.pixels)
	x := 0
	skip := func(n int) {
		indices = append(indices, make([]uint8, min(n, total-len(indices)))...)
	}
decode:
	for len(indices) < total && len(src) >= 2 {
		n, v := int(src[0]), src[1]
		src = src[2:]
		switch {
		case n > 0:
			n = max(min(n, b.w-x), 0)
			for i := range n {
				indices = append(indices, b.run(v, i))
			}
			x += n
		case v == 0: // end of line
			skip((b.w - len(indices)%b.w) % b.w)
			x = 0
		case v == 1: // end of picture
			break decode
		case v == 2: // a step right and up
			if len(src) < 2 {
				break decode
			}
			skip(int(src[0]) + int(src[1])*b.w)
			src = src[2:]
			x = len(indices) % b.w
		default: // v single pixels
			n = min(int(v), total-len(indices))
			size := n
			if b.bits == 4 {
				size = (n + 1) / 2
			}
			if len(src) < size {
				break decode
			}
			for i := range n {
				if b.bits == 4 {
					indices = append(indices, b.run(src[i/2], i))
				} else {
					indices = append(indices, src[i])
				}
			}
			src = src[size:]
			x += int(v)
			if (start+len(b.pixels)-len(src))%2 != 0 && len(src) > 0 {
				src = src[1:]
			}
		}
	}
	if len(indices) < total {
		return nil, errTruncated
	}
	table := b.colorTable()
	m := newRGB(b.w, b.h)
	for y := range b.h {
		dst := m.row(b.row(y))
		for x, v := range indices[y*b.w : (y+1)*b.w] {
			copy(dst[4*x:], table[v][:])
		}
	}
	return m, nil
}

// run is pixel i of a run of byte v: in a 4-bit picture two colours alternate.
func (b *bmpHeader) run(v uint8, i int) uint8 {
	if b.bits == 8 {
		return v
	}
	if i%2 == 0 {
		return v >> 4
	}
	return v & 15
}
