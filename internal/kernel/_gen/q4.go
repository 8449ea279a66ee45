package main

import (
	"fmt"
	mathbits "math/bits"

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
	for _, bits := range []int{2, 4, 8} {
		zeros(bits)
	}
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

// q4Rows generates the loop over rows of weights of products of one row: chunks of a vector of 32-bit
// words each, size of them a block, which chunk turns into a vector of sums for the scales to weigh;
// the last chunk has fewer blocks. table says that there is one more argument, which prepare reads.
func q4Rows(name, doc string, size, step int, table bool, prepare func(), chunk func(a reg.GPVirtual, w vec) (sum vec, factor Op)) {
	last := ""
	if table {
		last = ", table *float32"
	}
	TEXT(named(name), NOSPLIT, "func(dst *float32, a *float32, b *uint8, scales *float32, rows int, blocks int"+last+")")
	Pragma("noescape")
	Doc(named(name) + doc)
	dst, a, b, scales := get("dst"), get("a"), get("b"), get("scales")
	rows, whole := get("rows"), get("blocks")
	prepare()
	per := lanes / size // blocks in a vector
	log := func(n int) Op { return Imm(uint64(mathbits.TrailingZeros(uint(n)))) }
	few := GP64()
	var words, scaled Op
	order := V()
	if per > 1 {
		MOVQ(whole, few)
		ANDQ(Imm(uint64(per-1)), few)
		SHRQ(log(per), whole)
		scaled = tail(few)
		words = scaled
		if size > 1 {
			n := GP64()
			MOVQ(few, n)
			SHLQ(log(size), n)
			words = tail(n)
		}
		if size > 1 {
			var spread []uint32
			for i := range lanes {
				spread = append(spread, uint32(i/size))
			}
			VMOVUPS(listed(fmt.Sprintf("q4_spread%d", size), spread...), order)
		}
	}
	// spread gives each word the scale of its block, of those that lie in s.
	spread := func(s vec) vec {
		if size == 1 {
			return s
		}
		x := V()
		VPERMPS(s, order, x)
		return x
	}
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
	weigh := func(w vec, s func() vec) {
		sum, factor := chunk(p, w)
		x := s()
		if factor != nil {
			VMULPS(factor, x, x)
		}
		VFMADD231PS(sum, x, acc)
	}
	TESTQ(left, left)
	JZ(LabelRef("last"))
	Label("chunk")
	w := V()
	if wide() {
		VMOVUPS(Mem{Base: b}, w)
	} else {
		VMOVDQU(Mem{Base: b}, w)
	}
	PREFETCHT0(Mem{Base: b, Disp: 1024})
	weigh(w, func() vec {
		s, from := V(), Mem{Base: scales}
		switch per {
		case 1:
			VBROADCASTSS(from, s)
			return s
		case 2:
			VMOVQ(from, s.AsX())
		case 4:
			VMOVUPS(from, s.AsX())
		case 8:
			VMOVUPS(from, s.AsY())
		default:
			VMOVUPS(from, s)
		}
		return spread(s)
	})
	ADDQ(U32(step*lanes*4), p)
	ADDQ(Imm(uint64(4*lanes)), b)
	ADDQ(Imm(uint64(4*per)), scales)
	DECQ(left)
	JNZ(LabelRef("chunk"))
	Label("last")
	if per > 1 {
		TESTQ(few, few)
		JZ(LabelRef("sum"))
		w = V()
		loadMasked(Mem{Base: b}, words, w)
		weigh(w, func() vec {
			s := V()
			loadMasked(Mem{Base: scales}, scaled, s)
			return spread(s)
		})
		n := GP64()
		MOVQ(few, n)
		SHLQ(Imm(2), n)
		ADDQ(n, scales)
		if size > 1 {
			SHLQ(log(size), n)
		}
		ADDQ(n, b)
	}
	Label("sum")
	VMOVSS(horizontal(acc, addps), Mem{Base: dst})
	ADDQ(Imm(4), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// q4Dots generates products with weights of 2, 4 and 8 bits, and of 4 bits that a table of 16 numbers
// gives their meaning, in blocks of 16 and of 32.
func q4Dots() {
	for _, block := range []int{16, 32} {
		for _, width := range []int{2, 4, 8} {
			dotsOfBits(width, block)
		}
		dotsOfTable(block)
	}
}

// dotsOfBits masks the values of a word: each is then a power of two times its value, as the left
// operand's numbers are divided by; but the last, which is shifted.
func dotsOfBits(width, block int) {
	count, most := 32/width, uint32(1<<width-1)
	var masks []vec
	kept := min(count-1, 4) // masks in registers
	if wide() {
		kept = min(count-1, 7)
	}
	prepare := func() {
		for i := range kept {
			m := V()
			if wide() {
				VBROADCASTSS(bits(most<<(width*i)), m)
			} else {
				VMOVDQU(bits(most<<(width*i)), m)
			}
			masks = append(masks, m)
		}
	}
	name := fmt.Sprintf("q%dDots%d", width, block)
	q4Rows(name, " is bitDots for blocks of that size.", block*width/32, count+1, false, prepare, func(a reg.GPVirtual, w vec) (vec, Op) {
		at := func(i int) Mem { return Mem{Base: a, Disp: 4 * lanes * i} }
		// Two sums, the first of which begins with what the middle of the range makes.
		sums := []vec{V(), V()}
		VMOVUPS(at(count), sums[0])
		for i := range count {
			x := V()
			switch {
			case i == count-1:
				VPSRLD(Imm(uint64(32-width)), w, x)
			case wide() && i < kept:
				VPANDD(masks[i], w, x)
			case wide():
				VPANDD_BCST(bits(most<<(width*i)), w, x)
			case i < kept:
				VPAND(masks[i], w, x)
			default:
				VPAND(bits(most<<(width*i)), w, x)
			}
			VCVTDQ2PS(x, x)
			if i == 1 {
				VMULPS(at(i), x, sums[1])
			} else {
				VFMADD231PS(at(i), x, sums[i%2])
			}
		}
		VADDPS(sums[1], sums[0], sums[0])
		return sums[0], nil
	})
}

// dotsOfTable looks the values of a word up.
func dotsOfTable(block int) {
	low, high := V(), V()
	prepare := func() {
		table := get("table")
		VMOVUPS(Mem{Base: table}, low)
		if !wide() {
			VMOVUPS(Mem{Base: table, Disp: 32}, high)
		}
	}
	name := fmt.Sprintf("tableDots%d", block)
	q4Rows(name, " is tableDots for blocks of that size.", block/8, 8, true, prepare, func(a reg.GPVirtual, w vec) (vec, Op) {
		at := func(i int) Mem { return Mem{Base: a, Disp: 4 * lanes * i} }
		sums := []vec{V(), V()}
		for i := range 8 {
			x := lookUp(w, i, low, high)
			if i < 2 {
				VMULPS(at(i), x, sums[i])
			} else {
				VFMADD231PS(at(i), x, sums[i%2])
			}
		}
		VADDPS(sums[1], sums[0], sums[0])
		return sums[0], nil
	})
}

// lookUp returns what a table gives for the i-th 4 bits of each word. AVX2 has its halves in low and
// high, and chooses by the upper bit.
func lookUp(w vec, i int, low, high vec) vec {
	at, x := w, V()
	if i > 0 {
		VPSRLD(Imm(uint64(4*i)), w, x)
		at = x
	}
	if wide() {
		VPERMPS(low, at, x) // by the lowest four bits
		return x
	}
	upper, side := YMM(), w
	VPERMPS(high, at, upper)
	VPERMPS(low, at, x)
	if i < 7 {
		side = YMM()
		VPSLLD(Imm(uint64(28-4*i)), w, side)
	}
	VBLENDVPS(side, upper, x, x)
	return x
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
	q4Rows("q4Bytes", " is q4Bytes.", 4, 4, false, prepare, func(a reg.GPVirtual, w vec) (vec, Op) {
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

// shifts lists how far values of so many bits are from the lowest ones, from the first on.
func shifts(width, first int) Mem {
	var list []uint32
	for i := range 8 {
		list = append(list, uint32(first+width*i))
	}
	return listed(fmt.Sprintf("q4_shifts%d_%d", width, first), list...)
}

// zeros generates the sums of the middle of the range less zero points of so many bits, by scales, by
// sums.
func zeros(width int) {
	name := fmt.Sprintf("q%dZerosAVX2", width)
	TEXT(name, NOSPLIT, "func(dst *float32, sums *float32, scales *float32, zeros *uint8, rows int, groups int, scaleStep int, zeroStep int)")
	Pragma("noescape")
	Doc(name + " adds to dst, for each row, what zero points of groups of eight blocks make: see addZeros.")
	dst, sums, scales, zeros := get("dst"), get("sums"), get("scales"), get("zeros")
	rows, groups, scaleStep, zeroStep := get("rows"), get("groups"), get("scaleStep"), get("zeroStep")
	SHLQ(Imm(2), scaleStep)
	counts, mask, eight := YMM(), YMM(), YMM()
	if width < 8 {
		VMOVDQU(shifts(width, 0), counts)
		VMOVDQU(bits(1<<width-1), mask)
	}
	VMOVUPS(c(float64(int(1)<<(width-1))), eight)
	p, q, z, left := GP64(), GP64(), GP64(), GP64()
	Label("row")
	MOVQ(sums, p)
	MOVQ(scales, q)
	MOVQ(zeros, z)
	MOVQ(groups, left)
	acc, v := YMM(), YMM()
	VXORPS(acc, acc, acc)
	Label("group")
	switch width {
	case 2:
		VPBROADCASTW(Mem{Base: z}, v)
	case 4:
		VPBROADCASTD(Mem{Base: z}, v)
	default:
		VPMOVZXBD(Mem{Base: z}, v)
	}
	if width < 8 {
		VPSRLVD(counts, v, v)
		VPAND(mask, v, v)
	}
	VCVTDQ2PS(v, v)
	VSUBPS(v, eight, v)
	VMULPS(Mem{Base: q}, v, v)
	VFMADD231PS(Mem{Base: p}, v, acc)
	ADDQ(Imm(uint64(width)), z)
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
