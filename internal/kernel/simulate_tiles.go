//go:build amd64 && !noasm && simulate

package kernel

import (
	"encoding/binary"
	"math"
)

// tiles are the tile registers of AMX: eight of 16 rows of 64 bytes, once they are configured.
type tiles struct {
	ready bool
	t     [8][16][64]byte
}

// decodeTile makes the steps of AMX. A tile is a constant operand, its number.
func decodeTile(op string, o []operand) step {
	use := func(m *machine, o operand) *[16][64]byte {
		if !m.tiles.ready {
			panic("kernel: " + op + " of a tile that is not configured")
		}
		return &m.tiles.t[o.value]
	}
	// rowsOf calls f for each row of a tile in memory. The index is how far they lie apart, and no
	// part of the first one's address.
	rowsOf := func(m *machine, at operand, f func(row int, address uint64)) {
		stride := m.r[at.index]
		for r := range 16 {
			f(r, at.address(m)-stride+uint64(r)*stride)
		}
	}
	switch op {
	case "LDTILECFG":
		return func(m *machine) {
			at := o[0].address(m)
			for i := range 64 {
				want := byte(0)
				switch {
				case i == 0:
					want = 1
				case i >= 16 && i < 32 && i%2 == 0:
					want = 64
				case i >= 48 && i < 56:
					want = 16
				}
				if *(*byte)(pointer(at + uint64(i))) != want {
					panic("kernel: tiles other than eight of 16 rows of 64 bytes")
				}
			}
			m.tiles = tiles{ready: true}
		}
	case "TILERELEASE":
		return func(m *machine) { m.tiles = tiles{} }
	case "TILEZERO":
		return func(m *machine) { *use(m, o[0]) = [16][64]byte{} }
	case "TILELOADD", "TILELOADDT1":
		return func(m *machine) {
			t := use(m, o[1])
			rowsOf(m, o[0], func(r int, a uint64) { t[r] = *(*[64]byte)(pointer(a)) })
		}
	case "TILESTORED":
		return func(m *machine) {
			t := use(m, o[0])
			rowsOf(m, o[1], func(r int, a uint64) { *(*[64]byte)(pointer(a)) = t[r] })
		}
	case "TDPBUSD": // signed bytes of the first, in fours of rows, unsigned ones of the second
		return func(m *machine) {
			s, u, acc := use(m, o[0]), use(m, o[1]), use(m, o[2])
			for r := range 16 {
				for j := range 16 {
					sum := int32(binary.LittleEndian.Uint32(acc[r][4*j:]))
					for k := range 64 {
						sum += int32(u[r][k]) * int32(int8(s[k/4][4*j+k%4]))
					}
					binary.LittleEndian.PutUint32(acc[r][4*j:], uint32(sum))
				}
			}
		}
	}
	if op == "TDPBF16PS" { // pairs of the first, of which the second's rows are the other factors
		return func(m *machine) {
			b, a, acc := use(m, o[0]), use(m, o[1]), use(m, o[2])
			word := binary.LittleEndian.Uint32
			for r := range 16 {
				for j := range 16 {
					var low, high float32 // the sums of even and of odd k, joined at the end
					for k := range 16 {
						x, y := word(a[r][4*k:]), word(b[k][4*j:])
						low = flushed(fma(bfloat(x), bfloat(y), low))
						high = flushed(fma(bfloat(x>>16), bfloat(y>>16), high))
					}
					sum := flushed(math.Float32frombits(word(acc[r][4*j:])))
					sum = flushed(sum + flushed(low+high))
					binary.LittleEndian.PutUint32(acc[r][4*j:], math.Float32bits(sum))
				}
			}
		}
	}
	panic("kernel: the simulation does not know " + op)
}
