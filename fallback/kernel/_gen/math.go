package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

// constants already emitted, by their bits.
var constants = map[uint32]Mem{}

// c returns eight copies of a number in memory.
func c(f float64) Mem { return bits(math.Float32bits(float32(f))) }

func bits(b uint32) Mem {
	if m, ok := constants[b]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("f32_%08x", b), RODATA|NOPTR)
	for i := range 8 {
		DATA(i*4, U32(b))
	}
	constants[b] = m
	return m
}

// load puts a constant into a register.
func load(f float64) vec {
	v := YMM()
	VMOVUPS(c(f), v)
	return v
}

// poly computes a polynomial of x by Horner's rule; coefficients from the highest
// power down.
func poly(x vec, coeffs ...float64) vec {
	p := load(coeffs[0])
	for _, k := range coeffs[1:] {
		VFMADD213PS(c(k), x, p)
	}
	return p
}

// exp computes e^x for eight numbers in place of x, over the whole range of
// float32; NaN stays NaN. The polynomial is the one of expf in Moshier's Cephes;
// the power of two is applied in two halves so that neither overflows.
func exp(x vec) vec {
	high, low := load(89), load(-104)
	VMINPS(x, high, x) // of a NaN and a bound, the first operand wins
	VMAXPS(x, low, x)
	n := YMM()
	VMULPS(c(math.Log2E), x, n)
	VROUNDPS(Imm(0), n, n)
	VFNMADD231PS(c(0.693359375), n, x)
	VFNMADD231PS(c(-2.12194440e-4), n, x)
	p := poly(x, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	square := YMM()
	VMULPS(x, x, square)
	VFMADD213PS(x, square, p)
	VADDPS(c(1), p, p)
	half := YMM()
	VCVTPS2DQ(n, n)
	VPSRAD(Imm(1), n, half)
	VPSUBD(half, n, n)
	for _, e := range []vec{half, n} {
		VPADDD(bits(127), e, e)
		VPSLLD(Imm(23), e, e)
		VMULPS(e, p, p)
	}
	return p
}

// sigmoid computes 1/(1+e^-x).
func sigmoid(x vec) vec {
	VXORPS(bits(1<<31), x, x)
	e := exp(x)
	VADDPS(c(1), e, e)
	one := load(1)
	VDIVPS(e, one, one)
	return one
}

// tanh is the rational approximation of Eigen's ptanh_float.
func tanh(x vec) vec {
	high, low := load(7.90531110763549805), load(-7.90531110763549805)
	VMINPS(x, high, x)
	VMAXPS(x, low, x)
	z := YMM()
	VMULPS(x, x, z)
	p := poly(z, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
		1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)
	VMULPS(x, p, p)
	q := poly(z, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
	VDIVPS(q, p, p)
	return p
}

// erf uses two polynomials fitted for this purpose (minimax, by Lawson's
// iteration): erf(x)/x in x*x below 1, and -log(erfc(x)) above it.
func erf(x vec) vec {
	a, sign := YMM(), YMM()
	VANDPS(bits(1<<31), x, sign)
	VANDPS(bits(1<<31-1), x, a)
	limit := load(4)
	VMINPS(a, limit, a)
	big := poly(a, -0.0001855748996604234, 0.0029396156314760447, -0.021805351600050926, 0.10303743183612823,
		0.6382256150245667, 1.1270400285720825, 0.00035370892146602273)
	VXORPS(bits(1<<31), big, big)
	big = exp(big)
	one := load(1)
	VSUBPS(big, one, big)
	VORPS(sign, big, big)
	z := YMM()
	VMULPS(a, a, z)
	small := poly(z, 7.853857823647559e-05, -0.0008010192541405559, 0.005188327748328447, -0.026853810995817184,
		0.1128358542919159, -0.3761262595653534, 1.1283791065216064)
	VMULPS(x, small, small)
	VCMPPS(Imm(1), one, a, a) // a < 1
	VBLENDVPS(a, small, big, big)
	return big
}

// gelu computes x/2*(1+erf(x/sqrt 2)).
func gelu(x vec) vec {
	u := YMM()
	VMULPS(c(1/math.Sqrt2), x, u)
	u = erf(u)
	VMULPS(c(0.5), x, x)
	VFMADD213PS(x, x, u)
	return u
}

func geluTanh(x vec) vec {
	u, v := YMM(), YMM()
	VMULPS(x, x, u)
	VMULPS(c(math.Sqrt(2/math.Pi)*0.044715), u, u)
	VADDPS(c(math.Sqrt(2/math.Pi)), u, u)
	VMULPS(x, u, u)
	v = tanh(u)
	VMULPS(c(0.5), x, x)
	VFMADD213PS(x, x, v)
	return v
}

// iota is 0, 1, ... 7 in memory, once emitted.
var iota *Mem

// tailMask returns a mask of the first n lanes, n below 8.
func tailMask(n reg.GPVirtual) vec {
	if iota == nil {
		m := GLOBL("iota", RODATA|NOPTR)
		for i := range 8 {
			DATA(i*4, U32(i))
		}
		iota = &m
	}
	mask, x := YMM(), XMM()
	MOVQ(n, x)
	VPBROADCASTD(x, mask)
	VPCMPGTD(*iota, mask, mask)
	return mask
}

// each generates a loop over dst and sources, eight elements at a time, the last
// ones under a mask.
func each(n reg.GPVirtual, dst *reg.GPVirtual, srcs []reg.GPVirtual, body func(v []vec) vec) {
	SUBQ(Imm(8), n)
	JL(LabelRef("tail"))
	Label("loop")
	var v []vec
	for _, s := range srcs {
		x := YMM()
		VMOVUPS(Mem{Base: s}, x)
		v = append(v, x)
		ADDQ(Imm(32), s)
	}
	r := body(v)
	if dst != nil {
		VMOVUPS(r, Mem{Base: *dst})
		ADDQ(Imm(32), *dst)
	}
	SUBQ(Imm(8), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(8), n)
	JZ(LabelRef("done"))
}

// eachMasked is the part of each after the whole vectors.
func eachMasked(n reg.GPVirtual, dst *reg.GPVirtual, srcs []reg.GPVirtual, body func(v []vec, mask vec) vec) {
	mask := tailMask(n)
	var v []vec
	for _, s := range srcs {
		x := YMM()
		VMASKMOVPS(Mem{Base: s}, mask, x)
		v = append(v, x)
	}
	r := body(v, mask)
	if dst != nil {
		VMASKMOVPS(r, mask, Mem{Base: *dst})
	}
	Label("done")
}

// unary generates a function of single elements with scalar parameters.
func unary(name, doc string, params []string, body func(x vec, p []vec) vec) {
	sig := "func(dst, src *float32, n int"
	for _, p := range params {
		sig += ", " + p + " float32"
	}
	TEXT(name, NOSPLIT, sig+")")
	Pragma("noescape")
	Doc(doc)
	dst, src, n := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
	var p []vec
	for _, name := range params {
		p = append(p, broadcast(name))
	}
	each(n, &dst, []reg.GPVirtual{src}, func(v []vec) vec { return body(v[0], p) })
	eachMasked(n, &dst, []reg.GPVirtual{src}, func(v []vec, _ vec) vec { return body(v[0], p) })
	VZEROUPPER()
	RET()
}

func broadcast(param string) vec {
	v := YMM()
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
}

func binary(name, doc string, op func(b, a, dst vec)) {
	TEXT(name, NOSPLIT, "func(dst, a, b *float32, n int)")
	Pragma("noescape")
	Doc(doc)
	dst, n := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
	a, b := Load(Param("a"), GP64()).(reg.GPVirtual), Load(Param("b"), GP64()).(reg.GPVirtual)
	body := func(v []vec) vec {
		op(v[1], v[0], v[0])
		return v[0]
	}
	each(n, &dst, []reg.GPVirtual{a, b}, body)
	eachMasked(n, &dst, []reg.GPVirtual{a, b}, func(v []vec, _ vec) vec { return body(v) })
	VZEROUPPER()
	RET()
}

// horizontal folds eight lanes into the first.
func horizontal(v vec, op func(b, a, dst reg.VecVirtual)) reg.VecVirtual {
	high, low := XMM(), XMM()
	VEXTRACTF128(Imm(1), v, high)
	VMOVAPS(v.AsX(), low)
	op(high, low, low)
	VPERMILPS(Imm(0x4e), low, high)
	op(high, low, low)
	VPERMILPS(Imm(0xb1), low, high)
	op(high, low, low)
	return low
}

func addps(b, a, dst reg.VecVirtual) { VADDPS(b, a, dst) }
func maxps(b, a, dst reg.VecVirtual) { VMAXPS(b, a, dst) }

// fold generates a function of a row to one number. body adds a vector to acc
// and returns what belongs into dst, if there is one; dead lanes of the last
// vector are set to neutral first.
func fold(name, doc, sig string, params []string, hasDst bool, neutral uint32, op func(b, a, dst reg.VecVirtual), body func(x, acc vec, p []vec, mask *vec) vec) {
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(doc)
	src, n := Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
	var dst *reg.GPVirtual
	if hasDst {
		d := Load(Param("dst"), GP64()).(reg.GPVirtual)
		dst = &d
	}
	var p []vec
	for _, name := range params {
		p = append(p, broadcast(name))
	}
	acc, acc2 := YMM(), YMM()
	VMOVUPS(bits(neutral), acc)
	VMOVUPS(bits(neutral), acc2)
	// Two vectors at a time where there are as many.
	SUBQ(Imm(16), n)
	JL(LabelRef("one"))
	Label("two")
	x, y := YMM(), YMM()
	VMOVUPS(Mem{Base: src}, x)
	VMOVUPS(Mem{Base: src, Disp: 32}, y)
	ADDQ(Imm(64), src)
	x = body(x, acc, p, nil)
	if hasDst {
		VMOVUPS(x, Mem{Base: *dst})
	}
	y = body(y, acc2, p, nil)
	if hasDst {
		VMOVUPS(y, Mem{Base: *dst, Disp: 32})
		ADDQ(Imm(64), *dst)
	}
	SUBQ(Imm(16), n)
	JGE(LabelRef("two"))
	Label("one")
	ADDQ(Imm(16), n)
	each(n, dst, []reg.GPVirtual{src}, func(v []vec) vec { return body(v[0], acc, p, nil) })
	eachMasked(n, dst, []reg.GPVirtual{src}, func(v []vec, mask vec) vec { return body(v[0], acc, p, &mask) })
	op(acc2, acc, acc)
	r := horizontal(acc, op)
	Store(r, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func mathKernels() {
	one := func(f func(vec) vec) func(vec, []vec) vec { return func(x vec, _ []vec) vec { return f(x) } }
	unary("expAVX2", "expAVX2 is Exp.", nil, one(exp))
	unary("tanhAVX2", "tanhAVX2 is Tanh.", nil, one(tanh))
	unary("erfAVX2", "erfAVX2 is Erf.", nil, one(erf))
	unary("sigmoidAVX2", "sigmoidAVX2 is Sigmoid.", nil, one(sigmoid))
	unary("geluAVX2", "geluAVX2 is Gelu.", nil, one(gelu))
	unary("geluTanhAVX2", "geluTanhAVX2 is GeluTanh.", nil, one(geluTanh))
	unary("swishAVX2", "swishAVX2 is Swish.", []string{"alpha"}, func(x vec, p []vec) vec {
		u := YMM()
		VMULPS(p[0], x, u)
		u = sigmoid(u)
		VMULPS(x, u, u)
		return u
	})
	unary("affineAVX2", "affineAVX2 sets dst = src*scale + shift.", []string{"scale", "shift"}, func(x vec, p []vec) vec {
		VFMADD213PS(p[1], p[0], x)
		return x
	})
	unary("clipAVX2", "clipAVX2 is Clip.", []string{"low", "high"}, func(x vec, p []vec) vec {
		VMAXPS(x, p[0], x)
		VMINPS(x, p[1], x)
		return x
	})
	unary("shiftClipAVX2", "shiftClipAVX2 is ShiftClip.", []string{"shift", "low", "high"}, func(x vec, p []vec) vec {
		VADDPS(p[0], x, x)
		VMAXPS(x, p[1], x)
		VMINPS(x, p[2], x)
		return x
	})
	binary("addAVX2", "addAVX2 is Add of slices of one length.", func(b, a, d vec) { VADDPS(b, a, d) })
	binary("subAVX2", "subAVX2 is Sub of slices of one length.", func(b, a, d vec) { VSUBPS(b, a, d) })
	binary("mulAVX2", "mulAVX2 is Mul of slices of one length.", func(b, a, d vec) { VMULPS(b, a, d) })
	binary("divAVX2", "divAVX2 is Div of slices of one length.", func(b, a, d vec) { VDIVPS(b, a, d) })

	keep := func(x vec, mask *vec) vec {
		if mask != nil {
			VANDPS(*mask, x, x)
		}
		return x
	}
	fold("sumAVX2", "sumAVX2 adds a row up.", "func(src *float32, n int) float32", nil, false, 0, addps,
		func(x, acc vec, _ []vec, _ *vec) vec {
			VADDPS(x, acc, acc)
			return x
		})
	fold("squaresAVX2", "squaresAVX2 adds up the squares of src-mean.", "func(src *float32, n int, mean float32) float32", []string{"mean"}, false, 0, addps,
		func(x, acc vec, p []vec, mask *vec) vec {
			VSUBPS(p[0], x, x)
			keep(x, mask)
			VFMADD231PS(x, x, acc)
			return x
		})
	negInf := math.Float32bits(float32(math.Inf(-1)))
	fold("maxAVX2", "maxAVX2 is the largest element of a row; NaN are passed over.", "func(src *float32, n int) float32", nil, false, negInf, maxps,
		func(x, acc vec, _ []vec, mask *vec) vec {
			if mask != nil {
				low := YMM()
				VMOVUPS(bits(negInf), low)
				VBLENDVPS(*mask, x, low, x)
			}
			VMAXPS(acc, x, acc)
			return x
		})
	fold("expSumAVX2", "expSumAVX2 sets dst = e^(src-shift) and returns the sum.", "func(dst, src *float32, n int, shift float32) float32", []string{"shift"}, true, 0, addps,
		func(x, acc vec, p []vec, mask *vec) vec {
			VSUBPS(p[0], x, x)
			e := exp(x)
			keep(e, mask)
			VADDPS(e, acc, acc)
			return e
		})

	// dst = (src-mean)*inv*scale + bias
	TEXT("normaliseAVX2", NOSPLIT, "func(dst, src, scale, bias *float32, n int, mean, inv float32)")
	Pragma("noescape")
	Doc("normaliseAVX2 sets dst = (src-mean)*inv*scale + bias.")
	dst, src, scale, bias, n := get("dst"), get("src"), get("scale"), get("bias"), get("n")
	mean, inv := broadcast("mean"), broadcast("inv")
	body := func(v []vec) vec {
		VSUBPS(mean, v[0], v[0])
		VMULPS(inv, v[0], v[0])
		VFMADD213PS(v[2], v[1], v[0])
		return v[0]
	}
	each(n, &dst, []reg.GPVirtual{src, scale, bias}, body)
	eachMasked(n, &dst, []reg.GPVirtual{src, scale, bias}, func(v []vec, _ vec) vec { return body(v) })
	VZEROUPPER()
	RET()

	// dst += v*src
	TEXT("axpyAVX2", NOSPLIT, "func(dst, src *float32, n int, v float32)")
	Pragma("noescape")
	Doc("axpyAVX2 adds v times src to dst.")
	dst, src, n = get("dst"), get("src"), get("n")
	v := broadcast("v")
	in := GP64()
	MOVQ(dst, in)
	axpy := func(x []vec) vec {
		VFMADD231PS(x[1], v, x[0])
		return x[0]
	}
	each(n, &dst, []reg.GPVirtual{in, src}, axpy)
	eachMasked(n, &dst, []reg.GPVirtual{in, src}, func(x []vec, _ vec) vec { return axpy(x) })
	VZEROUPPER()
	RET()
}
