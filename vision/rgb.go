package vision

import (
	"image"
	"image/color"
	"image/draw"
	"reflect"
)

// RGB is an opaque picture of 8-bit sRGB samples. A pixel takes four bytes, R G B 255, so that
// vector code can step over pixels; the rows are Stride bytes apart and start at Pix[0], and the
// top left pixel is at (0, 0).
type RGB struct {
	Pix    []uint8
	Stride int
	Width  int
	Height int

	// Alpha is the transparency that the file had and convert("RGB") drops: Width*Height bytes, 255
	// opaque; nil where all is opaque. It does not change how the picture looks. IDEFICS alone
	// wants it, to blend with white.
	Alpha []uint8
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

// Image returns a view of the same pixels as the standard library's type, for encoders and drawing.
// Whoever draws on it must keep it opaque.
func (m *RGB) Image() *image.RGBA {
	return &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Bounds()}
}

// whole reports whether a picture that is not empty has the bytes of all its pixels, which one that
// a program put together may lack.
func (m *RGB) whole() bool {
	return m.Stride >= m.Width*4 && len(m.Pix)/m.Height >= m.Width*4 &&
		len(m.Pix) >= (m.Height-1)*m.Stride+m.Width*4 &&
		(m.Alpha == nil || len(m.Alpha) == m.Width*m.Height)
}

// seen is FromImage for pictures that are to be looked at: it refuses those without pixels, or without
// the bytes of all of them.
func seen(img image.Image) (*RGB, error) {
	m := FromImage(img)
	if m.Width <= 0 || m.Height <= 0 {
		return nil, imageErrorf("the picture is %dx%d pixels: nothing to see", m.Width, m.Height)
	}
	if !m.whole() {
		return nil, imageErrorf("an RGB of %dx%d pixels with %d bytes, and rows of %d",
			m.Width, m.Height, len(m.Pix), m.Stride)
	}
	return m, nil
}

// row returns the bytes of row y.
func (m *RGB) row(y int) []uint8 { return m.Pix[y*m.Stride : y*m.Stride+m.Width*4] }

// crop returns a copy of the part r, which must lie inside.
func (m *RGB) crop(r image.Rectangle) *RGB {
	out := newRGB(r.Dx(), r.Dy())
	for y := range out.Height {
		copy(out.row(y), m.row(r.Min.Y + y)[r.Min.X*4:])
	}
	if m.Alpha != nil {
		out.Alpha = make([]uint8, out.Width*out.Height)
		for y := range out.Height {
			copy(out.Alpha[y*out.Width:][:out.Width], m.Alpha[(r.Min.Y+y)*m.Width+r.Min.X:])
		}
	}
	return out
}

// splitAlpha moves the fourth byte of each pixel, the alpha of a picture not premultiplied, to
// m.Alpha if any is not 255, and makes m opaque.
func (m *RGB) splitAlpha() *RGB {
	and := uint8(255)
	for y := range m.Height {
		row := m.row(y)
		for i := 3; i < len(row); i += 4 {
			and &= row[i]
		}
	}
	if and == 255 {
		return m
	}
	m.Alpha = make([]uint8, 0, m.Width*m.Height)
	for y := range m.Height {
		row := m.row(y)
		for i := 3; i < len(row); i += 4 {
			m.Alpha = append(m.Alpha, row[i])
			row[i] = 255
		}
	}
	return m
}

// FromImage converts any image to RGB as Pillow's convert("RGB") does: alpha is dropped, not
// blended, and kept in Alpha; 16-bit colours lose their low byte, but 16-bit greys are clipped at
// 255, as in the reference. Pixels that image/color keeps premultiplied by alpha are divided by it
// first, which restores the file's values. A *RGB is returned itself, not a copy. Of no picture, or
// a nil pointer, it makes an empty one, which all that use pictures refuse.
func FromImage(img image.Image) *RGB {
	if isNil(img) {
		return new(RGB)
	}
	if m, ok := img.(*RGB); ok {
		return m
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	out := newRGB(w, h)
	convertRow := rowConverter(img)
	if convertRow == nil {
		tmp := image.NewNRGBA(image.Rect(0, 0, w, h))
		draw.Draw(tmp, tmp.Rect, img, b.Min, draw.Src)
		b, convertRow = tmp.Rect, rowConverter(tmp)
	}
	for y := range h {
		convertRow(out.row(y), b.Min.X, b.Min.Y+y)
	}
	return out.splitAlpha()
}

// isNil reports whether img holds nothing, or a nil pointer.
func isNil(img image.Image) bool {
	v := reflect.ValueOf(img)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// boundsOf returns the bounds of a picture; empty ones where there is none.
func boundsOf(img image.Image) image.Rectangle {
	if isNil(img) {
		return image.Rectangle{}
	}
	return img.Bounds()
}

// rowConverter returns a function that fills dst with pixels, alpha not multiplied in, from (x, y)
// of img on; nil for types it does not know.
func rowConverter(img image.Image) func(dst []uint8, x, y int) {
	switch src := img.(type) {
	case *image.NRGBA:
		return func(dst []uint8, x, y int) { copy(dst, src.Pix[src.PixOffset(x, y):]) }
	case *image.RGBA:
		return func(dst []uint8, x, y int) {
			s := src.Pix[src.PixOffset(x, y):]
			for i := 0; i < len(dst); i += 4 {
				a := s[i+3]
				put(dst[i:], unpremultiply(s[i], a), unpremultiply(s[i+1], a),
					unpremultiply(s[i+2], a), a)
			}
		}
	case *image.NRGBA64:
		return func(dst []uint8, x, y int) {
			s := src.Pix[src.PixOffset(x, y):]
			for i := range dst {
				dst[i] = s[2*i]
			}
		}
	case *image.RGBA64:
		return func(dst []uint8, x, y int) {
			for i := 0; i < len(dst); i += 4 {
				c := color.NRGBA64Model.Convert(src.RGBA64At(x+i/4, y)).(color.NRGBA64)
				put(dst[i:], uint8(c.R>>8), uint8(c.G>>8), uint8(c.B>>8), uint8(c.A>>8))
			}
		}
	case *image.Gray:
		return func(dst []uint8, x, y int) {
			for i, v := range src.Pix[src.PixOffset(x, y):][:len(dst)/4] {
				put(dst[4*i:], v, v, v, 255)
			}
		}
	case *image.Gray16:
		return func(dst []uint8, x, y int) {
			s := src.Pix[src.PixOffset(x, y):]
			for i := range len(dst) / 4 {
				v := clip16(s[2*i], s[2*i+1])
				put(dst[4*i:], v, v, v, 255)
			}
		}
	case *image.Paletted:
		var table [256]color.NRGBA
		for i, c := range src.Palette[:min(len(src.Palette), 256)] {
			table[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		return func(dst []uint8, x, y int) {
			for i, v := range src.Pix[src.PixOffset(x, y):][:len(dst)/4] {
				c := &table[v]
				put(dst[4*i:], c.R, c.G, c.B, c.A)
			}
		}
	}
	return nil
}

func put(p []uint8, r, g, b, a uint8) { _ = p[3]; p[0], p[1], p[2], p[3] = r, g, b, a }

// clip16 makes a 16-bit grey one of 8 bits, as Pillow's "I;16" to "RGB" does.
func clip16(high, low uint8) uint8 {
	if high != 0 {
		return 255
	}
	return low
}

// unpremultiply undoes multiplication by alpha as Pillow's "RGBa" to "RGBA" does: truncating,
// clipped, and leaving the value alone where alpha is 0.
func unpremultiply(v, a uint8) uint8 {
	if a == 255 || a == 0 {
		return v
	}
	return uint8(min(255*int(v)/int(a), 255))
}

// On returns the picture blended with a background, whose alpha does not count, as
// Image.alpha_composite of Pillow (AlphaComposite.c) does over an opaque one; m itself where all of
// it is opaque.
func (m *RGB) On(background color.RGBA) *RGB {
	if m.Alpha == nil {
		return m
	}
	behind := [3]int{int(background.R), int(background.G), int(background.B)}
	out := newRGB(m.Width, m.Height)
	for y := range m.Height {
		src, dst := m.row(y), out.row(y)
		for x := range m.Width {
			a := int(m.Alpha[y*m.Width+x])
			for i := range 3 {
				const bits = 7
				t := (int(src[4*x+i])*a+behind[i]*(255-a))<<bits + 0x80<<bits
				dst[4*x+i] = uint8((t>>8 + t) >> 8 >> bits)
			}
			dst[4*x+3] = 255
		}
	}
	return out
}
