package kernel

import (
	"math"
	"runtime"
)

// pointwiseDepth is the longest k that Pointwise sums in one pass: the tile's rows of the left
// operand, 12 of them, stay in a second cache of 256 kB beside a panel.
const pointwiseDepth = 2048

// Pointwise is the product of a convolution by one element: of many rows of a, one for each
// position, by panels lo..hi. Those of panel p begin at dst[p*apart], and rows lie step floats apart:
// with an apart of Block, dst is the whole matrix of rows of step numbers; with other numbers each
// block of channels lies for itself, as DepthwiseRow takes it. Columns that the matrix does not have
// are left alone. e is as in Multiply, but has no RowBias, and Residual lies as dst does.
func (m *Matrix) Pointwise(dst []float32, step, apart int, a []float32, lda, rows, lo, hi int,
	e *Epilogue) {
	switch {
	case rows == 0 || lo == hi:
	case !avx512() || m.panels == nil || m.K == 0 || m.K > pointwiseDepth || e.Bias == nil:
		m.pointwiseGo(dst, step, apart, a, lda, rows, lo, hi, e)
	default:
		m.pointwiseWide(dst, step, apart, a, lda, rows, lo, hi, e)
	}
}

// pointwiseGo is Pointwise by Multiply.
func (m *Matrix) pointwiseGo(dst []float32, step, apart int, a []float32, lda, rows, lo, hi int,
	e *Epilogue) {
	if apart == panelWidth {
		m.Multiply(dst, step, a, lda, rows, lo, hi, false, e)
		return
	}
	for p := lo; p < hi; p++ {
		part := *e
		if e.Bias != nil {
			part.Bias = e.Bias[p*panelWidth : min(m.N, (p+1)*panelWidth)]
		}
		if e.Residual != nil {
			part.Residual = e.Residual[p*apart:]
		}
		m.Part(p, p+1).Multiply(dst[p*apart:], step, a, lda, rows, 0, 1, false, &part)
	}
}

// pointwiseWide is Pointwise with AVX-512.
func (m *Matrix) pointwiseWide(dst []float32, step, apart int, a []float32, lda, rows, lo, hi int,
	e *Epilogue) {
	low, high := float32(math.Inf(-1)), float32(math.Inf(1))
	if e.Bounds != nil {
		low, high = e.Bounds[0], e.Bounds[1]
	}
	_ = a[(rows-1)*lda+m.K-1]
	for p := lo; p < hi; p += 2 {
		gap, panels := 0, min(2, hi-p)
		if panels == 2 {
			gap = m.K * panelWidth
		}
		cols := min(m.N-p*panelWidth, panels*panelWidth)
		last := (rows-1)*step + (panels-1)*apart + cols - (panels-1)*panelWidth - 1
		to := dst[p*apart:]
		_, b := to[last], m.panels[p*m.K*panelWidth:(p+panels)*m.K*panelWidth]
		var residual *float32
		if e.Residual != nil && e.Activate == nil {
			residual = &e.Residual[p*apart : p*apart+last+1][0]
		}
		pointwiseAVX512(&to[0], step, apart, &a[0], lda, rows, &b[0], gap, m.K,
			&e.Bias[p*panelWidth : p*panelWidth+cols][0], residual, low, high, columnMask(cols))
		if e.Activate != nil {
			for q := p; q < p+panels; q++ {
				part := *e
				if e.Residual != nil {
					part.Residual = e.Residual[q*apart:]
				}
				part.finish(dst[q*apart:], step, 0, rows, 0, min(m.N-q*panelWidth, panelWidth))
			}
		}
	}
	runtime.KeepAlive(m)
}

// convAgrees says whether the assembly of Pointwise and DepthwiseRow computes here what plain Go does,
// for every height of its tiles and one and two panels.
func convAgrees(random func(n int) []float32, near func(got, want []float32, tol float64) bool) bool {
	const k, step, apart = 7, panelWidth + 3, (2*wideRows + 1) * (panelWidth + 3)
	for rows := 1; rows <= 2*wideRows+1; rows++ {
		panels, cols := 1+rows%2, panelWidth-rows%5
		a, b, bias := random(rows*k), random(2*k*panelWidth), random(2*panelWidth)
		residual, got := random(2*apart), make([]float32, 2*apart)
		want := make([]float32, 2*apart)
		gap, mask := 0, columnMask(cols)
		if panels == 2 {
			gap, mask = k*panelWidth, columnMask(panelWidth+cols)
		}
		for p := range panels {
			for r := range rows {
				for c := range panelWidth {
					v := bias[p*panelWidth+c]
					for i := range k {
						v += a[r*k+i] * b[p*k*panelWidth+i*panelWidth+c]
					}
					if at := p*apart + r*step + c; p < panels-1 || c < cols {
						want[at] = min(max(v, -1), 1) + residual[at]
					}
				}
			}
		}
		pointwiseAVX512(&got[0], step, apart, &a[0], k, rows, &b[0], gap, k, &bias[0], &residual[0],
			-1, 1, mask)
		if !near(got, want, 1e-4) {
			return false
		}
	}
	for _, width := range []int{3, 5, 7} {
		for stride := 1; stride <= 2; stride++ {
			w := &Window{Width: width, Stride: stride, Dilation: 1}
			const n, channels = 31, 11
			line := (n*stride + width) * Block
			w.Row(0, 0)
			w.Row(line, width*Block)
			src, weights, bias := random(2*line), random(2*width*Block), random(Block)
			got, want := make([]float32, n*Block), make([]float32, n*Block)
			depthwiseRowGo(want, Block, src, n, w, weights, bias[:channels], -1, 1)
			w.wide()(&got[0], Block, &src[0], n, &w.rows[0][0], 2, &weights[0], &bias[0], -1, 1,
				columnMask(channels))
			if !near(got, want, 1e-4) {
				return false
			}
		}
	}
	return true
}
