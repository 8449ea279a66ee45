package fallback_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Under a memory limit fused attention takes its keys in smaller pieces, with the same result; the
// matrix of scores would be far beyond it.
func TestMemoryLimitChunks(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("long", 17)
	for _, name := range []string{"q", "kT", "v"} {
		b.Input(name, tensor.Float32, 1, 1, -1, -1)
	}
	probabilities := b.Node("Softmax", []string{do(b, "MatMul", "q", "kT")}, onnx.Attrs{"axis": -1})
	b.NodeTo("MatMul", []string{probabilities, "v"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 1, 1, -1, -1)
	const queries, keys, depth = 64, 8192, 8
	fill := func(shape ...int) *tensor.Tensor {
		x := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = float32(math.Sin(float64(i * (1 + len(shape)))))
		}
		return x
	}
	in := map[string]*tensor.Tensor{
		"q": fill(1, 1, queries, depth), "kT": fill(1, 1, depth, keys), "v": fill(1, 1, keys, depth),
	}
	var want []float32
	for _, limit := range []int64{0, 64 << 20, 1 << 20, 16 << 10} {
		s := open(t, b, engine.Options{MemoryLimit: limit, Threads: 1})
		out, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatalf("limit %d: %v", limit, err)
		}
		got := tensor.Data[float32](out["y"])
		if want == nil {
			want = slices.Clone(got)
		}
		for i := range got {
			if math.Abs(float64(got[i]-want[i])) > 1e-5 {
				t.Fatalf("limit %d: %v, want %v", limit, got[i], want[i])
			}
		}
	}
	s := open(t, b, engine.Options{MemoryLimit: 1 << 20, NoFusion: true})
	if _, err := s.Run(t.Context(), in); !errors.Is(err, engine.ErrGraph) {
		t.Errorf("the scores fit: %v", err)
	}
}

// What a run needs shows when it runs; a run within the limit is possible before and after.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("large", 17)
	b.Input("x", tensor.Float32, "n")
	b.NodeTo("Expand", []string{"x", b.Ints(1000, 1)}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 1000, "n")
	e := &fallback.Engine{MemoryLimit: 1 << 20}
	s, err := e.Open(t.Context(), b.Source(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		n  int
		ok bool
	}{{100, true}, {1000, false}, {200, true}} {
		x := tensor.Must(tensor.Zeros(tensor.Float32, c.n))
		_, err := s.Run(t.Context(), map[string]*tensor.Tensor{"x": x})
		if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "memory limit") {
			t.Errorf("%d: %v", c.n, err)
		}
	}
}
