package kernel

import "math"

// Requantizer narrows the sums of a quantised product to bytes, as ONNX Runtime's kernels do
// (MlasRequantizeOutput): (sum + Bias) * Scale, each rounded to float32, kept between Low and High and
// rounded to an integer, ties to even, plus Zero. Bias and Scale hold a number for each column; Scale
// has no NaN.
type Requantizer struct {
	Bias      []int32
	Scale     []float32
	Low, High float32 // counted from Zero, within what bytes hold
	Zero      int32   // of the unsigned bytes
	Flip      uint8   // XORed with the bytes
}

// Rows sets dst [rows, n], n being the number of columns, to sums src [rows, n].
func (q *Requantizer) Rows(dst []uint8, src []int32) {
	n := len(q.Bias)
	if len(dst) == 0 {
		return
	}
	rows := len(dst) / n
	if dots512() {
		_, _ = src[rows*n-1], q.Scale[n-1]
		q.rowsWide(&dst[0], &src[0], rows, n)
		return
	}
	q.rowsGo(dst, src)
}

func (q *Requantizer) rowsWide(dst *uint8, src *int32, rows, n int) {
	requantizeAVX512(dst, src, rows, n, &q.Bias[0], &q.Scale[0], q.Low, q.High, q.Zero, uint32(q.Flip))
}

func (q *Requantizer) rowsGo(dst []uint8, src []int32) {
	n := len(q.Bias)
	for i := range dst {
		v := float32(src[i]+q.Bias[i%n]) * q.Scale[i%n]
		v = min(max(v, q.Low), q.High)
		dst[i] = uint8(int32(math.RoundToEven(float64(v)))+q.Zero) ^ q.Flip
	}
}

// requantizeAgrees says whether the assembly of Rows computes here what plain Go does.
func requantizeAgrees() bool {
	const rows, n = 3, 45
	q := Requantizer{Bias: make([]int32, n), Scale: make([]float32, n), Low: -90, High: 100, Zero: 110, Flip: 0x80}
	var src [rows * n]int32
	for i := range src {
		src[i] = int32(i*37%300 - 150)
		q.Bias[i%n], q.Scale[i%n] = int32(i%n-20), float32(1+i%n)/8 // ties among them
	}
	var got, want [rows * n]uint8
	q.rowsGo(want[:], src[:])
	q.rowsWide(&got[0], &src[0], rows, n)
	return got == want
}
