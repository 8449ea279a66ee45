package compare

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/internal/graphtest"
	"github.com/crossattn/xpipe/tensor"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// after runs a graph once for each pair of outputs, as two engines would give them, and returns
// what was compared.
func after(t *testing.T, output string, pairs ...[2]*tensor.Tensor) (Stage, error) {
	t.Helper()
	side := func(i int) (engine.Engine, *graphtest.Graph) {
		g := &graphtest.Graph{Out: []tensor.Spec{{Name: output}}}
		g.Compute = func(graphtest.Tensors) graphtest.Tensors {
			return graphtest.Tensors{output: pairs[len(g.Runs())-1][i]}
		}
		return graphtest.Engine{"g.onnx": g}, g
	}
	first, a := side(0)
	second, b := side(1)
	e := NewEngine(first, second)
	if e.Name() != "graphtest+graphtest" {
		t.Errorf("the engine is %s", e.Name())
	}
	s, err := e.Open(t.Context(), engine.Source{Name: "g.onnx"}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range pairs {
		out, err := s.Run(t.Context(), nil)
		if err != nil {
			return Stage{}, err
		}
		if out[output] != pair[0] {
			t.Error("what goes on is not the first engine's")
		}
	}
	if err := s.Close(); err != nil || a.Closed() != 1 || b.Closed() != 1 {
		t.Errorf("closed %d and %d times, %v", a.Closed(), b.Closed(), err)
	}
	stages := e.Stages()
	if len(stages) != 1 || stages[0].Graph != "g.onnx" || stages[0].Output != output ||
		stages[0].Runs != len(pairs) {
		t.Fatalf("stages %+v", stages)
	}
	return stages[0], nil
}

func pair(shape []int, a, b []float32) [2]*tensor.Tensor {
	return [2]*tensor.Tensor{graphtest.Floats(shape, a...), graphtest.Floats(shape, b...)}
}

// The numbers of a stage are those worked out by hand, over all its runs.
func TestStageNumbers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		output                         string
		pairs                          [][2]*tensor.Tensor
		most, mean, largest, cos, best float64
	}{
		"equal": {
			output: "x", pairs: [][2]*tensor.Tensor{pair([]int{2}, []float32{3, -4},
				[]float32{3, -4})},
			most: 0, mean: 0, largest: 4, cos: 1, best: math.NaN(),
		},
		"at right angles": {
			output: "x", pairs: [][2]*tensor.Tensor{pair([]int{2}, []float32{2, 0},
				[]float32{0, 1})},
			most: 2, mean: 1.5, largest: 2, cos: 0, best: math.NaN(),
		},
		"two runs of two lengths": {
			output: "x", pairs: [][2]*tensor.Tensor{
				pair([]int{1}, []float32{1}, []float32{0.5}),
				pair([]int{3}, []float32{2, 0, -8}, []float32{2, 0.25, -8}),
			},
			most: 0.5, mean: 0.75 / 4, largest: 8, cos: 68.5 / math.Sqrt(69*68.3125),
			best: math.NaN(),
		},
		"zeros": {
			output: "x", pairs: [][2]*tensor.Tensor{pair([]int{2}, []float32{0, 0},
				[]float32{0, 0})},
			most: 0, mean: 0, largest: 0, cos: 1, best: math.NaN(),
		},
		"nothing": {
			output: "x", pairs: [][2]*tensor.Tensor{pair([]int{0}, nil, nil)},
			most: 0, mean: 0, largest: 0, cos: 1, best: math.NaN(),
		},
		"scores": { // the best of row 0 is at another place
			output: graph.Logits, pairs: [][2]*tensor.Tensor{
				pair([]int{2, 2}, []float32{1, 0, 0, 1}, []float32{0, 1, 0, 1}),
				pair([]int{2, 2}, []float32{1, 0, 0, 1}, []float32{1, 0, 0, 1}),
			},
			most: 1, mean: 0.25, largest: 1, cos: 0.75, best: 0.75,
		},
	} {
		s, err := after(t, c.output, c.pairs...)
		if err != nil {
			t.Fatal(err)
		}
		for what, pair := range map[string][2]float64{
			"largest difference": {s.MaxDiff, c.most}, "mean difference": {s.MeanDiff, c.mean},
			"largest value": {s.Largest, c.largest}, "cosine": {s.Cosine, c.cos},
			"argmax": {s.Argmax, c.best},
		} {
			if got, want := pair[0], pair[1]; math.IsNaN(got) != math.IsNaN(want) ||
				math.Abs(got-want) > 1e-7 {
				t.Errorf("%s: the %s is %v, want %v", name, what, got, want)
			}
		}
	}
}

// What is no number, or the same infinity, on both sides is no difference; on one side it is the
// largest there is.
func TestStageOfNoNumbers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b, most float32
	}{
		"NaN on both":             {nan, nan, 0},
		"infinite on both":        {inf, inf, 0},
		"NaN on the first":        {nan, 1, inf},
		"NaN on the second":       {1, nan, inf},
		"infinite on one":         {inf, 1, inf},
		"infinities of two signs": {inf, -inf, inf},
	} {
		s, err := after(t, "x", pair([]int{1}, []float32{c.a}, []float32{c.b}))
		if err != nil {
			t.Fatal(err)
		}
		if s.MaxDiff != float64(c.most) {
			t.Errorf("%s: %v", name, s.MaxDiff)
		}
		if s.MaxDiff > 0 && s.Within(0.1) {
			t.Errorf("%s is within a tolerance", name)
		}
	}
	// An infinity on both does not hide what lies beside it.
	s, err := after(t, "x", pair([]int{2}, []float32{-inf, 1}, []float32{-inf, 2}))
	if err != nil || s.Largest != 1 || s.Within(0.1) {
		t.Errorf("beside infinity: %+v, %v", s, err)
	}
}

// Outputs of two shapes or types have no difference: the graph is not the same.
func TestOutputsThatDoNotCompare(t *testing.T) {
	t.Parallel()
	one := graphtest.Floats([]int{1, 2}, 1, 2)
	for _, other := range []*tensor.Tensor{graphtest.Floats([]int{2, 1}, 1, 2),
		tensor.Must(tensor.Zeros(tensor.Int64, 1, 2))} {
		if _, err := after(t, "x", [2]*tensor.Tensor{one, other}); !errors.Is(err, engine.ErrGraph) ||
			!strings.Contains(err.Error(), "output x of g.onnx") {
			t.Errorf("%v and %v: %v", one, other, err)
		}
	}
}

// A graph that the second engine refuses is closed on the first.
func TestOpenOnOneEngine(t *testing.T) {
	t.Parallel()
	g := &graphtest.Graph{}
	e := NewEngine(graphtest.Engine{"g.onnx": g}, graphtest.Engine{})
	if _, err := e.Open(t.Context(), engine.Source{Name: "g.onnx"}, engine.Options{}); !errors.Is(err, engine.ErrGraph) || g.Closed() != 1 {
		t.Errorf("%v, closed %d times", err, g.Closed())
	}
}

func TestWithinAndTolerance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most, largest, tolerance float64
		within                   bool
	}{
		{0, 0, 0, true}, {1e-4, 0.5, 1e-4, true}, {1.1e-4, 0.5, 1e-4, false},
		// values below 1 are not scaled
		{1e-3, 100, 1e-4, true}, {1e-2, 50, 1e-4, false}, {math.Inf(1), 1, 1, false},
		{math.NaN(), 1, 1, false},
	} {
		s := Stage{MaxDiff: c.most, Largest: c.largest}
		if s.Within(c.tolerance) != c.within {
			t.Errorf("%+v", c)
		}
	}
	for dtype, want := range map[string]float64{"": 1e-4, "fp32": 1e-4, "fp16": 1e-4,
		"float16": 1e-2, "int8": 5e-2} {
		if got := Tolerance(dtype); got != want {
			t.Errorf("%q: %v, want %v", dtype, got, want)
		}
	}
	r := Report{Tolerance: 0.5,
		Stages: []Stage{{Output: "good", MaxDiff: 0.5}, {Output: "bad", MaxDiff: 0.6}}}
	if b := r.Breaches(); len(b) != 1 || b[0].Output != "bad" {
		t.Errorf("breaches %v", b)
	}
}
