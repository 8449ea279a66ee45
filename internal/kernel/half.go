package kernel

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// ToHalf rounds src to float16, in bits.
func ToHalf(dst []uint16, src []float32) {
	n := 0
	if avx512() {
		if n = len(src) &^ 15; n > 0 {
			toHalfAVX512(&dst[:n][0], &src[0], n)
		}
	} else if avx2() {
		if n = len(src) &^ 7; n > 0 {
			toHalfAVX2(&dst[:n][0], &src[0], n)
		}
	}
	for i, v := range src[n:] {
		dst[n+i] = uint16(tensor.ToHalf(v))
	}
}

// FromHalf widens float16 in bits.
func FromHalf(dst []float32, src []uint16) {
	n := 0
	if avx512() {
		if n = len(src) &^ 15; n > 0 {
			fromHalfAVX512(&dst[:n][0], &src[0], n)
		}
	} else if avx2() {
		if n = len(src) &^ 7; n > 0 {
			fromHalfAVX2(&dst[:n][0], &src[0], n)
		}
	}
	for i, v := range src[n:] {
		dst[n+i] = tensor.Half(v).Float32()
	}
}

// Exact reports whether float16 holds every element of src, as it does for a model that was stored
// in float16.
func Exact(src []float32) bool {
	const piece = 1024
	var half [piece]uint16
	var back [piece]float32
	for len(src) > 0 {
		n := min(piece, len(src))
		ToHalf(half[:n], src[:n])
		FromHalf(back[:n], half[:n])
		for i, v := range src[:n] {
			if math.Float32bits(v) != math.Float32bits(back[i]) {
				return false
			}
		}
		src = src[n:]
	}
	return true
}

// HasHalf reports whether products with float16 matrices are as quick here as with float32 ones.
// (Every processor with AVX2 and FMA has F16C too.)
func HasHalf() bool { return avx2() }
