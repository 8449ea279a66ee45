package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Special arguments: zeros, joints of the polynomials, ends of the range, infinities and NaN.
var corners = []float32{0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1e-8, 0.5, -0.5, 0.99999994, 1, -1, 1.0000001, 3.9, 4, -4, 4.1, 7.9, -7.9, 8, 9, 20, -20,
	87, 88.7, 88.8, 100, -87, -88, -103, -104, -110, 1e30, -1e30, math.MaxFloat32, -math.MaxFloat32,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

// TestMathAccuracy holds both forms to the errors that the comment in kernel.go states.
func TestMathAccuracy(t *testing.T) {
	src := slices.Clone(corners)
	for v := float32(-110); v < 110; v += 0.0037 {
		src = append(src, v)
	}
	for v := float32(-9); v < 9; v += 0.00071 {
		src = append(src, v)
	}
	ulp := func(w float64) float64 {
		return math.Abs(w)*1.2e-7 + 1.5e-45
	}
	for _, f := range []struct {
		name string
		fast func(dst, src []float32)
		want func(v float64) float64
		tol  func(x, w float64) float64
	}{
		{"Exp", Exp, math.Exp, func(x, w float64) float64 { return 2 * ulp(w) }},
		{"Sigmoid", Sigmoid, func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }, func(x, w float64) float64 { return 1.2e-7 }},
		{"Tanh", Tanh, math.Tanh, func(x, w float64) float64 { return 3e-7 }},
		{"Erf", Erf, math.Erf, func(x, w float64) float64 { return 2.5e-7 }},
		{"Gelu", Gelu, func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) }, func(x, w float64) float64 { return 4e-7 + 3e-7*math.Abs(x) }},
		{"GeluTanh", GeluTanh, func(v float64) float64 {
			return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
		}, func(x, w float64) float64 { return 4e-7 + 3e-7*math.Abs(x) }},
		{"Swish", func(dst, src []float32) { Swish(dst, src, 1.702) }, func(v float64) float64 { return v / (1 + math.Exp(-1.702*v)) },
			func(x, w float64) float64 { return 4e-7 + 3e-7*math.Abs(x) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			both(t, func(t *testing.T) {
				dst := make([]float32, len(src))
				f.fast(dst, src)
				worst := 0.0
				for i, x := range src {
					w := f.want(float64(x))
					if math.IsInf(float64(x), -1) || float64(x) < -1e29 {
						if f.name == "Gelu" || f.name == "GeluTanh" || f.name == "Swish" {
							continue // -Inf times 0, or rounding of a product with it
						}
					}
					g := float64(dst[i])
					if math.Abs(w) > math.MaxFloat32 {
						w = math.Copysign(math.Inf(1), w)
					}
					if g == w || math.IsNaN(g) && math.IsNaN(w) {
						continue
					}
					d := math.Abs(g-w) / f.tol(float64(x), w)
					if !(d <= 1) {
						t.Fatalf("%s(%v) = %v, want %v", f.name, x, g, w)
					}
					worst = max(worst, d)
				}
				t.Logf("worst error %.2f of what is allowed", worst)
			})
		})
	}
}

// TestRows compares the functions of rows with their definitions, over lengths with every tail and
// slices that are not aligned.
func TestRows(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for n := range 70 {
			for offset := range 2 {
				a, b := randFloats(r, n+1)[1:], randFloats(r, n)
				dst, check := guarded(t, n, offset)
				expect := func(name string, tol float64, f func(i int) float64) {
					t.Helper()
					check()
					for i := range dst {
						if math.Abs(float64(dst[i])-f(i)) > tol {
							t.Fatalf("%s of %d: element %d is %v, want %v",
								name, n, i, dst[i], f(i))
						}
					}
				}
				A, B := func(i int) float64 { return float64(a[i]) }, func(i int) float64 { return float64(b[i]) }
				Add(dst, a, b)
				expect("Add", 1e-6, func(i int) float64 { return A(i) + B(i) })
				Sub(dst, a, b)
				expect("Sub", 1e-6, func(i int) float64 { return A(i) - B(i) })
				Mul(dst, a, b)
				expect("Mul", 1e-6, func(i int) float64 { return A(i) * B(i) })
				for i := range b {
					b[i] = 1 + b[i]*b[i]
				}
				Div(dst, a, b)
				expect("Div", 1e-6, func(i int) float64 { return A(i) / B(i) })
				for _, v := range []float32{3, -0.5, 0.25} {
					V := float64(v)
					Add(dst, a, []float32{v})
					if n == 1 {
						continue
					}
					expect("Add 1", 1e-6, func(i int) float64 { return A(i) + V })
					Sub(dst, []float32{v}, a)
					expect("1 Sub", 1e-6, func(i int) float64 { return V - A(i) })
					Sub(dst, a, []float32{v})
					expect("Sub 1", 1e-6, func(i int) float64 { return A(i) - V })
					Mul(dst, a, []float32{v})
					expect("Mul 1", 1e-6, func(i int) float64 { return A(i) * V })
					Div(dst, a, []float32{v})
					expect("Div 1", 1e-5, func(i int) float64 { return A(i) / V })
					Div(dst, []float32{v}, b)
					expect("1 Div", 1e-6, func(i int) float64 { return V / B(i) })
				}
				Clip(dst, a, -0.5, 0.25)
				expect("Clip", 0, func(i int) float64 { return min(max(A(i), -0.5), 0.25) })
				ShiftClip(dst, a, 0.1, -0.5, 0.25)
				expect("ShiftClip", 1e-6, func(i int) float64 { return min(max(A(i)+0.1, -0.5), 0.25) })
				copy(dst, b)
				Axpy(dst, a, 1.5)
				expect("Axpy", 1e-5, func(i int) float64 { return B(i) + 1.5*A(i) })
				var sum, squares float64
				most := math.Inf(-1)
				for i := range a {
					sum += A(i)
					squares += (A(i) - 0.5) * (A(i) - 0.5)
					most = max(most, A(i))
				}
				if d := math.Abs(float64(Sum(a)) - sum); d > 1e-5 {
					t.Fatalf("Sum of %d off by %g", n, d)
				}
				if d := math.Abs(float64(Squares(a, 0.5)) - squares); d > 1e-4 {
					t.Fatalf("Squares of %d off by %g", n, d)
				}
				if float64(Max(a)) != most {
					t.Fatalf("Max of %d", n)
				}
				if n == 0 {
					continue
				}
				var total float64
				for i := range a {
					total += math.Exp(A(i))
				}
				Softmax(dst, a)
				expect("Softmax", 1e-6, func(i int) float64 { return math.Exp(A(i)) / total })
				mean, variance := sum/float64(n), 0.0
				for i := range a {
					variance += (A(i) - mean) * (A(i) - mean) / float64(n)
				}
				scale, bias := randFloats(r, n), randFloats(r, n)
				LayerNorm(dst, a, scale, bias, 1e-3)
				expect("LayerNorm", 1e-4, func(i int) float64 {
					return (A(i)-mean)/math.Sqrt(variance+1e-3)*float64(scale[i]) + float64(bias[i])
				})
			}
		}
	})
}

func TestSoftmaxCorners(t *testing.T) {
	both(t, func(t *testing.T) {
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		for _, c := range []struct{ in, want []float32 }{
			{[]float32{-inf, 0, -inf}, []float32{0, 1, 0}},
			{[]float32{-inf, -inf}, []float32{nan, nan}},
			{[]float32{1e30, 1e30, -1e30}, []float32{0.5, 0.5, 0}},
			{[]float32{nan, 0}, []float32{nan, nan}},
			{[]float32{7}, []float32{1}},
		} {
			dst := make([]float32, len(c.in))
			Softmax(dst, c.in)
			for i, w := range c.want {
				if dst[i] != w && !(w != w && dst[i] != dst[i]) {
					t.Errorf("%v: %v, want %v", c.in, dst, c.want)
				}
			}
		}
	})
}

func BenchmarkRows(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	src, dst := randFloats(r, 3072), make([]float32, 3072)
	for _, f := range []struct {
		name string
		f    func(dst, src []float32)
	}{{"Exp", Exp}, {"Tanh", Tanh}, {"Erf", Erf}, {"Gelu", Gelu}, {"Softmax", Softmax}, {"Sigmoid", Sigmoid},
		{"Add", func(dst, src []float32) { Add(dst, src, src) }},
		{"LayerNorm", func(dst, src []float32) { LayerNorm(dst, src, src, src, 1e-5) }}} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				f.f(dst, src)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/3072, "ns/element")
		})
	}
}
