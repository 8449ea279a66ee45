package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

// lanes is how many numbers a vector holds: 8 for AVX2, 16 for AVX-512.
var lanes = 8

func wide() bool { return lanes == 16 }

// V allocates a vector.
func V() vec {
	if wide() {
		return ZMM()
	}
	return YMM()
}

// named returns the name of a function for the instructions in use.
func named(base string) string {
	if wide() {
		return base + "AVX512"
	}
	return base + "AVX2"
}

// instruction is one that takes a constant for its first operand: AVX2 reads eight copies, AVX-512
// repeats one.
type instruction struct{ plain, repeating func(...Op) }

var (
	add     = instruction{VADDPS, VADDPS_BCST}
	mul     = instruction{VMULPS, VMULPS_BCST}
	and     = instruction{VANDPS, VANDPS_BCST}
	xor     = instruction{VXORPS, VXORPS_BCST}
	fma213  = instruction{VFMADD213PS, VFMADD213PS_BCST}
	fnma231 = instruction{VFNMADD231PS, VFNMADD231PS_BCST}
)

func (i instruction) bits(b uint32, rest ...Op) {
	f := i.plain
	if wide() {
		f = i.repeating
	}
	f(append([]Op{bits(b)}, rest...)...)
}

func (i instruction) c(f float64, rest ...Op) { i.bits(math.Float32bits(float32(f)), rest...) }

// tail returns a mask of the first n lanes, n below lanes, as loadMasked, storeMasked and others
// take it.
func tail(n reg.GPVirtual) Op {
	if wide() {
		return firstLanes(n)
	}
	return tailMask(n)
}

// firstLanes returns an opmask of the first n lanes, n below 32.
func firstLanes(n reg.GPVirtual) reg.OpmaskVirtual {
	ones, k := GP32(), K()
	MOVL(I32(-1), ones)
	BZHIL(n.As32(), ones, ones)
	KMOVD(ones, k)
	return k
}

func loadMasked(m Mem, mask, dst Op) {
	if wide() {
		VMOVUPS_Z(m, mask, dst)
	} else {
		VMASKMOVPS(m, mask, dst)
	}
}

func storeMasked(src, mask Op, m Mem) {
	if wide() {
		VMOVUPS(src, mask, m)
	} else {
		VMASKMOVPS(src, mask, m)
	}
}

// others sets the lanes of x outside mask to a constant. A nil mask is all lanes.
func others(x vec, mask Op, b uint32) {
	switch {
	case mask == nil:
	case wide():
		outside := K()
		KNOTW(mask, outside)
		VBROADCASTSS(bits(b), outside, x)
	default:
		VBLENDVPS(mask, x, loadBits(b), x)
	}
}

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
func load(f float64) vec { return loadBits(math.Float32bits(float32(f))) }

func loadBits(b uint32) vec {
	v := V()
	if wide() {
		VBROADCASTSS(bits(b), v)
	} else {
		VMOVUPS(bits(b), v)
	}
	return v
}

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

// each generates a loop over dst and sources, a vector at a time, the last ones under a mask.
func each(n reg.GPVirtual, dst *reg.GPVirtual, srcs []reg.GPVirtual, body func(v []vec) vec) {
	SUBQ(Imm(uint64(lanes)), n)
	JL(LabelRef("tail"))
	Label("loop")
	var v []vec
	for _, s := range srcs {
		x := V()
		VMOVUPS(Mem{Base: s}, x)
		v = append(v, x)
		ADDQ(Imm(uint64(4*lanes)), s)
	}
	r := body(v)
	if dst != nil {
		VMOVUPS(r, Mem{Base: *dst})
		ADDQ(Imm(uint64(4*lanes)), *dst)
	}
	SUBQ(Imm(uint64(lanes)), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(lanes)), n)
	JZ(LabelRef("done"))
}

// eachMasked is the part of each after the whole vectors.
func eachMasked(n reg.GPVirtual, dst *reg.GPVirtual, srcs []reg.GPVirtual, body func(v []vec, mask Op) vec) {
	mask := tail(n)
	var v []vec
	for _, s := range srcs {
		x := V()
		loadMasked(Mem{Base: s}, mask, x)
		v = append(v, x)
	}
	r := body(v, mask)
	if dst != nil {
		storeMasked(r, mask, Mem{Base: *dst})
	}
	Label("done")
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
	dst, src, n := Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("src"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual)
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
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
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

// horizontal folds all lanes into the first.
func horizontal(v vec, op func(b, a, dst reg.VecVirtual)) reg.VecVirtual {
	if wide() {
		high, low := YMM(), YMM()
		VEXTRACTF64X4(Imm(1), v, high)
		VMOVAPS(v.AsY(), low)
		op(high, low, low)
		v = low
	}
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

// fold generates a function of a row to one number. body adds a vector to acc and returns what
// belongs into dst, if there is one; dead lanes of the last vector are set to neutral first.
func fold(name, doc, sig string, params []string, hasDst bool, neutral uint32, op func(b, a, dst reg.VecVirtual), body func(x, acc vec, p []vec, mask Op) vec) {
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
