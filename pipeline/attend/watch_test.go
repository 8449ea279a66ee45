package attend

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/internal/graphtest"
	"github.com/crossattn/xpipe/tensor"
)

// constant is a graph of one input whose outputs, and taps, are always the same.
func constant(values graphtest.Tensors, outputs ...string) *graphtest.Graph {
	g := &graphtest.Graph{
		In: []tensor.Spec{graphtest.Float("x", -1)},
		Compute: func(graphtest.Tensors) graphtest.Tensors {
			out := graphtest.Tensors{}
			for name, t := range values { // a run's outputs are the caller's
				out[name] = t.Clone()
			}
			return out
		},
	}
	for _, name := range outputs {
		g.Out = append(g.Out, tensor.Spec{Name: name, DType: values[name].DType()})
	}
	return g
}

// maps are attention [1,1,1,2] that tells layers apart.
func maps(share float32) *tensor.Tensor {
	return graphtest.Floats([]int{1, 1, 1, 2}, share,
		1-share)
}

// watched opens a graph of a role on eng and runs it once, for its output y, under a watch.
func watched(t *testing.T, eng, shadow engine.Engine, role string,
	taps bool) (out graphtest.Tensors, runs []Run, w *Watch) {
	t.Helper()
	g, err := graphtest.Opener(t, NewEngine(eng, shadow), role).Open(role)
	if err != nil {
		t.Fatal(err)
	}
	w = NewWatch(map[string]string{role: graphtest.File(role)}, role,
		"a role that the bundle lacks")
	w.Taps = taps
	in := graphtest.Tensors{"x": graphtest.Floats([]int{1}, 1)}
	if out, err = g.Run(Under(t.Context(), w), in, "y"); err != nil {
		t.Fatal(err)
	}
	if len(out) != 1 || out["y"] == nil {
		t.Errorf("asked for y, the graph gave %v", out)
	}
	if runs = w.Runs(role); len(runs) != 1 || runs[0].In["x"] != in["x"] {
		t.Fatalf("runs %v", runs)
	}
	return out, runs, w
}

// shares are the first weights of a kind's maps, layer by layer.
func shares(r *Run, kind Kind) (list []float32) {
	for _, l := range r.Kind(kind) {
		list = append(list, tensor.Data[float32](l.Tensor)[0])
	}
	return list
}

func on(role string, g engine.Session) engine.Engine {
	return graphtest.Engine{graphtest.File(role): g}
}

var y = graphtest.Floats([]int{1}, 7)

// unseen is a graph without attention among its outputs.
func unseen() *graphtest.Graph { return constant(graphtest.Tensors{"y": y}, "y") }

// Outputs that say where the graph looked are asked for under a watch, and are in layers' order.
func TestWatchOutputs(t *testing.T) {
	t.Parallel()
	g := constant(graphtest.Tensors{
		"y": y, "cross_attn.10": maps(0.5), "cross_attn.2": maps(0.25), "self_attn.0": maps(0.75),
		"attn.x": maps(1),
	}, "y", "cross_attn.10", "cross_attn.2", "self_attn.0", "attn.x")
	_, runs, w := watched(t, on(graph.QFormer, g), nil, graph.QFormer, false)
	if got := shares(&runs[0], CrossAttention); !slices.Equal(got, []float32{0.25, 0.5}) {
		t.Errorf("cross-attention %v", got)
	}
	if got := shares(&runs[0], SelfAttention); !slices.Equal(got, []float32{0.75}) {
		t.Errorf("self-attention %v", got)
	}
	if err := w.Check("m"); err != nil {
		t.Error(err)
	}
	if asked := g.Asked()[0]; asked[0] != "y" || len(asked) != 4 {
		t.Errorf("asked for %v", asked)
	}
}

// Optimum's names say the same, and a watch that wants some layers gets those alone.
func TestWatchWanted(t *testing.T) {
	t.Parallel()
	g := constant(graphtest.Tensors{
		"y": y, "cross_attentions.0": maps(0.5), "cross_attentions.1": maps(0.25), "decoder_attentions.1": maps(0.75),
	}, "y", "cross_attentions.0", "cross_attentions.1", "decoder_attentions.1")
	opened, err := graphtest.Opener(t, NewEngine(on(graph.Decoder, g), nil), graph.Decoder).Open(graph.Decoder)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatch(map[string]string{graph.Decoder: graphtest.File(graph.Decoder)}, graph.Decoder)
	w.Wants = func(k Kind, layer int) bool { return k == CrossAttention && layer == 1 }
	in := graphtest.Tensors{"x": graphtest.Floats([]int{1}, 1)}
	if _, err := opened.Run(Under(t.Context(), w), in, "y"); err != nil {
		t.Fatal(err)
	}
	layers := w.Runs(graph.Decoder)[0].Layers
	if len(layers) != 1 || layers[0].Number() != 1 || layers[0].Float32s()[0] != 0.25 {
		t.Errorf("recorded %v", layers)
	}
	if asked := g.Asked()[0]; !slices.Equal(asked, []string{"y", "cross_attentions.1"}) {
		t.Errorf("asked for %v", asked)
	}
}

// Without a watch, and for graphs that it does not watch, nothing more is asked for.
func TestUnwatched(t *testing.T) {
	t.Parallel()
	g := constant(graphtest.Tensors{"y": y, "self_attn.0": maps(1)}, "y", "self_attn.0")
	opened, err := graphtest.Opener(t, NewEngine(on(graph.QFormer, g), nil),
		graph.QFormer).Open(graph.QFormer)
	if err != nil {
		t.Fatal(err)
	}
	in := graphtest.Tensors{"x": graphtest.Floats([]int{1}, 1)}
	other := NewWatch(map[string]string{graph.Decoder: graphtest.File(graph.Decoder)},
		graph.Decoder)
	if _, err := opened.Run(t.Context(), in, "y"); err != nil {
		t.Error(err)
	}
	if _, err := opened.Run(Under(t.Context(), other), in, "y"); err != nil {
		t.Error(err)
	}
	for _, asked := range g.Asked() {
		if !slices.Equal(asked, []string{"y"}) {
			t.Errorf("asked for %v", asked)
		}
	}
	if len(other.Runs(graph.QFormer)) != 0 {
		t.Error("a watch of another graph saw it")
	}
}

// An engine that looks inside its graphs shows taps where outputs say nothing, or where the watch
// wants taps; kinds are told apart by what queries and keys come from.
func TestWatchTaps(t *testing.T) {
	t.Parallel()
	tapped := func(values graphtest.Tensors, outputs ...string) *graphtest.Tapped {
		return &graphtest.Tapped{Graph: constant(values, outputs...), Places: []engine.Tap{
			{Name: "t0", Queries: []string{"x"}, Keys: []string{"x"}},
			{Name: "t1", Queries: []string{"x"}, Keys: []string{graph.ImageEmbeds}},
			{Name: "t2", Queries: []string{"x"},
				Keys: []string{graph.PastPrefix + "0" + graph.CrossInfix + "key"}},
			{Name: "t3", Queries: []string{graph.VisualFeats}, Keys: []string{graph.VisualFeats}},
			{Name: "t4", Queries: []string{graph.VisualFeats}, Keys: []string{"x"}},
			{Name: "t5", Keys: []string{graph.PixelValues}},
		}}
	}
	values := graphtest.Tensors{
		"y": y, "t0": maps(0), "t1": maps(0.125), "t2": maps(0.25), "t3": maps(0.5),
		"t4": maps(0.625), "t5": maps(0.75),
	}
	want := map[Kind][]float32{
		SelfAttention: {0}, CrossAttention: {0.125, 0.25, 0.75}, VisualSelfAttention: {0.5},
		VisualCrossAttention: {0.625},
	}
	_, runs, _ := watched(t, on(graph.QFormer, tapped(values, "y")), nil, graph.QFormer, false)
	for kind, want := range want {
		if got := shares(&runs[0], kind); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
	values["self_attn.0"] = maps(1)
	for taps, want := range map[bool]float32{false: 1, true: 0} {
		_, runs, _ := watched(t, on(graph.QFormer, tapped(values, "y", "self_attn.0")), nil,
			graph.QFormer, taps)
		if got := shares(&runs[0], SelfAttention); !slices.Equal(got, []float32{want}) {
			t.Errorf("taps %t: %v, want %v", taps, got, want)
		}
	}
}

// A graph that shows nothing runs a second time on the shadow engine, which is opened once; its
// own outputs are what goes on.
func TestWatchShadow(t *testing.T) {
	t.Parallel()
	own := unseen()
	shadow := constant(graphtest.Tensors{"y": graphtest.Floats([]int{1}, -1),
		"self_attn.0": maps(0.5)}, "y", "self_attn.0")
	out, runs, w := watched(t, on(graph.QFormer, own), on(graph.QFormer, shadow), graph.QFormer,
		false)
	if tensor.Data[float32](out["y"])[0] != 7 {
		t.Error("the shadow's output went on")
	}
	if got := shares(&runs[0], SelfAttention); !slices.Equal(got, []float32{0.5}) {
		t.Errorf("%v", got)
	}
	if asked := shadow.Asked(); len(asked) != 1 ||
		!slices.Equal(asked[0], []string{"self_attn.0"}) {
		t.Errorf("the shadow was asked for %v", asked)
	}
	if err := w.Check("m"); err != nil {
		t.Error(err)
	}

	// Neither shows anything.
	_, _, w = watched(t, on(graph.QFormer, unseen()), on(graph.QFormer, unseen()), graph.QFormer,
		false)
	if err := w.Check("m"); !errors.Is(err, graph.ErrUnsupported) ||
		!strings.Contains(err.Error(), graph.QFormer) {
		t.Errorf("%v", err)
	}
	// An engine that would have shown it needs no shadow.
	looked := &graphtest.Tapped{Graph: unseen()}
	if _, _, w = watched(t, on(graph.QFormer, looked), nil, graph.QFormer, false); w.Check("m") == nil {
		t.Error("nothing was shown, and nobody says so")
	}
}

// opens counts how often an engine opened a graph.
type opens struct {
	engine.Engine
	n int
}

func (o *opens) Open(ctx context.Context, source engine.Source,
	opts engine.Options) (engine.Session, error) {
	o.n++
	return o.Engine.Open(ctx, source, opts)
}

// The shadow is opened once, and Close closes it, too.
func TestShadowOpensOnce(t *testing.T) {
	t.Parallel()
	own, shadow := unseen(), constant(graphtest.Tensors{"y": y, "self_attn.0": maps(1)}, "y",
		"self_attn.0")
	opened := &opens{Engine: on(graph.QFormer, shadow)}
	o := graphtest.Opener(t, NewEngine(on(graph.QFormer, own), opened), graph.QFormer)
	g, err := o.Open(graph.QFormer)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatch(map[string]string{graph.QFormer: graphtest.File(graph.QFormer)}, graph.QFormer)
	for range 2 {
		if _, err := g.Run(Under(t.Context(), w),
			graphtest.Tensors{"x": graphtest.Floats([]int{1}, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil || own.Closed() != 1 || shadow.Closed() != 1 {
		t.Errorf("closed %d times, the shadow %d times, %v", own.Closed(), shadow.Closed(), err)
	}
	if n := len(w.Runs(graph.QFormer)); n != 2 || opened.n != 1 {
		t.Errorf("%d runs, opened %d times", n, opened.n)
	}
}

// A shadow that cannot be opened is an error that names the graph, unless the graph says something
// else of the picture's cells.
func TestShadowFails(t *testing.T) {
	t.Parallel()
	g, err := graphtest.Opener(t, NewEngine(on(graph.QFormer, unseen()), graphtest.Engine{}),
		graph.QFormer).Open(graph.QFormer)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatch(map[string]string{graph.QFormer: graphtest.File(graph.QFormer)}, graph.QFormer)
	in := graphtest.Tensors{"x": graphtest.Floats([]int{1}, 1)}
	if _, err := g.Run(Under(t.Context(), w), in, "y"); !errors.Is(err, engine.ErrGraph) ||
		!strings.Contains(err.Error(), "qformer.onnx") {
		t.Error(err)
	}
	cells := constant(graphtest.Tensors{
		"y": y, "last_hidden_state": graphtest.Floats([]int{1, 2, 1}, 3, 4),
		"pooled_output": graphtest.Floats([]int{1, 1}, 5),
	}, "y", "last_hidden_state", "pooled_output")
	_, runs, _ := watched(t, on(graph.VisionEncoder, cells), graphtest.Engine{},
		graph.VisionEncoder, false)
	if got := slices.Concat(shares(&runs[0], CellStates), shares(&runs[0], PooledState)); !slices.Equal(got, []float32{3, 5}) {
		t.Errorf("cells %v", got)
	}
}

// An image encoder's own word on where its tokens come from goes before its attention.
func TestWatchPlaces(t *testing.T) {
	t.Parallel()
	encoder := constant(graphtest.Tensors{
		"y": y, "image_places": graphtest.Floats([]int{1, 1, 2}, 0.25, 0.75),
		"self_attn.0": maps(1),
	}, "y", "image_places", "self_attn.0")
	_, runs, _ := watched(t, on(graph.VisionEncoder, encoder), nil, graph.VisionEncoder, false)
	if got := shares(&runs[0], ImagePlaces); !slices.Equal(got, []float32{0.25}) ||
		len(runs[0].Layers) != 1 {
		t.Errorf("places %v of %v", got, runs[0].Layers)
	}
}
