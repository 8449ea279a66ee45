// Package kernel holds the inner loops of the pure-Go engine: functions of
// slices that know no tensors, graphs or goroutines. Each has a plain-Go form,
// which says what it computes and runs everywhere; on some processors an
// assembly form takes its place, tested against the plain one.
//
// Slices that a function writes are called dst. dst may be the same slice as a
// source where the function goes through elements one by one; it may not
// overlap one otherwise.
package kernel

import "math"

// Add sets dst[i] = a[i] + b[i]. In Add, Sub, Mul and Div, a or b may hold one
// element, which then stands for all.
func Add(dst, a, b []float32) {
	switch n := len(dst); {
	case len(b) == 1 && n != 1:
		v := b[0]
		for i, u := range a[:n] {
			dst[i] = u + v
		}
	case len(a) == 1 && n != 1:
		Add(dst, b, a)
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u + b[i]
		}
	}
}

// Sub sets dst[i] = a[i] - b[i].
func Sub(dst, a, b []float32) {
	switch n := len(dst); {
	case len(b) == 1 && n != 1:
		Add(dst, a, []float32{-b[0]})
	case len(a) == 1 && n != 1:
		u := a[0]
		for i, v := range b[:n] {
			dst[i] = u - v
		}
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u - b[i]
		}
	}
}

// Mul sets dst[i] = a[i] * b[i].
func Mul(dst, a, b []float32) {
	switch n := len(dst); {
	case len(b) == 1 && n != 1:
		v := b[0]
		for i, u := range a[:n] {
			dst[i] = u * v
		}
	case len(a) == 1 && n != 1:
		Mul(dst, b, a)
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u * b[i]
		}
	}
}

// Div sets dst[i] = a[i] / b[i].
func Div(dst, a, b []float32) {
	switch n := len(dst); {
	case len(b) == 1 && n != 1:
		v := b[0]
		for i, u := range a[:n] {
			dst[i] = u / v
		}
	case len(a) == 1 && n != 1:
		u := a[0]
		for i, v := range b[:n] {
			dst[i] = u / v
		}
	default:
		b = b[:n]
		for i, u := range a[:n] {
			dst[i] = u / b[i]
		}
	}
}

// Clip bounds src by low and high; NaN stays NaN. Where low > high all become
// high.
func Clip(dst, src []float32, low, high float32) {
	for i, v := range src {
		dst[i] = min(max(v, low), high)
	}
}

// Relu sets dst[i] = max(src[i], 0).
func Relu(dst, src []float32) {
	for i, v := range src {
		dst[i] = max(v, 0)
	}
}

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

// Exp sets dst[i] = e^src[i].
func Exp(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

// Tanh sets dst[i] to the hyperbolic tangent of src[i].
func Tanh(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(math.Tanh(float64(v)))
	}
}

// Erf sets dst[i] to the error function of src[i].
func Erf(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(math.Erf(float64(v)))
	}
}

// Sigmoid sets dst[i] = 1 / (1 + e^-src[i]).
func Sigmoid(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(1 / (1 + math.Exp(-float64(v))))
	}
}

// Gelu sets dst[i] = v/2 * (1 + erf(v/sqrt(2))) for v = src[i].
func Gelu(dst, src []float32) {
	for i, v := range src {
		f := float64(v)
		dst[i] = float32(f / 2 * (1 + math.Erf(f/math.Sqrt2)))
	}
}

// GeluTanh is Gelu by its usual approximation
// v/2 * (1 + tanh(sqrt(2/pi) * (v + 0.044715 v^3))).
func GeluTanh(dst, src []float32) {
	for i, v := range src {
		f := float64(v)
		dst[i] = float32(f / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(f+0.044715*f*f*f))))
	}
}

// Softmax sets dst to e^src scaled to a sum of 1. Rows that hold +Inf or NaN,
// or nothing but -Inf, become NaN, as the definition makes them.
func Softmax(dst, src []float32) {
	if len(src) == 0 {
		return
	}
	m := src[0]
	for _, v := range src[1:] {
		m = max(m, v)
	}
	var sum float32
	for i, v := range src {
		e := float32(math.Exp(float64(v - m)))
		dst[i] = e
		sum += e
	}
	inv := 1 / sum
	for i := range dst[:len(src)] {
		dst[i] *= inv
	}
}

// LayerNorm sets dst = (src - mean) / sqrt(variance + eps) * scale + bias and
// returns the mean and the factor 1/sqrt(variance + eps). A nil scale is 1, a
// nil bias 0.
func LayerNorm(dst, src, scale, bias []float32, eps float32) (mean, inv float32) {
	var sum float64
	for _, v := range src {
		sum += float64(v)
	}
	m := sum / float64(len(src))
	var squares float64
	for _, v := range src {
		d := float64(v) - m
		squares += d * d
	}
	mean = float32(m)
	inv = float32(1 / math.Sqrt(squares/float64(len(src))+float64(eps)))
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
