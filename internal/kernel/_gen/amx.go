package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// amxKernels generates products of 8-bit integers with AMX: a tile register holds 16 rows of 64
// bytes, and TDPBUSD multiplies two, 16 x 64 unsigned by 64 x 16 signed bytes, and adds to 16 x 16
// sums of 32 bits. Tiles are configured, used and released within the function: no goroutine moves
// to another thread while it holds them.
func amxKernels() { amxTile() }

// amxMasks loads the masks of the columns of two panels.
func amxMasks() [2]reg.OpmaskVirtual {
	mask := GP32()
	masks := [2]reg.OpmaskVirtual{K(), K()}
	Load(Param("mask"), mask)
	KMOVW(mask, masks[0])
	SHRL(Imm(16), mask)
	KMOVW(mask, masks[1])
	return masks
}

// amx emits an instruction on tiles, which avo does not know; encodeVEX makes bytes of it. Tiles
// are given by their numbers.
func amx(op string, operands ...Op) {
	i := &ir.Instruction{Opcode: op, Operands: operands}
	for _, o := range operands {
		if m, ok := o.(Mem); ok {
			i.Inputs = append(i.Inputs, m)
		}
	}
	Instruction(i)
}

// amxTile generates the product of up to 32 rows by two panels of 16 columns, the second gap bytes
// behind the first. Rows lie lda bytes apart and are read in sixteens and k in 64s, whatever rows
// and k are. room holds the sums on their way from tiles to vectors.
func amxTile() {
	TEXT("dotTile32x32AMX", NOSPLIT, "func(c *int32, ldc int, a *uint8, lda int, b *uint8, gap, steps, rows int, e *int32, mask uint32, room *int32)")
	Pragma("noescape")
	Doc("dotTile32x32AMX computes up to 32 rows of two panels of 16 columns: see dotTileGo.")
	rows, room := amxProduct("TDPBUSD")

	c, ldc, e := get("c"), get("ldc"), get("e")
	SHLQ(Imm(2), ldc)
	masks := amxMasks()
	read := func(field int) (pair [2]vec) {
		q := GP64()
		MOVQ(Mem{Base: e, Disp: field}, q)
		for i := range pair {
			pair[i] = V()
			clearVector(pair[i])
		}
		TESTQ(q, q)
		skip := readLabel(field)
		JZ(LabelRef(skip))
		for i := range pair {
			VMOVUPS_Z(Mem{Base: q, Disp: 64 * i}, masks[i], pair[i])
		}
		Label(skip)
		return pair
	}
	zero, v, t := V(), V(), V()
	shift := read(fieldColumnSums)
	VPBROADCASTD(Mem{Base: e, Disp: fieldRowZero}, zero)
	for _, x := range shift {
		VPMULLD(zero, x, x)
	}
	zeros, scale, bias := read(fieldColumnZeros), read(fieldDotScale), read(fieldDotBias)
	sums, hasZeros, hasScale, hasBias := GP64(), GP64(), GP64(), GP64()
	MOVQ(Mem{Base: e, Disp: fieldRowSums}, sums)
	MOVQ(Mem{Base: e, Disp: fieldColumnZeros}, hasZeros)
	MOVQ(Mem{Base: e, Disp: fieldDotScale}, hasScale)
	MOVQ(Mem{Base: e, Disp: fieldDotBias}, hasBias)
	acc := [2]vec{V(), V()}
	when := func(has reg.Register, label string, body func(i int, x vec)) {
		TESTQ(has, has)
		JZ(LabelRef(label))
		for i, x := range acc {
			body(i, x)
		}
		Label(label)
	}
	Label("row")
	for i, x := range acc {
		VMOVUPS(Mem{Base: room, Disp: 64 * i}, x)
		VPSUBD(shift[i], x, x)
	}
	VPBROADCASTD(Mem{Base: sums}, v)
	when(hasZeros, "nozeros", func(i int, x vec) {
		VPMULLD(v, zeros[i], t)
		VPSUBD(t, x, x)
	})
	when(hasScale, "noscale", func(i int, x vec) {
		VCVTDQ2PS(x, x)
		VMULPS(scale[i], x, x)
	})
	when(hasBias, "nobias", func(i int, x vec) { VADDPS(bias[i], x, x) })
	for i, x := range acc {
		VMOVUPS(x, masks[i], Mem{Base: c, Disp: 64 * i})
	}
	ADDQ(ldc, c)
	ADDQ(U32(128), room)
	ADDQ(Imm(4), sums)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func readLabel(field int) string { return "without" + string(rune('A'+field/8)) }

// amxProduct generates the products of tiles, by op, into room.
func amxProduct(op string) (rows, room reg.GPVirtual) {
	a, lda := get("a"), get("lda")
	b, second, steps := GP64(), GP64(), GP64()
	rows, room = get("rows"), get("room")
	line, p := GP64(), GP64()
	config := GLOBL("tile_config", RODATA|NOPTR)
	for i, v := range []uint32{1, 0, 0, 0, 0x00400040, 0x00400040, 0x00400040, 0x00400040,
		0, 0, 0, 0, 0x10101010, 0x10101010, 0, 0} {
		DATA(4*i, U32(v)) // palette 1; 64 bytes in each row of a tile; 16 rows in each tile
	}
	LEAQ(config, p)
	amx("LDTILECFG", Mem{Base: p})
	MOVQ(U64(64), line)
	at := func(base, stride reg.Register) Mem { return Mem{Base: base, Index: stride, Scale: 1} }

	// 16 rows at a time, in four tiles: see amxSums.
	left, to, upper := GP64(), GP64(), GP64()
	MOVQ(rows, left)
	MOVQ(room, to)
	MOVQ(a, upper)
	Label("sixteen")
	amx("TILEZERO", Imm(0))
	amx("TILEZERO", Imm(1))
	MOVQ(get("b"), b)
	MOVQ(get("gap"), second)
	ADDQ(b, second)
	MOVQ(get("steps"), steps)
	MOVQ(upper, a)
	Label("loop")
	amx("TILELOADD", at(a, lda), Imm(2))
	amx("TILELOADD", at(b, line), Imm(3))
	amx(op, Imm(3), Imm(2), Imm(0))
	amx("TILELOADD", at(second, line), Imm(3))
	amx(op, Imm(3), Imm(2), Imm(1))
	ADDQ(U32(64), a)
	ADDQ(U32(1024), b)
	ADDQ(U32(1024), second)
	DECQ(steps)
	JNZ(LabelRef("loop"))

	// room has rows of 32 columns.
	ADDQ(line, line)
	amx("TILESTORED", Imm(0), at(to, line))
	LEAQ(Mem{Base: to, Disp: 64}, p)
	amx("TILESTORED", Imm(1), at(p, line))
	MOVQ(U64(64), line)
	ADDQ(U32(2048), to)
	MOVQ(lda, p)
	SHLQ(Imm(4), p)
	ADDQ(p, upper)
	SUBQ(Imm(16), left)
	JG(LabelRef("sixteen"))
	amx("TILERELEASE")
	return rows, room
}
