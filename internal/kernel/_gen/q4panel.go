package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transposed loads 16 bytes of each of eight rows, step apart, and returns vectors of the rows'
// first, second, third and fourth word. three is three times step.
func transposed(rows [2]reg.GPVirtual, step, three reg.GPVirtual, disp int) []vec {
	at := func(half, r int) Mem {
		m := Mem{Base: rows[half], Disp: disp}
		switch r {
		case 1, 2:
			m.Index, m.Scale = step, uint8(r)
		case 3:
			m.Index, m.Scale = three, 1
		}
		return m
	}
	var r []vec
	for i := range 4 {
		x := YMM()
		VMOVDQU(at(0, i), x.AsX())
		VINSERTI128(Imm(1), at(1, i), x, x)
		r = append(r, x)
	}
	t := []vec{YMM(), YMM(), YMM(), YMM()}
	VPUNPCKLDQ(r[1], r[0], t[0])
	VPUNPCKHDQ(r[1], r[0], t[1])
	VPUNPCKLDQ(r[3], r[2], t[2])
	VPUNPCKHDQ(r[3], r[2], t[3])
	VPUNPCKLQDQ(t[2], t[0], r[0])
	VPUNPCKHQDQ(t[2], t[0], r[1])
	VPUNPCKLQDQ(t[3], t[1], r[2])
	VPUNPCKHQDQ(t[3], t[1], r[3])
	return r
}

// panelRows sets bases of rows 0, 4, 8 and 12 of a panel.
func panelRows(b, step reg.GPVirtual) (bases [4]reg.GPVirtual, three reg.GPVirtual) {
	three = GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, three)
	bases[0] = b
	for i := 1; i < 4; i++ {
		bases[i] = GP64()
		LEAQ(Mem{Base: bases[i-1], Index: step, Scale: 4}, bases[i])
	}
	return bases, three
}

// q4Panel generates the unpacking of 16 rows to a panel of floats.
func q4Panel() {
	TEXT("q4PanelAVX2", NOSPLIT, "func(dst *float32, b *uint8, scales *float32, zeros *float32, blocks int, step int)")
	Pragma("noescape")
	Doc("q4PanelAVX2 unpacks blocks of 16 rows of weights, step bytes apart: see q4PanelGo.")
	dst, b, scales, zeros, blocks, step := get("dst"), get("b"), get("scales"), get("zeros"), get("blocks"), get("step")
	bases, three := panelRows(b, step)
	mask := YMM()
	VMOVDQU(bits(15), mask)
	Label("block")
	for half := range 2 {
		s, z := YMM(), YMM()
		VMOVUPS(Mem{Base: scales, Disp: 32 * half}, s)
		VMOVUPS(Mem{Base: zeros, Disp: 32 * half}, z)
		for word, w := range transposed([2]reg.GPVirtual{bases[2*half], bases[2*half+1]}, step, three, 0) {
			for i := range 8 {
				x := YMM()
				switch i {
				case 0:
					VPAND(mask, w, x)
				case 7:
					VPSRLD(Imm(28), w, x)
				default:
					VPSRLD(Imm(uint64(4*i)), w, x)
					VPAND(mask, x, x)
				}
				VCVTDQ2PS(x, x)
				VFMADD213PS(z, s, x)
				VMOVUPS(x, Mem{Base: dst, Disp: 64*(8*word+i) + 32*half})
			}
		}
	}
	for _, p := range bases {
		ADDQ(Imm(16), p)
	}
	ADDQ(Imm(64), scales)
	ADDQ(Imm(64), zeros)
	ADDQ(U32(64*32), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// q4WidePanel is q4Panel for AVX-512, which looks the values up.
func q4WidePanel() {
	TEXT("q4PanelAVX512", NOSPLIT, "func(dst *float32, b *uint8, scales *float32, zeros *float32, blocks int, step int)")
	Pragma("noescape")
	Doc("q4PanelAVX512 unpacks blocks of 16 rows of weights, step bytes apart: see q4PanelGo.")
	dst, b, scales, zeros, blocks, step := get("dst"), get("b"), get("scales"), get("zeros"), get("blocks"), get("step")
	bases, three := panelRows(b, step)
	var numbers []uint32
	for i := range 16 {
		numbers = append(numbers, math.Float32bits(float32(i)))
	}
	table := ZMM()
	VMOVUPS(listed("q4_numbers", numbers...), table)
	Label("block")
	s, z := ZMM(), ZMM()
	VMOVUPS(Mem{Base: scales}, s)
	VMOVUPS(Mem{Base: zeros}, z)
	// Rows i, i+4, i+8 and i+12 in a vector; then words of all rows.
	var r []vec
	for i := range 4 {
		x := ZMM()
		for quarter, base := range bases {
			m := Mem{Base: base}
			switch i {
			case 1, 2:
				m.Index, m.Scale = step, uint8(i)
			case 3:
				m.Index, m.Scale = three, 1
			}
			if quarter == 0 {
				VMOVUPS(m, x.AsX())
			} else {
				VINSERTI32X4(Imm(uint64(quarter)), m, x, x)
			}
		}
		r = append(r, x)
	}
	t := []vec{ZMM(), ZMM(), ZMM(), ZMM()}
	VPUNPCKLDQ(r[1], r[0], t[0])
	VPUNPCKHDQ(r[1], r[0], t[1])
	VPUNPCKLDQ(r[3], r[2], t[2])
	VPUNPCKHDQ(r[3], r[2], t[3])
	VPUNPCKLQDQ(t[2], t[0], r[0])
	VPUNPCKHQDQ(t[2], t[0], r[1])
	VPUNPCKLQDQ(t[3], t[1], r[2])
	VPUNPCKHQDQ(t[3], t[1], r[3])
	for word, w := range r {
		for i := range 8 {
			x, from := ZMM(), w
			if i > 0 {
				VPSRLD(Imm(uint64(4*i)), w, x)
				from = x
			}
			VPERMPS(table, from, x) // by the lowest four bits
			VFMADD213PS(z, s, x)
			VMOVUPS(x, Mem{Base: dst, Disp: 64 * (8*word + i)})
		}
	}
	for _, p := range bases {
		ADDQ(Imm(16), p)
	}
	ADDQ(Imm(64), scales)
	ADDQ(Imm(64), zeros)
	ADDQ(U32(64*32), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// q4BytePanel generates the unpacking of 16 rows to a panel of bytes.
func q4BytePanel() {
	TEXT("q4BytePanelAVX2", NOSPLIT, "func(dst *uint8, b *uint8, scales *float32, zeros *float32, blocks int, step int)")
	Pragma("noescape")
	Doc("q4BytePanelAVX2 unpacks blocks of 16 rows of weights, step bytes apart: see q4BytePanelGo.")
	dst, b, scales, zeros, blocks, step := get("dst"), get("b"), get("scales"), get("zeros"), get("blocks"), get("step")
	bases, three := panelRows(b, step)
	mask, middle, ones := YMM(), YMM(), YMM()
	VMOVDQU(bits(0x0f0f0f0f), mask)
	VMOVDQU(bits(0x80808080), middle)
	VMOVDQU(bits(0x00010001), ones)
	Label("block")
	for half := range 2 {
		// The zero points in each byte.
		z, sum := YMM(), YMM()
		VCVTPS2DQ(Mem{Base: zeros, Disp: 32 * half}, z)
		VPSHUFB(listed("q4_copy", 0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c), z, z)
		VPXOR(sum, sum, sum)
		for word, w := range transposed([2]reg.GPVirtual{bases[2*half], bases[2*half+1]}, step, three, 0) {
			high := YMM()
			VPSRLD(Imm(4), w, high)
			for i, x := range []vec{w, high} {
				VPAND(mask, x, x)
				VPSUBB(z, x, x)
				VMOVDQU(x, Mem{Base: dst, Disp: 128*word + 64*i + 32*half})
				t := YMM()
				VPMADDUBSW(x, middle, t) // at most 2*128*15
				VPMADDWD(ones, t, t)
				VPSUBD(t, sum, sum)
			}
		}
		VMOVDQU(sum, Mem{Base: dst, Disp: 512 + 32*half})
		s := YMM()
		VMOVUPS(Mem{Base: scales, Disp: 32 * half}, s)
		VMOVUPS(s, Mem{Base: dst, Disp: 576 + 32*half})
	}
	for _, p := range bases {
		ADDQ(Imm(16), p)
	}
	ADDQ(Imm(64), scales)
	ADDQ(Imm(64), zeros)
	ADDQ(U32(byteRecord), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// q4Tile generates the product of rows of bytes and a panel. Sums of four pairs of products fit 16
// bits: 4*2*255*15.
func q4Tile(rows int) {
	name := fmt.Sprintf("q4Tile%dAVX2", rows)
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a *uint8, scales *float32, lda int, b *uint8, blocks int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows of 16 columns: see byteTile4.", name, rows))
	c, ldc, a, scales := get("c"), get("ldc"), get("a"), get("scales")
	lda, b, blocks, more := get("lda"), get("b"), get("blocks"), get("add")
	SHLQ(Imm(2), ldc)
	row := func(base, step reg.GPVirtual, r, disp int) Mem {
		m := Mem{Base: base, Disp: disp}
		if r > 0 {
			m.Index, m.Scale = step, uint8(r)
		}
		return m
	}
	var acc []vec
	for range 2 * rows {
		v := YMM()
		VXORPS(v, v, v)
		acc = append(acc, v)
	}
	TESTQ(more, more)
	JZ(LabelRef("start"))
	for i, v := range acc {
		VMOVUPS(row(c, ldc, i/2, 32*(i%2)), v)
	}
	Label("start")
	ones := YMM()
	VMOVDQU(bits(0x00010001), ones)
	Label("block")
	var sums []vec
	for range 2 * rows {
		sums = append(sums, YMM())
	}
	for part := range 2 {
		var pairs []vec
		for range 2 * rows {
			pairs = append(pairs, YMM())
		}
		for step := range 4 {
			// In order of the record: even and odd numbers of each eight in turn.
			at := 4*part + step
			from := at/2*4 + at%2*16
			for r := range rows {
				x := YMM()
				VPBROADCASTD(row(a, lda, r, from), x)
				for half := range 2 {
					w := Mem{Base: b, Disp: 64*at + 32*half}
					if step == 0 {
						VPMADDUBSW(w, x, pairs[2*r+half])
					} else {
						t := YMM()
						VPMADDUBSW(w, x, t)
						VPADDW(t, pairs[2*r+half], pairs[2*r+half])
					}
				}
			}
		}
		for i, p := range pairs {
			VPMADDWD(ones, p, p)
			if part == 0 {
				VPADDD(Mem{Base: b, Disp: 512 + 32*(i%2)}, p, sums[i])
			} else {
				VPADDD(p, sums[i], sums[i])
			}
		}
	}
	for r := range rows {
		s := YMM()
		VBROADCASTSS(row(scales, lda, r, 0), s)
		for half := range 2 {
			x := sums[2*r+half]
			VCVTDQ2PS(x, x)
			VMULPS(Mem{Base: b, Disp: 576 + 32*half}, x, x)
			VFMADD231PS(s, x, acc[2*r+half])
		}
	}
	ADDQ(Imm(32), a)
	ADDQ(Imm(4), scales)
	ADDQ(U32(byteRecord), b)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	for i, v := range acc {
		VMOVUPS(v, row(c, ldc, i/2, 32*(i%2)))
	}
	VZEROUPPER()
	RET()
}

// q4WideTile generates the product of rows of bytes and two panels, the second of which begins gap
// bytes after the first.
func q4WideTile(rows int) {
	name := fmt.Sprintf("q4Tile%dAVX512", rows)
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a *uint8, scales *float32, lda int, b *uint8, gap int, blocks int, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows of 32 columns: see byteTile4.", name, rows))
	c, ldc, a, scales := get("c"), get("ldc"), get("a"), get("scales")
	lda, b, gap, blocks := get("lda"), get("b"), get("gap"), get("blocks")
	ADDQ(b, gap)
	SHLQ(Imm(2), ldc)
	// Rows from 3 on lie behind a base of their own.
	far := func(base, step reg.GPVirtual) func(r, disp int) Mem {
		second := base
		if rows > 3 {
			second = GP64()
			LEAQ(Mem{Base: step, Index: step, Scale: 2}, second)
			ADDQ(base, second)
		}
		return func(r, disp int) Mem {
			m := Mem{Base: base, Disp: disp}
			if r >= 3 {
				m.Base, r = second, r-3
			}
			if r > 0 {
				m.Index, m.Scale = step, uint8(r)
			}
			return m
		}
	}
	var acc []vec
	for range 2 * rows {
		v := ZMM()
		VPXORD(v, v, v)
		acc = append(acc, v)
	}
	// Addresses of c are made again at the end: registers are few.
	cRow, cBase := GP64(), c
	each := func(f func(m Mem, v vec)) {
		MOVQ(cBase, cRow)
		for i, v := range acc {
			f(Mem{Base: cRow, Disp: 64 * (i % 2)}, v)
			if i%2 == 1 && i+1 < len(acc) {
				ADDQ(ldc, cRow)
			}
		}
	}
	more := GP64()
	Load(Param("add"), more)
	TESTQ(more, more)
	JZ(LabelRef("start"))
	each(func(m Mem, v vec) { VMOVUPS(m, v) })
	Label("start")
	aRow, sRow := far(a, lda), far(scales, lda)
	aSecond, sSecond := aRow(3, 0).Base, sRow(3, 0).Base
	Label("block")
	var sums []vec
	for i := range 2 * rows {
		v := ZMM()
		from := b
		if i%2 == 1 {
			from = gap
		}
		VMOVUPS(Mem{Base: from, Disp: 512}, v)
		sums = append(sums, v)
	}
	for step := range 8 {
		w := []vec{ZMM(), ZMM()}
		VMOVUPS(Mem{Base: b, Disp: 64 * step}, w[0])
		VMOVUPS(Mem{Base: gap, Disp: 64 * step}, w[1])
		for r := range rows {
			x := ZMM()
			VBROADCASTSS(aRow(r, step/2*4+step%2*16), x)
			dotBytes(w[0], x, sums[2*r])
			dotBytes(w[1], x, sums[2*r+1])
		}
	}
	for i, x := range sums {
		from := b
		if i%2 == 1 {
			from = gap
		}
		VCVTDQ2PS(x, x)
		VMULPS(Mem{Base: from, Disp: 576}, x, x)
		VFMADD231PS_BCST(sRow(i/2, 0), x, acc[i])
	}
	ADDQ(Imm(32), a)
	ADDQ(Imm(4), scales)
	if rows > 3 {
		ADDQ(Imm(32), aSecond)
		ADDQ(Imm(4), sSecond)
	}
	ADDQ(U32(byteRecord), b)
	ADDQ(U32(byteRecord), gap)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	each(func(m Mem, v vec) { VMOVUPS(v, m) })
	VZEROUPPER()
	RET()
}

// unpackKernels generates the unpacking of a row's blocks to floats, and the making of a panel of 16
// such rows.
func unpackKernels() {
	for _, width := range []int{2, 4, 8} {
		unpackBits(width)
	}
	unpackTable()
	transposePanel()
}

// unpackRow generates the loop over blocks of some times 16 values, which unit turns into two vectors.
func unpackRow(name, more string, prepare func(), size int, unit func(b reg.GPVirtual) []vec) {
	TEXT(name, NOSPLIT, "func(dst *float32, b *uint8, scales *float32, zeros *float32, blocks int, units int"+more+")")
	Pragma("noescape")
	Doc(name + " unpacks blocks of units of 16 values: see Unpack.")
	dst, b, scales, zeros, blocks, units := get("dst"), get("b"), get("scales"), get("zeros"), get("blocks"), get("units")
	prepare()
	left := GP64()
	Label("block")
	s, z := YMM(), YMM()
	VBROADCASTSS(Mem{Base: scales}, s)
	VBROADCASTSS(Mem{Base: zeros}, z)
	MOVQ(units, left)
	Label("unit")
	for i, x := range unit(b) {
		VSUBPS(z, x, x)
		VMULPS(s, x, x)
		VMOVUPS(x, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(Imm(uint64(size)), b)
	ADDQ(Imm(64), dst)
	DECQ(left)
	JNZ(LabelRef("unit"))
	ADDQ(Imm(4), scales)
	ADDQ(Imm(4), zeros)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

func unpackBits(width int) {
	counts, mask := []vec{YMM(), YMM()}, YMM()
	prepare := func() {
		if width == 8 {
			return
		}
		VMOVDQU(shifts(width, 0), counts[0])
		VMOVDQU(bits(1<<width-1), mask)
		if width == 2 {
			VMOVDQU(shifts(width, 16), counts[1])
		}
	}
	unpackRow(fmt.Sprintf("q%dUnpackAVX2", width), "", prepare, 2*width, func(b reg.GPVirtual) []vec {
		x := []vec{YMM(), YMM()}
		for i := range x {
			switch width {
			case 2: // 16 values in a word
				VPBROADCASTD(Mem{Base: b}, x[i])
				VPSRLVD(counts[i], x[i], x[i])
				VPAND(mask, x[i], x[i])
			case 4:
				VPBROADCASTD(Mem{Base: b, Disp: 4 * i}, x[i])
				VPSRLVD(counts[0], x[i], x[i])
				VPAND(mask, x[i], x[i])
			default:
				VPMOVZXBD(Mem{Base: b, Disp: 8 * i}, x[i])
			}
			VCVTDQ2PS(x[i], x[i])
		}
		return x
	})
}

// unpackTable looks 4 bits up, those of the upper half of a byte first.
func unpackTable() {
	counts, low, high, side := YMM(), YMM(), YMM(), YMM()
	prepare := func() {
		table := get("table")
		VMOVUPS(Mem{Base: table}, low)
		VMOVUPS(Mem{Base: table, Disp: 32}, high)
		VMOVDQU(listed("table_shifts", 4, 0, 12, 8, 20, 16, 28, 24), counts)
	}
	unpackRow("tableUnpackAVX2", ", table *float32", prepare, 8, func(b reg.GPVirtual) []vec {
		x := []vec{YMM(), YMM()}
		for i := range x {
			at, upper := YMM(), YMM()
			VPBROADCASTD(Mem{Base: b, Disp: 4 * i}, at)
			VPSRLVD(counts, at, at)
			VPERMPS(low, at, x[i])
			VPERMPS(high, at, upper)
			VPSLLD(Imm(28), at, side)
			VBLENDVPS(side, upper, x[i], x[i])
		}
		return x
	})
}

// transposePanel generates the making of a panel of rows of floats, 8 by 8.
func transposePanel() {
	TEXT("transposePanelAVX2", NOSPLIT, "func(dst *float32, src *float32, step int, n int)")
	Pragma("noescape")
	Doc("transposePanelAVX2 puts n numbers, a multiple of 8 and not 0, of 16 rows side by side: see FillTransposed. Rows begin step numbers apart.")
	dst, src, step, n := get("dst"), get("src"), get("step"), get("n")
	SHLQ(Imm(2), step)
	bases, three := panelRows(src, step)
	Label("columns")
	for half := range 2 {
		var r []vec
		for i := range 8 {
			m := Mem{Base: bases[2*half+i/4]}
			switch i % 4 {
			case 1, 2:
				m.Index, m.Scale = step, uint8(i%4)
			case 3:
				m.Index, m.Scale = three, 1
			}
			x := YMM()
			VMOVUPS(m, x)
			r = append(r, x)
		}
		// Pairs of rows, then fours, then eights.
		pairs := make([]vec, 8)
		for i := range 4 {
			pairs[2*i], pairs[2*i+1] = YMM(), YMM()
			VUNPCKLPS(r[2*i+1], r[2*i], pairs[2*i])
			VUNPCKHPS(r[2*i+1], r[2*i], pairs[2*i+1])
		}
		fours := make([]vec, 8) // columns j and j+4 of rows 0-3, then of rows 4-7
		for i := range 2 {
			for j := range 4 {
				x, from := YMM(), 4*i+j/2
				if j%2 == 0 {
					VUNPCKLPD(pairs[from+2], pairs[from], x)
				} else {
					VUNPCKHPD(pairs[from+2], pairs[from], x)
				}
				fours[4*i+j] = x
			}
		}
		for j := range 8 {
			x := YMM()
			VPERM2F128(Imm(uint64(0x20+0x11*(j/4))), fours[4+j%4], fours[j%4], x)
			VMOVUPS(x, Mem{Base: dst, Disp: 64*j + 32*half})
		}
	}
	for _, b := range bases {
		ADDQ(Imm(32), b)
	}
	ADDQ(U32(512), dst)
	SUBQ(Imm(8), n)
	JNZ(LabelRef("columns"))
	VZEROUPPER()
	RET()
}
