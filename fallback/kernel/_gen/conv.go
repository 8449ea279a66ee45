package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func conv() {
	depthwise()
	depthwiseLast(2)
	depthwiseLast(1)
}

// depthwise generates the row of a depthwise convolution: 16 positions at a time, then
// 8, then the rest under a mask.
func depthwise() {
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

// depthwiseLast generates a depthwise convolution of channels that lie side by
// side: vectors of 8 channels, of up to six positions at a time.
func depthwiseLast(vectors int) {
	name := fmt.Sprintf("depthwiseLast%dAVX2", 8*vectors)
	TEXT(name, NOSPLIT, "func(dst *float32, dstStep int, src *float32, srcStep, n int, taps *int, count int, weights, bias *float32, low, high float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is DepthwiseLast for %d channels and taps that there are.", name, 8*vectors))
	dst, dstStep := get("dst"), get("dstStep")
	src, srcStep := get("src"), get("srcStep")
	n, taps, end := get("n"), get("taps"), get("count")
	weights, bias := get("weights"), get("bias")
	low, high := broadcast("low"), broadcast("high")
	SHLQ(Imm(2), dstStep)
	SHLQ(Imm(2), srcStep)
	SHLQ(Imm(4), end)
	ADDQ(taps, end)
	tap, s, s3, w := GP64(), GP64(), GP64(), GP64()

	// body computes some positions; src and dst move past them.
	body := func(positions int) {
		acc := make([]vec, positions*vectors)
		for i := range acc {
			acc[i] = YMM()
			if i < vectors {
				VMOVUPS(Mem{Base: bias, Disp: 32 * i}, acc[i])
			} else {
				VMOVAPS(acc[i%vectors], acc[i])
			}
		}
		at := func(p, v int) Mem {
			m := Mem{Base: s, Disp: 32 * v}
			if p >= 3 {
				m.Base, p = s3, p-3
			}
			if p > 0 {
				m.Index, m.Scale = srcStep, uint8(p)
			}
			return m
		}
		MOVQ(taps, tap)
		label := fmt.Sprintf("taps%d", positions)
		Label(label)
		MOVQ(Mem{Base: tap}, s)
		MOVQ(Mem{Base: tap, Disp: 8}, w)
		LEAQ(Mem{Base: src, Index: s, Scale: 4}, s)
		if positions > 3 {
			LEAQ(Mem{Base: srcStep, Index: srcStep, Scale: 2}, s3)
			ADDQ(s, s3)
		}
		weight := make([]vec, vectors)
		for v := range vectors {
			weight[v] = YMM()
			VMOVUPS(Mem{Base: weights, Index: w, Scale: 4, Disp: 32 * v}, weight[v])
		}
		for p := range positions {
			for v := range vectors {
				VFMADD231PS(at(p, v), weight[v], acc[p*vectors+v])
			}
		}
		ADDQ(Imm(16), tap)
		CMPQ(tap, end)
		JL(LabelRef(label))
		for p := range positions {
			for v := range vectors {
				a := acc[p*vectors+v]
				VMAXPS(a, low, a)
				VMINPS(a, high, a)
				VMOVUPS(a, Mem{Base: dst, Disp: 32 * v})
			}
			ADDQ(dstStep, dst)
		}
		var step reg.Register = srcStep
		if positions > 1 {
			IMUL3Q(Imm(uint64(positions)), srcStep, s)
			step = s
		}
		ADDQ(step, src)
		SUBQ(Imm(uint64(positions)), n)
		JMP(LabelRef("next"))
	}
	// Seven are four and three, eight twice four: one position alone keeps the
	// multipliers waiting for its sums.
	Label("next")
	CMPQ(n, Imm(9))
	JGE(LabelRef("of6"))
	for _, p := range []struct{ n, of int }{{8, 4}, {7, 4}, {6, 6}, {5, 5}, {4, 4}, {3, 3}, {2, 2}, {1, 1}} {
		CMPQ(n, Imm(uint64(p.n)))
		JEQ(LabelRef(fmt.Sprintf("of%d", p.of)))
	}
	VZEROUPPER()
	RET()
	for p := 6; p > 0; p-- {
		Label(fmt.Sprintf("of%d", p))
		body(p)
	}
}
