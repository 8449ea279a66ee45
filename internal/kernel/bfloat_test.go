package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
)

// eachBF16 runs a test with each way to multiply numbers of bfloat16 that runs here.
func eachBF16(t *testing.T, f func(t *testing.T)) {
	dots, tiles := hasBF16, hasAMXBF16
	defer func() { hasBF16, hasAMXBF16 = dots, tiles }()
	if tilesBF16() {
		t.Run("amx", f)
	}
	if hasAMXBF16 = false; dotsBF16() {
		t.Run("bf16", f)
	}
	hasBF16 = false
	both(t, f)
}

// nearestBF16 is the definition of rounding: of the two numbers of bfloat16 around v the nearer one,
// the even one of two as near.
func nearestBF16(v float32) float32 {
	if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
		return v
	}
	if math.Abs(float64(v)) < 0x1p-126 {
		return float32(math.Copysign(0, float64(v)))
	}
	_, exp := math.Frexp(float64(v))
	unit := math.Ldexp(1, exp-8)
	r := math.RoundToEven(float64(v)/unit) * unit
	if math.Abs(r) >= 0x1p128 {
		return float32(math.Inf(int(math.Copysign(1, r))))
	}
	return float32(r)
}

func TestRoundBF16(t *testing.T) {
	both(t, func(t *testing.T) {
		var src []float32
		for high := range uint32(1 << 16) {
			for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
				src = append(src, math.Float32frombits(high<<16|low))
			}
		}
		src = append(src, 1, 2, 3)
		got, check := guarded(t, len(src), 0)
		RoundBF16(got, src)
		check()
		packed := make([]uint32, len(src)/2+3)
		packBF16(packed, src)
		for i, v := range src {
			want := nearestBF16(v)
			same := math.Float32bits(got[i]) == math.Float32bits(want)
			if v != v {
				same = got[i] != got[i]
			}
			if !same || packed[i/2]>>(16*(i&1))&0xffff != math.Float32bits(got[i])>>16 {
				t.Fatalf("%x is rounded to %x and packed as %x, want %x", math.Float32bits(v),
					math.Float32bits(got[i]), packed[i/2], math.Float32bits(want))
			}
		}
		if packed[len(packed)-1] != 0 {
			t.Error("what is left of the row is not 0")
		}
	})
}

// bf16Case is a product of random sizes with all that an epilogue may do, and its definition in
// float64.
type bf16Case struct {
	m, n, k       int
	a, b, c, want []float32
	add, exact    bool
	e             *Epilogue
}

func randomBF16(r *rand.Rand) *bf16Case {
	x := &bf16Case{m: 1 + r.IntN(50), n: 1 + r.IntN(70), k: r.IntN(80), exact: r.IntN(4) == 0}
	if r.IntN(8) == 0 {
		x.k = blockK - 3 + r.IntN(2*wideBlockK)
	}
	if r.IntN(8) == 0 {
		x.n = blockN*panelWidth + r.IntN(40)
	}
	if r.IntN(16) == 0 {
		x.m, x.n = amxBlock-10+r.IntN(amxBlock), 1+r.IntN(20)
	}
	x.a, x.b, x.c = randFloats(r, x.m*x.k), randFloats(r, x.k*x.n), randFloats(r, x.m*x.n)
	a, b := make([]float32, len(x.a)), make([]float32, len(x.b))
	for i, v := range x.a {
		a[i] = nearestBF16(v)
	}
	for i, v := range x.b {
		b[i] = nearestBF16(v)
	}
	if x.exact {
		a = x.a
	}
	x.want = naive(a, b, x.m, x.n, x.k)
	if x.add = r.IntN(2) == 0; x.add {
		Add(x.want, x.want, x.c)
	}
	if r.IntN(4) == 0 {
		return x
	}
	e := &Epilogue{}
	if r.IntN(2) == 0 {
		e.Bias = randFloats(r, x.n)
	}
	if r.IntN(3) == 0 {
		e.RowBias = randFloats(r, x.m)
	}
	if r.IntN(3) == 0 {
		e.Bounds = &[2]float32{-2, 9}
	}
	if r.IntN(3) == 0 {
		e.Activate = Relu
	}
	if r.IntN(2) == 0 {
		e.Residual = randFloats(r, x.m*x.n)
	}
	if x.e = e; len(x.want) > 0 {
		e.Apply(x.want, x.n, 0, x.m, 0, x.n)
	}
	return x
}

// multiply computes the case, in two ranges of panels.
func (x *bf16Case) multiply(t *testing.T, w *Matrix, mid, offset int) []float32 {
	c, check := guarded(t, len(x.c), offset)
	copy(c, x.c)
	var left *Left
	if n := w.LeftFloats(x.m); n > 0 {
		buf, whole := guarded(t, n, offset)
		for i := range buf {
			buf[i] = float32(math.NaN()) // what is beyond the rows must not matter
		}
		left = w.Left(buf, x.m)
		for r := range x.m {
			left.Set(r, x.a[r*x.k:(r+1)*x.k])
		}
		defer whole()
	}
	for _, part := range [][2]int{{0, mid}, {mid, w.Panels()}} {
		if left != nil {
			left.Multiply(c, x.n, 0, x.m, part[0], part[1], x.add, x.e)
		} else {
			w.Multiply(c, x.n, x.a, x.k, x.m, part[0], part[1], x.add, x.e)
		}
	}
	check()
	return c
}

func (x *bf16Case) matrix(transposed bool) *Matrix {
	w := NewBF16Matrix(x.k, x.n, x.exact)
	if !transposed {
		w.Fill(x.b, x.n, 0, w.Panels())
		return w
	}
	tr := make([]float32, len(x.b))
	for i := range x.k {
		for j := range x.n {
			tr[j*x.k+i] = x.b[i*x.n+j]
		}
	}
	w.FillTransposed(tr, x.k, 0, w.Panels())
	return w
}

func TestMultiplyBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		cases := sweep.Count(t, 60, 300)
		if simulated {
			cases = 60
		}
		for range cases {
			x := randomBF16(r)
			w := x.matrix(r.IntN(2) == 0)
			got := x.multiply(t, w, r.IntN(w.Panels()+1), r.IntN(3))
			if d := maxDiff(got, x.want); d > 1e-6*float64(x.k)+1e-5 {
				t.Fatalf("%dx%dx%d, exact %v: off by %g", x.m, x.n, x.k, x.exact, d)
			}
		}
	})
}

// A matrix of weights that are no numbers keeps them to their own columns.
func TestMultiplyBF16NaN(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		for _, k := range []int{5, 37, 64} {
			const m, n = 9, 40
			x := &bf16Case{m: m, n: n, k: k, a: make([]float32, m*k), b: make([]float32, k*n),
				c: make([]float32, m*n)}
			for i := range x.a {
				x.a[i] = 1
			}
			x.b[20], x.b[(k-1)*n+33] = float32(math.NaN()), float32(math.Inf(1))
			got := x.multiply(t, x.matrix(false), 1, 0)
			for i, v := range got {
				ok := v == 0
				switch i % n {
				case 20:
					ok = v != v
				case 33:
					ok = math.IsInf(float64(v), 1)
				}
				if !ok {
					t.Fatalf("k %d: column %d is %v", k, i%n, v)
				}
			}
		}
	})
}

// A left operand that is not rounded keeps its 24 bits, and what is infinite or no number stays so, in
// its row alone.
func TestMultiplyBF16Exact(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		const m, n, k = 33, 20, 70
		x := &bf16Case{m: m, n: n, k: k, exact: true, a: make([]float32, m*k), b: make([]float32, k*n),
			c: make([]float32, m*n)}
		for j := range n {
			x.b[3*n+j] = 1
		}
		inf := float32(math.Inf(1))
		values := []float32{0, 1 + 0x1p-23, -math.MaxFloat32, 0x1.fffffep-90, inf, -inf,
			math.Float32frombits(0x7f800001), 1.0 / 3}
		for r := range m {
			x.a[r*k+3] = values[r%len(values)]
		}
		got := x.multiply(t, x.matrix(false), 1, 0)
		for i, v := range got {
			if want := values[i/n%len(values)]; v != want && (v == v || want == want) {
				t.Fatalf("row %d: %g, want %g", i/n, v, want)
			}
		}
	})
}

func FuzzMultiplyBF16(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		x := randomBF16(rand.New(rand.NewPCG(seed, 7)))
		w := x.matrix(seed%2 == 0)
		got := x.multiply(t, w, int(seed%uint64(w.Panels()+1)), int(seed%3))
		if d := maxDiff(got, x.want); d > 1e-6*float64(x.k)+1e-5 {
			t.Fatalf("%dx%dx%d, exact %v: off by %g", x.m, x.n, x.k, x.exact, d)
		}
	})
}

func TestBF16Memory(t *testing.T) {
	t.Parallel()
	wide, narrow := NewMatrix(nil, 768, 3072), NewBF16Matrix(768, 3072, false)
	if narrow.Bytes()*2 != wide.Bytes() {
		t.Errorf("%d bytes, of float32 %d", narrow.Bytes(), wide.Bytes())
	}
}

func BenchmarkMultiplyBF16(b *testing.B) {
	for _, s := range [][3]int{{1, 128, 768}, {1, 768, 768}, {1, 50272, 768}, {32, 768, 768}, {257, 768, 1408}, {768, 768, 768}} {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 2))
		x := &bf16Case{m: m, n: n, k: k, a: randFloats(r, m*k), b: randFloats(r, k*n)}
		w, c := x.matrix(false), make([]float32, m*n)
		left := w.Left(make([]float32, w.LeftFloats(m)), m)
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			for b.Loop() {
				for r := range m {
					left.Set(r, x.a[r*k:(r+1)*k])
				}
				left.Multiply(c, n, 0, m, 0, w.Panels(), false, nil)
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)/float64(b.Elapsed().Nanoseconds())*float64(b.N), "GFLOP/s")
		})
	}
}
