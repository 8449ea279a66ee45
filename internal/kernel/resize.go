package kernel

// Double sets dst to each word of src twice; dst has twice as many.
func Double(dst, src []uint32) {
	dst, done := dst[:2*len(src)], 0
	if n := len(src) &^ 7; avx2() && n > 0 {
		doubleAVX2(&dst[0], &src[0], n)
		if done = len(src); n < done { // the last eight again
			doubleAVX2(&dst[2*(done-8)], &src[done-8], 8)
		}
	}
	for i, v := range src[done:] {
		dst[2*(done+i)], dst[2*(done+i)+1] = v, v
	}
}

// EverySecond sets dst[i] = src[2i].
func EverySecond(dst, src []uint32) {
	done := 0
	// The assembly reads one word behind the last that it takes.
	if n := min(len(dst), len(src)/2) &^ 7; avx2() && n > 0 {
		everySecondAVX2(&dst[0], &src[0], n)
		if done = min(len(dst), len(src)/2); n < done { // the last eight again
			everySecondAVX2(&dst[done-8], &src[2*(done-8)], 8)
		}
	}
	for i := done; i < len(dst); i++ {
		dst[i] = src[2*i]
	}
}
