package kernel

import (
	"math"
	"slices"
	"unsafe"

	"github.com/crossattn/xpipe/tensor"
)

//go:generate sh -c "cd _gen && go run . -kernels gemm512 -pkg kernel -out ../gemm512_amd64.s -stubs ../gemm512_amd64.go"

// Products with AVX-512. Panels are those of AVX2: one of 16 columns fills a register, and the
// micro-kernel takes two side by side, up to 12 x 32 results. Columns that are missing at the right
// are masked off, so that the last panel is as fused as the rest.
const (
	wideRows   = 12
	wideBlockK = 512 // with wideRows: 24 kB of the left operand
)

// tilesWide is tiles with AVX-512.
func (m *Matrix) tilesWide(c []float32, ldc int, a []float32, lda, r, mr, p0, p1, k0, kn int,
	add bool, e *Epilogue) {
	var t tileEpilogue
	flags := 0
	if add {
		flags = flagAdd
	}
	if e != nil {
		flags |= e.tile(&t, r)
	}
	last := min(p1*panelWidth, m.N)
	for p := p0; p < p1; p += 2 {
		col := p * panelWidth
		cols := min(last-col, 2*panelWidth)
		if flags&flagColBias != 0 {
			t.colBias = &e.Bias[col : col+cols][0]
		}
		if flags&flagResidual != 0 {
			t.residual = &e.Residual[r*ldc+col : (r+mr-1)*ldc+col+cols][0]
		}
		gap := 0
		if p+1 < p1 {
			gap = m.stride() * panelWidth
		}
		b, to := (p*m.stride()+k0)*panelWidth, c[r*ldc+col:]
		switch end := b + gap + kn*panelWidth; {
		case m.halves != nil:
			gemmWideHalf(to, ldc, a, lda, m.halves[b:end], gap, kn, mr, cols, flags, &t)
		case m.dots:
			gemmDots(to, ldc, a, lda, m.pairs[b:end], gap, kn, mr, cols, flags, &t)
		case m.pairs != nil:
			gemmWidePairs(to, ldc, a, lda, m.pairs[b:end], gap, kn, mr, cols, flags, &t)
		default:
			gemmWide(to, ldc, a, lda, m.panels[b:end], gap, kn, mr, cols, flags, &t)
		}
	}
	if e != nil && e.Activate != nil {
		e.finish(c, ldc, r, r+mr, p0*panelWidth, last)
	}
}

// gemmWide is gemmTile for up to 12 rows and the first cols columns of two panels, the second of
// which begins gap elements of b after the first. A gap of 0 stands for one panel.
func gemmWide(c []float32, ldc int, a []float32, lda int, b []float32,
	gap, k, rows, cols, flags int, e *tileEpilogue) {
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(rows-1)*lda+k-1], b[gap+k*panelWidth-1]
	gemmWideTo(c, ldc, a, lda, b, gap, k, rows, cols, flags, e)
}

// gemmWideTo is gemmWide without the checks of a and b, of which a k of 0 reads nothing.
func gemmWideTo(c []float32, ldc int, a []float32, lda int, b []float32,
	gap, k, rows, cols, flags int, e *tileEpilogue) {
	pe, mask := (*float32)(unsafe.Pointer(e)), columnMask(cols)
	gap *= 4
	switch rows {
	case 1:
		gemm1x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 2:
		gemm2x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 3:
		gemm3x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 4:
		gemm4x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 5:
		gemm5x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 6:
		gemm6x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 7:
		gemm7x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 8:
		gemm8x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 9:
		gemm9x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 10:
		gemm10x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 11:
		gemm11x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	default:
		gemm12x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	}
}

// gemmWideHalf is gemmWide with b in float16.
func gemmWideHalf(c []float32, ldc int, a []float32, lda int, b []uint16,
	gap, k, rows, cols, flags int, e *tileEpilogue) {
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(rows-1)*lda+k-1], b[gap+k*panelWidth-1]
	pe, mask := (*float32)(unsafe.Pointer(e)), columnMask(cols)
	gap *= 2
	switch rows {
	case 1:
		gemmHalf1x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 2:
		gemmHalf2x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 3:
		gemmHalf3x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 4:
		gemmHalf4x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 5:
		gemmHalf5x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 6:
		gemmHalf6x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 7:
		gemmHalf7x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 8:
		gemmHalf8x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 9:
		gemmHalf9x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 10:
		gemmHalf10x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 11:
		gemmHalf11x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	default:
		gemmHalf12x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	}
}

// columnMask has a bit for each of the first cols of 32 columns.
func columnMask(cols int) uint32 { return uint32(1<<cols - 1) }

// avx512Agrees says whether the assembly for AVX-512 computes here what plain Go does, on products
// of a few sizes and rows of numbers: some 25,000 multiplications.
func avx512Agrees() bool {
	const k = 37
	var seed uint32 = 1
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			seed = seed*1664525 + 1013904223
			v[i] = float32(int32(seed))/(1<<30) + 1.0/1024
		}
		return v
	}
	near := func(got, want []float32, tol float64) bool {
		for i, w := range want {
			if !(math.Abs(float64(got[i])-float64(w)) <= tol) {
				return false
			}
		}
		return true
	}
	half, b := make([]uint16, 2*k*panelWidth), make([]float32, 2*k*panelWidth)
	toHalfAVX512(&half[0], &random(len(b))[0], len(b))
	fromHalfAVX512(&b[0], &half[0], len(b))
	for i, h := range half {
		if b[i] != tensor.Half(h).Float32() {
			return false
		}
	}
	for _, size := range [][2]int{{12, 32}, {7, 29}, {1, 5}} {
		rows, cols := size[0], size[1]
		a, bias, rowBias := random(rows*k), random(2*panelWidth), random(wideRows)
		residual, before := random(rows*2*panelWidth), random(rows*2*panelWidth)
		e := tileEpilogue{
			rowBias: &rowBias[0], colBias: &bias[0], residual: &residual[0], low: -3, high: 3,
		}
		const ldc = 2 * panelWidth
		const flags = flagAdd | flagRowBias | flagColBias | flagBounds | flagResidual
		want, got, gotHalf := slices.Clone(before), slices.Clone(before), slices.Clone(before)
		gap := 0
		if cols > panelWidth {
			gap = k * panelWidth
		}
		for p := range 2 {
			right := e
			right.colBias, right.residual = &bias[p*panelWidth], &residual[p*panelWidth]
			gemmTileGo(want[p*panelWidth:], ldc, a, k, b[p*k*panelWidth:], k, rows, flags, &right)
		}
		for i := range want {
			if i%ldc >= cols {
				want[i] = before[i]
			}
		}
		gemmWide(got, ldc, a, k, b, gap, k, rows, cols, flags, &e)
		gemmWideHalf(gotHalf, ldc, a, k, half, gap, k, rows, cols, flags, &e)
		if !near(got, want, 1e-4) || !near(gotHalf, want, 1e-4) {
			return false
		}
	}
	x, got, want := random(45), make([]float32, 45), make([]float32, 45)
	for _, f := range []struct {
		assembly func(dst, src *float32, n int)
		plain    func(float64) float64
	}{{expAVX512, math.Exp}, {tanhAVX512, math.Tanh}, {erfAVX512, math.Erf}} {
		f.assembly(&got[0], &x[0], len(x))
		elementwise(want, x, f.plain)
		if !near(got, want, 2e-6) {
			return false
		}
	}
	dotsAVX512(&got[0], &x[0], &b[0], 3, 50, len(x))
	for j := range 3 {
		want[j] = 0
		for i, v := range x {
			want[j] += v * b[j*50+i]
		}
	}
	return near(got, want[:3], 1e-4) && pairsAgree() && q4DotsAgree() && convAgrees(random, near)
}
