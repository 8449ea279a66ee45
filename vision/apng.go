package vision

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"io"
)

// apngReader goes through the frames of an animated PNG and puts each on the canvas in the way of
// Pillow's PngImagePlugin. A picture without animation has one frame. Pixels for viewers that know
// no animation are frame 0, as Pillow counts.
type apngReader struct {
	head   []byte   // the data of IHDR
	tables [][]byte // whole chunks that every frame needs: PLTE, tRNS
	list   []apngFrame
	w, h   int

	frames int
	canvas []uint8 // R G B A as shown last
	before []uint8 // the same before the last frame was drawn
}

type apngFrame struct {
	rect     image.Rectangle
	data     [][]byte // deflated pixels
	dispose  byte
	over     bool // blend with what is there
	animated bool // has a frame header
}

const (
	apngNone       = 0
	apngBackground = 1
	apngPrevious   = 2
)

func newAPNG(data []byte) (*apngReader, error) {
	w, h, err := sizePNG(data)
	if err != nil {
		return nil, err
	}
	r := &apngReader{w: w, h: h}
	animated := false
	var f *apngFrame // being read; nil: its header has not come yet
	for rest := data[len(pngSignature):]; ; {
		c, next, ok := nextPNGChunk(rest)
		if !ok {
			return nil, errTruncated
		}
		rest = next
		switch c.kind {
		case "IHDR":
			r.head = c.data
		case "PLTE", "tRNS":
			r.tables = append(r.tables, c.whole)
		case "acTL":
			animated = true
		case "fcTL":
			if !animated {
				continue
			}
			if len(c.data) < 26 {
				return nil, errTruncated
			}
			at := func(i int) int64 { return int64(binary.BigEndian.Uint32(c.data[i:])) }
			if at(12)+at(4) > int64(w) || at(16)+at(8) > int64(h) || at(4) == 0 || at(8) == 0 {
				return nil, imageErrorf("frame %d reaches over the edge", len(r.list)+1)
			}
			x, y := int(at(12)), int(at(16))
			r.list = append(r.list, apngFrame{
				rect:     image.Rect(x, y, x+int(at(4)), y+int(at(8))),
				dispose:  c.data[24],
				over:     c.data[25] == 1,
				animated: true,
			})
			f = &r.list[len(r.list)-1]
		case "IDAT":
			if f == nil {
				r.list = append(r.list, apngFrame{rect: image.Rect(0, 0, w, h)})
				f = &r.list[len(r.list)-1]
			}
			f.data = append(f.data, c.data)
		case "fdAT":
			if !animated {
				continue
			}
			if f == nil || len(c.data) < 4 {
				return nil, imageErrorf("frame data without a frame header")
			}
			f.data = append(f.data, c.data[4:])
		}
		if c.kind == "IEND" {
			break
		}
	}
	if len(r.list) == 0 {
		return nil, errTruncated
	}
	return r, nil
}

// next decodes the next frame and returns the canvas, or io.EOF.
func (r *apngReader) next() (*RGB, error) {
	if r.frames >= len(r.list) {
		return nil, io.EOF
	}
	f := r.list[r.frames]
	m, err := readPNG(r.still(f))
	if err != nil {
		return nil, err
	}
	if r.canvas == nil {
		r.canvas = make([]uint8, 4*r.w*r.h)
		r.clear(image.Rect(0, 0, r.w, r.h))
	} else {
		r.disposeOf(r.list[r.frames-1])
	}
	r.before = append(r.before[:0], r.canvas...)
	for y := range m.Height {
		dst := r.canvas[4*((f.rect.Min.Y+y)*r.w+f.rect.Min.X):]
		for x := range m.Width {
			px := dst[4*x : 4*x+4]
			src := m.Pix[4*(y*m.Width+x):][:4]
			alpha := uint8(255)
			if m.Alpha != nil {
				alpha = m.Alpha[y*m.Width+x]
			}
			if !f.over || r.frames == 0 || alpha == 255 {
				put(px, src[0], src[1], src[2], alpha)
				continue
			}
			// ImagingPaste of Pillow mixes all four channels by the mask.
			for i, v := range [4]uint8{src[0], src[1], src[2], alpha} {
				px[i] = mix255(alpha, px[i], v)
			}
		}
	}
	r.frames++
	out := &RGB{Pix: bytes.Clone(r.canvas), Stride: 4 * r.w, Width: r.w, Height: r.h}
	return out.splitAlpha(), nil
}

// mix255 is Pillow's BLEND: in2 where mask is 255, in1 where it is 0.
func mix255(mask, in1, in2 uint8) uint8 {
	t := int(in1)*(255-int(mask)) + int(in2)*int(mask) + 128
	return uint8((t>>8 + t) >> 8)
}

func (r *apngReader) disposeOf(f apngFrame) {
	switch {
	case f.dispose == apngBackground, f.dispose == apngPrevious && r.frames == 1:
		r.clear(f.rect)
	case f.dispose == apngPrevious:
		for y := f.rect.Min.Y; y < f.rect.Max.Y; y++ {
			from, to := 4*(y*r.w+f.rect.Min.X), 4*(y*r.w+f.rect.Max.X)
			copy(r.canvas[from:to], r.before[from:to])
		}
	}
}

// clear sets samples to 0, which for palettes is their first colour.
func (r *apngReader) clear(rect image.Rectangle) {
	var zero [4]uint8
	switch r.head[9] {
	case 0, 2: // without alpha
		zero[3] = 255
	case 3:
		for _, chunk := range r.tables {
			switch {
			case string(chunk[4:8]) == "PLTE" && len(chunk) >= 12+3:
				put(zero[:], chunk[8], chunk[9], chunk[10], 255)
			case string(chunk[4:8]) == "tRNS" && len(chunk) >= 12+1:
				zero[3] = chunk[8]
			}
		}
	}
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			copy(r.canvas[4*(y*r.w+x):], zero[:])
		}
	}
}

// still makes a PNG file of one frame.
func (r *apngReader) still(f apngFrame) []byte {
	out := []byte(pngSignature)
	chunk := func(kind string, parts ...[]byte) {
		n := 0
		for _, p := range parts {
			n += len(p)
		}
		out = binary.BigEndian.AppendUint32(out, uint32(n))
		start := len(out)
		out = append(out, kind...)
		for _, p := range parts {
			out = append(out, p...)
		}
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
	}
	size := binary.BigEndian.AppendUint32(nil, uint32(f.rect.Dx()))
	size = binary.BigEndian.AppendUint32(size, uint32(f.rect.Dy()))
	chunk("IHDR", size, r.head[8:])
	for _, t := range r.tables {
		out = append(out, t...)
	}
	chunk("IDAT", f.data...)
	chunk("IEND")
	return out
}
