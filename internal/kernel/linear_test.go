package kernel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// linear is Linear by its definition, in the scalar loop that it replaces.
func linear(dst, x, weight, bias []float32, rows, in, out int) {
	for r := range rows {
		row := x[r*in : (r+1)*in]
		for o := range out {
			w := weight[o*in : (o+1)*in]
			var sum float32
			for i, v := range row {
				sum += v * w[i]
			}
			if bias != nil {
				sum += bias[o]
			}
			dst[r*out+o] = sum
		}
	}
}

func TestLinear(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 60 {
			rows, in, out := r.IntN(40), r.IntN(70), r.IntN(90)
			if i%10 == 0 { // large enough for several cores
				rows, in, out = 30+r.IntN(30), 200+r.IntN(100), 300+r.IntN(100)
			}
			x, weight, bias := randFloats(r, rows*in), randFloats(r, in*out), randFloats(r, out)
			if i%3 == 0 {
				bias = nil
			}
			if i%4 == 0 { // exact in float16
				for i, v := range weight {
					weight[i] = tensor.ToHalf(v).Float32()
				}
			}
			l, err := NewLinear(weight, bias, in, out)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float32, rows*out)
			linear(want, x, weight, bias, rows, in, out)
			for threads := range 4 {
				got := make([]float32, rows*out)
				for i := range got {
					got[i] = float32(math.NaN())
				}
				if err := l.Apply(t.Context(), got, x, rows, threads); err != nil {
					t.Fatal(err)
				}
				for i, v := range want {
					if d := math.Abs(float64(got[i] - v)); !(d <= 1e-4) {
						t.Fatalf("%d rows, %d to %d, %d threads: element %d is %v, want %v",
							rows, in, out, threads, i, got[i], v)
					}
				}
			}
		}
	})
}

// Pieces cover each row and panel once, whatever the sizes.
func TestPieces(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for range 300 {
			rows, k, n, threads := 1+r.IntN(1500), r.IntN(3000), 1+r.IntN(600), 1+r.IntN(20)
			m := &Matrix{K: k, N: n}
			p := m.Pieces(rows, threads)
			if p.Cores < 1 || p.Cores > threads || p.Cores > p.Count {
				t.Fatalf("%d cores of %d for %d pieces", p.Cores, threads, p.Count)
			}
			seen := make([]int, rows*m.Panels())
			for i := range p.Count {
				r0, r1, p0, p1 := p.At(i)
				if r0 >= r1 || p0 >= p1 {
					t.Fatalf("piece %d of %d is empty", i, p.Count)
				}
				for r := r0; r < r1; r++ {
					for p := p0; p < p1; p++ {
						seen[r*m.Panels()+p]++
					}
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("row %d of %d, panel %d of %d is in %d pieces",
						i/m.Panels(), rows, i%m.Panels(), m.Panels(), n)
				}
			}
		}
	})
}

func TestLinearRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range [][4]int{{5, 0, 2, 3}, {6, 2, 2, 3}, {0, 0, -1, 0}, {1, 0, -1, -1}} {
		var bias []float32
		if c[1] > 0 {
			bias = make([]float32, c[1])
		}
		if _, err := NewLinear(make([]float32, c[0]), bias, c[2], c[3]); err == nil {
			t.Errorf("NewLinear with sizes %v: no error", c)
		}
	}
	l, err := NewLinear(make([]float32, 6), nil, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if l.Apply(t.Context(), make([]float32, 6), make([]float32, 3), 2, 1) == nil ||
		l.Apply(t.Context(), make([]float32, 5), make([]float32, 4), 2, 1) == nil ||
		l.Apply(t.Context(), nil, nil, -1, 1) == nil {
		t.Error("Apply takes any length")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dst := []float32{7, 7, 7}
	if err := l.Apply(ctx, dst, []float32{1, 2}, 1, 0); !errors.Is(err, context.Canceled) || dst[0] != 7 {
		t.Errorf("cancelled: %v, %v", err, dst)
	}
}

// BenchmarkLinear compares with the scalar loop at the size of BLIP-2's projection: 32 queries of
// the Q-Former to OPT-2.7B.
func BenchmarkLinear(b *testing.B) {
	const rows, in, out = 32, 768, 2560
	r := rand.New(rand.NewPCG(5, 6))
	x, bias := randFloats(r, rows*in), randFloats(r, out)
	dst := make([]float32, rows*out)
	exact := randFloats(r, in*out)
	for i, v := range exact {
		exact[i] = tensor.ToHalf(v).Float32()
	}
	for _, w := range []struct {
		name   string
		weight []float32
	}{{"float32", randFloats(r, in*out)}, {"float16", exact}} {
		l, err := NewLinear(w.weight, bias, in, out)
		if err != nil {
			b.Fatal(err)
		}
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", w.name, threads), func(b *testing.B) {
				for b.Loop() {
					if err := l.Apply(b.Context(), dst, x, rows, threads); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("scalar", func(b *testing.B) {
		for b.Loop() {
			linear(dst, x, exact, bias, rows, in, out)
		}
	})
}
