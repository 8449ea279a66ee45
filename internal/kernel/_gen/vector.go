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

// vectorsOf allocates n vectors.
func vectorsOf(n int) []vec {
	v := make([]vec, n)
	for i := range v {
		v[i] = V()
	}
	return v
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
func eachMasked(
	n reg.GPVirtual, dst *reg.GPVirtual, srcs []reg.GPVirtual, body func(v []vec, mask Op) vec,
) {
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
