package vision

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"regexp"
	"slices"
	"strings"
)

// turned says which pixel of a picture of w by h stands at (x, y) once an Exif orientation is applied;
// nil where that changes nothing.
func turned(orientation, w, h int) func(x, y int) (int, int) {
	switch orientation {
	case 2:
		return func(x, y int) (int, int) { return w - 1 - x, y }
	case 3:
		return func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }
	case 4:
		return func(x, y int) (int, int) { return x, h - 1 - y }
	case 5:
		return func(x, y int) (int, int) { return y, x }
	case 6:
		return func(x, y int) (int, int) { return y, h - 1 - x }
	case 7:
		return func(x, y int) (int, int) { return w - 1 - y, h - 1 - x }
	case 8:
		return func(x, y int) (int, int) { return w - 1 - y, x }
	}
	return nil
}

// orient applies an Exif orientation, as ImageOps.exif_transpose does. Values other than 2 to 8
// leave the picture unchanged.
func orient(m *RGB, orientation int) *RGB {
	w, h := m.Width, m.Height
	at := turned(orientation, w, h)
	if at == nil {
		return m
	}
	if orientation >= 5 {
		w, h = h, w
	}
	out := newRGB(w, h)
	if m.Alpha != nil {
		out.Alpha = make([]uint8, w*h)
	}
	if w = m.Width; m.Stride != 4*w {
		m = m.crop(m.Bounds())
	}
	// The sources of a line lie in even steps, and so do those of a column: pixels from the first.
	pixel := func(x, y int) int { x, y = at(x, y); return y*w + x }
	first := pixel(0, 0)
	right, down := pixel(1, 0)-first, pixel(0, 1)-first
	// Blocks keep both pictures' lines in the cache while columns are walked.
	const block = 32
	for y0 := 0; y0 < out.Height; y0 += block {
		for x0 := 0; x0 < out.Width; x0 += block {
			for y := y0; y < min(y0+block, out.Height); y++ {
				n, from := min(block, out.Width-x0), first+x0*right+y*down
				dst := out.row(y)[4*x0:][:4*n]
				for i, at := 0, 4*from; i < len(dst); i, at = i+4, at+4*right {
					binary.NativeEndian.PutUint32(dst[i:], binary.NativeEndian.Uint32(m.Pix[at:]))
				}
				if m.Alpha != nil {
					for i := range n {
						out.Alpha[y*out.Width+x0+i] = m.Alpha[from+i*right]
					}
				}
			}
		}
	}
	return out
}

// metadata holds the sources of a picture's orientation, in the order in which Pillow reads them:
// an Exif block, then XMP packets.
type metadata struct {
	exif []byte // a TIFF stream, "Exif\0\0" before it allowed
	xmp  [2][]byte
}

var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// orientation returns 1 to 8, or another number that means nothing.
func (md metadata) orientation() int {
	if o, ok := exifOrientation(md.exif); ok {
		return o
	}
	return md.xmpOrientation()
}

// xmpOrientation is what the first packet that is not empty says.
func (md metadata) xmpOrientation() int {
	for _, packet := range md.xmp {
		if len(packet) == 0 {
			continue
		}
		if m := xmpOrientation.FindSubmatch(packet); m != nil {
			return int(m[1][0] - '0')
		}
		break
	}
	return 1
}

// tiffPrefixes are the beginnings of a TIFF stream that Pillow takes: the number 42 may be in the
// other order of bytes than the letters say.
var tiffPrefixes = []string{"II*\x00", "MM\x00*", "II\x00*", "MM*\x00"}

func hasTIFFPrefix(b []byte) bool {
	return len(b) >= 4 && slices.Contains(tiffPrefixes, string(b[:4]))
}

// exifOrientation finds the orientation in the first directory of an Exif block.
func exifOrientation(b []byte) (int, bool) {
	for range 2 {
		b = bytes.TrimPrefix(b, []byte("Exif\x00\x00"))
	}
	if len(b) < 8 || !hasTIFFPrefix(b) {
		return 0, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	return directoryOrientation(b, order, int64(order.Uint32(b[4:])))
}

// directoryOrientation reads tag 0x0112 of the directory at off of a TIFF stream.
func directoryOrientation(b []byte, order binary.ByteOrder, off int64) (int, bool) {
	value, kind := findTag(b, order, off, tagOrientation)
	if value == nil {
		return 0, false
	}
	return firstNumber(value, kind, order), true
}

// tiffUnits are the bytes that a value of each TIFF type takes, of the types that Pillow knows.
var tiffUnits = map[uint16]int64{
	1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
}

// findTag returns the bytes of a tag and its type, nil if there is none, from the directory at off
// of a TIFF stream, as Pillow's ImageFileDirectory_v2.load reads it: the first entry of a tag counts
// that is of a known type and not empty; an entry longer than the stream, alone or with those before
// it, is passed over; one that is cut off ends the directory, and so does the end of the stream.
func findTag(b []byte, order binary.ByteOrder, off int64, tag uint16) ([]byte, uint16) {
	if off+2 > int64(len(b)) {
		return nil, 0
	}
	n := int(order.Uint16(b[off:]))
	seen := map[uint16]bool{}
	total := int64(0)
	for dir := b[off+2:]; n > 0 && len(dir) >= 12; n, dir = n-1, dir[12:] {
		this, kind, count := order.Uint16(dir), order.Uint16(dir[2:]), int64(order.Uint32(dir[4:]))
		unit := tiffUnits[kind]
		if seen[this] || unit == 0 {
			continue
		}
		value, size := dir[8:12], count*unit
		if size > 4 {
			if total += size; total > int64(len(b)) {
				continue
			}
			at := int64(order.Uint32(value))
			if at+size > int64(len(b)) {
				break
			}
			value = b[at:]
		}
		if size == 0 {
			continue
		}
		if this == tag {
			return value[:size], kind
		}
		seen[this] = true
	}
	return nil, 0
}

// firstNumber returns the first value of a tag if it is a whole number of 8 bits, else 0. BYTE,
// ASCII and UNDEFINED are no numbers to Pillow.
func firstNumber(b []byte, kind uint16, order binary.ByteOrder) int {
	v := 0.0
	switch kind {
	case 3:
		v = float64(order.Uint16(b))
	case 4, 13:
		v = float64(order.Uint32(b))
	case 5:
		v = float64(order.Uint32(b)) / float64(order.Uint32(b[4:]))
	case 6:
		v = float64(int8(b[0]))
	case 8:
		v = float64(int16(order.Uint16(b)))
	case 9:
		v = float64(int32(order.Uint32(b)))
	case 10:
		v = float64(int32(order.Uint32(b))) / float64(int32(order.Uint32(b[4:])))
	case 11:
		v = float64(math.Float32frombits(order.Uint32(b)))
	case 12:
		v = math.Float64frombits(order.Uint64(b))
	case 16:
		v = float64(order.Uint64(b))
	}
	if n := int(v); v >= 0 && v < 256 && float64(n) == v {
		return n
	}
	return 0
}

// rawProfile reads ImageMagick's text form of an Exif block in a PNG: a blank line, the name, the
// length and then hexadecimal lines.
func rawProfile(text string) []byte {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return nil
	}
	b, err := hex.DecodeString(strings.Join(lines[3:], ""))
	if err != nil {
		return nil
	}
	return b
}
