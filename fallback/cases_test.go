package fallback_test

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Graphs of one operator give what the references of testdata/onnx/make.py give.
func TestOperatorCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/onnx/*.npz")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		kind := strings.TrimSuffix(filepath.Base(file), ".npz")
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			arrays, err := tensor.LoadNpz(file, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			given, wanted := map[string]map[string]*tensor.Tensor{}, map[string]map[string]*tensor.Tensor{}
			for key, a := range arrays {
				for part, of := range map[string]map[string]map[string]*tensor.Tensor{".in.": given, ".out.": wanted} {
					if name, rest, ok := strings.Cut(key, part); ok {
						if of[name] == nil {
							of[name] = map[string]*tensor.Tensor{}
						}
						of[name][rest] = a
					}
				}
			}
			count := 0
			for _, name := range slices.Sorted(maps.Keys(arrays)) {
				name, isModel := strings.CutSuffix(name, ".model")
				if !isModel {
					continue
				}
				count++
				model := bytes.Clone(tensor.Data[uint8](arrays[name+".model"]))
				in, want := given[name], wanted[name]
				t.Run(name, func(t *testing.T) { runCase(t, onnx.MemorySource(model), in, want) })
			}
			t.Logf("%d cases", count)
		})
	}
}

// Graphs of other people, each with one input x and one output.
func TestGraphCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/onnx/*/*.onnx")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			x, err := tensor.LoadNpy(filepath.Join(filepath.Dir(file), "x.npy"))
			if err != nil {
				t.Fatal(err)
			}
			y, err := tensor.LoadNpy(strings.TrimSuffix(file, ".onnx") + ".expected.npy")
			if err != nil {
				t.Fatal(err)
			}
			source := engine.FileSource(file)
			runCase(t, source, map[string]*tensor.Tensor{"x": x}, map[string]*tensor.Tensor{"": y})
		})
	}
}

// runCase runs a graph as it is and fused. A wanted output without a name is the only one.
func runCase(t *testing.T, source engine.Source, in, want map[string]*tensor.Tensor) {
	t.Helper()
	for _, noFusion := range []bool{false, true} {
		s, err := fallback.New().Open(t.Context(), source, engine.Options{NoFusion: noFusion})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range want {
			if name == "" {
				name = s.Outputs()[0].Name
			}
			relative, absolute := 1e-4, 1e-5
			if w.DType() == tensor.Float64 {
				relative, absolute = 1e-9, 1e-12
			}
			if err := enginetest.Compare(got[name], w, relative, absolute); err != nil {
				t.Errorf("output %q: %v", name, err)
			}
		}
	}
}

// Layers that are fused in float32 give the same in other floats, fused or not.
func TestLayersOfOtherFloats(t *testing.T) {
	t.Parallel()
	values := func(dtype tensor.DType, seed int, shape ...int) *tensor.Tensor {
		x := tensor.Must(tensor.Zeros(dtype, shape...))
		for i := range x.Len() {
			v := float32((i*7+seed*5)%11-5) / 8 // exact in all types
			switch dtype {
			case tensor.Float32:
				tensor.Data[float32](x)[i] = v
			case tensor.Float64:
				tensor.Data[float64](x)[i] = float64(v)
			default:
				tensor.Data[tensor.BF16](x)[i] = tensor.ToBF16(v)
			}
		}
		return x
	}
	build := func(dtype tensor.DType) *onnx.Builder {
		b := onnx.NewBuilder("layers", 17)
		weight := func(seed int, shape ...int) string { return b.Const(values(dtype, seed, shape...)) }
		b.Input("x", dtype, 1, 5, 8)
		b.Input("past", dtype, 1, 1, 3, 8)
		linear := func(x string, seed int) string {
			y := b.Node("MatMul", []string{x, weight(seed, 8, 8)}, nil)
			return b.Node("Add", []string{y, weight(seed+1, 8)}, nil)
		}
		heads := func(x string) string {
			x = b.Node("Reshape", []string{x, b.Ints(1, 5, 1, 8)}, nil)
			return b.Node("Transpose", []string{x}, onnx.Attrs{"perm": []int{0, 2, 1, 3}})
		}
		q, k, v := heads(linear("x", 1)), heads(linear("x", 3)), heads(linear("x", 5))
		b.NodeTo("Concat", []string{"past", k}, []string{"present"}, onnx.Attrs{"axis": 2})
		v = b.Node("Concat", []string{"past", v}, onnx.Attrs{"axis": 2})
		k = b.Node("Transpose", []string{"present"}, onnx.Attrs{"perm": []int{0, 1, 3, 2}})
		scores := b.Node("MatMul", []string{q, k}, nil)
		y := b.Node("MatMul", []string{b.Node("Softmax", []string{scores}, nil), v}, nil)
		y = b.Node("Mul", []string{y, b.Node("Sigmoid", []string{y}, nil)}, nil)
		y = b.Node("Relu", []string{linear(y, 7)}, nil)
		y = b.Node("Conv", []string{y, weight(9, 2, 1, 3, 3), weight(10, 2)}, nil)
		y = b.Node("Relu", []string{y}, nil)
		y = b.Node("Conv", []string{y, weight(11, 2, 2, 1, 1)}, nil)
		b.NodeTo("LayerNormalization", []string{y, weight(12, 6)}, []string{"y"}, nil)
		b.Output("y", dtype, 1, 2, 3, 6)
		b.Output("present", dtype, 1, 1, 8, 8)
		return b
	}
	run := func(dtype tensor.DType, noFusion bool) map[string]*tensor.Tensor {
		opts := engine.Options{NoFusion: noFusion}
		s, err := fallback.New().Open(t.Context(), build(dtype).Source(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out, err := s.Run(t.Context(), map[string]*tensor.Tensor{
			"x": values(dtype, 13, 1, 5, 8), "past": values(dtype, 14, 1, 1, 3, 8),
		})
		if err != nil {
			t.Fatalf("%v: %v", dtype, err)
		}
		return out
	}
	want := run(tensor.Float32, true)
	for dtype, near := range map[tensor.DType]float64{tensor.Float64: 1e-4, tensor.BFloat16: 0.15} {
		for _, noFusion := range []bool{false, true} {
			for name, got := range run(dtype, noFusion) {
				narrowed := tensor.Must(tensor.New(got.Shape(), got.Float32s()))
				if err := enginetest.Compare(narrowed, want[name], near, near); err != nil ||
					got.DType() != dtype {
					t.Errorf("%v, unfused %v: %s: %v", dtype, noFusion, name, err)
				}
			}
		}
	}
}
