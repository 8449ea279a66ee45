package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Packing float16 as it is and by way of float32 must give the same.
func TestFillHalves(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 40 {
		k, n := 1+r.IntN(30), 1+r.IntN(50)
		src, wide := make([]uint16, k*n), make([]float32, k*n)
		for i := range src {
			src[i] = uint16(r.IntN(0x7c00)) | uint16(r.IntN(2))<<15
		}
		FromHalf(wide, src)
		want, got := NewHalfMatrix(k, n), NewHalfMatrix(k, n)
		want.Fill(wide, n, 0, want.Panels())
		got.FillHalves(src, n, 0, got.Panels())
		if !slices.Equal(got.halves, want.halves) {
			t.Fatalf("%dx%d", k, n)
		}
		want.FillTransposed(wide, k, 0, want.Panels())
		got.FillHalvesTransposed(src, k, 0, got.Panels())
		if !slices.Equal(got.halves, want.halves) {
			t.Fatalf("%dx%d transposed", k, n)
		}
	}
}
