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

// Tap is an element of the window of a depthwise convolution whose channels lie
// side by side: where in the input, counted from the first position's, and in the
// weights its first channel lies.
type Tap struct{ Src, Weight int }

// Taps is a list of taps that DepthwiseLast runs over.
type Taps struct {
	list        []Tap
	src, weight int // the farthest
}

// NewTaps returns a list of taps. Offsets are not negative.
func NewTaps(list []Tap) *Taps {
	t := &Taps{list: list}
	for _, tap := range list {
		if tap.Src < 0 || tap.Weight < 0 {
			panic("kernel: a tap before the input")
		}
		t.src, t.weight = max(t.src, tap.Src), max(t.weight, tap.Weight)
	}
	return t
}

// DepthwiseLast sets dst[i*dstStep+c], for n positions i and each channel c that
// bias has, to bias[c] plus the sum over taps of weights[tap.Weight+c] *
// src[tap.Src+i*srcStep+c], bounded by low and high.
func DepthwiseLast(dst []float32, dstStep int, src []float32, srcStep, n int, taps *Taps, weights, bias []float32, low, high float32) {
	channels := len(bias)
	if n == 0 || channels == 0 {
		return
	}
	c := 0
	if avx2() && len(taps.list) > 0 {
		_, _, _ = dst[(n-1)*dstStep+channels-1], src[taps.src+(n-1)*srcStep+channels-1], weights[taps.weight+channels-1]
		for ; c+16 <= channels; c += 16 {
			depthwiseLast16AVX2(&dst[c], dstStep, &src[c], srcStep, n, &taps.list[0].Src, len(taps.list), &weights[c], &bias[c], low, high)
		}
		if c+8 <= channels {
			depthwiseLast8AVX2(&dst[c], dstStep, &src[c], srcStep, n, &taps.list[0].Src, len(taps.list), &weights[c], &bias[c], low, high)
			c += 8
		}
	}
	for ; c < channels; c++ {
		for i := range n {
			v := bias[c]
			for _, t := range taps.list {
				v += weights[t.Weight+c] * src[t.Src+i*srcStep+c]
			}
			dst[i*dstStep+c] = min(max(v, low), high)
		}
	}
}
