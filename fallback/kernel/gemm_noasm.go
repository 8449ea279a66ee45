//go:build !amd64 || noasm

package kernel

// asmBuilt says whether this build has assembly at all.
const asmBuilt = false

func gemmTile(c []float32, ldc int, a []float32, lda int, b []float32, k, rows int, add bool) {
	gemmTileGo(c, ldc, a, lda, b, k, rows, add)
}
