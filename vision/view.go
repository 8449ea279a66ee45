package vision

import (
	"image"
	"math"

	"github.com/nfnt/resize"
)

// This file makes pictures for people. They are resized by nfnt/resize, which is
// not exact and need not be: no model sees them.

// Thumbnail returns img made to fit into width by height pixels with its shape
// kept, or img itself if it fits already. The error wraps ErrImage or ErrLimit.
func Thumbnail(img image.Image, width, height int) (image.Image, error) {
	if err := (Limits{}).withDefaults().checkSize(width, height); err != nil {
		return nil, err
	}
	b := img.Bounds()
	if b.Empty() {
		return nil, imageErrorf("the picture is %dx%d pixels: nothing to see", b.Dx(), b.Dy())
	}
	if m, ok := img.(*RGB); ok {
		img = m.Image()
	}
	return resize.Thumbnail(uint(width), uint(height), img, resize.Lanczos3), nil
}

// Overlay lays a heat map over a picture: weights has rows*cols values, row by
// row from the top, such as the attention paid to each patch. The least weight
// is shown in blue and the greatest in red; all equal, all are blue. strength,
// 0 to 1, is how much of the picture the colours hide. The error wraps ErrImage.
func Overlay(img image.Image, weights []float32, rows, cols int, strength float64) (*RGB, error) {
	m := FromImage(img)
	switch {
	case rows <= 0 || cols <= 0 || len(weights) != rows*cols:
		return nil, imageErrorf("a heat map of %d rows and %d columns has %d weights", rows, cols, len(weights))
	case m.Width <= 0 || m.Height <= 0:
		return nil, imageErrorf("the picture is %dx%d pixels: nothing to see", m.Width, m.Height)
	case !(strength >= 0 && strength <= 1):
		return nil, imageErrorf("strength %v is not between 0 and 1", strength)
	}
	low, high := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, w := range weights {
		if w-w != 0 {
			return nil, imageErrorf("the heat map has the weight %v", w)
		}
		low, high = min(low, w), max(high, w)
	}
	heat := image.NewGray(image.Rect(0, 0, cols, rows))
	for i, w := range weights {
		if high > low {
			heat.Pix[i] = uint8(255*(float64(w)-float64(low))/(float64(high)-float64(low)) + 0.5)
		}
	}
	large, ok := resize.Resize(uint(m.Width), uint(m.Height), heat, resize.Bilinear).(*image.Gray)
	if !ok {
		return nil, imageErrorf("the heat map cannot be resized")
	}
	out := newRGB(m.Width, m.Height)
	for y := range m.Height {
		src, dst, weight := m.row(y), out.row(y), large.Pix[y*large.Stride:]
		for x := range m.Width {
			color := heatColor(weight[x])
			for i, c := range color {
				dst[4*x+i] = uint8(float64(src[4*x+i])*(1-strength) + float64(c)*strength + 0.5)
			}
			dst[4*x+3] = 255
		}
	}
	return out, nil
}

// heatColor goes from blue over cyan, green and yellow to red.
func heatColor(v uint8) [3]uint8 {
	part, rest := v/64, 4*(v%64)
	switch part {
	case 0:
		return [3]uint8{0, rest, 255}
	case 1:
		return [3]uint8{0, 255, 255 - rest}
	case 2:
		return [3]uint8{rest, 255, 0}
	}
	return [3]uint8{255, 255 - rest, 0}
}
