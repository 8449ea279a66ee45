// Command resample writes the amd64 kernels of vision/internal/resample:
//
//	cd vision/_asm && go run ./resample -out ../internal/resample/kernels_amd64.s -stubs ../internal/resample/stubs_amd64.go -pkg resample
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Coefficients have up to 26 bits and the multiply-add of AVX2 takes 16, so a coefficient c goes in
// two parts, c = high<<11 + low with 0 <= low < 2048.
const (
	lowBits       = 11
	precisionBits = 22
)

func main() {
	ConstraintExpr("amd64,!noasm")
	vertical()
	horizontal()
	nearest()
	Generate()
}

func constant(name string, v int32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, I32(v))
	}
	return m
}

// round makes samples of sums: ((high << 11) + low + half) >> 22, in high.
func round(high, low VecVirtual, half Op) {
	VPSLLD(Imm(lowBits), high, high)
	VPADDD(low, high, high)
	VPADDD(half, high, high)
	VPSRAD(Imm(precisionBits), high, high)
}

func vertical() {
	half := constant("verticalHalf", 1<<(precisionBits-1))
	TEXT("verticalAVX2", NOSPLIT, "func(dst, src *uint8, stride int, coef *int16, pairs, n int)")
	Doc("verticalAVX2 computes n bytes, a multiple of 32, of a row from 2*pairs rows of src.",
		"coef has for each pair of rows the high parts of both coefficients, then the low parts.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	coef := Load(Param("coef"), GP64())
	pairs := Load(Param("pairs"), GP64())
	n := Load(Param("n"), GP64())

	Label("columns")
	CMPQ(n, Imm(32))
	JL(LabelRef("verticalDone"))
	var sum [8]VecVirtual // four high, four low, of 8 columns each
	for i := range sum {
		sum[i] = YMM()
		VPXOR(sum[i], sum[i], sum[i])
	}
	p, c, left := GP64(), GP64(), GP64()
	MOVQ(src, p)
	MOVQ(coef, c)
	MOVQ(pairs, left)
	Label("rows")
	high, low := YMM(), YMM()
	VPBROADCASTD(Mem{Base: c}, high)
	VPBROADCASTD(Mem{Base: c, Disp: 4}, low)
	for i := range 2 {
		a, b, x := XMM(), XMM(), XMM()
		VMOVDQU(Mem{Base: p, Disp: 16 * i}, a)
		VMOVDQU(Mem{Base: p, Index: stride, Scale: 1, Disp: 16 * i}, b)
		for j, unpack := range []func(...Op){func(o ...Op) { VPUNPCKLBW(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHBW(o[0], o[1], o[2]) }} {
			unpack(b, a, x)
			w, t := YMM(), YMM()
			VPMOVZXBW(x, w)
			VPMADDWD(high, w, t)
			VPADDD(t, sum[2*i+j], sum[2*i+j])
			VPMADDWD(low, w, w)
			VPADDD(w, sum[4+2*i+j], sum[4+2*i+j])
		}
	}
	LEAQ(Mem{Base: p, Index: stride, Scale: 2}, p)
	ADDQ(Imm(8), c)
	DECQ(left)
	JNZ(LabelRef("rows"))
	bias := YMM()
	VMOVDQU(half, bias)
	for i := range 4 {
		round(sum[i], sum[4+i], bias)
	}
	Comment("Words lie as 0-3 8-11 | 4-7 12-15 after packing; put them in order.")
	VPACKSSDW(sum[1], sum[0], sum[0])
	VPACKSSDW(sum[3], sum[2], sum[2])
	VPERMQ(Imm(0xd8), sum[0], sum[0])
	VPERMQ(Imm(0xd8), sum[2], sum[2])
	VPACKUSWB(sum[2], sum[0], sum[0])
	VPERMQ(Imm(0xd8), sum[0], sum[0])
	VMOVDQU(sum[0], Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(Imm(32), src)
	SUBQ(Imm(32), n)
	JMP(LabelRef("columns"))
	Label("verticalDone")
	VZEROUPPER()
	RET()
}

func bytes(name string, b []int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, v := range b {
		DATA(i, U8(uint8(v)))
	}
	return m
}

func horizontal() {
	const z = 0x80
	// Pixels 0 and 1, and 2 and 3, channel by channel, as words.
	pixels := bytes("horizontalPixels", []int{
		0, z, 4, z, 1, z, 5, z, 2, z, 6, z, 3, z, 7, z,
		8, z, 12, z, 9, z, 13, z, 10, z, 14, z, 11, z, 15, z})
	// The coefficients of pixels 0 and 1 four times, then those of 2 and 3.
	pairs := bytes("horizontalPairs", []int{
		0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,
		4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7})
	half := constant("horizontalHalf", 1<<(precisionBits-1))

	TEXT("horizontalAVX2", NOSPLIT, "func(dst *uint8, dstStride int, src *uint8, srcStride int, start *int32, coef *int16, groups, n int)")
	Doc("horizontalAVX2 computes n pixels in each of four rows, from 4*groups pixels each.",
		"start has the byte at which each one's pixels begin. coef has for each group the",
		"high parts of its four coefficients, then the low parts.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("srcStride"), GP64())
	start := Load(Param("start"), GP64())
	coef := Load(Param("coef"), GP64())
	groups := Load(Param("groups"), GP64())
	n := Load(Param("n"), GP64())
	stride3, dst3 := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	LEAQ(Mem{Base: dstStride, Index: dstStride, Scale: 2}, dst3)
	vPixels, vPairs := YMM(), YMM()
	VMOVDQU(pixels, vPixels)
	VMOVDQU(pairs, vPairs)

	Label("outputs")
	TESTQ(n, n)
	JZ(LabelRef("horizontalDone"))
	p, left := GP64(), GP64()
	MOVLQSX(Mem{Base: start}, p)
	ADDQ(src, p)
	MOVQ(groups, left)
	var high, low [4]VecVirtual
	for i := range 4 {
		high[i], low[i] = YMM(), YMM()
		VPXOR(high[i], high[i], high[i])
		VPXOR(low[i], low[i], low[i])
	}
	Label("taps")
	ch, cl := YMM(), YMM()
	VPBROADCASTQ(Mem{Base: coef}, ch)
	VPBROADCASTQ(Mem{Base: coef, Disp: 8}, cl)
	VPSHUFB(vPairs, ch, ch)
	VPSHUFB(vPairs, cl, cl)
	rows := []Mem{{Base: p}, {Base: p, Index: stride, Scale: 1}, {Base: p, Index: stride, Scale: 2}, {Base: p, Index: stride3, Scale: 1}}
	for i, row := range rows {
		px, t := YMM(), YMM()
		VBROADCASTI128(row, px)
		VPSHUFB(vPixels, px, px)
		VPMADDWD(ch, px, t)
		VPADDD(t, high[i], high[i])
		VPMADDWD(cl, px, px)
		VPADDD(px, low[i], low[i])
	}
	ADDQ(Imm(16), p)
	ADDQ(Imm(16), coef)
	DECQ(left)
	JNZ(LabelRef("taps"))

	bias := YMM()
	VMOVDQU(half, bias)
	sums := make([]VecVirtual, 2)
	for i := range 2 { // rows 2i and 2i+1 into the halves of one vector
		for _, s := range [][4]VecVirtual{high, low} {
			a, b := YMM(), YMM()
			VPERM2I128(Imm(0x20), s[2*i+1], s[2*i], a)
			VPERM2I128(Imm(0x31), s[2*i+1], s[2*i], b)
			VPADDD(b, a, s[2*i])
		}
		round(high[2*i], low[2*i], bias)
		sums[i] = high[2*i]
	}
	VPACKSSDW(sums[1], sums[0], sums[0]) // rows 0 2 | 1 3
	VPACKUSWB(sums[0], sums[0], sums[0])
	odd := XMM()
	VEXTRACTI128(Imm(1), sums[0], odd)
	even := sums[0].AsX()
	VMOVD(even, Mem{Base: dst})
	VPEXTRD(Imm(1), even, Mem{Base: dst, Index: dstStride, Scale: 2})
	VMOVD(odd, Mem{Base: dst, Index: dstStride, Scale: 1})
	VPEXTRD(Imm(1), odd, Mem{Base: dst, Index: dst3, Scale: 1})
	ADDQ(Imm(4), dst)
	ADDQ(Imm(4), start)
	DECQ(n)
	JMP(LabelRef("outputs"))
	Label("horizontalDone")
	VZEROUPPER()
	RET()
}

func nearest() {
	TEXT("nearestRowAsm", NOSPLIT, "func(dst, src *uint8, at *int32, n int)")
	Doc("nearestRowAsm copies n pixels, the one at byte at[i] of src to place i of dst.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	at := Load(Param("at"), GP64())
	n := Load(Param("n"), GP64())

	pixels := func(count int) {
		from := make([]GPVirtual, count)
		for i := range from {
			from[i] = GP64()
			MOVLQSX(Mem{Base: at, Disp: 4 * i}, from[i])
		}
		for _, f := range from {
			MOVL(Mem{Base: src, Index: f, Scale: 1}, f.As32())
		}
		for i, f := range from {
			MOVL(f.As32(), Mem{Base: dst, Disp: 4 * i})
		}
		ADDQ(Imm(uint64(4*count)), at)
		ADDQ(Imm(uint64(4*count)), dst)
		SUBQ(Imm(uint64(count)), n)
	}
	Label("eight")
	CMPQ(n, Imm(8))
	JL(LabelRef("one"))
	pixels(8)
	JMP(LabelRef("eight"))
	Label("one")
	TESTQ(n, n)
	JZ(LabelRef("nearestDone"))
	pixels(1)
	JMP(LabelRef("one"))
	Label("nearestDone")
	RET()
}
