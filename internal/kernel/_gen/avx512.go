package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wideRows is the height of the largest tile of AVX-512: 12 x 32 results take 24 of the 32
// registers.
const wideRows = 12

// gemm512 generates the micro-kernels of AVX-512: 1 to 12 rows of a, by two panels of 16 columns of
// b, in float32, in float16 or in bfloat16.
func gemm512() {
	for rows := 1; rows <= wideRows; rows++ {
		gemmRows512(rows, asFloats)
		gemmRows512(rows, asHalves)
		gemmRows512(rows, asPairs)
	}
	halves512()
}

// gemmDots generates the micro-kernels with VDPBF16PS, which adds two products of bfloat16 at once
// to a sum of float32.
func gemmDots() {
	for rows := 1; rows <= wideRows; rows++ {
		gemmRows512(rows, asDots)
	}
}

// vdpbf16ps adds to acc the products of the pairs of a and b, the upper one first.
func vdpbf16ps(b, a, acc Op) {
	Instruction(&ir.Instruction{
		Opcode: "VDPBF16PS", Operands: []Op{b, a, acc},
		Inputs: []Op{b, a, acc}, Outputs: []Op{acc},
	})
}

func halves512() {
	for _, f := range []struct {
		name, sig string
		in, out   int
		convert   func(dst, src reg.GPVirtual)
	}{
		{"toHalfAVX512", "func(dst *uint16, src *float32, n int)", 64, 32, func(dst, src reg.GPVirtual) {
			v := ZMM()
			VMOVUPS(Mem{Base: src}, v)
			VCVTPS2PH(Imm(0), v, Mem{Base: dst})
		}},
		{"fromHalfAVX512", "func(dst *float32, src *uint16, n int)", 32, 64, func(dst, src reg.GPVirtual) {
			v := ZMM()
			VCVTPH2PS(Mem{Base: src}, v)
			VMOVUPS(v, Mem{Base: dst})
		}},
	} {
		TEXT(f.name, NOSPLIT, f.sig)
		Pragma("noescape")
		Doc(f.name + " converts n numbers, a multiple of 16 and not 0.")
		dst, src, n := get("dst"), get("src"), get("n")
		Label("loop")
		f.convert(dst, src)
		ADDQ(Imm(uint64(f.in)), src)
		ADDQ(Imm(uint64(f.out)), dst)
		SUBQ(Imm(16), n)
		JG(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
}

// gemmRows512 generates the kernel of a tile. The second panel lies gap bytes after the first;
// where there is none, gap is 0 and its results are not kept. The low half of the bits of mask says
// which columns of the first panel to keep, the high half which of the second.
func gemmRows512(rows int, kind stored) {
	name, size := fmt.Sprintf("%s%dx32", kind.name(), rows), kind.size()
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a *float32, lda int, b *"+kind.element()+", gap, k, flags int, e *float32, mask uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows of two panels of 16 columns: see gemmWide.", name, rows))
	c, ldc := get("c"), get("ldc")
	a, lda := get("a"), get("lda")
	b, second, k := get("b"), get("gap"), get("k")
	ADDQ(b, second)
	SHLQ(Imm(2), ldc)
	SHLQ(Imm(2), lda)
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
	case rows <= 4:
		sets = 2
	}
	acc := make([][]reg.VecVirtual, sets)
	for s := range acc {
		acc[s] = make([]reg.VecVirtual, rows*2)
		for i := range acc[s] {
			acc[s][i] = ZMM()
			VPXORD(acc[s][i], acc[s][i], acc[s][i])
		}
	}
	multiply := func(s, disp int, b0, b1 Op) {
		for r := range rows {
			v := ZMM()
			VBROADCASTSS(rowOf(r, disp), v)
			for i, b := range []Op{b0, b1} {
				if kind == asDots {
					vdpbf16ps(b, v, acc[s][2*r+i])
				} else {
					VFMADD231PS(v, b, acc[s][2*r+i])
				}
			}
		}
	}
	unroll, above := 4, vec(nil)
	if kind == asPairs {
		unroll, above = 2, loadBits(upper)
	}
	step := func(s, i int) {
		b0, b1 := ZMM(), ZMM()
		low, high := Mem{Base: b, Disp: i * 16 * size}, Mem{Base: second, Disp: i * 16 * size}
		switch kind {
		case asHalves:
			VCVTPH2PS(low, b0)
			VCVTPH2PS(high, b1)
		case asPairs: // bfloat16 is the upper half of a float32
			VPSLLD(Imm(16), low, b0)
			VPSLLD(Imm(16), high, b1)
			multiply(2*s%sets, i*8, b0, b1)
			VPANDD(low, above, b0)
			VPANDD(high, above, b1)
			multiply((2*s+1)%sets, i*8+4, b0, b1)
			return
		default:
			VMOVUPS(low, b0)
			VMOVUPS(high, b1)
		}
		multiply(s%sets, i*4, b0, b1)
	}
	advance := func(n int) {
		ADDQ(U32(n*16*size), b)
		ADDQ(U32(n*16*size), second)
		for _, base := range bases {
			ADDQ(U32(n*kind.left()), base)
		}
	}
	SUBQ(Imm(uint64(unroll)), k)
	JL(LabelRef("tail"))
	Label("loop")
	for i := range unroll {
		if at := i * 16 * size; at%64 == 0 {
			PREFETCHT0(Mem{Base: b, Disp: prefetch + at})
			PREFETCHT0(Mem{Base: second, Disp: prefetch + at})
		}
		step(i, i)
	}
	advance(unroll)
	SUBQ(Imm(uint64(unroll)), k)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(unroll)), k)
	JZ(LabelRef("sum"))
	Label("tailloop")
	step(0, 0)
	advance(1)
	DECQ(k)
	JNZ(LabelRef("tailloop"))
	Label("sum")
	for s := 1; s < sets; s++ {
		for i := range acc[0] {
			VADDPS(acc[s][i], acc[0][i], acc[0][i])
		}
	}
	mask, low, high := GP32(), K(), K()
	Load(Param("mask"), mask)
	KMOVW(mask, low)
	SHRL(Imm(16), mask)
	KMOVW(mask, high)
	epilogue512(rows, acc[0], c, ldc, low, high)
	Label("store")
	for r := range rows {
		VMOVUPS(acc[0][2*r], low, Mem{Base: c})
		VMOVUPS(acc[0][2*r+1], high, Mem{Base: c, Disp: 64})
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// epilogue512 is epilogue; what it reads column by column it reads under the masks.
func epilogue512(rows int, acc []reg.VecVirtual, c, ldc reg.Register, low, high reg.OpmaskVirtual) {
	flags, e, p := get("flags"), GP64(), GP64()
	TESTQ(flags, flags)
	JZ(LabelRef("store"))
	Load(Param("e"), e)
	x, y := ZMM(), ZMM()
	when := func(flag int, label string, body func()) {
		TESTQ(U32(flag), flags)
		JZ(LabelRef(label))
		body()
		Label(label)
	}
	read := func(from reg.Register) {
		VMOVUPS_Z(Mem{Base: from}, low, x)
		VMOVUPS_Z(Mem{Base: from, Disp: 64}, high, y)
	}
	addRow := func(r int) {
		VADDPS(x, acc[2*r], acc[2*r])
		VADDPS(y, acc[2*r+1], acc[2*r+1])
	}
	// addRows adds rows that lie as those of c do.
	addRows := func() {
		for r := range rows {
			read(p)
			addRow(r)
			if r < rows-1 {
				ADDQ(ldc, p)
			}
		}
	}
	when(flagAdd, "noadd", func() {
		MOVQ(c, p)
		addRows()
	})
	when(flagColBias, "nocolbias", func() {
		MOVQ(Mem{Base: e, Disp: fieldColBias}, p)
		read(p)
		for r := range rows {
			addRow(r)
		}
	})
	when(flagRowBias, "norowbias", func() {
		MOVQ(Mem{Base: e, Disp: fieldRowBias}, p)
		for r := range rows {
			VBROADCASTSS(Mem{Base: p, Disp: 4 * r}, x)
			VADDPS(x, acc[2*r], acc[2*r])
			VADDPS(x, acc[2*r+1], acc[2*r+1])
		}
	})
	when(flagBounds, "nobounds", func() {
		VBROADCASTSS(Mem{Base: e, Disp: fieldLow}, x)
		VBROADCASTSS(Mem{Base: e, Disp: fieldHigh}, y)
		for _, v := range acc {
			VMAXPS(v, x, v)
			VMINPS(v, y, v)
		}
	})
	when(flagResidual, "noresidual", func() {
		MOVQ(Mem{Base: e, Disp: fieldResidual}, p)
		addRows()
	})
}
