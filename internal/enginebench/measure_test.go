package enginebench_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/enginebench"
	"github.com/crossattn/xpipe/tensor"
)

func TestRatio(t *testing.T) {
	t.Parallel()
	a := []time.Duration{10, 20, 30, 1000}
	b := []time.Duration{10, 10, 10, 10}
	if m, low, high := enginebench.Ratio(a, b); m != 2.5 || low != 1.75 || math.Abs(high-27.25) > 1e-9 {
		t.Errorf("%v %v %v", m, low, high)
	}
	if m := enginebench.Median(nil); m != 0 {
		t.Error(m)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	specs := []tensor.Spec{
		{Name: "x", DType: tensor.Float32, Shape: []int{-1, 3, -1}, Dims: []string{"batch", "", "n"}},
		{Name: "attention_mask", DType: tensor.Int64, Shape: []int{-1}, Dims: []string{"n"}},
	}
	in, err := enginebench.Inputs(specs, map[string]int{"n": 4})
	if err != nil {
		t.Fatal(err)
	}
	if s := in["x"].String(); s != "float32[1,3,4]" {
		t.Error(s)
	}
	if m := tensor.Data[int64](in["attention_mask"]); len(m) != 4 || m[0] != 1 {
		t.Error(m)
	}
	if _, err := enginebench.Inputs([]tensor.Spec{{Name: "y", DType: tensor.Float32}}, nil); err == nil {
		t.Error("an input of unknown rank")
	}
}

// The smallest of the graphs runs, and its weights keep numbers in range.
func TestGraph(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, g := range enginebench.Graphs() {
		if g.Name != "efficientnet" {
			continue
		}
		m := g.Build()
		if f := m.FLOP / 1e9; f < 0.7 || f > 0.9 { // 0.4 G multiplications and as many additions
			t.Errorf("%.2f GFLOP", f)
		}
		s, err := fallback.New().Open(ctx, m.Source(), engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		in, err := enginebench.Inputs(s.Inputs(), g.Dims)
		if err != nil {
			t.Fatal(err)
		}
		timings, err := enginebench.Measure(ctx, []engine.Session{s, s}, in, 0, 2, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(timings) != 2 || len(timings[0].Wall) != 2 {
			t.Error(timings)
		}
		out, err := s.Run(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range tensor.Data[float32](out["features"]) {
			if !(v >= 0 && v <= 6) {
				t.Fatalf("a feature is %v", v)
			}
		}
	}
}
