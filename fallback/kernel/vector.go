package kernel

// Each function here is the assembly of that name for the widest vectors in use. They
// may be called only where avx2 says so.

func expVector(dst *float32, src *float32, n int) {
	if avx512() {
		expAVX512(dst, src, n)
	} else {
		expAVX2(dst, src, n)
	}
}

func tanhVector(dst *float32, src *float32, n int) {
	if avx512() {
		tanhAVX512(dst, src, n)
	} else {
		tanhAVX2(dst, src, n)
	}
}

func erfVector(dst *float32, src *float32, n int) {
	if avx512() {
		erfAVX512(dst, src, n)
	} else {
		erfAVX2(dst, src, n)
	}
}

func sigmoidVector(dst *float32, src *float32, n int) {
	if avx512() {
		sigmoidAVX512(dst, src, n)
	} else {
		sigmoidAVX2(dst, src, n)
	}
}

func geluVector(dst *float32, src *float32, n int) {
	if avx512() {
		geluAVX512(dst, src, n)
	} else {
		geluAVX2(dst, src, n)
	}
}

func geluTanhVector(dst *float32, src *float32, n int) {
	if avx512() {
		geluTanhAVX512(dst, src, n)
	} else {
		geluTanhAVX2(dst, src, n)
	}
}

func swishVector(dst *float32, src *float32, n int, alpha float32) {
	if avx512() {
		swishAVX512(dst, src, n, alpha)
	} else {
		swishAVX2(dst, src, n, alpha)
	}
}

func affineVector(dst *float32, src *float32, n int, scale float32, shift float32) {
	if avx512() {
		affineAVX512(dst, src, n, scale, shift)
	} else {
		affineAVX2(dst, src, n, scale, shift)
	}
}

func clipVector(dst *float32, src *float32, n int, low float32, high float32) {
	if avx512() {
		clipAVX512(dst, src, n, low, high)
	} else {
		clipAVX2(dst, src, n, low, high)
	}
}

func shiftClipVector(dst *float32, src *float32, n int, shift float32, low float32, high float32) {
	if avx512() {
		shiftClipAVX512(dst, src, n, shift, low, high)
	} else {
		shiftClipAVX2(dst, src, n, shift, low, high)
	}
}

func addVector(dst *float32, a *float32, b *float32, n int) {
	if avx512() {
		addAVX512(dst, a, b, n)
	} else {
		addAVX2(dst, a, b, n)
	}
}

func subVector(dst *float32, a *float32, b *float32, n int) {
	if avx512() {
		subAVX512(dst, a, b, n)
	} else {
		subAVX2(dst, a, b, n)
	}
}

func mulVector(dst *float32, a *float32, b *float32, n int) {
	if avx512() {
		mulAVX512(dst, a, b, n)
	} else {
		mulAVX2(dst, a, b, n)
	}
}

func divVector(dst *float32, a *float32, b *float32, n int) {
	if avx512() {
		divAVX512(dst, a, b, n)
	} else {
		divAVX2(dst, a, b, n)
	}
}

func sumVector(src *float32, n int) float32 {
	if avx512() {
		return sumAVX512(src, n)
	}
	return sumAVX2(src, n)
}

func squaresVector(src *float32, n int, mean float32) float32 {
	if avx512() {
		return squaresAVX512(src, n, mean)
	}
	return squaresAVX2(src, n, mean)
}

func maxVector(src *float32, n int) float32 {
	if avx512() {
		return maxAVX512(src, n)
	}
	return maxAVX2(src, n)
}

func expSumVector(dst *float32, src *float32, n int, shift float32) float32 {
	if avx512() {
		return expSumAVX512(dst, src, n, shift)
	}
	return expSumAVX2(dst, src, n, shift)
}

func normaliseVector(dst *float32, src *float32, scale *float32, bias *float32, n int, mean float32, inv float32) {
	if avx512() {
		normaliseAVX512(dst, src, scale, bias, n, mean, inv)
	} else {
		normaliseAVX2(dst, src, scale, bias, n, mean, inv)
	}
}

func axpyVector(dst *float32, src *float32, n int, v float32) {
	if avx512() {
		axpyAVX512(dst, src, n, v)
	} else {
		axpyAVX2(dst, src, n, v)
	}
}

func dotsVector(dst *float32, a *float32, b *float32, rows int, stride int, n int) {
	if avx512() {
		dotsAVX512(dst, a, b, rows, stride, n)
	} else {
		dotsAVX2(dst, a, b, rows, stride, n)
	}
}

func combineVector(dst *float32, a *float32, b *float32, rows int, stride int, n int) {
	if avx512() {
		combineAVX512(dst, a, b, rows, stride, n)
	} else {
		combineAVX2(dst, a, b, rows, stride, n)
	}
}
