package jpeg

// The constants of the conversion from YCbCr, times 2^16 (jdcolor.c).
const (
	crToR = 91881 // 1.40200
	cbToG = 22554 // 0.34414
	crToG = 46802 // 0.71414
	cbToB = 116130
	half  = 1 << 15
)

// yccRowGeneric converts a row of n samples to pixels: dst has 4n bytes.
func yccRowGeneric(dst, y, cb, cr []uint8) {
	n := len(dst) / 4
	y, cb, cr = y[:n], cb[:n], cr[:n]
	for i := range y {
		l, b, r := int32(y[i]), int32(cb[i])-128, int32(cr[i])-128
		p := dst[4*i : 4*i+4]
		p[0] = clamp(l + (crToR*r+half)>>16)
		p[1] = clamp(l + (-cbToG*b-crToG*r+half)>>16)
		p[2] = clamp(l + (cbToB*b+half)>>16)
		p[3] = 255
	}
}

// mixGeneric is the vertical half of triangle upsampling: dst = 3*near + far.
func mixGeneric(dst []uint16, near, far []uint8) {
	near, far = near[:len(dst)], far[:len(dst)]
	for i := range dst {
		dst[i] = 3*uint16(near[i]) + uint16(far[i])
	}
}

// spreadGeneric is the horizontal half: from the n+2 sums of src, whose first and last repeat their
// neighbours, it makes 2n samples
//
//	(3*src[i] + src[i-1] + even) >> shift  and  (3*src[i] + src[i+1] + odd) >> shift
func spreadGeneric(dst []uint8, src []uint16, even, odd uint16, shift uint) {
	for i := range len(dst) / 2 {
		v := 3 * src[i+1]
		dst[2*i] = uint8((v + src[i] + even) >> shift)
		dst[2*i+1] = uint8((v + src[i+2] + odd) >> shift)
	}
}
