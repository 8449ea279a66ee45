package ops

import (
	"fmt"
	"math"
	mathbits "math/bits"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// Node is a node as its operator sees it when it is built.
type Node struct {
	Op      string
	Domain  string
	Version int // of the operator set that the graph imports
	Inputs  int // number of inputs, those left out in between included
	Outputs int
	// Const holds the inputs whose values are known already; nil for others.
	Const []*tensor.Tensor
	// Dropped marks the inputs that the kernel does without, because Build has taken what it needs
	// from the constant. The planner then passes nil.
	Dropped []bool
	// Packs are the matrices that were packed before; nil keeps none.
	Packs Packs
	// Precision is how a product with a constant matrix is computed; a Head's result is an output of
	// the graph and keeps to float32.
	Precision engine.Precision
	Head      bool

	names   []string // of the inputs
	outputs []string // their names; "" for one that is left out
	reads   int      // how many values the kernel gets: inputs, and what graphs within capture
	attrs   map[string]any
	err     error // the first thing wrong with the attributes
}

// NewNode prepares a node for Build. consts holds the values that are known, by name.
func NewNode(p *ir.Node, consts map[string]*tensor.Tensor) *Node {
	n := &Node{
		Op:      p.Op,
		Domain:  p.Domain,
		Version: p.Version,
		Inputs:  len(p.Inputs),
		Outputs: len(p.Outputs),
		Const:   make([]*tensor.Tensor, len(p.Inputs)),
		Dropped: make([]bool, len(p.Inputs)),
		names:   p.Inputs,
		outputs: p.Outputs,
		reads:   len(p.Inputs),
		attrs:   make(map[string]any, len(p.Attrs)),
	}
	for i, name := range p.Inputs {
		n.Const[i] = consts[name]
	}
	for _, a := range p.Attrs {
		n.attrs[a.Name] = a.Value
	}
	return n
}

// left says whether an input is left out.
func (n *Node) left(i int) bool { return i >= len(n.names) || n.names[i] == "" }

// drop says that the kernel does without an input.
func (n *Node) drop(i int) { n.Dropped[i] = true }

// keep takes those of some inputs that are constants for the kernel, which then does without them. What
// it returns puts them back into the kernel's inputs: as they are in the file, where viaFloat would
// widen them at each run.
func (n *Node) keep(places ...int) func(in []*tensor.Tensor) []*tensor.Tensor {
	kept := map[int]*tensor.Tensor{}
	for _, i := range places {
		if i < len(n.Const) && n.Const[i] != nil {
			kept[i] = n.Const[i]
			n.drop(i)
		}
	}
	return func(in []*tensor.Tensor) []*tensor.Tensor {
		if len(kept) == 0 {
			return in
		}
		in = slices.Clone(in)
		for i, t := range kept {
			in[i] = t
		}
		return in
	}
}

func (n *Node) fail(format string, args ...any) {
	if n.err == nil {
		n.err = graphErr(format, args...)
	}
}

// has says whether an attribute is given.
func (n *Node) has(name string) bool {
	_, given := n.attrs[name]
	return given
}

// attribute returns an attribute of a type. Where the attribute is not given, ok is false; where it
// is of another type or cannot be read, ok is false and n fails.
func attribute[T any](n *Node, name string) (value T, ok bool) {
	a, given := n.attrs[name]
	if !given {
		return value, false
	}
	switch a := a.(type) {
	case T:
		return a, true
	case nil: // the file gives no type and no value
		return value, true
	case ir.Ref:
		n.fail("attribute %q refers to a function's attribute", name)
	case error:
		if n.err == nil {
			n.err = a
		}
	default:
		n.fail("attribute %q is %s, not %s", name, ir.TypeName(a), ir.TypeName(value))
	}
	return value, false
}

// int returns an integer attribute, or def where it is not given. Values are kept within 32 bits,
// more than any axis, count or flag needs.
func (n *Node) int(name string, def int) int {
	v, ok := attribute[int64](n, name)
	if !ok {
		return def
	}
	if v > math.MaxInt32 || v < math.MinInt32 {
		n.fail("attribute %q is %d", name, v)
		return def
	}
	return int(v)
}

// ints returns an attribute that lists integers; nil where it is not given. Values beyond 32 bits,
// such as ends of slices, are brought to the nearest one within.
func (n *Node) ints(name string) []int {
	list, ok := attribute[[]int64](n, name)
	if !ok {
		return nil
	}
	v := make([]int, len(list))
	for i, x := range list {
		v[i] = int(min(max(x, math.MinInt32), math.MaxInt32))
	}
	return v
}

func (n *Node) float(name string, def float32) float32 {
	if v, ok := attribute[float32](n, name); ok {
		return v
	}
	return def
}

func (n *Node) str(name, def string) string {
	if v, ok := attribute[string](n, name); ok {
		return v
	}
	return def
}

// tensor returns an attribute that holds a tensor; nil where it is not given.
func (n *Node) tensor(name string) *tensor.Tensor {
	t, ok := attribute[*tensor.Tensor](n, name)
	if ok && t == nil {
		n.fail("attribute %q holds no tensor", name)
	}
	return t
}

// want checks the number of inputs: from low to high, or any number from low on where high is -1.
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
	return fmt.Errorf("%w: %w: the Go engine has no %s of operator set %s version %d",
		engine.ErrGraph, ErrUnsupported, op, domain, version)
}

// Build returns the kernel of a node. The error wraps engine.ErrGraph, and ErrUnsupported too where
// the engine lacks the operator.
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
	return required(k, n, d), nil
}

// required reports left-out inputs that an operator cannot do without, and sequences where it takes
// tensors.
func required(k Kernel, n *Node, d def) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		for i, t := range in[:n.Inputs] {
			if i < d.low && t == nil && !n.Dropped[i] {
				return graphErr("input %d is left out", i)
			}
			if t != nil && d.traits&OnSequences == 0 && isSequence(t) {
				return graphErr("input %d is a sequence, not a tensor", i)
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

// intsOf reads a tensor of int64 or int32 as integers, such as a shape, axes or indices. Values
// beyond 48 bits (30 on machines of 32) are brought to that bound, which no dimension reaches and
// from which sums do not overflow.
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
