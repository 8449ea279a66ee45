package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// conv512 generates what convolutions of images [N,H,W,C] are made of.
func conv512() {
	depthwiseRows()
	pointwise()
}

// pointwise generates the product of any number of rows by two panels of 16 columns, or by one where
// gap is 0, over all of k: up to 12 rows at a time. The second panel lies gap floats behind the
// first, its results second floats behind those of the first. The halves of mask say which columns
// to keep. residual, laid out as dst, may be nil.
func pointwise() {
	const name = "pointwiseAVX512"
	TEXT(name, NOSPLIT, "func(dst *float32, dstStep, second int, src *float32, srcStep, rows int, b *float32, gap, k int, bias, residual *float32, low, high float32, mask uint32)")
	Pragma("noescape")
	Doc(name + " computes rows, not none, of one or two panels: see Matrix.Pointwise.")
	dst, dstStep := get("dst"), get("dstStep")
	src, srcStep, n := get("src"), get("srcStep"), get("rows")
	SHLQ(Imm(2), dstStep)
	SHLQ(Imm(2), srcStep)
	b, gap, k, s, to := GP64(), GP64(), GP64(), GP64(), GP64()
	bases := [4]reg.GPVirtual{GP64(), GP64(), GP64(), GP64()}
	sums, room := vectorsOf(2*wideRows), vectorsOf(4) // one set for all tiles: avo takes minutes over many
	bits, masks := GP32(), [2]reg.OpmaskVirtual{K(), K()}
	Load(Param("mask"), bits)
	KMOVW(bits, masks[0])
	SHRL(Imm(16), bits)
	KMOVW(bits, masks[1])

	// tile generates the product of some rows by panels.
	tile := func(rows, panels int) {
		label := func(name string) string { return fmt.Sprintf("%s%dx%d", name, rows, panels) }
		// Rows r, r+1 and r+2 for r = 0, 3, 6 and 9 lie at bases[r/3] + 0, 1 and 2 times srcStep.
		count := (rows + 2) / 3
		MOVQ(src, bases[0])
		if count > 1 {
			LEAQ(Mem{Base: srcStep, Index: srcStep, Scale: 2}, s)
			for i := 1; i < count; i++ {
				LEAQ(Mem{Base: bases[i-1], Index: s, Scale: 1}, bases[i])
			}
		}
		Load(Param("bias"), b)
		acc := sums[:rows*panels]
		for i := range acc {
			if p := i % panels; i < panels {
				VMOVUPS_Z(Mem{Base: b, Disp: 64 * p}, masks[p], acc[i])
			} else {
				VMOVAPS(acc[p], acc[i])
			}
		}
		Load(Param("b"), b)
		Load(Param("k"), k)
		if panels > 1 {
			Load(Param("gap"), gap)
			LEAQ(Mem{Base: b, Index: gap, Scale: 4}, gap)
		}
		step := func(i int) {
			w, v := room[:2], room[2+i%2]
			VMOVUPS(Mem{Base: b, Disp: 64 * i}, w[0])
			if panels > 1 {
				VMOVUPS(Mem{Base: gap, Disp: 64 * i}, w[1])
			}
			for r := range rows {
				a := Mem{Base: bases[r/3], Disp: 4 * i}
				if r%3 > 0 {
					a.Index, a.Scale = srcStep, uint8(r%3)
				}
				if panels == 1 {
					VFMADD231PS_BCST(a, w[0], acc[r])
					continue
				}
				VBROADCASTSS(a, v)
				VFMADD231PS(v, w[0], acc[2*r])
				VFMADD231PS(v, w[1], acc[2*r+1])
			}
		}
		advance := func(n int) {
			ADDQ(U32(64*n), b)
			if panels > 1 {
				ADDQ(U32(64*n), gap)
			}
			for _, base := range bases[:count] {
				ADDQ(U32(4*n), base)
			}
		}
		const unroll = 4
		SUBQ(Imm(unroll), k)
		JL(LabelRef(label("tail")))
		Label(label("loop"))
		for i := range unroll {
			PREFETCHT0(Mem{Base: b, Disp: prefetch + 64*i})
			if panels > 1 {
				PREFETCHT0(Mem{Base: gap, Disp: prefetch + 64*i})
			}
			step(i)
		}
		advance(unroll)
		SUBQ(Imm(unroll), k)
		JGE(LabelRef(label("loop")))
		Label(label("tail"))
		ADDQ(Imm(unroll), k)
		JZ(LabelRef(label("sum")))
		Label(label("tailloop"))
		step(0)
		advance(1)
		DECQ(k)
		JNZ(LabelRef(label("tailloop")))

		Label(label("sum"))
		low, high := room[0], room[1]
		broadcastTo("low", low)
		broadcastTo("high", high)
		for _, v := range acc {
			VMAXPS(v, low, v)
			VMINPS(v, high, v)
		}
		at := func(p int) Mem {
			if p == 0 {
				return Mem{Base: to}
			}
			return Mem{Base: to, Index: s, Scale: 4}
		}
		if panels > 1 {
			Load(Param("second"), s)
		}
		Load(Param("residual"), to)
		TESTQ(to, to)
		JZ(LabelRef(label("store")))
		Load(Param("dst"), k)
		ADDQ(dst, to)
		SUBQ(k, to)
		for i, v := range acc {
			t, p := room[i%4], i%panels
			VMOVUPS_Z(at(p), masks[p], t)
			VADDPS(t, v, v)
			if p == panels-1 {
				ADDQ(dstStep, to)
			}
		}
		Label(label("store"))
		MOVQ(dst, to)
		for i, v := range acc {
			p := i % panels
			VMOVUPS(v, masks[p], at(p))
			if p == panels-1 {
				ADDQ(dstStep, to)
			}
		}
		MOVQ(to, dst)
		for i := 0; i < rows; i += 8 {
			switch left := rows - i; {
			case left >= 8:
				LEAQ(Mem{Base: src, Index: srcStep, Scale: 8}, src)
			default:
				for _, by := range []int{4, 2, 1} {
					if left&by != 0 {
						LEAQ(Mem{Base: src, Index: srcStep, Scale: uint8(by)}, src)
					}
				}
			}
		}
		SUBQ(Imm(uint64(rows)), n)
		JMP(LabelRef("next"))
	}
	inEqualParts(n, s, wideRows, func(rows int) {
		Label(fmt.Sprintf("of%d", rows))
		Load(Param("gap"), gap)
		TESTQ(gap, gap)
		JZ(LabelRef(fmt.Sprintf("one%d", rows)))
		tile(rows, 2)
		Label(fmt.Sprintf("one%d", rows))
		tile(rows, 1)
	})
}
