package fallback

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// session implements engine.Session.
type session struct {
	graph   *graph
	threads int
	limit   int64

	running sync.RWMutex // held for reading by each run, for writing by Close
	closed  bool
	model   *onnx.Model

	mu        sync.Mutex
	schedules map[string]*schedule
	arenas    []*arena // of runs that ended, for the next ones

	memo memo
}

// maxSchedules bounds the kept schedules, one for each set of outputs that was asked for. Callers
// normally need one or two.
const maxSchedules = 32

func newSession(m *onnx.Model, g *graph, threads int, limit int64) *session {
	return &session{
		graph: g, threads: threads, limit: limit, model: m, schedules: map[string]*schedule{},
	}
}

func (s *session) Inputs() []tensor.Spec  { return s.graph.inputs }
func (s *session) Outputs() []tensor.Spec { return s.graph.outputs }

// Taps implements engine.Tapper.
func (s *session) Taps() []engine.Tap { return s.graph.taps }

// Close implements engine.Session.
func (s *session) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.arenas = nil
	s.graph = &graph{inputs: s.graph.inputs, outputs: s.graph.outputs, taps: s.graph.taps}
	s.schedules = nil
	s.memo.clear()
	return s.model.Close()
}

// Run implements engine.Session.
func (s *session) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	s.running.RLock()
	defer s.running.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("%w: the session is closed", engine.ErrEngine)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := engine.CheckInputs(s.graph.inputs, in); err != nil {
		return nil, err
	}
	sched, err := s.schedule(out)
	if err != nil {
		return nil, err
	}
	a := s.takeArena()
	defer s.returnArena(a)
	kernel.BeginRun()
	defer kernel.EndRun()
	x := ops.NewContext(ctx, s.threads, a)
	r := newRun(s.graph, x, a)
	for i, spec := range s.graph.inputs {
		r.values[s.graph.inputIDs[i]] = in[spec.Name]
	}
	if err := s.steady(x, a, r); err != nil {
		return nil, err
	}
	if err := r.steps(sched.steps); err != nil {
		return nil, err
	}
	return r.results(sched)
}

func (s *session) takeArena() *arena {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.arenas); n > 0 {
		a := s.arenas[n-1]
		s.arenas = s.arenas[:n-1]
		return a
	}
	return newArena(s.limit)
}

func (s *session) returnArena(a *arena) {
	a.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arenas = append(s.arenas, a)
}

// schedule lists the steps that compute a set of outputs.
type schedule struct {
	names  []string // of the outputs
	values []int
	steps  []step
}

// step is a node and the values that nothing needs after it.
type step struct {
	*node
	done   []int
	wanted []bool // of the outputs of a node with taps; nil of others
}

// schedule returns the nodes that the named outputs need; no names stand for all outputs.
func (s *session) schedule(out []string) (*schedule, error) {
	key := strings.Join(out, "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	if sched := s.schedules[key]; sched != nil {
		return sched, nil
	}
	sched := &schedule{}
	if len(out) == 0 {
		for i, o := range s.graph.outputs {
			sched.names = append(sched.names, o.Name)
			sched.values = append(sched.values, s.graph.outputIDs[i])
		}
	}
	for _, name := range out {
		id := -1
		for i, o := range s.graph.outputs {
			if o.Name == name {
				id = s.graph.outputIDs[i]
			}
		}
		for i, t := range s.graph.taps {
			if id < 0 && t.Name == name {
				id = s.graph.tapIDs[i]
			}
		}
		if id < 0 {
			var names []string
			for _, o := range s.graph.outputs {
				names = append(names, o.Name)
			}
			return nil, fmt.Errorf("%w: the graph has no output %q; it gives %q",
				engine.ErrInput, name, names)
		}
		sched.names, sched.values = append(sched.names, name), append(sched.values, id)
	}
	sched.steps = s.graph.steps(sched.values)
	if len(s.schedules) >= maxSchedules {
		clear(s.schedules)
	}
	s.schedules[key] = sched
	return sched, nil
}

// steps returns the nodes that the values need, in order, and after which of them each value is
// done with. What is kept of steady inputs is there already.
func (g *graph) steps(values []int) []step {
	return g.stepsOf(values, func(n *node) bool { return !n.steady })
}

// stepsOf is steps among some of the nodes.
func (g *graph) stepsOf(values []int, among func(*node) bool) []step {
	needed := make([]bool, len(g.consts))
	for _, v := range values {
		needed[v] = true
	}
	var rev []step
	seen := make([]bool, len(g.consts)) // used by a later node or as a result
	copy(seen, needed)
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		wanted := false
		for _, o := range n.out {
			wanted = wanted || o >= 0 && needed[o]
		}
		if !wanted || !among(n) {
			continue
		}
		st := step{node: n}
		for j, o := range n.out {
			if n.taps > 0 {
				st.wanted = append(st.wanted, o >= 0 && needed[o])
			}
			if o >= 0 && !needed[o] && j < len(n.out)-n.taps {
				st.done = append(st.done, o) // computed, but nobody asks
			}
		}
		for _, v := range n.in {
			if v < 0 {
				continue
			}
			if !seen[v] && g.consts[v] == nil {
				st.done = append(st.done, v)
			}
			seen[v], needed[v] = true, true
		}
		rev = append(rev, st)
	}
	slices.Reverse(rev)
	return rev
}

// run is one run of a session, or of a graph within one.
type run struct {
	arena  *arena
	x      *ops.Context
	values []*tensor.Tensor
}

// newRun begins a run: only constants are there.
func newRun(g *graph, x *ops.Context, a *arena) *run {
	return &run{arena: a, x: x, values: slices.Clone(g.consts)}
}

func (r *run) steps(steps []step) error {
	var in, out []*tensor.Tensor
	for i := range steps {
		if err := r.x.Err(); err != nil {
			return fmt.Errorf("the run was stopped: %w", err)
		}
		st := &steps[i]
		in, out = in[:0], out[:0]
		for _, v := range st.in {
			if v < 0 {
				in = append(in, nil)
			} else {
				in = append(in, r.values[v])
			}
		}
		for range st.out {
			out = append(out, nil)
		}
		r.x.Want(st.wanted)
		if err := st.run(r.x, in, out); err != nil {
			if stopped := r.x.Err(); stopped != nil {
				return fmt.Errorf("the run was stopped: %w", stopped)
			}
			return fmt.Errorf("%s: %w", st.name, err)
		}
		for j, v := range st.out {
			if v < 0 || j >= len(st.out)-st.taps && !st.wanted[j] {
				continue
			}
			if out[j] == nil {
				return fmt.Errorf("%w: %s has no output %d", engine.ErrGraph, st.name, j)
			}
			r.values[v] = out[j]
			r.arena.Hold(out[j])
		}
		r.arena.settle()
		for _, v := range st.done {
			r.x.Forget(r.values[v])
			r.arena.Drop(r.values[v])
			r.values[v] = nil
		}
	}
	return nil
}

// results returns the outputs in memory that belongs to the caller.
func (r *run) results(sched *schedule) (map[string]*tensor.Tensor, error) {
	out := make(map[string]*tensor.Tensor, len(sched.names))
	for i, name := range sched.names {
		t := r.values[sched.values[i]]
		if _, sequence := ops.Elements(t); sequence {
			return nil, fmt.Errorf("%w: output %q is a sequence or an optional value; "+
				"only tensors can be given out", engine.ErrGraph, name)
		}
		if t.Storage() == nil && !r.arena.give(t) {
			t = t.Clone()
		}
		out[name] = t
	}
	return out, nil
}
