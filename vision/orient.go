package vision

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"strings"
)

// orient applies an Exif orientation, as ImageOps.exif_transpose does. Values other than 2 to 8
// leave the picture unchanged.
func orient(m *RGB, orientation int) *RGB {
	w, h := m.Width, m.Height
	// Destination pixel (x, y) comes from source pixel at(x, y).
	var at func(x, y int) (int, int)
	switch orientation {
	case 2:
		at = func(x, y int) (int, int) { return w - 1 - x, y }
	case 3:
		at = func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }
	case 4:
		at = func(x, y int) (int, int) { return x, h - 1 - y }
	case 5:
		at = func(x, y int) (int, int) { return y, x }
	case 6:
		at = func(x, y int) (int, int) { return y, h - 1 - x }
	case 7:
		at = func(x, y int) (int, int) { return w - 1 - y, h - 1 - x }
	case 8:
		at = func(x, y int) (int, int) { return w - 1 - y, x }
	default:
		return m
	}
	if orientation >= 5 {
		w, h = h, w
	}
	out := newRGB(w, h)
	if m.Alpha != nil {
		out.Alpha = make([]uint8, w*h)
	}
	w, h = m.Width, m.Height
	// Blocks keep both pictures' lines in the cache while columns are walked.
	const block = 32
	for y0 := 0; y0 < out.Height; y0 += block {
		for x0 := 0; x0 < out.Width; x0 += block {
			for y := y0; y < min(y0+block, out.Height); y++ {
				dst := out.row(y)
				for x := x0; x < min(x0+block, out.Width); x++ {
					sx, sy := at(x, y)
					copy(dst[4*x:4*x+4], m.Pix[sy*m.Stride+4*sx:])
					if m.Alpha != nil {
						out.Alpha[y*out.Width+x] = m.Alpha[sy*w+sx]
					}
				}
			}
		}
	}
	return out
}

// metadata holds the sources of a picture's orientation, in the order in which Pillow reads them:
// an Exif block, then an XMP packet.
type metadata struct {
	exif []byte // a TIFF stream, "Exif\0\0" before it allowed
	xmp  []byte
}

var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// orientation returns 1 to 8, or another number that means nothing.
func (md metadata) orientation() int {
	if o, ok := exifOrientation(md.exif); ok {
		return o
	}
	if m := xmpOrientation.FindSubmatch(md.xmp); m != nil {
		return int(m[1][0] - '0')
	}
	return 1
}

// exifOrientation finds tag 0x0112 in the first directory of an Exif block.
func exifOrientation(b []byte) (int, bool) {
	for bytes.HasPrefix(b, []byte("Exif\x00\x00")) {
		b = b[6:]
	}
	if len(b) < 8 {
		return 0, false
	}
	var order binary.ByteOrder
	switch string(b[:2]) {
	case "II":
		order = binary.LittleEndian
	case "MM":
		order = binary.BigEndian
	default:
		return 0, false
	}
	off := int64(order.Uint32(b[4:]))
	if off+2 > int64(len(b)) {
		return 0, false
	}
	n := int(order.Uint16(b[off:]))
	for dir := b[off+2:]; n > 0 && len(dir) >= 12; n, dir = n-1, dir[12:] {
		if order.Uint16(dir) != 0x0112 || order.Uint32(dir[4:]) != 1 {
			continue
		}
		switch order.Uint16(dir[2:]) {
		case 1, 6: // BYTE, SBYTE
			return int(dir[8]), true
		case 3, 8: // SHORT, SSHORT
			return int(order.Uint16(dir[8:])), true
		case 4, 9: // LONG, SLONG
			return int(order.Uint32(dir[8:])), true
		}
	}
	return 0, false
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
