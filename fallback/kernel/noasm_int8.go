//go:build !amd64 || noasm

package kernel

func byteTile1x16(c *int32, ldc int, a *int32, lda int, b *uint8, quads int, e *int32) {
	panic(noAssembly)
}

func byteTile2x16(c *int32, ldc int, a *int32, lda int, b *uint8, quads int, e *int32) {
	panic(noAssembly)
}

func byteTile3x16(c *int32, ldc int, a *int32, lda int, b *uint8, quads int, e *int32) {
	panic(noAssembly)
}

func byteTile4x16(c *int32, ldc int, a *int32, lda int, b *uint8, quads int, e *int32) {
	panic(noAssembly)
}

func interleaveAVX2(dst *uint8, src *uint8, stride int, quads int, flip uint8) { panic(noAssembly) }

func packBytesAVX2(dst *int32, src *uint8, n int, flip uint8, zero int32) int32 { panic(noAssembly) }

func minMaxAVX2(dst *float32, src *float32, n int) { panic(noAssembly) }

func quantizeAVX2(dst *uint8, src *float32, n int, scale float32, zero float32, flip uint8) {
	panic(noAssembly)
}

func dequantizeAVX2(dst *float32, src *uint8, n int, scale float32, zero int32, flip uint8) {
	panic(noAssembly)
}
