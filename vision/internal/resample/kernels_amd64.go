//go:build !noasm

package resample

//go:generate sh -c "cd ../../_asm && go run ./resample -out ../internal/resample/kernels_amd64.s -stubs ../internal/resample/stubs_amd64.go -pkg resample"

import "golang.org/x/sys/cpu"

// useAVX2 is a variable so that tests can compare both ways.
var useAVX2 = cpu.X86.HasAVX2

// lowBits splits a coefficient into c>>lowBits, which must fit 16 bits, and the bits below.
const lowBits = 11

// packed is a kernel as the vector code takes it: the same number of taps for every output, a
// multiple of some unit, none outside of the source.
type packed struct {
	start  []int32
	groups int
	// coef has for each group of unit taps the high parts, then the low parts.
	coef []int16
}

// pack pads the taps of k with zero coefficients, for a source of n samples. It returns false where
// the source is too short, or a coefficient too large.
func (k *kernel) pack(n, unit int) (p packed, ok bool) {
	most := 0
	for _, taps := range k.taps {
		most = max(most, taps)
	}
	p.groups = (most + unit - 1) / unit
	width := p.groups * unit
	if width > n || width == 0 {
		return p, false
	}
	p.start = make([]int32, len(k.start))
	p.coef = make([]int16, len(k.start)*width*2)
	for i, first := range k.start {
		start := min(first, n-width)
		p.start[i] = int32(start)
		out := p.coef[i*width*2:]
		for j, c := range k.coef[i*k.stride:][:k.taps[i]] {
			if c != c<<5>>5 {
				return p, false
			}
			at := first - start + j
			at = at/unit*2*unit + at%unit
			out[at], out[at+unit] = int16(c>>lowBits), int16(c&(1<<lowBits-1))
		}
	}
	return p, true
}

func horizontalPass(dst, src Pixels, k *kernel) {
	const unit, rows = 4, 4
	p, ok := packed{}, false
	if useAVX2 && dst.Height >= rows && dst.Width > 0 && src.Width < 1<<28 {
		p, ok = k.pack(src.Width, unit)
	}
	if !ok {
		horizontalPassGeneric(dst, src, k)
		return
	}
	for i := range p.start {
		p.start[i] *= 4 // bytes a pixel
	}
	for y := 0; y < dst.Height; y += rows {
		y := min(y, dst.Height-rows) // the last rows once more, in part
		_, _ = dst.row(y + rows - 1)[0], src.row(y + rows - 1)[0]
		horizontalAVX2(&dst.Pix[y*dst.Stride], dst.Stride, &src.Pix[y*src.Stride], src.Stride,
			&p.start[0], &p.coef[0], p.groups, dst.Width)
	}
}

func verticalPass(dst, src Pixels, k *kernel) {
	const unit, columns = 2, 32
	p, ok := packed{}, false
	n := 4 * dst.Width
	if useAVX2 && n >= columns && src.Height < 1<<31 {
		p, ok = k.pack(src.Height, unit)
	}
	if !ok {
		verticalPassGeneric(dst, src, k)
		return
	}
	_ = src.row(src.Height - 1)[n-1]
	for y := range dst.Height {
		d, s := dst.row(y), src.Pix[int(p.start[y])*src.Stride:]
		coef := &p.coef[y*p.groups*unit*2]
		verticalAVX2(&d[0], &s[0], src.Stride, coef, p.groups, n)
		if n%columns != 0 { // the last columns once more, in part
			verticalAVX2(&d[n-columns], &s[n-columns], src.Stride, coef, p.groups, columns)
		}
	}
}

// nearestRow relies on 0 <= at[i] <= len(src)-4, rising. No vector is needed.
func nearestRow(dst, src []uint8, at []int32) {
	n := len(at)
	if !useAVX2 || n == 0 {
		nearestRowGeneric(dst, src, at)
		return
	}
	_, _, _ = dst[4*n-1], src[at[0]], src[at[n-1]+3]
	nearestRowAsm(&dst[0], &src[0], &at[0], n)
}
