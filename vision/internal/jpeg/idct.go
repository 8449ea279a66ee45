package jpeg

// flat fills a block whose only coefficient is the mean.
func flat(dst []uint8, stride int, dc int16) {
	v := clamp((int32(dc)+4)>>3 + 128)
	for range 8 {
		row := dst[:8]
		for i := range row {
			row[i] = v
		}
		if len(dst) < stride {
			break
		}
		dst = dst[stride:]
	}
}

func clamp(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// The constants of the inverse DCT, times 2^13 (jidctint.c).
const (
	fix0298631336 = 2446
	fix0390180644 = 3196
	fix0541196100 = 4433
	fix0765366865 = 6270
	fix0899976223 = 7373
	fix1175875602 = 9633
	fix1501321110 = 12299
	fix1847759065 = 15137
	fix1961570560 = 16069
	fix2053119869 = 16819
	fix2562915447 = 20995
	fix3072711026 = 25172

	constBits = 13
	pass1Bits = 2
)

// inverseDCTGeneric multiplies coef by quant, transforms it and writes the 8x8 samples. It is the
// algorithm of Loeffler, Ligtenberg and Moschytz in libjpeg's "islow" form, with the 16-bit
// products, sums and saturation of its vector versions, so that even damaged blocks come out the
// same.
func inverseDCTGeneric(dst []uint8, stride int, coef *block, quant *quantTable) {
	var in, mid [8][8]int16
	for i := range 64 {
		in[i/8][i%8] = coef[i] * quant[i]
	}
	for x := range 8 { // columns
		if in[1][x]|in[2][x]|in[3][x]|in[4][x]|in[5][x]|in[6][x]|in[7][x] == 0 {
			v := saturate16(int32(in[0][x]) << pass1Bits) // which is most of them
			for y := range mid {
				mid[y][x] = v
			}
			continue
		}
		out := transform8([8]int16{in[0][x], in[1][x], in[2][x], in[3][x], in[4][x], in[5][x],
			in[6][x], in[7][x]})
		for y, v := range out {
			mid[y][x] = saturate16((v + 1<<(constBits-pass1Bits-1)) >> (constBits - pass1Bits))
		}
	}
	for y := range 8 { // rows
		row := dst[y*stride:][:8]
		for x, v := range transform8(mid[y]) {
			const shift = constBits + pass1Bits + 3
			row[x] = clamp(int32(saturate8((v+1<<(shift-1))>>shift)) + 128)
		}
	}
}

func saturate16(v int32) int16 { return int16(min(max(v, -1<<15), 1<<15-1)) }
func saturate8(v int32) int8   { return int8(min(max(v, -1<<7), 1<<7-1)) }

// transform8 is the one-dimensional transform; its results are times 2^13.
func transform8(in [8]int16) [8]int32 {
	at := func(i int) int32 { return int32(in[i]) }
	// Even part.
	even2 := at(2)*fix0541196100 + at(6)*(fix0541196100-fix1847759065)
	even3 := at(2)*(fix0541196100+fix0765366865) + at(6)*fix0541196100
	sum, diff := (at(0)+at(4))<<constBits, (at(0)-at(4))<<constBits
	t10, t13, t11, t12 := sum+even3, sum-even3, diff+even2, diff-even2
	// Odd part.
	z3, z4 := int32(in[7]+in[3]), int32(in[5]+in[1])
	y3 := z3*(fix1175875602-fix1961570560) + z4*fix1175875602
	y4 := z3*fix1175875602 + z4*(fix1175875602-fix0390180644)
	t0 := at(7)*(fix0298631336-fix0899976223) - at(1)*fix0899976223 + y3
	t1 := at(5)*(fix2053119869-fix2562915447) - at(3)*fix2562915447 + y4
	t2 := at(3)*(fix3072711026-fix2562915447) - at(5)*fix2562915447 + y3
	t3 := at(1)*(fix1501321110-fix0899976223) - at(7)*fix0899976223 + y4
	return [8]int32{t10 + t3, t11 + t2, t12 + t1, t13 + t0, t13 - t0, t12 - t1, t11 - t2, t10 - t3}
}
