package vision

import (
	"bytes"
	"encoding/binary"
)

func isQOI(data []byte) bool { return bytes.HasPrefix(data, []byte("qoif")) }

func sizeQOI(data []byte) (w, h int, err error) {
	if len(data) < 14 {
		return 0, 0, errTruncated
	}
	w64, h64 := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if w64 > 1<<31-1 || h64 > 1<<31-1 {
		return 0, 0, imageErrorf("the header gives %dx%d pixels", w64, h64)
	}
	return int(w64), int(h64), nil
}

// decodeQOI reads a "Quite OK Image" (qoiformat.org) as Pillow's QoiImagePlugin does, which does
// not put the pixels of runs into the table.
func decodeQOI(data []byte, _ *options) (*RGB, int, error) {
	w, h, err := sizeQOI(data)
	if err != nil {
		return nil, 0, err
	}
	alpha := data[12] != 3
	data = data[14:]
	if w*h/62 > len(data) { // a run of 62 pixels takes a byte
		return nil, 0, errTruncated
	}
	m := newRGB(w, h)
	var table [64][4]uint8
	px := [4]uint8{3: 255}
	for at := 0; at < len(m.Pix); {
		if len(data) == 0 {
			return nil, 0, errTruncated
		}
		b := data[0]
		used, run := 1, 1
		switch {
		case b == 0xfe:
			used = 4
		case b == 0xff:
			used = 5
		case b>>6 == 2:
			used = 2
		}
		if len(data) < used {
			return nil, 0, errTruncated
		}
		switch {
		case b >= 0xfe:
			copy(px[:], data[1:used])
		case b>>6 == 0:
			px = table[b]
		case b>>6 == 1:
			px[0] += b>>4&3 - 2
			px[1] += b>>2&3 - 2
			px[2] += b&3 - 2
		case b>>6 == 2:
			green := b&63 - 32
			px[0] += green + data[1]>>4 - 8
			px[1] += green
			px[2] += green + data[1]&15 - 8
		default:
			run = int(b&63) + 1
		}
		data = data[used:]
		if b < 0xc0 || b >= 0xfe {
			table[(px[0]*3+px[1]*5+px[2]*7+px[3]*11)%64] = px
		}
		for ; run > 0 && at < len(m.Pix); run-- {
			copy(m.Pix[at:], px[:])
			at += 4
		}
	}
	if !alpha {
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 255
		}
	}
	return m.splitAlpha(), 1, nil
}
