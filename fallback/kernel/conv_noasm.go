//go:build !amd64 || noasm

package kernel

func depthwiseRow3x1AVX2(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights *float32, bias *float32, low float32, high float32, vectors int) {
	panic(noAssembly)
}

func depthwiseRow3x2AVX2(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights *float32, bias *float32, low float32, high float32, vectors int) {
	panic(noAssembly)
}

func depthwiseRow5x1AVX2(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights *float32, bias *float32, low float32, high float32, vectors int) {
	panic(noAssembly)
}

func depthwiseRow5x2AVX2(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights *float32, bias *float32, low float32, high float32, vectors int) {
	panic(noAssembly)
}

func depthwiseRow7x1AVX2(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights *float32, bias *float32, low float32, high float32, vectors int) {
	panic(noAssembly)
}

func depthwiseRow7x2AVX2(dst *float32, dstStep int, src *float32, n int, rows *int, count int, weights *float32, bias *float32, low float32, high float32, vectors int) {
	panic(noAssembly)
}

func depthwiseTapsAVX2(dst *float32, dstStep int, src *float32, step int, n int, taps *int, count int, weights *float32, bias *float32, low float32, high float32) {
	panic(noAssembly)
}
