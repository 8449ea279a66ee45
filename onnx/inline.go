package onnx

import (
	"fmt"
	"maps"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
)

// Functions of a model's own are operators that the file defines by nodes. A graph is read as if
// each call were written out: the nodes of the function's body take the place of the call, with
// their values renamed and the call's attributes put in.

// maxInlined bounds the nodes that calls become. Functions that call each other a few times grow
// exponentially.
const maxInlined = 1 << 18

// maxName bounds the names of values inside calls, in bytes. Longer ones are cut and numbered.
const maxName = 256

// functionID names a function among those of its model.
type functionID struct{ domain, name, overload string }

func (id functionID) String() string {
	text := id.name
	if id.domain != "" {
		text = id.domain + "." + text
	}
	if id.overload != "" {
		text += ":" + id.overload
	}
	return text
}

// function is a function of the model's own.
type function struct {
	*pb.FunctionProto
	id     functionID
	opsets map[string]int // that its body is written in
	size   int            // of inliner.size; 0 until it is known
}

// placed is a node of a graph, and what its place in the file says of it.
type placed struct {
	*pb.NodeProto
	opsets map[string]int // that it is written in
	within *call          // nil outside functions
}

// call is a function that a node's body belongs to, and the call that its call came from.
type call struct {
	*function
	outer *call
	depth int
}

// inliner puts the bodies of functions in the place of their calls.
type inliner struct {
	functions map[functionID]*function
	taken     map[string]bool // names of values of the model, and of bodies placed so far
	next      map[string]int  // the number that makes a name new, where it is taken
	count     int             // nodes placed so far
}

// inliner prepares the model's functions. Errors wrap ErrGraph.
func (m *Model) inliner() (*inliner, error) {
	in := &inliner{}
	if len(m.Proto.GetFunctions()) == 0 {
		return in, nil
	}
	in.functions = map[functionID]*function{}
	in.taken, in.next = map[string]bool{}, map[string]int{}
	for _, p := range m.Proto.GetFunctions() {
		f := &function{
			FunctionProto: p,
			id:            functionID{Domain(p.GetDomain()), p.GetName(), p.GetOverload()},
			opsets:        maps.Clone(m.Opsets),
		}
		if in.functions[f.id] != nil {
			return nil, fmt.Errorf("%w: two functions are called %v", ErrGraph, f.id)
		}
		if f.id.domain == "" {
			continue // ONNX's own operators stay what they are, as in ONNX Runtime
		}
		own, err := opsets(p.GetOpsetImport())
		if err != nil {
			return nil, fmt.Errorf("function %v: %w", f.id, err)
		}
		maps.Copy(f.opsets, own)
		in.functions[f.id] = f
	}
	in.take(m.Proto.GetGraph())
	return in, nil
}

// take notes the names of a graph.
func (in *inliner) take(g *pb.GraphProto) {
	for _, v := range g.GetInput() {
		in.taken[v.GetName()] = true
	}
	for _, t := range g.GetInitializer() {
		in.taken[t.GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, name := range n.GetOutput() {
			in.taken[name] = true
		}
		for _, a := range n.GetAttribute() {
			if a.GetG() != nil {
				in.take(a.GetG())
			}
			for _, g := range a.GetGraphs() {
				in.take(g)
			}
		}
	}
}

// called is the function that a node calls; nil where it is an operator.
func (in *inliner) called(n *pb.NodeProto) *function {
	return in.functions[functionID{Domain(n.GetDomain()), n.GetOpType(), n.GetOverload()}]
}

// expand returns the nodes with the bodies of functions in the place of calls.
func (in *inliner) expand(
	nodes []*pb.NodeProto, opsets map[string]int, within *call,
) ([]placed, error) {
	list := make([]placed, 0, len(nodes))
	for _, n := range nodes {
		f := in.called(n)
		if f == nil {
			list = append(list, placed{n, opsets, within})
			continue
		}
		body, err := in.body(f, n, within)
		if err != nil {
			return nil, err
		}
		list = append(list, body...)
	}
	return list, nil
}

// body returns the nodes that a call of a function stands for.
func (in *inliner) body(f *function, n *pb.NodeProto, within *call) ([]placed, error) {
	here := &call{function: f, outer: within}
	if within != nil {
		here.depth = within.depth + 1
	}
	for c := within; c != nil; c = c.outer {
		if c.function == f {
			return nil, fmt.Errorf("%w: function %v calls itself", ErrGraph, f.id)
		}
	}
	if here.depth > maxNesting {
		return nil, fmt.Errorf("%w: function %v is called more than %d functions deep",
			ErrGraph, f.id, maxNesting)
	}
	// What is too large is known before any of it is placed.
	if in.count+in.size(f, 0) > maxInlined {
		in.count = maxInlined
	}
	if in.count += len(f.GetNode()); in.count > maxInlined {
		return nil, fmt.Errorf("%w: the model's functions stand for more than %d nodes",
			ErrGraph, maxInlined)
	}
	s := &scope{
		inliner: in, label: label(n), names: map[string]string{"": ""},
		args: map[string]*pb.AttributeProto{},
	}
	for _, a := range f.GetAttributeProto() {
		s.args[a.GetName()] = a
	}
	for _, a := range n.GetAttribute() {
		s.args[a.GetName()] = a
	}
	copies, err := s.bind(f, n)
	if err != nil {
		return nil, err
	}
	nodes := make([]*pb.NodeProto, 0, len(f.GetNode())+len(copies))
	for _, b := range f.GetNode() {
		nodes = append(nodes, s.node(b))
	}
	return in.expand(append(nodes, copies...), f.opsets, here)
}

// size returns how many nodes a call of a function places at least. It counts no subgraphs, nothing
// of a function that calls itself or is called too deep, and little beyond maxInlined.
func (in *inliner) size(f *function, depth int) int {
	if f.size != 0 || depth > maxNesting {
		return max(0, f.size)
	}
	f.size = -1 // until its own calls are counted
	size := len(f.GetNode())
	for _, n := range f.GetNode() {
		if g := in.called(n); g != nil && size <= maxInlined {
			size += in.size(g, depth+1)
		}
	}
	f.size = size
	return size
}

// label names a call in the names of the nodes and values that take its place.
func label(n *pb.NodeProto) string {
	if n.GetName() != "" {
		return n.GetName()
	}
	for _, o := range n.GetOutput() {
		if o != "" {
			return o
		}
	}
	return n.GetOpType()
}

// scope is the body of a function in the place of one call.
type scope struct {
	*inliner
	label string
	names map[string]string // of values in the graph, by their names in the function
	args  map[string]*pb.AttributeProto
}

// bind gives the function's inputs and outputs the names of the call's. It returns nodes that copy
// values which have two names in the call, such as an output that is an input.
func (s *scope) bind(f *function, n *pb.NodeProto) (copies []*pb.NodeProto, err error) {
	if len(n.GetInput()) > len(f.GetInput()) || len(n.GetOutput()) > len(f.GetOutput()) {
		return nil, fmt.Errorf("%w: %q has %d inputs and %d outputs; function %v has %d and %d",
			ErrGraph, s.label, len(n.GetInput()), len(n.GetOutput()), f.id,
			len(f.GetInput()), len(f.GetOutput()))
	}
	for i, name := range f.GetInput() {
		if _, twice := s.names[name]; twice {
			return nil, fmt.Errorf("%w: two inputs of function %v are called %q",
				ErrGraph, f.id, name)
		}
		s.names[name] = ""
		if i < len(n.GetInput()) {
			s.names[name] = n.GetInput()[i]
		}
	}
	for i, name := range f.GetOutput() {
		if i >= len(n.GetOutput()) || n.GetOutput()[i] == "" {
			continue
		}
		to := n.GetOutput()[i]
		from, known := s.names[name]
		if !known {
			s.names[name] = to
			continue
		}
		copies = append(copies, &pb.NodeProto{
			OpType: proto.String("Identity"), Input: []string{from}, Output: []string{to},
		})
	}
	return copies, nil
}

// name returns what a value of the function is called in the graph.
func (s *scope) name(inner string) string {
	if name, known := s.names[inner]; known {
		return name
	}
	name := s.label + "/" + inner
	if len(name) > maxName {
		name = name[:maxName]
	}
	for base := name; s.taken[name]; {
		s.next[base]++
		name = base + "'" + strconv.Itoa(s.next[base]+1)
	}
	s.taken[name] = true
	s.names[inner] = name
	return name
}

func (s *scope) all(inner []string) []string {
	names := make([]string, len(inner))
	for i, name := range inner {
		names[i] = s.name(name)
	}
	return names
}

// node returns a node of the function as it is in the place of the call.
func (s *scope) node(n *pb.NodeProto) *pb.NodeProto {
	name := n.GetName()
	if name == "" {
		name = n.GetOpType()
	}
	if name = s.label + "/" + name; len(name) > maxName {
		name = name[:maxName]
	}
	r := &pb.NodeProto{
		Name: proto.String(name), OpType: n.OpType, Domain: n.Domain, Overload: n.Overload,
		Input: s.all(n.GetInput()), Output: s.all(n.GetOutput()),
	}
	for _, a := range n.GetAttribute() {
		if a = s.attribute(a); a != nil {
			r.Attribute = append(r.Attribute, a)
		}
	}
	return r
}

// attribute returns an attribute of a node of the function; nil where it stands for one that the
// call leaves out.
func (s *scope) attribute(a *pb.AttributeProto) *pb.AttributeProto {
	if ref := a.GetRefAttrName(); ref != "" {
		arg := s.args[ref]
		if arg == nil {
			return nil
		}
		named := shallow(arg)
		named.Name = a.Name
		return named
	}
	if a.GetG() == nil && len(a.GetGraphs()) == 0 {
		return a
	}
	r := shallow(a)
	if a.GetG() != nil {
		r.G = s.graph(a.GetG())
	}
	r.Graphs = nil
	for _, g := range a.GetGraphs() {
		r.Graphs = append(r.Graphs, s.graph(g))
	}
	return r
}

// shallow copies an attribute, which then shares the values of the original.
func shallow(a *pb.AttributeProto) *pb.AttributeProto {
	return &pb.AttributeProto{
		Name: a.Name, RefAttrName: a.RefAttrName, Type: a.Type, F: a.F, I: a.I, S: a.S, T: a.T,
		G: a.G, SparseTensor: a.SparseTensor, Tp: a.Tp, Floats: a.Floats, Ints: a.Ints,
		Strings: a.Strings, Tensors: a.Tensors, Graphs: a.Graphs,
		SparseTensors: a.SparseTensors, TypeProtos: a.TypeProtos,
	}
}

// graph returns a subgraph of the function. All its values are renamed, so that none hides a value
// around the call.
func (s *scope) graph(g *pb.GraphProto) *pb.GraphProto {
	r := &pb.GraphProto{
		Name: g.Name, Input: s.values(g.GetInput()), Output: s.values(g.GetOutput()),
		SparseInitializer: g.GetSparseInitializer(),
	}
	for _, t := range g.GetInitializer() {
		r.Initializer = append(r.Initializer, &pb.TensorProto{
			Name: proto.String(s.name(t.GetName())), Dims: t.Dims, DataType: t.DataType,
			Segment: t.Segment, FloatData: t.FloatData, Int32Data: t.Int32Data,
			StringData: t.StringData, Int64Data: t.Int64Data, RawData: t.RawData,
			ExternalData: t.ExternalData, DataLocation: t.DataLocation,
			DoubleData: t.DoubleData, Uint64Data: t.Uint64Data,
		})
	}
	s.count += len(g.GetNode())
	for _, n := range g.GetNode() {
		r.Node = append(r.Node, s.node(n))
	}
	return r
}

func (s *scope) values(list []*pb.ValueInfoProto) []*pb.ValueInfoProto {
	var renamed []*pb.ValueInfoProto
	for _, v := range list {
		renamed = append(renamed,
			&pb.ValueInfoProto{Name: proto.String(s.name(v.GetName())), Type: v.Type})
	}
	return renamed
}
