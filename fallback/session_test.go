package fallback

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

const decoder = "../models/mini/blip2-mini/onnx/decoder_model_merged.onnx"

// steps feeds a decoder graph's cache back to it.
type steps struct {
	t       testing.TB
	session engine.Session
}

// run runs n new positions of rows sequences behind past, with values that seed decides, and
// returns all outputs.
func (s steps) run(
	past map[string]*tensor.Tensor, rows, n int, seed uint64,
) map[string]*tensor.Tensor {
	s.t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	in := map[string]*tensor.Tensor{}
	length := 0
	for _, spec := range s.session.Inputs() {
		if p := past[strings.Replace(spec.Name, "past_key_values", "present", 1)]; p != nil {
			in[spec.Name], length = p, p.Dim(2)
		} else if len(spec.Shape) == 4 {
			none := []int{rows, spec.Shape[1], 0, spec.Shape[3]}
			in[spec.Name] = tensor.Must(tensor.Zeros(tensor.Float32, none...))
		}
	}
	mask := make([]int64, rows*(length+n))
	for i := range mask {
		mask[i] = 1
	}
	in["attention_mask"] = tensor.Must(tensor.New([]int{rows, length + n}, mask))
	for _, spec := range s.session.Inputs() {
		if spec.Name == "inputs_embeds" {
			values := make([]float32, rows*n*spec.Shape[2])
			for i := range values {
				values[i] = float32(random.NormFloat64())
			}
			in[spec.Name] = tensor.Must(tensor.New([]int{rows, n, spec.Shape[2]}, values))
		}
	}
	out, err := s.session.Run(context.Background(), in)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func openDecoder(t testing.TB, noFusion bool) steps {
	t.Helper()
	opts := engine.Options{NoFusion: noFusion}
	s, err := New().Open(context.Background(), engine.FileSource(decoder), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return steps{t, s}
}

// A cache that grows in place gives what copied caches give: over many steps, in branches that go
// on from one past, and from a past that was looked at.
func TestCacheGrowsInPlace(t *testing.T) {
	t.Parallel()
	grows, copies := openDecoder(t, false), openDecoder(t, true)
	same := func(what string, a, b map[string]*tensor.Tensor) {
		t.Helper()
		for name := range b {
			x, y := a[name].Float32s(), b[name].Float32s()
			if len(x) != len(y) {
				t.Fatalf("%s: %s has %d elements, want %d", what, name, len(x), len(y))
			}
			for i := range x {
				if d := x[i] - y[i]; d > 1e-4 || d < -1e-4 {
					t.Fatalf("%s: %s differs by %v at %d", what, name, d, i)
				}
			}
		}
	}
	for rows := 1; rows <= 3; rows++ {
		a, b := grows.run(nil, rows, 5, 1), copies.run(nil, rows, 5, 1)
		for i := range uint64(25) {
			n := 1 + int(i%3)
			nextA, nextB := grows.run(a, rows, n, i+2), copies.run(b, rows, n, i+2)
			switch i % 10 {
			case 3: // two branches from one past, the first of which has taken the room
				same("branch", grows.run(a, rows, 2, 1000+i), copies.run(b, rows, 2, 1000+i))
				same("branch again",
					grows.run(nextA, rows, 1, 2000+i), copies.run(nextB, rows, 1, 2000+i))
				nextA = grows.run(a, rows, n, i+2)
			case 7: // looked at in between
				same("step", nextA, nextB)
			}
			a, b = nextA, nextB
		}
		same(fmt.Sprintf("%d rows at the end", rows), a, b)
	}
}

// Steps do not copy the cache: the memory that a step allocates does not grow with the length of
// the past. The test counts what the process allocates, so it runs alone.
func TestCacheIsNotCopied(t *testing.T) {
	s := openDecoder(t, false)
	short, long := s.run(nil, 1, 4, 1), s.run(nil, 1, 50, 1)
	for range 3 {
		short, long = s.run(short, 1, 1, 2), s.run(long, 1, 1, 2)
	}
	cost := func(past map[string]*tensor.Tensor) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.run(past, 1, 1, 3)
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	a, b := cost(short), cost(long)
	var cache float64
	for name, p := range long {
		if strings.HasPrefix(name, "present") {
			cache += float64(p.Len() * 4)
		}
	}
	if b-a > cache/4 {
		t.Errorf("a step behind 53 positions allocates %v bytes, behind 7 %v; the cache is %v",
			b, a, cache)
	}
}
