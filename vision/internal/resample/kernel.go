// Package resample is Pillow's 8-bit resampling (src/libImaging/Resample.c of Pillow 13.0.0), bit
// for bit: coefficients computed in float64, rounded to 22-bit fixed point, applied in two passes
// that each round to 8 bits.
//
// Pixels have four bytes. Only a window of the result need be computed, which is how a crop after a
// resize costs nothing. The passes have vector kernels for amd64 and a plain Go reference.
package resample

import "math"

// Filter is a resampling filter, numbered as Pillow numbers them.
type Filter int

// The filters.
const (
	Nearest  Filter = 0
	Lanczos  Filter = 1
	Bilinear Filter = 2
	Bicubic  Filter = 3
	Box      Filter = 4
	Hamming  Filter = 5
)

const precisionBits = 32 - 8 - 2

// support is the radius of a filter in units of source pixels, at scale 1.
func (f Filter) support() float64 {
	switch f {
	case Box:
		return 0.5
	case Bicubic:
		return 2
	case Lanczos:
		return 3
	}
	return 1
}

// at evaluates the filter. Products that feed an addition are converted explicitly, which keeps
// compilers from fusing the two: a fused result would round differently from the reference.
func (f Filter) at(x float64) float64 {
	switch f {
	case Box:
		if x > -0.5 && x <= 0.5 {
			return 1
		}
	case Bilinear:
		if x = math.Abs(x); x < 1 {
			return 1 - x
		}
	case Hamming:
		x = math.Abs(x)
		if x == 0 {
			return 1
		}
		if x < 1 {
			x *= math.Pi
			// The reference writes these two constants in single precision.
			const a, b = float64(float32(0.54)), float64(float32(0.46))
			return math.Sin(x) / x * (a + float64(b*math.Cos(x)))
		}
	case Bicubic:
		const a = -0.5
		x = math.Abs(x)
		if x < 1 {
			return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
		}
		if x < 2 {
			return (float64((float64((x-5)*x)+8)*x) - 4) * a
		}
	case Lanczos:
		if -3 <= x && x < 3 {
			return sinc(x) * sinc(x/3)
		}
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// kernel holds, for each output position of one axis, where its taps start and their fixed-point
// coefficients, taps[i] of them at coef[i*stride:].
type kernel struct {
	start  []int
	taps   []int
	coef   []int32
	stride int
}

// newKernel computes the kernel of outputs lo..hi-1 when the first extent of in samples become out;
// extent is in, or less where the last sample stands for less than a whole one.
func newKernel(f Filter, in int, extent float64, out, lo, hi int) *kernel {
	stride := f.most(in, extent, out)
	k := &kernel{make([]int, hi-lo), make([]int, hi-lo), make([]int32, (hi-lo)*stride), stride}
	w := make([]float64, stride)
	for i := range k.start {
		first, n := f.weights(w, in, extent, out, lo+i)
		coef := k.coef[i*stride:]
		for j := range n {
			v := float64(w[j] * (1 << precisionBits))
			if w[j] < 0 {
				coef[j] = int32(v - 0.5)
			} else {
				coef[j] = int32(v + 0.5)
			}
		}
		k.start[i], k.taps[i] = first, n
	}
	return k
}

// most returns a bound of the taps of any output.
func (f Filter) most(in int, extent float64, out int) int {
	support := f.support() * max(extent/float64(out), 1)
	return min(int(math.Ceil(support))*2+1, in) // no position has more taps than there are samples
}

// weights computes the coefficients of output i into w, and returns the first sample that they are
// for and their number.
func (f Filter) weights(w []float64, in int, extent float64, out, i int) (first, n int) {
	scale := extent / float64(out)
	filterScale := max(scale, 1)
	support := f.support() * filterScale
	inv := 1 / filterScale
	center := float64((float64(i) + 0.5) * scale)
	first = max(int(center-support+0.5), 0)
	n = min(int(center+support+0.5), in) - first
	sum := 0.0
	for j := range n {
		w[j] = f.at((float64(j+first) - center + 0.5) * inv)
		sum += w[j]
	}
	for j := range n {
		if sum != 0 {
			w[j] /= sum
		}
	}
	return first, n
}

// span returns the first sample used by any output and the one after the last.
func (k *kernel) span() (lo, hi int) {
	n := len(k.start) - 1
	return k.start[0], k.start[n] + k.taps[n]
}
