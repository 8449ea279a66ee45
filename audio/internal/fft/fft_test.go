package fft

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/internal/kernel"
)

// Every length gives what the sum of the definition gives.
func TestPower(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 20, 22, 25, 27, 49, 60, 97, 98, 100,
		121, 128, 200, 202, 210, 256, 400, 512, 1000, 1024, 1155} {
		frame := make([]float64, kernel.Signals*n)
		for i := range frame {
			frame[i] = random.NormFloat64()
		}
		p := New(n)
		scratch := p.NewScratch()
		copy(p.Frame(scratch), frame)
		got := p.Power(scratch)
		if len(got) != kernel.Signals*(n/2+1) {
			t.Fatal(n, len(got))
		}
		for at, v := range got {
			k, signal := at/kernel.Signals, at%kernel.Signals
			var want complex128
			for i := range n {
				want += complex(frame[kernel.Signals*i+signal], 0) * root(i*k, n)
			}
			power := real(want)*real(want) + imag(want)*imag(want)
			if e := math.Abs(v - power); e > 1e-12*float64(n)*(1+power) || math.IsNaN(e) {
				t.Errorf("length %d, term %d of signal %d: %v, want %v", n, k, signal, v, power)
				break
			}
		}
	}
}

func BenchmarkPower(b *testing.B) {
	p := New(400)
	s := p.NewScratch()
	for i := range p.Frame(s) {
		s.a[i] = float64(i%7) - 3
	}
	for b.Loop() {
		p.Power(s)
	}
}
