package kernel

import (
	"math"
	"unsafe"

	"github.com/crossattn/xpipe/tensor"
)

//go:generate sh -c "cd _gen && go run . -kernels q4 -pkg kernel -out ../q4_amd64.s -stubs ../q4_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels q4wide512 -pkg kernel -out ../q4wide512_amd64.s -stubs ../q4wide512_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels unpack -pkg kernel -out ../unpack_amd64.s -stubs ../unpack_amd64.go"

// Products with weights of a few bits in blocks that each have a scale and perhaps a zero point, as
// com.microsoft's MatMulNBits has them (ONNX Runtime, docs/ContribOperators.md). The weights are
// read as the file has them: what a product unpacks lives in registers, or in a panel that stays in
// the cache.
//
// The quick forms take blocks of 32 values, or of 16, of which a larger block is several. A 32-bit
// word holds 16, 8 or 4 values of 2, 4 or 8 bits, the first in the lowest. A row of the left operand
// is brought into the order in which a vector of such words gives its values. What rounds the left
// operand to 8 bits is for weights of 4 bits in blocks of 32.

// quickBlock is the block of the forms in 8 bits: 16 bytes.
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
	// Table is what 4 bits stand for, in place of zero points; of a byte the upper half comes first.
	Table *[16]float32
}

// Floats are numbers in float32, or in float16 bits.
type Floats struct {
	Wide []float32
	Half []uint16
}

// Len returns how many there are.
func (f Floats) Len() int { return len(f.Wide) + len(f.Half) }

// Part returns numbers lo to hi-1.
func (f Floats) Part(lo, hi int) Floats {
	if f.Half != nil {
		return Floats{Half: f.Half[lo:hi]}
	}
	return Floats{Wide: f.Wide[lo:hi]}
}

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
	case b.Table != nil:
		return 0
	case b.Zeros != nil:
		per := (b.Count*b.Bits + 7) / 8
		return b.value(b.Zeros[row*per:], block)
	case b.ZeroFloats.Len() > 0:
		return b.ZeroFloats.At(row*b.Count + block)
	}
	return b.middle()
}

// readZeros sets dst to the zero points of a row's blocks from the first on.
func (b *Blocks) readZeros(dst []float32, row, first int) {
	switch {
	case b.Table != nil:
		clear(dst)
	case b.Zeros != nil:
		per := (b.Count*b.Bits + 7) / 8
		data, at, mask := b.Zeros[row*per:(row+1)*per], first*b.Bits, uint8(1<<b.Bits-1)
		for i := range dst {
			dst[i] = float32(data[at>>3] >> (at & 7) & mask)
			at += b.Bits
		}
	case b.ZeroFloats.Len() > 0:
		b.ZeroFloats.read(dst, row*b.Count+first)
	default:
		middle := b.middle()
		for i := range dst {
			dst[i] = middle
		}
	}
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
	whole := len(dst) / b.Size
	if avx2() && b.Size%16 == 0 {
		b.unpackVector(dst[:whole*b.Size], data, row)
	} else {
		whole = 0
	}
	for i := whole; i*b.Size < len(dst); i++ {
		zero, scale := b.zero(row, i), b.Scales.At(row*b.Count+i)
		to := dst[i*b.Size : min(len(dst), (i+1)*b.Size)]
		from := data[i*per : (i+1)*per]
		if b.Table != nil {
			for j := range to {
				to[j] = b.Table[from[j/2]>>(4-j%2*4)&15] * scale
			}
			continue
		}
		for j := range to {
			to[j] = (b.value(from, j) - zero) * scale
		}
	}
}

// unpackVector unpacks whole blocks.
func (b *Blocks) unpackVector(dst []float32, data []uint8, row int) {
	const together = 32
	var scales, zeros [together]float32
	per := b.Size * b.Bits / 8
	for i := 0; i*b.Size < len(dst); i += together {
		n := min(together, len(dst)/b.Size-i)
		b.Scales.read(scales[:n], row*b.Count+i)
		b.readZeros(zeros[:n], row, i)
		to, from, units := &dst[i*b.Size], &data[i*per : (i+n)*per][0], b.Size/16
		switch {
		case b.Table != nil:
			tableUnpackAVX2(to, from, &scales[0], &zeros[0], n, units, &b.Table[0])
		case b.Bits == 2:
			q2UnpackAVX2(to, from, &scales[0], &zeros[0], n, units)
		case b.Bits == 4:
			q4UnpackAVX2(to, from, &scales[0], &zeros[0], n, units)
		default:
			q8UnpackAVX2(to, from, &scales[0], &zeros[0], n, units)
		}
	}
}

// Quick says whether the quick forms can take the weights.
func (b *Blocks) Quick() bool { return b.Size%16 == 0 && b.Group == nil }

// unit is the size of the quick forms' blocks.
func (b *Blocks) unit() int {
	if b.Size%quickBlock == 0 {
		return quickBlock
	}
	return 16
}

// plainNibbles says whether the forms that are for 4 bits in blocks of 32 can take the weights.
func (b *Blocks) plainNibbles() bool { return b.Bits == 4 && b.unit() == quickBlock && b.Table == nil }

// blocks returns the blocks of the quick forms of a row.
func (b *Blocks) blocks() int { return b.Count * b.Size / b.unit() }

// scales returns the scales of rows lo..hi, where they lie or in scratch.
func (b *Blocks) scales(scratch []float32, lo, hi int) []float32 {
	if b.Scales.Half == nil {
		return b.Scales.Wide[lo*b.Count : hi*b.Count]
	}
	scratch = scratch[:(hi-lo)*b.Count]
	b.Scales.read(scratch, lo*b.Count)
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
	switch form {
	case BlockRow:
		chunks := (n*b.words() + lanes - 1) / lanes
		return chunks*b.vectors()*lanes + n
	case ByteRow:
		chunks := (4*n + lanes - 1) / lanes
		return chunks*4*lanes + n
	}
	return n*quickBlock/4 + n
}

// words is how many 32-bit words a block of the quick forms has.
func (b *Blocks) words() int { return b.unit() * b.Bits / 32 }

// vectors is how many a row has for BlockRow, for each vector of words.
func (b *Blocks) vectors() int {
	if b.Table != nil {
		return 8
	}
	return 32/b.Bits + 1
}

// Prepare brings a row [K] of the left operand into dst, LeftFloats of it.
func (b *Blocks) Prepare(dst, row []float32, form BlockForm) {
	n := b.blocks()
	dst, tail := dst[:len(dst)-n], dst[len(dst)-n:]
	lanes := quickLanes(form)
	switch {
	case form == BlockRow && b.plainNibbles():
		prepareFloats(dst, tail, row, lanes)
	case form == BlockRow:
		b.prepareWords(dst, tail, row, lanes)
	case form == ByteRow:
		prepareBytes(dst, tail, row, lanes)
	default:
		quantizeBlocks(floatBytes(dst), tail, nil, row, 0x80)
	}
}

// parts are 1/2^i.
var parts = func() (p [32]float32) {
	for i := range p {
		p[i] = float32(math.Ldexp(1, -i))
	}
	return p
}()

// prepareWords is prepareFloats for any number of bits, and for a table, which needs no division and
// has no middle.
func (b *Blocks) prepareWords(dst, sums, row []float32, lanes int) {
	clear(dst)
	clear(sums)
	per, words, vectors := 32/b.Bits, b.words(), b.vectors()
	for w := 0; w*per < len(row); w++ {
		to := dst[w/lanes*vectors*lanes+w%lanes:]
		var sum float32
		for i, v := range row[w*per : min(len(row), (w+1)*per)] {
			sum += v
			switch {
			case b.Table != nil:
				to[(i^1)*lanes] = v
			case i < per-1:
				to[i*lanes] = v * parts[i*b.Bits]
			default:
				to[i*lanes] = v
			}
		}
		if b.Table == nil {
			to[per*lanes] = -b.middle() * sum
		}
		sums[w/words] += sum
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
