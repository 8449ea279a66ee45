package tensor

import "math"

// Half is an IEEE 754 binary16 number in its bits.
type Half uint16

// ToHalf rounds f to the nearest Half, ties to even. Values beyond 65504 become infinite; NaN stays
// NaN.
func ToHalf(f float32) Half {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	exp := int(bits>>23&0xff) - 127
	frac := bits & 0x7fffff
	switch {
	case exp == 128: // infinity or NaN; keep a NaN's payload non-zero
		if frac != 0 {
			return Half(sign | 0x7e00 | uint16(frac>>13))
		}
		return Half(sign | 0x7c00)
	case exp > 15:
		return Half(sign | 0x7c00)
	case exp >= -14:
		h := uint32(exp+15)<<10 | frac>>13
		return Half(sign | uint16(roundEven(h, frac&0x1fff, 0x1000)))
	case exp >= -25: // subnormal: the implicit one moves into the fraction
		frac |= 0x800000
		shift := uint(-exp - 14 + 13)
		h := frac >> shift
		return Half(sign | uint16(roundEven(h, frac&(1<<shift-1), 1<<(shift-1))))
	default:
		return Half(sign)
	}
}

func roundEven(h, rest, half uint32) uint32 {
	if rest > half || rest == half && h&1 == 1 {
		h++
	}
	return h
}

// BF16 is a bfloat16 number in its bits: the upper half of a float32.
type BF16 uint16

// ToBF16 rounds f to the nearest BF16, ties to even. NaN stays NaN.
func ToBF16(f float32) BF16 {
	bits := math.Float32bits(f)
	if f != f {
		return BF16(bits>>16 | 0x40) // a payload in the lower half alone would become infinity
	}
	return BF16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float32 converts b without loss.
func (b BF16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// Float32 converts h without loss.
func (h Half) Float32() float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h >> 10 & 0x1f)
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0: // zero or subnormal: frac * 2^-24 is exact in float32
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	default:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
}
