//go:build amd64 && !noasm && simulate

package kernel

import (
	"math"
	"strings"

	"github.com/crossattn/xpipe/tensor"
)

// lanewise are the instructions that compute each lane from the operands in their order, the
// destination's old lane last.
var lanewise = map[string]func(v *[4]float32) float32{
	"VADDPS": func(v *[4]float32) float32 { return v[1] + v[0] },
	"VSUBPS": func(v *[4]float32) float32 { return v[1] - v[0] },
	"VMULPS": func(v *[4]float32) float32 { return v[1] * v[0] },
	"VDIVPS": func(v *[4]float32) float32 { return v[1] / v[0] },
	// Of a NaN and a number, or of two zeros, the second source is the result: Go's first.
	"VMAXPS": func(v *[4]float32) float32 {
		if v[1] > v[0] {
			return v[1]
		}
		return v[0]
	},
	"VMINPS": func(v *[4]float32) float32 {
		if v[1] < v[0] {
			return v[1]
		}
		return v[0]
	},
	"VFMADD231PS":  func(v *[4]float32) float32 { return fma(v[1], v[0], v[2]) },
	"VFMADD213PS":  func(v *[4]float32) float32 { return fma(v[1], v[2], v[0]) },
	"VFNMADD231PS": func(v *[4]float32) float32 { return fma(-v[1], v[0], v[2]) },
	"VSCALEFPS": func(v *[4]float32) float32 {
		n := math.Floor(float64(v[0]))
		if math.IsNaN(n) {
			return float32(n)
		}
		return float32(math.Ldexp(float64(v[1]), int(min(max(n, -1000), 1000))))
	},
}

// bitwise are those of bits.
var bitwise = map[string]func(a, b uint32) uint32{
	"VPXORD": func(a, b uint32) uint32 { return a ^ b },
	"VXORPS": func(a, b uint32) uint32 { return a ^ b },
	"VANDPS": func(a, b uint32) uint32 { return a & b },
	"VORPS":  func(a, b uint32) uint32 { return a | b },
	"VPXOR":  func(a, b uint32) uint32 { return a ^ b },
	// Those of integers, too.
	"VPADDD":  func(a, b uint32) uint32 { return b + a },
	"VPSUBD":  func(a, b uint32) uint32 { return b - a },
	"VPMULLD": func(a, b uint32) uint32 { return b * a },
}

// fma rounds once to float64 and then to float32, which differs from the instruction in rare last
// places.
func fma(a, b, c float32) float32 { return float32(math.FMA(float64(a), float64(b), float64(c))) }

// decodeVector makes the steps of vectors and masks.
func decodeVector(op string, o []operand) step {
	name, suffix, _ := strings.Cut(op, ".")
	last, masked := o[len(o)-1], false
	// A mask before the destination is a mask of lanes to write; the others keep what they were, or
	// become 0 where the suffix says so.
	mask := func(*machine) uint64 { return math.MaxUint64 }
	if n := len(o) - 2; n > 0 && o[n].kind == 'k' && last.kind != 'k' {
		k := o[n].n
		masked = true
		mask = func(m *machine) uint64 { return m.k[k] }
		o = append(o[:n:n], last)
	}
	zeroing, repeating := suffix == "Z", suffix == "BCST"
	if suffix != "" && !zeroing && !repeating {
		panic("kernel: the simulation does not know " + op)
	}
	lane := func(m *machine, x *operand, address uint64, i int) uint32 {
		switch {
		case x.kind == 'z':
			return m.z[x.n][i]
		case repeating:
			return load32(address)
		}
		return load32(address + uint64(4*i))
	}
	address := func(m *machine, x *operand) uint64 {
		if x.kind == 'm' {
			return x.address(m)
		}
		return 0
	}
	// write sets the destination register's lanes from f, which is asked for lanes in the mask
	// only: memory outside of it is not touched.
	write := func(m *machine, lanes int, f func(i int) uint32) {
		k := mask(m)
		var v [16]uint32
		for i := range lanes {
			switch {
			case k>>i&1 != 0:
				v[i] = f(i)
			case !zeroing:
				v[i] = m.z[last.n][i]
			}
		}
		m.z[last.n] = v
	}
	if f := lanewise[name]; f != nil {
		return func(m *machine) {
			a := address(m, &o[0])
			old := m.z[last.n]
			write(m, last.lanes, func(i int) uint32 {
				v := [4]float32{math.Float32frombits(lane(m, &o[0], a, i)),
					math.Float32frombits(lane(m, &o[1], 0, i)), math.Float32frombits(old[i])}
				return math.Float32bits(f(&v))
			})
		}
	}
	if f := bitwise[name]; f != nil {
		return func(m *machine) {
			a := address(m, &o[0])
			write(m, last.lanes, func(i int) uint32 { return f(lane(m, &o[0], a, i), lane(m, &o[1], 0, i)) })
		}
	}
	switch name {
	case "VMOVUPS", "VMOVAPS", "VMOVDQU":
		if last.kind == 'm' {
			return func(m *machine) {
				a, k := last.address(m), mask(m)
				for i := range o[0].lanes {
					if k>>i&1 != 0 {
						store32(a+uint64(4*i), m.z[o[0].n][i])
					}
				}
			}
		}
		return func(m *machine) {
			a := address(m, &o[0])
			write(m, last.lanes, func(i int) uint32 { return lane(m, &o[0], a, i) })
		}
	case "VMOVDQU8":
		if last.kind == 'm' {
			if masked {
				panic("kernel: a masked store of bytes")
			}
			return func(m *machine) {
				for i := range o[0].lanes {
					store32(last.address(m)+uint64(4*i), m.z[o[0].n][i])
				}
			}
		}
		if !zeroing {
			panic("kernel: bytes that stay")
		}
		return func(m *machine) { // the mask has a bit for each byte
			k, a := mask(m), address(m, &o[0])
			var v [16]uint32
			for i := range 4 * last.lanes {
				if k>>i&1 == 0 {
					continue
				}
				b := m.z[o[0].n][i/4] >> (8 * (i % 4))
				if o[0].kind == 'm' {
					b = uint32(*(*uint8)(pointer(a + uint64(i))))
				}
				v[i/4] |= b & 0xff << (8 * (i % 4))
			}
			m.z[last.n] = v
		}
	case "VPDPBUSD":
		return func(m *machine) {
			a, old := address(m, &o[0]), m.z[last.n]
			write(m, last.lanes, func(i int) uint32 {
				sum, s, u := int32(old[i]), lane(m, &o[0], a, i), m.z[o[1].n][i]
				for range 4 {
					sum += int32(int8(s)) * int32(uint8(u))
					s, u = s>>8, u>>8
				}
				return uint32(sum)
			})
		}
	case "VCVTDQ2PS":
		return func(m *machine) {
			src := m.z[o[0].n]
			write(m, last.lanes, func(i int) uint32 { return math.Float32bits(float32(int32(src[i]))) })
		}
	case "VCVTPS2DQ":
		return func(m *machine) {
			src := m.z[o[0].n]
			write(m, last.lanes, func(i int) uint32 {
				return uint32(int32(math.RoundToEven(float64(math.Float32frombits(src[i])))))
			})
		}
	case "VPMOVZXBD": // from memory
		return func(m *machine) {
			a := o[0].address(m)
			write(m, last.lanes, func(i int) uint32 { return uint32(*(*uint8)(pointer(a + uint64(i)))) })
		}
	case "VPMOVDB": // to memory
		return func(m *machine) {
			a, k := last.address(m), mask(m)
			for i := range o[0].lanes {
				if k>>i&1 != 0 {
					*(*uint8)(pointer(a + uint64(i))) = uint8(m.z[o[0].n][i])
				}
			}
		}
	case "VPBROADCASTD":
		return func(m *machine) {
			v := m.z[o[0].n][0]
			switch o[0].kind {
			case 'm':
				v = load32(o[0].address(m))
			case 'r':
				v = uint32(m.r[o[0].n])
			}
			write(m, last.lanes, func(int) uint32 { return v })
		}
	case "VMOVD": // from a general register, or to memory
		if last.kind == 'm' {
			return func(m *machine) { store32(last.address(m), m.z[o[0].n][0]) }
		}
		return func(m *machine) { m.z[last.n] = [16]uint32{uint32(m.r[o[0].n])} }
	case "VMOVQ": // from memory
		return func(m *machine) {
			a := o[0].address(m)
			m.z[last.n] = [16]uint32{load32(a), load32(a + 4)}
		}
	case "MOVSS", "VMOVSS": // to memory
		return func(m *machine) { store32(last.address(m), m.z[o[0].n][0]) }
	case "VBROADCASTSS":
		return func(m *machine) {
			v := load32(o[0].address(m))
			write(m, last.lanes, func(int) uint32 { return v })
		}
	case "VCVTPH2PS": // from memory
		return func(m *machine) {
			a := o[0].address(m)
			write(m, last.lanes, func(i int) uint32 {
				return math.Float32bits(tensor.Half(*(*uint16)(pointer(a + uint64(2*i)))).Float32())
			})
		}
	case "VCVTPS2PH": // to memory, rounded to nearest
		return func(m *machine) {
			a := last.address(m)
			for i := range o[1].lanes {
				*(*uint16)(pointer(a + uint64(2*i))) = uint16(tensor.ToHalf(math.Float32frombits(m.z[o[1].n][i])))
			}
		}
	case "VRNDSCALEPS":
		if o[0].value != 0 {
			panic("kernel: rounding other than to the nearest integer")
		}
		return func(m *machine) {
			write(m, last.lanes, func(i int) uint32 {
				return math.Float32bits(float32(math.RoundToEven(float64(math.Float32frombits(m.z[o[1].n][i])))))
			})
		}
	case "VPERMILPS", "VPSHUFD":
		return func(m *machine) {
			src := m.z[o[1].n]
			write(m, last.lanes, func(i int) uint32 { return src[i&^3+int(o[0].value>>(2*(i&3)))&3] })
		}
	case "VEXTRACTF128", "VEXTRACTF64X4", "VEXTRACTI128", "VEXTRACTI64X4":
		return func(m *machine) {
			src, from := m.z[o[1].n], int(o[0].value)*last.lanes
			write(m, last.lanes, func(i int) uint32 { return src[from+i] })
		}
	case "VCMPPS":
		compare, ok := map[uint64]func(a, b float32) bool{
			1: func(a, b float32) bool { return a < b },
			7: func(a, b float32) bool { return a == a && b == b },
		}[o[0].value]
		if !ok {
			panic("kernel: a comparison other than less and neither a NaN")
		}
		return func(m *machine) {
			var k uint64
			for i := range o[1].lanes {
				if compare(math.Float32frombits(m.z[o[2].n][i]), math.Float32frombits(m.z[o[1].n][i])) {
					k |= 1 << i
				}
			}
			m.k[last.n] = k
		}
	case "KMOVW":
		return func(m *machine) { m.k[last.n] = m.r[o[0].n] & 0xffff }
	case "KMOVD":
		return func(m *machine) { m.k[last.n] = m.r[o[0].n] & 0xffffffff }
	case "KMOVQ":
		return func(m *machine) { m.k[last.n] = m.r[o[0].n] }
	case "KNOTW":
		return func(m *machine) { m.k[last.n] = ^m.k[o[0].n] & 0xffff }
	}
	if s := decodePacked(name, o, address, lane, write); s != nil {
		return s
	}
	panic("kernel: the simulation does not know " + op)
}
