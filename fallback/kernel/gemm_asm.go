//go:build amd64 && !noasm

package kernel

// asmBuilt says whether this build has assembly at all.
const asmBuilt = true

// gemmTile picks the micro-kernel for the number of rows. The slices are indexed
// at their ends first: assembly checks nothing.
func gemmTile(c []float32, ldc int, a []float32, lda int, b []float32, k, rows int, add bool) {
	if !hasAVX2 {
		gemmTileGo(c, ldc, a, lda, b, k, rows, add)
		return
	}
	_, _, _ = c[(rows-1)*ldc+panelWidth-1], a[(rows-1)*lda+k-1], b[k*panelWidth-1]
	flag := 0
	if add {
		flag = 1
	}
	switch rows {
	case 1:
		gemm1x16(&c[0], ldc, &a[0], lda, &b[0], k, flag)
	case 2:
		gemm2x16(&c[0], ldc, &a[0], lda, &b[0], k, flag)
	case 3:
		gemm3x16(&c[0], ldc, &a[0], lda, &b[0], k, flag)
	case 4:
		gemm4x16(&c[0], ldc, &a[0], lda, &b[0], k, flag)
	case 5:
		gemm5x16(&c[0], ldc, &a[0], lda, &b[0], k, flag)
	default:
		gemm6x16(&c[0], ldc, &a[0], lda, &b[0], k, flag)
	}
}
