//go:build !amd64 || noasm

package kernel

// asmBuilt says whether this build has assembly. Here it has not: the functions
// below are never called.
const asmBuilt = false

const noAssembly = "kernel: no assembly in this build"

func instead(string, ...any) float32 { panic(noAssembly) }

func gemm1x16(c *float32, ldc int, a *float32, lda int, b *float32, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemmHalf1x16(c *float32, ldc int, a *float32, lda int, b *uint16, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemm2x16(c *float32, ldc int, a *float32, lda int, b *float32, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemmHalf2x16(c *float32, ldc int, a *float32, lda int, b *uint16, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemm3x16(c *float32, ldc int, a *float32, lda int, b *float32, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemmHalf3x16(c *float32, ldc int, a *float32, lda int, b *uint16, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemm4x16(c *float32, ldc int, a *float32, lda int, b *float32, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemmHalf4x16(c *float32, ldc int, a *float32, lda int, b *uint16, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemm5x16(c *float32, ldc int, a *float32, lda int, b *float32, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemmHalf5x16(c *float32, ldc int, a *float32, lda int, b *uint16, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemm6x16(c *float32, ldc int, a *float32, lda int, b *float32, k int, flags int, e *float32) {
	panic(noAssembly)
}

func gemmHalf6x16(c *float32, ldc int, a *float32, lda int, b *uint16, k int, flags int, e *float32) {
	panic(noAssembly)
}

func toHalfAVX2(dst *uint16, src *float32, n int) { panic(noAssembly) }

func fromHalfAVX2(dst *float32, src *uint16, n int) { panic(noAssembly) }

func expAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func tanhAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func erfAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func sigmoidAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func geluAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func geluTanhAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func swishAVX2(dst *float32, src *float32, n int, alpha float32) { panic(noAssembly) }

func affineAVX2(dst *float32, src *float32, n int, scale float32, shift float32) { panic(noAssembly) }

func clipAVX2(dst *float32, src *float32, n int, low float32, high float32) { panic(noAssembly) }

func shiftClipAVX2(dst *float32, src *float32, n int, shift float32, low float32, high float32) {
	panic(noAssembly)
}

func addAVX2(dst *float32, a *float32, b *float32, n int) { panic(noAssembly) }

func subAVX2(dst *float32, a *float32, b *float32, n int) { panic(noAssembly) }

func mulAVX2(dst *float32, a *float32, b *float32, n int) { panic(noAssembly) }

func divAVX2(dst *float32, a *float32, b *float32, n int) { panic(noAssembly) }

func sumAVX2(src *float32, n int) float32 { panic(noAssembly) }

func squaresAVX2(src *float32, n int, mean float32) float32 { panic(noAssembly) }

func maxAVX2(src *float32, n int) float32 { panic(noAssembly) }

func expSumAVX2(dst *float32, src *float32, n int, shift float32) float32 { panic(noAssembly) }

func normaliseAVX2(dst *float32, src *float32, scale *float32, bias *float32, n int, mean float32, inv float32) {
	panic(noAssembly)
}

func axpyAVX2(dst *float32, src *float32, n int, v float32) { panic(noAssembly) }

func depthwiseAVX2(dst *float32, n int, src *float32, offsets *int, weights *float32, taps int, bias float32, low float32, high float32) {
	panic(noAssembly)
}

func dotsAVX2(dst *float32, a *float32, b *float32, rows int, stride int, n int) { panic(noAssembly) }

func combineAVX2(dst *float32, a *float32, b *float32, rows int, stride int, n int) {
	panic(noAssembly)
}
