//go:build !amd64 || noasm

package kernel

func depthwiseLast16AVX2(dst *float32, dstStep int, src *float32, srcStep int, n int, taps *int, count int, weights *float32, bias *float32, low float32, high float32) {
	panic(noAssembly)
}

func depthwiseLast8AVX2(dst *float32, dstStep int, src *float32, srcStep int, n int, taps *int, count int, weights *float32, bias *float32, low float32, high float32) {
	panic(noAssembly)
}
