package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func conv() {
	depthwise()
	depthwiseRows()
	depthwiseTaps()
	double()
	everySecond()
}

// depthwiseRows generates the row of a depthwise convolution for usual windows.
func depthwiseRows() {
	for _, width := range []int{3, 5, 7} {
		for stride := 1; stride <= 2; stride++ {
			depthwiseRow(width, stride)
		}
	}
}

// double generates eight words to sixteen at a time.
func double() {
	TEXT("doubleAVX2", NOSPLIT, "func(dst *uint32, src *uint32, n int)")
	Pragma("noescape")
	Doc("doubleAVX2 is Double of n words, a multiple of 8 and not 0.")
	dst, src, n := get("dst"), get("src"), get("n")
	Label("loop")
	for i := range 2 {
		low, high := YMM(), YMM()
		VPMOVZXDQ(Mem{Base: src, Disp: 16 * i}, low)
		VPSLLQ(Imm(32), low, high)
		VPOR(low, high, high)
		VMOVDQU(high, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(Imm(32), src)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// everySecond generates sixteen words to eight at a time.
func everySecond() {
	TEXT("everySecondAVX2", NOSPLIT, "func(dst *uint32, src *uint32, n int)")
	Pragma("noescape")
	Doc("everySecondAVX2 is EverySecond of n words, a multiple of 8 and not 0; src has 2n.")
	dst, src, n := get("dst"), get("src"), get("n")
	low, high := YMM(), YMM()
	Label("loop")
	VMOVUPS(Mem{Base: src}, low)
	VMOVUPS(Mem{Base: src, Disp: 32}, high)
	VSHUFPS(Imm(0x88), high, low, low)
	VPERMQ(Imm(0xd8), low, low)
	VMOVDQU(low, Mem{Base: dst})
	ADDQ(Imm(64), src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// depthwise generates the row of a depthwise convolution: 16 positions at a time, then 8, then the
// rest under a mask.
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

// depthwiseRow generates the row of a depthwise convolution of 16 channels that lie side by side,
// for a width of the window and a stride: up to most positions at a time, whose sums and the
// weights of a row of the window stay in registers while each vector of the input that they share
// is loaded once. With AVX2 a position has two vectors, which are computed one after the other;
// with AVX-512 it has one, of which mask says what to keep.
func depthwiseRow(width, stride int) {
	most, keep := 8, "vectors int"
	if wide() {
		most, keep = 14, "mask uint32"
	}
	name := named(fmt.Sprintf("depthwiseRow%dx%d", width, stride))
	TEXT(name, NOSPLIT, "func(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights, bias *float32, low, high float32, "+keep+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is DepthwiseRow for a window of width %d and a stride of %d, and for 8 channels a vector.", name, width, stride))
	const pitch = 64
	dst, dstStep, src, n := get("dst"), get("dstStep"), get("src"), get("n")
	rows, end := get("rows"), get("count")
	weights, bias := get("weights"), get("bias")
	var vectors reg.GPVirtual
	var mask reg.OpmaskVirtual
	if wide() {
		bits := GP32()
		mask = K()
		Load(Param("mask"), bits)
		KMOVW(bits, mask)
	} else {
		vectors = get("vectors")
	}
	SHLQ(Imm(2), dstStep)
	SHLQ(Imm(4), end)
	ADDQ(rows, end)
	row, s, w, to := GP64(), GP64(), GP64(), GP64()
	v := GP64() // bytes before the vector
	// All bodies have the same registers: avo takes minutes over hundreds.
	sums, weight, inputs := vectorsOf(most), vectorsOf(width), vectorsOf(2)

	body := func(positions int) {
		label := func(name string) string { return fmt.Sprintf("%s%d", name, positions) }
		Label(label("of"))
		if !wide() {
			XORQ(v, v)
			Label(label("vector"))
		}
		acc := sums[:positions]
		for i := range acc {
			switch {
			case i > 0:
				VMOVAPS(acc[0], acc[i])
			case wide():
				VMOVUPS_Z(Mem{Base: bias}, mask, acc[i])
			default:
				VMOVUPS(Mem{Base: bias, Index: v, Scale: 1}, acc[i])
			}
		}
		MOVQ(rows, row)
		Label(label("row"))
		MOVQ(Mem{Base: row}, s)
		MOVQ(Mem{Base: row, Disp: 8}, w)
		LEAQ(Mem{Base: src, Index: s, Scale: 4}, s)
		LEAQ(Mem{Base: weights, Index: w, Scale: 4}, w)
		if !wide() {
			ADDQ(v, s)
			ADDQ(v, w)
		}
		for k := range weight {
			VMOVUPS(Mem{Base: w, Disp: pitch * k}, weight[k])
		}
		for j := range (positions-1)*stride + width {
			x := inputs[j%2]
			VMOVUPS(Mem{Base: s, Disp: pitch * j}, x)
			for p := range positions {
				if k := j - p*stride; k >= 0 && k < width {
					VFMADD231PS(x, weight[k], acc[p])
				}
			}
		}
		ADDQ(Imm(16), row)
		CMPQ(row, end)
		JL(LabelRef(label("row")))
		low, high := inputs[0], inputs[1]
		broadcastTo("low", low)
		broadcastTo("high", high)
		if wide() {
			MOVQ(dst, to)
		} else {
			LEAQ(Mem{Base: dst, Index: v, Scale: 1}, to)
		}
		for _, a := range acc {
			VMAXPS(a, low, a)
			VMINPS(a, high, a)
			if wide() {
				VMOVUPS(a, mask, Mem{Base: to})
			} else {
				VMOVUPS(a, Mem{Base: to})
			}
			ADDQ(dstStep, to)
		}
		if !wide() {
			ADDQ(Imm(32), v)
			MOVQ(vectors, s)
			SHLQ(Imm(5), s)
			CMPQ(v, s)
			JL(LabelRef(label("vector")))
			SUBQ(v, to)
			ADDQ(Imm(32), to)
		}
		MOVQ(to, dst)
		ADDQ(U32(uint32(pitch*stride*positions)), src)
		SUBQ(Imm(uint64(positions)), n)
		JMP(LabelRef("next"))
	}
	inEqualParts(n, s, most, body)
}

// inEqualParts generates a loop, from label next on, over n positions, up to most at a time: of<p>,
// which body generates, is for p of them, takes them off n and goes to next. Fewer than twice as many
// as most are two parts as equal as can be: one position alone keeps the multipliers waiting for its
// sums. s is room.
func inEqualParts(n, s reg.GPVirtual, most int, body func(positions int)) {
	Label("next")
	CMPQ(n, Imm(uint64(2*most)))
	JGE(LabelRef(fmt.Sprintf("of%d", most)))
	MOVQ(n, s)
	CMPQ(n, Imm(uint64(most)))
	JLE(LabelRef("pick"))
	INCQ(s)
	SHRQ(Imm(1), s)
	Label("pick")
	for p := most; p > 0; p-- {
		CMPQ(s, Imm(uint64(p)))
		JEQ(LabelRef(fmt.Sprintf("of%d", p)))
	}
	VZEROUPPER()
	RET()
	for p := most; p > 0; p-- {
		body(p)
	}
}

// depthwiseTaps generates the same for any window, as a list of its elements.
func depthwiseTaps() {
	const name, pitch = "depthwiseTapsAVX2", 64
	TEXT(name, NOSPLIT, "func(dst *float32, dstStep int, src *float32, step, n int, taps *int, count int, weights, bias *float32, low, high float32)")
	Pragma("noescape")
	Doc(name + " is DepthwiseRow for 16 channels and elements of a window that there are, at positions step bytes apart.")
	dst, dstStep, src, step, n := get("dst"), get("dstStep"), get("src"), get("step"), get("n")
	taps, end, weights, bias := get("taps"), get("count"), get("weights"), get("bias")
	low, high := broadcast("low"), broadcast("high")
	SHLQ(Imm(2), dstStep)
	SHLQ(Imm(4), end)
	ADDQ(taps, end)
	tap, s, w := GP64(), GP64(), GP64()
	for _, positions := range []int{4, 1} {
		label := func(name string) string { return fmt.Sprintf("%s%d", name, positions) }
		Label(label("of"))
		SUBQ(Imm(uint64(positions)), n)
		JL(LabelRef(label("end")))
		acc := make([]vec, 2*positions)
		for i := range acc {
			acc[i] = YMM()
			VMOVUPS(Mem{Base: bias, Disp: i % 2 * 32}, acc[i])
		}
		MOVQ(taps, tap)
		Label(label("taps"))
		MOVQ(Mem{Base: tap}, s)
		MOVQ(Mem{Base: tap, Disp: 8}, w)
		LEAQ(Mem{Base: src, Index: s, Scale: 4}, s)
		w0, w1 := YMM(), YMM()
		VMOVUPS(Mem{Base: weights, Index: w, Scale: 4}, w0)
		VMOVUPS(Mem{Base: weights, Index: w, Scale: 4, Disp: 32}, w1)
		for p := range positions {
			VFMADD231PS(Mem{Base: s}, w0, acc[2*p])
			VFMADD231PS(Mem{Base: s, Disp: 32}, w1, acc[2*p+1])
			if p < positions-1 {
				ADDQ(step, s)
			}
		}
		ADDQ(Imm(16), tap)
		CMPQ(tap, end)
		JL(LabelRef(label("taps")))
		for i, a := range acc {
			VMAXPS(a, low, a)
			VMINPS(a, high, a)
			VMOVUPS(a, Mem{Base: dst, Disp: i % 2 * 32})
			if i%2 == 1 {
				ADDQ(dstStep, dst)
				ADDQ(step, src)
			}
		}
		JMP(LabelRef(label("of")))
		Label(label("end"))
		ADDQ(Imm(uint64(positions)), n)
	}
	VZEROUPPER()
	RET()
}
