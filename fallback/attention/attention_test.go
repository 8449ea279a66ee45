package attention

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// golden holds what PyTorch computed; testdata/golden.py makes it.
func golden(t *testing.T) map[string]*tensor.Tensor {
	t.Helper()
	arrays, err := tensor.LoadNpz("testdata/golden.npz", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return arrays
}

func same(t *testing.T, name string, got, want *tensor.Tensor, tolerance float64) {
	t.Helper()
	if !slices.Equal(got.Shape(), want.Shape()) {
		t.Fatalf("%s: %v, want %v", name, got, want)
	}
	a, b := got.Float32s(), want.Float32s()
	worst := 0.0
	for i := range a {
		if d := math.Abs(float64(a[i]) - float64(b[i])); d > worst || d != d {
			worst = d
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: differs by %g, allowed are %g", name, worst, tolerance)
	}
}

func ints(v ...int) []int { return v }

func repeat(pairs ...int) []int {
	var out []int
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, slices.Repeat([]int{pairs[i]}, pairs[i+1])...)
	}
	return out
}

func TestAgainstPyTorch(t *testing.T) {
	t.Parallel()
	g := golden(t)
	mq, mk := repeat(0, 3, 1, 3), repeat(0, 5, 1, 6)
	tq, tk := ints(0, 0, 1, 1, 2, 2), repeat(1, 4, 2, 4, 3, 3)
	cases := []struct {
		name, q string
		opts    []Option
	}{
		{"dense", "", nil},
		{"masked", "", []Option{Mask(g["mask"])}},
		{"biased", "", []Option{Bias(g["bias"]), Scale(0.3)}},
		{"causal", "", []Option{Causal()}},
		{"media", "", []Option{MediaMask(tq, tk)}},
		{"balanced", "", []Option{Balance(1.7, mq, mk)}},
		{"disentangled", "self_", []Option{Disentangled(g["kr"], g["qr"])}},
		{"window", "sparse_", []Option{Sparse(Window{Width: 2, Global: ints(0, 13)})}},
		{"strided", "sparse_", []Option{Sparse(Strided{4}), Causal()}},
		{"blocks", "sparse_", []Option{Sparse(Blocks{Size: 3, Window: 1, Global: 1})}},
		{"topk", "sparse_", []Option{TopK(5)}},
	}
	for _, c := range cases {
		keys := g[c.q+"k"].Dim(2)
		for _, chunk := range []int{1, 7, keys, keys + 1, 0} {
			var stats Stats
			got, err := Attend(t.Context(), g[c.q+"q"], g[c.q+"k"], g[c.q+"v"], append(c.opts, Chunk(chunk), WithStats(&stats))...)
			if err != nil {
				t.Fatal(c.name, err)
			}
			same(t, c.name, got, g[c.name], 1e-6)
			if chunk > 0 && stats.Chunk != min(chunk, keys) {
				t.Errorf("%s: a chunk of %d, not %d", c.name, stats.Chunk, chunk)
			}
		}
	}
}

func random(r *rand.Rand, shape ...int) *tensor.Tensor {
	x := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(r.NormFloat64())
	}
	return x
}

// naive is attention by its definition, in float64; keep says what is visited.
func naive(q, k, v *tensor.Tensor, keep func(b, h, i, j int) bool) *tensor.Tensor {
	B, H, T, D := q.Dim(0), q.Dim(1), q.Dim(2), q.Dim(3)
	G, S, DV := k.Dim(1), k.Dim(2), v.Dim(3)
	Q, K, V := q.Float32s(), k.Float32s(), v.Float32s()
	out := make([]float32, B*H*T*DV)
	for b := range B {
		for h := range H {
			kv := (b*G + h/(H/G)) * S
			for i := range T {
				weights, sum, top := make([]float64, S), 0.0, math.Inf(-1)
				for j := range S {
					weights[j] = math.Inf(-1)
					if keep(b, h, i, j) {
						weights[j] = 0
						for d := range D {
							weights[j] += float64(Q[((b*H+h)*T+i)*D+d]) * float64(K[(kv+j)*D+d]) / math.Sqrt(float64(D))
						}
					}
					top = max(top, weights[j])
				}
				for j := range S {
					if !math.IsInf(weights[j], -1) {
						weights[j] = math.Exp(weights[j] - top)
						sum += weights[j]
					} else {
						weights[j] = 0
					}
				}
				for j, w := range weights {
					for d := range DV {
						if sum > 0 {
							out[((b*H+h)*T+i)*DV+d] += float32(w / sum * float64(V[(kv+j)*DV+d]))
						}
					}
				}
			}
		}
	}
	return tensor.Must(tensor.New([]int{B, H, T, DV}, out))
}

// Random shapes, tails and single rows included, against the definition.
func TestAgainstDefinition(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		G := 1 + r.IntN(3)
		B, H, T, S, D, DV := 1+r.IntN(2), G*(1+r.IntN(3)), 1+r.IntN(70), 1+r.IntN(90), 1+r.IntN(20), 1+r.IntN(20)
		q, k, v := random(r, B, H, T, D), random(r, B, G, S, D), random(r, B, G, S, DV)
		mask := tensor.Must(tensor.Zeros(tensor.Bool, 1, T, S))
		m := tensor.Data[bool](mask)
		for i := range m {
			m[i] = r.IntN(4) > 0
		}
		got, err := Attend(t.Context(), q, k, v, Mask(mask), Causal(), Chunk(r.IntN(S+3)), Threads(1+r.IntN(3)))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "masked", got, naive(q, k, v, func(_, _, i, j int) bool { return m[i*S+j] && j <= i+S-T }), 2e-6)
	}
}

func TestInvariants(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	const T, S = 9, 13
	q, k, v := random(r, 2, 3, T, 6), random(r, 2, 3, S, 6), random(r, 2, 3, S, 6)
	attend := func(q, k, v *tensor.Tensor, opts ...Option) *tensor.Tensor {
		t.Helper()
		out, err := Attend(t.Context(), q, k, v, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	dense := attend(q, k, v)
	labels := [2][]int{repeat(0, 4, 1, 5), repeat(0, 6, 1, 7)}
	same(t, "gamma 1", attend(q, k, v, Balance(1, labels[0], labels[1])), dense, 0)
	if d := tensor.Data[float32](attend(q, k, v, Balance(2, labels[0], labels[1]))); slices.Equal(d, tensor.Data[float32](dense)) {
		t.Error("gamma 2 changes nothing")
	}
	same(t, "top all", attend(q, k, v, TopK(S)), dense, 1e-6)
	same(t, "top more than all", attend(q, k, v, TopK(1<<40)), dense, 1e-6)
	same(t, "a window over all", attend(q, k, v, Sparse(Window{Width: S})), dense, 1e-6)

	zero := tensor.Must(tensor.Zeros(tensor.Float32, 3, 8, 6))
	same(t, "zero tables", attend(q, k, v, Disentangled(zero, zero)), attend(q, k, v, Scale(1/math.Sqrt(18))), 1e-6)

	none := tensor.Must(tensor.Zeros(tensor.Bool, T, S))
	for name, opts := range map[string][]Option{
		"masked": {Mask(none)}, "before the first picture": {MediaMask(make([]int, T), repeat(1, S))},
		"masked, top-k": {Mask(none), TopK(3)}, "masked, sparse": {Mask(none), Sparse(Window{Width: 3})},
	} {
		for _, x := range tensor.Data[float32](attend(q, k, v, opts...)) {
			if x != 0 {
				t.Fatalf("%s: a row without keys gives %v", name, x)
			}
		}
	}

	// Keys and values in another order give the same sum.
	order := r.Perm(S)
	same(t, "permuted", attend(q, permuted(k, order), permuted(v, order)), dense, 1e-6)

	// Keys of other pictures do not change the result of a query about the first.
	pictures := repeat(1, 6, 2, 7)
	text := ints(0, 1, 1, 1, 1, 2, 2, 2, 2)
	before := attend(q, k, v, MediaMask(text, pictures))
	changed := v.Clone()
	d := tensor.Data[float32](changed)
	for i := range d {
		if i/6%S >= 6 {
			d[i]++
		}
	}
	after := attend(q, k, changed, MediaMask(text, pictures))
	a, b := tensor.Data[float32](before), tensor.Data[float32](after)
	for i := range a {
		if pos := i / 6 % T; pos < 5 && a[i] != b[i] {
			t.Fatalf("position %d sees a later picture", pos)
		} else if pos >= 5 && a[i] == b[i] {
			t.Fatalf("position %d does not see its picture", pos)
		}
	}

	nan := tensor.Must(tensor.New([]int{1, 1, 1, 1}, []float32{float32(math.NaN())}))
	if x := tensor.Data[float32](attend(nan, nan, nan))[0]; x == x {
		t.Errorf("NaN became %v", x)
	}
	empty := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 0, 4))
	if out := attend(random(r, 1, 1, 2, 4), empty, empty); out.Len() != 8 || tensor.Data[float32](out)[0] != 0 {
		t.Error("no keys:", out)
	}
}

// permuted reorders positions of [B,H,S,D].
func permuted(x *tensor.Tensor, order []int) *tensor.Tensor {
	y := x.Clone()
	s, d := x.Dim(2), x.Dim(3)
	from, to := tensor.Data[float32](x), tensor.Data[float32](y)
	for at := 0; at < len(from); at += s * d {
		for i, p := range order {
			copy(to[at+i*d:at+(i+1)*d], from[at+p*d:])
		}
	}
	return y
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	q, k := random(r, 1, 4, 3, 8), random(r, 1, 2, 5, 8)
	wrong := func(name string, q, k, v *tensor.Tensor, opts ...Option) {
		t.Helper()
		if _, err := Attend(t.Context(), q, k, v, opts...); !errors.Is(err, engine.ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong("nil", nil, k, k)
	wrong("rank", random(r, 4, 3, 8), k, k)
	wrong("type", tensor.Must(tensor.Zeros(tensor.Int64, 1, 4, 3, 8)), k, k)
	wrong("groups", q, random(r, 1, 3, 5, 8), random(r, 1, 3, 5, 8))
	wrong("width", q, random(r, 1, 2, 5, 7), k)
	wrong("lengths", q, k, random(r, 1, 2, 6, 8))
	wrong("mask", q, k, k, Mask(random(r, 4, 5)))
	wrong("mask type", q, k, k, Mask(tensor.Must(tensor.Zeros(tensor.Int64, 3, 5))))
	wrong("media", q, k, k, MediaMask(ints(1), ints(1)))
	wrong("modalities", q, k, k, Balance(2, ints(1), nil))
	wrong("gamma", q, k, k, Balance(math.NaN(), repeat(0, 3), repeat(0, 5)))
	wrong("top-k", q, k, k, TopK(-1))
	wrong("tables", q, k, k, Disentangled(random(r, 4, 3, 8), random(r, 4, 3, 8)))
	wrong("one table", q, k, k, Disentangled(random(r, 4, 4, 8), nil))
	wrong("memory", q, k, k, MemoryLimit(100))
}

func TestCancel(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	q, k := random(r, 1, 1, 96, 8), random(r, 1, 1, 64, 8)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	stop := patternFunc(func(position, keys int, visit func(lo, hi int)) {
		if calls++; calls == 10 {
			cancel()
		}
		visit(0, keys)
	})
	before := runtime.NumGoroutine()
	if _, err := Attend(ctx, q, k, k, Sparse(stop), Threads(1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for i := 0; i < 100 && runtime.NumGoroutine() > before; i++ {
		time.Sleep(10 * time.Millisecond) // a goroutine that is done may take a moment to be gone
	}
	if calls != 10 || runtime.NumGoroutine() > before {
		t.Errorf("%d rows computed, %d goroutines left", calls, runtime.NumGoroutine()-before)
	}
	if _, err := Attend(ctx, q, k, k); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type patternFunc func(position, keys int, visit func(lo, hi int))

func (f patternFunc) Ranges(position, keys int, visit func(lo, hi int)) { f(position, keys, visit) }

// measured runs attention of T queries over S keys and returns what it allocated beyond its result.
func measured(t *testing.T, T, S, D int, opts ...Option) (beyond uint64, stats Stats) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 12))
	q, k, v := random(r, 1, 1, T, D), random(r, 1, 1, S, D), random(r, 1, 1, S, D)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := Attend(t.Context(), q, k, v, append(opts, WithStats(&stats))...)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	beyond = after.TotalAlloc - before.TotalAlloc - uint64(4*out.Len())
	// A row of the result is a mean of values: of so many it is near 0, and no NaN.
	for _, x := range tensor.Data[float32](out) {
		if !(math.Abs(float64(x)) < 1) {
			t.Fatalf("%v in the result", x)
		}
	}
	return beyond, stats
}

// A call allocates no more than the stated scratch and a constant to start: for dense attention,
// and query by query when every key is a run of its own, a chunk holds as many runs as keys, and
// the best keys are many.
func TestMemoryLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	single := Sparse(patternFunc(func(position, keys int, visit func(lo, hi int)) {
		for j := range keys {
			visit(j, j+1)
		}
	}))
	tables := Disentangled(random(r, 1, 64, 16), random(r, 1, 64, 16))
	for _, c := range []struct {
		name   string
		opts   []Option
		limits []int64
	}{
		{"dense", nil, []int64{0, 1 << 20, 60 << 10, 20 << 10}},
		{"runs of one key", []Option{single}, []int64{0, 1 << 20, 8 << 10, 3 << 10}},
		{"a chunk of all keys", []Option{single, Chunk(1000)}, []int64{0, 1 << 20}},
		{"top-k", []Option{TopK(800)}, []int64{0, 1 << 20, 30 << 10}},
		{"disentangled", []Option{tables, single, TopK(100)}, []int64{0, 1 << 20, 8 << 10}},
	} {
		for _, limit := range c.limits {
			beyond, stats := measured(t, 500, 1000, 16, append(c.opts, MemoryLimit(limit), Threads(2))...)
			t.Logf("%s, limit %d: chunks of %d keys, %d bytes stated, %d allocated",
				c.name, limit, stats.Chunk, stats.Scratch, beyond)
			if limit > 0 && stats.Scratch > limit {
				t.Errorf("%s: %d bytes of scratch under a limit of %d",
					c.name, stats.Scratch, limit)
			}
			if beyond > uint64(stats.Scratch)+32<<10 {
				t.Errorf("%s, limit %d: %d bytes allocated, %d stated",
					c.name, limit, beyond, stats.Scratch)
			}
		}
	}
}

// Twelve heads of 257 queries and keys, 64 wide: a layer of a ViT.
func BenchmarkAttend(b *testing.B) {
	r := rand.New(rand.NewPCG(13, 14))
	x := random(r, 1, 12, 257, 64)
	for _, c := range []struct {
		name string
		opts []Option
	}{{"dense", nil}, {"causal", []Option{Causal()}}, {"window", []Option{Sparse(Window{Width: 16, Global: ints(0)})}}, {"topk", []Option{TopK(16)}}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Attend(b.Context(), x, x, x, c.opts...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
