package onnx

import (
	"slices"
	"sort"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/tensor"
)

// Summary describes a model file to people.
type Summary struct {
	Name      string         // of the graph
	Producer  string         // what wrote the file, with its version
	IRVersion int64          // of the file format
	Opsets    map[string]int // versions by operator domain; "" is the default
	Inputs    []tensor.Spec
	Outputs   []tensor.Spec
	Ops       []OpCount // by count, then by name; subgraphs included, functions written out
	Nodes     int
	// Parameters counts the elements of all initializers, ParameterBytes what they take in the
	// file.
	Parameters     int64
	ParameterBytes int64
	External       bool // whether some lie in other files
	// Types describes the inputs and outputs whose types package tensor lacks, by name.
	Types map[string]string
	// Others are the operators that meet such types, each once, in the order of the nodes.
	Others []OtherType
}

// OpCount says how many nodes of one operator a model holds.
type OpCount struct {
	Domain, Op string
	Opset      int // the version that the model, or a function of it, imports; 0 for none
	Count      int
}

// Summary describes the model.
func (m *Model) Summary() Summary {
	p := m.Proto
	s := Summary{
		Name:      p.GetGraph().GetName(),
		Producer:  p.GetProducerName(),
		IRVersion: p.GetIrVersion(),
		Opsets:    m.Opsets,
		Inputs:    m.Inputs(),
		Outputs:   m.Outputs(),
		Types:     map[string]string{},
	}
	for _, v := range slices.Concat(p.GetGraph().GetInput(), p.GetGraph().GetOutput()) {
		if text := typeText(v.GetType()); text != "" && spec(v).DType == tensor.Invalid {
			s.Types[v.GetName()] = text
		}
	}
	if v := p.GetProducerVersion(); v != "" {
		s.Producer += " " + v
	}
	in, err := m.inliner()
	if err != nil { // Graph reports it
		in = &inliner{}
	}
	c := &counter{inliner: in, summary: &s, counts: map[OpCount]int{}}
	c.graph(p.GetGraph(), m.Opsets, nil)
	for op, n := range c.counts {
		op.Count = n
		s.Nodes += n
		s.Ops = append(s.Ops, op)
	}
	sort.Slice(s.Ops, func(i, j int) bool {
		a, b := s.Ops[i], s.Ops[j]
		if a.Count != b.Count {
			return a.Count > b.Count
		}
		if a.Op != b.Op {
			return a.Op < b.Op
		}
		return a.Opset < b.Opset
	})
	return s
}

// counter adds up what graphs hold.
type counter struct {
	*inliner
	summary *Summary
	counts  map[OpCount]int // by operator, without a count
}

func (c *counter) graph(g *pb.GraphProto, opsets map[string]int, within *call) {
	s := c.summary
	for _, t := range g.GetInitializer() {
		shape, err := dims(t.GetDims())
		if err != nil {
			continue
		}
		n, err := tensor.NumElements(shape)
		if err != nil {
			continue
		}
		s.Parameters += int64(n)
		if t.GetDataLocation() == pb.TensorProto_EXTERNAL {
			s.External = true
		}
		s.ParameterBytes += int64(n) * int64(DType(t.GetDataType()).Size())
	}
	nodes, err := c.expand(g.GetNode(), opsets, within)
	if err != nil { // Graph reports it; count the calls
		nodes, _ = (&inliner{}).expand(g.GetNode(), opsets, within)
	}
	types := declared(g)
	for _, n := range nodes {
		domain := Domain(n.GetDomain())
		c.counts[OpCount{Domain: domain, Op: n.GetOpType(), Opset: n.opsets[domain]}]++
		if t := otherIn(n.NodeProto, types); t != "" {
			other := OtherType{Domain: domain, Op: n.GetOpType(), Type: t}
			if !slices.Contains(s.Others, other) {
				s.Others = append(s.Others, other)
			}
		}
		for _, a := range n.GetAttribute() {
			if a.GetG() != nil {
				c.graph(a.GetG(), n.opsets, n.within)
			}
			for _, g := range a.GetGraphs() {
				c.graph(g, n.opsets, n.within)
			}
		}
	}
}

// Inputs describes the graph's inputs, but not those to which an initializer gives a value.
func (m *Model) Inputs() []tensor.Spec { return inputs(m.Proto.GetGraph()) }

// Outputs describes the graph's outputs.
func (m *Model) Outputs() []tensor.Spec { return outputs(m.Proto.GetGraph()) }

func inputs(p *pb.GraphProto) []tensor.Spec {
	given := make(map[string]bool, len(p.GetInitializer()))
	for _, t := range p.GetInitializer() {
		given[t.GetName()] = true
	}
	specs := []tensor.Spec{}
	for _, v := range p.GetInput() {
		if !given[v.GetName()] {
			specs = append(specs, spec(v))
		}
	}
	return specs
}

func outputs(p *pb.GraphProto) []tensor.Spec {
	specs := []tensor.Spec{}
	for _, v := range p.GetOutput() {
		specs = append(specs, spec(v))
	}
	return specs
}

func spec(v *pb.ValueInfoProto) tensor.Spec {
	s := tensor.Spec{Name: v.GetName()}
	t := v.GetType().GetTensorType()
	if t == nil {
		return s
	}
	s.DType = DType(t.GetElemType())
	if t.GetShape() == nil {
		return s
	}
	s.Shape = []int{}
	s.Dims = []string{}
	for _, d := range t.GetShape().GetDim() {
		size, name := -1, d.GetDimParam()
		v, fixed := d.GetValue().(*pb.TensorShapeProto_Dimension_DimValue)
		if fixed && v.DimValue >= 0 && int64(int(v.DimValue)) == v.DimValue {
			size, name = int(v.DimValue), ""
		}
		s.Shape = append(s.Shape, size)
		s.Dims = append(s.Dims, name)
	}
	return s
}
