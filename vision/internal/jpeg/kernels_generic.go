//go:build !amd64 || noasm

package jpeg

func inverseDCT(dst []uint8, stride int, coef *block, quant *quantTable) {
	inverseDCTGeneric(dst, stride, coef, quant)
}

func yccRow(dst, y, cb, cr []uint8) { yccRowGeneric(dst, y, cb, cr) }

func mix(dst []uint16, near, far []uint8) { mixGeneric(dst, near, far) }

func spread(dst []uint8, src []uint16, even, odd uint16, shift uint) {
	spreadGeneric(dst, src, even, odd, shift)
}
