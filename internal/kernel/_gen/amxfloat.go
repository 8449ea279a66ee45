package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// prefetchTiles is how many bytes ahead panels are asked for: two steps of 32 along k.
const prefetchTiles = 2048

// amxFloats generates products of bfloat16 in pairs along k: TDPBF16PS multiplies 16 x 32 by 32 x 16.
// Tiles are configured, used and released within one call, which takes all rows past two panels, 32 at
// a time: to configure them for each 32 takes a tenth of the time.
func amxFloats() {
	TEXT("gemmTilesAMX", NOSPLIT, "func(c *float32, ldc int, a *float32, block int, b *uint32, gap, steps, parts, rows, flags int, e *float32, mask uint32, room *float32)")
	Pragma("noescape")
	Doc("gemmTilesAMX computes rows of two panels of 16 columns: see the Go function gemmTiles.")
	c, ldc, a, rows := get("c"), get("ldc"), get("a"), get("rows")
	flags, line, p := get("flags"), GP64(), GP64()
	LEAQ(GLOBL("tile_config", RODATA|NOPTR), p)
	for i, v := range []uint32{1, 0, 0, 0, 0x00400040, 0x00400040, 0x00400040, 0x00400040,
		0, 0, 0, 0, 0x10101010, 0x10101010, 0, 0} {
		DATA(4*i, U32(v)) // palette 1; 64 bytes in each row of a tile; 16 rows in each tile
	}
	amx("LDTILECFG", Mem{Base: p})
	SHLQ(Imm(2), ldc)
	MOVQ(U64(64), line)
	masks, low, high := amxMasks(), V(), V()
	bias := [2]vec{V(), V()}
	rowBias, residual := GP64(), GP64()
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

	Label("block")
	for t := range 4 {
		amx("TILEZERO", Imm(uint64(t)))
	}
	at := func(base, stride reg.Register) Mem { return Mem{Base: base, Index: stride, Scale: 1} }
	upper, lower := GP64(), GP64()
	MOVQ(a, upper)
	MOVQ(get("block"), lower)
	ADDQ(a, lower)
	parts := get("parts")
	// pass generates the parts of 32 rows, or of 16.
	pass := func(name string, both bool) {
		b, second, steps := GP64(), GP64(), GP64()
		Label(name)
		MOVQ(get("b"), b)
		MOVQ(get("gap"), second)
		ADDQ(b, second)
		MOVQ(get("steps"), steps)
		Label(name + "step")
		ahead := func(base reg.Register) {
			for i := range 16 {
				PREFETCHT0(Mem{Base: base, Disp: prefetchTiles + 64*i})
			}
		}
		amx("TILELOADD", at(upper, line), Imm(4))
		amx("TILELOADD", at(b, line), Imm(6))
		ahead(b)
		amx("TDPBF16PS", Imm(6), Imm(4), Imm(0))
		amx("TILELOADD", at(second, line), Imm(7))
		ahead(second)
		amx("TDPBF16PS", Imm(7), Imm(4), Imm(1))
		if both {
			amx("TILELOADD", at(lower, line), Imm(5))
			amx("TDPBF16PS", Imm(6), Imm(5), Imm(2))
			amx("TDPBF16PS", Imm(7), Imm(5), Imm(3))
			ADDQ(U32(1024), lower)
		}
		for _, r := range []reg.Register{upper, b, second} {
			ADDQ(U32(1024), r)
		}
		DECQ(steps)
		JNZ(LabelRef(name + "step"))
		DECQ(parts)
		JNZ(LabelRef(name))
	}
	CMPQ(rows, Imm(16))
	JG(LabelRef("both"))
	pass("one", false)
	JMP(LabelRef("store"))
	pass("both", true)

	Label("store") // to room, 32 rows of 32 columns
	room, wide := get("room"), GP64()
	MOVQ(line, wide)
	ADDQ(wide, wide)
	for i, disp := range []int{0, 64, 16 * 128, 16*128 + 64} {
		LEAQ(Mem{Base: room, Disp: disp}, p)
		amx("TILESTORED", Imm(uint64(i)), at(p, wide))
	}
	left := GP64()
	MOVQ(rows, left)
	CMPQ(rows, Imm(32))
	JL(LabelRef("row"))
	MOVQ(U64(32), left)
	acc := [2]vec{V(), V()}
	v := V()
	each := func(f func(i int, x vec)) {
		for i, x := range acc {
			f(i, x)
		}
	}
	Label("row")
	each(func(i int, x vec) { VMOVUPS(Mem{Base: room, Disp: 64 * i}, x) })
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
	ADDQ(U32(128), room)
	DECQ(left)
	JNZ(LabelRef("row"))

	MOVQ(get("block"), p)
	ADDQ(p, a)
	ADDQ(p, a)
	SUBQ(Imm(32), rows)
	JG(LabelRef("block"))
	amx("TILERELEASE")
	VZEROUPPER()
	RET()
}
