package fft

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Every length gives what the sum of the definition gives.
func TestPower(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 20, 22, 25, 27, 49, 60, 97, 98, 100,
		121, 128, 200, 202, 210, 256, 400, 512, 1000, 1024, 1155} {
		frame := make([]float64, n)
		for i := range frame {
			frame[i] = random.NormFloat64()
		}
		p := New(n)
		got := make([]float64, n/2+1)
		p.Power(got, frame, p.NewScratch())
		for k := range got {
			var want complex128
			for i, v := range frame {
				want += complex(v, 0) * root(i*k, n)
			}
			power := real(want)*real(want) + imag(want)*imag(want)
			if e := math.Abs(got[k] - power); e > 1e-12*float64(n)*(1+power) || math.IsNaN(e) {
				t.Errorf("length %d, term %d: %v, want %v", n, k, got[k], power)
				break
			}
		}
	}
}

func BenchmarkPower(b *testing.B) {
	p := New(400)
	s, frame, dst := p.NewScratch(), make([]float64, 400), make([]float64, 201)
	for i := range frame {
		frame[i] = float64(i%7) - 3
	}
	for b.Loop() {
		p.Power(dst, frame, s)
	}
}
