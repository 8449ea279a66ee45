package kernel

import (
	"math"
	"slices"
	"unsafe"
)

//go:generate sh -c "cd _gen && go run . -kernels dot512 -pkg kernel -out ../dot512_amd64.s -stubs ../dot512_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels dotvnni -pkg kernel -out ../dotvnni_amd64.s -stubs ../dotvnni_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels dotamx -pkg kernel -out ../dotamx_amd64.s -stubs ../dotamx_amd64.go"

// Products of 8-bit integers with VPDPBUSD: four products of unsigned bytes, the left operand's, and
// signed ones, the right operand's, are added to a sum of 32 bits. Nothing saturates, so that
// results are those of every other form.
//
// With za and zb the zero points of a row and a column, the sum over k of (a-za)(b-zb) is
//
//	sum(a*b) - za*sum(b) - zb*sum(a-za)
//
// sum(b) is known when the matrix is packed and sum(a-za) when the row is; the last term is left out
// where all zb are 0, as in weights that are quantised symmetrically.

// With AMX tiles of 32 rows take the place of those of 12, which reads rows in sixteens and k in
// 64s: beyond the rows and columns that there are lie others, or room, whose products are not kept,
// and beyond k the rows hold zeros.

// dotBlock is how many rows share a pass over the panels.
const dotBlock = 16 * wideRows

// amxRows is the height of a tile with AMX; amxLeast and amxDepth are the rows and the k from which
// it pays.
const (
	amxRows  = 32
	amxLeast = 8
	amxDepth = 33
)

// dotAlign is the size of a cache line in int32. Rows begin at its multiples.
const dotAlign = 16

// dotStride returns how many int32 a packed row of k bytes takes: whole cache lines, an odd number
// of them, because rows a power of two apart would fall on the same few places of the cache.
func dotStride(k int) int { return ((k+63)/64 | 1) * dotAlign }

// aligned returns buf from its first multiple of a cache line on.
func aligned(buf []int32) []int32 {
	if len(buf) == 0 {
		return buf
	}
	past := int(uintptr(unsafe.Pointer(&buf[0]))/4) % dotAlign
	return buf[min(len(buf), (dotAlign-past)%dotAlign):]
}

// packDots packs a row as bytes, XOR flip, and returns their sum. What is left of dst is 0.
func packDots(dst []int32, src []uint8, flip uint8) (sum int32) {
	to, n := asBytes(dst), 0
	switch {
	case len(src) == 0:
	case dots512():
		packDotsAVX512(&to[:len(src)][0], &src[0], len(src), uint32(flip), &sum)
		n = (len(src) + 63) / 64 * 64
	case dotsVNNI() && len(src) >= 32:
		n = len(src) &^ 31
		packDotsAVXVNNI(&to[:n][0], &src[0], n, uint32(flip), &sum)
	}
	for ; n < len(src); n++ {
		to[n] = src[n] ^ flip
		sum += int32(to[n])
	}
	clear(to[n:])
	return sum
}

// asBytes is v seen as bytes.
func asBytes(v []int32) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(&v[0])), 4*len(v))
}

// sumColumns sums the columns of panels lo..hi, once they are packed.
func (m *ByteMatrix) sumColumns(lo, hi int) {
	if !m.dots || lo == hi {
		return
	}
	quads := Quads(m.K)
	ones, none := slices.Repeat([]uint8{1}, 4*quads), make([]int32, panelWidth)
	e := dotEpilogue{columnSums: &none[0]}
	for p := lo; p < hi; p++ {
		c := m.sums[p*panelWidth : (p+1)*panelWidth]
		dotTile(c, 0, ones, 0, m.Panel(p), 0, quads, 1, panelWidth, &e)
	}
}

// dotEpilogue is the part that the micro-kernel does to the sums of one tile. The assembly knows the
// offsets of the fields.
type dotEpilogue struct {
	columnSums, zeros *int32 // of the columns; zeros are nil where all are 0
	sums              *int32 // of the rows' numbers less their zero point
	scale, bias       *float32
	zero              int32 // of the rows
}

// multiplyDots is Multiply with VPDPBUSD or AMX.
func (m *ByteMatrix) multiplyDots(c []int32, ldc int, a *ByteRows, r0, r1, lo, hi int,
	e *ByteEpilogue) {
	if r1-r0 >= amxLeast && m.K >= amxDepth && dotsAMX() {
		var room [amxRows*2*panelWidth + dotAlign]int32
		m.dotTiles(c, ldc, a, r0, r1, lo, hi, e, aligned(room[:]))
	} else {
		m.dotTiles(c, ldc, a, r0, r1, lo, hi, e, nil)
	}
}

// dotTiles is multiplyDots, with AMX where room for its sums is given.
func (m *ByteMatrix) dotTiles(c []int32, ldc int, a *ByteRows, r0, r1, lo, hi int,
	e *ByteEpilogue, room []int32) {
	rows, panels := 6, 1
	if dots512() {
		rows, panels = wideRows, 2
	}
	for b0 := r0; b0 < r1; b0 += dotBlock {
		b1 := min(r1, b0+dotBlock)
		for p := lo; p < hi; p += panels {
			for r := b0; r < b1; {
				left := (b1 - r + rows - 1) / rows
				mr, to := (b1-r+left-1)/left, []int32(nil) // tiles as equal as can be
				if room != nil && a.alike(r, min(b1, r+amxRows)) >= amxLeast {
					mr, to = amxRows, room
				}
				mr = a.alike(r, min(b1, r+mr))
				m.dotTile(c[(r-r0)*ldc:], ldc, a, r, mr, p, min(hi, p+panels), e, to)
				r += mr
			}
		}
	}
}

// alike returns how many rows from r0 on and before r1 have the zero point of the first.
func (a *ByteRows) alike(r0, r1 int) int {
	for r := r0 + 1; r < r1; r++ {
		if a.zeros[r] != a.zeros[r0] {
			return r - r0
		}
	}
	return r1 - r0
}

// dotTile computes rows r to r+mr-1, which have one zero point, of panels p0 and, if it is below p1,
// p0+1; with AMX where room is given.
func (m *ByteMatrix) dotTile(c []int32, ldc int, a *ByteRows, r, mr, p0, p1 int,
	e *ByteEpilogue, room []int32) {
	quads, col := Quads(m.K), p0*panelWidth
	cols, gap := min(m.N, p1*panelWidth)-col, 0
	if p1 > p0+1 {
		gap = 64 * quads
	}
	t := dotEpilogue{columnSums: &m.sums[col], sums: &a.sums[r : r+mr][0], zero: a.zeros[r]}
	if m.uneven {
		t.zeros = &m.zeros[col]
	}
	lda := 4 * a.stride
	data := asBytes(a.data[r*a.stride:])
	b := m.panels[col*4*quads : cap(m.panels)]
	if cols%panelWidth == 0 || dots512() {
		if e != nil && e.Scale != nil {
			t.scale = &e.Scale[col : col+cols][0]
			if e.Bias != nil {
				t.bias = &e.Bias[col : col+cols][0]
			}
		}
		if room != nil {
			amxTile(c[col:], ldc, data, lda, b, gap, m.K, mr, cols, &t, room)
		} else {
			dotTile(c[col:], ldc, data, lda, b, gap, quads, mr, cols, &t)
		}
		return
	}
	var edge struct {
		scale, bias [panelWidth]float32
		tile        [6 * panelWidth]int32
	}
	if e != nil && e.Scale != nil {
		t.scale = columnsOf(e.Scale, col, cols, &edge.scale)
		if e.Bias != nil {
			t.bias = columnsOf(e.Bias, col, cols, &edge.bias)
		}
	}
	dotTile(edge.tile[:], panelWidth, data, lda, b, gap, quads, mr, panelWidth, &t)
	for i := range mr {
		copy(c[i*ldc+col:][:cols], edge.tile[i*panelWidth:])
	}
}

// dotTile picks the micro-kernel for the number of rows: up to 12 rows and 32 columns of two panels,
// the second gap bytes behind the first, with AVX-512; else up to 6 rows of one panel. It indexes
// the slices at their ends first, because assembly checks no bounds.
func dotTile(c []int32, ldc int, a []uint8, lda int, b []uint8, gap, quads, rows, cols int,
	e *dotEpilogue) {
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(rows-1)*lda+4*quads-1], b[gap+quads*64-1]
	switch {
	case dots512():
		dotTile512(&c[0], ldc, &a[0], lda, &b[0], gap, quads, rows, cols, e)
	case dotsVNNI():
		dotTileVNNI(&c[0], ldc, &a[0], lda, &b[0], quads, rows, e)
	default:
		dotTileGo(c, ldc, a, lda, b, gap, quads, rows, cols, e)
	}
}

// amxTile is dotTile with AMX, for up to 32 rows. It reads more of a and b than it uses.
func amxTile(c []int32, ldc int, a []uint8, lda int, b []uint8, gap, k, rows, cols int,
	e *dotEpilogue, room []int32) {
	steps, whole := (k+63)/64, (rows+15)/16*16
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(whole-1)*lda+64*steps-1], b[gap+1024*steps-1]
	_ = room[amxRows*2*panelWidth-1]
	dotTile32x32AMX(&c[0], ldc, &a[0], lda, &b[0], gap, steps, rows,
		(*int32)(unsafe.Pointer(e)), columnMask(cols), &room[0])
}

// dotTileGo sets c[r][j] to the sum over k of a[r][k] * b[k][j], less what the zero points make,
// scaled to a float and with bias added if e asks for it.
func dotTileGo(c []int32, ldc int, a []uint8, lda int, b []uint8, gap, quads, rows, cols int,
	e *dotEpilogue) {
	for r := range rows {
		var sum [2 * panelWidth]int32
		for q := range quads {
			aa := (*[4]uint8)(a[r*lda+4*q:])
			for p := range (cols + panelWidth - 1) / panelWidth {
				bb := (*[64]uint8)(b[p*gap+64*q:])
				for j := range panelWidth {
					for i, v := range aa {
						sum[p*panelWidth+j] += int32(v) * int32(int8(bb[4*j+i]))
					}
				}
			}
		}
		to := c[r*ldc : r*ldc+cols]
		for j := range to {
			v := sum[j] - intAt(e.columnSums, j)*e.zero
			if e.zeros != nil {
				v -= intAt(e.zeros, j) * intAt(e.sums, r)
			}
			if e.scale != nil {
				f := float32(float32(v) * at(e.scale, j))
				if e.bias != nil {
					f += at(e.bias, j)
				}
				v = int32(math.Float32bits(f))
			}
			to[j] = v
		}
	}
}

// dots512Agree and dotsVNNIAgree say whether the assembly computes here what plain Go does, on
// products of a few sizes with extreme bytes.
func dots512Agree() bool {
	return blocksAgree() && requantizeAgrees() && dotsAgree(wideRows, 2*panelWidth, packDotsAVX512,
		func(c []int32, a, b []uint8, gap, quads, rows, cols int, e *dotEpilogue) {
			dotTile512(&c[0], 2*panelWidth, &a[0], 4*quads, &b[0], gap, quads, rows, cols, e)
		})
}

func dotsVNNIAgree() bool {
	return dotsAgree(6, panelWidth, packDotsAVXVNNI,
		func(c []int32, a, b []uint8, _, quads, rows, _ int, e *dotEpilogue) {
			dotTileVNNI(&c[0], 2*panelWidth, &a[0], 4*quads, &b[0], quads, rows, e)
		})
}

// blocksAgree is dots512Agree for QuantizeBlocks and DequantizeBlocks.
func blocksAgree() bool {
	var src, back [2 * Block]float32
	for i := range src {
		src[i] = float32(i-20) * 13.25 // ties among them
	}
	src[5] = float32(math.NaN())
	var got [2 * Block]uint8
	const scale, zero, flip = 0.5, 99, 0x80
	quantizeBlocksAVX512(&got[0], &src[0], 2, Block, scale, zero, flip)
	dequantizeBlocksAVX512(&back[0], &got[0], 2, Block, scale, zero, flip)
	for i, v := range src {
		q := quantized(v, scale, zero)
		if got[i] != uint8(q)^flip || back[i] != float32(q-zero)*scale {
			return false
		}
	}
	return true
}

func dotsAMXAgree() bool {
	room, packed := make([]int32, amxRows*2*panelWidth), make([]uint8, amxRows*128)
	return dotsAgree(amxRows, 2*panelWidth, packDotsAVX512,
		func(c []int32, a, b []uint8, gap, quads, rows, cols int, e *dotEpilogue) {
			for r := range rows {
				copy(packed[r*128:], a[r*4*quads:(r+1)*4*quads])
			}
			amxTile(c, 2*panelWidth, packed, 128, append(b, make([]uint8, 1024)...), gap,
				4*quads, rows, cols, e, room)
		})
}

func dotsAgree(most, width int, pack func(dst, src *uint8, n int, flip uint32, sum *int32),
	tile func(c []int32, a, b []uint8, gap, quads, rows, cols int, e *dotEpilogue)) bool {
	const quads = 19
	var seed uint32 = 1
	random := func(n int) []uint8 {
		v := make([]uint8, n)
		for i := range v {
			seed = seed*1664525 + 1013904223
			v[i] = uint8(seed >> 24)
			if seed>>20&1 == 0 {
				v[i] = 0x7f + uint8(seed>>21&1)<<7 // 127 and -1, or 127 and 255
			}
		}
		return v
	}
	ints := func(n int) []int32 {
		v := make([]int32, n)
		for i, b := range random(n) {
			v[i] = int32(b)
		}
		return v
	}
	floats := func(n int) []float32 {
		v := make([]float32, n)
		for i, b := range random(n) {
			v[i] = float32(b) / 64
		}
		return v
	}
	for rows := 1; rows <= most; rows++ {
		a, b := random(rows*4*quads), random(2*64*quads)
		columnSums, zeros, sums := ints(2*panelWidth), ints(2*panelWidth), ints(rows)
		scale, bias := floats(2*panelWidth), floats(2*panelWidth)
		e := dotEpilogue{columnSums: &columnSums[0], zeros: &zeros[0], sums: &sums[0],
			scale: &scale[0], bias: &bias[0], zero: 77}
		if rows%2 == 0 {
			e.scale, e.bias = nil, nil
		}
		got, want := ints(rows*2*panelWidth), make([]int32, rows*2*panelWidth)
		copy(want, got)
		cols, gap := width, 0
		if width > panelWidth {
			cols, gap = width-rows%31, 64*quads
		}
		dotTileGo(want, 2*panelWidth, a, 4*quads, b, gap, quads, rows, cols, &e)
		tile(got, a, b, gap, quads, rows, cols, &e)
		if !slices.Equal(got, want) {
			return false
		}
	}
	src, got := random(64), make([]uint8, 64)
	var sum int32
	pack(&got[0], &src[0], len(src), 0x80, &sum)
	for i, b := range src {
		if got[i] != b^0x80 {
			return false
		}
		sum -= int32(b ^ 0x80)
	}
	return sum == 0
}

// dotTile512 picks the micro-kernel with AVX-512.
func dotTile512(c *int32, ldc int, a *uint8, lda int, b *uint8, gap, quads, rows, cols int,
	e *dotEpilogue) {
	pe, mask := (*int32)(unsafe.Pointer(e)), columnMask(cols)
	switch rows {
	case 1:
		dotTile1x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 2:
		dotTile2x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 3:
		dotTile3x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 4:
		dotTile4x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 5:
		dotTile5x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 6:
		dotTile6x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 7:
		dotTile7x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 8:
		dotTile8x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 9:
		dotTile9x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 10:
		dotTile10x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	case 11:
		dotTile11x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	default:
		dotTile12x32AVX512(c, ldc, a, lda, b, gap, quads, pe, mask)
	}
}

// dotTileVNNI picks the micro-kernel with AVX-VNNI.
func dotTileVNNI(c *int32, ldc int, a *uint8, lda int, b *uint8, quads, rows int, e *dotEpilogue) {
	pe := (*int32)(unsafe.Pointer(e))
	switch rows {
	case 1:
		dotTile1x16AVXVNNI(c, ldc, a, lda, b, quads, pe)
	case 2:
		dotTile2x16AVXVNNI(c, ldc, a, lda, b, quads, pe)
	case 3:
		dotTile3x16AVXVNNI(c, ldc, a, lda, b, quads, pe)
	case 4:
		dotTile4x16AVXVNNI(c, ldc, a, lda, b, quads, pe)
	case 5:
		dotTile5x16AVXVNNI(c, ldc, a, lda, b, quads, pe)
	default:
		dotTile6x16AVXVNNI(c, ldc, a, lda, b, quads, pe)
	}
}
