package kernel

import "encoding/binary"

// RowScratch returns the floats of scratch that Row needs.
func (b *Blocks) RowScratch() int { return rowsTogether*(b.blocks()+b.Count) + b.Count }

const rowsTogether = 16 // rows of weights

// Row sets dst to the product of a prepared row of the left operand and columns lo..hi.
func (b *Blocks) Row(dst, left []float32, form BlockForm, lo, hi int, scratch []float32) {
	n, repeat := b.blocks(), b.Size/b.unit()
	left, sums := left[:len(left)-n], left[len(left)-n:]
	repeated, scratch := scratch[:rowsTogether*n], scratch[rowsTogether*n:]
	zeroed := b.Zeros != nil || b.ZeroFloats.Len() > 0
	if zeroed && repeat > 1 {
		whole := scratch[:b.Count]
		scratch = scratch[b.Count:]
		for i := range whole {
			var sum float32
			for _, v := range sums[i*repeat : (i+1)*repeat] {
				sum += v
			}
			whole[i] = sum
		}
		sums = whole
	}
	per := b.Count * b.Size * b.Bits / 8
	for r := lo; r < hi; r += rowsTogether {
		end := min(hi, r+rowsTogether)
		to := dst[r-lo : end-lo]
		own := b.scales(scratch, r, end)
		scales := own
		if repeat > 1 {
			scales = repeated[:len(own)*repeat]
			repeatEach(scales, own, repeat)
		}
		data := b.Data[r*per : end*per]
		if form == BlockRow {
			b.dots(to, left, data, scales)
		} else {
			q4Bytes(to, left, data, scales, n)
		}
		if zeroed {
			b.addZeros(to, sums, own, r)
		}
	}
}

// addZeros adds what zero points other than the middle of the range make, of rows from row on: the
// middle less the zero point, by the scale, by the sum of the left operand's block.
func (b *Blocks) addZeros(dst, sums, scales []float32, row int) {
	n, middle, from := b.Count, b.middle(), 0
	if per := (n*b.Bits + 7) / 8; b.Zeros != nil && avx2() && n >= 8 {
		from = n &^ 7
		zeros := &b.Zeros[row*per : (row+len(dst))*per][0]
		switch b.Bits {
		case 2:
			q2ZerosAVX2(&dst[0], &sums[0], &scales[0], zeros, len(dst), from/8, n, per)
		case 4:
			q4ZerosAVX2(&dst[0], &sums[0], &scales[0], zeros, len(dst), from/8, n, per)
		default:
			q8ZerosAVX2(&dst[0], &sums[0], &scales[0], zeros, len(dst), from/8, n, per)
		}
	}
	var zeros [8]float32
	for r := range dst {
		var sum float32
		for i := from; i < n; i += len(zeros) {
			part := zeros[:min(len(zeros), n-i)]
			b.readZeros(part, row+r, i)
			own, left := scales[r*n+i:][:len(part)], sums[i:][:len(part)]
			for j, z := range part {
				sum += (middle - z) * own[j] * left[j]
			}
		}
		dst[r] += sum
	}
}

// repeatEach sets dst to the numbers of src, each so many times.
func repeatEach(dst, src []float32, times int) {
	if times == 2 {
		for i, v := range src {
			to := (*[2]float32)(dst[2*i:])
			to[0], to[1] = v, v
		}
		return
	}
	for i, v := range src {
		to := dst[i*times : (i+1)*times]
		for len(to) >= 4 {
			four := (*[4]float32)(to)
			four[0], four[1], four[2], four[3] = v, v, v, v
			to = to[4:]
		}
		for j := range to {
			to[j] = v
		}
	}
}

// dots sets dst to the products of a row that Prepare made for BlockRow and rows of weights, data,
// whose blocks have scales.
func (b *Blocks) dots(dst, a []float32, data []uint8, scales []float32) {
	rows, n := len(dst), b.blocks()
	if rows == 0 || n == 0 {
		clear(dst)
		return
	}
	if !avx2() {
		b.dotsGo(dst, a, data, scales, quickLanes(BlockRow))
		return
	}
	if avx512() {
		b.dotsWide(dst, a, data, scales)
		return
	}
	d, l, w, s := &dst[0], &a[0], &data[0], &scales[0]
	switch [2]int{b.kind(), b.unit()} {
	case [2]int{0, 16}:
		tableDots16AVX2(d, l, w, s, rows, n, &b.Table[0])
	case [2]int{0, 32}:
		tableDots32AVX2(d, l, w, s, rows, n, &b.Table[0])
	case [2]int{2, 16}:
		q2Dots16AVX2(d, l, w, s, rows, n)
	case [2]int{2, 32}:
		q2Dots32AVX2(d, l, w, s, rows, n)
	case [2]int{4, 16}:
		q4Dots16AVX2(d, l, w, s, rows, n)
	case [2]int{4, 32}:
		q4Dots32AVX2(d, l, w, s, rows, n)
	case [2]int{8, 16}:
		q8Dots16AVX2(d, l, w, s, rows, n)
	default:
		q8Dots32AVX2(d, l, w, s, rows, n)
	}
}

// kind is the number of bits, 0 for a table.
func (b *Blocks) kind() int {
	if b.Table != nil {
		return 0
	}
	return b.Bits
}

// dotsWide is dots by AVX-512.
func (b *Blocks) dotsWide(dst, a []float32, data []uint8, scales []float32) {
	d, l, w, s, rows, n := &dst[0], &a[0], &data[0], &scales[0], len(dst), b.blocks()
	switch [2]int{b.kind(), b.unit()} {
	case [2]int{0, 16}:
		tableDots16AVX512(d, l, w, s, rows, n, &b.Table[0])
	case [2]int{0, 32}:
		tableDots32AVX512(d, l, w, s, rows, n, &b.Table[0])
	case [2]int{2, 16}:
		q2Dots16AVX512(d, l, w, s, rows, n)
	case [2]int{2, 32}:
		q2Dots32AVX512(d, l, w, s, rows, n)
	case [2]int{4, 16}:
		q4Dots16AVX512(d, l, w, s, rows, n)
	case [2]int{4, 32}:
		q4Dots32AVX512(d, l, w, s, rows, n)
	case [2]int{8, 16}:
		q8Dots16AVX512(d, l, w, s, rows, n)
	default:
		q8Dots32AVX512(d, l, w, s, rows, n)
	}
}

// dotsGo is dots in plain Go.
func (b *Blocks) dotsGo(dst, a []float32, data []uint8, scales []float32, lanes int) {
	n, words, per, vectors := b.blocks(), b.words(), 32/b.Bits, b.vectors()
	mask := uint32(1<<b.Bits - 1)
	for r := range dst {
		var sum float32
		for i := range n {
			var even, odd float32 // sums of every second value, as the vectors have them
			for w := i * words; w < (i+1)*words; w++ {
				at := a[w/lanes*vectors*lanes+w%lanes:]
				word := binary.LittleEndian.Uint32(data[4*(r*n*words+w):])
				if b.Table == nil {
					even += at[per*lanes]
				}
				for j := range per {
					x := &even
					if j%2 == 1 {
						x = &odd
					}
					switch {
					case b.Table != nil:
						*x += b.Table[word>>(4*j)&15] * at[j*lanes]
					case j < per-1:
						*x += float32(word&(mask<<(b.Bits*j))) * at[j*lanes]
					default:
						*x += float32(word>>(b.Bits*j)) * at[j*lanes]
					}
				}
			}
			sum += scales[r*n+i] * (even + odd)
		}
		dst[r] = sum
	}
}

// q4Bytes is dots for a row that prepareBytes made, of n blocks of 32 values of 4 bits.
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
