//go:build !amd64 || noasm || simulate

package kernel

// The functions of the assembly for AVX-512 in builds without it, where they are never
// called, and in those that simulate it.

func gemm1x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm1x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf1x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf1x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm2x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm2x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf2x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf2x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm3x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm3x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf3x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf3x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm4x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm4x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf4x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf4x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm5x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm5x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf5x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf5x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm6x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm6x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf6x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf6x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm7x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm7x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf7x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf7x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm8x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm8x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf8x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf8x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm9x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm9x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf9x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf9x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm10x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm10x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf10x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf10x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm11x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm11x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf11x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf11x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemm12x32(c *float32, ldc int, a *float32, lda int, b *float32, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemm12x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func gemmHalf12x32(c *float32, ldc int, a *float32, lda int, b *uint16, gap int, k int, flags int, e *float32, mask uint32) {
	instead("gemmHalf12x32", c, ldc, a, lda, b, gap, k, flags, e, mask)
}

func toHalfAVX512(dst *uint16, src *float32, n int) {
	instead("toHalfAVX512", dst, src, n)
}

func fromHalfAVX512(dst *float32, src *uint16, n int) {
	instead("fromHalfAVX512", dst, src, n)
}

func expAVX512(dst *float32, src *float32, n int) {
	instead("expAVX512", dst, src, n)
}

func tanhAVX512(dst *float32, src *float32, n int) {
	instead("tanhAVX512", dst, src, n)
}

func erfAVX512(dst *float32, src *float32, n int) {
	instead("erfAVX512", dst, src, n)
}

func sigmoidAVX512(dst *float32, src *float32, n int) {
	instead("sigmoidAVX512", dst, src, n)
}

func geluAVX512(dst *float32, src *float32, n int) {
	instead("geluAVX512", dst, src, n)
}

func geluTanhAVX512(dst *float32, src *float32, n int) {
	instead("geluTanhAVX512", dst, src, n)
}

func swishAVX512(dst *float32, src *float32, n int, alpha float32) {
	instead("swishAVX512", dst, src, n, alpha)
}

func affineAVX512(dst *float32, src *float32, n int, scale float32, shift float32) {
	instead("affineAVX512", dst, src, n, scale, shift)
}

func clipAVX512(dst *float32, src *float32, n int, low float32, high float32) {
	instead("clipAVX512", dst, src, n, low, high)
}

func shiftClipAVX512(dst *float32, src *float32, n int, shift float32, low float32, high float32) {
	instead("shiftClipAVX512", dst, src, n, shift, low, high)
}

func addAVX512(dst *float32, a *float32, b *float32, n int) {
	instead("addAVX512", dst, a, b, n)
}

func subAVX512(dst *float32, a *float32, b *float32, n int) {
	instead("subAVX512", dst, a, b, n)
}

func mulAVX512(dst *float32, a *float32, b *float32, n int) {
	instead("mulAVX512", dst, a, b, n)
}

func divAVX512(dst *float32, a *float32, b *float32, n int) {
	instead("divAVX512", dst, a, b, n)
}

func sumAVX512(src *float32, n int) float32 {
	return instead("sumAVX512", src, n)
}

func squaresAVX512(src *float32, n int, mean float32) float32 {
	return instead("squaresAVX512", src, n, mean)
}

func maxAVX512(src *float32, n int) float32 {
	return instead("maxAVX512", src, n)
}

func expSumAVX512(dst *float32, src *float32, n int, shift float32) float32 {
	return instead("expSumAVX512", dst, src, n, shift)
}

func normaliseAVX512(dst *float32, src *float32, scale *float32, bias *float32, n int, mean float32, inv float32) {
	instead("normaliseAVX512", dst, src, scale, bias, n, mean, inv)
}

func axpyAVX512(dst *float32, src *float32, n int, v float32) {
	instead("axpyAVX512", dst, src, n, v)
}

func dotsAVX512(dst *float32, a *float32, b *float32, rows int, stride int, n int) {
	instead("dotsAVX512", dst, a, b, rows, stride, n)
}

func combineAVX512(dst *float32, a *float32, b *float32, rows int, stride int, n int) {
	instead("combineAVX512", dst, a, b, rows, stride, n)
}
