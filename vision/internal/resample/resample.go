package resample

import (
	"encoding/binary"
	"image"
	"sync"
)

// Pixels is a picture of four-byte pixels whose rows start Stride bytes apart.
type Pixels struct {
	Pix           []uint8
	Stride        int
	Width, Height int
}

// Resize computes the window win of src resized to w by h pixels into dst, which has the size of
// win. All sizes must be positive and win inside w by h.
func Resize(dst, src Pixels, w, h int, f Filter, win image.Rectangle) {
	if f == Nearest && (w != src.Width || h != src.Height) {
		nearest(dst, src, w, h, win)
		return
	}
	resizePart(dst, src, float64(src.Width), float64(src.Height), w, h, f, win)
}

// resizePart is Resize of the part of src from its top left corner to (right, bottom), which may
// lie within the last column and row. Nearest must not change the size.
func resizePart(
	dst, src Pixels, right, bottom float64, w, h int, f Filter, win image.Rectangle,
) {
	horizontal := w != src.Width || right != float64(w)
	vertical := h != src.Height || bottom != float64(h)
	kernelX := func() *kernel { return newKernel(f, src.Width, right, w, win.Min.X, win.Max.X) }
	kernelY := func() *kernel { return newKernel(f, src.Height, bottom, h, win.Min.Y, win.Max.Y) }
	switch {
	case horizontal && vertical:
		// Since 13.0 Pillow takes the cheaper order when the picture shrinks much in height.
		if h < src.Height && src.Height-h > 2*(src.Width-w) {
			kx, ky := kernelX(), kernelY()
			lo, hi := kx.span()
			tmp := scratch(hi-lo, dst.Height)
			verticalPass(tmp.Pixels, src.columns(lo, hi), ky)
			kx.shift(lo)
			horizontalPass(dst, tmp.Pixels, kx)
			tmp.free()
			return
		}
		kx, ky := kernelX(), kernelY()
		lo, hi := ky.span()
		tmp := scratch(dst.Width, hi-lo)
		horizontalPass(tmp.Pixels, src.rows(lo, hi), kx)
		ky.shift(lo)
		verticalPass(dst, tmp.Pixels, ky)
		tmp.free()
	case horizontal:
		horizontalPass(dst, src.rows(win.Min.Y, win.Max.Y), kernelX())
	case vertical:
		verticalPass(dst, src.columns(win.Min.X, win.Max.X), kernelY())
	default:
		src = src.rows(win.Min.Y, win.Max.Y).columns(win.Min.X, win.Max.X)
		for y := range dst.Height {
			copy(dst.row(y), src.row(y))
		}
	}
}

// horizontalPassGeneric fills each row of dst from the same row of src.
func horizontalPassGeneric(dst, src Pixels, k *kernel) {
	for y := range dst.Height {
		horizontalRow(dst.row(y), src.row(y), k)
	}
}

// verticalPassGeneric fills row i of dst from the rows of src that k names for i.
func verticalPassGeneric(dst, src Pixels, k *kernel) {
	for y := range dst.Height {
		verticalRow(dst.row(y), src.Pix[k.start[y]*src.Stride:], src.Stride,
			k.coef[y*k.stride:][:k.taps[y]])
	}
}

func horizontalRow(dst, src []uint8, k *kernel) {
	for i, start := range k.start {
		s := src[4*start:]
		const half = 1 << (precisionBits - 1)
		var r, g, b int32 = half, half, half
		for j, c := range k.coef[i*k.stride:][:k.taps[i]] {
			p := s[4*j : 4*j+4]
			r += int32(p[0]) * c
			g += int32(p[1]) * c
			b += int32(p[2]) * c
		}
		d := dst[4*i : 4*i+4]
		d[0], d[1], d[2], d[3] = clip8(r), clip8(g), clip8(b), 255
	}
}

func verticalRow(dst, src []uint8, stride int, coef []int32) {
	for x := range dst {
		var v int32 = 1 << (precisionBits - 1)
		for j, c := range coef {
			v += int32(src[j*stride+x]) * c
		}
		dst[x] = clip8(v)
	}
}

func clip8(v int32) uint8 {
	v >>= precisionBits
	return uint8(min(max(v, 0), 255))
}

// nearest is ImagingScaleAffine of src/libImaging/Geometry.c, which steps through the source by
// adding up the scale. A position that rounding carries out of the source is left black and clear.
func nearest(dst, src Pixels, w, h int, win image.Rectangle) {
	xs := steps(src.Width, w, win.Min.X, win.Max.X)
	ys := steps(src.Height, h, win.Min.Y, win.Max.Y)
	inside := len(xs)
	for inside > 0 && xs[inside-1] < 0 {
		inside--
	}
	for i := range xs[:inside] {
		xs[i] *= 4 // bytes a pixel
	}
	for y, sy := range ys {
		d := dst.row(y)
		switch {
		case sy < 0:
			clear(d)
		case y > 0 && sy == ys[y-1]:
			copy(d, dst.row(y-1))
		default:
			nearestRow(d, src.row(int(sy)), xs[:inside])
			clear(d[4*inside:])
		}
	}
}

// nearestRowGeneric copies the pixel at byte at[i] of src to place i of dst.
func nearestRowGeneric(dst, src []uint8, at []int32) {
	for i, from := range at {
		px := binary.LittleEndian.Uint32(src[from:])
		binary.LittleEndian.PutUint32(dst[4*i:], px)
	}
}

// steps lists which of in samples each of the outputs lo..hi-1 of out takes; -1 for none.
func steps(in, out, lo, hi int) []int32 {
	scale := float64(in) / float64(out)
	pos := float64(scale * 0.5)
	list := make([]int32, hi-lo)
	for i := range hi {
		if i >= lo {
			list[i-lo] = -1
			if p := int(pos); p < in {
				list[i-lo] = int32(p)
			}
		}
		pos += scale
	}
	return list
}

// shift moves the kernel to a source whose first sample is number by.
func (k *kernel) shift(by int) {
	for i := range k.start {
		k.start[i] -= by
	}
}

func (p Pixels) row(y int) []uint8 { return p.Pix[y*p.Stride : y*p.Stride+4*p.Width] }

func (p Pixels) rows(lo, hi int) Pixels {
	p.Pix, p.Height = p.Pix[lo*p.Stride:], hi-lo
	return p
}

func (p Pixels) columns(lo, hi int) Pixels {
	p.Pix, p.Width = p.Pix[4*lo:], hi-lo
	return p
}

// buffer is a picture whose memory is used again.
type buffer struct {
	Pixels
	mem *[]uint8
}

var pool = sync.Pool{New: func() any { return new([]uint8) }}

func scratch(w, h int) buffer {
	mem := pool.Get().(*[]uint8)
	if n := w * h * 4; cap(*mem) < n {
		*mem = make([]uint8, n)
	}
	return buffer{Pixels{(*mem)[:w*h*4], 4 * w, w, h}, mem}
}

func (b buffer) free() { pool.Put(b.mem) }
