package fallback

import (
	"fmt"
	"maps"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// subgraphs plans the graphs that a node holds and gives them to its operator. It returns the
// values that they capture, in the order in which the kernel gets them.
func (p *planner) subgraphs(n *ir.Node, spec *ops.Node) (captured []string, err error) {
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
		sub, names, err := p.subgraph(g, packs)
		if err != nil {
			return nil, fmt.Errorf("in its %s: %w", a.Name, err)
		}
		spec.Give(a.Name, sub, len(names))
		captured = append(captured, names...)
	}
	return captured, nil
}

// subgraph plans a graph that a node of p's graph holds. What it captures of p's constants is
// constant for it, too.
func (p *planner) subgraph(g *ir.Graph, packs ops.Packs) (sub *ops.Subgraph, captured []string, err error) {
	consts := maps.Clone(g.Consts)
	for _, name := range g.Captures {
		if c := p.source.Consts[name]; c != nil {
			consts[name] = c
		}
	}
	q := &planner{
		ctx: p.ctx, model: p.model, threads: p.threads, noFusion: p.noFusion, packs: packs,
		source: ir.New(g.Inputs, g.Outputs, consts, g.Nodes),
		ids:    map[string]int{}, graph: &graph{},
	}
	if _, err := q.rewrite(); err != nil {
		return nil, nil, err
	}
	for _, name := range q.source.Captures {
		q.graph.captureIDs = append(q.graph.captureIDs, q.value(name))
	}
	if err := q.build(nil); err != nil {
		return nil, nil, err
	}
	planned := q.graph
	steps := planned.steps(planned.outputIDs)
	return &ops.Subgraph{
		Inputs: planned.inputs, Outputs: planned.outputs,
		Run: func(x *ops.Context, in, captured []*tensor.Tensor) ([]*tensor.Tensor, error) {
			return planned.within(x, steps, in, captured)
		},
	}, q.source.Captures, nil
}

// within runs a subgraph as a part of the run that x belongs to, in its arena.
func (g *graph) within(
	x *ops.Context, steps []step, in, captured []*tensor.Tensor,
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
	out := make([]*tensor.Tensor, len(g.outputIDs))
	for i, id := range g.outputIDs {
		out[i] = r.values[id]
		a.Hold(out[i])
	}
	for id, t := range r.values {
		if t != nil && g.consts[id] == nil {
			a.Drop(t)
		}
	}
	return out, nil
}
