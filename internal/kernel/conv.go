package kernel

//go:generate sh -c "cd _gen && go run . -kernels conv -pkg kernel -out ../conv_amd64.s -stubs ../conv_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels conv512 -pkg kernel -out ../conv512_amd64.s -stubs ../conv512_amd64.go"

// Depthwise sets dst[i], for each position i, to bias plus the sum over taps of weights[t] *
// src[offsets[t]+i], bounded by low and high: a convolution of one channel with itself, where src
// is the padded channel, in which the taps of a position lie at fixed distances.
func Depthwise(dst, src []float32, offsets []int, weights []float32, bias, low, high float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	if avx2() && len(offsets) > 0 {
		for _, o := range offsets {
			_ = src[o : o+n]
		}
		depthwiseAVX2(&dst[0], n, &src[0], &offsets[0], &weights[:len(offsets)][0], len(offsets),
			bias, low, high)
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

// Block is how many channels DepthwiseRow computes, and the distance, in floats, between positions
// and between weights. It is the number of columns of a panel.
const Block = panelWidth

// Window is the window that DepthwiseRow slides along a row: some of its rows, of Width elements
// each.
type Window struct {
	Width, Stride, Dilation int
	rows                    [][2]int // where their input and their weights begin
	taps                    [][2]int // the same for all elements
	reach, weights          int      // the farthest of each
}

// Row adds a row of the window: its input begins at float src, counted from the input of the first
// row, its weights, Block for each element, at float weights. Neither is negative.
func (w *Window) Row(src, weights int) {
	if src < 0 || weights < 0 {
		panic("kernel: a window before its input")
	}
	w.rows = append(w.rows, [2]int{src, weights})
	for i := range w.Width {
		w.taps = append(w.taps, [2]int{src + i*w.Dilation*Block, weights + i*Block})
	}
	w.reach, w.weights = max(w.reach, src), max(w.weights, weights)
}

// DepthwiseRow sets dst[i*dstStep+c], for n positions i and channels c that bias has, up to Block,
// to bias[c] plus the sum over elements of the window of weight c times the element's input at
// float i*w.Stride*Block + c, bounded by low and high.
func DepthwiseRow(dst []float32, dstStep int, src []float32, n int, w *Window,
	weights, bias []float32, low, high float32) {
	channels := len(bias)
	switch {
	case n == 0 || channels == 0:
	case !avx2() || len(w.taps) == 0:
		depthwiseRowGo(dst, dstStep, src, n, w, weights, bias, low, high)
	case w.wide() != nil && avx512():
		w.check(dst, dstStep, src, n, weights, channels)
		w.wide()(&dst[0], dstStep, &src[0], n, &w.rows[0][0], len(w.rows), &weights[0], &bias[0], low,
			high, columnMask(channels))
	case channels == Block || channels == Block/2 && w.quick() != nil:
		depthwiseRow(dst, dstStep, src, n, w, weights, bias, low, high)
	default: // fewer channels: compute a whole block aside, and keep these
		var room [32 * Block]float32
		var zeros [Block]float32
		copy(zeros[:], bias)
		for i := 0; i < n; i += 32 {
			count := min(32, n-i)
			depthwiseRow(room[:], Block, src[i*w.Stride*Block:], count, w, weights, zeros[:],
				low, high)
			for j := range count {
				copy(dst[(i+j)*dstStep:(i+j)*dstStep+channels], room[j*Block:])
			}
		}
	}
}

// rowKernel is the assembly of a usual window; columns are a number of vectors with AVX2, a mask of
// channels with AVX-512.
type rowKernel[T int | uint32] func(
	dst *float32, dstStep int, src *float32, n int, rows *int, count int,
	weights, bias *float32, low, high float32, columns T,
)

// quick returns the kernel for usual windows, nil for others.
func (w *Window) quick() rowKernel[int] {
	if w.Dilation != 1 {
		return nil
	}
	switch [2]int{w.Width, w.Stride} {
	case [2]int{3, 1}:
		return depthwiseRow3x1AVX2
	case [2]int{3, 2}:
		return depthwiseRow3x2AVX2
	case [2]int{5, 1}:
		return depthwiseRow5x1AVX2
	case [2]int{5, 2}:
		return depthwiseRow5x2AVX2
	case [2]int{7, 1}:
		return depthwiseRow7x1AVX2
	case [2]int{7, 2}:
		return depthwiseRow7x2AVX2
	}
	return nil
}

// wide is quick with AVX-512, for any number of channels.
func (w *Window) wide() rowKernel[uint32] {
	if w.Dilation != 1 {
		return nil
	}
	switch [2]int{w.Width, w.Stride} {
	case [2]int{3, 1}:
		return depthwiseRow3x1AVX512
	case [2]int{3, 2}:
		return depthwiseRow3x2AVX512
	case [2]int{5, 1}:
		return depthwiseRow5x1AVX512
	case [2]int{5, 2}:
		return depthwiseRow5x2AVX512
	case [2]int{7, 1}:
		return depthwiseRow7x1AVX512
	case [2]int{7, 2}:
		return depthwiseRow7x2AVX512
	}
	return nil
}

// check indexes the slices at their ends, because assembly checks no bounds.
func (w *Window) check(dst []float32, dstStep int, src []float32, n int, weights []float32, channels int) {
	_, _ = dst[(n-1)*dstStep+channels-1], weights[w.weights+w.Width*Block-1]
	_ = src[w.reach+((n-1)*w.Stride+(w.Width-1)*w.Dilation+1)*Block-1]
}

// depthwiseRow calls the assembly, for 16 channels or, where there is a quick form, 8.
func depthwiseRow(dst []float32, dstStep int, src []float32, n int, w *Window,
	weights, bias []float32, low, high float32) {
	w.check(dst, dstStep, src, n, weights, len(bias))
	if k := w.quick(); k != nil {
		k(&dst[0], dstStep, &src[0], n, &w.rows[0][0], len(w.rows), &weights[0], &bias[0], low,
			high, len(bias)/8)
		return
	}
	depthwiseTapsAVX2(&dst[0], dstStep, &src[0], 4*w.Stride*Block, n, &w.taps[0][0], len(w.taps),
		&weights[0], &bias[0], low, high)
}

func depthwiseRowGo(dst []float32, dstStep int, src []float32, n int, w *Window,
	weights, bias []float32, low, high float32) {
	for i := range n {
		for c, v := range bias {
			for _, t := range w.taps {
				v += weights[t[1]+c] * src[t[0]+i*w.Stride*Block+c]
			}
			dst[i*dstStep+c] = min(max(v, low), high)
		}
	}
}

// Part returns the matrix of panels lo..hi alone, in m's memory.
func (m *Matrix) Part(lo, hi int) *Matrix {
	p := *m
	p.N = min(m.N, hi*panelWidth) - lo*panelWidth
	from, to := lo*m.stride()*panelWidth, hi*m.stride()*panelWidth
	switch {
	case m.halves != nil:
		p.halves = m.halves[from:to]
	case m.pairs != nil:
		p.pairs = m.pairs[from:to]
	default:
		p.panels = m.panels[from:to]
	}
	return &p
}
