//go:build !noasm

package jpeg

//go:generate sh -c "cd ../../_asm && go run ./jpeg -out ../internal/jpeg/kernels_amd64.s -stubs ../internal/jpeg/stubs_amd64.go -pkg jpeg"

import "golang.org/x/sys/cpu"

// useAVX2 is a variable so that tests can compare both ways.
var useAVX2 = cpu.X86.HasAVX2

func inverseDCT(dst []uint8, stride int, coef *block, quant *quantTable) {
	if !useAVX2 {
		inverseDCTGeneric(dst, stride, coef, quant)
		return
	}
	_ = dst[7*stride+7]
	inverseDCTAVX(&dst[0], stride, &coef[0], &quant[0])
}

func yccRow(dst, y, cb, cr []uint8) {
	n := len(dst) / 4
	if !useAVX2 || n < 16 {
		yccRowGeneric(dst, y, cb, cr)
		return
	}
	_, _, _ = y[n-1], cb[n-1], cr[n-1]
	yccRowAVX2(&dst[0], &y[0], &cb[0], &cr[0], n&^15)
	if n&15 != 0 { // the last 16 once more, in part
		n -= 16
		yccRowAVX2(&dst[4*n], &y[n], &cb[n], &cr[n], 16)
	}
}

func mix(dst []uint16, near, far []uint8) {
	n := len(dst)
	if !useAVX2 || n < 16 {
		mixGeneric(dst, near, far)
		return
	}
	_, _ = near[n-1], far[n-1]
	mixAVX2(&dst[0], &near[0], &far[0], n&^15)
	if n&15 != 0 {
		n -= 16
		mixAVX2(&dst[n], &near[n], &far[n], 16)
	}
}

func spread(dst []uint8, src []uint16, even, odd uint16, shift uint) {
	n := len(dst) / 2
	if !useAVX2 || n < 16 {
		spreadGeneric(dst, src, even, odd, shift)
		return
	}
	_ = src[n+1]
	spreadAVX2(&dst[0], &src[0], n&^15, even, odd, shift)
	if n&15 != 0 {
		n -= 16
		spreadAVX2(&dst[2*n], &src[n], 16, even, odd, shift)
	}
}
