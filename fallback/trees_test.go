package fallback_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// numbers is a tensor of float32 or float16.
func numbers(dtype tensor.DType, shape []int, v ...float32) *tensor.Tensor {
	if dtype == tensor.Float32 {
		return tensor.Must(tensor.New(shape, v))
	}
	h := make([]tensor.Half, len(v))
	for i, f := range v {
		h[i] = tensor.ToHalf(f)
	}
	return tensor.Must(tensor.New(shape, h))
}

// stump is a TreeEnsemble of one tree: feature 0 <= 0.5 gives leaf 0, else feature 1 > 2 gives leaf
// 1, else leaf 2. Leaves count 1, 2 and 4 for targets 0, 1 and 0.
func stump(of tensor.DType) onnx.Attrs {
	return onnx.Attrs{
		"n_targets": 2, "aggregate_function": 1, "post_transform": 0,
		"tree_roots": []int{0}, "nodes_featureids": []int{0, 1},
		"nodes_splits":    numbers(of, []int{2}, 0.5, 2),
		"nodes_modes":     tensor.Must(tensor.New([]int{2}, []uint8{0, 3})),
		"nodes_trueleafs": []int{1, 1}, "nodes_truenodeids": []int{0, 1},
		"nodes_falseleafs": []int{0, 1}, "nodes_falsenodeids": []int{1, 2},
		"leaf_targetids": []int{0, 1, 0}, "leaf_weights": numbers(of, []int{3}, 1, 2, 4),
	}
}

// learn is a graph of one node of ai.onnx.ml.
func learn(op string, version int64, dtype tensor.DType, attrs onnx.Attrs) onnx.Source {
	b := onnx.NewBuilder("learn", 17)
	b.Model.OpsetImport = append(b.Model.OpsetImport, &pb.OperatorSetIdProto{
		Domain: proto.String("ai.onnx.ml"), Version: proto.Int64(version)})
	b.Input("x", dtype, "n", "features")
	b.Output("y", dtype, "n", "m")
	b.NodeTo(op, []string{"x"}, []string{"y"}, attrs)
	b.Model.Graph.Node[0].Domain = proto.String("ai.onnx.ml")
	return b.Source()
}

func TestTreeEnsemble(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	x := []float32{0.5, 3, 1, 3, 1, 2, nan, 3, 1, nan}
	for _, c := range []struct {
		missing []int
		want    []float32
	}{
		{nil, []float32{1, 0, 0, 2, 4, 0, 0, 2, 4, 0}},
		{[]int{1, 0}, []float32{1, 0, 0, 2, 4, 0, 1, 0, 4, 0}},
		{[]int{0, 1}, []float32{1, 0, 0, 2, 4, 0, 0, 2, 0, 2}},
	} {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16} {
			attrs := stump(dtype)
			if c.missing != nil {
				attrs["nodes_missing_value_tracks_true"] = c.missing
			}
			source := learn("TreeEnsemble", 5, dtype, attrs)
			s, err := fallback.New().Open(t.Context(), source, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			in := map[string]*tensor.Tensor{"x": numbers(dtype, []int{5, 2}, x...)}
			got, err := s.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			want := numbers(dtype, []int{5, 2}, c.want...)
			if err := enginetest.Compare(got["y"], want, 0, 0); err != nil {
				t.Errorf("%v, missing %v: %v", dtype, c.missing, err)
			}
		}
	}
}

// Scores of 1 and 0 as probabilities, and the quantile of a probability.
func TestTreeEnsembleTransforms(t *testing.T) {
	t.Parallel()
	for transform, want := range [][]float32{{1, 0}, {0.7310586, 0.26894143}, {0.7310586, 0.5},
		{1, 0}, {1.959964, -1.959964}} {
		attrs := stump(tensor.Float32)
		attrs["post_transform"] = transform
		if transform == 4 { // both trees end in leaf 0 or 1
			attrs["tree_roots"], attrs["nodes_splits"] = []int{0, 1}, numbers(tensor.Float32, []int{2}, 0.5, -9)
			attrs["leaf_weights"] = numbers(tensor.Float32, []int{3}, 0.975, 0.025, 0)
		}
		source := learn("TreeEnsemble", 5, tensor.Float32, attrs)
		s, err := fallback.New().Open(t.Context(), source, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		in := map[string]*tensor.Tensor{"x": numbers(tensor.Float32, []int{1, 2}, 0, 0)}
		got, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		w := numbers(tensor.Float32, []int{1, 2}, want...)
		if err := enginetest.Compare(got["y"], w, 1e-6, 1e-7); err != nil {
			t.Errorf("transform %d: %v", transform, err)
		}
	}
}

// Attributes that do not fit together are the graph's fault, and no walk goes on for ever.
func TestBadForests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		change     onnx.Attrs
	}{
		{"loop", "goes back", onnx.Attrs{"nodes_falseleafs": []int{0, 0}, "nodes_falsenodeids": []int{1, 0}}},
		{"root", "starts at node 2", onnx.Attrs{"tree_roots": []int{2}}},
		{"branch", "goes on to -1", onnx.Attrs{"nodes_truenodeids": []int{-1, 1}}},
		{"leaf", "goes on to 3", onnx.Attrs{"nodes_falsenodeids": []int{1, 3}}},
		{"target", "target 2 of 2", onnx.Attrs{"leaf_targetids": []int{0, 2, 0}}},
		{"lengths", "nodes", onnx.Attrs{"nodes_featureids": []int{0}}},
		{"feature", "reads feature -1", onnx.Attrs{"nodes_featureids": []int{0, -1}}},
		{"features", "read 8 features", onnx.Attrs{"nodes_featureids": []int{0, 7}}},
		{"no targets", "0 targets", onnx.Attrs{"n_targets": 0, "leaf_targetids": []int{},
			"leaf_weights": tensor.Must(tensor.Zeros(tensor.Float32, 0))}},
		{"aggregate", "aggregate_function", onnx.Attrs{"aggregate_function": 4}},
		{"transform", "post_transform", onnx.Attrs{"post_transform": 5}},
		{"modes", "mode 7", onnx.Attrs{"nodes_modes": tensor.Must(tensor.New([]int{2}, []uint8{0, 7}))}},
		{"members", "set of members", onnx.Attrs{
			"nodes_modes": tensor.Must(tensor.New([]int{2}, []uint8{0, 6}))}},
		{"type", "int64", onnx.Attrs{"nodes_splits": tensor.Must(tensor.New([]int{2}, []int64{0, 7}))}},
	} {
		attrs := stump(tensor.Float32)
		maps.Copy(attrs, c.change)
		fails(t, c.name, c.want, learn("TreeEnsemble", 5, tensor.Float32, attrs))
	}
	fails(t, "scaler", "0 offsets", learn("Scaler", 1, tensor.Float32, nil))
}

func fails(t *testing.T, name, want string, source onnx.Source) {
	t.Helper()
	s, err := fallback.New().Open(t.Context(), source, engine.Options{})
	if err == nil {
		defer s.Close()
		x := tensor.Must(tensor.New([]int{2, 2}, slices.Repeat([]float32{1}, 4)))
		_, err = s.Run(t.Context(), map[string]*tensor.Tensor{"x": x})
	}
	if !errors.Is(err, engine.ErrGraph) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want one about %q", name, err, want)
	}
}
