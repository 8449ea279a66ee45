package kernel

import (
	"math"
	"slices"
	"sync"
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

// Left operands of AMX lie in tiles of 16 rows by 32 numbers along k, those of the same rows one behind
// the other, 1024 bytes each: they are read front to back. A left operand that is not rounded is the sum
// of three, each 8 bits of the numbers, whose tiles follow one another and are added to the same sums.

// leftParts is how many left operands are summed.
func (m *Matrix) leftParts() int {
	if m.exact {
		return 3
	}
	return 1
}

// tileStride is how many float32 a row takes in tiles, on average.
func (m *Matrix) tileStride() int { return m.leftParts() * m.depth }

// setTiles sets a row of tiles, of which dst begins with its first numbers, to K numbers.
func (m *Matrix) setTiles(dst, row []float32) {
	if !m.exact {
		packTiles(dst, row)
		return
	}
	// The upper 8 bits of a number's 24, then those of what is left.
	part, rest := make([]float32, m.K), slices.Clone(row)
	for range m.leftParts() {
		for i, v := range rest {
			u := math.Float32bits(v)
			part[i] = math.Float32frombits(u &^ 0xffff)
			rest[i] -= part[i]
			if u&0x7f800000 == 0x7f800000 { // infinite, or no number, which its lower bits may say
				part[i], rest[i] = v, 0
			}
		}
		packTiles(dst, part)
		dst = dst[min(len(dst), 16*m.depth):]
	}
}

// packTiles rounds a row to bfloat16, 32 numbers to each 256 floats of dst. What is left of the last 32
// is 0.
func packTiles(dst, row []float32) {
	n := 0
	if avx2() {
		if n = len(row) &^ 31; n > 0 {
			_ = dst[n*8-256+15]
			packTilesBF16AVX2((*uint16)(unsafe.Pointer(&dst[0])), &row[0], n)
		}
	}
	for ; n < len(row); n += 32 {
		packBF16(asWords(asInts(dst[n*8:n*8+16])), row[n:min(n+32, len(row))])
	}
}

// multiplyTiles is multiplyPairs with AMX, of a left operand in tiles.
func (m *Matrix) multiplyTiles(c []float32, ldc int, a []float32, lda, rows, lo, hi int, add bool,
	e *Epilogue) {
	sums := tileSums.Get().(*[amxBlock*2*panelWidth + dotAlign]float32)
	defer tileSums.Put(sums)
	room := asFloats(aligned(asInts(sums[:])))
	flags := 0
	if add {
		flags = flagAdd
	}
	for b0 := 0; b0 < rows; b0 += amxBlock {
		b1 := min(rows, b0+amxBlock)
		var t tileEpilogue
		now := flags
		if e != nil {
			now |= e.tile(&t, b0)
		}
		for p := lo; p < hi; p += 2 {
			p1 := min(p+2, hi)
			col := p * panelWidth
			cols, gap := min(p1*panelWidth, m.N)-col, 0
			if p1 > p+1 {
				gap = m.depth * panelWidth
			}
			if now&flagColBias != 0 {
				t.colBias = &e.Bias[col : col+cols][0]
			}
			if now&flagResidual != 0 {
				t.residual = &e.Residual[b0*ldc+col : (b1-1)*ldc+col+cols][0]
			}
			sumTiles(room, a[b0*lda:], m.pairs[p*m.depth*panelWidth:], gap, m.depth/16, m.leftParts(),
				(b1-b0+15)/16, amxChunk, c[b0*ldc+col:], ldc)
			finishTiles(c[b0*ldc+col:], ldc, room, b1-b0, cols, now, &t)
			if e != nil && e.Activate != nil {
				e.finish(c, ldc, b0, b1, col, col+cols)
			}
		}
	}
}

const (
	// amxBlock is how many rows share a pass over the panels. They stay in the second cache up to a k of
	// 2,000 or so.
	amxBlock = 256
	// amxChunk is the most tiles along k whose part of two panels, 32 kB, stays in the first cache.
	amxChunk = 16
)

// tileSums are room for the sums of amxBlock rows, which lie in the second cache from one use to the next.
var tileSums = sync.Pool{New: func() any { return new([amxBlock*2*panelWidth + dotAlign]float32) }}

// sumTiles sets blocks of 16 rows of sums, [16*blocks][32], to the products of a, in tiles, and two panels
// of pairs of bfloat16: steps times 32 numbers along k, and all that as many times as a has parts. The
// second panel begins gap elements of b after the first. Up to chunk steps are taken at once.
// finishTiles will bring them to c, which is asked for.
func sumTiles(sums, a []float32, b []uint32, gap, steps, parts, blocks, chunk int, c []float32, ldc int) {
	_, _, _ = sums[512*blocks-1], a[256*steps*parts*blocks-1], b[gap+256*steps-1]
	chunks := (steps + chunk - 1) / chunk
	// Lines of both panels that are asked for with each step, so that the next chunk is there in time.
	ahead := max(1, 16/(parts*blocks))
	sumTilesAMX(&sums[0], &a[0], &b[0], 4*gap, steps, parts, blocks, (steps+chunks-1)/chunks, ahead,
		&c[0], ldc)
}

// finishTiles stores rows of sums, of which the first cols columns count, as flags ask for.
func finishTiles(c []float32, ldc int, sums []float32, rows, cols, flags int, e *tileEpilogue) {
	_, _ = c[(rows-1)*ldc+cols-1], sums[rows*2*panelWidth-1]
	finishTilesAVX512(&c[0], ldc, &sums[0], rows, flags, (*float32)(unsafe.Pointer(e)), columnMask(cols))
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
	return bf16Agrees(amxRows+1, true, func(c []float32, ldc int, a []float32, lda int, b []uint32,
		gap, k, rows, cols, flags int, e *tileEpilogue) {
		steps, blocks := (k+15)/16, (rows+15)/16
		packed, panels := make([]float32, blocks*256*steps), make([]uint32, 2*256*steps)
		for r := range rows {
			for i, v := range a[r*lda : r*lda+k] {
				packed[(r/16*steps+i/16)*256+r%16*16+i%16] = v
			}
		}
		for p := range 2 {
			copy(panels[p*256*steps:(p+1)*256*steps], b[p*gap:p*gap+k*panelWidth])
		}
		sums := make([]float32, 512*blocks)
		sumTiles(sums, packed, panels, 256*steps, steps, 1, blocks, 1, c, ldc)
		finishTiles(c, ldc, sums, rows, cols, flags, e)
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
		flags := flagAdd | flagColBias
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
