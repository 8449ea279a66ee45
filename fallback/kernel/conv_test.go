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

func TestDepthwiseLast(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for i := range 400 {
			channels, n := 1+r.IntN(40), 1+i%20
			srcStep, dstStep := channels+r.IntN(9), channels+r.IntN(3)
			list := make([]Tap, 1+r.IntN(25))
			for j := range list {
				list[j] = Tap{Src: r.IntN(300), Weight: j * channels}
			}
			list[0].Src = 300 // the last element is read, and none beyond
			src, weights := randFloats(r, 300+(n-1)*srcStep+channels), randFloats(r, len(list)*channels)
			bias := randFloats(r, channels)
			dst, check := guarded(t, (n-1)*dstStep+channels, i%3)
			for j := range dst {
				dst[j] = 77
			}
			DepthwiseLast(dst, dstStep, src, srcStep, n, NewTaps(list), weights, bias, -2, 3)
			check()
			for j, got := range dst {
				p, c := j/dstStep, j%dstStep
				want := 77.0
				if c < channels {
					want = float64(bias[c])
					for _, tap := range list {
						want += float64(weights[tap.Weight+c]) * float64(src[tap.Src+p*srcStep+c])
					}
					want = min(max(want, -2), 3)
				}
				if math.Abs(want-float64(got)) > 1e-5 {
					t.Fatalf("%d taps, channel %d of %d, position %d of %d: %v, want %v", len(list), c, channels, p, n, got, want)
				}
			}
		}
	})
}
