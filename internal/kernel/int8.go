package kernel

import (
	"math"
	"runtime"
	"unsafe"
)

//go:generate sh -c "cd _gen && go run . -kernels int8 -pkg kernel -out ../int8_amd64.s -stubs ../int8_amd64.go"

// Products of 8-bit integers, exact. Bytes stand for int8 or uint8: where a function takes flip, it
// is 0x80 for int8 and 0 for uint8, and a byte XOR flip is the number plus 128 or the number
// itself, unsigned both ways.
//
// The right operand is packed in panels of 16 columns, in fours along k: 64 bytes hold four rows of
// a panel, column by column. The rest depends on the instructions in use, which a matrix keeps to
// once it is made:
//
//   - With VPDPBUSD (VNNI), which sums four products at once, the right operand's bytes are signed
//     and the left operand's unsigned: see dot.go.
//   - Without it the right operand's bytes are unsigned; those at even and at odd k are taken apart
//     into 16-bit numbers and VPMADDWD sums pairs, which never saturates. The left operand is packed
//     to match: less its zero point, as 16-bit numbers in the order 0, 2, 1, 3 of each four.

// byteRows is how many rows the micro-kernel takes at once.
const byteRows = 4

// byteBlock is how many rows share a pass over the panels.
const byteBlock = 64

// ByteMatrix is a packed right operand of k rows and n columns of 8-bit integers.
type ByteMatrix struct {
	K, N   int
	panels []uint8 // [panel][quad][16][4]
	zeros  []int32 // the zero point of each column's bytes as they are packed, for whole panels
	pages  *pages  // that panels lie in; nil of memory on Go's heap

	// With VNNI:
	dots   bool    // which instructions the matrix is packed for
	uneven bool    // some zero point is not 0
	sums   []int32 // of each column's bytes, for whole panels
}

// Quads returns the fours that k elements take, the last one filled up.
func Quads(k int) int { return (k + 3) / 4 }

// NewByteMatrix makes a matrix of k rows and n columns, k at least 1, to be filled by Fill.
func NewByteMatrix(k, n int) *ByteMatrix {
	m := &ByteMatrix{K: k, N: n}
	size := m.Panels() * panelWidth * 4 * Quads(k)
	// From a multiple of a cache line on; AMX reads beyond the last panel.
	buf, p := elements[uint8](size + 1024 + 63)
	m.panels, m.pages = buf[-uintptr(unsafe.Pointer(&buf[0]))&63:][:size], p
	m.zeros = make([]int32, m.Panels()*panelWidth)
	if m.dots = hasDots(); m.dots {
		m.sums = make([]int32, len(m.zeros))
	}
	return m
}

// Panels returns the number of panels, which Multiply and Fill take ranges of.
func (m *ByteMatrix) Panels() int { return (m.N + panelWidth - 1) / panelWidth }

// Panel returns the bytes of a panel, [quad][16][4].
func (m *ByteMatrix) Panel(p int) []uint8 {
	size := 4 * Quads(m.K) * panelWidth
	return m.panels[p*size : (p+1)*size]
}

// SetZeros gives the zero points, as the numbers are and not as their unsigned bytes: one for all
// columns or one for each.
func (m *ByteMatrix) SetZeros(zeros []int32, flip uint8) {
	m.uneven = false
	for j := range m.N {
		m.zeros[j] = zeros[j%len(zeros)] + int32(flip) - m.middle()
		m.uneven = m.uneven || m.zeros[j] != 0
	}
}

// middle is what packed bytes are less than unsigned ones.
func (m *ByteMatrix) middle() int32 {
	if m.dots {
		return 128
	}
	return 0
}

// Fill packs panels lo..hi from row-major b, where a row begins ldb after the one before.
func (m *ByteMatrix) Fill(b []uint8, ldb int, flip uint8, lo, hi int) {
	whole := m.K / 4
	flip ^= uint8(m.middle())
	for p := lo; p < hi; p++ {
		dst, done := m.Panel(p), 0
		width := min(panelWidth, m.N-p*panelWidth)
		if avx2() && width == panelWidth && whole > 0 {
			_ = b[(4*whole-1)*ldb+(p+1)*panelWidth-1]
			interleaveAVX2(&dst[0], &b[p*panelWidth], ldb, whole, flip)
			done = whole
		}
		clear(dst[done*64:])
		for k := 4 * done; k < m.K; k++ {
			row := b[k*ldb+p*panelWidth:][:width]
			for j, v := range row {
				dst[k/4*64+4*j+k%4] = v ^ flip
			}
		}
	}
	m.sumColumns(lo, hi)
	runtime.KeepAlive(m)
}

// FillTransposed packs panels lo..hi from the rows of b, each of which is a column of the matrix
// and begins ldb after the one before.
func (m *ByteMatrix) FillTransposed(b []uint8, ldb int, flip uint8, lo, hi int) {
	flip ^= uint8(m.middle())
	for p := lo; p < hi; p++ {
		dst := m.Panel(p)
		clear(dst)
		for j := range min(panelWidth, m.N-p*panelWidth) {
			for k, v := range b[(p*panelWidth+j)*ldb:][:m.K] {
				dst[k/4*64+4*j+k%4] = v ^ flip
			}
		}
	}
	m.sumColumns(lo, hi)
	runtime.KeepAlive(m)
}

// ByteRows is a packed left operand, made for a matrix by its Rows.
type ByteRows struct {
	dots   bool
	stride int     // from row to row of data
	data   []int32 // of two 16-bit numbers each or, with VNNI, of four bytes
	// The zero point of each row's unsigned bytes, and the sum of its numbers less that.
	zeros, sums []int32
}

// rowStride returns how many int32 a packed row takes.
func (m *ByteMatrix) rowStride() int {
	if m.dots {
		return dotStride(m.K)
	}
	return 2 * Quads(m.K)
}

// RowInts returns the room that Rows takes, in int32.
func (m *ByteMatrix) RowInts(rows int) int {
	n := rows * (m.rowStride() + 2)
	if m.dots {
		n += dotAlign
	}
	if m.dots && rows >= amxLeast { // AMX reads rows in sixteens
		n += 15 * m.rowStride()
	}
	return n
}

// Rows returns room for so many rows of a left operand of m, to be filled by Pack. buf holds
// RowInts(rows) int32.
func (m *ByteMatrix) Rows(buf []int32, rows int) *ByteRows {
	buf = buf[:m.RowInts(rows)]
	if m.dots {
		buf = aligned(buf)
	}
	a := &ByteRows{dots: m.dots, stride: m.rowStride()}
	a.zeros, buf = buf[len(buf)-rows:], buf[:len(buf)-rows]
	a.sums, a.data = buf[len(buf)-rows:], buf[:len(buf)-rows]
	return a
}

// Pack packs row r. src holds the K bytes of it; zero is the zero point of the unsigned bytes.
func (a *ByteRows) Pack(r int, src []uint8, flip uint8, zero int32) {
	a.zeros[r] = zero
	dst := a.data[r*a.stride : (r+1)*a.stride]
	if a.dots {
		a.sums[r] = packDots(dst, src, flip) - int32(len(src))*zero
	} else {
		a.sums[r] = packPairs(dst, src, flip, zero)
	}
}

// packPairs packs a row as 16-bit numbers, each src less zero, and returns their sum.
func packPairs(dst []int32, src []uint8, flip uint8, zero int32) (sum int32) {
	dst = dst[:2*Quads(len(src))]
	n := 0
	if avx2() {
		if n = len(src) &^ 15; n > 0 {
			sum = packBytesAVX2(&dst[:n/2][0], &src[0], n, flip, zero)
		}
	}
	for ; n < len(src); n += 4 {
		var v [4]int32
		for i, b := range src[n:min(n+4, len(src))] {
			v[i] = int32(b^flip) - zero
		}
		sum += v[0] + v[1] + v[2] + v[3]
		dst[n/2] = v[0]&0xffff | v[2]<<16
		dst[n/2+1] = v[1]&0xffff | v[3]<<16
	}
	return sum
}

// ByteEpilogue turns the sums into floats: times Scale, plus Bias, which may be nil. Both hold a
// number for each column. Without Scale the results are integers. Products and sums are rounded one
// after the other.
type ByteEpilogue struct {
	Scale, Bias []float32
}

// Multiply sets c to the product of rows r0 to r1-1 of a and the columns of panels lo..hi. Row r of
// the product begins at c[(r-r0)*ldc]. With e, c holds float32.
func (m *ByteMatrix) Multiply(c []int32, ldc int, a *ByteRows, r0, r1, lo, hi int,
	e *ByteEpilogue) {
	if m.dots {
		m.multiplyDots(c, ldc, a, r0, r1, lo, hi, e)
		runtime.KeepAlive(m)
		return
	}
	quads := Quads(m.K)
	data, sums, rows := a.data[r0*a.stride:], a.sums[r0:], r1-r0
	if rows == 1 {
		lo = m.row(c, data, sums, lo, hi, quads, e)
	}
	for r0 := 0; r0 < rows; r0 += byteBlock {
		r1 := min(rows, r0+byteBlock)
		for p := lo; p < hi; p++ {
			m.block(c, ldc, data, sums, r0, r1, p, quads, e)
		}
	}
	runtime.KeepAlive(m)
}

// MultiplyFloat is Multiply with an epilogue that makes floats.
func (m *ByteMatrix) MultiplyFloat(c []float32, ldc int, a *ByteRows, r0, r1, lo, hi int,
	e *ByteEpilogue) {
	m.Multiply(asInts(c), ldc, a, r0, r1, lo, hi, e)
}

// row computes one row of pairs of whole panels, as recurrent layers and decoders need it, and
// returns the panel that it left off at.
func (m *ByteMatrix) row(c, a, sums []int32, lo, hi, quads int, e *ByteEpilogue) int {
	if !avx2() {
		return lo
	}
	const width = 2 * panelWidth
	a = a[:2*quads]
	t := byteEpilogue{sums: &sums[0]}
	for hi = min(hi, m.N/panelWidth); lo+2 <= hi; lo += 2 {
		c0 := lo * panelWidth
		b := m.panels[4*quads*c0 : 4*quads*(c0+width)]
		t.zeros = &m.zeros[c0 : c0+width][0]
		if e != nil && e.Scale != nil {
			t.scale = &e.Scale[c0 : c0+width][0]
			if e.Bias != nil {
				t.bias = &e.Bias[c0 : c0+width][0]
			}
		}
		byteTile1x32(&c[c0 : c0+width][0], 0, &a[0], 0, &b[0], quads,
			(*int32)(unsafe.Pointer(&t)))
	}
	return lo
}

// block computes rows r0..r1 of panel p, in tiles as equal as can be.
func (m *ByteMatrix) block(c []int32, ldc int, a, sums []int32, r0, r1, p, quads int,
	e *ByteEpilogue) {
	b, c0 := m.Panel(p), p*panelWidth
	width := min(panelWidth, m.N-c0)
	t := byteEpilogue{zeros: &m.zeros[c0 : c0+panelWidth][0]}
	var edge struct {
		scale, bias [panelWidth]float32
		tile        [byteRows * panelWidth]int32
	}
	if e != nil && e.Scale != nil {
		t.scale = columnsOf(e.Scale, c0, width, &edge.scale)
		if e.Bias != nil {
			t.bias = columnsOf(e.Bias, c0, width, &edge.bias)
		}
	}
	count := (r1 - r0 + byteRows - 1) / byteRows
	for i, r := 0, r0; i < count; i++ {
		mr := (r1 - r + count - i - 1) / (count - i)
		t.sums = &sums[r : r+mr][0]
		from := a[r*2*quads : (r+mr)*2*quads]
		if width == panelWidth {
			byteTile(c[r*ldc+c0:], ldc, from, 2*quads, b, quads, mr, &t)
		} else {
			byteTile(edge.tile[:], panelWidth, from, 2*quads, b, quads, mr, &t)
			for i := range mr {
				copy(c[(r+i)*ldc+c0:][:width], edge.tile[i*panelWidth:])
			}
		}
		r += mr
	}
}

// columnsOf returns v for the columns from c0 on, copied to room if there are fewer than a panel
// has.
func columnsOf(v []float32, c0, width int, room *[panelWidth]float32) *float32 {
	if width == panelWidth {
		return &v[c0 : c0+panelWidth][0]
	}
	copy(room[:], v[c0:c0+width])
	return &room[0]
}

// byteEpilogue is the part that the micro-kernel does to the sums of one tile: it subtracts the
// zeros of the columns times the sums of the rows and, if a scale is set, converts to floats. The
// assembly knows the offsets of the fields.
type byteEpilogue struct {
	sums, zeros *int32
	scale, bias *float32
}

// byteTile picks the micro-kernel for the number of rows. It indexes the slices at their ends
// first, because assembly checks no bounds.
func byteTile(c []int32, ldc int, a []int32, lda int, b []uint8, quads, rows int, e *byteEpilogue) {
	if !avx2() {
		byteTileGo(c, ldc, a, lda, b, quads, rows, e)
		return
	}
	_, _, _ = c[(rows-1)*ldc+panelWidth-1], a[(rows-1)*lda+2*quads-1], b[quads*64-1]
	pe := (*int32)(unsafe.Pointer(e))
	switch rows {
	case 1:
		byteTile1x16(&c[0], ldc, &a[0], lda, &b[0], quads, pe)
	case 2:
		byteTile2x16(&c[0], ldc, &a[0], lda, &b[0], quads, pe)
	case 3:
		byteTile3x16(&c[0], ldc, &a[0], lda, &b[0], quads, pe)
	default:
		byteTile4x16(&c[0], ldc, &a[0], lda, &b[0], quads, pe)
	}
}

// byteTileGo sets c[r][j], for rows r up to 4 and 16 columns j, to the sum over k of a[r][k] *
// (b[k][j] - zeros[j]), scaled to a float and with bias added if e asks for it.
func byteTileGo(c []int32, ldc int, a []int32, lda int, b []uint8, quads, rows int,
	e *byteEpilogue) {
	for r := range rows {
		var sum [panelWidth]int32
		for q, row := 0, a[r*lda:]; q < quads; q++ {
			even, odd := row[2*q], row[2*q+1]
			a0, a2, a1, a3 := int32(int16(even)), even>>16, int32(int16(odd)), odd>>16
			bb := (*[64]uint8)(b[64*q:])
			for j := range sum {
				sum[j] += a0*int32(bb[4*j]) + a1*int32(bb[4*j+1]) +
					a2*int32(bb[4*j+2]) + a3*int32(bb[4*j+3])
			}
		}
		to := (*[panelWidth]int32)(c[r*ldc:])
		for j, v := range sum {
			v -= intAt(e.zeros, j) * intAt(e.sums, r)
			if e.scale == nil {
				to[j] = v
				continue
			}
			f := float32(float32(v) * at(e.scale, j))
			if e.bias != nil {
				f += at(e.bias, j)
			}
			to[j] = int32(math.Float32bits(f))
		}
	}
}

// intAt is at for integers.
func intAt(p *int32, i int) int32 { return *(*int32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

// MinMax returns the least and the greatest of src and 0; NaNs do not count.
func MinMax(src []float32) (low, high float32) {
	if n := len(src) &^ 7; n > 0 && avx2() {
		var r [2]float32
		minMaxAVX2(&r[0], &src[0], n)
		low, high = r[0], r[1]
		src = src[n:]
	}
	for _, v := range src {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

// Quantize sets dst[i] to src[i]/scale, rounded to an integer, ties to even, plus zero (of the
// unsigned bytes), kept within a byte, XOR flip. A NaN becomes zero.
func Quantize(dst []uint8, src []float32, scale float32, zero int32, flip uint8) {
	n := 0
	if avx2() {
		if n = len(src) &^ 31; n > 0 {
			quantizeAVX2(&dst[:n][0], &src[0], n, scale, float32(zero), flip)
		}
	}
	for i, v := range src[n:] {
		dst[n+i] = uint8(quantized(v, scale, zero)) ^ flip
	}
}

// quantized is Quantize of one number, before it is a byte.
func quantized(v, scale float32, zero int32) int32 {
	q := math.RoundToEven(float64(v/scale)) + float64(zero)
	if q != q {
		q = float64(zero)
	}
	return int32(min(max(q, 0), 255))
}

// Dequantize sets dst[i] to scale times src[i] XOR flip less zero.
func Dequantize(dst []float32, src []uint8, scale float32, zero int32, flip uint8) {
	n := 0
	if avx2() {
		if n = len(src) &^ 7; n > 0 {
			dequantizeAVX2(&dst[:n][0], &src[0], n, scale, zero, flip)
		}
	}
	for i, b := range src[n:] {
		dst[n+i] = float32(int32(b^flip)-zero) * scale
	}
}

// QuantizeBlocks is Quantize for n blocks of 16 numbers, one behind the other in src, that begin
// pitch bytes apart in dst.
func QuantizeBlocks(dst []uint8, src []float32, n, pitch int, scale float32, zero int32, flip uint8) {
	if n > 0 && dots512() {
		_, _ = dst[(n-1)*pitch+Block-1], src[n*Block-1]
		quantizeBlocksAVX512(&dst[0], &src[0], n, pitch, scale, float32(zero), uint32(flip))
		return
	}
	for i := range n {
		Quantize(dst[i*pitch:i*pitch+Block], src[i*Block:(i+1)*Block], scale, zero, flip)
	}
}

// DequantizeBlocks is Dequantize for n blocks of 16 bytes that begin pitch bytes apart in src; those
// in dst lie one behind the other.
func DequantizeBlocks(dst []float32, src []uint8, n, pitch int, scale float32, zero int32, flip uint8) {
	if n > 0 && dots512() {
		_, _ = dst[n*Block-1], src[(n-1)*pitch+Block-1]
		dequantizeBlocksAVX512(&dst[0], &src[0], n, pitch, scale, zero, uint32(flip))
		return
	}
	for i := range n {
		Dequantize(dst[i*Block:(i+1)*Block], src[i*pitch:i*pitch+Block], scale, zero, flip)
	}
}

// asFloats and asWords are v seen as numbers of those types of the same bits.
func asFloats(v []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

func asWords(v []int32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// asInts is v seen as integers of the same bits.
func asInts(v []float32) []int32 {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(&v[0])), len(v))
}
