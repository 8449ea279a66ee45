package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8Kernels generates products of 8-bit integers and what goes around them.
func int8Kernels() {
	for rows := 1; rows <= 4; rows++ {
		byteTile(rows, 1)
	}
	byteTile(1, 2)
	interleave()
	packBytes()
	minMax()
	quantize()
	dequantize()
}

// words returns sixteen copies of a 16-bit number in memory.
func words(name string, v uint16) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(2*i, U16(v))
	}
	return m
}

// Offsets of the fields of byteEpilogue.
const (
	fieldSums, fieldZeros, fieldScale, fieldShift = 0, 8, 16, 24
)

// byteTile generates the micro-kernel for a number of rows and of panels of 16 columns. A panel's
// bytes lie in fours along k; those at even and at odd k become 16-bit numbers of their own, and
// VPMADDWD multiplies and adds two of them to exact 32-bit sums.
func byteTile(rows, panels int) {
	name := fmt.Sprintf("byteTile%dx%d", rows, 16*panels)
	TEXT(name, NOSPLIT, "func(c *int32, ldc int, a *int32, lda int, b *uint8, quads int, e *int32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows of %d columns: see byteTileGo.", name, rows, 16*panels))
	c, ldc := get("c"), get("ldc")
	a, lda := get("a"), get("lda")
	b, quads := get("b"), get("quads")
	SHLQ(Imm(2), ldc)
	SHLQ(Imm(2), lda)
	var a3 reg.GPVirtual
	if rows > 3 {
		a3 = GP64()
		LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, a3)
		ADDQ(a, a3)
	}
	rowOf := func(r, disp int) Mem {
		switch {
		case r == 0:
			return Mem{Base: a, Disp: disp}
		case r == 3:
			return Mem{Base: a3, Disp: disp}
		}
		return Mem{Base: a, Index: lda, Scale: uint8(r), Disp: disp}
	}
	panel := []reg.GPVirtual{b}
	for len(panel) < panels {
		next := GP64()
		MOVQ(quads, next)
		SHLQ(Imm(6), next)
		ADDQ(panel[len(panel)-1], next)
		panel = append(panel, next)
	}
	width := 2 * panels // vectors of sums that a row has
	acc := make([]vec, width*rows)
	for i := range acc {
		acc[i] = YMM()
		VPXOR(acc[i], acc[i], acc[i])
	}
	mask := YMM()
	if rows == 1 && panels == 1 {
		VMOVDQU(words("low_bytes", 0xff), mask)
	} else {
		VMOVDQU(NewDataAddr(Symbol{Name: "low_bytes", Static: true}, 0), mask)
	}
	even := []vec{YMM(), YMM()}
	odd := []vec{YMM(), YMM()}
	v, t, u := YMM(), YMM(), YMM()
	one := []vec{v, YMM()}
	Label("loop")
	if rows == 1 { // one row serves all panels
		VPBROADCASTD(Mem{Base: a}, one[0])
		VPBROADCASTD(Mem{Base: a, Disp: 4}, one[1])
	}
	for p, b := range panel {
		PREFETCHT0(Mem{Base: b, Disp: 1024})
		for i := range 2 {
			VMOVDQU(Mem{Base: b, Disp: 32 * i}, even[i])
			VPSRLW(Imm(8), even[i], odd[i])
			VPAND(mask, even[i], even[i])
		}
		for r := range rows {
			for i, w := range [][]vec{even, odd} {
				v := v
				if rows == 1 {
					v = one[i]
				} else {
					VPBROADCASTD(rowOf(r, 4*i), v)
				}
				VPMADDWD(w[0], v, t)
				VPMADDWD(w[1], v, u)
				sums := acc[width*r+2*p:]
				VPADDD(t, sums[0], sums[0])
				VPADDD(u, sums[1], sums[1])
			}
		}
		ADDQ(Imm(64), b)
	}
	ADDQ(Imm(8), a)
	if rows > 3 {
		ADDQ(Imm(8), a3)
	}
	DECQ(quads)
	JNZ(LabelRef("loop"))

	// columns does something with numbers for the columns at p.
	e, p, sums := get("e"), GP64(), GP64()
	columns := func(f func(v, x vec)) {
		for i := range width {
			VMOVUPS(Mem{Base: p, Disp: 32 * i}, even[i%2])
			for r := range rows {
				f(even[i%2], acc[width*r+i])
			}
		}
	}
	// Zero points of the columns, times the sums of the rows.
	MOVQ(Mem{Base: e, Disp: fieldSums}, sums)
	MOVQ(Mem{Base: e, Disp: fieldZeros}, p)
	for r := range rows {
		VPBROADCASTD(Mem{Base: sums, Disp: 4 * r}, v)
		for i := range width {
			VPMULLD(Mem{Base: p, Disp: 32 * i}, v, t)
			VPSUBD(t, acc[width*r+i], acc[width*r+i])
		}
	}
	when := func(field int, label string, body func()) {
		MOVQ(Mem{Base: e, Disp: field}, p)
		TESTQ(p, p)
		JZ(LabelRef(label))
		body()
		Label(label)
	}
	convert := func() {
		for _, x := range acc {
			VCVTDQ2PS(x, x)
		}
	}
	mul := func(v, x vec) { VMULPS(v, x, x) }
	add := func(v, x vec) { VADDPS(v, x, x) }
	when(fieldScale, "noscale", func() { convert(); columns(mul) })
	when(fieldShift, "noshift", func() { columns(add) })
	for r := range rows {
		for i := range width {
			VMOVDQU(acc[width*r+i], Mem{Base: c, Disp: 32 * i})
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// inVector loads a 32-bit argument into the lowest part of a register.
func inVector(param string) reg.VecVirtual {
	g, x := GP32(), XMM()
	Load(Param(param), g)
	VMOVD(g, x)
	return x
}

// flips returns a register with copies of the byte argument flip.
func flips() vec {
	g, v := GP32(), YMM()
	Load(Param("flip"), g.As8())
	MOVBLZX(g.As8(), g)
	x := XMM()
	VMOVD(g, x)
	VPBROADCASTB(x, v)
	return v
}

func interleave() {
	TEXT("interleaveAVX2", NOSPLIT, "func(dst *uint8, src *uint8, stride int, quads int, flip uint8)")
	Pragma("noescape")
	Doc("interleaveAVX2 packs quads of four rows of 16 bytes, stride apart.")
	dst, src, stride, quads := get("dst"), get("src"), get("stride"), get("quads")
	flip := flips().AsX()
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	Label("loop")
	var r []reg.VecVirtual
	for i := range 4 {
		m := Mem{Base: src}
		switch i {
		case 1, 2:
			m.Index, m.Scale = stride, uint8(i)
		case 3:
			m.Index, m.Scale = three, 1
		}
		x := XMM()
		VPXOR(m, flip, x)
		r = append(r, x)
	}
	t0, t1, u0, u1, o := XMM(), XMM(), XMM(), XMM(), XMM()
	VPUNPCKLBW(r[1], r[0], t0)
	VPUNPCKHBW(r[1], r[0], t1)
	VPUNPCKLBW(r[3], r[2], u0)
	VPUNPCKHBW(r[3], r[2], u1)
	for i, p := range [][2]reg.VecVirtual{{t0, u0}, {t1, u1}} {
		VPUNPCKLWD(p[1], p[0], o)
		VMOVDQU(o, Mem{Base: dst, Disp: 32 * i})
		VPUNPCKHWD(p[1], p[0], o)
		VMOVDQU(o, Mem{Base: dst, Disp: 32*i + 16})
	}
	LEAQ(Mem{Base: src, Index: stride, Scale: 4}, src)
	ADDQ(Imm(64), dst)
	DECQ(quads)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func packBytes() {
	TEXT("packBytesAVX2", NOSPLIT, "func(dst *int32, src *uint8, n int, flip uint8, zero int32) int32")
	Pragma("noescape")
	Doc("packBytesAVX2 packs n bytes, a multiple of 16 and not 0: see PackBytes.")
	dst, src, n := get("dst"), get("src"), get("n")
	flip := flips().AsX()
	zero, sum, ones := YMM(), YMM(), YMM()
	VPBROADCASTW(inVector("zero"), zero)
	VPXOR(sum, sum, sum)
	VMOVDQU(words("words_1", 1), ones)
	x, v, s := XMM(), YMM(), YMM()
	Label("loop")
	VPXOR(Mem{Base: src}, flip, x)
	VPMOVZXBW(x, v)
	VPSUBW(zero, v, v)
	VPMADDWD(ones, v, s)
	VPADDD(s, sum, sum)
	VPSHUFLW(Imm(0xd8), v, v) // 0 1 2 3 to 0 2 1 3
	VPSHUFHW(Imm(0xd8), v, v)
	VMOVDQU(v, Mem{Base: dst})
	ADDQ(Imm(16), src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(16), n)
	JG(LabelRef("loop"))
	h := XMM()
	VEXTRACTI128(Imm(1), sum, h)
	VPADDD(h, sum.AsX(), h)
	y := XMM()
	VPSHUFD(Imm(0x4e), h, y)
	VPADDD(y, h, h)
	VPSHUFD(Imm(0xb1), h, y)
	VPADDD(y, h, h)
	r := GP32()
	VMOVD(h, r)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

// minMax generates the range of whole vectors of eight, 0 included.
func minMax() {
	TEXT("minMaxAVX2", NOSPLIT, "func(dst *float32, src *float32, n int)")
	Pragma("noescape")
	Doc("minMaxAVX2 stores the least of n numbers and 0, and the greatest; n is a multiple of 8 and not 0. NaNs do not count.")
	dst, src, n := get("dst"), get("src"), get("n")
	low, high, v := YMM(), YMM(), YMM()
	VXORPS(low, low, low)
	VXORPS(high, high, high)
	Label("loop")
	VMOVUPS(Mem{Base: src}, v)
	VMINPS(low, v, low) // of a NaN and a bound, the bound wins
	VMAXPS(high, v, high)
	ADDQ(Imm(32), src)
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	for i, f := range []struct {
		v  vec
		op func(ops ...Op)
	}{{low, VMINPS}, {high, VMAXPS}} {
		x, y := XMM(), XMM()
		VEXTRACTF128(Imm(1), f.v, x)
		f.op(f.v.AsX(), x, x)
		VPSHUFD(Imm(0x4e), x, y)
		f.op(x, y, x)
		VPSHUFD(Imm(0xb1), x, y)
		f.op(x, y, x)
		VMOVSS(x, Mem{Base: dst, Disp: 4 * i})
	}
	VZEROUPPER()
	RET()
}

// quantize generates 32 numbers to bytes at a time.
func quantize() {
	TEXT("quantizeAVX2", NOSPLIT, "func(dst *uint8, src *float32, n int, scale float32, zero float32, flip uint8)")
	Pragma("noescape")
	Doc("quantizeAVX2 quantizes n numbers, a multiple of 32 and not 0: see Quantize.")
	dst, src, n := get("dst"), get("src"), get("n")
	scale, zero := broadcast("scale"), broadcast("zero")
	flip := flips()
	low, high := YMM(), YMM()
	VXORPS(low, low, low)
	VMOVUPS(c(255), high)
	order := GLOBL("quantize_order", RODATA|NOPTR)
	for i, p := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(p))
	}
	perm := YMM()
	VMOVDQU(order, perm)
	Label("loop")
	var q []vec
	known := YMM()
	for i := range 4 {
		v := YMM()
		VMOVUPS(Mem{Base: src, Disp: 32 * i}, v)
		VDIVPS(scale, v, v)
		VCMPPS(Imm(7), v, v, known) // neither is a NaN
		VANDPS(known, v, v)
		VROUNDPS(Imm(0), v, v)
		VADDPS(zero, v, v)
		VMAXPS(low, v, v)
		VMINPS(high, v, v)
		VCVTPS2DQ(v, v)
		q = append(q, v)
	}
	VPACKUSDW(q[1], q[0], q[0])
	VPACKUSDW(q[3], q[2], q[2])
	VPACKUSWB(q[2], q[0], q[0])
	VPERMD(q[0], perm, q[0])
	VPXOR(flip, q[0], q[0])
	VMOVDQU(q[0], Mem{Base: dst})
	ADDQ(U32(128), src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(32), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// dequantize generates bytes to numbers, eight at a time.
func dequantize() {
	TEXT("dequantizeAVX2", NOSPLIT, "func(dst *float32, src *uint8, n int, scale float32, zero int32, flip uint8)")
	Pragma("noescape")
	Doc("dequantizeAVX2 widens n bytes, a multiple of 8 and not 0: see Dequantize.")
	dst, src, n := get("dst"), get("src"), get("n")
	scale := broadcast("scale")
	zero := YMM()
	VPBROADCASTD(inVector("zero"), zero)
	flip := flips().AsX()
	x, v := XMM(), YMM()
	Label("loop")
	VMOVQ(Mem{Base: src}, x)
	VPXOR(flip, x, x)
	VPMOVZXBD(x, v)
	VPSUBD(zero, v, v)
	VCVTDQ2PS(v, v)
	VMULPS(scale, v, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(8), src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
