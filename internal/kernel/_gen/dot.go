package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dotKernels generates products of 8-bit integers with VPDPBUSD, which multiplies four unsigned
// bytes with four signed ones and adds the products to a sum of 32 bits, exactly: AVX-512 VNNI in
// 64-byte vectors, AVX-VNNI in 32-byte ones.
func dotKernels() {
	most := 6
	if wide() {
		most = wideRows
	}
	for rows := 1; rows <= most; rows++ {
		dotTile(rows)
	}
	packDots()
	if wide() {
		dequantizeBlocks()
		quantizeBlocks()
		requantize()
	}
}

// vpdpbusd adds to acc the products of the signed bytes of s and the unsigned bytes of u.
func vpdpbusd(s, u, acc Op) {
	Instruction(&ir.Instruction{
		Opcode: "VPDPBUSD", Operands: []Op{s, u, acc},
		Inputs: []Op{s, u, acc}, Outputs: []Op{acc},
	})
}

// clearVector sets a vector to 0.
func clearVector(v vec) {
	if wide() {
		VPXORD(v, v, v)
	} else {
		VPXOR(v, v, v)
	}
}

// Offsets of the fields of dotEpilogue.
const (
	fieldColumnSums, fieldColumnZeros, fieldRowSums, fieldDotScale, fieldDotBias, fieldRowZero = 0, 8, 16, 24, 32, 40
)

// dotTile generates the micro-kernel for a number of rows. A row has two vectors of sums. With
// AVX-512 they are those of two panels, the second gap bytes behind the first or, where gap is 0,
// not kept; the halves of mask say which columns to keep. With AVX-VNNI they are a panel's halves.
func dotTile(rows int) {
	name, sig := fmt.Sprintf("dotTile%dx16AVXVNNI", rows), "func(c *int32, ldc int, a *uint8, lda int, b *uint8, quads int, e *int32)"
	if wide() {
		name, sig = fmt.Sprintf("dotTile%dx32AVX512", rows), "func(c *int32, ldc int, a *uint8, lda int, b *uint8, gap, quads int, e *int32, mask uint32)"
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows: see dotTileGo.", name, rows))
	c, ldc := get("c"), get("ldc")
	a, lda := get("a"), get("lda")
	b, quads := get("b"), get("quads")
	second, disp := b, 32 // where the second vector of a row's panels lies
	if wide() {
		second, disp = get("gap"), 0
		ADDQ(b, second)
	}
	SHLQ(Imm(2), ldc)
	// Rows r, r+1 and r+2 for r = 0, 3, 6 and 9 lie at bases[r/3] + 0, 1 and 2 times lda.
	bases := []reg.Register{a}
	if rows > 3 {
		three := GP64()
		LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, three)
		for r := 3; r < rows; r += 3 {
			base := GP64()
			LEAQ(Mem{Base: bases[len(bases)-1], Index: three, Scale: 1}, base)
			bases = append(bases, base)
		}
	}
	rowOf := func(r, disp int) Mem {
		m := Mem{Base: bases[r/3], Disp: disp}
		if r%3 > 0 {
			m.Index, m.Scale = lda, uint8(r%3)
		}
		return m
	}
	// Few rows need several sums for each element, or they would wait for one another's latency.
	sets := 1
	switch {
	case rows == 1:
		sets = 4
	case rows <= 3 || wide() && rows == 4:
		sets = 2
	}
	acc := make([][]vec, sets)
	for s := range acc {
		acc[s] = make([]vec, rows*2)
		for i := range acc[s] {
			acc[s][i] = V()
			clearVector(acc[s][i])
		}
	}
	step := func(s, q int) {
		b0, b1 := Op(Mem{Base: b, Disp: q * 64}), Op(Mem{Base: second, Disp: q*64 + disp})
		if rows > 1 || !wide() {
			v0, v1 := V(), V()
			VMOVUPS(b0, v0)
			VMOVUPS(b1, v1)
			b0, b1 = v0, v1
		}
		for r := range rows {
			v := V()
			VPBROADCASTD(rowOf(r, q*4), v)
			vpdpbusd(b0, v, acc[s][2*r])
			vpdpbusd(b1, v, acc[s][2*r+1])
		}
	}
	advance := func(n int) {
		ADDQ(U32(n*64), b)
		if wide() {
			ADDQ(U32(n*64), second)
		}
		for _, base := range bases {
			ADDQ(U32(n*4), base)
		}
	}
	SUBQ(Imm(4), quads)
	JL(LabelRef("tail"))
	Label("loop")
	for q := range 4 {
		PREFETCHT0(Mem{Base: b, Disp: prefetch + q*64})
		if wide() {
			PREFETCHT0(Mem{Base: second, Disp: prefetch + q*64})
		}
		step(q%sets, q)
	}
	advance(4)
	SUBQ(Imm(4), quads)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(4), quads)
	JZ(LabelRef("sum"))
	Label("tailloop")
	step(0, 0)
	advance(1)
	DECQ(quads)
	JNZ(LabelRef("tailloop"))
	Label("sum")
	for s := 1; s < sets; s++ {
		for i := range acc[0] {
			VPADDD(acc[s][i], acc[0][i], acc[0][i])
		}
	}
	var masks [2]reg.OpmaskVirtual
	if wide() {
		mask := GP32()
		masks = [2]reg.OpmaskVirtual{K(), K()}
		Load(Param("mask"), mask)
		KMOVW(mask, masks[0])
		SHRL(Imm(16), mask)
		KMOVW(mask, masks[1])
	}
	dotEpilogue(rows, acc[0], masks)
	for r := range rows {
		for i, v := range acc[0][2*r : 2*r+2] {
			if wide() {
				VMOVUPS(v, masks[i], Mem{Base: c, Disp: 64 * i})
			} else {
				VMOVUPS(v, Mem{Base: c, Disp: 32 * i})
			}
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// dotEpilogue takes zero points into account and, where there is a scale, converts to floats.
func dotEpilogue(rows int, acc []vec, masks [2]reg.OpmaskVirtual) {
	e, p := get("e"), GP64()
	pair := [2]vec{V(), V()}
	t, v := V(), V()
	read := func() {
		for i, x := range pair {
			if wide() {
				VMOVUPS_Z(Mem{Base: p, Disp: 64 * i}, masks[i], x)
			} else {
				VMOVUPS(Mem{Base: p, Disp: 32 * i}, x)
			}
		}
	}
	MOVQ(Mem{Base: e, Disp: fieldColumnSums}, p)
	read()
	VPBROADCASTD(Mem{Base: e, Disp: fieldRowZero}, v)
	for _, x := range pair {
		VPMULLD(v, x, x)
	}
	for i, x := range acc {
		VPSUBD(pair[i%2], x, x)
	}
	when := func(field int, label string, body func()) {
		MOVQ(Mem{Base: e, Disp: field}, p)
		TESTQ(p, p)
		JZ(LabelRef(label))
		read()
		body()
		Label(label)
	}
	when(fieldColumnZeros, "nozeros", func() {
		sums := GP64()
		MOVQ(Mem{Base: e, Disp: fieldRowSums}, sums)
		for r := range rows {
			VPBROADCASTD(Mem{Base: sums, Disp: 4 * r}, v)
			for i, x := range pair {
				VPMULLD(v, x, t)
				VPSUBD(t, acc[2*r+i], acc[2*r+i])
			}
		}
	})
	when(fieldDotScale, "noscale", func() {
		for i, x := range acc {
			VCVTDQ2PS(x, x)
			VMULPS(pair[i%2], x, x)
		}
	})
	when(fieldDotBias, "nobias", func() {
		for i, x := range acc {
			VADDPS(pair[i%2], x, x)
		}
	})
}

// packDots generates the packing of a row: its bytes XOR flip, and stores their sum. AVX-512 fills the
// last 64 bytes up with zeros; AVX-VNNI takes multiples of 32 bytes.
func packDots() {
	name, doc := "packDotsAVXVNNI", "packs n bytes, a multiple of 32 and not 0, and stores their sum: see packDots."
	size := 8 * lanes / 2
	if wide() {
		name, doc = "packDotsAVX512", "packs n bytes, not 0, into multiples of 64, and stores their sum: see packDots."
	}
	TEXT(name, NOSPLIT, "func(dst *uint8, src *uint8, n int, flip uint32, sum *int32)")
	Pragma("noescape")
	Doc(name + " " + doc)
	dst, src, n := get("dst"), get("src"), get("n")
	flip, ones, sum, v := V(), V(), V(), V()
	bytes := GP32()
	spread := func(to vec) {
		x := XMM()
		VMOVD(bytes, x)
		VPBROADCASTD(x, to)
	}
	MOVL(U32(0x01010101), bytes)
	spread(ones)
	flips := GP32()
	Load(Param("flip"), flips)
	IMULL(bytes, flips)
	MOVL(flips, bytes)
	spread(flip)
	clearVector(sum)
	if !wide() {
		Label("loop")
		VPXOR(Mem{Base: src}, flip, v)
		vpdpbusd(ones, v, sum)
		VMOVDQU(v, Mem{Base: dst})
		ADDQ(Imm(uint64(size)), src)
		ADDQ(Imm(uint64(size)), dst)
		SUBQ(Imm(uint64(size)), n)
		JG(LabelRef("loop"))
	} else {
		k, all := K(), GP64()
		SUBQ(Imm(64), n)
		JL(LabelRef("tail"))
		Label("loop")
		VPXORD(Mem{Base: src}, flip, v)
		vpdpbusd(ones, v, sum)
		VMOVDQU8(v, Mem{Base: dst})
		ADDQ(U32(64), src)
		ADDQ(U32(64), dst)
		SUBQ(Imm(64), n)
		JGE(LabelRef("loop"))
		Label("tail")
		ADDQ(U32(64), n)
		JZ(LabelRef("sum"))
		MOVQ(I32(-1), all)
		BZHIQ(n, all, all)
		KMOVQ(all, k)
		VMOVDQU8_Z(Mem{Base: src}, k, v)
		VMOVDQU8_Z(flip, k, flip)
		VPXORD(flip, v, v)
		vpdpbusd(ones, v, sum)
		VMOVDQU8(v, Mem{Base: dst})
		Label("sum")
	}
	if wide() {
		h := YMM()
		VEXTRACTI64X4(Imm(1), sum, h)
		VPADDD(h, sum.AsY(), sum.AsY())
	}
	h, y := XMM(), XMM()
	VEXTRACTI128(Imm(1), sum.AsY(), h)
	VPADDD(h, sum.AsX(), h)
	VPSHUFD(Imm(0x4e), h, y)
	VPADDD(y, h, h)
	VPSHUFD(Imm(0xb1), h, y)
	VPADDD(y, h, h)
	VMOVD(h, Mem{Base: get("sum")})
	VZEROUPPER()
	RET()
}

// dequantizeBlocks generates the widening of 16 bytes at a time.
func dequantizeBlocks() {
	TEXT("dequantizeBlocksAVX512", NOSPLIT, "func(dst *float32, src *uint8, n int, pitch int, scale float32, zero int32, flip uint32)")
	Pragma("noescape")
	Doc("dequantizeBlocksAVX512 widens n times 16 bytes, n not 0: see DequantizeBlocks.")
	dst, src, n, pitch := get("dst"), get("src"), get("n"), get("pitch")
	scale, zero, flip, v := broadcast("scale"), broadcast("zero"), broadcast("flip"), V()
	Label("loop")
	VPMOVZXBD(Mem{Base: src}, v)
	VPXORD(flip, v, v)
	VPSUBD(zero, v, v)
	VCVTDQ2PS(v, v)
	VMULPS(scale, v, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(pitch, src)
	ADDQ(U32(64), dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// quantizeBlocks generates the rounding of 16 numbers at a time.
func quantizeBlocks() {
	TEXT("quantizeBlocksAVX512", NOSPLIT, "func(dst *uint8, src *float32, n int, pitch int, scale float32, zero float32, flip uint32)")
	Pragma("noescape")
	Doc("quantizeBlocksAVX512 rounds n times 16 numbers, n not 0: see QuantizeBlocks.")
	dst, src, n, pitch := get("dst"), get("src"), get("n"), get("pitch")
	scale, zero, flip, v := broadcast("scale"), broadcast("zero"), broadcast("flip"), V()
	low, high, known := V(), V(), K()
	clearVector(low)
	limit := GP32()
	MOVL(U32(0x437f0000), limit) // 255
	VPBROADCASTD(limit, high)
	Label("loop")
	VMOVUPS(Mem{Base: src}, v)
	VDIVPS(scale, v, v)
	VCMPPS(Imm(7), v, v, known) // neither is a NaN
	VRNDSCALEPS_Z(Imm(0), v, known, v)
	VADDPS(zero, v, v)
	VMAXPS(low, v, v)
	VMINPS(high, v, v)
	VCVTPS2DQ(v, v)
	VPXORD(flip, v, v)
	VPMOVDB(v, Mem{Base: dst})
	ADDQ(U32(64), src)
	ADDQ(pitch, dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// requantize generates the narrowing of sums to bytes, 16 columns of a row at a time.
func requantize() {
	TEXT("requantizeAVX512", NOSPLIT, "func(dst *uint8, src *int32, rows, n int, bias *int32, scale *float32, low, high float32, zero int32, flip uint32)")
	Pragma("noescape")
	Doc("requantizeAVX512 narrows rows of n sums, none of them 0: see Requantize.")
	dst, src, rows, n := get("dst"), get("src"), get("rows"), get("n")
	bias, scale := get("bias"), get("scale")
	zero, low, high, flip := broadcast("zero"), broadcast("low"), broadcast("high"), broadcast("flip")
	left, at, mask, v, t := GP64(), GP64(), K(), V(), V()
	Label("row")
	MOVQ(n, left)
	XORQ(at, at)
	narrow := func(mask ...Op) {
		load := func(from reg.Register, v vec) {
			m := Mem{Base: from, Index: at, Scale: 4}
			if mask == nil {
				VMOVUPS(m, v)
			} else {
				VMOVUPS_Z(m, mask[0], v)
			}
		}
		load(src, v)
		load(bias, t)
		VPADDD(t, v, v)
		VCVTDQ2PS(v, v)
		load(scale, t)
		VMULPS(t, v, v)
		VMAXPS(low, v, v)
		VMINPS(high, v, v)
		VCVTPS2DQ(v, v)
		VPADDD(zero, v, v)
		VPXORD(flip, v, v)
		VPMOVDB(append(append([]Op{v}, mask...), Mem{Base: dst, Index: at, Scale: 1})...)
	}
	SUBQ(Imm(16), left)
	JL(LabelRef("tail"))
	Label("loop")
	narrow()
	ADDQ(Imm(16), at)
	SUBQ(Imm(16), left)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(16), left)
	JZ(LabelRef("next"))
	ones := GP32()
	MOVL(I32(-1), ones)
	BZHIL(left.As32(), ones, ones)
	KMOVW(ones, mask)
	narrow(mask)
	Label("next")
	ADDQ(n, dst)
	LEAQ(Mem{Base: src, Index: n, Scale: 4}, src)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
