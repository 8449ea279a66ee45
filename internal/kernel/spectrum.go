package kernel

import (
	"math"
	"unsafe"
)

//go:generate sh -c "cd _gen && go run . -kernels spectrum -pkg kernel -out ../spectrum_amd64.s -stubs ../spectrum_amd64.go"

// Signals is how many signals the functions of this file take at once, in float64. Number i of signal
// l lies at Signals*i+l. Complex numbers are a real number of each signal and then an imaginary one, so
// that 2n real numbers are, as they lie, n complex ones: the even ones and, as imaginary parts, the odd
// ones.
const Signals = 4

// Windows sets dst to four pieces of src, piece l from l*hop on, times weights, of which there are as
// many as numbers in a piece.
func Windows(dst []float64, src []float32, hop int, weights []float64) {
	n := len(weights)
	src = src[:(Signals-1)*hop+n]
	dst = dst[:Signals*n]
	done := 0
	if avx2() && n >= 4 {
		done = n &^ 3
		windowsAVX2(&dst[0], &src[0], hop, &weights[0], done)
	}
	for i := done; i < n; i++ {
		for l := range Signals {
			dst[Signals*i+l] = float64(src[l*hop+i]) * weights[i]
		}
	}
}

// FourierStage makes dst from src by one pass of Stockham's algorithm for the Fourier transform of
// radix*rest*stride complex numbers, of which it is a transform of radix*rest, repeated stride times.
// twiddles [rest,radix-1] has exp(-2πijr/(radix*rest)), r from 1; roots exp(-2πik/radix), which radices
// up to 5 do without. Source of the order of the indices: the Stockham autosort algorithm, as in Van
// Loan, Computational Frameworks for the Fast Fourier Transform, 1.7.
func FourierStage(dst, src []float64, twiddles, roots []complex128, radix, rest, stride int) {
	n := 2 * Signals * radix * rest * stride
	dst, src, twiddles = dst[:n], src[:n], twiddles[:rest*(radix-1)]
	if !avx2() || radix > 5 || n == 0 {
		fourierStage(dst, src, twiddles, roots, radix, rest, stride)
		return
	}
	w := (*float64)(unsafe.Pointer(&twiddles[0]))
	switch radix {
	case 2:
		fourier2AVX2(&dst[0], &src[0], w, rest, stride)
	case 3:
		fourier3AVX2(&dst[0], &src[0], w, rest, stride)
	case 4:
		fourier4AVX2(&dst[0], &src[0], w, rest, stride)
	case 5:
		fourier5AVX2(&dst[0], &src[0], w, rest, stride)
	}
}

// complexes are one complex number of each signal.
type complexes = [2 * Signals]float64

func get(v *complexes, l int) complex128    { return complex(v[l], v[Signals+l]) }
func put(v *complexes, l int, c complex128) { v[l], v[Signals+l] = real(c), imag(c) }

// turned is -i times c.
func turned(c complex128) complex128           { return complex(imag(c), -real(c)) }
func times(f float64, c complex128) complex128 { return complex(f*real(c), f*imag(c)) }

// fourierStage is FourierStage in plain Go.
func fourierStage(dst, src []float64, twiddles, roots []complex128, radix, rest, stride int) {
	x := func(i int) *complexes { return (*complexes)(src[len(complexes{})*i:]) }
	y := func(i int) *complexes { return (*complexes)(dst[len(complexes{})*i:]) }
	for j := range rest {
		w := twiddles[j*(radix-1) : (j+1)*(radix-1)]
		for q := range stride {
			in, out, far := q+stride*j, q+stride*radix*j, stride*rest
			switch radix {
			case 2:
				x0, x1, y0, y1 := x(in), x(in+far), y(out), y(out+stride)
				for l := range Signals {
					a, b := get(x0, l), get(x1, l)
					put(y0, l, a+b)
					put(y1, l, (a-b)*w[0])
				}
			case 3:
				x0, x1, x2 := x(in), x(in+far), x(in+2*far)
				y0, y1, y2 := y(out), y(out+stride), y(out+2*stride)
				for l := range Signals {
					a, b, c := get(x0, l), get(x1, l), get(x2, l)
					sum, d := b+c, turned(times(0.86602540378443864676, b-c)) // sin 60°
					t := a - times(0.5, sum)
					put(y0, l, a+sum)
					put(y1, l, (t+d)*w[0])
					put(y2, l, (t-d)*w[1])
				}
			case 4:
				x0, x1, x2, x3 := x(in), x(in+far), x(in+2*far), x(in+3*far)
				y0, y1, y2, y3 := y(out), y(out+stride), y(out+2*stride), y(out+3*stride)
				for l := range Signals {
					a, b, c, d := get(x0, l), get(x1, l), get(x2, l), get(x3, l)
					ac, amc, bd, bmd := a+c, a-c, b+d, turned(b-d)
					put(y0, l, ac+bd)
					put(y1, l, (amc+bmd)*w[0])
					put(y2, l, (ac-bd)*w[1])
					put(y3, l, (amc-bmd)*w[2])
				}
			case 5:
				const (
					c1 = 0.30901699437494742410  // cos 72°
					c2 = -0.80901699437494742410 // cos 144°
					s1 = 0.95105651629515357212  // sin 72°
					s2 = 0.58778525229247312917  // sin 144°
				)
				x0, x1, x2, x3, x4 := x(in), x(in+far), x(in+2*far), x(in+3*far), x(in+4*far)
				y0, y1, y2, y3, y4 := y(out), y(out+stride), y(out+2*stride), y(out+3*stride), y(out+4*stride)
				for l := range Signals {
					a, b, c, d, e := get(x0, l), get(x1, l), get(x2, l), get(x3, l), get(x4, l)
					p1, m1, p2, m2 := b+e, b-e, c+d, c-d
					t1, t2 := a+times(c1, p1)+times(c2, p2), a+times(c2, p1)+times(c1, p2)
					u1, u2 := turned(times(s1, m1)+times(s2, m2)), turned(times(s2, m1)-times(s1, m2))
					put(y0, l, a+p1+p2)
					put(y1, l, (t1+u1)*w[0])
					put(y2, l, (t2+u2)*w[1])
					put(y3, l, (t2-u2)*w[2])
					put(y4, l, (t1-u1)*w[3])
				}
			default:
				for r := range radix {
					to := y(out + r*stride)
					for l := range Signals {
						var sum complex128
						for k := range radix {
							sum += get(x(in+k*far), l) * roots[r*k%radix]
						}
						if r > 0 {
							sum *= w[r-1]
						}
						put(to, l, sum)
					}
				}
			}
		}
	}
}

// RealPower sets dst to the squares of the n/2+1 terms of the Fourier transform of n real numbers, n
// even. src is the transform of the n/2 complex numbers that they are; turns has exp(-2πik/n), k up to
// n/4.
func RealPower(dst, src []float64, turns []complex128) {
	half := len(src) / (2 * Signals)
	dst, turns = dst[:Signals*(half+1)], turns[:half/2+1]
	for l := range Signals {
		a, b := src[l], src[Signals+l]
		dst[l], dst[Signals*half+l] = (a+b)*(a+b), (a-b)*(a-b)
	}
	if half < 2 {
		return
	}
	if avx2() {
		realPowerAVX2(&dst[0], &src[0], (*float64)(unsafe.Pointer(&turns[0])), half)
		return
	}
	// Terms k and half-k come of the same two: even ± turned odd, the second conjugated.
	for k := 1; k <= half-k; k++ {
		m, w := half-k, turns[k]
		for l := range Signals {
			ar, ai := src[2*Signals*k+l], src[2*Signals*k+Signals+l]
			br, bi := src[2*Signals*m+l], src[2*Signals*m+Signals+l]
			er, ei, or, oi := 0.5*(ar+br), 0.5*(ai-bi), 0.5*(ai+bi), 0.5*(br-ar)
			tr, ti := real(w)*or-imag(w)*oi, real(w)*oi+imag(w)*or
			dst[Signals*k+l] = (er+tr)*(er+tr) + (ei+ti)*(ei+ti)
			dst[Signals*m+l] = (er-tr)*(er-tr) + (ei-ti)*(ei-ti)
		}
	}
}

// Bands are weighted sums of runs of numbers, such as a bank of filters over the terms of a spectrum.
type Bands struct {
	spans   []int // first number and count, of each
	weights []float64
	numbers int
}

// Add adds a band: the weights of numbers first, first+1, ...
func (b *Bands) Add(first int, weights []float64) {
	b.spans = append(b.spans, first, len(weights))
	b.weights = append(b.weights, weights...)
	b.numbers = max(b.numbers, first+len(weights))
}

// Sum sets dst[i*stride+l] to band i of signal l of src, and returns the greatest, at least 0; NaN are
// passed over.
func (b *Bands) Sum(dst []float32, stride int, src []float64) float64 {
	count := len(b.spans) / 2
	if count == 0 {
		return 0
	}
	dst, src = dst[:(count-1)*stride+Signals], src[:Signals*b.numbers]
	if avx2() && len(b.weights) > 0 {
		return bandsAVX2(&dst[0], stride, &src[0], &b.spans[0], &b.weights[0], count)
	}
	var most float64
	weights := b.weights
	for i := range count {
		first, n := b.spans[2*i], b.spans[2*i+1]
		var sums [Signals]float64
		for k, w := range weights[:n] {
			in := src[Signals*(first+k):][:Signals]
			for l := range sums {
				sums[l] += w * in[l]
			}
		}
		weights = weights[n:]
		for l, v := range sums {
			dst[i*stride+l] = float32(v)
			if v > most {
				most = v
			}
		}
	}
	return most
}

// Log10 sets dst[i] to the logarithm to base 10 of src[i], or of least where that is more or src[i] is
// NaN. least is a normal number above 0. Of finite numbers it is within 5e-8 + 1e-7 of the logarithm's
// size.
func Log10(dst, src []float32, least float32) {
	n := len(dst)
	switch {
	case n == 0:
	case avx2():
		log10AVX2(&dst[0], &src[:n][0], n, least)
	default:
		for i, v := range src[:n] {
			if !(v > least) {
				v = least
			}
			dst[i] = float32(math.Log10(float64(v)))
		}
	}
}
