package kernel

import (
	"math"
	"slices"
)

// q4Try makes weights and a left operand to try assembly with: rows of blocks of 32.
func q4Try(rows, n int) (a []float32, data []uint8, scales []float32) {
	var seed uint32 = 1
	next := func() uint32 {
		seed = seed*1664525 + 1013904223
		return seed >> 8
	}
	a, data, scales = make([]float32, n*quickBlock-5), make([]uint8, rows*n*16), make([]float32, rows*n)
	for i := range a {
		a[i] = float32(int32(next())-1<<23) / (1 << 23)
	}
	for i := range data {
		data[i] = uint8(next() >> 7)
	}
	for i := range scales {
		scales[i] = float32(next()) / (1 << 24)
	}
	return a, data, scales
}

func nearly(got, want []float32) bool {
	for i, w := range want {
		if !(math.Abs(float64(got[i])-float64(w)) <= 1e-3) {
			return false
		}
	}
	return true
}

// q4DotsAgree says whether the kernels of AVX-512 compute here what plain Go does.
func q4DotsAgree() bool {
	const rows, n, lanes = 3, 7, 16
	var table [16]float32
	for i := range table {
		table[i] = float32(i*i)/16 - 5
	}
	for _, size := range []int{16, 32} {
		for _, bits := range []int{0, 2, 4, 8} {
			a, data, scales := q4Try(rows, 2*n) // the most that 8 bits in blocks of 32 take
			b := &Blocks{N: rows, K: n*size - 5, Bits: bits, Size: size, Count: n}
			if bits == 0 {
				b.Bits, b.Table = 4, &table
			}
			left, sums := make([]float32, (n*b.words()+lanes-1)/lanes*b.vectors()*lanes), make([]float32, n)
			b.prepareWords(left, sums, a[:b.K], lanes)
			got, want := make([]float32, rows), make([]float32, rows)
			b.dotsWide(got, left, data[:rows*n*size*b.Bits/8], scales)
			b.dotsGo(want, left, data, scales, lanes)
			for i := range got {
				got[i], want[i] = got[i]/256, want[i]/256 // sums of numbers up to 255
			}
			if !nearly(got, want) {
				return false
			}
		}
	}
	_, data, scales := q4Try(panelWidth, n)
	got, want := make([]float32, quickBlock*panelWidth*n), make([]float32, quickBlock*panelWidth)
	q4PanelAVX512(&got[0], &data[0], &scales[0], &scales[0], n, n*16)
	for i := range n {
		q4PanelGo(want, data, scales, scales, i, panelWidth, n)
		if !nearly(got[i*len(want):], want) {
			return false
		}
	}
	return true
}

// q4BytesAgree says so of the kernels of AVX-512 VNNI.
func q4BytesAgree() bool {
	const rows, n, lanes = 3, 7, 16
	a, data, scales := q4Try(rows, n)
	left, sums := make([]float32, 2*4*lanes), make([]float32, n)
	prepareBytes(left, sums, a, lanes)
	got, want := make([]float32, rows), make([]float32, rows)
	q4BytesAVX512(&got[0], &left[0], &data[0], &scales[0], rows, n)
	q4BytesGo(want, left, data, scales, n, lanes)
	if !nearly(got, want) {
		return false
	}
	records := make([]float32, 2*n*byteRecord/4)
	_, data, scales = q4Try(2*panelWidth, n)
	for p := range 2 {
		part := floatBytes(records)[p*n*byteRecord : (p+1)*n*byteRecord]
		q4BytePanelGo(part, data[p*panelWidth*n*16:], scales[p*panelWidth*n:], scales, panelWidth, n)
	}
	const size = n*quickBlock/4 + n
	tall := make([]float32, byteTileRows*size)
	for r := range byteTileRows {
		quantizeBlocks(floatBytes(tall[r*size:][:n*quickBlock/4]), tall[r*size+n*quickBlock/4:][:n], nil, a[r:], 0x80)
	}
	for height := 1; height <= byteTileRows; height++ {
		got := make([]float32, height*2*panelWidth)
		for i := range got {
			got[i] = float32(i % 3)
		}
		want := slices.Clone(got)
		x := byteTile4{
			ldc: 2 * panelWidth, a: &floatBytes(tall)[0], scales: &tall[n*quickBlock/4], lda: 4 * size,
			b: &floatBytes(records)[0], gap: n * byteRecord, blocks: n, rows: height, add: true,
		}
		x.c = &got[0]
		x.wide()
		x.c = &want[0]
		x.plain(2)
		if !nearly(got, want) {
			return false
		}
	}
	return true
}
