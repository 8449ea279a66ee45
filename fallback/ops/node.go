package ops

import (
	"fmt"
	"math"
	mathbits "math/bits"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// Node is what an operator sees of its node when it is built.
type Node struct {
	Op      string
	Domain  string
	Version int // of the operator set the model imports
	Inputs  int // number of inputs, left-out ones in between included
	Outputs int
	// Const holds the inputs whose values are known already, nil for others.
	Const []*tensor.Tensor

	// Dropped says of each input whether the kernel does without it, because Build
	// has taken from the constant what it needs. The planner then passes nil.
	Dropped []bool

	names []string // of the inputs
	attrs map[string]*pb.AttributeProto
	model *onnx.Model
	err   error // the first thing wrong with the attributes
}

// NewNode describes node p of a model. The error wraps engine.ErrGraph.
func NewNode(m *onnx.Model, p *pb.NodeProto) (*Node, error) {
	n := &Node{
		Op:      p.GetOpType(),
		Domain:  onnx.Domain(p.GetDomain()),
		Inputs:  len(p.GetInput()),
		Outputs: len(p.GetOutput()),
		Const:   make([]*tensor.Tensor, len(p.GetInput())),
		Dropped: make([]bool, len(p.GetInput())),
		names:   p.GetInput(),
		attrs:   map[string]*pb.AttributeProto{},
		model:   m,
	}
	n.Version = m.Opsets[n.Domain]
	for _, a := range p.GetAttribute() {
		if _, twice := n.attrs[a.GetName()]; twice {
			return nil, graphErr("attribute %q is given twice", a.GetName())
		}
		n.attrs[a.GetName()] = a
	}
	return n, nil
}

// left says whether an input is left out.
func (n *Node) left(i int) bool { return i >= len(n.names) || n.names[i] == "" }

// drop says that the kernel does without an input.
func (n *Node) drop(i int) { n.Dropped[i] = true }

func (n *Node) fail(format string, args ...any) {
	if n.err == nil {
		n.err = graphErr(format, args...)
	}
}

// attr returns the attribute if it is there and of the type.
func (n *Node) attr(name string, t pb.AttributeProto_AttributeType) *pb.AttributeProto {
	a := n.attrs[name]
	if a == nil {
		return nil
	}
	if a.GetType() != t && a.GetType() != pb.AttributeProto_UNDEFINED {
		n.fail("attribute %q is %v, not %v", name, a.GetType(), t)
		return nil
	}
	if a.GetRefAttrName() != "" {
		n.fail("attribute %q refers to a function's attribute", name)
		return nil
	}
	return a
}

// has says whether the attribute is given.
func (n *Node) has(name string) bool { return n.attrs[name] != nil }

// int returns an integer attribute. Values are kept within 32 bits, more than
// any axis, count or flag needs.
func (n *Node) int(name string, def int) int {
	a := n.attr(name, pb.AttributeProto_INT)
	if a == nil {
		return def
	}
	if a.GetI() > math.MaxInt32 || a.GetI() < math.MinInt32 {
		n.fail("attribute %q is %d", name, a.GetI())
		return def
	}
	return int(a.GetI())
}

// ints returns an integer list attribute, nil where it is not given. Bounds are
// as for int; ends of slices beyond them are brought to them.
func (n *Node) ints(name string) []int {
	a := n.attr(name, pb.AttributeProto_INTS)
	if a == nil {
		return nil
	}
	v := make([]int, len(a.GetInts()))
	for i, x := range a.GetInts() {
		v[i] = int(min(max(x, math.MinInt32), math.MaxInt32))
	}
	return v
}

func (n *Node) float(name string, def float32) float32 {
	if a := n.attr(name, pb.AttributeProto_FLOAT); a != nil {
		return a.GetF()
	}
	return def
}

func (n *Node) str(name, def string) string {
	if a := n.attr(name, pb.AttributeProto_STRING); a != nil {
		return string(a.GetS())
	}
	return def
}

func (n *Node) tensor(name string) *tensor.Tensor {
	a := n.attr(name, pb.AttributeProto_TENSOR)
	if a == nil {
		return nil
	}
	if a.GetT() == nil {
		n.fail("attribute %q holds no tensor", name)
		return nil
	}
	t, err := n.model.Tensor(a.GetT())
	if err != nil && n.err == nil {
		n.err = err
	}
	return t
}

// want checks the number of inputs: from low to high, or any number from low on
// where high is -1.
func (n *Node) want(low, high int) {
	if n.Inputs < low || high >= 0 && n.Inputs > high {
		n.fail("has %d inputs", n.Inputs)
	}
}

// oneOf checks that value is in the list.
func (n *Node) oneOf(name, value string, allowed ...string) {
	for _, a := range allowed {
		if a == value {
			return
		}
	}
	n.fail("attribute %q is %q, of which only %q are supported", name, value, allowed)
}

// Unsupported is the error for an operator the engine lacks.
func Unsupported(domain, op string, version int) error {
	if domain == "" {
		domain = "ai.onnx"
	}
	return fmt.Errorf("%w: %w: the Go engine has no %s of operator set %s version %d", engine.ErrGraph, ErrUnsupported, op, domain, version)
}

// Build returns the kernel of a node. The error wraps engine.ErrGraph, and
// ErrUnsupported too where the engine lacks the operator.
func Build(n *Node) (Kernel, error) {
	d, ok := find(n.Domain, n.Op, n.Version)
	if !ok {
		return nil, Unsupported(n.Domain, n.Op, n.Version)
	}
	n.want(d.low, d.high)
	k := d.build(n)
	if n.err != nil {
		return nil, n.err
	}
	return required(k, n, d.low), nil
}

// required reports left-out inputs that an operator cannot do without, and
// outputs without a value.
func required(k Kernel, n *Node, low int) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		for i := range low {
			if in[i] == nil && !n.Dropped[i] {
				return graphErr("input %d is left out", i)
			}
		}
		return k(x, in, out)
	}
}

// axis brings an axis that may count from the end into [0,rank).
func axis(a, rank int) (int, error) {
	if a < -rank || a >= rank {
		return 0, graphErr("axis %d of a tensor of %d dimensions", a, rank)
	}
	if a < 0 {
		a += rank
	}
	return a, nil
}

// axes is axis for a list, each at most once.
func axes(list []int, rank int) ([]int, error) {
	seen := make([]bool, rank)
	norm := make([]int, len(list))
	for i, a := range list {
		var err error
		if norm[i], err = axis(a, rank); err != nil {
			return nil, err
		}
		if seen[norm[i]] {
			return nil, graphErr("axis %d is given twice", a)
		}
		seen[norm[i]] = true
	}
	return norm, nil
}

// intsOf reads a tensor of int64 or int32 as integers, such as a shape, axes or
// indices. Values beyond 48 bits (30 on machines of 32) are brought to that bound,
// which no dimension reaches and from which sums do not overflow.
func intsOf(t *tensor.Tensor) ([]int, error) {
	const bound = 1 << (30 + 18*(mathbits.UintSize/64))
	v := make([]int, t.Len())
	switch t.DType() {
	case tensor.Int64:
		for i, x := range tensor.Data[int64](t) {
			v[i] = int(min(max(x, -bound), bound))
		}
	case tensor.Int32:
		for i, x := range tensor.Data[int32](t) {
			v[i] = int(x)
		}
	default:
		return nil, graphErr("integers are expected, given %v", t)
	}
	return v, nil
}

// scalarInt reads a tensor of one integer.
func scalarInt(t *tensor.Tensor) (int, error) {
	v, err := intsOf(t)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, graphErr("one integer is expected, given %v", t)
	}
	return v[0], nil
}

// input returns in[i], nil where the node has fewer inputs.
func input(in []*tensor.Tensor, i int) *tensor.Tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}

func prod(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func clone(s []int) []int { return append([]int{}, s...) }
