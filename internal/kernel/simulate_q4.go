//go:build amd64 && !noasm && simulate

package kernel

import (
	_ "embed"
	"math"
	"strings"
)

//go:embed q4wide512_amd64.s
var q4Wide512Text string

// decodePacked makes the steps of what products with packed weights need; nil for others. lane and
// write are decodeVector's.
func decodePacked(name string, o []operand, address func(m *machine, x *operand) uint64,
	lane func(m *machine, x *operand, address uint64, i int) uint32,
	write func(m *machine, lanes int, f func(i int) uint32)) step {
	last := o[len(o)-1]
	each := func(at int, f func(m *machine, v uint32, i int) uint32) step {
		return func(m *machine) {
			a := address(m, &o[at])
			write(m, last.lanes, func(i int) uint32 { return f(m, lane(m, &o[at], a, i), i) })
		}
	}
	switch name {
	case "VPANDD":
		return each(0, func(m *machine, v uint32, i int) uint32 { return v & m.z[o[1].n][i] })
	case "VPSRLD":
		if o[0].kind != 'i' {
			panic("kernel: a shift by a register")
		}
		return each(1, func(_ *machine, v uint32, _ int) uint32 { return v >> o[0].value })
	case "VPSLLD":
		if o[0].kind != 'i' {
			panic("kernel: a shift by a register")
		}
		return each(1, func(_ *machine, v uint32, _ int) uint32 { return v << o[0].value })
	case "VDPBF16PS": // the upper pair of products is added first; what is below 2^-126 is 0
		return each(0, func(m *machine, v uint32, i int) uint32 {
			sum, a := math.Float32frombits(m.z[last.n][i]), m.z[o[1].n][i]
			sum = flushed(fma(bfloat(v>>16), bfloat(a>>16), flushed(sum)))
			return math.Float32bits(flushed(fma(bfloat(v), bfloat(a), sum)))
		})
	case "VCVTDQ2PS":
		return each(0, func(_ *machine, v uint32, _ int) uint32 { return math.Float32bits(float32(int32(v))) })
	case "VPERMPS": // lanes of the first operand, which the second lists
		return func(m *machine) {
			a, from := address(m, &o[0]), m.z[o[1].n]
			write(m, last.lanes, func(i int) uint32 { return lane(m, &o[0], a, int(from[i])%last.lanes) })
		}
	case "VINSERTI32X4":
		return func(m *machine) {
			a, old := address(m, &o[1]), m.z[o[2].n]
			write(m, last.lanes, func(i int) uint32 {
				if at := 4 * int(o[0].value); i >= at && i < at+4 {
					return lane(m, &o[1], a, i-at)
				}
				return old[i]
			})
		}
	case "VPUNPCKLDQ", "VPUNPCKHDQ", "VPUNPCKLQDQ", "VPUNPCKHQDQ": // the second operand's come first
		size, from := 1, 0
		if strings.HasSuffix(name, "QDQ") {
			size = 2
		}
		if name[7] == 'H' {
			from = 2
		}
		return func(m *machine) {
			x := [2][16]uint32{m.z[o[1].n], m.z[o[0].n]}
			write(m, last.lanes, func(i int) uint32 {
				unit := i % 4 / size
				return x[unit%2][i&^3+from+unit/2*size+i%size]
			})
		}
	case "VPDPBUSD": // signed bytes, unsigned bytes, sums
		return each(0, func(m *machine, v uint32, i int) uint32 {
			u, sum := m.z[o[1].n][i], m.z[last.n][i]
			for s := 0; s < 32; s += 8 {
				sum += uint32(int32(int8(v>>s)) * int32(uint8(u>>s)))
			}
			return sum
		})
	}
	return nil
}

// bfloat widens the bfloat16 of the low bits of v.
func bfloat(v uint32) float32 { return flushed(math.Float32frombits(v << 16)) }

// flushed is v, or a zero of its sign where v is denormal.
func flushed(v float32) float32 {
	if u := math.Float32bits(v); u&0x7f800000 == 0 {
		return math.Float32frombits(u & 0x80000000)
	}
	return v
}
