package vision

import (
	"bytes"
	"encoding/binary"
)

// tgaHeader is what Pillow's TgaImagePlugin reads of a Targa file.
type tgaHeader struct {
	w, h          int
	mapped        bool // there is a palette
	kind, depth   int  // 1: indices, 2: colours, 3: greys
	runs          bool // run-length encoded
	flip, topDown bool
	colors        palette
	pixels        []byte
}

// isTGA tells a Targa file, which has no signature, by the values that its header may have. Those of
// indices without a palette, of which MPEG streams look like, are left out: Pillow cannot decode
// them either.
func isTGA(data []byte) bool {
	if len(data) < 18 || data[1] > 1 {
		return false
	}
	kind, le := data[2]&^8, binary.LittleEndian
	switch {
	case kind < 1 || kind > 3 || kind == 1 && data[1] == 0:
		return false
	case le.Uint16(data[12:]) == 0 || le.Uint16(data[14:]) == 0:
		return false
	case data[1] == 1 && data[7] != 16 && data[7] != 24 && data[7] != 32:
		return false
	}
	return data[16] == 1 || data[16] == 8 || data[16] == 16 || data[16] == 24 || data[16] == 32
}

func sizeTGA(data []byte) (w, h int, err error) {
	le := binary.LittleEndian
	return int(le.Uint16(data[12:])), int(le.Uint16(data[14:])), nil
}

func readTGAHeader(data []byte) (*tgaHeader, error) {
	t := &tgaHeader{
		mapped: data[1] == 1, kind: int(data[2] &^ 8), depth: int(data[16]), runs: data[2]&8 != 0,
		flip: data[17]&0x10 != 0, topDown: data[17]&0x20 != 0,
	}
	t.w, t.h, _ = sizeTGA(data)
	rest := data[min(18+int(data[0]), len(data)):]
	if t.mapped {
		le := binary.LittleEndian
		first, n, size := int(le.Uint16(data[3:])), int(le.Uint16(data[5:])), int(data[7]/8)
		if first+n > 256 {
			return nil, imageErrorf("has a palette of %d colours", first+n)
		}
		for i := range t.colors {
			t.colors[i][3] = 255
		}
		for i := range first { // filled with bytes of 0
			t.colors[i] = tgaColor(make([]byte, 4), size)
		}
		for i := range min(n, len(rest)/size) {
			t.colors[first+i] = tgaColor(rest[i*size:], size)
		}
		rest = rest[min(n*size, len(rest)):]
	}
	t.pixels = rest
	return t, nil
}

// tgaColor reads a colour of 2, 3 or 4 bytes.
func tgaColor(b []byte, size int) [4]uint8 {
	switch size {
	case 2:
		v := int(binary.LittleEndian.Uint16(b))
		level := func(v int) uint8 { return uint8(v & 31 * 255 / 31) }
		return [4]uint8{level(v >> 10), level(v >> 5), level(v), ^uint8(v >> 15 * 255)}
	case 3:
		return [4]uint8{b[2], b[1], b[0], 255}
	}
	return [4]uint8{b[2], b[1], b[0], b[3]}
}

// pixel returns the pixel that starts at b.
func (t *tgaHeader) pixel(b []byte) [4]uint8 {
	switch {
	case t.kind == 3 && t.mapped && t.depth == 16:
		px := t.colors[b[0]]
		px[3] = b[1]
		return px
	case t.mapped: // greys are indices then, too
		return t.colors[b[0]]
	case t.kind == 2:
		return tgaColor(b, t.depth/8)
	case t.depth == 16:
		return [4]uint8{b[0], b[0], b[0], b[1]}
	}
	return [4]uint8{b[0], b[0], b[0], 255}
}

func decodeTGA(data []byte, _ *options) (*RGB, int, error) {
	t, err := readTGAHeader(data)
	if err != nil {
		return nil, 0, err
	}
	switch [2]int{t.kind, t.depth} {
	case [2]int{1, 8}, [2]int{2, 16}, [2]int{2, 24}, [2]int{2, 32}, [2]int{3, 8}, [2]int{3, 16}:
	case [2]int{3, 1}:
		if !t.runs {
			break
		}
		fallthrough
	default:
		return nil, 0, imageErrorf("pixels of kind %d and %d bits are not supported", data[2], t.depth)
	}
	if t.mapped && (t.kind == 2 || t.depth == 1) {
		return nil, 0, imageErrorf("has a palette that is not for its pixels")
	}
	// A run of 128 pixels takes two bytes at the least. This keeps a short file from asking for the
	// memory of a large picture.
	stride := (t.w*t.depth + 7) / 8
	if t.runs && t.w*t.h/128 > len(t.pixels) || !t.runs && len(t.pixels)/t.h < stride {
		return nil, 0, errTruncated
	}
	m := newRGB(t.w, t.h)
	if t.runs {
		err = t.unpackRuns(m)
	} else {
		t.unpackRows(m, stride)
	}
	if err != nil {
		return nil, 0, err
	}
	if t.kind == 2 && t.depth != 24 {
		if err := tgaAttributes(m, data); err != nil {
			return nil, 0, err
		}
	}
	m = m.splitAlpha()
	if t.flip {
		m = orient(m, 2)
	}
	return m, 1, nil
}

// row is the row of the picture that comes as the y-th.
func (t *tgaHeader) row(m *RGB, y int) []uint8 {
	if !t.topDown {
		y = t.h - 1 - y
	}
	return m.row(y)
}

// unpackRows reads rows of stride bytes.
func (t *tgaHeader) unpackRows(m *RGB, stride int) {
	for y := range t.h {
		src, dst := t.pixels[y*stride:], t.row(m, y)
		for x := range t.w {
			if t.depth == 1 {
				v := -(src[x/8] >> (7 - x%8) & 1)
				put(dst[4*x:], v, v, v, 255)
				continue
			}
			px := t.pixel(src[x*t.depth/8:])
			copy(dst[4*x:4*x+4], px[:])
		}
	}
}

// unpackRuns reads runs of one pixel, which end with a row, and of different ones, which may go on
// in the next rows.
func (t *tgaHeader) unpackRuns(m *RGB) error {
	size, src := t.depth/8, t.pixels
	x, y := 0, 0
	set := func(b []byte) {
		px := t.pixel(b)
		copy(t.row(m, y)[4*x:], px[:])
		if x++; x == t.w {
			x, y = 0, y+1
		}
	}
	for y < t.h {
		if len(src) == 0 {
			return errTruncated
		}
		n, run := int(src[0]&127)+1, src[0]&128 != 0
		src = src[1:]
		if run {
			if len(src) < size {
				return errTruncated
			}
			if x+n > t.w {
				return imageErrorf("damaged: a run of %d pixels in a row of %d", n, t.w-x)
			}
			for range n {
				set(src)
			}
			src = src[size:]
			continue
		}
		if len(src) < n*size {
			return errTruncated
		}
		for i := 0; i < n && y < t.h; i++ {
			set(src[i*size:])
		}
		src = src[n*size:]
	}
	return nil
}

// tgaAttributes makes m opaque if the end of the file says that its fourth byte is not alpha.
func tgaAttributes(m *RGB, data []byte) error {
	const length = 26
	if len(data) < length {
		return errTruncated
	}
	footer := data[len(data)-length:]
	if !bytes.HasSuffix(footer, []byte("TRUEVISION-XFILE.\x00")) {
		return nil
	}
	at := int64(binary.LittleEndian.Uint32(footer))
	if at != 0 && at+494 < int64(len(data)) && data[at+494] == 0 {
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 255
		}
	}
	return nil
}
