package geometry

import (
	"math"

	"github.com/crossattn/xpipe/vision"
)

// weightBits is the precision of the weights of a linear interpolation in whole numbers.
const weightBits = 11

// tap is a place of an axis in the source: the pixel before it, and the weights of that and the next.
type tap struct {
	at            int
	before, after int32
}

// taps returns where n pixels stand among those of an axis of the given length.
func taps(length, n int) []tap {
	out := make([]tap, n)
	scale := float64(length) / float64(n)
	for i := range out {
		place := float32((float64(i)+0.5)*scale - 0.5)
		at := math.Floor(float64(place))
		part := place - float32(at)
		out[i] = tap{
			at:     int(at),
			before: int32(math.RoundToEven(float64((1 - part) * (1 << weightBits)))),
			after:  int32(math.RoundToEven(float64(part * (1 << weightBits)))),
		}
	}
	return out
}

// Resize stretches a picture to w by h pixels by linear interpolation between neighbours, without
// antialiasing, as OpenCV's resize (INTER_LINEAR) of 8-bit pictures: weights of 11 bits.
func Resize(src *vision.RGB, w, h int) *vision.RGB {
	if src.Width == w && src.Height == h {
		return src
	}
	dst := vision.NewRGB(w, h)
	columns := taps(src.Width, w)
	for i, c := range columns { // beyond the edge there is the pixel at the edge alone
		if c.at < 0 {
			columns[i] = tap{0, 1 << weightBits, 0}
		}
		if c.at >= src.Width-1 {
			columns[i] = tap{src.Width - 1, 1 << weightBits, 0}
		}
	}
	row := make([][]int32, 2) // the rows of the source before and after, stretched
	held := [2]int{-1, -1}
	row[0], row[1] = make([]int32, 3*w), make([]int32, 3*w)
	stretch := func(y int) []int32 {
		y = min(max(y, 0), src.Height-1)
		for i := range held {
			if held[i] == y {
				return row[i]
			}
		}
		i := 0 // rows are asked for from the top
		if held[0] > held[1] {
			i = 1
		}
		held[i] = y
		stretchRow(row[i], src.Pix[y*src.Stride:], columns)
		return row[i]
	}
	for y, r := range taps(src.Height, h) {
		above := stretch(r.at)
		below := stretch(r.at + 1)
		out := dst.Pix[y*dst.Stride:]
		for x := range w {
			for c := range 3 {
				a, b := above[3*x+c]>>4, below[3*x+c]>>4
				v := ((r.before*a)>>16 + (r.after*b)>>16 + 2) >> 2
				out[4*x+c] = uint8(min(max(v, 0), 255))
			}
		}
	}
	return dst
}

// stretchRow weighs the pixels of a row, of four bytes each, into values of three.
func stretchRow(dst []int32, src []uint8, columns []tap) {
	for x, t := range columns {
		p := src[4*t.at:]
		next := p
		if t.after != 0 {
			next = src[4*t.at+4:]
		}
		for c := range 3 {
			dst[3*x+c] = int32(p[c])*t.before + int32(next[c])*t.after
		}
	}
}
