package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// attention generates the products of one row with a matrix that is not packed.
func attention() {
	dots()
	combine()
}

func get(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func dots() {
	TEXT("dotsAVX2", NOSPLIT, "func(dst, a, b *float32, rows, stride, n int)")
	Pragma("noescape")
	Doc("dotsAVX2 is Dots.")
	dst, a, b, rows, stride, n := get("dst"), get("a"), get("b"), get("rows"), get("stride"), get("n")
	SHLQ(Imm(2), stride)
	tail, whole := GP64(), GP64()
	MOVQ(n, tail)
	ANDQ(Imm(7), tail)
	MOVQ(n, whole)
	SHRQ(Imm(4), whole) // pairs of vectors
	mask := tailMask(tail)
	p, q, left := GP64(), GP64(), GP64()
	Label("row")
	MOVQ(a, p)
	MOVQ(b, q)
	acc, acc2, v := YMM(), YMM(), YMM()
	VXORPS(acc, acc, acc)
	VXORPS(acc2, acc2, acc2)
	MOVQ(whole, left)
	TESTQ(left, left)
	JZ(LabelRef("eight"))
	Label("pair")
	VMOVUPS(Mem{Base: p}, v)
	VFMADD231PS(Mem{Base: q}, v, acc)
	VMOVUPS(Mem{Base: p, Disp: 32}, v)
	VFMADD231PS(Mem{Base: q, Disp: 32}, v, acc2)
	ADDQ(Imm(64), p)
	ADDQ(Imm(64), q)
	DECQ(left)
	JNZ(LabelRef("pair"))
	Label("eight")
	TESTQ(U32(8), n)
	JZ(LabelRef("rest"))
	VMOVUPS(Mem{Base: p}, v)
	VFMADD231PS(Mem{Base: q}, v, acc)
	ADDQ(Imm(32), p)
	ADDQ(Imm(32), q)
	Label("rest")
	TESTQ(tail, tail)
	JZ(LabelRef("sum"))
	w := YMM()
	VMASKMOVPS(Mem{Base: p}, mask, v)
	VMASKMOVPS(Mem{Base: q}, mask, w)
	VFMADD231PS(w, v, acc2)
	Label("sum")
	VADDPS(acc2, acc, acc)
	VMOVSS(horizontal(acc, addps), Mem{Base: dst})
	ADDQ(Imm(4), dst)
	ADDQ(stride, b)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func combine() {
	TEXT("combineAVX2", NOSPLIT, "func(dst, a, b *float32, rows, stride, n int)")
	Pragma("noescape")
	Doc("combineAVX2 is Combine.")
	dst, a, b, rows, stride, n := get("dst"), get("a"), get("b"), get("rows"), get("stride"), get("n")
	SHLQ(Imm(2), stride)
	p, q, left := GP64(), GP64(), GP64()
	w := YMM()
	// columns sums width vectors of columns over all rows.
	columns := func(label string, width int, load func(i int, v vec), store func(i int, v vec)) {
		MOVQ(a, p)
		MOVQ(b, q)
		MOVQ(rows, left)
		var acc []vec
		for range width {
			v := YMM()
			VXORPS(v, v, v)
			acc = append(acc, v)
		}
		Label(label)
		VBROADCASTSS(Mem{Base: p}, w)
		for i := range width {
			v := YMM()
			load(i, v)
			VFMADD231PS(v, w, acc[i])
		}
		ADDQ(Imm(4), p)
		ADDQ(stride, q)
		DECQ(left)
		JNZ(LabelRef(label))
		for i := range width {
			store(i, acc[i])
		}
	}
	load := func(i int, v vec) { VMOVUPS(Mem{Base: q, Disp: i * 32}, v) }
	store := func(i int, v vec) {
		VADDPS(Mem{Base: dst, Disp: i * 32}, v, v)
		VMOVUPS(v, Mem{Base: dst, Disp: i * 32})
	}
	SUBQ(Imm(64), n)
	JL(LabelRef("to8"))
	Label("wide")
	columns("rows64", 8, load, store)
	ADDQ(U32(256), dst)
	ADDQ(U32(256), b)
	SUBQ(Imm(64), n)
	JGE(LabelRef("wide"))
	Label("to8")
	ADDQ(Imm(64), n)
	SUBQ(Imm(8), n)
	JL(LabelRef("tail"))
	Label("narrow")
	columns("rows8", 1, load, store)
	ADDQ(Imm(32), dst)
	ADDQ(Imm(32), b)
	SUBQ(Imm(8), n)
	JGE(LabelRef("narrow"))
	Label("tail")
	ADDQ(Imm(8), n)
	JZ(LabelRef("done"))
	mask := tailMask(n)
	columns("rowstail", 1,
		func(_ int, v vec) { VMASKMOVPS(Mem{Base: q}, mask, v) },
		func(_ int, v vec) {
			old := YMM()
			VMASKMOVPS(Mem{Base: dst}, mask, old)
			VADDPS(old, v, v)
			VMASKMOVPS(v, mask, Mem{Base: dst})
		})
	Label("done")
	VZEROUPPER()
	RET()
}
