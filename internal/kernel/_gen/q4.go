package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// byteRecord is the size of a block of a panel of bytes: see q4.go of package kernel.
const byteRecord = 512 + 64 + 64

// q4Kernels generates products with weights of 4 bits in blocks of 32, for AVX2.
func q4Kernels() {
	q4Dots()
	q4Bytes()
	q4Zeros()
	q4Quantize()
	q4Panel()
	q4BytePanel()
	for rows := 1; rows <= 2; rows++ {
		q4Tile(rows)
	}
}

// q4Wide generates those of AVX-512: of them q4Dots and q4WidePanel need no VNNI.
func q4Wide() {
	q4Dots()
	q4Bytes()
	q4WidePanel()
	for rows := 1; rows <= 6; rows++ {
		q4WideTile(rows)
	}
}

// dotBytes adds to each word of sums the four products of signed bytes and of unsigned ones, by an
// instruction that avo 0.5 does not know.
func dotBytes(signed Op, unsigned, sums vec) {
	Instruction(&ir.Instruction{
		Opcode: "VPDPBUSD", Operands: []Op{signed, unsigned, sums},
		Inputs: []Op{signed, unsigned, sums}, Outputs: []Op{sums},
	})
}

// lists already emitted, by name.
var lists = map[string]Mem{}

// listed returns numbers in memory.
func listed(name string, v ...uint32) Mem {
	if m, ok := lists[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i, x := range v {
		DATA(4*i, U32(x))
	}
	lists[name] = m
	return m
}

// q4Rows generates the loop over rows of weights of both products of one row: chunks of a vector of
// words each, which chunk turns into a vector of sums for the scales to weigh; the last chunk has
// fewer blocks.
func q4Rows(name, doc string, step int, prepare func(), chunk func(a reg.GPVirtual, w vec) (sum vec, factor Op)) {
	TEXT(named(name), NOSPLIT, "func(dst *float32, a *float32, b *uint8, scales *float32, rows int, blocks int)")
	Pragma("noescape")
	Doc(named(name) + doc)
	dst, a, b, scales := get("dst"), get("a"), get("b"), get("scales")
	rows, blocks := get("rows"), get("blocks")
	per := lanes / 4 // blocks in a vector
	last, whole := GP64(), GP64()
	MOVQ(blocks, last)
	ANDQ(Imm(uint64(per-1)), last)
	MOVQ(blocks, whole)
	SHRQ(Imm(uint64(per/2)), whole)
	order := V()
	var spread Mem
	if wide() {
		spread = listed("q4_spread", 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
	} else {
		spread = listed("q4_spread", 0, 0, 0, 0, 1, 1, 1, 1)
	}
	VMOVUPS(spread, order)
	var words, few Op
	if wide() {
		few = firstLanes(last)
		four := GP64()
		MOVQ(last, four)
		SHLQ(Imm(2), four)
		words = firstLanes(four)
	} else {
		half := YMM()
		VMOVDQU(listed("q4_half", 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0, 0, 0, 0), half)
		words = half
	}
	prepare()
	p, left := GP64(), GP64()
	Label("row")
	MOVQ(a, p)
	MOVQ(whole, left)
	acc := V()
	if wide() {
		VPXORD(acc, acc, acc)
	} else {
		VXORPS(acc, acc, acc)
	}
	weigh := func(w vec, s vec) {
		sum, factor := chunk(p, w)
		x := V()
		VPERMPS(s, order, x)
		if factor != nil {
			VMULPS(factor, x, x)
		}
		VFMADD231PS(sum, x, acc)
	}
	TESTQ(left, left)
	JZ(LabelRef("last"))
	Label("chunk")
	w, s := V(), V()
	if wide() {
		VMOVUPS(Mem{Base: b}, w)
		VMOVUPS(Mem{Base: scales}, s.AsX())
	} else {
		VMOVDQU(Mem{Base: b}, w)
		VMOVQ(Mem{Base: scales}, s.AsX())
	}
	PREFETCHT0(Mem{Base: b, Disp: 1024})
	weigh(w, s)
	ADDQ(U32(step*lanes*4), p)
	ADDQ(Imm(uint64(4*lanes)), b)
	ADDQ(Imm(uint64(4*per)), scales)
	DECQ(left)
	JNZ(LabelRef("chunk"))
	Label("last")
	TESTQ(last, last)
	JZ(LabelRef("sum"))
	w, s = V(), V()
	if wide() {
		VMOVUPS_Z(Mem{Base: b}, words, w)
		VMOVUPS_Z(Mem{Base: scales}, few, s)
	} else {
		VPMASKMOVD(Mem{Base: b}, words, w)
		VMOVSS(Mem{Base: scales}, s.AsX())
	}
	weigh(w, s)
	size := GP64()
	MOVQ(last, size)
	SHLQ(Imm(2), size)
	ADDQ(size, scales)
	SHLQ(Imm(2), size)
	ADDQ(size, b)
	Label("sum")
	VMOVSS(horizontal(acc, addps), Mem{Base: dst})
	ADDQ(Imm(4), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func q4Dots() {
	var masks []vec
	prepare := func() {
		for i := range 7 {
			m := V()
			if wide() {
				VBROADCASTSS(bits(15<<(4*i)), m)
			} else if i < 4 {
				VMOVDQU(bits(15<<(4*i)), m)
			}
			masks = append(masks, m)
		}
	}
	q4Rows("q4Dots", " is q4Dots.", 9, prepare, func(a reg.GPVirtual, w vec) (vec, Op) {
		at := func(i int) Mem { return Mem{Base: a, Disp: 4 * lanes * i} }
		// Two sums, the first of which begins with what the middle of the range makes.
		sums := []vec{V(), V()}
		VMOVUPS(at(8), sums[0])
		x := V()
		for i := range 8 {
			if i == 7 {
				VPSRLD(Imm(28), w, x)
			} else if wide() {
				VPANDD(masks[i], w, x)
			} else if i < 4 {
				VPAND(masks[i], w, x)
			} else {
				VPAND(bits(15<<(4*i)), w, x)
			}
			VCVTDQ2PS(x, x)
			if i == 1 {
				VMULPS(at(i), x, sums[1])
			} else {
				VFMADD231PS(at(i), x, sums[i%2])
			}
			x = V()
		}
		VADDPS(sums[1], sums[0], sums[0])
		return sums[0], nil
	})
}

func q4Bytes() {
	mask, ones := V(), V()
	prepare := func() {
		if wide() {
			VBROADCASTSS(bits(0x0f0f0f0f), mask)
		} else {
			VMOVDQU(bits(0x0f0f0f0f), mask)
			VMOVDQU(bits(0x00010001), ones)
		}
	}
	q4Rows("q4Bytes", " is q4Bytes.", 4, prepare, func(a reg.GPVirtual, w vec) (vec, Op) {
		at := func(i int) Mem { return Mem{Base: a, Disp: 4 * lanes * i} }
		high, sum := V(), V()
		if wide() {
			VPSRLD(Imm(4), w, high)
			VPANDD(mask, w, w)
			VPANDD(mask, high, high)
			VMOVUPS(at(2), sum)
			dotBytes(at(0), w, sum)
			dotBytes(at(1), high, sum)
		} else {
			VPSRLD(Imm(4), w, high)
			VPAND(mask, w, w)
			VPAND(mask, high, high)
			VPMADDUBSW(at(0), w, w) // at most 2*15*127
			VPMADDUBSW(at(1), high, high)
			VPADDW(w, high, high)
			VPMADDWD(ones, high, sum)
			VPADDD(at(2), sum, sum)
		}
		VCVTDQ2PS(sum, sum)
		return sum, at(3)
	})
}

// q4Zeros generates the sums of 8 less zero points, by scales, by sums.
func q4Zeros() {
	TEXT("q4ZerosAVX2", NOSPLIT, "func(dst *float32, sums *float32, scales *float32, zeros *uint8, rows int, groups int, scaleStep int, zeroStep int)")
	Pragma("noescape")
	Doc("q4ZerosAVX2 adds to dst, for each row, what zero points of groups of eight blocks make: see addZeros.")
	dst, sums, scales, zeros := get("dst"), get("sums"), get("scales"), get("zeros")
	rows, groups, scaleStep, zeroStep := get("rows"), get("groups"), get("scaleStep"), get("zeroStep")
	SHLQ(Imm(2), scaleStep)
	counts, mask, eight := YMM(), YMM(), YMM()
	VMOVDQU(listed("q4_shifts", 0, 4, 8, 12, 16, 20, 24, 28), counts)
	VMOVDQU(bits(15), mask)
	VMOVUPS(c(8), eight)
	p, q, z, left := GP64(), GP64(), GP64(), GP64()
	Label("row")
	MOVQ(sums, p)
	MOVQ(scales, q)
	MOVQ(zeros, z)
	MOVQ(groups, left)
	acc, v := YMM(), YMM()
	VXORPS(acc, acc, acc)
	Label("group")
	VPBROADCASTD(Mem{Base: z}, v)
	VPSRLVD(counts, v, v)
	VPAND(mask, v, v)
	VCVTDQ2PS(v, v)
	VSUBPS(v, eight, v)
	VMULPS(Mem{Base: q}, v, v)
	VFMADD231PS(Mem{Base: p}, v, acc)
	ADDQ(Imm(4), z)
	ADDQ(Imm(32), q)
	ADDQ(Imm(32), p)
	DECQ(left)
	JNZ(LabelRef("group"))
	sum := horizontal(acc, addps)
	VADDSS(Mem{Base: dst}, sum, sum)
	VMOVSS(sum, Mem{Base: dst})
	ADDQ(Imm(4), dst)
	ADDQ(scaleStep, scales)
	ADDQ(zeroStep, zeros)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// q4Quantize generates the rounding of blocks of 32 numbers to bytes.
func q4Quantize() {
	TEXT("q4QuantizeAVX2", NOSPLIT, "func(dst *uint8, scales *float32, words *int32, src *float32, blocks int, flip uint8)")
	Pragma("noescape")
	Doc("q4QuantizeAVX2 rounds whole blocks: see quantizeBlocks.")
	dst, scales, words, src, blocks := get("dst"), get("scales"), get("words"), get("src"), get("blocks")
	flip := flips()
	order := listed("q4_pack", 0, 4, 1, 5, 2, 6, 3, 7)
	split := listed("q4_split", 0x06040200, 0x0e0c0a08, 0x07050301, 0x0f0d0b09, 0x06040200, 0x0e0c0a08, 0x07050301, 0x0f0d0b09)
	least, limit, zero := XMM(), XMM(), YMM()
	VMOVSS(c(1e-30), least)
	VMOVSS(c(127), limit)
	VXORPS(zero, zero, zero)
	Label("block")
	var v []vec
	most, unknown, t := YMM(), YMM(), YMM()
	VXORPS(most, most, most)
	VXORPS(unknown, unknown, unknown)
	for i := range 4 {
		x := YMM()
		VMOVUPS(Mem{Base: src, Disp: 32 * i}, x)
		VANDPS(bits(0x7fffffff), x, t)
		VMAXPS(t, most, most)
		VFMADD231PS(zero, x, unknown)
		v = append(v, x)
	}
	top, nan, inverse := horizontal(most, maxps), horizontal(unknown, addps), XMM()
	VDIVSS(top, limit, inverse)
	small := XMM()
	VCMPSS(Imm(1), top, least, small) // least < top, false for a NaN
	VANDPS(small, inverse, inverse)
	VCMPSS(Imm(7), nan, nan, small) // both are numbers
	VANDPS(small, inverse, inverse)
	VDIVSS(limit, top, top)
	VADDSS(nan, top, top)
	VMOVSS(top, Mem{Base: scales})
	factor := YMM()
	VBROADCASTSS(inverse, factor)
	known := YMM()
	for _, x := range v {
		VMULPS(factor, x, x)
		VCMPPS(Imm(7), x, x, known)
		VANDPS(known, x, x)
		VCVTPS2DQ(x, x)
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	perm := YMM()
	VMOVDQU(order, perm)
	VPERMD(v[0], perm, v[0])
	VPSHUFB(split, v[0], v[0])
	VPERMQ(Imm(0xd8), v[0], v[0]) // even, odd, even, odd to even, even, odd, odd
	TESTQ(words, words)
	JZ(LabelRef("store"))
	ones := YMM()
	VMOVDQU(bits(0x01010101), ones)
	VPMADDUBSW(v[0], ones, t)
	VPMADDWD(bits(0x00010001), t, t)
	h := XMM()
	VEXTRACTI128(Imm(1), t, h)
	VPADDD(h, t.AsX(), h)
	VPSLLD(Imm(3), h, h)
	VPSUBD(h, zero.AsX(), h)
	VMOVDQU(h, Mem{Base: words})
	ADDQ(Imm(16), words)
	Label("store")
	VPXOR(flip, v[0], v[0])
	VMOVDQU(v[0], Mem{Base: dst})
	ADDQ(U32(128), src)
	ADDQ(Imm(32), dst)
	ADDQ(Imm(4), scales)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
