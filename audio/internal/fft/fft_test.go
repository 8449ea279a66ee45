package fft

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"
)

// Every length gives what the sum of the definition gives.
func TestTransform(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 20, 22, 25, 27, 49, 60, 97, 98, 100,
		121, 128, 200, 202, 210, 256, 400, 512, 1000, 1024, 1155} {
		frame := make([]float64, n)
		for i := range frame {
			frame[i] = random.NormFloat64()
		}
		p := New(n)
		got := make([]complex128, n/2+1)
		p.Transform(got, frame, p.NewScratch())
		for k := range got {
			var want complex128
			for i, v := range frame {
				want += complex(v, 0) * root(i*k, n)
			}
			if e := cmplx.Abs(got[k] - want); e > 1e-13*float64(n) || math.IsNaN(e) {
				t.Errorf("length %d, term %d: %v, want %v", n, k, got[k], want)
				break
			}
		}
	}
}

func BenchmarkTransform(b *testing.B) {
	p := New(400)
	s, frame, dst := p.NewScratch(), make([]float64, 400), make([]complex128, 201)
	for i := range frame {
		frame[i] = float64(i%7) - 3
	}
	for b.Loop() {
		p.Transform(dst, frame, s)
	}
}
