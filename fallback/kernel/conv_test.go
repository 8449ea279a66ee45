package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDepthwise(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for n := range 160 {
			taps := 1 + r.IntN(25)
			offsets, weights := make([]int, taps), randFloats(r, taps)
			src := randFloats(r, n+200)
			for i := range offsets {
				offsets[i] = r.IntN(200)
			}
			offsets[0] = 200 // the last element is read, and none beyond
			dst, check := guarded(t, n, n%2)
			Depthwise(dst, src, offsets, weights, 0.5, -2, 3)
			check()
			for i := range dst {
				want := 0.5
				for k, o := range offsets {
					want += float64(weights[k]) * float64(src[o+i])
				}
				if want = min(max(want, -2), 3); math.Abs(want-float64(dst[i])) > 1e-5 {
					t.Fatalf("%d taps, element %d of %d: %v, want %v", taps, i, n, dst[i], want)
				}
			}
		}
	})
}
