package kernel

import "encoding/binary"

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
				at := chunk[i%(lanes/4)*4+w:]
				word := int32(binary.LittleEndian.Uint32(b[(r*n+i)*16+4*w:]))
				even := at[8*lanes] + float32(word&0xf)*at[0] + float32(word&0xf00)*at[2*lanes] +
					float32(word&0xf0000)*at[4*lanes] + float32(word&0xf000000)*at[6*lanes]
				odd := float32(word&0xf0)*at[lanes] + float32(word&0xf000)*at[3*lanes] +
					float32(word&0xf00000)*at[5*lanes] + float32(word>>28&0xf)*at[7*lanes]
				part += even + odd
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
