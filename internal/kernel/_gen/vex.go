package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// registers are those of addresses by their numbers.
var registers = []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI",
	"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

// encodeVEX writes instructions in a file of assembly as bytes where Go's assembler does not know
// them: VPDPBUSD in its VEX form, which is AVX-VNNI's, VDPBF16PS and those of AMX. A comment keeps the
// instruction for the simulation and for the test that reads the machine code back.
func encodeVEX(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		code, err := encode(op, strings.TrimSpace(rest))
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", path, i+1, line, err)
		}
		if code == nil {
			continue
		}
		var b strings.Builder
		for _, c := range code {
			fmt.Fprintf(&b, "BYTE $%#02x; ", c)
		}
		lines[i] = fmt.Sprintf("\t%s // %s %s", strings.TrimSuffix(b.String(), "; "), op, rest)
	}
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666)
}

var (
	vector  = regexp.MustCompile(`^[YZ](\d+)$`)
	tile    = regexp.MustCompile(`^\$0x0([0-7])$`)
	address = regexp.MustCompile(`^\((\w+)\)(?:\((\w+)\*1\))?$`)
)

// encode returns the machine code of an instruction, nil for those that Go's assembler knows.
// Intel's manual, volume 2, has the forms; operands are in Go's order.
func encode(op, rest string) ([]byte, error) {
	var reg []int // of vectors and tiles
	base, index := -1, -1
	for _, o := range strings.Split(rest, ", ") {
		if m := address.FindStringSubmatch(o); m != nil {
			base, index = slices.Index(registers, m[1]), slices.Index(registers, m[2])
		} else if m := vector.FindStringSubmatch(o); m != nil {
			n, _ := strconv.Atoi(m[1])
			reg = append(reg, n)
		} else if m := tile.FindStringSubmatch(o); m != nil {
			n, _ := strconv.Atoi(m[1])
			reg = append(reg, n)
		}
	}
	const none, p66, pF3, pF2 = 0, 1, 2, 3
	switch {
	case op == "VPDPBUSD" && len(reg) == 3:
		return vex(1, p66, 0x50, reg[2], reg[1], reg[0]), nil
	case op == "VDPBF16PS" && len(reg) == 3:
		return evex(pF3, 0x52, reg[2], reg[1], reg[0]), nil
	case op == "TDPBF16PS" && len(reg) == 3:
		return vex(0, pF3, 0x5c, reg[2], reg[0], reg[1]), nil
	case op == "TDPBUSD" && len(reg) == 3:
		return vex(0, p66, 0x5e, reg[2], reg[0], reg[1]), nil
	case op == "TILEZERO" && len(reg) == 1:
		return vex(0, pF2, 0x49, reg[0], 0, 0), nil
	case op == "TILERELEASE":
		return vex(0, none, 0x49, 0, 0, 0), nil
	case op == "LDTILECFG" && base >= 0:
		return vexMemory(none, 0x49, 0, base, -1), nil
	case op == "TILELOADD" && len(reg) == 1 && base >= 0 && index >= 0:
		return vexMemory(pF2, 0x4b, reg[0], base, index), nil
	case op == "TILELOADDT1" && len(reg) == 1 && base >= 0 && index >= 0:
		return vexMemory(p66, 0x4b, reg[0], base, index), nil
	case op == "TILESTORED" && len(reg) == 1 && base >= 0 && index >= 0:
		return vexMemory(pF3, 0x4b, reg[0], base, index), nil
	case op == "VPDPBUSD" || op == "VDPBF16PS" || op[0] == 'T' && op != "TESTQ" || op == "LDTILECFG":
		return nil, fmt.Errorf("operands that encodeVEX does not know")
	}
	return nil, nil
}

// vex encodes an instruction of map 0F38 on registers: reg and rm in ModRM, v in the prefix.
func vex(long, prefix, opcode, reg, v, rm int) []byte {
	return []byte{0xc4, byte(0x42 | (^reg>>3&1)<<7 | (^rm>>3&1)<<5),
		byte((^v&15)<<3 | long<<2 | prefix), byte(opcode), byte(0xc0 | reg&7<<3 | rm&7)}
}

// evex encodes one on vectors of 64 bytes, without a mask.
func evex(prefix, opcode, reg, v, rm int) []byte {
	return []byte{0x62,
		byte(2 | (^reg>>3&1)<<7 | (^rm>>4&1)<<6 | (^rm>>3&1)<<5 | (^reg>>4&1)<<4),
		byte((^v&15)<<3 | 4 | prefix), byte(2<<5 | (^v>>4&1)<<3),
		byte(opcode), byte(0xc0 | reg&7<<3 | rm&7)}
}

// vexMemory encodes one on memory at base, and at base + index where index is not negative.
func vexMemory(prefix, opcode, reg, base, index int) []byte {
	x := 0
	if index >= 0 {
		x = index >> 3
	}
	code := []byte{0xc4, byte(0x82 | (^x&1)<<6 | (^base>>3&1)<<5), byte(15<<3 | prefix), byte(opcode)}
	mod := 0
	if base&7 == 5 { // without a displacement it would mean another address
		mod = 0x40
	}
	if index < 0 && base&7 != 4 {
		code = append(code, byte(mod|reg<<3|base&7))
	} else {
		if index < 0 {
			index = 4 // none
		}
		code = append(code, byte(mod|reg<<3|4), byte(index&7<<3|base&7))
	}
	if mod != 0 {
		code = append(code, 0)
	}
	return code
}
