// Package isobmff reads the little of HEIF files (ISO/IEC 23008-12) that their decoders leave to the
// program.
package isobmff

import "encoding/binary"

// Brands returns the major brand of a file and then the compatible ones that head holds; nil if it
// is no ISO media file.
func Brands(head []byte) []string {
	if len(head) < 12 || string(head[4:8]) != "ftyp" {
		return nil
	}
	end := min(len(head), int(min(binary.BigEndian.Uint32(head), 1<<16)))
	list := []string{string(head[8:12])}
	for at := 16; at+4 <= end; at += 4 {
		list = append(list, string(head[at:at+4]))
	}
	return list
}

// box is one box of a file, or a property.
type box struct {
	kind string
	data []byte
}

// boxes splits data; what is cut off is left out.
func boxes(data []byte) (list []box) {
	for len(data) >= 8 {
		n, head := uint64(binary.BigEndian.Uint32(data)), uint64(8)
		switch n {
		case 0:
			n = uint64(len(data))
		case 1:
			if len(data) < 16 {
				return list
			}
			n, head = binary.BigEndian.Uint64(data[8:]), 16
		}
		if n < head || n > uint64(len(data)) {
			return list
		}
		list = append(list, box{string(data[4:8]), data[head:n]})
		data = data[n:]
	}
	return list
}

func find(list []box, kind string) []byte {
	for _, b := range list {
		if b.kind == kind {
			return b.data
		}
	}
	return nil
}

// Premultiplied reports whether the colours of a picture are multiplied by its alpha: whether the
// file has a reference of kind prem.
func Premultiplied(file []byte) bool {
	meta := find(boxes(file), "meta")
	if len(meta) < 4 {
		return false
	}
	iref := find(boxes(meta[4:]), "iref")
	return len(iref) > 4 && find(boxes(iref[4:]), "prem") != nil
}

// Sampling is how an AVIF file keeps its colours.
type Sampling struct {
	X, Y    int  // columns and rows of pixels that share a sample of chroma; 1 where it is not known
	Grey    bool // there is no chroma
	Deep    bool // more than 8 bits a sample
	Limited bool // black is 16, white is 235; false where the file does not say
}

// SamplingOf reads the properties av1C and colr.
func SamplingOf(file []byte) Sampling {
	s := Sampling{X: 1, Y: 1, Grey: true}
	meta := find(boxes(file), "meta")
	if len(meta) < 4 {
		return s
	}
	known := false
	for _, p := range boxes(find(boxes(find(boxes(meta[4:]), "iprp")), "ipco")) {
		switch b := p.data; {
		case p.kind == "av1C" && len(b) >= 3 && (!known || s.Grey): // alpha is grey
			known = true
			s.X, s.Y = 1+int(b[2]>>3&1), 1+int(b[2]>>2&1)
			s.Deep, s.Grey = b[2]>>6&1 != 0, b[2]>>4&1 != 0
		case p.kind == "colr" && len(b) >= 11 && string(b[:4]) == "nclx":
			s.Limited = b[10]>>7 == 0
		}
	}
	return s
}

// Orientation returns the turn of the primary picture, its properties irot and imir, as the Exif
// orientation that Pillow makes of them.
func Orientation(file []byte) int {
	meta := find(boxes(file), "meta")
	if len(meta) < 4 {
		return 1
	}
	inside := boxes(meta[4:])
	primary := -1
	if b := find(inside, "pitm"); len(b) >= 6 {
		primary = int(binary.BigEndian.Uint16(b[4:]))
		if b[0] > 0 && len(b) >= 8 {
			primary = int(binary.BigEndian.Uint32(b[4:]))
		}
	}
	iprp := boxes(find(inside, "iprp"))
	properties := boxes(find(iprp, "ipco"))
	angle, axis := 0, -1
	for _, i := range associations(find(iprp, "ipma"), primary) {
		if i < 1 || i > len(properties) || len(properties[i-1].data) == 0 {
			continue
		}
		switch p := properties[i-1]; p.kind {
		case "irot":
			angle = int(p.data[0] & 3)
		case "imir":
			axis = int(p.data[0] & 1)
		}
	}
	// By angle, a quarter turn to the left each, then without a mirror, with one that swaps top
	// and bottom, and with one that swaps left and right.
	return [4][3]int{{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}}[angle][axis+1]
}

// associations returns the numbers, from 1, of the properties that an ipma box gives an item.
func associations(b []byte, item int) (list []int) {
	if len(b) < 8 {
		return nil
	}
	version, wide := b[0], b[3]&1 != 0
	b = b[4:]
	take := func(n int) (v int) {
		if len(b) < n {
			b = nil
			return -1
		}
		for _, c := range b[:n] {
			v = v<<8 | int(c)
		}
		b = b[n:]
		return v
	}
	for n := take(4); n > 0 && len(b) > 0; n-- {
		id := 0
		if version < 1 {
			id = take(2)
		} else {
			id = take(4)
		}
		for k := take(1); k > 0; k-- {
			i := 0
			if wide {
				i = take(2) & 0x7fff
			} else {
				i = take(1) & 0x7f
			}
			if id == item {
				list = append(list, i)
			}
		}
	}
	return list
}
