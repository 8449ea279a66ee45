package vision

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

func isICO(data []byte) bool { return bytes.HasPrefix(data, []byte("\x00\x00\x01\x00")) }

// icoEntry is one picture of an icon.
type icoEntry struct {
	area, depth  int
	bits         int // a pixel, as the directory says
	size, offset int64
}

// largestIcon returns the picture that Pillow's IcoImagePlugin takes: of the largest, the one of the
// fewest colours.
func largestIcon(data []byte) (icoEntry, error) {
	if len(data) < 6 {
		return icoEntry{}, errTruncated
	}
	le := binary.LittleEndian
	n := int(le.Uint16(data[4:]))
	if len(data) < 6+16*n {
		return icoEntry{}, errTruncated
	}
	if n == 0 {
		return icoEntry{}, imageErrorf("has no picture")
	}
	list := make([]icoEntry, n)
	for i := range list {
		b := data[6+16*i:]
		side := func(v uint8) int { return int(v-1) + 1 } // 0 stands for 256
		e := icoEntry{
			area: side(b[0]) * side(b[1]),
			bits: int(le.Uint16(b[6:])),
			size: int64(le.Uint32(b[8:])), offset: int64(le.Uint32(b[12:])),
		}
		if e.depth = e.bits; e.depth == 0 && b[2] != 0 {
			e.depth = bits.Len8(b[2] - 1)
		}
		if e.depth == 0 {
			e.depth = 256
		}
		list[i] = e
	}
	slices.SortStableFunc(list, func(a, b icoEntry) int {
		if a.area != b.area {
			return b.area - a.area
		}
		return a.depth - b.depth
	})
	if list[0].offset > int64(len(data)) {
		return icoEntry{}, errTruncated
	}
	return list[0], nil
}

func sizeICO(data []byte) (w, h int, err error) {
	e, err := largestIcon(data)
	if err != nil {
		return 0, 0, err
	}
	if isPNG(data[e.offset:]) {
		return sizePNG(data[e.offset:])
	}
	b, err := readDIBHeader(data, int(e.offset), 0)
	return b.w, b.h / 2, err
}

func decodeICO(data []byte, o *options) (*RGB, int, error) {
	e, err := largestIcon(data)
	if err != nil {
		return nil, 0, err
	}
	if !isPNG(data[e.offset:]) {
		m, err := e.bitmap(data)
		return m, 1, err
	}
	file := data[e.offset:]
	m, _, err := decodePNG(file, o)
	if err != nil {
		return nil, 0, err
	}
	f, _, _ := openPNG(file)
	if f.kind.color != pngGreyAlpha && f.kind.color != pngRGBA {
		m.Alpha = nil // Pillow loses single transparent colours here
	}
	return m, 1, nil
}

// bitmap reads a picture followed by a mask, both in the height that the header gives.
func (e icoEntry) bitmap(data []byte) (*RGB, error) {
	b, err := readDIBHeader(data, int(e.offset), 0)
	if err != nil {
		return nil, err
	}
	if b.h /= 2; b.h == 0 {
		return nil, imageErrorf("has no rows")
	}
	m, err := b.decode(data)
	if err != nil {
		return nil, err
	}
	alpha := make([]uint8, b.w*b.h)
	if e.bits == 32 { // every fourth byte of the pixels
		if len(b.pixels) < 4*len(alpha) {
			return nil, errTruncated
		}
		for i := range alpha {
			alpha[(b.h-1-i/b.w)*b.w+i%b.w] = b.pixels[4*i+3]
		}
	} else { // bits at the end, rows of whole words
		stride := (b.w + 31) / 32 * 4
		start := e.offset + e.size - int64(stride*b.h)
		if start < 0 || start+int64(stride*(b.h-1)+(b.w+7)/8) > int64(len(data)) {
			return nil, errTruncated
		}
		mask := data[start:]
		for i := range alpha {
			x, y := i%b.w, b.h-1-i/b.w
			if mask[y*stride+x/8]>>(7-x%8)&1 == 0 {
				alpha[i] = 255
			}
		}
	}
	if slices.ContainsFunc(alpha, func(v uint8) bool { return v < 255 }) {
		m.Alpha = alpha
	}
	return m, nil
}

// isDIB tells a bitmap without the header of its file.
func isDIB(data []byte) bool {
	return len(data) >= 16 && slices.Contains(dibHeaders, int64(binary.LittleEndian.Uint32(data)))
}

func sizeDIB(data []byte) (w, h int, err error) {
	b, err := readDIBHeader(data, 0, 0)
	return b.w, b.h, err
}

func decodeDIB(data []byte, _ *options) (*RGB, int, error) {
	b, err := readDIBHeader(data, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	m, err := b.decode(data)
	return m, 1, err
}
