package searchable

import (
	"encoding/binary"
	"image/color"
	"slices"
)

// What image/jpeg says of files that PDF readers show as they are. Of four inks it says something else.
var (
	grayModel  = color.GrayModel
	colorModel = color.YCbCrModel
)

// The font: its units, how wide each glyph is, and how far it reaches below the line of writing.
const (
	unitsPerEm = 1000
	advance    = 500
	below      = 200
)

// boxFont makes a TrueType font (OpenType 1.9, "glyf" flavour) of two glyphs: an empty one and a box as
// large as a glyph may be. In a glyph without an outline PDFium would see no height.
func boxFont() []byte {
	be := binary.BigEndian
	words := func(values ...int) (out []byte) {
		for _, v := range values {
			out = be.AppendUint16(out, uint16(v))
		}
		return out
	}
	const ascent = unitsPerEm - below
	tables := []struct {
		name string
		data []byte
	}{
		// Tables stand in the order of their names.
		{"OS/2", slices.Concat(words(3, advance, 400, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), make([]byte, 10+16), []byte("XPIP"),
			words(0x40, 0x20, 0x20, ascent, -below, 0, ascent, below), make([]byte, 8), words(0, 0, 0, 0x20, 0))},
		{"cmap", words(0, 1, 3, 1, 0, 12, 4, 24, 0, 2, 2, 0, 0, 0xffff, 0, 0xffff, 1, 0)},
		{"glyf", slices.Concat(words(1, 0, -below, advance, ascent, 3, 0), []byte{1, 1, 1, 1},
			words(0, advance, 0, -advance, -below, 0, unitsPerEm, 0, 0))},
		{"head", slices.Concat(words(1, 0, 1, 0, 0, 0, 0x5f0f, 0x3cf5, 0, unitsPerEm), make([]byte, 16),
			words(0, -below, advance, ascent, 0, 8, 2, 0, 0))},
		{"hhea", words(1, 0, ascent, -below, 0, advance, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1)},
		{"hmtx", words(advance, 0, 0)},
		{"loca", words(0, 0, 18)}, // in units of two bytes
		{"maxp", words(1, 0, 2, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"name", words(0, 0, 6)},
		{"post", slices.Concat(words(3, 0, 0, 0, 0, 0, 0, 1), make([]byte, 16))},
	}
	sum := func(data []byte) (s uint32) {
		for len(data)%4 != 0 {
			data = append(slices.Clip(data), 0)
		}
		for ; len(data) > 0; data = data[4:] {
			s += be.Uint32(data)
		}
		return s
	}
	// 10 tables: 2^3 is the largest power of two that is not more.
	out := words(1, 0, len(tables), 8*16, 3, (len(tables)-8)*16)
	at := len(out) + 16*len(tables)
	var body []byte
	head := 0
	for _, t := range tables {
		if t.name == "head" {
			head = at + len(body)
		}
		out = append(out, t.name...)
		out = be.AppendUint32(out, sum(t.data))
		out = be.AppendUint32(out, uint32(at+len(body)))
		out = be.AppendUint32(out, uint32(len(t.data)))
		body = append(body, t.data...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
	}
	out = append(out, body...)
	be.PutUint32(out[head+8:], 0xb1b0afba-sum(out))
	return out
}
