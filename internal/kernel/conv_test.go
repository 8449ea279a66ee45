package kernel

import (
	"fmt"
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

func TestDepthwiseRow(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for i := range 600 {
			channels, n := 1+r.IntN(Block), 1+i%40
			if i%3 > 0 {
				channels = Block / (i % 3)
			}
			w := &Window{Width: 1 + r.IntN(7), Stride: 1 + r.IntN(2), Dilation: 1}
			if r.IntN(2) == 0 {
				w.Width = 3 + 2*r.IntN(3)
			}
			if r.IntN(5) == 0 {
				w.Stride, w.Dilation = 3, 2
			}
			height := r.IntN(6)
			var at []int
			for y := range height {
				at = append(at, r.IntN(200))
				if y == 0 {
					at[0] = 200 // the last element is read, and none beyond
				}
				w.Row(at[y], y*w.Width*Block)
			}
			dstStep := channels + r.IntN(30)
			src := randFloats(r, 200+((n-1)*w.Stride+(w.Width-1)*w.Dilation+1)*Block)
			weights, bias := randFloats(r, height*w.Width*Block), randFloats(r, channels)
			dst, check := guarded(t, (n-1)*dstStep+channels, i%3)
			for j := range dst {
				dst[j] = 77
			}
			DepthwiseRow(dst, dstStep, src, n, w, weights, bias, -3, 4)
			check()
			for j, got := range dst {
				p, c := j/dstStep, j%dstStep
				want := 77.0
				if c < channels {
					want = float64(bias[c])
					for y := range height {
						for k := range w.Width {
							want += float64(weights[(y*w.Width+k)*Block+c]) * float64(src[at[y]+(p*w.Stride+k*w.Dilation)*Block+c])
						}
					}
					want = min(max(want, -3), 4)
				}
				if math.Abs(want-float64(got)) > 1e-5 {
					t.Fatalf(
						"window %dx%d, stride %d, channel %d of %d, position %d of %d: %v, want %v",
						height, w.Width, w.Stride, c, channels, p, n, got, want)
				}
			}
		}
	})
}

func BenchmarkDepthwiseRow(b *testing.B) {
	for _, k := range []int{3, 5} {
		for _, n := range []int{7, 14, 28} {
			for stride := 1; stride <= 2; stride++ {
				b.Run(fmt.Sprintf("%dx%d stride %d, %d", k, k, stride, n), func(b *testing.B) {
					w := &Window{Width: k, Stride: stride, Dilation: 1}
					line := (n*stride + k) * Block
					for y := range k {
						w.Row(y*line, y*k*Block)
					}
					src, weights := make([]float32, k*line), make([]float32, k*k*Block)
					dst, bias := make([]float32, n*Block), make([]float32, Block)
					for b.Loop() {
						DepthwiseRow(dst, Block, src, n, w, weights, bias, 0, 6)
					}
					b.ReportMetric(float64(2*k*k*n*Block)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
				})
			}
		}
	}
}
