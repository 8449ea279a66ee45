package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPointwise compares with the definition, for blocks of channels that lie side by side and for
// those that lie apart.
func TestPointwise(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		for i := range 150 {
			rows, k, n := 1+r.IntN(40), 1+r.IntN(40), 1+r.IntN(70)
			if i < 30 {
				rows = 1 + i
			}
			lda, step, apart := k+r.IntN(3), n+r.IntN(3), Block
			m := NewMatrix(nil, k, n)
			blocks := m.Panels()
			size := (rows-1)*step + n
			if i%2 == 0 {
				step, apart = Block+r.IntN(5), rows*(Block+5)
				size = blocks * apart
			}
			a, b := randFloats(r, (rows-1)*lda+k), randFloats(r, k*n)
			m.Fill(b, n, 0, blocks)
			e := &Epilogue{Bias: randFloats(r, n)}
			if i%3 > 0 {
				e.Bounds = &[2]float32{-2, 3}
			}
			if i%4 > 1 {
				e.Residual = randFloats(r, size)
			}
			if i%5 == 0 {
				e.Activate = func(dst, src []float32) { Scale(dst, src, 2) }
			}
			lo := r.IntN(blocks)
			hi := lo + 1 + r.IntN(blocks-lo)
			dst, check := guarded(t, size, i%3)
			for j := range dst {
				dst[j] = 77
			}
			m.Pointwise(dst, step, apart, a, lda, rows, lo, hi, e)
			check()
			want := make([]float64, size)
			for j := range want {
				want[j] = 77
			}
			for row := range rows {
				for c := lo * Block; c < min(n, hi*Block); c++ {
					v := float64(e.Bias[c])
					for x := range k {
						v += float64(a[row*lda+x]) * float64(b[x*n+c])
					}
					if e.Bounds != nil {
						v = min(max(v, -2), 3)
					}
					if e.Activate != nil {
						v *= 2
					}
					at := c/Block*apart + row*step + c%Block
					if e.Residual != nil {
						v += float64(e.Residual[at])
					}
					want[at] = v
				}
			}
			for j, w := range want {
				if math.Abs(w-float64(dst[j])) > 1e-4 {
					t.Fatalf("%d rows of %d by %d, panels %d to %d, step %d, apart %d: %v at %d, want %v",
						rows, k, n, lo, hi, step, apart, dst[j], j, w)
				}
			}
		}
	})
}

func BenchmarkPointwise(b *testing.B) {
	for _, s := range []struct {
		name       string
		rows, k, n int
	}{{"16 to 96", 1120, 16, 96}, {"144 to 24", 448, 144, 24}, {"112 to 672", 196, 112, 672}, {"672 to 112", 196, 672, 112}} {
		b.Run(s.name, func(b *testing.B) {
			m := NewMatrix(nil, s.k, s.n)
			e := &Epilogue{Bias: make([]float32, s.n), Bounds: &[2]float32{0, 6}}
			dst, a := make([]float32, s.rows*s.n), make([]float32, s.rows*s.k)
			for b.Loop() {
				m.Pointwise(dst, s.n, Block, a, s.k, s.rows, 0, m.Panels(), e)
			}
			b.ReportMetric(float64(2*s.rows*s.k*s.n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
		})
	}
}
