package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// spectrum generates what package kernel computes of four signals at once, in float64: a vector is
// one number of each.
func spectrum() {
	windows()
	for radix := 2; radix <= 5; radix++ {
		fourier(radix)
	}
	realPower()
	bands()
	unary("log10", "is Log10.", []string{"least"}, func(x vec, p []vec) vec {
		VMAXPS(p[0], x, x) // of a NaN and a bound, the first operand wins
		return log10(x)
	})
}

// log10 computes the logarithm to base 10 of normal positive numbers, by the series of the inverse
// hyperbolic tangent around 1: the logarithm of m is 2s(1 + s²/3 + s⁴/5 + ...) of s = (m-1)/(m+1).
func log10(x vec) vec {
	const half = 0x3f3504f3 // sqrt(1/2)
	e, m, s := V(), V(), V()
	VPADDD(bits(0x3f800000-half), x, m)
	VPSRLD(Imm(23), m, e)
	VPSUBD(bits(127), e, e)
	VCVTDQ2PS(e, e)
	and.bits(1<<23-1, m, m)
	VPADDD(bits(half), m, m)
	add.c(1, m, s)
	add.c(-1, m, m)
	VDIVPS(s, m, s)
	z := V()
	VMULPS(s, s, z)
	// 2/ln 10 times the series; its next term is below 1e-9.
	const k = 2 / math.Ln10
	r := poly(z, k/9, k/7, k/5, k/3, k)
	VMULPS(s, r, r)
	high := float64(float32(math.Log10(2)))
	VFMADD231PS(c(math.Log10(2)-high), e, r)
	VFMADD231PS(c(high), e, r)
	return r
}

// doubles has four copies of a float64, once emitted.
var doubles = map[float64]Mem{}

func double4(f float64) Mem {
	if m, ok := doubles[f]; ok {
		return m
	}
	b := math.Float64bits(f)
	m := GLOBL(fmt.Sprintf("f64_%016x", b), RODATA|NOPTR)
	for i := range 4 {
		DATA(i*8, U64(b))
	}
	doubles[f] = m
	return m
}

// windows generates the transposition of four pieces of a signal.
func windows() {
	TEXT("windowsAVX2", NOSPLIT, "func(dst *float64, src *float32, hop int, weights *float64, n int)")
	Pragma("noescape")
	Doc("windowsAVX2 is Windows of n weights, a multiple of 4 and not 0.")
	dst, src, hop, weights, n := get("dst"), get("src"), get("hop"), get("weights"), get("n")
	SHLQ(Imm(2), hop)
	hop3 := GP64()
	LEAQ(Mem{Base: hop, Index: hop, Scale: 2}, hop3)
	Label("loop")
	x := []reg.VecVirtual{XMM(), XMM(), XMM(), XMM()}
	VMOVUPS(Mem{Base: src}, x[0])
	VMOVUPS(Mem{Base: src, Index: hop, Scale: 1}, x[1])
	VMOVUPS(Mem{Base: src, Index: hop, Scale: 2}, x[2])
	VMOVUPS(Mem{Base: src, Index: hop3, Scale: 1}, x[3])
	for half, unpack := range []func(...Op){VUNPCKLPS, VUNPCKHPS} {
		a, b := XMM(), XMM()
		unpack(x[1], x[0], a)
		unpack(x[3], x[2], b)
		for i, join := range []func(...Op){VUNPCKLPD, VUNPCKHPD} {
			row, v, w := XMM(), YMM(), YMM()
			join(b, a, row)
			VCVTPS2PD(row, v)
			VBROADCASTSD(Mem{Base: weights, Disp: 8 * (2*half + i)}, w)
			VMULPD(w, v, v)
			VMOVUPD(v, Mem{Base: dst, Disp: 32 * (2*half + i)})
		}
	}
	ADDQ(Imm(16), src)
	ADDQ(Imm(32), weights)
	ADDQ(Imm(128), dst)
	SUBQ(Imm(4), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// cplx is one complex number of each signal.
type cplx struct{ re, im vec }

func newCplx() cplx { return cplx{YMM(), YMM()} }

func (a cplx) plus(b cplx) cplx {
	r := newCplx()
	VADDPD(b.re, a.re, r.re)
	VADDPD(b.im, a.im, r.im)
	return r
}

func (a cplx) minus(b cplx) cplx {
	r := newCplx()
	VSUBPD(b.re, a.re, r.re)
	VSUBPD(b.im, a.im, r.im)
	return r
}

// add adds f times b to a.
func (a cplx) add(f float64, b cplx) {
	VFMADD231PD(double4(f), b.re, a.re)
	VFMADD231PD(double4(f), b.im, a.im)
}

// turned returns a - ib and a + ib.
func (a cplx) turned(b cplx) (minus, plus cplx) {
	minus, plus = newCplx(), newCplx()
	VADDPD(b.im, a.re, minus.re)
	VSUBPD(b.re, a.im, minus.im)
	VSUBPD(b.im, a.re, plus.re)
	VADDPD(b.re, a.im, plus.im)
	return minus, plus
}

func (a cplx) copied() cplx {
	r := newCplx()
	VMOVAPD(a.re, r.re)
	VMOVAPD(a.im, r.im)
	return r
}

// fourier generates a stage of a radix.
func fourier(radix int) {
	name := fmt.Sprintf("fourier%dAVX2", radix)
	TEXT(name, NOSPLIT, "func(dst, src, twiddles *float64, rest, stride int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is FourierStage of radix %d.", name, radix))
	dst, src, twiddles, rest, stride := get("dst"), get("src"), get("twiddles"), get("rest"), get("stride")
	in, out, in3, out3, q := GP64(), GP64(), GP64(), GP64(), GP64() // bytes from operand to operand, and thrice
	MOVQ(stride, out)
	SHLQ(Imm(6), out)
	MOVQ(out, in)
	IMULQ(rest, in)
	LEAQ(Mem{Base: in, Index: in, Scale: 2}, in3)
	LEAQ(Mem{Base: out, Index: out, Scale: 2}, out3)
	at := func(base, step, step3 reg.GPVirtual, r, disp int) Mem {
		switch r {
		case 0:
			return Mem{Base: base, Disp: disp}
		case 3:
			return Mem{Base: base, Index: step3, Scale: 1, Disp: disp}
		}
		return Mem{Base: base, Index: step, Scale: uint8(r), Disp: disp}
	}
	load := func(r int) cplx {
		v := newCplx()
		VMOVUPD(at(src, in, in3, r, 0), v.re)
		VMOVUPD(at(src, in, in3, r, 32), v.im)
		return v
	}
	turns := false
	store := func(r int, v cplx) {
		if turns && r > 0 {
			re, im, w := YMM(), YMM(), YMM()
			VBROADCASTSD(Mem{Base: twiddles, Disp: 16*(r-1) + 8}, w)
			VMULPD(w, v.im, re)
			VMULPD(w, v.re, im)
			VBROADCASTSD(Mem{Base: twiddles, Disp: 16 * (r - 1)}, w)
			VFMSUB231PD(w, v.re, re)
			VFMADD231PD(w, v.im, im)
			v = cplx{re, im}
		}
		VMOVUPD(v.re, at(dst, out, out3, r, 0))
		VMOVUPD(v.im, at(dst, out, out3, r, 32))
	}
	body := func() {
		switch radix {
		case 2:
			a, b := load(0), load(1)
			store(0, a.plus(b))
			store(1, a.minus(b))
		case 3:
			a, b, c := load(0), load(1), load(2)
			sum, d := b.plus(c), b.minus(c)
			store(0, a.plus(sum))
			a.add(-0.5, sum)
			VMULPD(double4(math.Sqrt(3)/2), d.re, d.re)
			VMULPD(double4(math.Sqrt(3)/2), d.im, d.im)
			one, two := a.turned(d)
			store(1, one)
			store(2, two)
		case 4:
			a, b, c, d := load(0), load(1), load(2), load(3)
			ac, amc, bd, bmd := a.plus(c), a.minus(c), b.plus(d), b.minus(d)
			store(0, ac.plus(bd))
			store(2, ac.minus(bd))
			one, three := amc.turned(bmd)
			store(1, one)
			store(3, three)
		case 5:
			c1, c2 := math.Cos(2*math.Pi/5), math.Cos(4*math.Pi/5)
			s1, s2 := math.Sin(2*math.Pi/5), math.Sin(4*math.Pi/5)
			a, b, e := load(0), load(1), load(4)
			p1, m1 := b.plus(e), b.minus(e)
			c, d := load(2), load(3)
			p2, m2 := c.plus(d), c.minus(d)
			store(0, a.plus(p1).plus(p2))
			t1, t2 := a.copied(), a
			t1.add(c1, p1)
			t1.add(c2, p2)
			t2.add(c2, p1)
			t2.add(c1, p2)
			u := newCplx()
			VMULPD(double4(s1), m1.re, u.re)
			VMULPD(double4(s1), m1.im, u.im)
			u.add(s2, m2)
			one, four := t1.turned(u)
			store(1, one)
			store(4, four)
			u = newCplx()
			VMULPD(double4(s2), m1.re, u.re)
			VMULPD(double4(s2), m1.im, u.im)
			u.add(-s1, m2)
			two, three := t2.turned(u)
			store(2, two)
			store(3, three)
		}
		ADDQ(Imm(64), src)
		ADDQ(Imm(64), dst)
		DECQ(q)
	}
	MOVQ(stride, q)
	Label("first") // whose turns are 1
	body()
	JNZ(LabelRef("first"))
	turns = true
	Label("next")
	DECQ(rest)
	JZ(LabelRef("done"))
	ADDQ(Imm(uint64(16*(radix-1))), twiddles)
	for range radix - 1 {
		ADDQ(out, dst)
	}
	MOVQ(stride, q)
	Label("loop")
	body()
	JNZ(LabelRef("loop"))
	JMP(LabelRef("next"))
	Label("done")
	VZEROUPPER()
	RET()
}

// realPower generates the squares of a transform of real numbers, two terms at a time.
func realPower() {
	TEXT("realPowerAVX2", NOSPLIT, "func(dst, src, turns *float64, half int)")
	Pragma("noescape")
	Doc("realPowerAVX2 is RealPower but for the first and the last term, half at least 2.")
	dst, src, turns, half := get("dst"), get("src"), get("turns"), get("half")
	srcEnd, dstEnd, k := GP64(), GP64(), GP64()
	MOVQ(half, k)
	SHLQ(Imm(5), half)
	LEAQ(Mem{Base: dst, Index: half, Scale: 1}, dstEnd)
	LEAQ(Mem{Base: src, Index: half, Scale: 2}, srcEnd)
	SHRQ(Imm(1), k)
	Label("loop")
	ADDQ(Imm(64), src)
	ADDQ(Imm(32), dst)
	ADDQ(Imm(16), turns)
	SUBQ(Imm(64), srcEnd)
	SUBQ(Imm(32), dstEnd)
	a, b := newCplx(), newCplx()
	VMOVUPD(Mem{Base: src}, a.re)
	VMOVUPD(Mem{Base: src, Disp: 32}, a.im)
	VMOVUPD(Mem{Base: srcEnd}, b.re)
	VMOVUPD(Mem{Base: srcEnd, Disp: 32}, b.im)
	// Twice the even part and twice the odd one; a quarter of the squares makes up for it.
	er, ei, or, oi := YMM(), YMM(), YMM(), YMM()
	VADDPD(b.re, a.re, er)
	VSUBPD(b.im, a.im, ei)
	VADDPD(b.im, a.im, or)
	VSUBPD(a.re, b.re, oi)
	w, tr, ti := YMM(), YMM(), YMM()
	VBROADCASTSD(Mem{Base: turns, Disp: 8}, w)
	VMULPD(w, oi, tr)
	VMULPD(w, or, ti)
	VBROADCASTSD(Mem{Base: turns}, w)
	VFMSUB231PD(w, or, tr)
	VFMADD231PD(w, oi, ti)
	for i, op := range []func(...Op){VADDPD, VSUBPD} {
		re, im := YMM(), YMM()
		op(tr, er, re)
		op(ti, ei, im)
		VMULPD(re, re, re)
		VFMADD231PD(im, im, re)
		VMULPD(double4(0.25), re, re)
		VMOVUPD(re, Mem{Base: []reg.GPVirtual{dst, dstEnd}[i]})
	}
	DECQ(k)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// bands generates weighted sums of runs of numbers.
func bands() {
	TEXT("bandsAVX2", NOSPLIT, "func(dst *float32, stride int, src *float64, spans *int, weights *float64, count int) float64")
	Pragma("noescape")
	Doc("bandsAVX2 is Bands.Sum of count bands, not 0.")
	dst, stride, src := get("dst"), get("stride"), get("src")
	spans, weights, count := get("spans"), get("weights"), get("count")
	SHLQ(Imm(2), stride)
	most := YMM()
	VXORPD(most, most, most)
	from, n := GP64(), GP64()
	Label("band")
	MOVQ(Mem{Base: spans}, from)
	MOVQ(Mem{Base: spans, Disp: 8}, n)
	SHLQ(Imm(5), from)
	ADDQ(src, from)
	sum := YMM()
	VXORPD(sum, sum, sum)
	TESTQ(n, n)
	JZ(LabelRef("summed"))
	Label("term")
	w := YMM()
	VBROADCASTSD(Mem{Base: weights}, w)
	VFMADD231PD(Mem{Base: from}, w, sum)
	ADDQ(Imm(8), weights)
	ADDQ(Imm(32), from)
	DECQ(n)
	JNZ(LabelRef("term"))
	Label("summed")
	VMAXPD(most, sum, most) // of a NaN and a number, the first operand wins
	small := XMM()
	VCVTPD2PSY(sum, small)
	VMOVUPS(small, Mem{Base: dst})
	ADDQ(stride, dst)
	ADDQ(Imm(16), spans)
	DECQ(count)
	JNZ(LabelRef("band"))
	high := XMM()
	VEXTRACTF128(Imm(1), most, high)
	low := most.AsX()
	VMAXPD(high, low, low)
	VPERMILPD(Imm(1), low, high)
	VMAXSD(high, low, low)
	Store(low, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
