package onnx

import (
	"fmt"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// maxNodes bounds the nodes of a graph, and with them the time and memory of planning it.
const maxNodes = 1 << 20

// Graph reads the model's graph: each value has one source, and the nodes come in an order in which
// they can run. Calls of the model's own functions are replaced by what they stand for. Tensors
// share memory with the file where its layout allows that. Errors wrap ErrGraph.
func (m *Model) Graph() (*ir.Graph, error) {
	in, err := m.inliner()
	if err != nil {
		return nil, err
	}
	r := &graphReader{
		model: m, inliner: in, opsets: m.Opsets, outer: func(string) bool { return false },
	}
	return r.read(m.Proto.GetGraph())
}

// graphReader reads one graph and, through readers of their own, the subgraphs of its nodes.
type graphReader struct {
	model   *Model
	inliner *inliner
	opsets  map[string]int
	within  *call                   // the function that a subgraph belongs to
	outer   func(value string) bool // whether a graph around this one has a value
	// known holds the values that are there before a node runs: "", inputs and initializers.
	known    map[string]bool
	producer map[string]int // the node that computes a value
}

func (r *graphReader) read(p *pb.GraphProto) (*ir.Graph, error) {
	if len(p.GetNode()) > maxNodes {
		return nil, fmt.Errorf("%w: %d nodes; at most %d are supported",
			ErrGraph, len(p.GetNode()), maxNodes)
	}
	if len(p.GetSparseInitializer()) > 0 {
		return nil, fmt.Errorf("%w: sparse initializers are not supported", ErrGraph)
	}
	list, err := r.inliner.expand(p.GetNode(), r.opsets, r.within)
	if err != nil {
		return nil, err
	}
	nodes := make([]*ir.Node, len(list))
	for i, n := range list {
		domain := Domain(n.GetDomain())
		nodes[i] = &ir.Node{
			Name: n.GetName(), Domain: domain, Op: n.GetOpType(), Version: n.opsets[domain],
			Inputs: n.GetInput(), Outputs: n.GetOutput(),
		}
	}
	if err := r.name(p, nodes); err != nil {
		return nil, err
	}
	for i, n := range list {
		if err := r.attributes(nodes[i], n); err != nil {
			return nil, err
		}
	}
	if nodes, err = r.order(nodes); err != nil {
		return nil, err
	}
	consts, err := r.initializers(p, nodes)
	if err != nil {
		return nil, err
	}
	return ir.New(inputs(p), outputs(p), consts, nodes), nil
}

// subgraph reads a graph that a node of this one holds.
func (r *graphReader) subgraph(p *pb.GraphProto, n placed) (*ir.Graph, error) {
	sub := &graphReader{model: r.model, inliner: r.inliner, opsets: n.opsets, within: n.within}
	sub.outer = func(value string) bool {
		_, computed := r.producer[value]
		return computed || r.known[value] || r.outer(value)
	}
	return sub.read(p)
}

// name notes where each value comes from, and that none comes from two places.
func (r *graphReader) name(p *pb.GraphProto, nodes []*ir.Node) error {
	r.known, r.producer = map[string]bool{"": true}, make(map[string]int, len(nodes))
	unique := func(name string) error {
		if name != "" && r.known[name] {
			return fmt.Errorf("%w: two things are called %q", ErrGraph, name)
		}
		r.known[name] = true
		return nil
	}
	for _, t := range p.GetInitializer() {
		if err := unique(t.GetName()); err != nil {
			return err
		}
	}
	for _, s := range inputs(p) {
		if err := unique(s.Name); err != nil {
			return err
		}
	}
	for i, n := range nodes {
		for _, o := range n.Outputs {
			if o == "" {
				continue
			}
			if _, twice := r.producer[o]; twice || r.known[o] {
				return fmt.Errorf("%w: %v computes %q, which something else does too",
					ErrGraph, n, o)
			}
			r.producer[o] = i
		}
	}
	return nil
}

// attributes reads the attributes of a node.
func (r *graphReader) attributes(n *ir.Node, source placed) error {
	list := source.GetAttribute()
	n.Attrs = make([]ir.Attr, 0, len(list))
	given := make(map[string]bool, len(list))
	for _, a := range list {
		if given[a.GetName()] {
			return fmt.Errorf("%w: %v gives attribute %q twice", ErrGraph, n, a.GetName())
		}
		given[a.GetName()] = true
		n.Attrs = append(n.Attrs, ir.Attr{Name: a.GetName(), Value: r.attribute(a, source)})
	}
	return nil
}

// initializers reads the tensors that something uses, of those that the graph holds.
func (r *graphReader) initializers(
	p *pb.GraphProto, nodes []*ir.Node,
) (map[string]*tensor.Tensor, error) {
	used := map[string]bool{}
	for _, n := range nodes {
		for _, in := range n.Reads() {
			used[in] = true
		}
	}
	for _, o := range p.GetOutput() {
		used[o.GetName()] = true
	}
	consts := map[string]*tensor.Tensor{}
	for _, t := range p.GetInitializer() {
		if !used[t.GetName()] {
			continue
		}
		var err error
		if consts[t.GetName()], err = r.model.Tensor(t); err != nil {
			return nil, err
		}
	}
	return consts, nil
}

// order returns the nodes so that each comes after those it depends on. Files should have them so
// already, and then their order stays.
func (r *graphReader) order(nodes []*ir.Node) ([]*ir.Node, error) {
	inOrder := true
	for i, n := range nodes {
		for _, in := range n.Reads() {
			from, computed := r.producer[in]
			if !computed && !r.known[in] && !r.outer(in) {
				return nil, fmt.Errorf("%w: %v needs %q, which nothing computes", ErrGraph, n, in)
			}
			inOrder = inOrder && (!computed || from < i)
		}
	}
	if inOrder {
		return nodes, nil
	}
	waits := make([]int, len(nodes)) // for how many values
	next := make([][]int, len(nodes))
	var ready []int
	for i, n := range nodes {
		for _, in := range n.Reads() {
			if from, computed := r.producer[in]; computed {
				waits[i]++
				next[from] = append(next[from], i)
			}
		}
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	var ordered []*ir.Node
	for ; len(ready) > 0; ready = ready[1:] {
		i := ready[0]
		ordered = append(ordered, nodes[i])
		for _, j := range next[i] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	if len(ordered) < len(nodes) {
		for i, n := range nodes {
			if waits[i] > 0 {
				return nil, fmt.Errorf("%w: %v depends on its own output: the graph has a cycle",
					ErrGraph, n)
			}
		}
	}
	return ordered, nil
}
