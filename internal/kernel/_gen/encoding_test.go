package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEncoding compares the assembly for AVX-512 with what GNU objdump reads from the machine code
// that Go made of it: every vector and mask instruction with its operands. The simulation in
// package kernel reads the text; this says that the text is what a processor gets.
func TestEncoding(t *testing.T) {
	t.Parallel()
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("needs objdump of GNU binutils")
	}
	binary := filepath.Join(t.TempDir(), "kernel.test")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Dir, build.Env = "..", append(os.Environ(), "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(objdump, "-d", "--no-show-raw-insn", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	read := disassembled(out)
	files, err := filepath.Glob("../*512_amd64.s")
	files = append(files, "../dotvnni_amd64.s", "../dotamx_amd64.s", "../gemmamx_amd64.s",
		"../gemmbf16_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no files")
	}
	instructions, functions := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range written(string(text)) {
			got := read[name]
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%s: instruction %d of %d is %q, want %q",
						name, i, len(got), at(got, i), at(want, i))
				}
			}
			instructions += len(want)
			functions++
		}
	}
	t.Logf("%d instructions of %d functions", instructions, functions)
	if functions < 48 {
		t.Errorf("only %d functions", functions)
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "nothing"
}

func vectorial(op string) bool {
	return (op[0] == 'v' || op[0] == 'k') && op != "vmovss" || amxOp(op)
}

// amxOp says whether an instruction is one of AMX.
func amxOp(op string) bool {
	return strings.HasPrefix(op, "tile") || strings.HasPrefix(op, "tdp") || op == "ldtilecfg"
}

// disassembled returns the vector instructions of each function of the package.
func disassembled(out []byte) map[string][]string {
	fs, name := map[string][]string{}, ""
	head := regexp.MustCompile(`internal/kernel\.(\w+)(\.abi0)?>:$`)
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.HasSuffix(line, ">:") {
			name = ""
			if m := head.FindStringSubmatch(line); m != nil {
				name = m[1]
			}
			continue
		}
		_, line, ok := strings.Cut(line, ":\t")
		if !ok || name == "" {
			continue
		}
		op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.ReplaceAll(rest, "0x0(", "(") // a base of R13 or RBP has a displacement in any case
		if vectorial(op) {
			fs[name] = append(fs[name], regexp.MustCompile(`0x[0-9a-f]+\(%rip\)`).ReplaceAllString(strings.TrimSpace(op+" "+strings.TrimSpace(rest)), "(%rip)"))
		}
	}
	return fs
}

// written returns the same of a file of assembly, as objdump writes it.
func written(text string) map[string][]string {
	fs, name := map[string][]string{}, ""
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "TEXT ·"); ok {
			name, _, _ = strings.Cut(rest, "(")
			continue
		}
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		if strings.HasPrefix(line, "\tBYTE") { // the comment is the instruction
			_, line, _ = strings.Cut(line, "// ")
			if strings.HasPrefix(line, "VPDPBUSD") {
				line = "{vex} " + line
			}
		}
		op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		op, suffix, _ := strings.Cut(strings.ToLower(op), ".")
		if !vectorial(op) {
			continue
		}
		var operands []string
		for _, o := range strings.Split(strings.TrimSpace(rest), ", ") {
			if o != "" {
				if amxOp(op) && o[0] == '$' {
					o = "T" + o[len(o)-1:]
				}
				o = translate(o)
				if op == "kmovq" { // of 64 bits
					o = strings.Replace(o, "%e", "%r", 1)
				}
				operands = append(operands, o)
			}
		}
		if n := len(operands) - 2; n > 0 && strings.HasPrefix(operands[n], "%k") && !strings.HasPrefix(operands[n+1], "%k") {
			operands[n+1] += "{" + operands[n] + "}"
			operands = append(operands[:n], operands[n+1])
		}
		switch suffix {
		case "z":
			operands[len(operands)-1] += "{z}"
		case "bcst":
			operands[0] += "{1to16}"
		}
		if op == "vcmpps" && operands[0] == "$0x1" {
			op, operands = "vcmpltps", operands[1:]
		}
		if op == "vcmpps" && operands[0] == "$0x7" {
			op, operands = "vcmpordps", operands[1:]
		}
		fs[name] = append(fs[name], strings.TrimSpace(op+" "+strings.Join(operands, ",")))
	}
	return fs
}

// translate turns an operand of Go's assembly into GNU's.
func translate(o string) string {
	if n, ok := strings.CutPrefix(o, "$"); ok {
		v, err := strconv.ParseInt(n, 0, 64)
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf("$%#x", v)
	}
	if !strings.Contains(o, "(") {
		switch o[0] {
		case 'X', 'Y', 'Z':
			return "%" + strings.ToLower(o[:1]) + "mm" + o[1:]
		case 'T':
			return "%tmm" + o[1:]
		case 'K':
			return "%k" + o[1:]
		}
		return register(o, "e")
	}
	parts := strings.Split(strings.ReplaceAll(o, ")", ""), "(")
	switch parts[1] {
	case "SB":
		return "(%rip)"
	case "FP": // the return address lies between
		_, off, _ := strings.Cut(parts[0], "+")
		v, _ := strconv.Atoi(off)
		return fmt.Sprintf("%#x(%%rsp)", v+8)
	}
	disp := ""
	if parts[0] != "" {
		v, _ := strconv.ParseInt(parts[0], 0, 64)
		disp = fmt.Sprintf("%#x", v)
	}
	if len(parts) == 2 {
		return disp + "(" + register(parts[1], "r") + ")"
	}
	index, scale, _ := strings.Cut(parts[2], "*")
	return disp + "(" + register(parts[1], "r") + "," + register(index, "r") + "," + scale + ")"
}

func register(name, prefix string) string {
	if name[0] != 'R' {
		return "%" + prefix + strings.ToLower(name)
	}
	if prefix == "e" {
		return "%" + strings.ToLower(name) + "d"
	}
	return "%" + strings.ToLower(name)
}
