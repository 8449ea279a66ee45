package kernel

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"
)

// room returns n numbers that a function is to write, between others that check holds it to.
func room(t *testing.T, n int) (v []float64, check func()) {
	const guard = 16
	buf := make([]float64, n+2*guard)
	for i := range buf {
		buf[i] = math.Pi
	}
	return buf[guard : guard+n : guard+n], func() {
		t.Helper()
		for i, x := range buf {
			if (i < guard || i >= guard+n) && x != math.Pi {
				t.Fatalf("written at %d of %d", i-guard, n)
			}
		}
	}
}

func randDoubles(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func TestWindows(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		for n := range 30 {
			for _, hop := range []int{1, 5, 16} {
				src, weights := randFloats(r, 3*hop+n), randDoubles(r, n)
				dst, check := room(t, Signals*n)
				Windows(dst, src, hop, weights)
				check()
				for i, v := range dst {
					if want := float64(src[i%Signals*hop+i/Signals]) * weights[i/Signals]; v != want {
						t.Fatalf("%d numbers, hop %d: number %d is %v, want %v", n, hop, i, v, want)
					}
				}
			}
		}
	})
}

// A stage is the transform of radix numbers at each place, turned.
func TestFourierStage(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 2))
		for _, radix := range []int{2, 3, 4, 5, 7} {
			for _, size := range [][2]int{{1, 1}, {1, 6}, {5, 1}, {3, 4}, {8, 3}} {
				rest, stride := size[0], size[1]
				var twiddles, roots []complex128
				for i := range rest * (radix - 1) {
					twiddles = append(twiddles, cmplx.Rect(1, r.NormFloat64()))
					if i < radix-1 {
						twiddles[i] = 1
					}
				}
				for k := range radix {
					roots = append(roots, cmplx.Rect(1, -2*math.Pi*float64(k)/float64(radix)))
				}
				n := radix * rest * stride
				src := randDoubles(r, 2*Signals*n)
				dst, check := room(t, len(src))
				FourierStage(dst, src, twiddles, roots, radix, rest, stride)
				check()
				for i := range n * Signals {
					at, l := i/Signals, i%Signals
					q, row := at%stride, at/stride
					k, j := row%radix, row/radix
					var want complex128
					for p := range radix {
						from := 2*Signals*(q+stride*(j+rest*p)) + l
						want += complex(src[from], src[from+Signals]) * roots[k*p%radix]
					}
					if k > 0 {
						want *= twiddles[j*(radix-1)+k-1]
					}
					got := complex(dst[2*Signals*at+l], dst[2*Signals*at+Signals+l])
					if !(cmplx.Abs(got-want) < 1e-13) {
						t.Fatalf("radix %d, %d and %d: number %d of signal %d is %v, want %v", radix, rest, stride, at, l, got, want)
					}
				}
			}
		}
	})
}

func TestRealPower(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 3))
		for half := 1; half < 20; half++ {
			n := 2 * half
			src := randDoubles(r, Signals*n)
			turns := make([]complex128, half/2+1)
			for k := range turns {
				turns[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/float64(n))
			}
			dst, check := room(t, Signals*(half+1))
			RealPower(dst, src, turns)
			check()
			for i, got := range dst {
				k, l := i/Signals, i%Signals
				a := complex(src[2*Signals*(k%half)+l], src[2*Signals*(k%half)+Signals+l])
				b := complex(src[2*Signals*((half-k)%half)+l], -src[2*Signals*((half-k)%half)+Signals+l])
				term := (a+b)/2 + cmplx.Rect(1, -2*math.Pi*float64(k)/float64(n))*(a-b)/complex(0, 2)
				want := real(term)*real(term) + imag(term)*imag(term)
				if !(math.Abs(got-want) < 1e-13*(1+want)) {
					t.Fatalf("%d numbers, term %d of signal %d: %v, want %v", n, k, l, got, want)
				}
			}
		}
	})
}

func TestBands(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 4))
		src := randDoubles(r, Signals*50)
		for i, v := range src {
			src[i] = v * v
		}
		for range 50 {
			b, runs := &Bands{}, [][2]int{}
			count, stride := r.IntN(12), Signals+r.IntN(5)
			for range count {
				first, n := r.IntN(40), r.IntN(10)
				runs = append(runs, [2]int{first, n})
				b.Add(first, randDoubles(r, n))
			}
			dst, check := guarded(t, max(0, (count-1)*stride+Signals), r.IntN(4))
			most := b.Sum(dst, stride, src)
			check()
			weights, want := b.weights, 0.0
			for i, run := range runs {
				for l := range Signals {
					var sum float64
					for k := range run[1] {
						sum += weights[k] * src[Signals*(run[0]+k)+l]
					}
					want = max(want, sum)
					if !(math.Abs(float64(dst[i*stride+l])-sum) < 1e-5) {
						t.Fatalf("band %d of %v: %v, want %v", i, runs, dst[i*stride+l], sum)
					}
				}
				weights = weights[run[1]:]
			}
			if !(math.Abs(most-want) < 1e-13) {
				t.Fatalf("greatest of %v: %v, want %v", runs, most, want)
			}
		}
	})
}

func TestLog10(t *testing.T) {
	src := []float32{1e-10, 0, -1, float32(math.NaN()), 1, 10, 1e-9, 0.70710677, 0.7071068, math.MaxFloat32}
	r := rand.New(rand.NewPCG(5, 5))
	for range 100_000 {
		src = append(src, float32(math.Exp(r.Float64()*100-22)), 1+float32(r.NormFloat64()*0.01))
	}
	both(t, func(t *testing.T) {
		dst := make([]float32, len(src))
		Log10(dst, src, 1e-10)
		for i, v := range src {
			want := math.Log10(max(float64(v), 1e-10))
			if math.IsNaN(want) {
				want = -10
			}
			if !(math.Abs(float64(dst[i])-want) <= 5e-8+1e-7*math.Abs(want)) {
				t.Fatalf("of %v: %v, want %v", v, dst[i], want)
			}
			if v < 1e-10 && dst[i] != -10 {
				t.Fatalf("of %v: %v, want -10 exactly", v, dst[i])
			}
		}
		for n := range 20 {
			short, check := guarded(t, n, n%3)
			Log10(short, src[:n], 1e-10)
			check()
		}
	})
}

func BenchmarkFourierStage(b *testing.B) {
	for radix := 2; radix <= 5; radix++ {
		b.Run(fmt.Sprint(radix), func(b *testing.B) {
			const rest, stride = 10, 5
			n := 2 * Signals * radix * rest * stride
			dst, src, twiddles := make([]float64, n), make([]float64, n), make([]complex128, rest*(radix-1))
			for b.Loop() {
				FourierStage(dst, src, twiddles, nil, radix, rest, stride)
			}
			b.SetBytes(int64(16 * n))
		})
	}
}

func BenchmarkLog10(b *testing.B) {
	src := make([]float32, 512)
	for i := range src {
		src[i] = float32(i + 1)
	}
	dst := make([]float32, len(src))
	for b.Loop() {
		Log10(dst, src, 1e-10)
	}
	b.SetBytes(int64(4 * len(src)))
}
