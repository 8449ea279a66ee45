package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func randFloats(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// guarded returns room for n floats between guards, and a check that the guards are still whole.
func guarded(t testing.TB, n, offset int) (v []float32, check func()) {
	const guard = 64
	buf := make([]float32, n+2*guard+offset)
	for i := range buf {
		buf[i] = math.Pi
	}
	lo, hi := guard+offset, guard+offset+n
	return buf[lo:hi:hi], func() {
		t.Helper()
		for i, x := range buf {
			if (i < lo || i >= hi) && x != math.Pi {
				t.Fatalf("written at %d, %d floats from the end", i-lo, i-hi)
			}
		}
	}
}

func maxDiff(a, b []float32) float64 {
	var d float64
	for i, v := range a {
		if x := math.Abs(float64(v) - float64(b[i])); !(x <= d) {
			d = x
		}
	}
	return d
}

// naive is the definition, in float64.
func naive(a, b []float32, m, n, k int) []float32 {
	c := make([]float32, m*n)
	for i := range m {
		for j := range n {
			var s float64
			for l := range k {
				s += float64(a[i*k+l]) * float64(b[l*n+j])
			}
			c[i*n+j] = float32(s)
		}
	}
	return c
}

// both runs a test with each kind of assembly that runs here, and without; in short mode only with
// the widest vectors.
func both(t *testing.T, f func(t *testing.T)) {
	old, wide := hasAVX2, hasAVX512
	defer func() { hasAVX2, hasAVX512 = old, wide }()
	if avx512() {
		t.Run("avx512", f)
		if testing.Short() {
			return
		}
	}
	hasAVX512 = false
	if avx2() {
		t.Run("avx2", f)
	}
	hasAVX2 = false
	t.Run("go", f)
}

func TestMultiply(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			m, n, k := 1+r.IntN(20), 1+r.IntN(70), r.IntN(40)
			if r.IntN(8) == 0 {
				k = blockK - 3 + r.IntN(2*wideBlockK)
			}
			if r.IntN(8) == 0 {
				n = blockN*panelWidth + r.IntN(40)
			}
			a, b := randFloats(r, m*k), randFloats(r, k*n)
			want := naive(a, b, m, n, k)
			x := NewMatrix(nil, k, n)
			if r.IntN(3) == 0 {
				half := make([]uint16, len(b))
				ToHalf(half, b)
				FromHalf(b, half)
				if !Exact(b) {
					t.Fatal("halves are not exact")
				}
				want, x = naive(a, b, m, n, k), NewHalfMatrix(k, n)
			}
			if r.IntN(2) == 0 {
				x.Fill(b, n, 0, x.Panels())
			} else {
				tr := make([]float32, k*n)
				for i := range k {
					for j := range n {
						tr[j*k+i] = b[i*n+j]
					}
				}
				x.FillTransposed(tr, k, 0, x.Panels())
			}
			c, check := guarded(t, m*n, r.IntN(3))
			add := r.IntN(2) == 0
			for i := range c {
				c[i] = float32(i % 7)
				if add {
					want[i] += c[i]
				}
			}
			var e *Epilogue
			if r.IntN(2) == 0 {
				e = &Epilogue{}
				each := func(f func(i int)) {
					for i := range want {
						f(i)
					}
				}
				if r.IntN(2) == 0 {
					e.Bias = randFloats(r, n)
					each(func(i int) { want[i] += e.Bias[i%n] })
				}
				if r.IntN(2) == 0 {
					e.RowBias = randFloats(r, m)
					each(func(i int) { want[i] += e.RowBias[i/n] })
				}
				if r.IntN(2) == 0 {
					e.Bounds = &[2]float32{-1, 2}
					each(func(i int) { want[i] = min(max(want[i], -1), 2) })
				}
				if r.IntN(2) == 0 {
					e.Activate = Relu
					each(func(i int) { want[i] = max(want[i], 0) })
				}
				if r.IntN(2) == 0 {
					e.Residual = randFloats(r, m*n)
					each(func(i int) { want[i] += e.Residual[i] })
				}
			}
			mid := r.IntN(x.Panels() + 1)
			x.Multiply(c, n, a, k, m, 0, mid, add, e)
			x.Multiply(c, n, a, k, m, mid, x.Panels(), add, e)
			check()
			if d := maxDiff(c, want); d > 1e-6*float64(k)+1e-5 {
				t.Fatalf("%dx%dx%d: off by %g", m, n, k, d)
			}
		}
	})
}

func BenchmarkMultiply(b *testing.B) {
	for _, s := range [][3]int{{1, 128, 768}, {1, 768, 768}, {1, 50272, 768}, {32, 768, 768}, {257, 768, 1408}, {50, 3072, 768}, {257, 257, 64}, {768, 768, 768}} {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 2))
		a, c := randFloats(r, m*k), make([]float32, m*n)
		x := NewMatrix(nil, k, n)
		x.Fill(randFloats(r, k*n), n, 0, x.Panels())
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			for b.Loop() {
				x.Multiply(c, n, a, k, m, 0, x.Panels(), false, nil)
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)/float64(b.Elapsed().Nanoseconds())*float64(b.N), "GFLOP/s")
		})
	}
}

func TestHalves(t *testing.T) {
	both(t, func(t *testing.T) {
		src := make([]uint16, 1<<16+3)
		for i := range src {
			src[i] = uint16(i)
		}
		wide, back := make([]float32, len(src)), make([]uint16, len(src))
		FromHalf(wide, src)
		ToHalf(back, wide)
		for i, h := range src {
			if back[i] != h && !math.IsNaN(float64(wide[i])) {
				t.Fatalf("%#x became %v, then %#x", h, wide[i], back[i])
			}
		}
		if Exact([]float32{1, 0.1}) {
			t.Error("0.1 is no float16")
		}
	})
}
