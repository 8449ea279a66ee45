package kernel

import (
	"math"
	"slices"
	"unsafe"
)

// amxFloatDepth is the k from which AMX pays: more than a tile of bfloat16 has.
const amxFloatDepth = 33

// gemmTilePairs is gemmTile with b in pairs of bfloat16, k of them.
func gemmTilePairs(c []float32, ldc int, a []float32, lda int, b []uint32, k, rows, flags int,
	e *tileEpilogue) {
	if !avx2() {
		gemmTilePairsGo(c, ldc, a, lda, b, 0, k, rows, panelWidth, flags, e)
		return
	}
	_, _, _ = c[(rows-1)*ldc+panelWidth-1], a[(rows-1)*lda+2*k-1], b[k*panelWidth-1]
	pe := (*float32)(unsafe.Pointer(e))
	switch rows {
	case 1:
		gemmPairs1x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 2:
		gemmPairs2x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 3:
		gemmPairs3x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 4:
		gemmPairs4x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 5:
		gemmPairs5x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	default:
		gemmPairs6x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	}
}

// gemmTilePairsGo is gemmTilePairs and gemmWidePairs in plain Go.
func gemmTilePairsGo(c []float32, ldc int, a []float32, lda int, b []uint32,
	gap, k, rows, cols, flags int, e *tileEpilogue) {
	for r := range rows {
		row, to := a[r*lda:r*lda+2*k], c[r*ldc:r*ldc+cols]
		for col := 0; col < cols; col += panelWidth {
			var sum [panelWidth]float32
			panel := b[col/panelWidth*gap:]
			for i := range k {
				bb, low, high := (*[panelWidth]uint32)(panel[i*panelWidth:]), row[2*i], row[2*i+1]
				for j, v := range bb {
					sum[j] += low * math.Float32frombits(v<<16)
					sum[j] += high * math.Float32frombits(v&^0xffff)
				}
			}
			for j, v := range sum[:min(panelWidth, cols-col)] {
				to[col+j] = e.finish(v, to[col+j], r, col+j, r*ldc+col+j, flags)
			}
		}
	}
}

// gemmWidePairs is gemmWide with b in pairs of bfloat16, k of them.
func gemmWidePairs(c []float32, ldc int, a []float32, lda int, b []uint32,
	gap, k, rows, cols, flags int, e *tileEpilogue) {
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(rows-1)*lda+2*k-1], b[gap+k*panelWidth-1]
	pe, mask := (*float32)(unsafe.Pointer(e)), columnMask(cols)
	gap *= 4
	switch rows {
	case 1:
		gemmPairs1x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 2:
		gemmPairs2x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 3:
		gemmPairs3x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 4:
		gemmPairs4x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 5:
		gemmPairs5x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 6:
		gemmPairs6x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 7:
		gemmPairs7x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 8:
		gemmPairs8x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 9:
		gemmPairs9x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 10:
		gemmPairs10x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 11:
		gemmPairs11x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	default:
		gemmPairs12x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	}
}

// gemmDots is gemmWide with a and b in pairs of bfloat16, k of them.
func gemmDots(c []float32, ldc int, a []float32, lda int, b []uint32,
	gap, k, rows, cols, flags int, e *tileEpilogue) {
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(rows-1)*lda+k-1], b[gap+k*panelWidth-1]
	pe, mask := (*float32)(unsafe.Pointer(e)), columnMask(cols)
	gap *= 4
	switch rows {
	case 1:
		gemmDots1x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 2:
		gemmDots2x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 3:
		gemmDots3x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 4:
		gemmDots4x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 5:
		gemmDots5x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 6:
		gemmDots6x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 7:
		gemmDots7x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 8:
		gemmDots8x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 9:
		gemmDots9x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 10:
		gemmDots10x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	case 11:
		gemmDots11x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	default:
		gemmDots12x32(&c[0], ldc, &a[0], lda, &b[0], gap, k, flags, pe, mask)
	}
}

// multiplyTiles is multiplyPairs with AMX: tiles of 32 rows and two panels. It reads rows of a in
// sixteens, for which Left leaves room.
func (m *Matrix) multiplyTiles(c []float32, ldc int, a []float32, lda, rows, lo, hi int, add bool,
	e *Epilogue) {
	var buf [amxRows*2*panelWidth + dotAlign]float32
	room := asFloats(aligned(asInts(buf[:])))
	steps := m.depth / 16
	for b0 := 0; b0 < rows; b0 += dotBlock {
		b1 := min(rows, b0+dotBlock)
		for p := lo; p < hi; p += 2 {
			p1 := min(p+2, hi)
			col := p * panelWidth
			cols, gap := min(p1*panelWidth, m.N)-col, 0
			if p1 > p+1 {
				gap = m.depth * panelWidth
			}
			b := m.pairs[p*m.depth*panelWidth:]
			for r := b0; r < b1; r += amxRows {
				mr := min(amxRows, b1-r)
				gemmTileAMX(c[r*ldc+col:], ldc, a[r*lda:], lda, b, gap, steps, mr, cols, add, room)
			}
			if e != nil {
				m.finishTiles(c, ldc, b0, b1, p, p1, e)
			}
		}
	}
}

// finishTiles applies e to rows r0..r1 of two panels, whose products are in c: with the kernels of
// AVX-512, which add them to what is left of k, nothing.
func (m *Matrix) finishTiles(c []float32, ldc, r0, r1, p0, p1 int, e *Epilogue) {
	none := make([]float32, 1)
	for r := r0; r < r1; r += wideRows {
		mr := min(wideRows, r1-r)
		var t tileEpilogue
		flags, col := e.tile(&t, r), p0*panelWidth
		cols := min(p1*panelWidth, m.N) - col
		if flags&flagColBias != 0 {
			t.colBias = &e.Bias[col : col+cols][0]
		}
		if flags&flagResidual != 0 {
			t.residual = &e.Residual[r*ldc+col : (r+mr-1)*ldc+col+cols][0]
		}
		if flags != 0 {
			gemmWideTo(c[r*ldc+col:], ldc, none, 0, none, 0, 0, mr, cols, flags|flagAdd, &t)
		}
	}
	if e.Activate != nil {
		e.finish(c, ldc, r0, r1, p0*panelWidth, min(p1*panelWidth, m.N))
	}
}

// gemmTileAMX sets up to 32 rows of two panels of c to the product of pairs of bfloat16, or adds it:
// steps times 32 numbers along k. It reads rows of a in sixteens, and uses no more than there are.
func gemmTileAMX(c []float32, ldc int, a []float32, lda int, b []uint32,
	gap, steps, rows, cols int, add bool, room []float32) {
	whole := (rows + 15) / 16 * 16
	_, _, _ = c[(rows-1)*ldc+cols-1], a[(whole-1)*lda+16*steps-1], b[gap+256*steps-1]
	_ = room[amxRows*2*panelWidth-1]
	adds := 0
	if add {
		adds = 1
	}
	gemmTile32x32AMX(&c[0], ldc, &a[0], 4*lda, &b[0], 4*gap, steps, rows, adds, columnMask(cols), &room[0])
}

// pairsAgree and those below say whether assembly computes here what plain Go does, on products of
// all heights with numbers of bfloat16.
func pairsAgree() bool {
	return bf16Agrees(wideRows, false, gemmWidePairs)
}

func dotsBF16Agree() bool {
	return bf16Agrees(wideRows, true, gemmDots)
}

func tilesBF16Agree() bool {
	room := make([]float32, amxRows*2*panelWidth)
	return bf16Agrees(amxRows, true, func(c []float32, ldc int, a []float32, lda int, b []uint32,
		gap, k, rows, cols, flags int, e *tileEpilogue) {
		steps := (k + 15) / 16
		packed, panels := make([]float32, amxRows*16*steps), make([]uint32, 2*256*steps)
		for r := range rows {
			copy(packed[r*16*steps:], a[r*lda:r*lda+k])
		}
		for p := range 2 {
			copy(panels[p*256*steps:(p+1)*256*steps], b[p*gap:p*gap+k*panelWidth])
		}
		gemmTileAMX(c, ldc, packed, 16*steps, panels, 256*steps, steps, rows, cols, flags&flagAdd != 0, room)
	})
}

// bf16Agrees compares a micro-kernel for two panels with gemmTilePairsGo; packed says that it takes
// the left operand in pairs too.
func bf16Agrees(most int, packed bool, tile func(c []float32, ldc int, a []float32, lda int, b []uint32,
	gap, k, rows, cols, flags int, e *tileEpilogue)) bool {
	const k, ldc = 19, 2 * panelWidth
	var seed uint32 = 1
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			seed = seed*1664525 + 1013904223
			v[i] = float32(int32(seed)) / (1 << 30)
		}
		return v
	}
	for rows := 1; rows <= most; rows++ {
		a, wide, b := make([]float32, rows*k), random(rows*2*k), make([]uint32, 2*k*panelWidth)
		RoundBF16(wide, wide)
		lda, left := 2*k, wide
		if packed {
			lda, left = k, a
			for r := range rows {
				packBF16(asWords(asInts(a[r*k:(r+1)*k])), wide[r*2*k:(r+1)*2*k])
			}
		}
		for i, v := range random(len(b)) {
			b[i] = roundBF16(v) | roundBF16(v*3)<<16
		}
		for p, row := 0, slices.Repeat([]uint32{0}, panelWidth); p < 2; p++ { // one k less
			copy(b[(p*k+k-1)*panelWidth:], row)
		}
		got, bias := random(rows*ldc), random(ldc)
		want := slices.Clone(got)
		e := tileEpilogue{colBias: &bias[0]}
		flags := flagAdd
		if most == wideRows {
			flags |= flagColBias
		}
		cols := ldc - rows%15
		gemmTilePairsGo(want, ldc, wide, 2*k, b, k*panelWidth, k, rows, cols, flags, &e)
		tile(got, ldc, left, lda, b, k*panelWidth, k, rows, cols, flags, &e)
		for i, w := range want {
			if !(math.Abs(float64(got[i]-w)) <= 1e-4) {
				return false
			}
		}
	}
	return true
}
