package kernel

import (
	"math"
	"runtime"
	"unsafe"
)

//go:generate sh -c "cd _gen && go run . -kernels gemmbf16 -pkg kernel -out ../gemmbf16_amd64.s -stubs ../gemmbf16_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels gemmamx -pkg kernel -out ../gemmamx_amd64.s -stubs ../gemmamx_amd64.go"

// Products with right operands kept in bfloat16, the upper half of a float32. The left operand is
// rounded to bfloat16 as well, so that the product of two numbers is exact in float32, and what is
// summed is the same on every processor, up to the order and the roundings of the sums:
//
//   - AMX multiplies tiles of 32 rows (TDPBF16PS).
//   - AVX512-BF16 sums two products at once (VDPBF16PS), where there are fewer rows.
//   - Elsewhere the right operand is widened as it is read, on AVX-512, on AVX2 or in plain Go. That
//     is no quicker than float32 where arithmetic is the limit, and twice as quick where the memory
//     is, as with one row.
//
// The first two take results below 2^-126 for 0.
//
// Panels are those of float32 with k in pairs: 32 bits hold row 2i of a column and above it row
// 2i+1, zeros where there is none. Widening one is a shift and the other a mask.

// RoundBF16 rounds to bfloat16 and back: to nearest, ties to even. What is smaller than 2^-126, which
// processors take for 0 here, becomes a zero of the same sign; a NaN stays one.
func RoundBF16(dst, src []float32) {
	n := 0
	if avx2() {
		if n = len(src) &^ 7; n > 0 {
			roundBF16AVX2(&dst[:n][0], &src[0], n)
		}
	}
	for i, v := range src[n:] {
		dst[n+i] = math.Float32frombits(roundBF16(v) << 16)
	}
}

// roundBF16 returns the bits of the bfloat16 next to v.
func roundBF16(v float32) uint32 {
	u := math.Float32bits(v)
	switch {
	case v != v:
		return u>>16 | 0x40
	case u&0x7f800000 == 0:
		return u >> 16 & 0x8000
	}
	return (u + 0x7fff + u>>16&1) >> 16
}

// packBF16 rounds src to bfloat16 and packs two in an element of dst, the first below. What is left of
// dst is 0.
func packBF16(dst []uint32, src []float32) {
	n := 0
	if avx2() {
		if n = len(src) &^ 15; n > 0 {
			packBF16AVX2((*uint16)(unsafe.Pointer(&dst[:n/2][0])), &src[0], n)
		}
	}
	clear(dst[n/2:])
	for i, v := range src[n:] {
		dst[(n+i)/2] |= roundBF16(v) << (16 * (i & 1))
	}
}

// NewBF16Matrix makes a matrix that keeps its elements as bfloat16, in half the memory of float32.
// It multiplies left operands rounded to bfloat16; with exact they stay as they are, and nothing but
// the elements is rounded.
func NewBF16Matrix(k, n int, exact bool) *Matrix {
	m := &Matrix{K: k, N: n, exact: exact, dots: !exact && dotsBF16(), depth: (k + 1) / 2}
	if k >= amxFloatDepth && tilesBF16() {
		m.deep = true
		m.depth = (k + 31) / 32 * 16 // whole tiles, of zeros beyond k
	}
	size := m.Panels() * m.depth * panelWidth
	if m.pairs, m.pages = elements[uint32](size); m.pages == nil { // from a multiple of a cache line on
		m.pairs = asWords(aligned(make([]int32, size+dotAlign-1)))[:size]
	}
	return m
}

// pack stores the floats of a panel, [k][16], as pairs.
func (m *Matrix) pack(dst []uint32, panel []float32) {
	RoundBF16(panel, panel)
	for i := range m.K / 2 {
		row, from := (*[panelWidth]uint32)(dst[i*panelWidth:]), (*[2 * panelWidth]float32)(panel[2*i*panelWidth:])
		for j := range row {
			row[j] = math.Float32bits(from[j])>>16 | math.Float32bits(from[panelWidth+j])
		}
	}
	dst = dst[m.K/2*panelWidth:]
	clear(dst)
	if m.K%2 != 0 {
		for j, v := range panel[(m.K-1)*panelWidth:] {
			dst[j] = math.Float32bits(v) >> 16
		}
	}
}

// leftStride is how many float32 a row of a left operand takes, one after the other.
func (m *Matrix) leftStride() int {
	if m.dots {
		return dotStride(2 * m.K)
	}
	return (m.K + 1) / 2 * 2
}

// tiled says whether so many rows are multiplied with AMX.
func (m *Matrix) tiled(rows int) bool { return m.deep && rows >= amxLeast }

// LeftFloats returns how many float32 hold the left operand that Multiply wants, of rows; 0 where it
// takes numbers as they are.
func (m *Matrix) LeftFloats(rows int) int {
	switch {
	case m.tiled(rows):
		return (rows+15)/16*16*m.tileStride() + dotAlign
	case m.pairs == nil || m.exact && m.K%2 == 0:
		return 0
	case m.dots:
		return rows*m.leftStride() + dotAlign
	}
	return rows * m.leftStride()
}

// Left is a left operand in the form that a matrix of bfloat16 takes: rows one after the other, or tiles
// of AMX (bfloat_tile.go).
type Left struct {
	of     *Matrix
	floats []float32
	stride int // of a row; a tile has 16
	tiled  bool
}

// Left makes room for rows of a left operand in buf, of LeftFloats(rows). Set fills it.
func (m *Matrix) Left(buf []float32, rows int) *Left {
	l := &Left{of: m, floats: buf, stride: m.leftStride(), tiled: m.tiled(rows)}
	if m.dots || l.tiled {
		l.floats = asFloats(aligned(asInts(buf)))
	}
	if l.tiled {
		l.stride = m.tileStride()
	}
	return l
}

// For returns the left operand for products with m; nil where m takes another form of it.
func (l *Left) For(m *Matrix) *Left {
	of := l.of
	if m.K != of.K || m.depth != of.depth || m.exact != of.exact || m.dots != of.dots || m.deep != of.deep {
		return nil
	}
	same := *l
	same.of = m
	return &same
}

// Set sets row r to K numbers.
func (l *Left) Set(r int, row []float32) {
	m := l.of
	row = row[:m.K]
	if l.tiled {
		m.setTiles(l.floats[r/16*16*l.stride+r%16*16:(r/16+1)*16*l.stride], row)
		return
	}
	dst := l.floats[r*l.stride : (r+1)*l.stride]
	switch {
	case m.dots:
		packBF16(asWords(asInts(dst)), row)
		return
	case m.exact:
		copy(dst, row)
	default:
		RoundBF16(dst, row)
	}
	clear(dst[m.K:])
}

// Multiply is Matrix.Multiply for rows r0..r1 of l, where r0 is a multiple of 16. c begins at
// r0, and so do what e has of rows.
func (l *Left) Multiply(c []float32, ldc, r0, r1, lo, hi int, add bool, e *Epilogue) {
	switch a := l.floats[r0*l.stride:]; {
	case l.of.K == 0:
		l.of.Multiply(c, ldc, a, l.stride, r1-r0, lo, hi, add, e)
	case l.tiled:
		l.of.multiplyTiles(c, ldc, a, l.stride, r1-r0, lo, hi, add, e)
	default:
		l.of.multiplyPairs(c, ldc, a, l.stride, r1-r0, lo, hi, add, e)
	}
	runtime.KeepAlive(l.of)
}

// multiplyPairs is Multiply for a matrix of bfloat16, without AMX.
func (m *Matrix) multiplyPairs(c []float32, ldc int, a []float32, lda, rows, lo, hi int, add bool,
	e *Epilogue) {
	pairs, perPair := (m.K+1)/2, 2 // floats of the left operand for a pair
	if m.dots {
		perPair = 1
	}
	wide, most, step := avx512(), tileRows, blockK/2
	if wide {
		most, step = wideRows, wideBlockK/2
	}
	if rows <= most {
		step = pairs
	}
	for p0 := lo; p0 < hi; p0 += blockN {
		p1 := min(p0+blockN, hi)
		for k0 := 0; k0 < pairs; k0 += step {
			kn := min(step, pairs-k0)
			var now *Epilogue
			if k0+kn == pairs {
				now = e
			}
			count := (rows + most - 1) / most
			sum := add || k0 > 0
			for i, r := 0, 0; i < count; i++ {
				mr := (rows - r + count - i - 1) / (count - i)
				from := a[r*lda+k0*perPair:]
				if wide {
					m.tilesWide(c, ldc, from, lda, r, mr, p0, p1, k0, kn, sum, now)
				} else {
					m.tiles(c, ldc, from, lda, r, mr, p0, p1, k0, kn, sum, now)
				}
				r += mr
			}
		}
	}
}
