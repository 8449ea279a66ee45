//go:build !amd64 || noasm

package resample

func horizontalPass(dst, src Pixels, k *kernel) { horizontalPassGeneric(dst, src, k) }

func verticalPass(dst, src Pixels, k *kernel) { verticalPassGeneric(dst, src, k) }

func nearestRow(dst, src []uint8, at []int32) { nearestRowGeneric(dst, src, at) }
