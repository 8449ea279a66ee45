package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRequantize compares with plain Go, bit by bit, for all widths of the last vector.
func TestRequantize(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for n := 1; n < 70; n++ {
			rows := 1 + r.IntN(5)
			q := &Requantizer{Low: -float32(r.IntN(128)), High: float32(r.IntN(128)), Zero: 128, Flip: uint8(n%2) << 7}
			for range n {
				q.Bias = append(q.Bias, int32(r.IntN(2000)-1000))
				q.Scale = append(q.Scale, []float32{1.0 / 8, 1.0 / 64, r.Float32() / 10, 1e30}[r.IntN(4)])
			}
			src, want := make([]int32, rows*n), make([]uint8, rows*n)
			for i := range src {
				src[i] = int32(r.IntN(4000) - 2000)
			}
			q.rowsGo(want, src)
			got := slices.Repeat([]uint8{77}, rows*n+64)
			q.Rows(got[:rows*n], src)
			if !slices.Equal(got[:rows*n], want) || slices.ContainsFunc(got[rows*n:], func(b uint8) bool { return b != 77 }) {
				t.Fatalf("%d columns: %v, want %v", n, got, want)
			}
		}
	})
}
