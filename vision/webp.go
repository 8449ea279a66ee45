package vision

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
	"golang.org/x/image/webp"
)

func isWebP(data []byte) bool {
	return len(data) >= 16 && string(data[:4]) == "RIFF" && string(data[8:15]) == "WEBPVP8"
}

// webpReader goes through the frames of a WebP file, still or animated, and puts each on the canvas
// in the way of libwebp's WebPAnimDecoder, which is what Pillow reads all of them with.
type webpReader struct {
	w, h   int
	chunks []riffChunk // of frames: ANMF, or the one picture's
	meta   metadata

	frames   int
	canvas   []uint8 // R G B A as shown last
	disposed []uint8 // the same after the last frame was disposed of
	last     webpFrame
	wasKey   bool
}

type riffChunk struct {
	kind string
	data []byte
}

// webpFrame is one picture and where it goes.
type webpFrame struct {
	rect       image.Rectangle
	background bool // disposal: clear the rectangle
	overwrite  bool // do not blend
	alpha      []byte
	vp8, vp8l  []byte
}

// readChunks splits RIFF chunks; a cut-off chunk is an error.
func readChunks(data []byte) (list []riffChunk, err error) {
	for len(data) >= 8 {
		n := int64(binary.LittleEndian.Uint32(data[4:]))
		kind := string(data[:4])
		data = data[8:]
		if n > int64(len(data)) {
			return list, errTruncated
		}
		list = append(list, riffChunk{kind, data[:n]})
		data = data[min(n+n&1, int64(len(data))):]
	}
	return list, nil
}

func newWebP(data []byte) (*webpReader, error) {
	size := int64(binary.LittleEndian.Uint32(data[4:]))
	if size > int64(len(data))-8 {
		return nil, errTruncated
	}
	chunks, err := readChunks(data[12 : 8+max(size, 4)])
	if err != nil {
		return nil, err
	}
	r := &webpReader{}
	animated, flags := false, uint8(0)
	for i, c := range chunks {
		switch c.kind {
		case "VP8X":
			if i > 0 { // not where it counts
				continue
			}
			if len(c.data) < 10 {
				return nil, errTruncated
			}
			animated = c.data[0]&2 != 0
			r.w, r.h = 1+int(uint24(c.data[4:])), 1+int(uint24(c.data[7:]))
			flags = c.data[0]
		case "EXIF": // libwebp sees the first, if the flags announce it
			if flags&8 != 0 && r.meta.exif == nil {
				r.meta.exif = c.data
			}
		case "XMP ":
			if flags&4 != 0 && r.meta.xmp[0] == nil {
				r.meta.xmp[0] = c.data
			}
		case "ANMF":
			if animated {
				r.chunks = append(r.chunks, c)
			}
		case "ALPH", "VP8 ", "VP8L":
			if !animated {
				r.chunks = append(r.chunks, c)
			}
		}
	}
	if len(r.chunks) == 0 {
		return nil, imageErrorf("has no picture")
	}
	if r.w == 0 {
		f := webpFrame{}
		f.add(r.chunks)
		if r.w, r.h, err = f.size(); err != nil {
			return nil, err
		}
	}
	if !animated {
		f := webpFrame{rect: image.Rect(0, 0, r.w, r.h)}
		f.add(r.chunks)
		if f.vp8 == nil && f.vp8l == nil {
			return nil, imageErrorf("has no picture")
		}
	}
	return r, nil
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

// add takes the first picture of chunks and the alpha before it.
func (f *webpFrame) add(chunks []riffChunk) {
	for _, c := range chunks {
		switch c.kind {
		case "ALPH":
			f.alpha = c.data
		case "VP8 ":
			f.vp8 = c.data
			return
		case "VP8L":
			f.vp8l, f.alpha = c.data, nil
			return
		}
	}
}

// size reads the size that the picture itself gives.
func (f *webpFrame) size() (w, h int, err error) {
	switch {
	case f.vp8 != nil:
		if len(f.vp8) < 10 {
			return 0, 0, errTruncated
		}
		le := binary.LittleEndian
		return int(le.Uint16(f.vp8[6:]) & 0x3fff), int(le.Uint16(f.vp8[8:]) & 0x3fff), nil
	case f.vp8l != nil:
		if len(f.vp8l) < 5 {
			return 0, 0, errTruncated
		}
		v := binary.LittleEndian.Uint32(f.vp8l[1:])
		return int(v&0x3fff) + 1, int(v>>14&0x3fff) + 1, nil
	}
	return 0, 0, imageErrorf("has a frame without a picture")
}

func sizeWebP(data []byte) (w, h int, err error) {
	r, err := newWebP(data)
	if err != nil {
		return 0, 0, err
	}
	return r.w, r.h, nil
}

func decodeWebP(data []byte, _ *options) (*RGB, int, error) {
	r, err := newWebP(data)
	if err != nil {
		return nil, 0, err
	}
	m, err := r.next()
	if err != nil {
		return nil, 0, err
	}
	return m, r.meta.orientation(), nil
}

// frame returns the next frame; io.EOF after the last.
func (r *webpReader) frame() (f webpFrame, err error) {
	if r.frames > 0 && (r.frames >= len(r.chunks) || r.chunks[0].kind != "ANMF") {
		return f, io.EOF
	}
	c := r.chunks[r.frames]
	if c.kind != "ANMF" {
		f.rect = image.Rect(0, 0, r.w, r.h)
		f.add(r.chunks)
		return f, nil
	}
	if len(c.data) < 16 {
		return f, errTruncated
	}
	x, y := 2*int(uint24(c.data)), 2*int(uint24(c.data[3:]))
	w, h := 1+int(uint24(c.data[6:])), 1+int(uint24(c.data[9:]))
	f.rect = image.Rect(x, y, x+w, y+h)
	if !f.rect.In(image.Rect(0, 0, r.w, r.h)) {
		return f, imageErrorf("frame %d reaches over the edge", r.frames+1)
	}
	f.background, f.overwrite = c.data[15]&1 != 0, c.data[15]&2 != 0
	chunks, err := readChunks(c.data[16:])
	f.add(chunks)
	return f, err
}

// next decodes the next frame and returns the canvas, or io.EOF. The size of the canvas must have
// been checked.
func (r *webpReader) next() (*RGB, error) {
	f, err := r.frame()
	if err != nil {
		return nil, err
	}
	px, err := f.decode()
	if err != nil {
		return nil, err
	}
	if r.canvas == nil {
		r.canvas, r.disposed = make([]uint8, 4*r.w*r.h), make([]uint8, 4*r.w*r.h)
	}
	full := image.Rect(0, 0, r.w, r.h)
	key := r.frames == 0 || f.rect == full && (f.overwrite || !f.hasAlpha()) ||
		r.last.background && (r.last.rect == full || r.wasKey)
	if key {
		clear(r.canvas)
	} else {
		copy(r.canvas, r.disposed)
	}
	blend := !key && !f.overwrite
	for y := range f.rect.Dy() {
		row := px[4*y*f.rect.Dx():][:4*f.rect.Dx()]
		at := 4 * ((f.rect.Min.Y+y)*r.w + f.rect.Min.X)
		dst := r.canvas[at:][:len(row)]
		if !blend {
			copy(dst, row)
			continue
		}
		for i := 0; i < len(row); i += 4 {
			where := image.Pt(f.rect.Min.X+i/4, f.rect.Min.Y+y)
			if r.last.background && where.In(r.last.rect) {
				copy(dst[i:i+4], row[i:i+4])
			} else {
				blendOver(dst[i:i+4], row[i:i+4])
			}
		}
	}
	r.frames++
	r.last, r.wasKey = f, key
	copy(r.disposed, r.canvas)
	if f.background {
		for y := f.rect.Min.Y; y < f.rect.Max.Y; y++ {
			clear(r.disposed[4*(y*r.w+f.rect.Min.X) : 4*(y*r.w+f.rect.Max.X)])
		}
	}
	m := &RGB{Pix: bytes.Clone(r.canvas), Stride: 4 * r.w, Width: r.w, Height: r.h}
	return m.splitAlpha(), nil
}

// hasAlpha reports whether the headers of the picture announce alpha.
func (f *webpFrame) hasAlpha() bool {
	return f.alpha != nil || len(f.vp8l) >= 5 && f.vp8l[4]>>4&1 != 0
}

// blendOver blends src over dst as BlendPixelNonPremult of libwebp does.
func blendOver(dst, src []uint8) {
	a := uint32(src[3])
	switch a {
	case 0:
		return
	case 255:
		copy(dst, src)
		return
	}
	below := uint32(dst[3]) * (256 - a) >> 8
	both := a + below
	scale := uint32(1<<24) / both
	for i := range 3 {
		dst[i] = uint8((uint32(src[i])*a + uint32(dst[i])*below) * scale >> 24)
	}
	dst[3] = uint8(both)
}

// decode returns the pixels of a frame, R G B A.
func (f *webpFrame) decode() ([]uint8, error) {
	w, h, err := f.size()
	if err != nil {
		return nil, err
	}
	if w != f.rect.Dx() || h != f.rect.Dy() {
		return nil, imageErrorf("a picture of %dx%d pixels in a frame of %dx%d",
			w, h, f.rect.Dx(), f.rect.Dy())
	}
	if f.vp8l != nil {
		img, err := vp8l.Decode(bytes.NewReader(f.vp8l))
		if err != nil {
			return nil, err
		}
		return img.(*image.NRGBA).Pix, nil
	}
	if f.alpha == nil {
		d := vp8.NewDecoder()
		d.Init(bytes.NewReader(f.vp8), len(f.vp8))
		if _, err := d.DecodeFrameHeader(); err != nil {
			return nil, err
		}
		img, err := d.DecodeFrame()
		if err != nil {
			return nil, err
		}
		return yuvToRGBA(img, w, h), nil
	}
	img, err := webp.Decode(bytes.NewReader(f.withAlpha(w, h)))
	if err != nil {
		return nil, err
	}
	ycc := img.(*image.NYCbCrA)
	px := yuvToRGBA(&ycc.YCbCr, w, h)
	for y := range h {
		for x, v := range ycc.A[y*ycc.AStride:][:w] {
			px[4*(y*w+x)+3] = v
		}
	}
	return px, nil
}

// withAlpha makes a file of the picture and its alpha.
func (f *webpFrame) withAlpha(w, h int) []byte {
	le := binary.LittleEndian
	out := []byte("RIFF\x00\x00\x00\x00WEBP")
	chunk := func(kind string, data []byte) {
		out = append(out, kind...)
		out = le.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
		if len(data)%2 != 0 {
			out = append(out, 0)
		}
	}
	size := func(n int) []byte { return le.AppendUint32(nil, uint32(n-1))[:3] }
	chunk("VP8X", append(append([]byte{0x10, 0, 0, 0}, size(w)...), size(h)...))
	chunk("ALPH", f.alpha)
	chunk("VP8 ", f.vp8)
	le.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

// yuvToRGBA converts as libwebp does by default: chroma is interpolated ("fancy upsampling",
// src/dsp/upsampling.c), colours are limited-range BT.601 in 14-bit fixed point (src/dsp/yuv.h).
func yuvToRGBA(img *image.YCbCr, w, h int) []uint8 {
	out := make([]uint8, 4*w*h)
	cw := (w + 1) / 2
	chroma := func(y int) (u, v []uint8) {
		return img.Cb[y*img.CStride:][:cw], img.Cr[y*img.CStride:][:cw]
	}
	for y := range h {
		// The nearer row of chroma counts three times; above the first row and below the last there
		// is none, and the nearer stands in for it.
		near, far := y/2, y/2-1+y%2*2
		if far < 0 || far >= (h+1)/2 {
			far = near
		}
		nu, nv := chroma(near)
		fu, fv := chroma(far)
		luma := img.Y[y*img.YStride:][:w]
		dst := out[4*y*w:][:4*w]
		for x := range w {
			// The same across: pixel x lies between columns a, the nearer, and b.
			a, b := x/2, x/2-1+x%2*2
			if b < 0 || b >= cw {
				b = a
			}
			put(dst[4*x:], 0, 0, 0, 255)
			yuvPixel(dst[4*x:], int(luma[x]), upsampleWebP(nu[a], nu[b], fu[a], fu[b]),
				upsampleWebP(nv[a], nv[b], fv[a], fv[b]))
		}
	}
	return out
}

// upsampleWebP weighs four samples 9:3:3:1, the nearest first, with libwebp's way of rounding:
// first the diagonal, then the mean with the nearest.
func upsampleWebP(near, across, down, diagonal uint8) int {
	n, a, d, x := int(near), int(across), int(down), int(diagonal)
	return ((n+a+d+x+8+2*(a+d))>>3 + n) >> 1
}

func yuvPixel(dst []uint8, y, u, v int) {
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	l := y * 19077 >> 8
	dst[0] = clip(l + v*26149>>8 - 14234)
	dst[1] = clip(l - u*6419>>8 - v*13320>>8 + 8708)
	dst[2] = clip(l + u*33050>>8 - 17685)
}
