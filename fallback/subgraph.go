package fallback

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// subgraphs plans the graphs that a node holds and gives them to its operator. It returns the
// values that they capture, in the order in which the kernel gets them, and the taps of each.
func (p *planner) subgraphs(
	n *ir.Node, spec *ops.Node,
) (captured []string, taps [][]engine.Tap, err error) {
	packs := p.packs
	if packs == nil {
		packs = ops.Packs{}
		defer func() { clear(packs) }() // what they were made of goes
	}
	for _, a := range n.Attrs {
		g, ok := a.Value.(*ir.Graph)
		if !ok {
			continue
		}
		sub, names, inside, err := p.subgraph(g, packs)
		if err != nil {
			return nil, nil, fmt.Errorf("in its %s: %w", a.Name, err)
		}
		spec.Give(a.Name, sub, len(names))
		captured, taps = append(captured, names...), append(taps, inside)
	}
	return captured, taps, nil
}

// subgraph plans a graph that a node of p's graph holds. What it captures of p's constants is
// constant for it, too.
func (p *planner) subgraph(
	g *ir.Graph, packs ops.Packs,
) (sub *ops.Subgraph, captured []string, inside []engine.Tap, err error) {
	consts := maps.Clone(g.Consts)
	for _, name := range g.Captures {
		if c := p.source.Consts[name]; c != nil {
			consts[name] = c
		}
	}
	q := &planner{
		ctx: p.ctx, model: p.model, threads: p.threads, noFusion: p.noFusion, packs: packs,
		precision: p.precision,
		source:    ir.New(g.Inputs, g.Outputs, consts, g.Nodes),
		ids:       map[string]int{}, graph: &graph{},
	}
	taps, err := q.rewrite()
	if err != nil {
		return nil, nil, nil, err
	}
	for _, name := range q.source.Captures {
		q.graph.captureIDs = append(q.graph.captureIDs, q.value(name))
	}
	if err := q.build(taps); err != nil {
		return nil, nil, nil, err
	}
	planned := q.graph
	steps := planned.steps(planned.outputIDs)
	return &ops.Subgraph{
		Inputs: planned.inputs, Outputs: planned.outputs,
		Run: func(x *ops.Context, in, captured []*tensor.Tensor, taps []bool) ([]*tensor.Tensor, error) {
			if slices.Contains(taps, true) {
				out := planned.wanted(taps)
				asked := slices.DeleteFunc(slices.Clone(out), func(id int) bool { return id < 0 })
				return planned.within(x, planned.steps(asked), out, in, captured)
			}
			return planned.within(x, steps, planned.outputIDs, in, captured)
		},
	}, q.source.Captures, planned.taps, nil
}

// wanted returns the outputs and behind them the taps; -1 in the places of taps that are not wanted.
func (g *graph) wanted(taps []bool) []int {
	ids := slices.Clone(g.outputIDs)
	for i, id := range g.tapIDs {
		if i >= len(taps) || !taps[i] {
			id = -1
		}
		ids = append(ids, id)
	}
	return ids
}

// within runs a subgraph as a part of the run that x belongs to, in its arena. outputs are the values that
// it gives, nil where one is -1.
func (g *graph) within(
	x *ops.Context, steps []step, outputs []int, in, captured []*tensor.Tensor,
) ([]*tensor.Tensor, error) {
	a, ok := x.Memory().(*arena)
	if !ok || len(in) != len(g.inputIDs) || len(captured) != len(g.captureIDs) {
		return nil, fmt.Errorf("%w: a graph of %d inputs is given %d",
			engine.ErrGraph, len(g.inputIDs), len(in))
	}
	// What the kernel around has allocated is not this graph's to take back.
	around := a.base
	a.base = len(a.fresh)
	defer func() { a.base = around }()
	r := newRun(g, x, a)
	give := func(ids []int, values []*tensor.Tensor) {
		for i, id := range ids {
			r.values[id] = values[i]
			a.Hold(values[i])
		}
	}
	give(g.inputIDs, in)
	give(g.captureIDs, captured)
	if err := r.steps(steps); err != nil {
		return nil, err
	}
	out := make([]*tensor.Tensor, len(outputs))
	for i, id := range outputs {
		if id >= 0 {
			out[i] = r.values[id]
			a.Hold(out[i])
		}
	}
	for id, t := range r.values {
		if t != nil && g.consts[id] == nil {
			x.Forget(t)
			a.Drop(t)
		}
	}
	return out, nil
}
