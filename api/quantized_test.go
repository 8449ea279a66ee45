package api

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/tensor"
)

// int8Graph multiplies a float32 [n,2] by int8 weights, the range measured as it runs.
func int8Graph(weights ...int8) engine.Source {
	b := onnx.NewBuilder("int8", 17)
	b.Input("x", tensor.Float32, "n", 2)
	b.NodeTo("DynamicQuantizeLinear", []string{"x"}, []string{"q", "scale", "zero"}, nil)
	w := b.Const(tensor.Must(tensor.New([]int{2, len(weights) / 2}, weights)))
	product := b.Node("MatMulInteger", []string{"q", w, "zero"}, nil)
	b.NodeTo("Cast", []string{product}, []string{"y"}, onnx.Attrs{"to": 1})
	b.Output("y", tensor.Float32, "n", len(weights)/2)
	return b.Source()
}

func floatGraph() engine.Source {
	b := onnx.NewBuilder("float", 17)
	b.Input("x", tensor.Float32, "n")
	b.NodeTo("Abs", []string{"x"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, "n")
	return b.Source()
}

func TestExamineInt8(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source             engine.Source
		dynamic, saturates bool
	}{
		"8 bits":   {int8Graph(127, -3, 1, 2), true, true},
		"negative": {int8Graph(1, -128), true, true},
		"7 bits":   {int8Graph(64, -64, 1, 2), true, false},
		"float":    {floatGraph(), false, false},
		"damaged":  {onnx.MemorySource([]byte("no graph")), false, false},
	} {
		if d, s := examineInt8(c.source); d != c.dynamic || s != c.saturates {
			t.Errorf("%s: dynamic %v, saturates %v", name, d, s)
		}
	}
}

// options notes how graphs are opened.
type options struct {
	engine.Engine
	opened []engine.Options
}

func (o *options) Name() string { return "noting" }

func (o *options) Open(_ context.Context, _ engine.Source, opts engine.Options) (engine.Session, error) {
	o.opened = append(o.opened, opts)
	return nil, nil
}

// Dynamic int8 graphs alone are opened without optimization, and a note says so once.
func TestPlainInt8(t *testing.T) {
	t.Parallel()
	o := &options{}
	e := &plainInt8{Engine: o}
	for _, source := range []engine.Source{floatGraph(), int8Graph(1, 2), int8Graph(1, 2)} {
		if _, err := e.Open(t.Context(), source, engine.Options{Threads: 3}); err != nil {
			t.Fatal(err)
		}
	}
	for i, opts := range o.opened {
		if opts.NoFusion != (i > 0) || opts.Threads != 3 {
			t.Errorf("graph %d: %+v", i, opts)
		}
	}
	says := func(note string) bool { return strings.Contains(note, "optimization off") }
	if len(e.notes) != 1 || !slices.ContainsFunc(e.notes, says) {
		t.Errorf("%q", e.notes)
	}
}

// ONNX Runtime without its optimization gives what the Go engine does on a dynamic int8 graph. The
// weights have 7 bits, so that no processor saturates.
func TestPlainInt8OnBoth(t *testing.T) {
	t.Parallel()
	config := EngineConfig{Libraries: map[string]string{ort.Name: orttest.Library(t)}}
	choice, err := SelectEngine(ort.Name, config)
	if err != nil {
		t.Skip(err)
	}
	source := int8Graph(64, -64, 3, 17, -5, 60)
	in := map[string]*tensor.Tensor{
		"x": tensor.Must(tensor.New([]int{2, 2}, []float32{0.1, -2.5, 3.75, 1})),
	}
	var outputs [2][]float32
	for i, e := range []engine.Engine{&plainInt8{Engine: choice.Engine}, fallback.New()} {
		s, err := e.Open(t.Context(), source, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		outputs[i] = out["y"].Float32s()
		s.Close()
	}
	if len(outputs[0]) != 6 || !slices.Equal(outputs[0], outputs[1]) {
		t.Errorf("%v and %v", outputs[0], outputs[1])
	}
}
