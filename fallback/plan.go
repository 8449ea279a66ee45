package fallback

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// graph is a planned graph. Values are numbered; a value is an input, a constant or the output of
// one node.
type graph struct {
	inputs, outputs []tensor.Spec
	inputIDs        []int
	captureIDs      []int // of a subgraph: what it takes from the graphs around it
	outputIDs       []int
	consts          []*tensor.Tensor // by value; nil for what a run computes
	taps            []engine.Tap
	tapIDs          []int
	nodes           []*node // in an order in which they can run

	steadyInputs []string // Options.Steady, those that there are
	steadyIDs    []int
	kept         []int  // values of steady inputs alone that other nodes, or the caller, need
	keeps        []step // what computes them
}

// node is one operator with its place in the graph.
type node struct {
	name    string // for messages
	op      string // with its domain, such as xpipe.MatMul
	kernel  ops.Kernel
	in, out []int // values; -1 for what is left out
	taps    int   // of out, how many at the end are computed only where they are wanted

	repeatable bool // gives the same for the same inputs
	steady     bool // computes something of steady inputs alone
}

// planner turns a model into a graph: it folds constants, fuses patterns, drops unneeded nodes, and
// builds the rest.
type planner struct {
	ctx     context.Context
	model   *onnx.Model
	threads int
	source  *ir.Graph
	ids     map[string]int
	graph   *graph
	inside  []tap // of the graphs that nodes hold

	noFusion bool
	last     []string  // Options.LastPosition
	steady   []string  // Options.Steady
	packs    ops.Packs // of the graphs that nodes hold; nil outside them

	precision engine.Precision
	heads     map[*ir.Node]bool // products that make outputs
}

// plan plans a model's graph. A panic becomes an error that names the node where one was built.
func plan(ctx context.Context, m *onnx.Model, threads int, opts engine.Options) (g *graph, err error) {
	defer catch(&err)
	source, err := m.Graph()
	if err == nil {
		err = checkInputs(m, source)
	}
	if err == nil {
		err = unfuse(source)
	}
	if err == nil {
		err = check(source)
	}
	if err != nil {
		if others := m.Summary().Others; len(others) > 0 {
			err = fmt.Errorf("%w (%v)", err, others[0])
		}
		return nil, err
	}
	p := &planner{
		ctx: ctx, model: m, threads: threads, noFusion: opts.NoFusion, last: opts.LastPosition,
		steady: opts.Steady, precision: opts.Precision, source: source, ids: map[string]int{}, graph: &graph{},
	}
	taps, err := p.rewrite()
	if err != nil {
		return nil, err
	}
	if err := p.build(taps); err != nil {
		return nil, err
	}
	if !opts.NoFusion {
		p.markSteady()
	}
	return p.graph, nil
}

// checkInputs finds inputs that no run could be given.
func checkInputs(m *onnx.Model, g *ir.Graph) error {
	for _, s := range g.Inputs {
		if s.DType == tensor.Invalid {
			what := cmp.Or(m.Summary().Types[s.Name], "unknown")
			return fmt.Errorf("%w: input %q is of type %s, which xpipe has no tensors for",
				engine.ErrGraph, s.Name, what)
		}
	}
	return nil
}

// check finds operators that the engine lacks, also in nodes that nothing needs.
func check(g *ir.Graph) error {
	for _, n := range g.Nodes {
		if n.Domain == ops.FusedDomain && n.Op != padChannels || !ops.Supported(n.Domain, n.Op, n.Version) {
			return fmt.Errorf("%v: %w", n, ops.Unsupported(n.Domain, n.Op, n.Version))
		}
		for _, a := range n.Attrs {
			if sub, ok := a.Value.(*ir.Graph); ok {
				if err := check(sub); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// rewrite folds and fuses the source graph, and returns the attention found in it.
func (p *planner) rewrite() ([]tap, error) {
	later := p.narrowWeights
	if p.noFusion {
		later = nil
	}
	if err := p.fold(later); err != nil {
		return nil, err
	}
	if !p.noFusion && len(p.steady) > 0 {
		if err := p.hoistSteady(); err != nil {
			return nil, err
		}
	}
	if !p.noFusion && len(p.last) > 0 {
		lastPositions(p.source, p.last)
	}
	taps := findTaps(p.source)
	for _, t := range taps {
		p.source.Keep(t.value) // a run may ask for it
	}
	if !p.noFusion {
		fuseNarrow(p.source)
		if err := p.fold(nil); err != nil {
			return nil, err
		}
		fuse(p.source)
		channelsLast(p.source)
	}
	p.source.Prune()
	if !p.precision.Exact() {
		p.heads = findHeads(p.source)
	}
	return taps, nil
}

// build numbers the values and builds the nodes.
func (p *planner) build(taps []tap) error {
	p.graph.inputs = p.source.Inputs
	for _, s := range p.graph.inputs {
		p.graph.inputIDs = append(p.graph.inputIDs, p.value(s.Name))
	}
	for _, n := range p.source.Nodes {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if err := p.add(n); err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
	}
	p.graph.outputs = p.source.Outputs
	for _, o := range p.graph.outputs {
		id, err := p.use(o.Name)
		if err != nil {
			return err
		}
		p.graph.outputIDs = append(p.graph.outputIDs, id)
	}
	for _, t := range p.inside {
		t.Name = fmt.Sprintf("attention.%d", len(taps))
		taps = append(taps, t)
	}
	for _, t := range taps {
		p.graph.taps = append(p.graph.taps, t.Tap)
		p.graph.tapIDs = append(p.graph.tapIDs, p.ids[t.value])
	}
	return nil
}

// value gives a name its number.
func (p *planner) value(name string) int {
	id := len(p.graph.consts)
	p.graph.consts = append(p.graph.consts, p.source.Consts[name])
	p.ids[name] = id
	return id
}

// use returns the number of a value that is there: an input, a constant or the output of a node
// before.
func (p *planner) use(name string) (int, error) {
	if id, ok := p.ids[name]; ok {
		return id, nil
	}
	if p.source.Consts[name] == nil {
		return 0, fmt.Errorf("%w: nothing computes %q", engine.ErrGraph, name)
	}
	return p.value(name), nil
}

// add builds one node.
func (p *planner) add(source *ir.Node) error {
	n := &node{name: source.String(), op: source.Op, repeatable: repeatable(source)}
	if source.Domain != "" {
		n.op = source.Domain + "." + n.op
	}
	spec := ops.NewNode(source, p.source.Consts)
	spec.Packs, spec.Precision, spec.Head = p.packs, p.precision, p.heads[source]
	captured, inside, err := p.subgraphs(source, spec)
	if err != nil {
		return err
	}
	if n.kernel, err = build(spec); err != nil {
		return err
	}
	for i, name := range slices.Concat(source.Inputs, captured) {
		id := -1
		dropped := i < len(source.Inputs) && spec.Dropped[i]
		if dropped {
			p.model.Release(spec.Const[i])
		}
		if name != "" && !dropped {
			if id, err = p.use(name); err != nil {
				return err
			}
		}
		n.in = append(n.in, id)
	}
	for _, name := range source.Outputs {
		id := -1
		if name != "" {
			id = p.value(name)
		}
		n.out = append(n.out, id)
	}
	p.addTaps(n, source, inside)
	p.graph.nodes = append(p.graph.nodes, n)
	return nil
}

// build is ops.Build with panics caught.
func build(n *ops.Node) (k ops.Kernel, err error) {
	defer catch(&err)
	return ops.Build(n)
}

// Folding keeps results in memory for as long as the session lives, so it stops where they would be
// much larger than what they come from: at foldFree bytes and foldGrowth times the inputs.
const (
	foldFree   = 1 << 20
	foldGrowth = 4
)

// fold computes the nodes whose inputs are all constant and drops them from the graph, but for
// those that later, if any, leaves for another time.
func (p *planner) fold(later func(*ir.Node) bool) error {
	rest := make([]*ir.Node, 0, len(p.source.Nodes))
	for _, n := range p.source.Nodes {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if later != nil && later(n) || !p.foldNode(n) {
			rest = append(rest, n)
		}
	}
	p.source.SetNodes(rest)
	return nil
}

// foldNode computes a node of constants. A node that cannot be computed, or only with more memory
// than is reasonable, is left for the run.
func (p *planner) foldNode(source *ir.Node) bool {
	if len(source.Reads()) != len(source.Inputs) || slices.ContainsFunc(source.Attrs, holdsGraph) {
		return false
	}
	in := make([]*tensor.Tensor, len(source.Inputs))
	limit := int64(foldFree)
	for i, name := range source.Inputs {
		if name == "" {
			continue
		}
		if in[i] = p.source.Consts[name]; in[i] == nil {
			return false
		}
		limit += foldGrowth * int64(in[i].Len()*in[i].DType().Size())
	}
	kernel, err := build(ops.NewNode(source, nil))
	if err != nil {
		return false
	}
	n := &node{kernel: kernel}
	out := make([]*tensor.Tensor, len(source.Outputs))
	if err := n.run(ops.NewContext(p.ctx, p.threads, newArena(limit)), in, out); err != nil {
		return false
	}
	for i, name := range source.Outputs {
		if name != "" && out[i] == nil {
			return false
		}
	}
	for i, name := range source.Outputs {
		if name != "" {
			p.source.Consts[name] = out[i]
		}
	}
	return true
}

func holdsGraph(a ir.Attr) bool {
	_, ok := a.Value.(*ir.Graph)
	return ok
}

// run runs the kernel. A panic becomes an error, as the last line of defence against graphs made to
// break things.
func (n *node) run(x *ops.Context, in, out []*tensor.Tensor) (err error) {
	defer catch(&err)
	return n.kernel(x, in, out)
}
