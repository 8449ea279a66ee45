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

	// Whole vectors, as many at a time as there are; src and dst move along.
	wide := func(label string, vectors int) {
		SUBQ(U32(8*vectors), n)
		JL(LabelRef(label + "end"))
		Label(label)
		var acc []vec
		for range vectors {
			v := YMM()
			VMOVAPS(bias, v)
			acc = append(acc, v)
		}
		loop(label+"taps", func(w vec) {
			for i, v := range acc {
				VFMADD231PS(at(i*32), w, v)
			}
		})
		for i, v := range acc {
			bound(v)
			VMOVUPS(v, Mem{Base: dst, Disp: i * 32})
		}
		ADDQ(U32(32*vectors), dst)
		ADDQ(U32(32*vectors), src)
		SUBQ(U32(8*vectors), n)
		JGE(LabelRef(label))
		Label(label + "end")
		ADDQ(U32(8*vectors), n)
	}
	wide("wide", 8)
	wide("middle", 3)
	wide("narrow", 1)
	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	mask := tailMask(n)
	a, v := YMM(), YMM()
	VMOVAPS(bias, a)
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
