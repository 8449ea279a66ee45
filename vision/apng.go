package vision

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
)

// apngReader goes through the frames of an animated PNG and puts each on the canvas in the way of
// Pillow's PngImagePlugin. A picture without animation has one frame. Pixels for viewers that know
// no animation are frame 0, as Pillow counts.
type apngReader struct {
	file *pngFile
	list []apngFrame // of a picture that is not animated: none
	w, h int

	frames int
	canvas []uint8 // R G B A as shown last
	before []uint8 // the same before the last frame was drawn
}

type apngFrame struct {
	rect    image.Rectangle
	data    [][]byte // deflated pixels
	dispose byte
	over    bool // blend with what is there
}

const (
	apngNone       = 0
	apngBackground = 1
	apngPrevious   = 2
)

func newAPNG(data []byte) (*apngReader, error) {
	file, _, err := openPNG(data)
	if err != nil {
		return nil, err
	}
	r := &apngReader{file: file, w: file.w, h: file.h}
	if !file.animated {
		return r, nil
	}
	var f *apngFrame // being read; nil: its header has not come yet
	in := &pngReader{data: data, pos: len(pngSignature)}
	for {
		kind, n, err := in.header()
		if err != nil {
			return nil, err
		}
		b, err := in.take(n)
		if err != nil {
			return nil, err
		}
		in.skip(4)
		switch kind {
		case "tRNS":
			if err := file.transparency(b); err != nil {
				return nil, err
			}
		case "fcTL":
			if len(b) < 26 {
				return nil, errTruncated
			}
			at := func(i int) int64 { return int64(binary.BigEndian.Uint32(b[i:])) }
			if at(12)+at(4) > int64(r.w) || at(16)+at(8) > int64(r.h) || at(4) == 0 || at(8) == 0 {
				return nil, imageErrorf("frame %d reaches over the edge", len(r.list)+1)
			}
			x, y := int(at(12)), int(at(16))
			r.list = append(r.list, apngFrame{
				rect:    image.Rect(x, y, x+int(at(4)), y+int(at(8))),
				dispose: b[24],
				over:    b[25] == 1,
			})
			f = &r.list[len(r.list)-1]
		case "IDAT":
			if f == nil {
				r.list = append(r.list, apngFrame{rect: image.Rect(0, 0, r.w, r.h)})
				f = &r.list[len(r.list)-1]
			}
			f.data = append(f.data, b)
		case "fdAT":
			if f == nil || len(b) < 4 {
				return nil, imageErrorf("frame data without a frame header")
			}
			f.data = append(f.data, b[4:])
		case "IEND":
			return r, nil
		}
	}
}

// next decodes the next frame and returns the canvas, or io.EOF.
func (r *apngReader) next() (*RGB, error) {
	if r.frames >= len(r.list) {
		return nil, io.EOF
	}
	f := r.list[r.frames]
	px, err := r.file.unpack(f.data, f.rect.Dx(), f.rect.Dy())
	if err != nil {
		return nil, err
	}
	m, err := r.file.colors(px)
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
	switch r.file.kind.color {
	case pngGrey, pngRGB: // without alpha
		zero[3] = 255
	case pngPalette:
		if table, err := r.file.colorTable(); err == nil {
			zero = table[0]
		}
	}
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			copy(r.canvas[4*(y*r.w+x):], zero[:])
		}
	}
}
