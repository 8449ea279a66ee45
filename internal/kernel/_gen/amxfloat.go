package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// amxFloats generates products of bfloat16 in pairs along k: TDPBF16PS multiplies 16 x 32 by 32 x 16.
func amxFloats() {
	amxSums()
	amxFinish()
}

// amxSums generates the sums of blocks of 16 rows past two panels. Tiles are configured, used and
// released within one call, which takes all rows: to configure them for each 32 takes a tenth of the
// time.
//
// It uses four of the eight tiles. A core has room for about ten values of tiles for each of its two
// threads, and each tile that has been written holds one: with eight in use a load and the products
// before it wait for each other as soon as the core's other thread, which may be another machine's,
// does anything. So 16 rows by two panels take 15 ns for two products then, where 32 rows took 122 for
// four; with the core alone both take what the products take.
//
// k is cut into chunks whose part of the panels stays in the first cache while all rows come past, on
// their way round it (TILELOADDT1); the sums of a chunk are where the next one begins. Meanwhile the
// second cache is asked for the panels' next chunk, some lines with each step, and for the lines that
// the sums are to go to, so that memory and products work at once.
func amxSums() {
	TEXT("sumTilesAMX", NOSPLIT, "func(sums, a *float32, b *uint32, gap, steps, parts, blocks, chunk, ahead int, c *float32, ldc int)")
	Pragma("noescape")
	Doc("sumTilesAMX computes blocks of 16 rows of two panels of 16 columns: see the Go function sumTiles.")
	p := GP64()
	LEAQ(GLOBL("tile_config", RODATA|NOPTR), p)
	for i, v := range []uint32{1, 0, 0, 0, 0x00400040, 0x00400040, 0x00400040, 0x00400040,
		0, 0, 0, 0, 0x10101010, 0x10101010, 0, 0} {
		DATA(4*i, U32(v)) // palette 1; 64 bytes in each row of a tile; 16 rows in each tile
	}
	amx("LDTILECFG", Mem{Base: p})
	at := func(base, stride reg.Register) Mem { return Mem{Base: base, Index: stride, Scale: 1} }
	a, b, gap, line := get("a"), get("b"), get("gap"), GP64()
	MOVQ(U64(64), line)

	Label("chunk") // of n bytes of a panel, and of 16 rows
	n, skip, next := GP64(), GP64(), GP64()
	MOVQ(get("steps"), skip)
	SHLQ(Imm(10), skip)
	MOVQ(get("b"), next)
	LEAQ(Mem{Base: next, Index: skip, Scale: 1}, n)
	SUBQ(b, n) // what is left
	LEAQ(Mem{Base: next, Index: gap, Scale: 2}, next)
	MOVQ(get("chunk"), p)
	SHLQ(Imm(10), p)
	CMPQ(n, p)
	JLE(LabelRef("last"))
	MOVQ(p, n)
	LEAQ(Mem{Base: b, Index: n, Scale: 1}, next)
	Label("last")
	SUBQ(n, skip)
	left, row, sums := get("blocks"), GP64(), get("sums")
	MOVQ(a, row)

	Label("block")
	SHLQ(Imm(1), line) // of the sums, rows of 32
	CMPQ(b, get("b"))
	JNZ(LabelRef("more"))
	amx("TILEZERO", Imm(0))
	amx("TILEZERO", Imm(1))
	JMP(LabelRef("sum"))
	Label("more")
	amx("TILELOADD", at(sums, line), Imm(0))
	LEAQ(Mem{Base: sums, Disp: 64}, p)
	amx("TILELOADD", at(p, line), Imm(1))
	Label("sum")
	MOVQ(U64(64), line)
	// The lines of the result that these sums go to.
	to, stride := GP64(), GP64()
	MOVQ(get("ldc"), stride)
	MOVQ(get("blocks"), to)
	SUBQ(left, to)
	IMULQ(stride, to)
	SHLQ(Imm(6), to)
	ADDQ(get("c"), to)
	SHLQ(Imm(2), stride)
	for range 16 {
		PREFETCHT1(Mem{Base: to})
		PREFETCHT1(Mem{Base: to, Disp: 64})
		ADDQ(stride, to)
	}
	parts := get("parts")
	Label("part")
	first, second, end := GP64(), GP64(), GP64()
	MOVQ(b, first)
	LEAQ(Mem{Base: b, Index: gap, Scale: 1}, second)
	LEAQ(Mem{Base: b, Index: n, Scale: 1}, end)
	Label("step")
	amx("TILELOADDT1", at(row, line), Imm(2))
	amx("TILELOADD", at(first, line), Imm(3))
	amx("TDPBF16PS", Imm(3), Imm(2), Imm(0))
	amx("TILELOADD", at(second, line), Imm(3))
	amx("TDPBF16PS", Imm(3), Imm(2), Imm(1))
	MOVQ(get("ahead"), p)
	Label("ahead")
	PREFETCHT1(Mem{Base: next})
	PREFETCHT1(at(next, gap))
	ADDQ(Imm(64), next)
	DECQ(p)
	JNZ(LabelRef("ahead"))
	for _, r := range []reg.Register{row, first, second} {
		ADDQ(U32(1024), r)
	}
	CMPQ(first, end)
	JNZ(LabelRef("step"))
	ADDQ(skip, row)
	DECQ(parts)
	JNZ(LabelRef("part"))
	SHLQ(Imm(1), line)
	amx("TILESTORED", Imm(0), at(sums, line))
	LEAQ(Mem{Base: sums, Disp: 64}, p)
	amx("TILESTORED", Imm(1), at(p, line))
	MOVQ(U64(64), line)
	ADDQ(U32(2048), sums)
	DECQ(left)
	JNZ(LabelRef("block"))

	ADDQ(n, a)
	ADDQ(n, b)
	MOVQ(get("steps"), p)
	SHLQ(Imm(10), p)
	ADDQ(get("b"), p)
	CMPQ(b, p)
	JNZ(LabelRef("chunk"))
	amx("TILERELEASE")
	RET()
}

// amxFinish generates what is done to sums on their way to the result.
func amxFinish() {
	TEXT("finishTilesAVX512", NOSPLIT, "func(c *float32, ldc int, sums *float32, rows, flags int, e *float32, mask uint32)")
	Pragma("noescape")
	Doc("finishTilesAVX512 stores rows of 32 sums as flags ask for: see the Go function finishTiles.")
	c, ldc, sums, rows, flags := get("c"), get("ldc"), get("sums"), get("rows"), get("flags")
	SHLQ(Imm(2), ldc)
	masks, low, high := amxMasks(), V(), V()
	bias := [2]vec{V(), V()}
	rowBias, residual, p := GP64(), GP64(), GP64()
	MOVQ(get("e"), p)
	when := func(flag uint64, label string, body func()) {
		TESTQ(U32(flag), flags)
		JZ(LabelRef(label))
		body()
		Label(label)
	}
	MOVQ(Mem{Base: p, Disp: fieldRowBias}, rowBias)
	MOVQ(Mem{Base: p, Disp: fieldResidual}, residual)
	VBROADCASTSS(Mem{Base: p, Disp: fieldLow}, low)
	VBROADCASTSS(Mem{Base: p, Disp: fieldHigh}, high)
	when(flagColBias, "noload", func() {
		MOVQ(Mem{Base: p, Disp: fieldColBias}, p)
		for i := range bias {
			VMOVUPS_Z(Mem{Base: p, Disp: 64 * i}, masks[i], bias[i])
		}
	})
	acc := [2]vec{V(), V()}
	v := V()
	each := func(f func(i int, x vec)) {
		for i, x := range acc {
			f(i, x)
		}
	}
	Label("row")
	each(func(i int, x vec) { VMOVUPS(Mem{Base: sums, Disp: 64 * i}, x) })
	when(flagAdd, "noadd", func() {
		each(func(i int, x vec) {
			VMOVUPS_Z(Mem{Base: c, Disp: 64 * i}, masks[i], v)
			VADDPS(v, x, x)
		})
	})
	when(flagColBias, "nobias", func() { each(func(i int, x vec) { VADDPS(bias[i], x, x) }) })
	when(flagRowBias, "norow", func() {
		VBROADCASTSS(Mem{Base: rowBias}, v)
		ADDQ(Imm(4), rowBias)
		each(func(_ int, x vec) { VADDPS(v, x, x) })
	})
	when(flagBounds, "nobounds", func() {
		each(func(_ int, x vec) {
			VMAXPS(x, low, x) // the second operand stays where one is no number
			VMINPS(x, high, x)
		})
	})
	when(flagResidual, "noresidual", func() {
		each(func(i int, x vec) {
			VMOVUPS_Z(Mem{Base: residual, Disp: 64 * i}, masks[i], v)
			VADDPS(v, x, x)
		})
		ADDQ(ldc, residual)
	})
	each(func(i int, x vec) { VMOVUPS(x, masks[i], Mem{Base: c, Disp: 64 * i}) })
	ADDQ(ldc, c)
	ADDQ(U32(128), sums)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
