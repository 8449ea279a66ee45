package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// conv generates the row of a depthwise convolution: 16 positions at a time, then
// 8, then the rest under a mask.
func conv() {
	TEXT("depthwiseAVX2", NOSPLIT, "func(dst *float32, n int, src *float32, offsets *int, weights *float32, taps int, bias, low, high float32)")
	Pragma("noescape")
	Doc("depthwiseAVX2 is DepthwiseRow.")
	dst, n, src, offsets, weights, taps := get("dst"), get("n"), get("src"), get("offsets"), get("weights"), get("taps")
	bias, low, high := broadcast("bias"), broadcast("low"), broadcast("high")
	bound := func(v vec) {
		VMAXPS(v, low, v)
		VMINPS(v, high, v)
	}
	// body loops over taps; load adds a tap to the sums.
	t, off := GP64(), GP64()
	loop := func(label string, body func(w vec)) {
		XORQ(t, t)
		Label(label)
		MOVQ(Mem{Base: offsets, Index: t, Scale: 8}, off)
		w := YMM()
		VBROADCASTSS(Mem{Base: weights, Index: t, Scale: 4}, w)
		body(w)
		INCQ(t)
		CMPQ(t, taps)
		JL(LabelRef(label))
	}
	at := func(disp int) Mem { return Mem{Base: src, Index: off, Scale: 4, Disp: disp} }

	SUBQ(Imm(16), n)
	JL(LabelRef("eight"))
	Label("loop")
	a, b := YMM(), YMM()
	VMOVAPS(bias, a)
	VMOVAPS(bias, b)
	loop("taps16", func(w vec) {
		VFMADD231PS(at(0), w, a)
		VFMADD231PS(at(32), w, b)
	})
	bound(a)
	bound(b)
	VMOVUPS(a, Mem{Base: dst})
	VMOVUPS(b, Mem{Base: dst, Disp: 32})
	ADDQ(Imm(64), dst)
	ADDQ(Imm(64), src)
	SUBQ(Imm(16), n)
	JGE(LabelRef("loop"))
	Label("eight")
	ADDQ(Imm(16), n)
	CMPQ(n, Imm(8))
	JL(LabelRef("rest"))
	VMOVAPS(bias, a)
	loop("taps8", func(w vec) { VFMADD231PS(at(0), w, a) })
	bound(a)
	VMOVUPS(a, Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(Imm(32), src)
	SUBQ(Imm(8), n)
	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	mask := tailMask(n)
	VMOVAPS(bias, a)
	v := YMM()
	loop("tapsrest", func(w vec) {
		VMASKMOVPS(at(0), mask, v)
		VFMADD231PS(v, w, a)
	})
	bound(a)
	VMASKMOVPS(a, mask, Mem{Base: dst})
	Label("done")
	VZEROUPPER()
	RET()
}
