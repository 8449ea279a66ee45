package kernel

import "unsafe"

// columns sets scales and zeros, [blocks,16], to the scales of a panel's columns from row on and to
// their zero points.
func (b *Blocks) columns(scales, zeros []float32, row int) {
	n, repeat := b.blocks(), b.Size/quickBlock
	width := max(0, min(panelWidth, b.N-row))
	if width < panelWidth {
		clear(scales)
	}
	plain := b.Zeros == nil && b.ZeroFloats.Len() == 0
	if plain {
		for i := range zeros {
			zeros[i] = 8
		}
	}
	for j := range width {
		at := (row + j) * b.Count
		if repeat == 1 && b.Scales.Half == nil {
			to := scales[j : (n-1)*panelWidth+j+1]
			for i, v := range b.Scales.Wide[at : at+n] {
				to[i*panelWidth] = v
			}
		} else {
			for i := range n {
				scales[i*panelWidth+j] = b.Scales.At(at + i/repeat)
			}
		}
		if !plain {
			for i := range n {
				zeros[i*panelWidth+j] = b.zero(row+j, i/repeat)
			}
		}
	}
}

// FillScratch returns the floats of scratch that FillBlocks needs.
func (b *Blocks) FillScratch() int {
	if !b.plainNibbles() {
		return panelWidth * b.K
	}
	return (2*b.blocks() + quickBlock) * panelWidth
}

// FillBlocks packs panels lo..hi, the first of which holds the weights' rows from row on.
func (m *Matrix) FillBlocks(b *Blocks, row, lo, hi int, scratch []float32) {
	if !b.plainNibbles() {
		for p := lo; p < hi; p++ {
			r := row + (p-lo)*panelWidth
			width := min(panelWidth, b.N-r, m.N-p*panelWidth)
			for j := range width {
				b.Unpack(scratch[j*m.K:(j+1)*m.K], r+j)
			}
			fillPanel(m.Panel(p), scratch, m.K, width, m.K)
		}
		return
	}
	n := b.blocks()
	scales, zeros := scratch[:n*panelWidth], scratch[n*panelWidth:2*n*panelWidth]
	last := scratch[2*n*panelWidth:][:quickBlock*panelWidth]
	for p := lo; p < hi; p++ {
		r, dst := row+(p-lo)*panelWidth, m.Panel(p)
		b.columns(scales, zeros, r)
		for i, v := range scales {
			zeros[i] *= -v
		}
		width := min(panelWidth, b.N-r, m.N-p*panelWidth)
		data := b.Data[r*n*16 : (r+width)*n*16]
		whole := 0
		if avx2() && width == panelWidth {
			switch whole = m.K / quickBlock; {
			case whole == 0:
			case avx512():
				q4PanelAVX512(&dst[0], &data[0], &scales[0], &zeros[0], whole, n*16)
			default:
				q4PanelAVX2(&dst[0], &data[0], &scales[0], &zeros[0], whole, n*16)
			}
		}
		for i := whole; i < n && i*quickBlock < m.K; i++ {
			q4PanelGo(last, data, scales, zeros, i, width, n)
			copy(dst[i*quickBlock*panelWidth:], last)
		}
	}
}

// q4PanelGo sets dst [32,16] to a block of width rows of weights. zeros are minus the products of
// zero points and scales.
func q4PanelGo(dst []float32, data []uint8, scales, zeros []float32, i, width, n int) {
	clear(dst)
	for j := range width {
		s, z := scales[i*panelWidth+j], zeros[i*panelWidth+j]
		for k, v := range data[(j*n+i)*16:][:16] {
			dst[2*k*panelWidth+j] = float32(v&15)*s + z
			dst[(2*k+1)*panelWidth+j] = float32(v>>4)*s + z
		}
	}
}

// A panel of weights in 8 bits has a record for each block of 32: eight times 16 columns of four
// bytes, the weights less their zero points, which fit the order of quantizeBlocks; -128 times the
// sums of the columns as int32, for the left operand is unsigned; and their scales.
const byteRecord = 512 + 64 + 64

// BlockPanels are panels of weights in 8 bits, to multiply many rows by.
type BlockPanels struct {
	blocks, panels int
	records        []uint8 // [panel,blocks,byteRecord]
}

// byteDepth is how many blocks of a panel are multiplied at a time: 15 kB.
const byteDepth = 24

// BlockPanelFloats returns the floats of scratch that NewBlockPanels needs.
func (b *Blocks) BlockPanelFloats(panels int) int {
	n := b.blocks()
	return panels*n*byteRecord/4 + 2*n*panelWidth
}

// HasBytes says whether products in 8 bits are possible: for 4 bits in blocks of 32 or more, whose
// zero points are whole numbers.
func (b *Blocks) HasBytes() bool {
	return b.Group == nil && b.plainNibbles() && b.ZeroFloats.Len() == 0
}

// NewBlockPanels unpacks panels of the weights' rows from row on. Columns behind the last are 0.
func (b *Blocks) NewBlockPanels(scratch []float32, row, panels int) *BlockPanels {
	n := b.blocks()
	size := panels * n * byteRecord / 4
	m := &BlockPanels{blocks: n, panels: panels, records: floatBytes(scratch[:size])}
	scales, zeros := scratch[size:size+n*panelWidth], scratch[size+n*panelWidth:][:n*panelWidth]
	for p := range panels {
		r := row + p*panelWidth
		b.columns(scales, zeros, r)
		width := max(0, min(panelWidth, b.N-r))
		data := b.Data[min(r, b.N)*n*16 : (min(r, b.N)+width)*n*16]
		to := m.records[p*n*byteRecord : (p+1)*n*byteRecord]
		if avx2() && width == panelWidth {
			q4BytePanelAVX2(&to[0], &data[0], &scales[0], &zeros[0], n, n*16)
			continue
		}
		q4BytePanelGo(to, data, scales, zeros, width, n)
	}
	return m
}

func q4BytePanelGo(dst []uint8, data []uint8, scales, zeros []float32, width, n int) {
	clear(dst)
	for i := range n {
		record := dst[i*byteRecord : (i+1)*byteRecord]
		tail := floatsOf(record[512:])
		copy(tail[16:], scales[i*panelWidth:(i+1)*panelWidth])
		for j := range width {
			z, sum := int8(zeros[i*panelWidth+j]), int32(0)
			for k, v := range data[(j*n+i)*16:][:16] {
				even, odd := int8(v&15)-z, int8(v>>4)-z
				at := k/4*128 + 4*j + k%4
				record[at], record[at+64] = uint8(even), uint8(odd)
				sum += int32(even) + int32(odd)
			}
			asInts(tail)[j] = -128 * sum
		}
	}
}

// floatsOf is bytes seen as floats.
func floatsOf(v []uint8) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&v[0])), len(v)/4)
}

// Multiply sets c, rows of ldc floats, to the product of prepared rows of the left operand, which
// begin lda floats apart, with all columns of the panels.
func (m *BlockPanels) Multiply(c []float32, ldc int, left []float32, lda, rows int) {
	n := m.blocks
	passes := (n + byteDepth - 1) / byteDepth
	most, together := 2, 1
	if bytesQ4() && m.panels%2 == 0 {
		most, together = byteTileRows, 2
	}
	tiles := (rows + most - 1) / most
	for pass := range passes {
		b0, b1 := pass*n/passes, (pass+1)*n/passes
		for p := 0; p < m.panels; p += together {
			for t := range tiles {
				r0, r1 := t*rows/tiles, (t+1)*rows/tiles
				a := left[r0*lda : r1*lda]
				x := byteTile4{
					c: &c[r0*ldc+p*panelWidth], ldc: ldc, a: &floatBytes(a)[b0*quickBlock],
					scales: &a[n*quickBlock/4+b0], lda: 4 * lda, blocks: b1 - b0, add: pass > 0,
					b: &m.records[(p*n+b0)*byteRecord], gap: n * byteRecord, rows: r1 - r0,
				}
				if together == 2 {
					x.wide()
				} else {
					x.narrow()
				}
			}
		}
	}
}

// byteTile4 is a tile of a product: rows of a by one panel of b, or two of which the second begins
// gap bytes after the first. lda is in bytes.
type byteTile4 struct {
	c      *float32
	ldc    int
	a      *uint8
	scales *float32
	lda    int
	b      *uint8
	gap    int
	blocks int
	rows   int
	add    bool
}

const byteTileRows = 6 // of AVX-512

func (x *byteTile4) narrow() {
	if !avx2() {
		x.plain(1)
		return
	}
	add := b2int(x.add)
	if x.rows == 1 {
		q4Tile1AVX2(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.blocks, add)
	} else {
		q4Tile2AVX2(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.blocks, add)
	}
}

func (x *byteTile4) wide() {
	add := b2int(x.add)
	switch x.rows {
	case 1:
		q4Tile1AVX512(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.gap, x.blocks, add)
	case 2:
		q4Tile2AVX512(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.gap, x.blocks, add)
	case 3:
		q4Tile3AVX512(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.gap, x.blocks, add)
	case 4:
		q4Tile4AVX512(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.gap, x.blocks, add)
	case 5:
		q4Tile5AVX512(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.gap, x.blocks, add)
	default:
		q4Tile6AVX512(x.c, x.ldc, x.a, x.scales, x.lda, x.b, x.gap, x.blocks, add)
	}
}

// plain is what the assembly computes.
func (x *byteTile4) plain(panels int) {
	for r := range x.rows {
		a := unsafe.Slice((*uint8)(unsafe.Add(unsafe.Pointer(x.a), r*x.lda)), x.blocks*quickBlock)
		scales := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(x.scales), r*x.lda)), x.blocks)
		for p := range panels {
			records := unsafe.Slice((*uint8)(unsafe.Add(unsafe.Pointer(x.b), p*x.gap)), x.blocks*byteRecord)
			c := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(x.c), 4*(r*x.ldc+p*panelWidth))), panelWidth)
			for j := range c {
				var sum float32
				if x.add {
					sum = c[j]
				}
				for i := range x.blocks {
					record := records[i*byteRecord : (i+1)*byteRecord]
					tail := floatsOf(record[512:])
					part := asInts(tail)[j]
					for k := range 16 {
						at := k/4*128 + 4*j + k%4
						part += int32(int8(record[at]))*int32(a[i*quickBlock+k]) +
							int32(int8(record[at+64]))*int32(a[i*quickBlock+16+k])
					}
					sum += float32(part) * tail[16+j] * scales[i]
				}
				c[j] = sum
			}
		}
	}
}

func b2int(v bool) int {
	if v {
		return 1
	}
	return 0
}
