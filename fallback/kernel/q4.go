package kernel

import (
	"math"
	"unsafe"

	"github.com/crossattn/xpipe/tensor"
)

//go:generate sh -c "cd _gen && go run . -kernels q4 -pkg kernel -out ../q4_amd64.s -stubs ../q4_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels q4wide512 -pkg kernel -out ../q4wide512_amd64.s -stubs ../q4wide512_amd64.go"

// Products with weights of a few bits in blocks that each have a scale and perhaps a zero point, as
// com.microsoft's MatMulNBits has them (ONNX Runtime, docs/ContribOperators.md). The weights are
// read as the file has them: what a product unpacks lives in registers, or in a panel that stays in
// the cache.
//
// The quick forms are for 4 bits and blocks of 32 values or more, which they take as blocks of 32.
// Two values share a byte, the first in the lower half, so that a 32-bit word holds eight. A row of
// the left operand is brought into the order in which a vector of such words gives its values.

// quickBlock is the block of the quick forms: 16 bytes.
const quickBlock = 32

// Blocks are weights [N,K], a row of them a column of the product. The K values of a row lie in
// Count blocks of Size values, packed from the lowest bits of a byte on; what is behind K in the
// last block does not count.
type Blocks struct {
	N, K  int
	Bits  int // 2, 4 or 8
	Size  int // a power of 2 from 16 on
	Count int

	Data   []uint8 // [N,Count,Size*Bits/8]
	Scales Floats  // [N,Count]
	// Zeros are the zero points, packed like values, a row from a byte of its own on; or ZeroFloats
	// are, [N,Count]. Where there are neither they are the middle of the range.
	Zeros      []uint8
	ZeroFloats Floats
	Group      []int // the block whose scale a value has, for each of K; nil: the one it lies in
}

// Floats are numbers in float32, or in float16 bits.
type Floats struct {
	Wide []float32
	Half []uint16
}

// Len returns how many there are.
func (f Floats) Len() int { return len(f.Wide) + len(f.Half) }

// At returns one number.
func (f Floats) At(i int) float32 {
	if f.Half != nil {
		return tensor.Half(f.Half[i]).Float32()
	}
	return f.Wide[i]
}

// read sets dst to the numbers from place i on.
func (f Floats) read(dst []float32, i int) {
	if f.Half != nil {
		FromHalf(dst, f.Half[i:i+len(dst)])
		return
	}
	copy(dst, f.Wide[i:])
}

// value returns a packed value.
func (b *Blocks) value(data []uint8, i int) float32 {
	at := i * b.Bits
	return float32(data[at/8] >> (at % 8) & (1<<b.Bits - 1))
}

func (b *Blocks) middle() float32 { return float32(int(1) << (b.Bits - 1)) }

// zero returns the zero point of a block.
func (b *Blocks) zero(row, block int) float32 {
	switch {
	case b.Zeros != nil:
		per := (b.Count*b.Bits + 7) / 8
		return b.value(b.Zeros[row*per:], block)
	case b.ZeroFloats.Len() > 0:
		return b.ZeroFloats.At(row*b.Count + block)
	}
	return b.middle()
}

// Unpack sets dst [K] to a row of the weights.
func (b *Blocks) Unpack(dst []float32, row int) {
	per := b.Size * b.Bits / 8
	data := b.Data[row*b.Count*per : (row+1)*b.Count*per]
	if b.Group != nil {
		for i := range dst {
			g := b.Group[i]
			dst[i] = (b.value(data, i) - b.zero(row, g)) * b.Scales.At(row*b.Count+g)
		}
		return
	}
	for i := range b.Count {
		zero, scale := b.zero(row, i), b.Scales.At(row*b.Count+i)
		to := dst[i*b.Size : min(len(dst), (i+1)*b.Size)]
		from := data[i*per : (i+1)*per]
		switch b.Bits {
		case 8:
			for j := range to {
				to[j] = (float32(from[j]) - zero) * scale
			}
		case 4:
			for j := range to {
				to[j] = (float32(from[j/2]>>(j%2*4)&15) - zero) * scale
			}
		default:
			for j := range to {
				to[j] = (float32(from[j/4]>>(j%4*2)&3) - zero) * scale
			}
		}
	}
}

// Quick says whether the quick forms can take the weights.
func (b *Blocks) Quick() bool { return b.Bits == 4 && b.Size >= quickBlock && b.Group == nil }

// blocks returns the blocks of 32 of a row.
func (b *Blocks) blocks() int { return b.Count * b.Size / quickBlock }

// quickScales returns the scales of rows lo..hi, one for each block of 32 of a row, where they lie
// or in scratch.
func (b *Blocks) quickScales(scratch []float32, lo, hi int) []float32 {
	repeat := b.Size / quickBlock
	if repeat == 1 && b.Scales.Half == nil {
		return b.Scales.Wide[lo*b.Count : hi*b.Count]
	}
	n := (hi - lo) * b.Count
	scratch = scratch[:n*repeat]
	from := scratch[n*repeat-n:] // repeating goes forward over what it reads
	b.Scales.read(from, lo*b.Count)
	if repeat > 1 {
		for i, v := range from {
			for j := range repeat {
				scratch[i*repeat+j] = v
			}
		}
	}
	return scratch
}

// BlockForm is how a product with Blocks is computed.
type BlockForm int

const (
	// BlockRow is for few rows: weights are unpacked in registers.
	BlockRow BlockForm = iota
	// ByteRow is the same with the left operand rounded to 8 bits.
	ByteRow
	// BytePanel is for many rows, rounded so, with panels of weights in 8 bits.
	BytePanel
)

// quickLanes is how many 32-bit words the row kernels in use take at once.
func quickLanes(form BlockForm) int {
	if form == BlockRow && avx512() || form == ByteRow && bytesQ4() {
		return 16
	}
	return 8
}

// LeftFloats returns the floats that a row of the left operand takes when it is prepared.
func (b *Blocks) LeftFloats(form BlockForm) int {
	lanes, n := quickLanes(form), b.blocks()
	chunks := (4*n + lanes - 1) / lanes
	switch form {
	case BlockRow:
		return chunks*9*lanes + n
	case ByteRow:
		return chunks*4*lanes + n
	}
	return n*quickBlock/4 + n
}

// Prepare brings a row [K] of the left operand into dst, LeftFloats of it.
func (b *Blocks) Prepare(dst, row []float32, form BlockForm) {
	n := b.blocks()
	dst, tail := dst[:len(dst)-n], dst[len(dst)-n:]
	lanes := quickLanes(form)
	switch form {
	case BlockRow:
		prepareFloats(dst, tail, row, lanes)
	case ByteRow:
		prepareBytes(dst, tail, row, lanes)
	case BytePanel:
		quantizeBlocks(floatBytes(dst), tail, nil, row, 0x80)
	}
}

// prepareFloats makes a chunk of nine vectors of each 8*lanes numbers: vector i holds the numbers i
// of each word's eight over 16^i, as a masked word is 16^i times its value, but the last, which is
// shifted; the ninth is -8 times the sums of each eight. sums are those of each block.
func prepareFloats(dst, sums, row []float32, lanes int) {
	clear(dst)
	for c := 0; c*8*lanes < len(row); c++ {
		part, to := row[c*8*lanes:min(len(row), (c+1)*8*lanes)], dst[c*9*lanes:(c+1)*9*lanes]
		for l := 0; l*8 < len(part); l++ {
			eight := part[l*8:]
			if len(eight) >= 8 {
				e := (*[8]float32)(eight)
				to[l] = e[0]
				to[lanes+l] = e[1] * (1.0 / (1 << 4))
				to[2*lanes+l] = e[2] * (1.0 / (1 << 8))
				to[3*lanes+l] = e[3] * (1.0 / (1 << 12))
				to[4*lanes+l] = e[4] * (1.0 / (1 << 16))
				to[5*lanes+l] = e[5] * (1.0 / (1 << 20))
				to[6*lanes+l] = e[6] * (1.0 / (1 << 24))
				to[7*lanes+l] = e[7]
				to[8*lanes+l] = -8 * (((e[0] + e[1]) + (e[2] + e[3])) + ((e[4] + e[5]) + (e[6] + e[7])))
				continue
			}
			var sum float32
			for i, v := range eight {
				sum += v
				if i < 7 {
					v *= float32(1 / float64(int(1)<<(4*i)))
				}
				to[i*lanes+l] = v
			}
			to[8*lanes+l] = -8 * sum
		}
	}
	for i := range sums {
		at := i/(lanes/4)*9*lanes + 8*lanes + i%(lanes/4)*4
		sums[i] = -(dst[at] + dst[at+1] + dst[at+2] + dst[at+3]) / 8
	}
}

// prepareBytes makes a chunk of four vectors of each 8*lanes numbers: the even numbers as signed
// bytes, the odd ones, -8 times the sums of each eight as int32, and the scales, one for each word.
// sums are those of each block, times its scale.
func prepareBytes(dst, sums, row []float32, lanes int) {
	clear(dst)
	n, per := len(sums), lanes/4
	words := make([]int32, 4*n)
	bytes, scales := make([]uint8, n*quickBlock), make([]float32, n)
	quantizeBlocks(bytes, scales, words, row, 0)
	for i := range n {
		c, at := dst[i/per*4*lanes:][:4*lanes], i%per*4
		copy(floatBytes(c[at:at+4]), bytes[i*quickBlock:][:16])
		copy(floatBytes(c[lanes+at:lanes+at+4]), bytes[i*quickBlock+16:][:16])
		w := words[4*i : 4*i+4]
		copy(asInts(c[2*lanes+at:2*lanes+at+4]), w)
		for j := range 4 {
			c[3*lanes+at+j] = scales[i]
		}
		sums[i] = -scales[i] / 8 * float32(w[0]+w[1]+w[2]+w[3])
	}
}

// floatBytes is v seen as bytes.
func floatBytes(v []float32) []uint8 {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*uint8)(unsafe.Pointer(&v[0])), 4*len(v))
}

// leastScaled is the magnitude up to which numbers become 0.
const leastScaled = 1e-30

// quantizeBlocks rounds blocks of 32 numbers to signed bytes, each by a scale of its own, the
// largest magnitude over 127. dst has 32 bytes for each block, those at even places first, XOR
// flip; words, if not nil, four times -8 times the sum of eight in order. What is behind src is 0.
func quantizeBlocks(dst []uint8, scales []float32, words []int32, src []float32, flip uint8) {
	i := 0
	if whole := len(src) / quickBlock; avx2() && whole > 0 {
		var w *int32
		if words != nil {
			w = &words[:4*whole][0]
		}
		_ = dst[whole*quickBlock-1]
		q4QuantizeAVX2(&dst[0], &scales[:whole][0], w, &src[0], whole, flip)
		i = whole
	}
	for ; i < len(scales); i++ {
		part := src[min(i*quickBlock, len(src)):min((i+1)*quickBlock, len(src))]
		var most, unknown float32
		for _, v := range part {
			most = max(most, float32(math.Abs(float64(v))))
			unknown += 0 * v // NaN of what is no number
		}
		var inverse float32
		if most > leastScaled {
			inverse = 127 / most
		}
		if scales[i] = most/127 + unknown; unknown != unknown {
			inverse = 0
		}
		to := dst[i*quickBlock : (i+1)*quickBlock]
		var sums [4]int32
		for j := range to {
			var q int32
			if j < len(part) {
				q = int32(math.RoundToEven(float64(part[j] * inverse)))
			}
			to[j%2*16+j/2] = uint8(q) ^ flip
			sums[j/8] += q
		}
		if words != nil {
			for j, s := range sums {
				words[4*i+j] = -8 * s
			}
		}
	}
}

// RowScratch returns the floats of scratch that Row needs.
func (b *Blocks) RowScratch() int { return rowsTogether * b.blocks() }

const rowsTogether = 16 // rows of weights

// Row sets dst to the product of a prepared row of the left operand and columns lo..hi.
func (b *Blocks) Row(dst, left []float32, form BlockForm, lo, hi int, scratch []float32) {
	n := b.blocks()
	left, sums := left[:len(left)-n], left[len(left)-n:]
	for r := lo; r < hi; r += rowsTogether {
		end := min(hi, r+rowsTogether)
		to := dst[r-lo : end-lo]
		scales := b.quickScales(scratch, r, end)
		data := b.Data[r*n*quickBlock/2 : end*n*quickBlock/2]
		if form == BlockRow {
			q4Dots(to, left, data, scales, n)
		} else {
			q4Bytes(to, left, data, scales, n)
		}
		if b.Zeros != nil || b.ZeroFloats.Len() > 0 {
			b.addZeros(to, sums, scales, r)
		}
	}
}

// addZeros adds what zero points other than 8 make, of rows from row on: 8 less the zero point, by
// the scale, by the sum of the left operand's block.
func (b *Blocks) addZeros(dst, sums, scales []float32, row int) {
	n, repeat := b.blocks(), b.Size/quickBlock
	from := 0
	if per := (b.Count + 1) / 2; b.Zeros != nil && repeat == 1 && avx2() && n >= 8 {
		from = n &^ 7
		q4ZerosAVX2(&dst[0], &sums[0], &scales[0], &b.Zeros[row*per : (row+len(dst))*per][0], len(dst),
			from/8, n, per)
	}
	for r := range dst {
		var sum float32
		for i := from; i < n; i++ {
			sum += (8 - b.zero(row+r, i/repeat)) * scales[r*n+i] * sums[i]
		}
		dst[r] += sum
	}
}

// q4Dots sets dst to the products of a row that prepareFloats made and rows of n blocks.
func q4Dots(dst, a []float32, b []uint8, scales []float32, n int) {
	rows := len(dst)
	switch {
	case rows == 0 || n == 0:
		clear(dst)
	case avx512():
		q4DotsAVX512(&dst[0], &a[0], &b[0], &scales[0], rows, n)
	case avx2():
		q4DotsAVX2(&dst[0], &a[0], &b[0], &scales[0], rows, n)
	default:
		q4DotsGo(dst, a, b, scales, n, quickLanes(BlockRow))
	}
}

func q4DotsGo(dst, a []float32, b []uint8, scales []float32, n, lanes int) {
	for r := range dst {
		var sum float32
		for i := range n {
			chunk := a[i/(lanes/4)*9*lanes:]
			var part float32
			for w := range 4 {
				l := i%(lanes/4)*4 + w
				word := b[(r*n+i)*16+4*w:][:4]
				part += chunk[8*lanes+l]
				power := float32(1)
				for j := range 8 {
					part += float32(word[j/2]>>(j%2*4)&15) * power * chunk[j*lanes+l]
					if power *= 16; j == 6 {
						power = 1
					}
				}
			}
			sum += scales[r*n+i] * part
		}
		dst[r] = sum
	}
}

// q4Bytes is q4Dots for a row that prepareBytes made.
func q4Bytes(dst, a []float32, b []uint8, scales []float32, n int) {
	rows := len(dst)
	switch {
	case rows == 0 || n == 0:
		clear(dst)
	case bytesQ4():
		q4BytesAVX512(&dst[0], &a[0], &b[0], &scales[0], rows, n)
	case avx2():
		q4BytesAVX2(&dst[0], &a[0], &b[0], &scales[0], rows, n)
	default:
		q4BytesGo(dst, a, b, scales, n, quickLanes(ByteRow))
	}
}

func q4BytesGo(dst, a []float32, b []uint8, scales []float32, n, lanes int) {
	for r := range dst {
		var sum float32
		for i := range n {
			chunk := a[i/(lanes/4)*4*lanes:][:4*lanes]
			at := i % (lanes / 4) * 4
			even, odd := floatBytes(chunk[at:at+4]), floatBytes(chunk[lanes+at:lanes+at+4])
			var part int32
			for w := range 4 {
				part += asInts(chunk[2*lanes:])[at+w]
			}
			for j, v := range b[(r*n+i)*16:][:16] {
				part += int32(v&15)*int32(int8(even[j])) + int32(v>>4)*int32(int8(odd[j]))
			}
			sum += scales[r*n+i] * chunk[3*lanes+at] * float32(part)
		}
		dst[r] = sum
	}
}

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
func (b *Blocks) FillScratch() int { return (2*b.blocks() + quickBlock) * panelWidth }

// FillBlocks packs panels lo..hi, the first of which holds the weights' rows from row on.
func (m *Matrix) FillBlocks(b *Blocks, row, lo, hi int, scratch []float32) {
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
	scratch        []float32
}

// byteDepth is how many blocks of a panel are multiplied at a time: 15 kB.
const byteDepth = 24

// BlockPanelFloats returns the floats of scratch that NewBlockPanels needs.
func (b *Blocks) BlockPanelFloats(panels int) int {
	n := b.blocks()
	return panels*n*byteRecord/4 + 2*n*panelWidth
}

// HasBytes says whether products in 8 bits are possible: zero points must be whole numbers.
func (b *Blocks) HasBytes() bool { return b.Quick() && b.ZeroFloats.Len() == 0 }

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
