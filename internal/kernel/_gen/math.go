package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// poly computes a polynomial of x by Horner's rule; coefficients from the highest power down.
func poly(x vec, coeffs ...float64) vec {
	p := load(coeffs[0])
	for _, k := range coeffs[1:] {
		fma213.c(k, x, p)
	}
	return p
}

// exp computes e^x for a vector in place of x, over the whole range of float32; NaN stays NaN. The
// polynomial is the one of expf in Moshier's Cephes; the power of two is applied in two halves so
// that neither overflows, or by the instruction of AVX-512 for it.
func exp(x vec) vec {
	high, low := load(89), load(-104)
	VMINPS(x, high, x) // of a NaN and a bound, the first operand wins
	VMAXPS(x, low, x)
	n := V()
	mul.c(math.Log2E, x, n)
	if wide() {
		VRNDSCALEPS(Imm(0), n, n)
	} else {
		VROUNDPS(Imm(0), n, n)
	}
	fnma231.c(0.693359375, n, x)
	fnma231.c(-2.12194440e-4, n, x)
	p := poly(x, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	square := V()
	VMULPS(x, x, square)
	VFMADD213PS(x, square, p)
	add.c(1, p, p)
	if wide() {
		VSCALEFPS(n, p, p)
		return p
	}
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
	xor.bits(1<<31, x, x)
	e := exp(x)
	add.c(1, e, e)
	one := load(1)
	VDIVPS(e, one, one)
	return one
}

// tanh is the rational approximation of Eigen's ptanh_float.
func tanh(x vec) vec {
	high, low := load(7.90531110763549805), load(-7.90531110763549805)
	VMINPS(x, high, x)
	VMAXPS(x, low, x)
	z := V()
	VMULPS(x, x, z)
	p := poly(z, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
		1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)
	VMULPS(x, p, p)
	q := poly(z, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
	VDIVPS(q, p, p)
	return p
}

// erf uses two polynomials fitted for this purpose (minimax, by Lawson's iteration): erf(x)/x in
// x*x below 1, and -log(erfc(x)) above it.
func erf(x vec) vec {
	a, sign := V(), V()
	and.bits(1<<31, x, sign)
	and.bits(1<<31-1, x, a)
	limit := load(4)
	VMINPS(a, limit, a)
	big := poly(a, -0.0001855748996604234, 0.0029396156314760447, -0.021805351600050926, 0.10303743183612823,
		0.6382256150245667, 1.1270400285720825, 0.00035370892146602273)
	xor.bits(1<<31, big, big)
	big = exp(big)
	one := load(1)
	VSUBPS(big, one, big)
	VORPS(sign, big, big)
	z := V()
	VMULPS(a, a, z)
	small := poly(z, 7.853857823647559e-05, -0.0008010192541405559, 0.005188327748328447, -0.026853810995817184,
		0.1128358542919159, -0.3761262595653534, 1.1283791065216064)
	VMULPS(x, small, small)
	if wide() {
		below := K()
		VCMPPS(Imm(1), one, a, below) // a < 1
		VMOVAPS(small, below, big)
		return big
	}
	VCMPPS(Imm(1), one, a, a)
	VBLENDVPS(a, small, big, big)
	return big
}

// gelu computes x/2*(1+erf(x/sqrt 2)).
func gelu(x vec) vec {
	u := V()
	mul.c(1/math.Sqrt2, x, u)
	u = erf(u)
	mul.c(0.5, x, x)
	VFMADD213PS(x, x, u)
	return u
}

func geluTanh(x vec) vec {
	u, v := V(), V()
	VMULPS(x, x, u)
	mul.c(math.Sqrt(2/math.Pi)*0.044715, u, u)
	add.c(math.Sqrt(2/math.Pi), u, u)
	VMULPS(x, u, u)
	v = tanh(u)
	mul.c(0.5, x, x)
	VFMADD213PS(x, x, v)
	return v
}

// unary generates a function of single elements with scalar parameters.
func unary(name, doc string, params []string, body func(x vec, p []vec) vec) {
	sig := "func(dst, src *float32, n int"
	for _, p := range params {
		sig += ", " + p + " float32"
	}
	name = named(name)
	TEXT(name, NOSPLIT, sig+")")
	Pragma("noescape")
	Doc(name + " " + doc)
	dst, src, n := get("dst"), get("src"), get("n")
	var p []vec
	for _, name := range params {
		p = append(p, broadcast(name))
	}
	each(n, &dst, []reg.GPVirtual{src}, func(v []vec) vec { return body(v[0], p) })
	eachMasked(n, &dst, []reg.GPVirtual{src}, func(v []vec, _ Op) vec { return body(v[0], p) })
	VZEROUPPER()
	RET()
}

func broadcast(param string) vec {
	v := V()
	broadcastTo(param, v)
	return v
}

func broadcastTo(param string, v vec) {
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
}

func binary(name, doc string, op func(b, a, dst vec)) {
	name = named(name)
	TEXT(name, NOSPLIT, "func(dst, a, b *float32, n int)")
	Pragma("noescape")
	Doc(name + " " + doc)
	dst, n := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
	a, b := Load(Param("a"), GP64()).(reg.GPVirtual), Load(Param("b"), GP64()).(reg.GPVirtual)
	body := func(v []vec) vec {
		op(v[1], v[0], v[0])
		return v[0]
	}
	each(n, &dst, []reg.GPVirtual{a, b}, body)
	eachMasked(n, &dst, []reg.GPVirtual{a, b}, func(v []vec, _ Op) vec { return body(v) })
	VZEROUPPER()
	RET()
}

// fold generates a function of a row to one number. body adds a vector to acc and returns what
// belongs into dst, if there is one; dead lanes of the last vector are set to neutral first.
func fold(name, doc, sig string, params []string, hasDst bool, neutral uint32,
	op func(b, a, dst reg.VecVirtual), body func(x, acc vec, p []vec, mask Op) vec) {
	name = named(name)
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(name + " " + doc)
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
	acc, acc2 := loadBits(neutral), loadBits(neutral)
	// Two vectors at a time where there are as many.
	SUBQ(U32(2*lanes), n)
	JL(LabelRef("one"))
	Label("two")
	x, y := V(), V()
	VMOVUPS(Mem{Base: src}, x)
	VMOVUPS(Mem{Base: src, Disp: 4 * lanes}, y)
	ADDQ(U32(8*lanes), src)
	x = body(x, acc, p, nil)
	if hasDst {
		VMOVUPS(x, Mem{Base: *dst})
	}
	y = body(y, acc2, p, nil)
	if hasDst {
		VMOVUPS(y, Mem{Base: *dst, Disp: 4 * lanes})
		ADDQ(U32(8*lanes), *dst)
	}
	SUBQ(U32(2*lanes), n)
	JGE(LabelRef("two"))
	Label("one")
	ADDQ(U32(2*lanes), n)
	each(n, dst, []reg.GPVirtual{src}, func(v []vec) vec { return body(v[0], acc, p, nil) })
	eachMasked(n, dst, []reg.GPVirtual{src}, func(v []vec, mask Op) vec { return body(v[0], acc, p, mask) })
	op(acc2, acc, acc)
	r := horizontal(acc, op)
	Store(r, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func mathKernels() {
	one := func(f func(vec) vec) func(vec, []vec) vec { return func(x vec, _ []vec) vec { return f(x) } }
	unary("exp", "is Exp.", nil, one(exp))
	unary("tanh", "is Tanh.", nil, one(tanh))
	unary("erf", "is Erf.", nil, one(erf))
	unary("sigmoid", "is Sigmoid.", nil, one(sigmoid))
	unary("gelu", "is Gelu.", nil, one(gelu))
	unary("geluTanh", "is GeluTanh.", nil, one(geluTanh))
	unary("swish", "is Swish.", []string{"alpha"}, func(x vec, p []vec) vec {
		u := V()
		VMULPS(p[0], x, u)
		u = sigmoid(u)
		VMULPS(x, u, u)
		return u
	})
	unary("affine", "sets dst = src*scale + shift.", []string{"scale", "shift"}, func(x vec, p []vec) vec {
		VFMADD213PS(p[1], p[0], x)
		return x
	})
	unary("clip", "is Clip.", []string{"low", "high"}, func(x vec, p []vec) vec {
		VMAXPS(x, p[0], x)
		VMINPS(x, p[1], x)
		return x
	})
	unary("shiftClip", "is ShiftClip.", []string{"shift", "low", "high"}, func(x vec, p []vec) vec {
		VADDPS(p[0], x, x)
		VMAXPS(x, p[1], x)
		VMINPS(x, p[2], x)
		return x
	})
	binary("add", "is Add of slices of one length.", func(b, a, d vec) { VADDPS(b, a, d) })
	binary("sub", "is Sub of slices of one length.", func(b, a, d vec) { VSUBPS(b, a, d) })
	binary("mul", "is Mul of slices of one length.", func(b, a, d vec) { VMULPS(b, a, d) })
	binary("div", "is Div of slices of one length.", func(b, a, d vec) { VDIVPS(b, a, d) })

	fold("sum", "adds a row up.", "func(src *float32, n int) float32", nil, false, 0, addps,
		func(x, acc vec, _ []vec, _ Op) vec {
			VADDPS(x, acc, acc)
			return x
		})
	fold("squares", "adds up the squares of src-mean.", "func(src *float32, n int, mean float32) float32", []string{"mean"}, false, 0, addps,
		func(x, acc vec, p []vec, mask Op) vec {
			VSUBPS(p[0], x, x)
			others(x, mask, 0)
			VFMADD231PS(x, x, acc)
			return x
		})
	negInf := math.Float32bits(float32(math.Inf(-1)))
	fold("max", "is the largest element of a row; NaN are passed over.", "func(src *float32, n int) float32", nil, false, negInf, maxps,
		func(x, acc vec, _ []vec, mask Op) vec {
			others(x, mask, negInf)
			VMAXPS(acc, x, acc)
			return x
		})
	fold("expSum", "sets dst = e^(src-shift) and returns the sum.", "func(dst, src *float32, n int, shift float32) float32", []string{"shift"}, true, 0, addps,
		func(x, acc vec, p []vec, mask Op) vec {
			VSUBPS(p[0], x, x)
			e := exp(x)
			others(e, mask, 0)
			VADDPS(e, acc, acc)
			return e
		})

	// dst = (src-mean)*inv*scale + bias
	TEXT(named("normalise"), NOSPLIT, "func(dst, src, scale, bias *float32, n int, mean, inv float32)")
	Pragma("noescape")
	Doc(named("normalise") + " sets dst = (src-mean)*inv*scale + bias.")
	dst, src, scale, bias, n := get("dst"), get("src"), get("scale"), get("bias"), get("n")
	mean, inv := broadcast("mean"), broadcast("inv")
	body := func(v []vec) vec {
		VSUBPS(mean, v[0], v[0])
		VMULPS(inv, v[0], v[0])
		VFMADD213PS(v[2], v[1], v[0])
		return v[0]
	}
	each(n, &dst, []reg.GPVirtual{src, scale, bias}, body)
	eachMasked(n, &dst, []reg.GPVirtual{src, scale, bias}, func(v []vec, _ Op) vec { return body(v) })
	VZEROUPPER()
	RET()

	// dst += v*src
	TEXT(named("axpy"), NOSPLIT, "func(dst, src *float32, n int, v float32)")
	Pragma("noescape")
	Doc(named("axpy") + " adds v times src to dst.")
	dst, src, n = get("dst"), get("src"), get("n")
	v := broadcast("v")
	in := GP64()
	MOVQ(dst, in)
	axpy := func(x []vec) vec {
		VFMADD231PS(x[1], v, x[0])
		return x[0]
	}
	each(n, &dst, []reg.GPVirtual{in, src}, axpy)
	eachMasked(n, &dst, []reg.GPVirtual{in, src}, func(x []vec, _ Op) vec { return axpy(x) })
	VZEROUPPER()
	RET()
}
