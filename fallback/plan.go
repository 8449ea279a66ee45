package fallback

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/onnx"
	"github.com/crossattn/xpipe/fallback/onnx/pb"
	"github.com/crossattn/xpipe/fallback/ops"
	"github.com/crossattn/xpipe/tensor"
)

// graph is a planned graph. Values are numbered; a value is an input, a constant
// or the output of one node.
type graph struct {
	inputs, outputs []tensor.Spec
	inputIDs        []int
	outputIDs       []int
	consts          []*tensor.Tensor // by value; nil for what a run computes
	nodes           []*node          // in an order in which they can run
}

// node is one operator with its place in the graph.
type node struct {
	name    string // for messages
	kernel  ops.Kernel
	in, out []int // values; -1 for what is left out
}

// planner turns a model into a graph.
type planner struct {
	ctx     context.Context
	model   *onnx.Model
	threads int
	ids     map[string]int
	graph   *graph
}

// maxNodes bounds the size of a graph.
const maxNodes = 1 << 20

func plan(ctx context.Context, m *onnx.Model, threads int, noFusion bool) (*graph, error) {
	p := &planner{ctx: ctx, model: m, threads: threads, ids: map[string]int{}, graph: &graph{}}
	proto := m.Proto.GetGraph()
	if len(proto.GetNode()) > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes; at most %d are supported", engine.ErrGraph, len(proto.GetNode()), maxNodes)
	}
	if len(proto.GetSparseInitializer()) > 0 {
		return nil, fmt.Errorf("%w: sparse initializers are not supported", engine.ErrGraph)
	}
	order, err := p.order(proto)
	if err != nil {
		return nil, err
	}
	if err := p.declare(proto); err != nil {
		return nil, err
	}
	for _, n := range order {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := p.add(n); err != nil {
			return nil, fmt.Errorf("%s: %w", describe(n), err)
		}
	}
	p.graph.outputs = m.Outputs()
	for _, o := range p.graph.outputs {
		id, ok := p.ids[o.Name]
		if !ok {
			return nil, fmt.Errorf("%w: nothing computes the output %q", engine.ErrGraph, o.Name)
		}
		p.graph.outputIDs = append(p.graph.outputIDs, id)
	}
	return p.graph, nil
}

// describe names a node for messages.
func describe(n *pb.NodeProto) string {
	if n.GetName() != "" {
		return fmt.Sprintf("node %q (%s)", n.GetName(), n.GetOpType())
	}
	if len(n.GetOutput()) > 0 {
		return fmt.Sprintf("node for %q (%s)", n.GetOutput()[0], n.GetOpType())
	}
	return fmt.Sprintf("a %s node", n.GetOpType())
}

// value returns the number of a name that nothing has yet.
func (p *planner) value(name string) (int, error) {
	if _, taken := p.ids[name]; taken {
		return 0, fmt.Errorf("%w: two things are called %q", engine.ErrGraph, name)
	}
	id := len(p.graph.consts)
	p.graph.consts = append(p.graph.consts, nil)
	p.ids[name] = id
	return id, nil
}

// declare numbers the inputs and the initializers that something uses.
func (p *planner) declare(proto *pb.GraphProto) error {
	used := map[string]bool{}
	for _, n := range proto.GetNode() {
		for _, in := range n.GetInput() {
			used[in] = true
		}
	}
	for _, o := range proto.GetOutput() {
		used[o.GetName()] = true
	}
	for _, t := range proto.GetInitializer() {
		if !used[t.GetName()] {
			continue
		}
		id, err := p.value(t.GetName())
		if err != nil {
			return err
		}
		if p.graph.consts[id], err = p.model.Tensor(t); err != nil {
			return err
		}
	}
	p.graph.inputs = p.model.Inputs()
	for _, s := range p.graph.inputs {
		id, err := p.value(s.Name)
		if err != nil {
			return err
		}
		p.graph.inputIDs = append(p.graph.inputIDs, id)
	}
	return nil
}

// order returns the nodes so that each comes after those it depends on. Files
// should have them so already.
func (p *planner) order(proto *pb.GraphProto) ([]*pb.NodeProto, error) {
	nodes := proto.GetNode()
	known := map[string]bool{"": true}
	for _, t := range proto.GetInitializer() {
		known[t.GetName()] = true
	}
	for _, v := range proto.GetInput() {
		known[v.GetName()] = true
	}
	producer := map[string]int{}
	for i, n := range nodes {
		for _, o := range n.GetOutput() {
			if o == "" {
				continue
			}
			if _, twice := producer[o]; twice || known[o] {
				return nil, fmt.Errorf("%w: %s computes %q, which something else does too", engine.ErrGraph, describe(n), o)
			}
			producer[o] = i
		}
	}
	waits := make([]int, len(nodes)) // inputs still to come
	next := make([][]int, len(nodes))
	var ready []int
	for i, n := range nodes {
		for _, in := range n.GetInput() {
			if known[in] {
				continue
			}
			from, ok := producer[in]
			if !ok {
				return nil, fmt.Errorf("%w: %s needs %q, which nothing computes", engine.ErrGraph, describe(n), in)
			}
			waits[i]++
			next[from] = append(next[from], i)
		}
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	if sorted(nodes, producer) {
		return nodes, nil
	}
	var order []*pb.NodeProto
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		order = append(order, nodes[i])
		for _, j := range next[i] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	if len(order) < len(nodes) {
		for i, n := range nodes {
			if waits[i] > 0 {
				return nil, fmt.Errorf("%w: %s depends on its own output: the graph has a cycle", engine.ErrGraph, describe(n))
			}
		}
	}
	return order, nil
}

// sorted says whether each node comes after those it depends on already, as the
// format asks for.
func sorted(nodes []*pb.NodeProto, producer map[string]int) bool {
	for i, n := range nodes {
		for _, in := range n.GetInput() {
			if from, computed := producer[in]; computed && from >= i {
				return false
			}
		}
	}
	return true
}

// add plans one node. One whose inputs are all constant is computed now.
func (p *planner) add(proto *pb.NodeProto) error {
	n := &node{name: describe(proto)}
	spec, err := ops.NewNode(p.model, proto)
	if err != nil {
		return err
	}
	constant := true
	for i, name := range proto.GetInput() {
		if name == "" {
			n.in = append(n.in, -1)
			continue
		}
		id := p.ids[name]
		n.in = append(n.in, id)
		spec.Const[i] = p.graph.consts[id]
		constant = constant && spec.Const[i] != nil
	}
	if n.kernel, err = ops.Build(spec); err != nil {
		return err
	}
	for _, name := range proto.GetOutput() {
		id := -1
		if name != "" {
			if id, err = p.value(name); err != nil {
				return err
			}
		}
		n.out = append(n.out, id)
	}
	if constant && p.fold(n, spec.Const) {
		return nil
	}
	p.graph.nodes = append(p.graph.nodes, n)
	return nil
}

// Folding keeps results in memory for as long as the session lives, so it stops
// where they would be much larger than what they come from.
const (
	foldFree   = 1 << 20
	foldGrowth = 4
)

// fold computes a node of constants. A node that cannot be computed, or only
// with more memory than is reasonable, is left for the run.
func (p *planner) fold(n *node, in []*tensor.Tensor) bool {
	limit := int64(foldFree)
	for _, t := range in {
		if t != nil {
			limit += foldGrowth * int64(t.Len()*t.DType().Size())
		}
	}
	memory := newArena(limit)
	x := ops.NewContext(p.ctx, p.threads, memory)
	out := make([]*tensor.Tensor, len(n.out))
	if err := n.run(x, in, out); err != nil {
		return false
	}
	for i, id := range n.out {
		if id >= 0 && out[i] == nil {
			return false
		}
	}
	for i, id := range n.out {
		if id >= 0 {
			p.graph.consts[id] = out[i]
		}
	}
	return true
}

// run runs the kernel. A panic, which would be a defect of an operator, becomes
// an error: this is the last line of defence against graphs made to break
// things.
func (n *node) run(x *ops.Context, in, out []*tensor.Tensor) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the Go engine failed on it: %v", engine.ErrGraph, r)
		}
	}()
	return n.kernel(x, in, out)
}
