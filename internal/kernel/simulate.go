//go:build amd64 && !noasm && simulate

package kernel

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// In builds with the tag simulate the assembly for AVX-512, AVX-VNNI and AMX is interpreted: its text is read and
// each instruction does what Intel's Software Developer's Manual (volume 2) says, so that the tests
// run all of it on processors that have no AVX-512. It knows the instructions that the generator
// emits, and no others.
const simulated = true

//go:embed gemm512_amd64.s
var gemm512Text string

//go:embed math512_amd64.s
var math512Text string

//go:embed attention512_amd64.s
var attention512Text string

//go:embed dot512_amd64.s
var dot512Text string

//go:embed dotvnni_amd64.s
var dotVNNIText string

//go:embed dotamx_amd64.s
var dotAMXText string

//go:embed gemmamx_amd64.s
var gemmAMXText string

//go:embed gemmbf16_amd64.s
var gemmBF16Text string

//go:embed conv512_amd64.s
var conv512Text string

// machine is the state of a processor.
type machine struct {
	r          [16]uint64
	z          [32][16]uint32 // instructions clear what is above their destination
	k          [8]uint64
	tiles      tiles
	zero, less bool // the flags, as conditional jumps ask for them: less is SF != OF
	pc         int
	frame      *[128]byte
}

type step func(m *machine)

// function is an assembled function.
type function struct{ steps []step }

var (
	texts = []string{gemm512Text, math512Text, attention512Text, dot512Text, dotVNNIText,
		dotAMXText, gemmAMXText, gemmBF16Text, q4Wide512Text, conv512Text}
	symbols   = data(texts...)
	functions = assemble(texts...)
)

// instead runs the function of that name on its arguments.
func instead(name string, args ...any) float32 {
	f := functions[name]
	if f == nil {
		panic("kernel: no assembly of " + name)
	}
	m := machine{frame: new([128]byte)}
	// Whatever was in registers before must not matter.
	for i := range m.z {
		for j := range m.z[i] {
			m.z[i][j] = 0x7fc00000 // NaN
		}
	}
	at := 0
	put := func(size int, v uint64) {
		at = (at + size - 1) / size * size
		binary.LittleEndian.PutUint64(m.frame[at:], v)
		at += size
	}
	for _, a := range args {
		switch a := a.(type) {
		case *float32:
			put(8, uint64(uintptr(unsafe.Pointer(a))))
		case *uint16:
			put(8, uint64(uintptr(unsafe.Pointer(a))))
		case *uint32:
			put(8, uint64(uintptr(unsafe.Pointer(a))))
		case *uint8:
			put(8, uint64(uintptr(unsafe.Pointer(a))))
		case *int:
			put(8, uint64(uintptr(unsafe.Pointer(a))))
		case *int32:
			put(8, uint64(uintptr(unsafe.Pointer(a))))
		case int:
			put(8, uint64(a))
		case uint32:
			put(4, uint64(a))
		case int32:
			put(4, uint64(uint32(a)))
		case float32:
			put(4, uint64(math.Float32bits(a)))
		default:
			panic(fmt.Sprintf("kernel: argument %T of %s", a, name))
		}
	}
	for m.pc = 0; m.pc >= 0; {
		s := f.steps[m.pc]
		m.pc++
		s(&m)
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(m.frame[(at+7)/8*8:]))
}

// pointer turns an address of the program's into a pointer.
func pointer(address uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

func load32(a uint64) uint32     { return *(*uint32)(pointer(a)) }
func load64(a uint64) uint64     { return *(*uint64)(pointer(a)) }
func store32(a uint64, v uint32) { *(*uint32)(pointer(a)) = v }

// operand is one of an instruction, by kind: r, z (with its lanes), k, i(mmediate), m(emory).
type operand struct {
	kind    byte
	n       int // register, or lanes for m
	lanes   int
	value   uint64
	index   int // register of an address
	address func(m *machine) uint64
}

var gpNames = map[string]int{"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SP": 4, "BP": 5, "SI": 6, "DI": 7}

func parseGP(s string) (int, bool) {
	if n, ok := gpNames[s]; ok {
		return n, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s, "R"))
	return n, strings.HasPrefix(s, "R") && err == nil && n >= 8 && n < 16
}

func parseOperand(s string) operand {
	if n, ok := parseGP(s); ok {
		return operand{kind: 'r', n: n}
	}
	if len(s) < 4 {
		if n, err := strconv.Atoi(s[1:]); err == nil {
			switch s[0] {
			case 'X', 'Y', 'Z':
				return operand{kind: 'z', n: n, lanes: 4 << (s[0] - 'X')}
			case 'K':
				return operand{kind: 'k', n: n}
			}
		}
	}
	if s[0] == '$' {
		v, err := strconv.ParseInt(s[1:], 0, 64)
		if err != nil {
			panic(err)
		}
		return operand{kind: 'i', value: uint64(v)}
	}
	// name+off(FP), name<>+off(SB), disp(base) or disp(base)(index*scale)
	parts := strings.Split(strings.ReplaceAll(s, ")", ""), "(")
	disp := parts[0]
	switch parts[1] {
	case "FP":
		_, off, _ := strings.Cut(disp, "+")
		at, err := strconv.Atoi(off)
		if err != nil {
			panic(s)
		}
		return operand{kind: 'm', address: func(m *machine) uint64 { return uint64(uintptr(unsafe.Pointer(m.frame))) + uint64(at) }}
	case "SB":
		name, _, _ := strings.Cut(disp, "<>")
		bytes := symbols[name]
		return operand{kind: 'm', address: func(*machine) uint64 { return uint64(uintptr(unsafe.Pointer(&bytes[0]))) }}
	}
	var d int64
	if disp != "" {
		var err error
		if d, err = strconv.ParseInt(disp, 0, 64); err != nil {
			panic(s)
		}
	}
	base, ok := parseGP(parts[1])
	if !ok {
		panic(s)
	}
	if len(parts) == 2 {
		return operand{kind: 'm', address: func(m *machine) uint64 { return m.r[base] + uint64(d) }}
	}
	reg, by, _ := strings.Cut(parts[2], "*")
	index, ok := parseGP(reg)
	scale, err := strconv.Atoi(by)
	if !ok || err != nil {
		panic(s)
	}
	return operand{kind: 'm', index: index, address: func(m *machine) uint64 { return m.r[base] + m.r[index]*uint64(scale) + uint64(d) }}
}

// data reads the constants of files.
func data(texts ...string) map[string][]byte {
	syms := map[string][]byte{}
	for _, line := range strings.Split(strings.Join(texts, "\n"), "\n") {
		if !strings.HasPrefix(line, "DATA ") {
			continue
		}
		head, hex, _ := strings.Cut(line[len("DATA "):], ", $")
		name, rest, _ := strings.Cut(head, "<>+")
		off, size, _ := strings.Cut(rest, "(SB)/")
		at, err := strconv.Atoi(off)
		if err != nil || size != "4" {
			panic(line)
		}
		value, err := strconv.ParseUint(hex, 0, 32)
		if err != nil {
			panic(line)
		}
		if at == 0 {
			syms[name] = nil // another file may have it too
		}
		syms[name] = binary.LittleEndian.AppendUint32(syms[name], uint32(value))
	}
	return syms
}

// assemble reads the functions of files.
func assemble(texts ...string) map[string]*function {
	fs := map[string]*function{}
	for _, text := range texts {
		var f *function
		var lines [][2]string
		labels := map[string]int{}
		finish := func() {
			for _, l := range lines {
				f.steps = append(f.steps, decode(l[0], l[1], labels))
			}
			lines, labels = nil, map[string]int{}
		}
		for _, line := range strings.Split(text, "\n") {
			line, comment, _ := strings.Cut(line, "//")
			if strings.HasPrefix(line, "\tBYTE") { // the comment is the instruction
				line = "\t" + strings.TrimSpace(comment)
			}
			switch line = strings.TrimRight(line, " "); {
			case strings.HasPrefix(line, "TEXT ·"):
				if f != nil {
					finish()
				}
				f = &function{}
				name, _, _ := strings.Cut(line[len("TEXT ·"):], "(")
				fs[name] = f
			case strings.HasSuffix(line, ":"):
				labels[line[:len(line)-1]] = len(lines)
			case strings.HasPrefix(line, "\t"):
				op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				lines = append(lines, [2]string{op, strings.TrimSpace(rest)})
			}
		}
		finish()
	}
	return fs
}

// decode makes the step of an instruction. Operands are in Go's order, the destination last.
func decode(op, rest string, labels map[string]int) step {
	switch op {
	case "RET":
		return func(m *machine) { m.pc = -1 }
	case "VZEROUPPER":
		return func(m *machine) {
			for i := range 16 {
				clear(m.z[i][4:])
			}
		}
	case "TILERELEASE":
		return decodeTile(op, nil)
	case "JMP", "JZ", "JEQ", "JNZ", "JL", "JLE", "JGE", "JG":
		to, ok := labels[rest]
		if !ok {
			panic("no label " + rest)
		}
		return func(m *machine) {
			if map[string]bool{"JMP": true, "JZ": m.zero, "JEQ": m.zero, "JLE": m.less || m.zero, "JNZ": !m.zero, "JL": m.less, "JGE": !m.less, "JG": !m.less && !m.zero}[op] {
				m.pc = to
			}
		}
	}
	var o []operand
	for _, s := range strings.Split(rest, ", ") {
		o = append(o, parseOperand(s))
	}
	if op[0] == 'T' && op != "TESTQ" || op == "LDTILECFG" {
		return decodeTile(op, o)
	}
	if op[0] != 'V' && op[0] != 'K' && op != "MOVSS" {
		return decodeInteger(op, o)
	}
	return decodeVector(op, o)
}

// decodeInteger makes the steps of general registers.
func decodeInteger(op string, o []operand) step {
	last := o[len(o)-1]
	read := func(m *machine, x operand) uint64 {
		switch x.kind {
		case 'r':
			return m.r[x.n]
		case 'i':
			return x.value
		}
		if op[len(op)-1] == 'L' {
			return uint64(load32(x.address(m)))
		}
		return load64(x.address(m))
	}
	if op != "PREFETCHT0" && op != "PREFETCHT1" && op != "CMPQ" && last.kind != 'r' {
		panic(op + " of memory")
	}
	flags := func(m *machine, v uint64, less bool) {
		m.zero, m.less = v == 0, less
	}
	switch op {
	case "PREFETCHT0", "PREFETCHT1":
		return func(*machine) {}
	case "MOVQ":
		return func(m *machine) { m.r[last.n] = read(m, o[0]) }
	case "MOVL":
		return func(m *machine) { m.r[last.n] = uint64(uint32(read(m, o[0]))) }
	case "LEAQ":
		return func(m *machine) { m.r[last.n] = o[0].address(m) }
	case "ADDQ":
		return func(m *machine) {
			a, b := int64(m.r[last.n]), int64(read(m, o[0]))
			s := a + b
			overflow := (a < 0) == (b < 0) && (s < 0) != (a < 0)
			m.r[last.n] = uint64(s)
			flags(m, uint64(s), (s < 0) != overflow)
		}
	case "SUBQ", "DECQ":
		return func(m *machine) {
			a, b := int64(m.r[last.n]), int64(1)
			if op == "SUBQ" {
				b = int64(read(m, o[0]))
			}
			m.r[last.n] = uint64(a - b)
			flags(m, uint64(a-b), a < b)
		}
	case "INCQ":
		return func(m *machine) {
			m.r[last.n]++
			flags(m, m.r[last.n], int64(m.r[last.n]) < 0)
		}
	case "CMPQ": // the first operand is what the second is taken from
		return func(m *machine) {
			a, b := int64(m.r[o[0].n]), int64(read(m, o[1]))
			flags(m, uint64(a-b), a < b)
		}
	case "ANDQ":
		return func(m *machine) {
			m.r[last.n] &= read(m, o[0])
			flags(m, m.r[last.n], int64(m.r[last.n]) < 0)
		}
	case "XORQ":
		return func(m *machine) {
			m.r[last.n] ^= read(m, o[0])
			flags(m, m.r[last.n], int64(m.r[last.n]) < 0)
		}
	case "TESTQ":
		return func(m *machine) {
			v := m.r[last.n] & read(m, o[0])
			flags(m, v, int64(v) < 0)
		}
	case "IMULQ":
		return func(m *machine) { m.r[last.n] *= read(m, o[0]) }
	case "IMULL":
		return func(m *machine) { m.r[last.n] = uint64(uint32(m.r[last.n]) * uint32(read(m, o[0]))) }
	case "SHLQ":
		return func(m *machine) { m.r[last.n] <<= o[0].value }
	case "SHRQ":
		return func(m *machine) { m.r[last.n] >>= o[0].value }
	case "SHRL":
		return func(m *machine) { m.r[last.n] = uint64(uint32(m.r[last.n]) >> o[0].value) }
	case "BZHIQ":
		return func(m *machine) {
			v := m.r[o[1].n]
			if n := m.r[o[0].n] & 0xff; n < 64 {
				v &= 1<<n - 1
			}
			m.r[last.n] = v
		}
	case "BZHIL":
		return func(m *machine) {
			v := uint32(m.r[o[1].n])
			if n := m.r[o[0].n] & 0xff; n < 32 {
				v &= 1<<n - 1
			}
			m.r[last.n] = uint64(v)
		}
	}
	panic("kernel: the simulation does not know " + op)
}
