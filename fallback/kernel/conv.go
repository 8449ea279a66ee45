package kernel

//go:generate sh -c "cd _gen && go run . -kernels conv -pkg kernel -out ../conv_amd64.s -stubs ../conv_amd64.go"

// Depthwise sets dst[i], for each position i, to bias plus the sum over taps of
// weights[t] * src[offsets[t]+i], bounded by low and high: a convolution of one
// channel with itself, where src is the padded channel, in which the taps of a
// position lie at fixed distances.
func Depthwise(dst, src []float32, offsets []int, weights []float32, bias, low, high float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	if avx2() && len(offsets) > 0 {
		for _, o := range offsets {
			_ = src[o : o+n]
		}
		depthwiseAVX2(&dst[0], n, &src[0], &offsets[0], &weights[:len(offsets)][0], len(offsets), bias, low, high)
		return
	}
	for i := range dst {
		v := bias
		for t, o := range offsets {
			v += weights[t] * src[o+i]
		}
		dst[i] = min(max(v, low), high)
	}
}
