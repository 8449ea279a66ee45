// Package kernel holds the inner loops of the pure-Go engine, and of the front end for sounds:
// functions of slices that know no tensors and no graphs, and the loop that cores share (Share). Each has a form in plain Go, which
// says what it computes and runs everywhere; on some processors assembly takes its place, tested
// against the plain form. The folder _gen writes the assembly.
//
// Slices that a function writes are called dst. dst may be the same slice as a source where the
// function goes through elements one by one; otherwise it may not overlap one. Lengths that do not
// fit panic, as indexing does, unless the function returns an error.
package kernel

import (
	"math"
)

//go:generate sh -c "cd _gen && go run . -kernels math -pkg kernel -out ../math_amd64.s -stubs ../math_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels math512 -pkg kernel -out ../math512_amd64.s -stubs ../math512_amd64.go"

// Add sets dst[i] = a[i] + b[i]. In Add, Sub, Mul and Div, a or b may hold one element, which then
// stands for all.
func Add(dst, a, b []float32) {
	n := len(dst)
	switch {
	case n == 0:
	case len(b) == 1 && n != 1:
		Affine(dst, a, 1, b[0])
	case len(a) == 1 && n != 1:
		Affine(dst, b, 1, a[0])
	case avx2():
		addVector(&dst[0], &a[:n][0], &b[:n][0], n)
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u + b[i]
		}
	}
}

// Sub sets dst[i] = a[i] - b[i].
func Sub(dst, a, b []float32) {
	n := len(dst)
	switch {
	case n == 0:
	case len(b) == 1 && n != 1:
		Affine(dst, a, 1, -b[0])
	case len(a) == 1 && n != 1:
		Affine(dst, b, -1, a[0])
	case avx2():
		subVector(&dst[0], &a[:n][0], &b[:n][0], n)
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u - b[i]
		}
	}
}

// Mul sets dst[i] = a[i] * b[i].
func Mul(dst, a, b []float32) {
	n := len(dst)
	switch {
	case n == 0:
	case len(b) == 1 && n != 1:
		Scale(dst, a, b[0])
	case len(a) == 1 && n != 1:
		Scale(dst, b, a[0])
	case avx2():
		mulVector(&dst[0], &a[:n][0], &b[:n][0], n)
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u * b[i]
		}
	}
}

// Div sets dst[i] = a[i] / b[i].
func Div(dst, a, b []float32) {
	n := len(dst)
	switch {
	case n == 0:
	case len(b) == 1 && n != 1:
		v := b[0]
		if e := math.Float32bits(v); e&(1<<23-1) == 0 && e>>23&0xff > 2 && e>>23&0xff < 252 {
			Scale(dst, a, 1/v) // a power of two: the same, and quicker
			return
		}
		for i, u := range a[:n] {
			dst[i] = u / v
		}
	case len(a) == 1 && n != 1:
		u := a[0]
		for i, v := range b[:n] {
			dst[i] = u / v
		}
	case avx2():
		divVector(&dst[0], &a[:n][0], &b[:n][0], n)
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u / b[i]
		}
	}
}

// Affine sets dst[i] = src[i]*scale + shift, rounded once; with a scale of 1 or -1 that is the
// rounding of a sum.
func Affine(dst, src []float32, scale, shift float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	if avx2() {
		affineVector(&dst[0], &src[:n][0], n, scale, shift)
		return
	}
	for i, v := range src[:n] {
		dst[i] = float32(math.FMA(float64(v), float64(scale), float64(shift)))
	}
}

// Scale sets dst[i] = src[i] * v.
func Scale(dst, src []float32, v float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	if avx2() {
		affineVector(&dst[0], &src[:n][0], n, v, float32(math.Copysign(0, -1)))
		return
	}
	for i, u := range src[:n] {
		dst[i] = u * v
	}
}

// Axpy adds v times src to dst.
func Axpy(dst, src []float32, v float32) {
	n := len(src)
	if n == 0 {
		return
	}
	if avx2() {
		axpyVector(&dst[:n][0], &src[0], n, v)
		return
	}
	dst = dst[:n]
	for i, s := range src {
		dst[i] += v * s
	}
}

// Clip bounds src by low and high; NaN stays NaN. Where low > high all become high.
func Clip(dst, src []float32, low, high float32) {
	n := len(src)
	if n == 0 {
		return
	}
	if avx2() {
		clipVector(&dst[:n][0], &src[0], n, low, high)
		return
	}
	for i, v := range src {
		dst[i] = min(max(v, low), high)
	}
}

// ShiftClip adds shift to src and bounds the sum by low and high.
func ShiftClip(dst, src []float32, shift, low, high float32) {
	n := len(src)
	if n == 0 {
		return
	}
	if avx2() {
		shiftClipVector(&dst[:n][0], &src[0], n, shift, low, high)
		return
	}
	for i, v := range src {
		dst[i] = min(max(v+shift, low), high)
	}
}

// Relu sets dst[i] = max(src[i], 0).
func Relu(dst, src []float32) { Clip(dst, src, 0, float32(math.Inf(1))) }

// Neg sets dst[i] = -src[i].
func Neg(dst, src []float32) {
	for i, v := range src {
		dst[i] = -v
	}
}

// Sqrt sets dst[i] to the square root of src[i].
func Sqrt(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(math.Sqrt(float64(v)))
	}
}

// The functions below have assembly that computes in float32. Their errors against float64 over the
// whole range, in units in the last place or absolute, are what TestMathAccuracy allows: Exp 2 ulp,
// Sigmoid 1.2e-7, Tanh 3e-7, Erf 2.5e-7, Gelu and GeluTanh 4e-7 + 3e-7 |x|.

// Exp sets dst[i] = e^src[i].
func Exp(dst, src []float32) {
	if n := len(src); avx2() && n > 0 {
		expVector(&dst[:n][0], &src[0], n)
		return
	}
	elementwise(dst, src, math.Exp)
}

// Tanh sets dst[i] to the hyperbolic tangent of src[i].
func Tanh(dst, src []float32) {
	if n := len(src); avx2() && n > 0 {
		tanhVector(&dst[:n][0], &src[0], n)
		return
	}
	elementwise(dst, src, math.Tanh)
}

// Erf sets dst[i] to the error function of src[i].
func Erf(dst, src []float32) {
	if n := len(src); avx2() && n > 0 {
		erfVector(&dst[:n][0], &src[0], n)
		return
	}
	elementwise(dst, src, math.Erf)
}

// Sigmoid sets dst[i] = 1 / (1 + e^-src[i]).
func Sigmoid(dst, src []float32) {
	if n := len(src); avx2() && n > 0 {
		sigmoidVector(&dst[:n][0], &src[0], n)
		return
	}
	elementwise(dst, src, func(v float64) float64 { return 1 / (1 + math.Exp(-v)) })
}

// Swish sets dst[i] = src[i] / (1 + e^(-alpha*src[i])); alpha 1 is SiLU, 1.702 the approximation of
// Gelu that CLIP calls quick.
func Swish(dst, src []float32, alpha float32) {
	if n := len(src); avx2() && n > 0 {
		swishVector(&dst[:n][0], &src[0], n, alpha)
		return
	}
	elementwise(dst, src, func(v float64) float64 { return v / (1 + math.Exp(-float64(alpha)*v)) })
}

// Gelu sets dst[i] = v/2 * (1 + erf(v/sqrt(2))) for v = src[i].
func Gelu(dst, src []float32) {
	if n := len(src); avx2() && n > 0 {
		geluVector(&dst[:n][0], &src[0], n)
		return
	}
	elementwise(dst, src, func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) })
}

// GeluTanh is Gelu by its usual approximation v/2 * (1 + tanh(sqrt(2/pi) * (v + 0.044715 v^3))).
func GeluTanh(dst, src []float32) {
	if n := len(src); avx2() && n > 0 {
		geluTanhVector(&dst[:n][0], &src[0], n)
		return
	}
	elementwise(dst, src, func(v float64) float64 {
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	})
}

func elementwise(dst, src []float32, f func(float64) float64) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = float32(f(float64(v)))
	}
}

// Max returns the largest element, -Inf where there is none; NaN are passed over.
func Max(src []float32) float32 {
	if n := len(src); avx2() && n > 0 {
		return maxVector(&src[0], n)
	}
	m := float32(math.Inf(-1))
	for _, v := range src {
		if v > m {
			m = v
		}
	}
	return m
}

// ExpSum sets dst[i] = e^(src[i]-shift) and returns the sum of dst.
func ExpSum(dst, src []float32, shift float32) float32 {
	if n := len(src); avx2() && n > 0 {
		return expSumVector(&dst[:n][0], &src[0], n, shift)
	}
	var sum float32
	for i, v := range src {
		e := float32(math.Exp(float64(v - shift)))
		dst[i] = e
		sum += e
	}
	return sum
}

// Softmax sets dst to e^src scaled to a sum of 1. Rows that hold +Inf or NaN, or nothing but -Inf,
// become NaN, as the definition makes them.
func Softmax(dst, src []float32) {
	sum := ExpSum(dst, src, Max(src))
	Scale(dst[:len(src)], dst, 1/sum)
}

// Sum adds src up.
func Sum(src []float32) float32 {
	if n := len(src); avx2() && n > 0 {
		return sumVector(&src[0], n)
	}
	var sum float64
	for _, v := range src {
		sum += float64(v)
	}
	return float32(sum)
}

// Squares adds up the squares of src[i]-mean.
func Squares(src []float32, mean float32) float32 {
	if n := len(src); avx2() && n > 0 {
		return squaresVector(&src[0], n, mean)
	}
	var sum float64
	for _, v := range src {
		d := float64(v) - float64(mean)
		sum += d * d
	}
	return float32(sum)
}

// LayerNorm sets dst = (src - mean) / sqrt(variance + eps) * scale + bias and returns the mean and
// the factor 1/sqrt(variance + eps). A nil scale is 1, a nil bias 0.
func LayerNorm(dst, src, scale, bias []float32, eps float32) (mean, inv float32) {
	n := len(src)
	mean = Sum(src) / float32(n)
	inv = float32(1 / math.Sqrt(float64(Squares(src, mean))/float64(n)+float64(eps)))
	if avx2() && n > 0 && scale != nil && bias != nil {
		normaliseVector(&dst[:n][0], &src[0], &scale[:n][0], &bias[:n][0], n, mean, inv)
		return mean, inv
	}
	for i, v := range src {
		y := (v - mean) * inv
		if scale != nil {
			y *= scale[i]
		}
		if bias != nil {
			y += bias[i]
		}
		dst[i] = y
	}
	return mean, inv
}
