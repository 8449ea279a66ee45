package vision

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"image/png"
	"io"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

func isPNG(data []byte) bool { return bytes.HasPrefix(data, []byte(pngSignature)) }

// pngChunk is one chunk of a PNG file; whole has its length, type and CRC too.
type pngChunk struct {
	kind        string
	data, whole []byte
}

// nextPNGChunk splits the first chunk off data, which starts after the signature or an earlier
// chunk. It returns false at the end of the file or where a chunk is cut off.
func nextPNGChunk(data []byte) (c pngChunk, rest []byte, ok bool) {
	if len(data) < 12 {
		return c, nil, false
	}
	n := int64(binary.BigEndian.Uint32(data))
	if n > int64(len(data))-12 {
		return c, nil, false
	}
	return pngChunk{string(data[4:8]), data[8 : 8+n], data[:12+n]}, data[12+n:], true
}

func sizePNG(data []byte) (w, h int, err error) {
	c, _, ok := nextPNGChunk(data[len(pngSignature):])
	if !ok || c.kind != "IHDR" || len(c.data) < 13 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	w64, h64 := binary.BigEndian.Uint32(c.data), binary.BigEndian.Uint32(c.data[4:])
	if w64 > 1<<31-1 || h64 > 1<<31-1 {
		return 0, 0, imageErrorf("the header gives %dx%d pixels", w64, h64)
	}
	return int(w64), int(h64), nil
}

func decodePNG(data []byte, _ *options) (*RGB, int, error) {
	m, err := readPNG(data)
	if err != nil {
		return nil, 0, err
	}
	if m.Alpha != nil && findPNGChunk(data[len(pngSignature):], "IHDR")[9] == 2 {
		m.Alpha = nil // one colour of an RGB picture does not make it RGBA
	}
	return m, pngMetadata(data).orientation(), nil
}

// readPNG decodes pixels, and does to single transparent colours (tRNS of grey and RGB pictures)
// what Pillow does: it compares with the low byte of each sample of the colour, after the pixels
// have become 8-bit.
func readPNG(data []byte) (*RGB, error) {
	head, rest, _ := nextPNGChunk(data[len(pngSignature):])
	packed, tail, whole := pngData(rest)
	if !whole {
		// Pillow asks for no end either, if the pixels are there.
		data = append(bytes.Clone(data[:len(data)-len(tail)]),
			"\x00\x00\x00\x00IEND\xae\x42\x60\x82"...)
	}
	// Deflate packs 1032 bytes into one at the best. This keeps a short file from asking for the
	// memory of a large picture.
	bits := int64(head.data[8]) * int64([7]int{1, 0, 3, 1, 2, 0, 4}[min(head.data[9], 6)])
	w, h := binary.BigEndian.Uint32(head.data), binary.BigEndian.Uint32(head.data[4:])
	if int64(w)*int64(h)*bits/8/1032 > packed {
		return nil, errTruncated
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		if !whole {
			return nil, errTruncated
		}
		return nil, err
	}
	depth, grey := head.data[8], head.data[9] == 0
	if !grey && head.data[9] != 2 {
		return FromImage(img), nil
	}
	trns := findPNGChunk(rest, "tRNS")
	if trns == nil {
		return FromImage(img), nil
	}
	if src, ok := img.(*image.NRGBA64); ok && grey {
		img = greyOf(src)
	}
	m := FromImage(img)
	m.Alpha = make([]uint8, m.Width*m.Height)
	var clear [3]uint8
	for i := range clear {
		switch {
		case !grey:
			clear[i] = trns[2*i+1]
		case depth == 1:
			clear[i] = 255 * min(trns[0]|trns[1], 1)
		default:
			clear[i] = trns[1]
		}
	}
	opaque := true
	for i := range m.Alpha {
		if [3]uint8(m.Pix[4*i:4*i+3]) == clear {
			opaque = false
		} else {
			m.Alpha[i] = 255
		}
	}
	if opaque {
		m.Alpha = nil
	}
	return m, nil
}

// pngData counts the bytes of pixel data among chunks, and reports whether they go on to the one
// that ends a file. What follows the last whole chunk is tail.
func pngData(data []byte) (n int64, tail []byte, whole bool) {
	for {
		c, rest, ok := nextPNGChunk(data)
		switch {
		case !ok:
			return n, data, false
		case c.kind == "IDAT":
			n += int64(len(c.data))
		case c.kind == "IEND":
			return n, rest, true
		}
		data = rest
	}
}

// greyOf takes the first channel as a 16-bit grey picture.
func greyOf(src *image.NRGBA64) *image.Gray16 {
	out := image.NewGray16(src.Rect)
	for i := 0; i < len(out.Pix); i += 2 {
		out.Pix[i], out.Pix[i+1] = src.Pix[4*i], src.Pix[4*i+1]
	}
	return out
}

// findPNGChunk returns the data of the first chunk of a kind.
func findPNGChunk(data []byte, kind string) []byte {
	for {
		c, rest, ok := nextPNGChunk(data)
		if !ok {
			return nil
		}
		if c.kind == kind {
			return c.data
		}
		data = rest
	}
}

// pngMetadata collects eXIf, ImageMagick's text form of it, and XMP. Chunks after the pixels count
// too, as they do for Pillow.
func pngMetadata(data []byte) (md metadata) {
	var raw []byte
	for rest := data[len(pngSignature):]; ; {
		c, next, ok := nextPNGChunk(rest)
		if !ok || c.kind == "IEND" {
			break
		}
		rest = next
		switch c.kind {
		case "eXIf":
			md.exif = c.data
		case "tEXt", "zTXt":
			key, val, _ := bytes.Cut(c.data, []byte{0})
			switch string(key) {
			case "Raw profile type exif", "XML:com.adobe.xmp":
				if c.kind == "zTXt" {
					val = inflate(val[min(len(val), 1):])
				}
				if key[0] == 'R' {
					raw = rawProfile(string(val))
				} else {
					md.xmp = val
				}
			}
		case "iTXt":
			key, val, _ := bytes.Cut(c.data, []byte{0})
			if string(key) != "XML:com.adobe.xmp" || len(val) < 2 {
				break
			}
			packed := val[0] != 0
			_, val, _ = bytes.Cut(val[2:], []byte{0}) // language
			_, val, _ = bytes.Cut(val, []byte{0})     // translated keyword
			if packed {
				val = inflate(val)
			}
			md.xmp = val
		}
	}
	if md.exif == nil {
		md.exif = raw
	}
	return md
}

// inflate unpacks at most a megabyte of text, which is Pillow's limit too.
func inflate(b []byte) []byte {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(io.LimitReader(z, 1<<20))
	if err != nil {
		return nil
	}
	return out
}
