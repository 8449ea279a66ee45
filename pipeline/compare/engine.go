// Package compare runs graphs on two engines side by side and reports how far apart they are,
// output by output. It runs no task: open a model on this package's Engine, use it, and read the
// engine's Stages.
package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Stage compares what two engines computed for one output of one graph, over all its runs.
type Stage struct {
	Graph    string           // file in the bundle
	Output   string           // name in the graph
	Shape    []int            // of the last run
	Runs     int              // times the graph ran
	MaxDiff  float64          // largest absolute difference
	MeanDiff float64          // mean absolute difference
	Largest  float64          // largest absolute value but infinity, which puts MaxDiff in proportion
	Cosine   float64          // of the two outputs as vectors
	Argmax   float64          // share of rows with the same argmax; NaN where rows are no logits
	Times    [2]time.Duration // of the graph's runs on each engine; the same for all its outputs

	dot, normA, normB  float64
	sum                float64
	values, rows, same int
}

// Engine runs every graph on two engines, compares their outputs, and returns those of the first.
// So each stage is judged by itself, on equal inputs.
type Engine struct {
	first, second engine.Engine

	mu     sync.Mutex
	stages []*Stage
}

// NewEngine returns an Engine that compares second with first.
func NewEngine(first, second engine.Engine) *Engine { return &Engine{first: first, second: second} }

// Stages returns the stages compared so far, in the order in which the graphs ran first.
func (e *Engine) Stages() []Stage {
	e.mu.Lock()
	defer e.mu.Unlock()
	stages := make([]Stage, len(e.stages))
	for i, s := range e.stages {
		stages[i] = *s
	}
	return stages
}

// Name joins the names of both with "+".
func (e *Engine) Name() string { return e.first.Name() + "+" + e.second.Name() }

// Open opens the graph on both engines. The provider of opts is the first engine's.
func (e *Engine) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	opts.LastPosition = nil // which not every engine heeds: outputs could not be compared
	first, err := e.first.Open(ctx, source, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.first.Name(), err)
	}
	opts.Provider, opts.ProviderOptions = "", nil // the provider is the first engine's
	second, err := e.second.Open(ctx, source, opts)
	if err != nil {
		first.Close()
		return nil, fmt.Errorf("%s: %w", e.second.Name(), err)
	}
	return &session{Session: first, second: second, engine: e, graph: source.Name}, nil
}

type session struct {
	engine.Session // the first
	second         engine.Session
	engine         *Engine
	graph          string
}

func (s *session) Close() error {
	err := s.Session.Close()
	if other := s.second.Close(); err == nil {
		err = other
	}
	return err
}

func (s *session) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	start := time.Now()
	a, err := s.Session.Run(ctx, in, out...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.engine.first.Name(), err)
	}
	half := time.Now()
	b, err := s.second.Run(ctx, in, out...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.engine.second.Name(), err)
	}
	times := [2]time.Duration{half.Sub(start), time.Since(half)}
	names := make([]string, 0, len(a))
	for _, o := range s.Outputs() {
		if a[o.Name] != nil {
			names = append(names, o.Name)
		}
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	for _, name := range names {
		if err := s.engine.stage(s.graph, name).add(a[name], b[name], times); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// stage returns the stage of an output, a new one the first time.
func (e *Engine) stage(graph, output string) *Stage {
	for _, s := range e.stages {
		if s.Graph == graph && s.Output == output {
			return s
		}
	}
	s := &Stage{Graph: graph, Output: output}
	e.stages = append(e.stages, s)
	return s
}

// add adds the outputs of one run.
func (s *Stage) add(a, b *tensor.Tensor, times [2]time.Duration) error {
	if !slices.Equal(a.Shape(), b.Shape()) || a.DType() != b.DType() {
		return fmt.Errorf("%w: output %s of %s is %v on one engine and %v on the other",
			engine.ErrGraph, s.Output, s.Graph, a, b)
	}
	s.Shape = a.Shape()
	s.Runs++
	s.Times[0] += times[0]
	s.Times[1] += times[1]
	x, y := a.Float32s(), b.Float32s()
	for i := range x {
		u, v := float64(x[i]), float64(y[i])
		d := math.Abs(u - v)
		if math.IsNaN(u) != math.IsNaN(v) || math.IsInf(d, 0) {
			d = math.Inf(1)
		} else if math.IsNaN(d) {
			d = 0 // not a number, or the same infinity, on both
		}
		s.MaxDiff = max(s.MaxDiff, d)
		s.sum += d
		if !math.IsInf(u, 0) { // which would allow any difference
			s.Largest = max(s.Largest, math.Abs(u))
		}
		s.dot += u * v
		s.normA += u * u
		s.normB += v * v
	}
	s.values += len(x)
	s.MeanDiff = s.sum / float64(max(1, s.values))
	s.Cosine = 1
	if s.normA > 0 && s.normB > 0 {
		s.Cosine = s.dot / math.Sqrt(s.normA*s.normB)
	}
	s.Argmax = math.NaN()
	if s.Output == graph.Logits && len(x) > 0 {
		width := a.Dim(-1)
		for at := 0; at < len(x); at += width {
			s.rows++
			if graph.Argmax(x[at:at+width]) == graph.Argmax(y[at:at+width]) {
				s.same++
			}
		}
		s.Argmax = float64(s.same) / float64(s.rows)
	}
	return nil
}
