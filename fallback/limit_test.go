package fallback_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Under a memory limit fused attention takes its keys in smaller pieces, with the
// same result; the matrix of scores would be far beyond it.
func TestMemoryLimitChunks(t *testing.T) {
	b := onnx.NewBuilder("long", 17)
	for _, name := range []string{"q", "kT", "v"} {
		b.Input(name, tensor.Float32, 1, 1, -1, -1)
	}
	probabilities := b.Node("Softmax", []string{b.Node("MatMul", []string{"q", "kT"}, nil)}, onnx.Attrs{"axis": -1})
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
	in := map[string]*tensor.Tensor{"q": fill(1, 1, queries, depth), "kT": fill(1, 1, depth, keys), "v": fill(1, 1, keys, depth)}
	var want []float32
	for _, limit := range []int64{0, 64 << 20, 1 << 20, 16 << 10} {
		s, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{MemoryLimit: limit, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
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
	s, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{MemoryLimit: 1 << 20, NoFusion: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(t.Context(), in); !errors.Is(err, engine.ErrGraph) {
		t.Errorf("the scores fit: %v", err)
	}
}
