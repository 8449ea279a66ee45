// Command jpeg writes the amd64 kernels of vision/internal/jpeg:
//
//	cd vision/_asm && go run ./jpeg -out ../internal/jpeg/kernels_amd64.s -stubs ../internal/jpeg/stubs_amd64.go -pkg jpeg
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	inverseDCT()
	yccRow()
	mix()
	spread()
	Generate()
}

// words makes a constant of n/2 pairs (a, b) of 16-bit words.
func words(name string, n int, a, b int16) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := 0; i < n; i += 2 {
		DATA(2*i, I16(a))
		DATA(2*i+2, I16(b))
	}
	return m
}

func dwords(name string, n int, v int32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range n {
		DATA(4*i, I32(v))
	}
	return m
}

type vec = VecVirtual

// three emits op(b, a, new) and returns new, in the manner of dst = a op b.
func three(op func(...Op), a, b Op) vec {
	dst := XMM()
	op(b, a, dst)
	return dst
}

func inverseDCT() {
	const (
		f0298 = 2446
		f0390 = 3196
		f0541 = 4433
		f0765 = 6270
		f0899 = 7373
		f1175 = 9633
		f1501 = 12299
		f1847 = 15137
		f1961 = 16069
		f2053 = 16819
		f2562 = 20995
		f3072 = 25172
	)
	k := struct{ sum, diff, e3, e2, y3, y4, t0, t1, t2, t3, bias1, bias2, sign Mem }{
		sum:   words("idctSum", 8, 8192, 8192),
		diff:  words("idctDiff", 8, 8192, -8192),
		e3:    words("idctEven3", 8, f0541+f0765, f0541),
		e2:    words("idctEven2", 8, f0541, f0541-f1847),
		y3:    words("idctY3", 8, f1175-f1961, f1175),
		y4:    words("idctY4", 8, f1175, f1175-f0390),
		t0:    words("idctT0", 8, f0298-f0899, -f0899),
		t3:    words("idctT3", 8, -f0899, f1501-f0899),
		t1:    words("idctT1", 8, f2053-f2562, -f2562),
		t2:    words("idctT2", 8, -f2562, f3072-f2562),
		bias1: dwords("idctBias1", 4, 1<<10),
		bias2: dwords("idctBias2", 4, 1<<17),
		sign:  words("idctSign", 8, -0x7f80, -0x7f80),
	}
	TEXT("inverseDCTAVX", NOSPLIT, "func(dst *uint8, stride int, coef, quant *int16)")
	Doc("inverseDCTAVX is inverseDCTGeneric on 128-bit vectors.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	stride := Load(Param("stride"), GP64())
	coef := Load(Param("coef"), GP64())
	quant := Load(Param("quant"), GP64())
	stack := AllocLocal(8 * 16)

	rows := make([]vec, 8)
	for i := range rows {
		r := XMM()
		VMOVDQU(Mem{Base: coef, Disp: 16 * i}, r)
		VPMULLW(Mem{Base: quant, Disp: 16 * i}, r, r)
		rows[i] = r
	}

	pass := func(r []vec, bias Mem, shift uint8) []vec {
		spill := func(i int) Mem { return stack.Offset(16 * i) }
		for half, unpack := range []func(...Op){func(o ...Op) { VPUNPCKLWD(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHWD(o[0], o[1], o[2]) }} {
			madd := func(v vec, c Mem) vec {
				d := XMM()
				VPMADDWD(c, v, d)
				return d
			}
			t26 := three(unpack, r[2], r[6])
			e3, e2 := madd(t26, k.e3), madd(t26, k.e2)
			t04 := three(unpack, r[0], r[4])
			sum, diff := madd(t04, k.sum), madd(t04, k.diff)
			VPADDD(bias, sum, sum)
			VPADDD(bias, diff, diff)
			for i, pair := range [][2]vec{{sum, e3}, {diff, e2}} {
				a, b := XMM(), XMM()
				VPADDD(pair[1], pair[0], a) // t10, t11
				VPSUBD(pair[1], pair[0], b) // t13, t12
				VMOVDQU(a, spill(4*half+i))
				VMOVDQU(b, spill(4*half+3-i))
			}
		}
		z3, z4 := XMM(), XMM()
		VPADDW(r[3], r[7], z3)
		VPADDW(r[1], r[5], z4)
		var t [2][4]vec
		for half, unpack := range []func(...Op){func(o ...Op) { VPUNPCKLWD(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHWD(o[0], o[1], o[2]) }} {
			madd := func(v vec, c Mem, plus vec) vec {
				d := XMM()
				VPMADDWD(c, v, d)
				if plus != nil {
					VPADDD(plus, d, d)
				}
				return d
			}
			z := three(unpack, z3, z4)
			y3, y4 := madd(z, k.y3, nil), madd(z, k.y4, nil)
			t71 := three(unpack, r[7], r[1])
			t[half][0], t[half][3] = madd(t71, k.t0, y3), madd(t71, k.t3, y4)
			t53 := three(unpack, r[5], r[3])
			t[half][1], t[half][2] = madd(t53, k.t1, y4), madd(t53, k.t2, y3)
		}
		out := make([]vec, 8)
		for i := range 4 {
			odd := 3 - i
			e, lo, hi := XMM(), XMM(), XMM()
			VMOVDQU(spill(i), e)
			VPADDD(t[0][odd], e, lo)
			VPSUBD(t[0][odd], e, e)
			VPSRAD(Imm(uint64(shift)), lo, lo)
			VPSRAD(Imm(uint64(shift)), e, e)
			f := XMM()
			VMOVDQU(spill(4+i), f)
			VPADDD(t[1][odd], f, hi)
			VPSUBD(t[1][odd], f, f)
			VPSRAD(Imm(uint64(shift)), hi, hi)
			VPSRAD(Imm(uint64(shift)), f, f)
			VPACKSSDW(hi, lo, lo)
			VPACKSSDW(f, e, e)
			out[i], out[7-i] = lo, e
		}
		return out
	}

	Comment("Columns.")
	mid := pass(rows, k.bias1, 11)
	Comment("Transpose.")
	mid = transpose8(mid)
	Comment("Rows.")
	o := pass(mid, k.bias2, 18)

	Comment("Saturate to bytes, transpose back, store.")
	quad := func(a, b, c, d vec) (lo, hi vec) {
		p, q := XMM(), XMM()
		VPACKSSWB(c, a, p)
		VPACKSSWB(d, b, q)
		l, h := XMM(), XMM()
		VPUNPCKLBW(q, p, l)
		VPUNPCKHBW(q, p, h)
		VPUNPCKLWD(h, l, p)
		VPUNPCKHWD(h, l, q)
		return p, q
	}
	aLo, aHi := quad(o[0], o[1], o[2], o[3])
	bLo, bHi := quad(o[4], o[5], o[6], o[7])
	sign := XMM()
	VMOVDQU(k.sign, sign)
	for i, pair := range [][2]vec{{aLo, bLo}, {aHi, bHi}} {
		for j, unpack := range []func(...Op){func(x ...Op) { VPUNPCKLDQ(x[0], x[1], x[2]) }, func(x ...Op) { VPUNPCKHDQ(x[0], x[1], x[2]) }} {
			two := three(unpack, pair[0], pair[1])
			VPXOR(sign, two, two)
			VMOVQ(two, Mem{Base: dst})
			ADDQ(stride, dst)
			VMOVHPS(two, Mem{Base: dst})
			if i+j < 2 {
				ADDQ(stride, dst)
			}
		}
	}
	RET()
}

// transpose8 transposes 8 vectors of 8 words.
func transpose8(r []vec) []vec {
	wd := make([]vec, 8)
	for i := range 4 {
		wd[2*i], wd[2*i+1] = XMM(), XMM()
		VPUNPCKLWD(r[2*i+1], r[2*i], wd[2*i])
		VPUNPCKHWD(r[2*i+1], r[2*i], wd[2*i+1])
	}
	// wd[0]: rows 0,1 columns 0-3; wd[1]: columns 4-7; wd[2]: rows 2,3 ...
	dq := make([]vec, 8)
	for i := range 2 {
		for j := range 2 {
			a, b := wd[4*i+j], wd[4*i+2+j]
			l, h := XMM(), XMM()
			VPUNPCKLDQ(b, a, l)
			VPUNPCKHDQ(b, a, h)
			dq[4*i+2*j], dq[4*i+2*j+1] = l, h
		}
	}
	// dq[0..3]: rows 0-3, columns 01 23 45 67; dq[4..7]: rows 4-7.
	out := make([]vec, 8)
	for i := range 4 {
		out[2*i], out[2*i+1] = XMM(), XMM()
		VPUNPCKLQDQ(dq[4+i], dq[i], out[2*i])
		VPUNPCKHQDQ(dq[4+i], dq[i], out[2*i+1])
	}
	return out
}

func yccRow() {
	red := words("yccRed", 16, 26345, 26345)      // 1.402 - 1
	blue := words("yccBlue", 16, -14942, -14942)  // 1.772 - 2
	green := words("yccGreen", 16, -22554, 18734) // -0.34414, 1 - 0.71414
	half := dwords("yccHalf", 8, 1<<15)
	one := words("yccOne", 16, 1, 1)
	centre := words("yccCentre", 16, 128, 128)
	opaque := words("yccOpaque", 16, 255, 255)

	TEXT("yccRowAVX2", NOSPLIT, "func(dst, y, cb, cr *uint8, n int)")
	Doc("yccRowAVX2 is yccRowGeneric for n pixels; n is a multiple of 16.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	y := Load(Param("y"), GP64())
	cb := Load(Param("cb"), GP64())
	cr := Load(Param("cr"), GP64())
	n := Load(Param("n"), GP64())

	constant := func(m Mem) vec {
		v := YMM()
		VMOVDQU(m, v)
		return v
	}
	vRed, vBlue, vGreen, vHalf, vOne, vCentre, vOpaque := constant(red), constant(blue), constant(green), constant(half), constant(one), constant(centre), constant(opaque)

	i := GP64()
	XORQ(i, i)
	Label("ycc")
	CMPQ(i, n)
	JGE(LabelRef("yccDone"))
	vy, b, r := YMM(), YMM(), YMM()
	VPMOVZXBW(Mem{Base: y, Index: i, Scale: 1}, vy)
	VPMOVZXBW(Mem{Base: cb, Index: i, Scale: 1}, b)
	VPMOVZXBW(Mem{Base: cr, Index: i, Scale: 1}, r)
	VPSUBW(vCentre, b, b)
	VPSUBW(vCentre, r, r)

	Comment("Green: l - r + (-22554b + 18734r + 32768 >> 16).")
	lo, hi := YMM(), YMM()
	VPUNPCKLWD(r, b, lo)
	VPUNPCKHWD(r, b, hi)
	VPMADDWD(vGreen, lo, lo)
	VPMADDWD(vGreen, hi, hi)
	VPADDD(vHalf, lo, lo)
	VPADDD(vHalf, hi, hi)
	VPSRAD(Imm(16), lo, lo)
	VPSRAD(Imm(16), hi, hi)
	g := YMM()
	VPACKSSDW(hi, lo, g)
	VPSUBW(r, g, g)
	VPADDW(vy, g, g)

	Comment("Red: l + r + (26345r + 32768 >> 16); the product is taken of 2r, then halved.")
	scaled := func(v, factor vec) vec {
		t := YMM()
		VPADDW(v, v, t)
		VPMULHW(factor, t, t)
		VPADDW(vOne, t, t)
		VPSRAW(Imm(1), t, t)
		return t
	}
	t := scaled(r, vRed)
	VPADDW(r, t, t)
	VPADDW(vy, t, t)
	red16 := t
	Comment("Blue: l + 2b + (-14942b + 32768 >> 16).")
	t = scaled(b, vBlue)
	VPADDW(b, t, t)
	VPADDW(b, t, t)
	VPADDW(vy, t, t)
	blue16 := t

	Comment("Clip to bytes and interleave.")
	rg, ba := YMM(), YMM()
	VPACKUSWB(g, red16, rg)
	VPACKUSWB(vOpaque, blue16, ba)
	rb, ga := YMM(), YMM()
	VPUNPCKLBW(ba, rg, rb)
	VPUNPCKHBW(ba, rg, ga)
	first, second := YMM(), YMM()
	VPUNPCKLBW(ga, rb, first)
	VPUNPCKHBW(ga, rb, second)
	p, q := YMM(), YMM()
	VPERM2I128(Imm(0x20), second, first, p)
	VPERM2I128(Imm(0x31), second, first, q)
	VMOVDQU(p, Mem{Base: dst})
	VMOVDQU(q, Mem{Base: dst, Disp: 32})
	ADDQ(Imm(64), dst)
	ADDQ(Imm(16), i)
	JMP(LabelRef("ycc"))
	Label("yccDone")
	VZEROUPPER()
	RET()
}

func mix() {
	TEXT("mixAVX2", NOSPLIT, "func(dst *uint16, near, far *uint8, n int)")
	Doc("mixAVX2 is mixGeneric for n samples; n is a multiple of 16.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	near := Load(Param("near"), GP64())
	far := Load(Param("far"), GP64())
	n := Load(Param("n"), GP64())
	i := GP64()
	XORQ(i, i)
	Label("mix")
	CMPQ(i, n)
	JGE(LabelRef("mixDone"))
	a, b, t := YMM(), YMM(), YMM()
	VPMOVZXBW(Mem{Base: near, Index: i, Scale: 1}, a)
	VPMOVZXBW(Mem{Base: far, Index: i, Scale: 1}, b)
	VPADDW(a, a, t)
	VPADDW(b, a, a)
	VPADDW(t, a, a)
	VMOVDQU(a, Mem{Base: dst, Index: i, Scale: 2})
	ADDQ(Imm(16), i)
	JMP(LabelRef("mix"))
	Label("mixDone")
	VZEROUPPER()
	RET()
}

func spread() {
	TEXT("spreadAVX2", NOSPLIT, "func(dst *uint8, src *uint16, n int, even, odd uint16, shift uint)")
	Doc("spreadAVX2 is spreadGeneric for n pairs of samples; n is a multiple of 16.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	n := Load(Param("n"), GP64())
	broadcast := func(name string) vec {
		g, v := GP32(), YMM()
		Load(Param(name), g.As16())
		x := XMM()
		MOVWLZX(g.As16(), g)
		VMOVD(g, x)
		VPBROADCASTW(x, v)
		return v
	}
	even, odd := broadcast("even"), broadcast("odd")
	s := Load(Param("shift"), GP64())
	shift := XMM()
	VMOVQ(s, shift)
	i := GP64()
	XORQ(i, i)
	Label("spread")
	CMPQ(i, n)
	JGE(LabelRef("spreadDone"))
	v, t := YMM(), YMM()
	VMOVDQU(Mem{Base: src, Index: i, Scale: 2, Disp: 2}, v)
	VPADDW(v, v, t)
	VPADDW(v, t, v)
	l, r := YMM(), YMM()
	VPADDW(Mem{Base: src, Index: i, Scale: 2}, v, l)
	VPADDW(Mem{Base: src, Index: i, Scale: 2, Disp: 4}, v, r)
	VPADDW(even, l, l)
	VPADDW(odd, r, r)
	VPSRLW(shift, l, l)
	VPSRLW(shift, r, r)
	VPSLLW(Imm(8), r, r)
	VPOR(l, r, r)
	VMOVDQU(r, Mem{Base: dst, Index: i, Scale: 2})
	ADDQ(Imm(16), i)
	JMP(LabelRef("spread"))
	Label("spreadDone")
	VZEROUPPER()
	RET()
}
