package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

var ymmDot = regexp.MustCompile(`(?m)^\tVPDPBUSD +Y(\d+), Y(\d+), Y(\d+)$`)

// encodeVEX writes VPDPBUSD in a file of assembly as bytes of its VEX form, which is AVX-VNNI's.
// Go's assembler knows only the form of AVX-512. A comment keeps the instruction for the simulation
// and for the test that reads the machine code back.
func encodeVEX(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out := ymmDot.ReplaceAllStringFunc(string(text), func(line string) string {
		m := ymmDot.FindStringSubmatch(line)
		var n [3]int
		for i := range n {
			n[i], _ = strconv.Atoi(m[i+1])
		}
		s, u, acc := n[0], n[1], n[2]
		// VEX.256.66.0F38.W0 50 /r: registers from 8 on have their fourth bits inverted in front.
		second := 0x42 | (^acc>>3&1)<<7 | (^s>>3&1)<<5
		third := 0x05 | (^u&15)<<3
		modrm := 0xc0 | acc&7<<3 | s&7
		return fmt.Sprintf("\tBYTE $0xc4; BYTE $%#02x; BYTE $%#02x; BYTE $0x50; BYTE $%#02x // %s",
			second, third, modrm, strings.TrimSpace(line))
	})
	if strings.Contains(ymmDot.ReplaceAllString(out, ""), "\tVPDPBUSD") {
		return fmt.Errorf("%s: VPDPBUSD with operands other than registers", path)
	}
	return os.WriteFile(path, []byte(out), 0o666)
}
