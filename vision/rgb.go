package vision

import (
	"image"
	"image/color"
	"image/draw"
)

// RGB is an opaque picture of 8-bit sRGB samples. A pixel takes four bytes,
// R G B 255, so that vector code can step over pixels; the rows are Stride
// bytes apart and start at Pix[0], and the top left pixel is at (0, 0).
type RGB struct {
	Pix    []uint8
	Stride int
	Width  int
	Height int
}

// NewRGB returns a black picture of w by h pixels.
func NewRGB(w, h int) *RGB {
	m := newRGB(w, h)
	for i := 3; i < len(m.Pix); i += 4 {
		m.Pix[i] = 255
	}
	return m
}

// newRGB is NewRGB without the alpha bytes set: for callers that write all.
func newRGB(w, h int) *RGB {
	return &RGB{Pix: make([]uint8, w*h*4), Stride: w * 4, Width: w, Height: h}
}

// ColorModel is color.RGBAModel.
func (m *RGB) ColorModel() color.Model { return color.RGBAModel }

// Bounds is the rectangle from (0, 0) to (Width, Height).
func (m *RGB) Bounds() image.Rectangle { return image.Rect(0, 0, m.Width, m.Height) }

// Opaque is always true.
func (m *RGB) Opaque() bool { return true }

// At returns the color.RGBA of a pixel, or zero outside of the picture.
func (m *RGB) At(x, y int) color.Color { return m.Image().RGBAAt(x, y) }

// Image returns a view of the same pixels as the standard library's type, for
// encoders and drawing. Whoever draws on it must keep it opaque.
func (m *RGB) Image() *image.RGBA {
	return &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Bounds()}
}

// row returns the bytes of row y.
func (m *RGB) row(y int) []uint8 { return m.Pix[y*m.Stride : y*m.Stride+m.Width*4] }

// crop returns a copy of the part r, which must lie inside.
func (m *RGB) crop(r image.Rectangle) *RGB {
	out := newRGB(r.Dx(), r.Dy())
	for y := range out.Height {
		copy(out.row(y), m.row(r.Min.Y + y)[r.Min.X*4:])
	}
	return out
}

// FromImage converts any image to RGB as Pillow's convert("RGB") does: alpha is
// dropped, not blended; 16-bit colours lose their low byte, but 16-bit greys are
// clipped at 255, for that is what the reference does to them. Pixels that
// image/color keeps premultiplied by alpha are divided by it first, as their
// file had them. A *RGB is returned as it is, not copied.
func FromImage(img image.Image) *RGB {
	if m, ok := img.(*RGB); ok {
		return m
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	out := newRGB(w, h)
	switch src := img.(type) {
	case *image.NRGBA:
		for y := range h {
			copyOpaque(out.row(y), src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):])
		}
	case *image.NRGBA64:
		for y := range h {
			dst, s := out.row(y), src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for i := 0; i < len(dst); i += 4 {
				dst[i], dst[i+1], dst[i+2], dst[i+3] = s[2*i], s[2*i+2], s[2*i+4], 255
			}
		}
	case *image.RGBA64:
		for y := range h {
			for x := range w {
				c := color.NRGBA64Model.Convert(src.RGBA64At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA64)
				set(out.row(y)[4*x:], uint8(c.R>>8), uint8(c.G>>8), uint8(c.B>>8))
			}
		}
	case *image.RGBA:
		for y := range h {
			dst, s := out.row(y), src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for i := 0; i < len(dst); i += 4 {
				a := s[i+3]
				set(dst[i:], unpremultiply(s[i], a), unpremultiply(s[i+1], a), unpremultiply(s[i+2], a))
			}
		}
	case *image.Gray:
		for y := range h {
			dst, s := out.row(y), src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range w {
				set(dst[4*x:], s[x], s[x], s[x])
			}
		}
	case *image.Gray16:
		for y := range h {
			dst, s := out.row(y), src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range w {
				v := s[2*x+1]
				if s[2*x] != 0 {
					v = 255
				}
				set(dst[4*x:], v, v, v)
			}
		}
	case *image.Paletted:
		var table [256][3]uint8
		for i, c := range src.Palette[:min(len(src.Palette), 256)] {
			n := color.NRGBAModel.Convert(c).(color.NRGBA)
			table[i] = [3]uint8{n.R, n.G, n.B}
		}
		for y := range h {
			dst, s := out.row(y), src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range w {
				c := &table[s[x]]
				set(dst[4*x:], c[0], c[1], c[2])
			}
		}
	default:
		tmp := image.NewNRGBA(image.Rect(0, 0, w, h))
		draw.Draw(tmp, tmp.Rect, img, b.Min, draw.Src)
		for y := range h {
			copyOpaque(out.row(y), tmp.Pix[y*tmp.Stride:])
		}
	}
	return out
}

// copyOpaque copies len(dst) bytes of pixels and makes them opaque.
func copyOpaque(dst, src []uint8) {
	copy(dst, src)
	for i := 3; i < len(dst); i += 4 {
		dst[i] = 255
	}
}

func set(p []uint8, r, g, b uint8) { _ = p[3]; p[0], p[1], p[2], p[3] = r, g, b, 255 }

// unpremultiply undoes multiplication by alpha as Pillow's "RGBa" to "RGBA"
// does: truncating, clipped, and leaving the value alone where alpha is 0.
func unpremultiply(v, a uint8) uint8 {
	if a == 255 || a == 0 {
		return v
	}
	return uint8(min(255*int(v)/int(a), 255))
}
