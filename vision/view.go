package vision

import (
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/nfnt/resize"
)

// This file makes pictures for people. It resizes them with nfnt/resize, which is not exact. That
// does no harm, because no model gets them.

// Thumbnail returns img made to fit into width by height pixels with its shape kept, or img itself
// if it fits already. The error wraps ErrImage, or ErrLimit for a width and height over the Limits,
// which are the default ones without WithLimits.
func Thumbnail(img image.Image, width, height int, opts ...Option) (image.Image, error) {
	if err := buildOptions(opts).limits.checkSize(width, height); err != nil {
		return nil, err
	}
	b := boundsOf(img)
	if b.Empty() {
		return nil, imageErrorf("the picture is %dx%d pixels: nothing to see", b.Dx(), b.Dy())
	}
	if m, ok := img.(*RGB); ok {
		img = m.Image()
	}
	return resize.Thumbnail(uint(width), uint(height), img, resize.Lanczos3), nil
}

// Fit is Thumbnail that makes a small picture larger too.
func Fit(img image.Image, width, height int, opts ...Option) (image.Image, error) {
	small, err := Thumbnail(img, width, height, opts...)
	if err != nil {
		return nil, err
	}
	w, h := small.Bounds().Dx(), small.Bounds().Dy()
	if w < width && h < height { // Thumbnail left it unchanged
		if w*height > h*width {
			w, h = width, max(1, (h*width+w/2)/w)
		} else {
			w, h = max(1, (w*height+h/2)/h), height
		}
		if m, ok := small.(*RGB); ok {
			small = m.Image()
		}
		small = resize.Resize(uint(w), uint(h), small, resize.Bicubic)
	}
	return small, nil
}

// Overlay lays a heat map over a picture: weights has rows*cols values, row by row from the top,
// such as the attention paid to each patch, enlarged as by EnlargeMap. HeatColor shows them from 0
// to most; a most of 0 stands for the greatest weight. The opacity of the colours grows with the
// weight, from none at 0, where the picture stays as it is, to strength, from 0 to 1, at most. The
// error wraps ErrImage.
func Overlay(
	img image.Image, weights []float32, rows, cols int, most, strength float64,
) (*RGB, error) {
	m := FromImage(img)
	switch {
	case !(strength >= 0 && strength <= 1):
		return nil, imageErrorf("strength %v is not between 0 and 1", strength)
	case !(most >= 0) || math.IsInf(most, 1):
		return nil, imageErrorf("a heat map cannot go from 0 to %v", most)
	}
	large, err := EnlargeMap(weights, rows, cols, m.Width, m.Height)
	if err != nil {
		return nil, err
	}
	if most == 0 {
		most = max(float64(slices.Max(weights)), math.SmallestNonzeroFloat32)
	}
	out := newRGB(m.Width, m.Height)
	for y := range m.Height {
		src, dst, weight := m.row(y), out.row(y), large[y*m.Width:]
		for x := range m.Width {
			v := min(max(float64(weight[x])/most, 0), 1)
			c, opacity := HeatColor(v), v*strength
			for i, c := range [3]uint8{c.R, c.G, c.B} {
				dst[4*x+i] = uint8(float64(src[4*x+i])*(1-opacity) + float64(c)*opacity + 0.5)
			}
			dst[4*x+3] = 255
		}
	}
	return out, nil
}

// EnlargeMap makes a map of rows*cols weights, row by row from the top, one of width by height
// values, smoothly: a cubic (Catmull and Rom's, that of bicubic resizing) through the weights in the
// middles of their cells, cut off at 0 and at the greatest weight. The error wraps ErrImage.
func EnlargeMap(weights []float32, rows, cols, width, height int) ([]float32, error) {
	switch {
	case rows <= 0 || cols <= 0 || len(weights) != rows*cols:
		return nil, imageErrorf("a heat map of %d rows and %d columns has %d weights",
			rows, cols, len(weights))
	case width <= 0 || height <= 0:
		return nil, imageErrorf("the picture is %dx%d pixels: nothing to see", width, height)
	}
	for _, w := range weights {
		if w-w != 0 {
			return nil, imageErrorf("the heat map has the weight %v", w)
		}
	}
	top := max(float64(slices.Max(weights)), 0)
	large := make([]float32, width*height)
	across := cubicTaps(width, cols)
	line := make([]float64, cols) // between the rows
	for y, down := range cubicTaps(height, rows) {
		for c := range line {
			line[c] = 0
			for k, r := range down.at {
				line[c] += down.weight[k] * float64(weights[r*cols+c])
			}
		}
		for x, tap := range across {
			sum := 0.0
			for k, c := range tap.at {
				sum += tap.weight[k] * line[c]
			}
			large[y*width+x] = float32(min(max(sum, 0), top))
		}
	}
	return large, nil
}

// cubicTap is a point between the middles of cells: the four cells around it, of those at the edge
// the last, and what they count.
type cubicTap struct {
	at     [4]int
	weight [4]float64
}

// cubicTaps are the middles of n pixels over a number of cells.
func cubicTaps(n, cells int) []cubicTap {
	taps := make([]cubicTap, n)
	for i := range taps {
		p := (float64(i)+0.5)/float64(n)*float64(cells) - 0.5
		first := math.Floor(p)
		t := p - first
		for k := range 4 {
			taps[i].at[k] = min(max(int(first)+k-1, 0), cells-1)
		}
		taps[i].weight = [4]float64{
			((-0.5*t+1)*t - 0.5) * t, (1.5*t-2.5)*t*t + 1,
			((-1.5*t+2)*t + 0.5) * t, (0.5*t - 0.5) * t * t,
		}
	}
	return taps
}

// HeatColor is the colour of v, 0 to 1: from black over violet, red and orange to pale yellow, in
// steps that look even and get brighter all the way (the map inferno of matplotlib, by van der Walt
// and Smith, CC0, at 17 points).
func HeatColor(v float64) color.RGBA {
	v = min(max(v, 0), 1) * float64(len(inferno)-1)
	i := min(int(v), len(inferno)-2)
	var c [3]uint8
	for k := range c {
		low, high := float64(inferno[i][k]), float64(inferno[i+1][k])
		c[k] = uint8(low*(1-v+float64(i)) + high*(v-float64(i)) + 0.5)
	}
	return color.RGBA{c[0], c[1], c[2], 255}
}

var inferno = [17][3]uint8{
	{0, 0, 4}, {11, 7, 36}, {33, 12, 74}, {61, 9, 101}, {87, 16, 110}, {113, 25, 110},
	{138, 34, 106}, {163, 44, 97}, {188, 55, 84}, {210, 70, 68}, {228, 90, 49}, {241, 115, 29},
	{249, 142, 9}, {252, 172, 17}, {249, 203, 53}, {242, 234, 105}, {252, 255, 164},
}
