package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stored says how the right operand of a float product is stored.
type stored int

const (
	asFloats stored = 0
	asHalves stored = 1 // float16
	asPairs  stored = 2 // bfloat16 in pairs along k: 32 bits hold b[2i][j] and above it b[2i+1][j]
	asDots   stored = 3 // such pairs, and those of the left operand too, for VDPBF16PS
)

// name begins the names of kernels, element is b's type and size that of one in bytes.
func (s stored) name() string    { return [...]string{"gemm", "gemmHalf", "gemmPairs", "gemmDots"}[s] }
func (s stored) element() string { return [...]string{"float32", "uint16", "uint32", "uint32"}[s] }
func (s stored) size() int       { return [...]int{4, 2, 4, 4}[s] }
func (s stored) left() int       { return [...]int{4, 4, 8, 4}[s] } // bytes of a for an element of b

// gemm generates the micro-kernels: rows 1 to 6 of a, by a panel of 16 columns of b, in float32, in
// float16 or in bfloat16.
func gemm() {
	for rows := 1; rows <= 6; rows++ {
		gemmRows(rows, asFloats)
		gemmRows(rows, asHalves)
		gemmRows(rows, asPairs)
	}
	halves()
	roundBF16("roundBF16AVX2", "rounds n floats, a multiple of 8 and not 0, to bfloat16 and widens them again: see roundBF16.", false)
	roundBF16("packBF16AVX2", "rounds n floats, a multiple of 16 and not 0, to bfloat16: see roundBF16.", true)
	roundTilesBF16()
}

// upper are the bits of a float32 that bfloat16 has.
const upper = 0xffff0000

// roundBF16 generates the rounding to bfloat16 to nearest, ties to even: a number's bits plus 0x7fff
// plus the last bit that stays. What is below 2^-126 becomes 0, and a NaN stays one.
func roundBF16(name, doc string, pack bool) {
	to := "float32"
	if pack {
		to = "uint16"
	}
	TEXT(name, NOSPLIT, "func(dst *"+to+", src *float32, n int)")
	Pragma("noescape")
	Doc(name + " " + doc)
	dst, src, n := get("dst"), get("src"), get("n")
	rounded := rounding(src)
	Label("loop")
	if pack {
		VMOVUPS(packed(rounded, 0), Mem{Base: dst})
		ADDQ(Imm(64), src)
		ADDQ(Imm(32), dst)
		SUBQ(Imm(16), n)
	} else {
		x := rounded(0)
		VPSRLD(Imm(16), x, x)
		VPSLLD(Imm(16), x, x)
		VMOVUPS(x, Mem{Base: dst})
		ADDQ(Imm(32), src)
		ADDQ(Imm(32), dst)
		SUBQ(Imm(8), n)
	}
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// roundTilesBF16 generates the rounding of a row of a left operand for AMX, whose next 32 numbers lie in
// the next tile of 16 rows.
func roundTilesBF16() {
	TEXT("packTilesBF16AVX2", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	Doc("packTilesBF16AVX2 rounds n floats, a multiple of 32 and not 0, to bfloat16: 32 to the beginning of each 1024 bytes.")
	dst, src, n := get("dst"), get("src"), get("n")
	rounded := rounding(src)
	Label("loop")
	for i := range 2 {
		VMOVUPS(packed(rounded, 64*i), Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(U32(128), src)
	ADDQ(U32(1024), dst)
	SUBQ(Imm(32), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// packed returns the upper halves of sixteen numbers, at bytes from src on.
func packed(rounded func(at int) vec, at int) vec {
	x, y := rounded(at), rounded(at+32)
	VPSRLD(Imm(16), x, x)
	VPSRLD(Imm(16), y, y)
	VPACKUSDW(y, x, x)
	VPERMQ(Imm(0xd8), x, x)
	return x
}

// rounding loads constants and returns what generates the rounding of eight numbers at src, of whose
// bits the upper half counts.
func rounding(src reg.Register) func(at int) vec {
	one, half, quiet := loadBits(1), loadBits(0x7fff), loadBits(0x00400000)
	exponent, sign := loadBits(0x7f800000), loadBits(0x80000000)
	zero := YMM()
	VPXOR(zero, zero, zero)
	return func(at int) vec {
		v, t, r, m := YMM(), YMM(), YMM(), YMM()
		VMOVUPS(Mem{Base: src, Disp: at}, v)
		VPSRLD(Imm(16), v, t)
		VPAND(one, t, t)
		VPADDD(half, t, t)
		VPADDD(t, v, r)
		VPOR(quiet, v, t)
		VCMPPS(Imm(3), v, v, m) // unordered
		VBLENDVPS(m, t, r, r)
		VPAND(exponent, v, m)
		VPCMPEQD(zero, m, m)
		VPAND(sign, v, t)
		VBLENDVPS(m, t, r, r)
		return r
	}
}

// halves generates conversions of whole vectors of eight.
func halves() {
	for _, f := range []struct {
		name, sig string
		in, out   int
		convert   func(dst, src reg.GPVirtual)
	}{
		{"toHalfAVX2", "func(dst *uint16, src *float32, n int)", 32, 16, func(dst, src reg.GPVirtual) {
			v, h := YMM(), XMM()
			VMOVUPS(Mem{Base: src}, v)
			VCVTPS2PH(Imm(0), v, h)
			VMOVUPS(h, Mem{Base: dst})
		}},
		{"fromHalfAVX2", "func(dst *float32, src *uint16, n int)", 16, 32, func(dst, src reg.GPVirtual) {
			v := YMM()
			VCVTPH2PS(Mem{Base: src}, v)
			VMOVUPS(v, Mem{Base: dst})
		}},
	} {
		TEXT(f.name, NOSPLIT, f.sig)
		Pragma("noescape")
		Doc(f.name + " converts n numbers, a multiple of 8 and not 0.")
		dst, src, n := get("dst"), get("src"), get("n")
		Label("loop")
		f.convert(dst, src)
		ADDQ(Imm(uint64(f.in)), src)
		ADDQ(Imm(uint64(f.out)), dst)
		SUBQ(Imm(8), n)
		JG(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
}

// prefetch is how far ahead of its use, in bytes, b is asked for: through memory that packed
// weights take when each is used for few rows.
const prefetch = 512

// gemmRows generates the kernel of a tile; k counts elements of b.
func gemmRows(rows int, kind stored) {
	name := fmt.Sprintf("%s%dx16", kind.name(), rows)
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a *float32, lda int, b *"+kind.element()+", k int, flags int, e *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows of 16 columns: see gemmTile.", name, rows))
	size := kind.size()
	c, ldc := Load(Param("c"), GP64()), Load(Param("ldc"), GP64())
	a, lda := Load(Param("a"), GP64()), Load(Param("lda"), GP64())
	b, k := Load(Param("b"), GP64()), Load(Param("k"), GP64())
	SHLQ(Imm(2), ldc)
	SHLQ(Imm(2), lda)
	// Rows 0-2 are a, a+lda, a+2*lda; rows 3-5 start at a3.
	var a3 reg.GPVirtual
	if rows > 3 {
		a3 = GP64()
		LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, a3)
		ADDQ(a, a3)
	}
	rowOf := func(r, disp int) Mem {
		base := a
		if r >= 3 {
			base, r = a3, r-3
		}
		m := Mem{Base: base, Disp: disp}
		if r > 0 {
			m.Index, m.Scale = lda, uint8(r)
		}
		return m
	}
	// Few rows need several sums for each element, or they would wait for one another's latency.
	sets := 1
	switch rows {
	case 1:
		sets = 4
	case 2, 3:
		sets = 2
	}
	acc := make([][]reg.VecVirtual, sets)
	for s := range acc {
		acc[s] = make([]reg.VecVirtual, rows*2)
		for i := range acc[s] {
			acc[s][i] = YMM()
			VXORPS(acc[s][i], acc[s][i], acc[s][i])
		}
	}
	b0, b1, v := YMM(), YMM(), YMM()
	multiply := func(s, disp int) {
		for r := range rows {
			VBROADCASTSS(rowOf(r, disp), v)
			VFMADD231PS(v, b0, acc[s][2*r])
			VFMADD231PS(v, b1, acc[s][2*r+1])
		}
	}
	unroll, above := 4, vec(nil)
	if kind == asPairs {
		unroll, above = 2, loadBits(upper)
	}
	step := func(s, i int) {
		low, high := Mem{Base: b, Disp: i * 16 * size}, Mem{Base: b, Disp: i*16*size + 8*size}
		switch kind {
		case asHalves:
			VCVTPH2PS(low, b0)
			VCVTPH2PS(high, b1)
		case asPairs: // bfloat16 is the upper half of a float32
			VMOVUPS(low, b0)
			VMOVUPS(high, b1)
			VPSLLD(Imm(16), b0, b0)
			VPSLLD(Imm(16), b1, b1)
			multiply(2*s%sets, i*8)
			VPAND(low, above, b0)
			VPAND(high, above, b1)
			multiply((2*s+1)%sets, i*8+4)
			return
		default:
			VMOVUPS(low, b0)
			VMOVUPS(high, b1)
		}
		multiply(s%sets, i*4)
	}
	advance := func(n int) {
		ADDQ(U32(n*16*size), b)
		ADDQ(U32(n*kind.left()), a)
		if rows > 3 {
			ADDQ(U32(n*kind.left()), a3)
		}
	}
	SUBQ(Imm(uint64(unroll)), k)
	JL(LabelRef("tail"))
	Label("loop")
	for i := range unroll {
		if at := i * 16 * size; at%64 == 0 {
			PREFETCHT0(Mem{Base: b, Disp: prefetch + at})
		}
		step(i, i)
	}
	advance(unroll)
	SUBQ(Imm(uint64(unroll)), k)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(unroll)), k)
	JZ(LabelRef("sum"))
	Label("tailloop")
	step(0, 0)
	advance(1)
	DECQ(k)
	JNZ(LabelRef("tailloop"))
	Label("sum")
	for s := 1; s < sets; s++ {
		for i := range acc[0] {
			VADDPS(acc[s][i], acc[0][i], acc[0][i])
		}
	}
	epilogue(rows, acc[0], c, ldc)
	Label("store")
	for r := range rows {
		VMOVUPS(acc[0][2*r], Mem{Base: c})
		VMOVUPS(acc[0][2*r+1], Mem{Base: c, Disp: 32})
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// Offsets of the fields of tileEpilogue, and the flags that ask for them.
const (
	fieldRowBias, fieldColBias, fieldResidual, fieldLow, fieldHigh = 0, 8, 16, 24, 28
	flagAdd, flagRowBias, flagColBias, flagBounds, flagResidual    = 1, 2, 4, 8, 16
)

// epilogue does to the sums what flags ask for, before they are stored.
func epilogue(rows int, acc []reg.VecVirtual, c, ldc reg.Register) {
	flags := Load(Param("flags"), GP64())
	TESTQ(flags, flags)
	JZ(LabelRef("store"))
	e := Load(Param("e"), GP64())
	x, y := YMM(), YMM()
	when := func(flag int, label string, body func()) {
		TESTQ(U32(flag), flags)
		JZ(LabelRef(label))
		body()
		Label(label)
	}
	// addRows adds rows that lie as those of c do.
	addRows := func(from reg.Register) {
		for r := range rows {
			VADDPS(Mem{Base: from}, acc[2*r], acc[2*r])
			VADDPS(Mem{Base: from, Disp: 32}, acc[2*r+1], acc[2*r+1])
			if r < rows-1 {
				ADDQ(ldc, from)
			}
		}
	}
	p := GP64()
	when(flagAdd, "noadd", func() {
		MOVQ(c, p)
		addRows(p)
	})
	when(flagColBias, "nocolbias", func() {
		MOVQ(Mem{Base: e, Disp: fieldColBias}, p)
		VMOVUPS(Mem{Base: p}, x)
		VMOVUPS(Mem{Base: p, Disp: 32}, y)
		for r := range rows {
			VADDPS(x, acc[2*r], acc[2*r])
			VADDPS(y, acc[2*r+1], acc[2*r+1])
		}
	})
	when(flagRowBias, "norowbias", func() {
		MOVQ(Mem{Base: e, Disp: fieldRowBias}, p)
		for r := range rows {
			VBROADCASTSS(Mem{Base: p, Disp: 4 * r}, x)
			VADDPS(x, acc[2*r], acc[2*r])
			VADDPS(x, acc[2*r+1], acc[2*r+1])
		}
	})
	when(flagBounds, "nobounds", func() {
		VBROADCASTSS(Mem{Base: e, Disp: fieldLow}, x)
		VBROADCASTSS(Mem{Base: e, Disp: fieldHigh}, y)
		for _, v := range acc {
			VMAXPS(v, x, v)
			VMINPS(v, y, v)
		}
	})
	when(flagResidual, "noresidual", func() {
		MOVQ(Mem{Base: e, Disp: fieldResidual}, p)
		addRows(p)
	})
}
