// Package graphtest is an engine whose graphs are Go functions, for the tests of what opens and
// runs graphs.
package graphtest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Tensors are the inputs or outputs of a run, by name.
type Tensors = map[string]*tensor.Tensor

// Engine holds its graphs by file.
type Engine map[string]engine.Session

// Name is "graphtest".
func (Engine) Name() string { return "graphtest" }

// Open returns the graph of that file; the error wraps engine.ErrGraph where there is none.
func (e Engine) Open(_ context.Context, source engine.Source, _ engine.Options) (engine.Session,
	error) {
	if e[source.Name] == nil {
		return nil, fmt.Errorf("%w: no graph %s", engine.ErrGraph, source.Name)
	}
	return e[source.Name], nil
}

// Graph is a session that computes all its outputs in Go and gives those that are asked for.
type Graph struct {
	In, Out []tensor.Spec
	Compute func(in Tensors) (out Tensors)

	mu     sync.Mutex
	runs   []Tensors
	asked  [][]string
	closed int
}

// Inputs are In.
func (g *Graph) Inputs() []tensor.Spec { return g.In }

// Outputs are Out.
func (g *Graph) Outputs() []tensor.Spec { return g.Out }

// Run checks the inputs as every engine does. The error wraps engine.ErrInput where one does not
// fit, or where an output is asked for that Compute does not give.
func (g *Graph) Run(ctx context.Context, in Tensors, out ...string) (Tensors, error) {
	if err := engine.CheckInputs(g.In, in); err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.runs, g.asked = append(g.runs, in), append(g.asked, out)
	g.mu.Unlock()
	all := g.Compute(in)
	if len(out) == 0 {
		for _, spec := range g.Out {
			out = append(out, spec.Name)
		}
	}
	results := Tensors{}
	for _, name := range out {
		if all[name] == nil {
			return nil, fmt.Errorf("%w: no output %q", engine.ErrInput, name)
		}
		results[name] = all[name]
	}
	return results, ctx.Err()
}

// Close counts.
func (g *Graph) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed++
	return nil
}

// Runs are the inputs of each run so far.
func (g *Graph) Runs() []Tensors {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.runs
}

// Asked are the outputs that each run so far was asked for.
func (g *Graph) Asked() [][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

// Closed is how often the graph was closed.
func (g *Graph) Closed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// Tapped is a Graph that shows attention inside it: Compute gives the taps by name.
type Tapped struct {
	*Graph
	Places []engine.Tap
}

// Taps are Places.
func (t *Tapped) Taps() []engine.Tap { return t.Places }

// File is the file of a role in the bundles of this package.
func File(role string) string { return role + ".onnx" }

// Opener opens the graphs of eng, one for each role, as a bundle's.
func Opener(t testing.TB, eng engine.Engine, roles ...string) *graph.Opener {
	t.Helper()
	graphs, files := map[string]string{}, fstest.MapFS{}
	for _, role := range roles {
		graphs[role] = File(role)
		files[File(role)] = &fstest.MapFile{}
	}
	manifest, err := json.Marshal(map[string]any{"format": 1, "name": "test", "family": "test",
		"graphs": graphs})
	if err != nil {
		t.Fatal(err)
	}
	files[models.ManifestName] = &fstest.MapFile{Data: manifest}
	bundle, err := models.OpenFS(files, models.WithoutVerification())
	if err != nil {
		t.Fatal(err)
	}
	o := graph.NewOpener(t.Context(), bundle, eng, engine.Options{})
	t.Cleanup(func() { o.Close() })
	return o
}

// Floats is a float32 tensor of the given shape and values.
func Floats(shape []int, values ...float32) *tensor.Tensor {
	return tensor.Must(tensor.New(shape, values))
}

// Float is the spec of a float32 tensor; -1 is a free dimension.
func Float(name string, shape ...int) tensor.Spec {
	return spec(name, tensor.Float32, shape)
}

// Int is Float for int64.
func Int(name string, shape ...int) tensor.Spec { return spec(name, tensor.Int64, shape) }

func spec(name string, dtype tensor.DType, shape []int) tensor.Spec {
	if shape == nil {
		shape = []int{}
	}
	return tensor.Spec{Name: name, DType: dtype, Shape: shape, Dims: make([]string, len(shape))}
}
