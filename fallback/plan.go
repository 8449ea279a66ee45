package fallback

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/ops"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// graph is a planned graph. Values are numbered; a value is an input, a constant
// or the output of one node.
type graph struct {
	inputs, outputs []tensor.Spec
	inputIDs        []int
	outputIDs       []int
	consts          []*tensor.Tensor // by value; nil for what a run computes
	taps            []engine.Tap
	tapIDs          []int
	nodes           []*node // in an order in which they can run
}

// node is one operator with its place in the graph.
type node struct {
	name    string // for messages
	op      string // with its domain, as Operators gives it
	kernel  ops.Kernel
	in, out []int // values; -1 for what is left out
}

// planner turns a model into a graph: it puts the nodes in order, computes what
// is constant, fuses patterns, drops what nothing needs, and builds the rest.
type planner struct {
	ctx     context.Context
	model   *onnx.Model
	threads int
	consts  map[string]*tensor.Tensor // by name
	ids     map[string]int
	graph   *graph
}

// maxNodes bounds the size of a graph.
const maxNodes = 1 << 20

func plan(ctx context.Context, m *onnx.Model, threads int, noFusion bool) (*graph, error) {
	p := &planner{ctx: ctx, model: m, threads: threads, consts: map[string]*tensor.Tensor{}, ids: map[string]int{}, graph: &graph{}}
	proto := m.Proto.GetGraph()
	if err := check(m, proto); err != nil {
		return nil, err
	}
	nodes, err := order(proto)
	if err != nil {
		return nil, err
	}
	if err := p.declare(proto); err != nil {
		return nil, err
	}
	outputs := m.Outputs()
	later := p.narrowWeights
	if noFusion {
		later = func(*pb.NodeProto) bool { return false }
	}
	if nodes, err = p.fold(nodes, later); err != nil {
		return nil, err
	}
	kept := slices.Clone(outputs) // what fusion must leave: a run may ask for it
	taps := findTaps(nodes, p.consts)
	for _, t := range taps {
		kept = append(kept, tensor.Spec{Name: t.value})
	}
	if !noFusion {
		nodes = fuseNarrow(nodes, p.consts, kept)
		if nodes, err = p.fold(nodes, func(*pb.NodeProto) bool { return false }); err != nil {
			return nil, err
		}
		nodes = channelsLast(fuse(nodes, p.consts, kept), p.consts, kept)
	}
	for _, n := range live(nodes, kept) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := p.add(n); err != nil {
			return nil, fmt.Errorf("%s: %w", describe(n), err)
		}
	}
	p.graph.outputs = outputs
	for _, o := range outputs {
		id, err := p.use(o.Name)
		if err != nil {
			return nil, err
		}
		p.graph.outputIDs = append(p.graph.outputIDs, id)
	}
	for _, t := range taps {
		p.graph.taps = append(p.graph.taps, t.Tap)
		p.graph.tapIDs = append(p.graph.tapIDs, p.ids[t.value])
	}
	return p.graph, nil
}

// check finds what the engine lacks, in nodes that nothing needs too.
func check(m *onnx.Model, proto *pb.GraphProto) error {
	if len(proto.GetNode()) > maxNodes {
		return fmt.Errorf("%w: %d nodes; at most %d are supported", engine.ErrGraph, len(proto.GetNode()), maxNodes)
	}
	if len(proto.GetSparseInitializer()) > 0 {
		return fmt.Errorf("%w: sparse initializers are not supported", engine.ErrGraph)
	}
	for _, n := range proto.GetNode() {
		domain := onnx.Domain(n.GetDomain())
		if domain == ops.FusedDomain || !ops.Supported(domain, n.GetOpType(), m.Opsets[domain]) {
			return fmt.Errorf("%s: %w", describe(n), ops.Unsupported(domain, n.GetOpType(), m.Opsets[domain]))
		}
	}
	return nil
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

// value gives a name its number.
func (p *planner) value(name string) int {
	id := len(p.graph.consts)
	p.graph.consts = append(p.graph.consts, p.consts[name])
	p.ids[name] = id
	return id
}

// use returns the number of a value that is there: an input, a constant or the
// output of a node before.
func (p *planner) use(name string) (int, error) {
	if id, ok := p.ids[name]; ok {
		return id, nil
	}
	if p.consts[name] == nil {
		return 0, fmt.Errorf("%w: nothing computes %q", engine.ErrGraph, name)
	}
	return p.value(name), nil
}

// declare numbers the inputs and reads the initializers that something uses.
func (p *planner) declare(proto *pb.GraphProto) error {
	used, names := map[string]bool{}, map[string]bool{}
	for _, n := range proto.GetNode() {
		for _, in := range n.GetInput() {
			used[in] = true
		}
	}
	for _, o := range proto.GetOutput() {
		used[o.GetName()] = true
	}
	unique := func(name string) error {
		if names[name] {
			return fmt.Errorf("%w: two things are called %q", engine.ErrGraph, name)
		}
		names[name] = true
		return nil
	}
	for _, t := range proto.GetInitializer() {
		if err := unique(t.GetName()); err != nil {
			return err
		}
		if !used[t.GetName()] {
			continue
		}
		var err error
		if p.consts[t.GetName()], err = p.model.Tensor(t); err != nil {
			return err
		}
	}
	p.graph.inputs = p.model.Inputs()
	for _, s := range p.graph.inputs {
		if err := unique(s.Name); err != nil {
			return err
		}
		p.graph.inputIDs = append(p.graph.inputIDs, p.value(s.Name))
	}
	return nil
}

// order returns the nodes so that each comes after those it depends on. Files
// should have them so already.
func order(proto *pb.GraphProto) ([]*pb.NodeProto, error) {
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

// live returns the nodes that an output needs.
func live(nodes []*pb.NodeProto, outputs []tensor.Spec) []*pb.NodeProto {
	needed := map[string]bool{}
	for _, o := range outputs {
		needed[o.Name] = true
	}
	keep := make([]bool, len(nodes))
	for i := len(nodes) - 1; i >= 0; i-- {
		for _, o := range nodes[i].GetOutput() {
			keep[i] = keep[i] || o != "" && needed[o]
		}
		if keep[i] {
			for _, in := range nodes[i].GetInput() {
				needed[in] = true
			}
		}
	}
	var list []*pb.NodeProto
	for i, n := range nodes {
		if keep[i] {
			list = append(list, n)
		}
	}
	return list
}

// add builds one node.
func (p *planner) add(proto *pb.NodeProto) error {
	n := &node{name: describe(proto), op: proto.GetOpType()}
	if d := onnx.Domain(proto.GetDomain()); d != "" {
		n.op = d + "." + n.op
	}
	spec, err := ops.NewNode(p.model, proto)
	if err != nil {
		return err
	}
	for i, name := range proto.GetInput() {
		spec.Const[i] = p.consts[name]
	}
	if n.kernel, err = ops.Build(spec); err != nil {
		return err
	}
	for i, name := range proto.GetInput() {
		id := -1
		if spec.Dropped[i] {
			p.model.Release(spec.Const[i])
		}
		if name != "" && !spec.Dropped[i] {
			if id, err = p.use(name); err != nil {
				return err
			}
		}
		n.in = append(n.in, id)
	}
	for _, name := range proto.GetOutput() {
		id := -1
		if name != "" {
			id = p.value(name)
		}
		n.out = append(n.out, id)
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

// fold computes the nodes whose inputs are all constant, but for those to be left for
// later, and returns the others.
func (p *planner) fold(nodes []*pb.NodeProto, later func(*pb.NodeProto) bool) ([]*pb.NodeProto, error) {
	var rest []*pb.NodeProto
	for _, n := range nodes {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		if later(n) || !p.foldNode(n) {
			rest = append(rest, n)
		}
	}
	return rest, nil
}

// foldNode computes a node of constants. A node that cannot be computed, or only
// with more memory than is reasonable, is left for the run.
func (p *planner) foldNode(proto *pb.NodeProto) bool {
	in := make([]*tensor.Tensor, len(proto.GetInput()))
	limit := int64(foldFree)
	for i, name := range proto.GetInput() {
		if name == "" {
			continue
		}
		if in[i] = p.consts[name]; in[i] == nil {
			return false
		}
		limit += foldGrowth * int64(in[i].Len()*in[i].DType().Size())
	}
	spec, err := ops.NewNode(p.model, proto)
	if err != nil {
		return false
	}
	kernel, err := ops.Build(spec)
	if err != nil {
		return false
	}
	n := &node{kernel: kernel}
	out := make([]*tensor.Tensor, len(proto.GetOutput()))
	if err := n.run(ops.NewContext(p.ctx, p.threads, newArena(limit)), in, out); err != nil {
		return false
	}
	for i, name := range proto.GetOutput() {
		if name != "" && out[i] == nil {
			return false
		}
	}
	for i, name := range proto.GetOutput() {
		if name != "" {
			p.consts[name] = out[i]
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
