package graph_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nlpodyssey/safetensors"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/internal/graphtest"
	"github.com/crossattn/xpipe/tensor"
)

// An Opener opens what the bundle has, and closes all of it.
func TestOpener(t *testing.T) {
	t.Parallel()
	encoder := &graphtest.Graph{}
	o := graphtest.Opener(t, graphtest.Engine{graphtest.File(graph.VisionEncoder): encoder},
		graph.VisionEncoder, graph.Decoder)
	if g, err := o.Open(graph.VisionEncoder); err != nil || g.Role != graph.VisionEncoder {
		t.Error(g, err)
	}
	if g, err := o.OpenIfThere(graph.QFormer); g != nil || err != nil {
		t.Errorf("a graph that is not there: %v, %v", g, err)
	}
	if _, err := o.Open(graph.QFormer); !errors.Is(err, graph.ErrBundle) {
		t.Errorf("a role that the bundle lacks: %v", err)
	}
	if _, err := o.Open(graph.Decoder); !errors.Is(err, engine.ErrGraph) ||
		!strings.Contains(err.Error(), "decoder.onnx") {
		t.Errorf("a graph that the engine refuses: %v", err)
	}
	if err := o.Close(); err != nil || encoder.Closed() != 1 {
		t.Errorf("closed %d times, %v", encoder.Closed(), err)
	}
}

// A graph is fed what its inputs ask for, from the first source that has it, and nothing else.
func TestFeed(t *testing.T) {
	t.Parallel()
	g := &graph.Graph{Role: graph.VisionEncoder, Session: &graphtest.Graph{
		In: []tensor.Spec{graphtest.Float("a", -1), graphtest.Float("b", -1)},
	}}
	one, two, three := graphtest.Floats([]int{1}, 1), graphtest.Floats([]int{1}, 2),
		graphtest.Floats([]int{1}, 3)
	in, err := g.Feed(graphtest.Tensors{"a": one, "other": three},
		graphtest.Tensors{"a": two, "b": two})
	if err != nil || len(in) != 2 || in["a"] != one || in["b"] != two {
		t.Errorf("fed %v, %v", in, err)
	}
	if _, err := g.Feed(graphtest.Tensors{"a": one}); !errors.Is(err, graph.ErrBundle) ||
		!strings.Contains(err.Error(), "b float32") {
		t.Errorf("without b: %v", err)
	}
}

// What a graph is given comes from the bundle, so a misfit is the bundle's fault, and that of the
// preprocessor where a front end made it.
func TestRun(t *testing.T) {
	t.Parallel()
	g := &graph.Graph{Role: graph.VisionEncoder, Session: &graphtest.Graph{
		In:  []tensor.Spec{graphtest.Float(graph.PixelValues, -1, 3)},
		Out: []tensor.Spec{graphtest.Float(graph.ImageEmbeds, -1, 3)},
		Compute: func(in graphtest.Tensors) graphtest.Tensors {
			return graphtest.Tensors{graph.ImageEmbeds: in[graph.PixelValues]}
		},
	}}
	good := graphtest.Tensors{graph.PixelValues: graphtest.Floats([]int{2, 3}, 1, 2, 3, 4, 5, 6),
		"more": graphtest.Floats([]int{1}, 1)}
	if out, err := g.RunPrepared(t.Context(), good, graph.ImageEmbeds, 2, -1); err != nil ||
		out.Len() != 6 {
		t.Error(out, err)
	}
	if _, err := g.RunPrepared(t.Context(), good, graph.ImageEmbeds, 2, 4); !errors.Is(err, graph.ErrBundle) {
		t.Errorf("an output of another shape: %v", err)
	}
	if _, err := g.RunPrepared(t.Context(), good, "other"); !errors.Is(err, graph.ErrBundle) {
		t.Errorf("an output that is not there: %v", err)
	}
	bad := graphtest.Tensors{graph.PixelValues: graphtest.Floats([]int{1, 4}, 1, 2, 3, 4)}
	_, err := g.RunPrepared(t.Context(), bad, graph.ImageEmbeds)
	if !errors.Is(err, graph.ErrBundle) || !errors.Is(err, engine.ErrInput) ||
		!strings.Contains(err.Error(), "preprocessor_config.json") {
		t.Errorf("pixels of another width: %v", err)
	}
	if _, err := g.Run(t.Context(), bad); !errors.Is(err, graph.ErrBundle) ||
		!strings.Contains(err.Error(), graph.VisionEncoder) {
		t.Errorf("an input of another width: %v", err)
	}
}

func TestCheckOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t     *tensor.Tensor
		shape []int
		fits  bool
	}{
		{graphtest.Floats([]int{2, 3}, 1, 2, 3, 4, 5, 6), []int{2, 3}, true},
		{graphtest.Floats([]int{2, 3}, 1, 2, 3, 4, 5, 6), []int{-1, -1}, true},
		{graphtest.Floats([]int{2, 3}, 1, 2, 3, 4, 5, 6), []int{3, 2}, false},
		{graphtest.Floats([]int{2, 3}, 1, 2, 3, 4, 5, 6), []int{6}, false},
		{graphtest.Floats([]int{2, 3}, 1, 2, 3, 4, 5, 6), []int{2, 3, 1}, false},
		{graphtest.Floats([]int{2, 0}), []int{2, -1}, false},
		{graphtest.Floats([]int{2, 0}), []int{2, 0}, true},
		{tensor.Scalar[float32](1), nil, true},
		{tensor.Must(tensor.Zeros(tensor.Int64, 2, 3)), []int{2, 3}, false},
	} {
		err := graph.CheckOutput("out", c.t, c.shape...)
		if (err == nil) != c.fits || err != nil &&
			(!errors.Is(err, graph.ErrBundle) || !strings.Contains(err.Error(), `"out"`)) {
			t.Errorf("%v as %v: %v", c.t, c.shape, err)
		}
	}
	if err := graph.CheckNumbers("x", []float32{1, float32(math.NaN())}); !errors.Is(err, graph.ErrBundle) || !strings.Contains(err.Error(), "value 1 of x") {
		t.Error(err)
	}
	if err := graph.CheckNumbers("x", []float32{1, float32(math.Inf(1))}); err != nil {
		t.Error(err)
	}
}

// Split shares memory, and Stack undoes it.
func TestSplitAndStack(t *testing.T) {
	t.Parallel()
	whole := graphtest.Floats([]int{3, 1, 2}, 1, 2, 3, 4, 5, 6)
	rows, err := graph.Split(whole)
	if err != nil || len(rows) != 3 {
		t.Fatal(rows, err)
	}
	if r := rows[1]; !slices.Equal(r.Shape(), []int{1, 1, 2}) ||
		!slices.Equal(tensor.Data[float32](r), []float32{3, 4}) {
		t.Errorf("row 1 is %v %v", r, r.Float32s())
	}
	if &tensor.Data[float32](rows[2])[0] != &tensor.Data[float32](whole)[4] {
		t.Error("rows were copied")
	}
	again, err := graph.Stack(rows)
	if err != nil || !slices.Equal(again.Shape(), whole.Shape()) ||
		!slices.Equal(again.Float32s(), whole.Float32s()) {
		t.Errorf("stacked to %v, %v", again, err)
	}
	if one, err := graph.Split(rows[0]); err != nil || len(one) != 1 || one[0] != rows[0] {
		t.Error("a single row is not itself", one, err)
	}
	if one, err := graph.Stack(rows[:1]); err != nil || one != rows[0] {
		t.Error("a single row stacked is not itself", one, err)
	}
	if _, err := graph.Stack([]*tensor.Tensor{rows[0], graphtest.Floats([]int{1, 2, 1}, 1, 2)}); !errors.Is(err, graph.ErrBundle) {
		t.Errorf("two shapes: %v", err)
	}
	if _, err := graph.Stack([]*tensor.Tensor{rows[0],
		tensor.Must(tensor.Zeros(tensor.Int64, 1, 1, 2))}); err == nil {
		t.Error("integers were stacked with floats")
	}
}

func TestNormalized(t *testing.T) {
	t.Parallel()
	n, err := graph.Normalized(graphtest.Floats([]int{2, 2}, 3, 4, 0, 0))
	if err != nil || !slices.Equal(n.Float32s(), []float32{0.6, 0.8, 0, 0}) {
		t.Error(n.Float32s(), err)
	}
	if _, err := graph.Normalized(graphtest.Floats([]int{1}, float32(math.NaN()))); !errors.Is(err, graph.ErrBundle) {
		t.Error(err)
	}
	if graph.Argmax([]float32{1, 3, 3}) != 1 {
		t.Error("not the first of equals")
	}
	if got := graph.Row(graphtest.Floats([]int{2, 2}, 1, 2, 3, 4), 1); !slices.Equal(got, []float32{3, 4}) {
		t.Error(got)
	}
}

// projection loads one from a file of weights [out,in] and, where there is one, offsets.
func projection(t *testing.T, weight []float32, in, out int, bias []float32) *graph.Projection {
	t.Helper()
	values := map[string]safetensors.TensorView{}
	add := func(name string, v []float32, shape ...uint64) {
		var raw []byte
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		view, err := safetensors.NewTensorView(safetensors.F32, shape, raw)
		if err != nil {
			t.Fatal(err)
		}
		values[name] = view
	}
	add("p.weight", weight, uint64(out), uint64(in))
	if bias != nil {
		add("p.bias", bias, uint64(out))
	}
	var file bytes.Buffer
	if err := safetensors.SerializeToWriter(values, nil, &file); err != nil {
		t.Fatal(err)
	}
	bundle, err := models.OpenFS(fstest.MapFS{
		models.ManifestName: {Data: []byte(`{"format":1,"family":"f","graphs":{"a":"a.onnx"},"projection":"p.safetensors"}`)},
		"a.onnx":            {},
		"p.safetensors":     {Data: file.Bytes()},
	}, models.WithoutVerification())
	if err != nil {
		t.Fatal(err)
	}
	weights, err := bundle.Weights()
	if err != nil {
		t.Fatal(err)
	}
	p, err := graph.LoadProjection(weights, "p")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := graph.LoadProjection(weights, "q"); !errors.Is(err, graph.ErrBundle) {
		t.Errorf("a projection that is not there: %v", err)
	}
	return p
}

// The projection is a plain loop's, for widths that fill no tile and for many rows.
func TestProjection(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 2))
	numbers := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		return v
	}
	for _, c := range []struct {
		in, out int
		shape   []int
		bias    bool
	}{
		{1, 1, []int{1, 1}, true}, {24, 32, []int{2, 6, 24}, true}, {7, 5, []int{7}, false},
		{33, 65, []int{3, 17, 33}, false}, {64, 48, []int{300, 64}, true},
		{8, 8, []int{0, 8}, true},
	} {
		weight, bias := numbers(c.in*c.out), []float32(nil)
		if c.bias {
			bias = numbers(c.out)
		}
		n, err := tensor.NumElements(c.shape)
		if err != nil {
			t.Fatal(err)
		}
		x := numbers(n)
		p := projection(t, weight, c.in, c.out, bias)
		y, err := p.Apply(t.Context(), graphtest.Floats(c.shape, x...))
		if err != nil {
			t.Fatal(err)
		}
		want := append(slices.Clone(c.shape[:len(c.shape)-1]), c.out)
		if p.In != c.in || p.Out != c.out || !slices.Equal(y.Shape(), want) {
			t.Fatalf("%d to %d: %v, want %v", p.In, p.Out, y, want)
		}
		for i, got := range tensor.Data[float32](y) {
			row, column := i/c.out, i%c.out
			sum := 0.0
			if c.bias {
				sum = float64(bias[column])
			}
			for k := range c.in {
				sum += float64(weight[column*c.in+k]) * float64(x[row*c.in+k])
			}
			if math.Abs(float64(got)-sum) > 1e-5*max(1, math.Abs(sum)) {
				t.Fatalf("%v: row %d, column %d is %v, want %v", c, row, column, got, sum)
			}
		}
	}
	p := projection(t, []float32{1, 2}, 2, 1, nil)
	for _, bad := range []*tensor.Tensor{graphtest.Floats([]int{1, 3}, 1, 2, 3),
		tensor.Scalar[float32](1), tensor.Must(tensor.Zeros(tensor.Int64, 1, 2))} {
		if _, err := p.Apply(t.Context(), bad); !errors.Is(err, graph.ErrBundle) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
