package fallback

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// fuser replaces patterns of nodes by operators of ops.FusedDomain. Exporters write the same layers
// in a few ways; each pattern here is one of them. The last node of a pattern becomes the fused
// one, under the same output name; the others fall away where nothing else needs them.
type fuser struct {
	*ir.Graph
	inPlace map[string]bool // see readInPlace
	doubles map[string]bool // see findDoubles
}

// pattern makes a fused node that takes the place of n; nil where n is not the end of the pattern.
type pattern func(n *ir.Node) *ir.Node

// fuse rewrites a graph.
func fuse(g *ir.Graph) {
	f := &fuser{Graph: g, doubles: findDoubles(g)}
	// A pattern may match nodes that the patterns before it have made.
	for _, p := range []pattern{
		f.gelu, f.geluTanh, f.swish, f.product, f.channels, f.bias, f.activation, f.residual,
		f.attention, f.joinHeads,
	} {
		f.apply(p)
	}
	f.readInPlace()
	f.apply(f.append)
}

// apply replaces the nodes where one of the patterns, tried in turn, ends.
func (f *fuser) apply(patterns ...pattern) {
	for i, n := range f.Nodes {
		for _, p := range patterns {
			if r := p(n); r != nil && !f.onDoubles(r) {
				f.Replace(i, r)
				break
			}
		}
	}
	f.Prune()
}

// onDoubles says whether a fused node would compute in float64, for which only plain operators are
// made.
func (f *fuser) onDoubles(n *ir.Node) bool {
	return slices.ContainsFunc(n.Inputs, func(name string) bool { return f.doubles[name] })
}

// findDoubles lists the values that are float64, or may be.
func findDoubles(g *ir.Graph) map[string]bool {
	doubles := map[string]bool{}
	for _, s := range g.Inputs {
		if s.DType == tensor.Float64 {
			doubles[s.Name] = true
		}
	}
	for name, t := range g.Consts {
		if t.DType() == tensor.Float64 {
			doubles[name] = true
		}
	}
	for _, n := range g.Nodes {
		if makesDoubles(n, doubles) {
			for _, o := range n.Outputs {
				doubles[o] = true
			}
		}
	}
	delete(doubles, "")
	return doubles
}

// makesDoubles says whether a node may give float64, given the values before it that are.
func makesDoubles(n *ir.Node, doubles map[string]bool) bool {
	for _, a := range n.Attrs {
		switch v := a.Value.(type) {
		case int64:
			if a.Name == "to" || a.Name == "dtype" {
				return v == int64(onnx.ElementType(tensor.Float64))
			}
		case *tensor.Tensor:
			if v.DType() == tensor.Float64 {
				return true
			}
		case *ir.Graph:
			for _, o := range v.Outputs {
				if o.DType == tensor.Float64 || doubles[o.Name] {
					return true
				}
			}
		}
	}
	if is(n, "Shape") || is(n, "Size") {
		return false
	}
	return slices.ContainsFunc(n.Reads(), func(name string) bool { return doubles[name] })
}

// is says whether n is an operator of the default domain.
func is(n *ir.Node, op string) bool { return n != nil && n.Op == op && n.Domain == "" }

// isFused says whether n was made by fusion.
func isFused(n *ir.Node, op string) bool {
	return n != nil && n.Op == op && n.Domain == ops.FusedDomain
}

// from returns the node that computes input i of n if it is such an operator.
func (f *fuser) from(n *ir.Node, i int, op string) *ir.Node {
	if p := f.Producer(n.Input(i)); is(p, op) {
		return p
	}
	return nil
}

// sole says whether the one node that reads a value, by whose inputs it was found, is the only one
// that needs it.
func (f *fuser) sole(value string) bool { return f.Uses(value) == 1 }

// scalar returns the value of a constant of one element.
func (f *fuser) scalar(name string) (float64, bool) {
	t := f.Consts[name]
	if !isFloat(t) || t.Len() != 1 {
		return 0, false
	}
	return float64(t.Float32s()[0]), true
}

// withScalar splits a commutative node into its variable operand and a constant.
func (f *fuser) withScalar(n *ir.Node) (x string, c float64, ok bool) {
	if c, ok := f.scalar(n.Input(1)); ok {
		return n.Input(0), c, true
	}
	c, ok = f.scalar(n.Input(0))
	return n.Input(1), c, ok
}

// scaled takes a multiplication or division by a constant off a value: name is x times c.
func (f *fuser) scaled(name string) (x string, c float64, ok bool) {
	n := f.Producer(name)
	switch {
	case is(n, "Mul"):
		return f.withScalar(n)
	case is(n, "Div"):
		c, ok := f.scalar(n.Input(1))
		return n.Input(0), 1 / c, ok && c != 0
	}
	return "", 0, false
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Abs(b) }

// fused makes a fused node that computes n's first output.
func fused(n *ir.Node, op string, in []string, attrs ...ir.Attr) *ir.Node {
	return &ir.Node{
		Name: n.Name, Domain: ops.FusedDomain, Op: op,
		Inputs: in, Outputs: n.Outputs[:1], Attrs: attrs,
	}
}

// gate matches x * 0.5 * (inner + 1), in whatever order it is multiplied, where inner computes from
// x; last must be its last node. It returns inner's node.
func (f *fuser) gate(last *ir.Node, op string) (x string, inner *ir.Node) {
	if !is(last, "Mul") {
		return "", nil
	}
	// The factors of up to three multiplications.
	var factors []string
	half := 1.0
	var collect func(n *ir.Node, depth int)
	collect = func(n *ir.Node, depth int) {
		for i := range 2 {
			name := n.Input(i)
			if c, ok := f.scalar(name); ok {
				half *= c
			} else if m := f.from(n, i, "Mul"); m != nil && depth > 0 {
				collect(m, depth-1)
			} else {
				factors = append(factors, name)
			}
		}
	}
	collect(last, 2)
	if len(factors) != 2 || !near(half, 0.5) {
		return "", nil
	}
	for i, name := range factors {
		add := f.Producer(name)
		if !is(add, "Add") {
			continue
		}
		v, c, ok := f.withScalar(add)
		if e := f.Producer(v); ok && c == 1 && is(e, op) {
			return factors[1-i], e
		}
	}
	return "", nil
}

// gelu matches x/2 * (1 + erf(x/sqrt 2)).
func (f *fuser) gelu(n *ir.Node) *ir.Node {
	x, e := f.gate(n, "Erf")
	if e == nil {
		return nil
	}
	if y, c, ok := f.scaled(e.Input(0)); !ok || y != x || !near(c, 1/math.Sqrt2) {
		return nil
	}
	return fused(n, "Gelu", []string{x})
}

// geluTanh matches x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
func (f *fuser) geluTanh(n *ir.Node) *ir.Node {
	x, t := f.gate(n, "Tanh")
	if t == nil {
		return nil
	}
	sum, c, ok := f.scaled(t.Input(0))
	add := f.Producer(sum)
	if !ok || !near(c, math.Sqrt(2/math.Pi)) || !is(add, "Add") {
		return nil
	}
	var cubed string
	switch x {
	case add.Input(0):
		cubed = add.Input(1)
	case add.Input(1):
		cubed = add.Input(0)
	default:
		return nil
	}
	y, c, ok := f.scaled(cubed)
	p := f.Producer(y)
	if !ok || !near(c, 0.044715) || !is(p, "Pow") || p.Input(0) != x {
		return nil
	}
	if e, ok := f.scalar(p.Input(1)); !ok || e != 3 {
		return nil
	}
	return fused(n, "GeluTanh", []string{x})
}

// swish matches x * sigmoid(alpha * x).
func (f *fuser) swish(n *ir.Node) *ir.Node {
	if !is(n, "Mul") {
		return nil
	}
	for i := range 2 {
		s := f.from(n, i, "Sigmoid")
		if s == nil {
			continue
		}
		x := n.Input(1 - i)
		if s.Input(0) == x {
			return fused(n, "Swish", []string{x}, ir.Attr{Name: "alpha", Value: float32(1)})
		}
		if y, c, ok := f.scaled(s.Input(0)); ok && y == x {
			return fused(n, "Swish", []string{x}, ir.Attr{Name: "alpha", Value: float32(c)})
		}
	}
	return nil
}

// matrix says whether a name is a constant matrix of floats, and the columns of a matrix of any
// numbers.
func (f *fuser) matrix(name string, transposed bool) (columns int, floats bool) {
	t := f.Consts[name]
	if t == nil || t.Rank() != 2 || t.Len() == 0 {
		return 0, false
	}
	columns = t.Dim(1)
	if transposed {
		columns = t.Dim(0)
	}
	return columns, isFloat(t)
}

// product makes fused products of MatMul and Gemm with constant matrices, for the later passes to
// add to, and fused convolutions of plain ones.
func (f *fuser) product(n *ir.Node) *ir.Node {
	switch {
	case is(n, "MatMul"):
		if _, ok := f.matrix(n.Input(1), false); ok {
			return fused(n, "MatMul", []string{n.Input(0), n.Input(1)})
		}
	case is(n, "Gemm"):
		if !plainGemm(n) {
			return nil
		}
		transposed := n.Int("transB", 0) != 0
		columns, ok := f.matrix(n.Input(1), transposed)
		if !ok || n.Input(2) != "" && !f.isBias(n.Input(2), columns) {
			return nil
		}
		var attrs []ir.Attr
		if transposed {
			attrs = append(attrs, ir.Attr{Name: "transB", Value: int64(1)})
		}
		return fused(n, "MatMul", []string{n.Input(0), n.Input(1), n.Input(2)}, attrs...)
	case is(n, "Conv"):
		if isFloat(f.Consts[n.Input(1)]) {
			return fused(n, "Conv", []string{n.Input(0), n.Input(1), n.Input(2)}, n.Attrs...)
		}
	}
	return nil
}

// plainGemm says whether a Gemm is A*B + C, with B transposed or not.
func plainGemm(n *ir.Node) bool {
	return n.Defaults("alpha", float32(1)) && n.Defaults("beta", float32(1)) &&
		n.Defaults("transA", int64(0))
}

// isFloat says whether a constant is there and of floats that are computed with as float32.
func isFloat(t *tensor.Tensor) bool {
	if t == nil {
		return false
	}
	d := t.DType()
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16
}

// isBias says whether a name is a constant with one element for each column.
func (f *fuser) isBias(name string, columns int) bool {
	t := f.Consts[name]
	return isFloat(t) && t.Len() == columns && t.Rank() > 0 && t.Dim(-1) == columns
}

// into finds a fused node of the operator that computes an input of n and that nothing else uses,
// and returns the input's number.
func (f *fuser) into(n *ir.Node, op string) (*ir.Node, int) {
	for i, name := range n.Inputs {
		if p := f.Producer(name); isFused(p, op) && f.sole(name) {
			return p, i
		}
	}
	return nil, 0
}

// extend makes a fused node that computes n: p with another input and more attributes.
func extend(p, n *ir.Node, at int, in string, attrs ...ir.Attr) *ir.Node {
	inputs := slices.Clone(p.Inputs)
	if in != "" {
		for len(inputs) <= at {
			inputs = append(inputs, "")
		}
		inputs[at] = in
	}
	return fused(n, p.Op, inputs, slices.Concat(p.Attrs, attrs)...)
}

// bias adds a constant row to a product.
func (f *fuser) bias(n *ir.Node) *ir.Node {
	if !is(n, "Add") {
		return nil
	}
	for _, op := range []string{"MatMul", "MatMulInteger"} {
		p, i := f.into(n, op)
		if p == nil || p.Input(2) != "" {
			continue
		}
		columns, _ := f.matrix(p.Input(1), p.Has("transB"))
		b := n.Input(1 - i)
		if f.isBias(b, columns) && (op == "MatMul" || f.Consts[b].DType() == tensor.Float32) {
			return extend(p, n, 2, b)
		}
	}
	return nil
}

// activation applies an activation to a product or a convolution.
func (f *fuser) activation(n *ir.Node) *ir.Node {
	act, ok := ops.Activation(n, f.Consts)
	if !ok {
		return nil
	}
	for _, op := range []string{"MatMul", "MatMulInteger", "Conv", "ConvInteger"} {
		if p, i := f.into(n, op); p != nil && i == 0 && !ops.Activated(p) && p.Input(3) == "" {
			return extend(p, n, 0, "", act)
		}
	}
	return nil
}

// residual adds a computed tensor to a product or a convolution. Whether it has the same shape or
// is broadcast shows when it runs.
func (f *fuser) residual(n *ir.Node) *ir.Node {
	if !is(n, "Add") {
		return nil
	}
	for _, op := range []string{"MatMul", "MatMulInteger", "Conv"} {
		if p, i := f.into(n, op); p != nil && p.Input(3) == "" {
			return extend(p, n, 3, n.Input(1-i))
		}
	}
	return nil
}
