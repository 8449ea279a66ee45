package main

import (
	"fmt"

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
	TEXT(named("dots"), NOSPLIT, "func(dst, a, b *float32, rows, stride, n int)")
	Pragma("noescape")
	Doc(named("dots") + " is Dots.")
	dst, a, b, rows, stride, n := get("dst"), get("a"), get("b"), get("rows"), get("stride"), get("n")
	SHLQ(Imm(2), stride)
	last, whole := GP64(), GP64()
	MOVQ(n, last)
	ANDQ(Imm(uint64(lanes-1)), last)
	MOVQ(n, whole)
	SHRQ(Imm(uint64(3+lanes/8)), whole) // pairs of vectors: 16 or 32
	mask := tail(last)
	p, q, left := GP64(), GP64(), GP64()
	Label("row")
	MOVQ(a, p)
	MOVQ(b, q)
	acc, acc2, v := V(), V(), V()
	VXORPS(acc, acc, acc)
	VXORPS(acc2, acc2, acc2)
	MOVQ(whole, left)
	TESTQ(left, left)
	JZ(LabelRef("one"))
	Label("pair")
	VMOVUPS(Mem{Base: p}, v)
	VFMADD231PS(Mem{Base: q}, v, acc)
	VMOVUPS(Mem{Base: p, Disp: 4 * lanes}, v)
	VFMADD231PS(Mem{Base: q, Disp: 4 * lanes}, v, acc2)
	ADDQ(U32(8*lanes), p)
	ADDQ(U32(8*lanes), q)
	DECQ(left)
	JNZ(LabelRef("pair"))
	Label("one")
	TESTQ(U32(lanes), n)
	JZ(LabelRef("rest"))
	VMOVUPS(Mem{Base: p}, v)
	VFMADD231PS(Mem{Base: q}, v, acc)
	ADDQ(U32(4*lanes), p)
	ADDQ(U32(4*lanes), q)
	Label("rest")
	TESTQ(last, last)
	JZ(LabelRef("sum"))
	w := V()
	loadMasked(Mem{Base: p}, mask, v)
	loadMasked(Mem{Base: q}, mask, w)
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
	TEXT(named("combine"), NOSPLIT, "func(dst, a, b *float32, rows, stride, n int)")
	Pragma("noescape")
	Doc(named("combine") + " is Combine.")
	dst, a, b, rows, stride, n := get("dst"), get("a"), get("b"), get("rows"), get("stride"), get("n")
	SHLQ(Imm(2), stride)
	p, q, left := GP64(), GP64(), GP64()
	w := V()
	// columns sums width vectors of columns over all rows.
	columns := func(label string, width int, load func(i int, v vec), store func(i int, v vec)) {
		MOVQ(a, p)
		MOVQ(b, q)
		MOVQ(rows, left)
		var acc []vec
		for range width {
			v := V()
			VXORPS(v, v, v)
			acc = append(acc, v)
		}
		Label(label)
		VBROADCASTSS(Mem{Base: p}, w)
		for i := range width {
			v := V()
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
	load := func(i int, v vec) { VMOVUPS(Mem{Base: q, Disp: i * 4 * lanes}, v) }
	store := func(i int, v vec) {
		VADDPS(Mem{Base: dst, Disp: i * 4 * lanes}, v, v)
		VMOVUPS(v, Mem{Base: dst, Disp: i * 4 * lanes})
	}
	// Heads are often of 64 columns.
	widths := []int{8, 1}
	if wide() {
		widths = []int{8, 4, 1}
	}
	for _, width := range widths {
		label := fmt.Sprint("by", width)
		SUBQ(U32(width*lanes), n)
		JL(LabelRef(label + "end"))
		Label(label)
		columns(label+"rows", width, load, store)
		ADDQ(U32(4*width*lanes), dst)
		ADDQ(U32(4*width*lanes), b)
		SUBQ(U32(width*lanes), n)
		JGE(LabelRef(label))
		Label(label + "end")
		ADDQ(U32(width*lanes), n)
	}
	TESTQ(n, n)
	JZ(LabelRef("done"))
	mask := tail(n)
	columns("rowstail", 1,
		func(_ int, v vec) { loadMasked(Mem{Base: q}, mask, v) },
		func(_ int, v vec) {
			old := V()
			loadMasked(Mem{Base: dst}, mask, old)
			VADDPS(old, v, v)
			storeMasked(v, mask, Mem{Base: dst})
		})
	Label("done")
	VZEROUPPER()
	RET()
}
