package fallback

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/fallback/ops"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// fuser replaces patterns of nodes by operators of ops.FusedDomain. Exporters
// write the same layers in a few ways; each pattern here is one of them. The
// last node of a pattern becomes the fused one, under the same output name; the
// others fall away where nothing else needs them.
type fuser struct {
	nodes    []*pb.NodeProto
	consts   map[string]*tensor.Tensor
	producer map[string]*pb.NodeProto
	users    map[string][]*pb.NodeProto
	output   map[string]bool
}

// fuse rewrites nodes, which stay in an order in which they can run.
func fuse(nodes []*pb.NodeProto, consts map[string]*tensor.Tensor, outputs []tensor.Spec) []*pb.NodeProto {
	f := &fuser{nodes: slices.Clone(nodes), consts: consts, output: map[string]bool{}}
	for _, o := range outputs {
		f.output[o.Name] = true
	}
	// Each pass sees what the ones before have made.
	for _, pass := range []func(n *pb.NodeProto) *pb.NodeProto{
		f.gelu, f.geluTanh, f.swish, f.product, f.bias, f.activation, f.residual, f.attention, f.append,
	} {
		f.index()
		for i, n := range f.nodes {
			if r := pass(n); r != nil {
				r.Name = n.Name
				r.Domain = proto.String(ops.FusedDomain)
				f.nodes[i] = r
				for _, o := range r.Output {
					f.producer[o] = r
				}
			}
		}
		f.nodes = live(f.nodes, outputs)
	}
	return f.nodes
}

func (f *fuser) index() {
	f.producer, f.users = map[string]*pb.NodeProto{}, map[string][]*pb.NodeProto{}
	for _, n := range f.nodes {
		for _, o := range n.GetOutput() {
			f.producer[o] = n
		}
		for _, in := range n.GetInput() {
			f.users[in] = append(f.users[in], n)
		}
	}
}

// is says whether n is an operator of the default domain.
func is(n *pb.NodeProto, op string) bool {
	return n != nil && n.GetOpType() == op && onnx.Domain(n.GetDomain()) == ""
}

// isFused says whether n was made by fusion.
func isFused(n *pb.NodeProto, op string) bool {
	return n != nil && n.GetOpType() == op && n.GetDomain() == ops.FusedDomain
}

// input returns the name of input i, "" where there is none.
func input(n *pb.NodeProto, i int) string {
	if i < len(n.GetInput()) {
		return n.GetInput()[i]
	}
	return ""
}

// from returns the node that computes input i of n if it is such an operator.
func (f *fuser) from(n *pb.NodeProto, i int, op string) *pb.NodeProto {
	if p := f.producer[input(n, i)]; is(p, op) {
		return p
	}
	return nil
}

// sole returns the one node that uses a value; nil where several do, or the
// caller of the graph.
func (f *fuser) sole(name string) *pb.NodeProto {
	if u := f.users[name]; len(u) == 1 && !f.output[name] {
		return u[0]
	}
	return nil
}

// scalar returns the value of a constant of one element.
func (f *fuser) scalar(name string) (float64, bool) {
	t := f.consts[name]
	if t == nil || t.Len() != 1 || t.DType() != tensor.Float32 && t.DType() != tensor.Float16 {
		return 0, false
	}
	return float64(t.Float32s()[0]), true
}

// withScalar splits a commutative node into its variable operand and a constant.
func (f *fuser) withScalar(n *pb.NodeProto) (x string, c float64, ok bool) {
	if c, ok := f.scalar(input(n, 1)); ok {
		return input(n, 0), c, true
	}
	c, ok = f.scalar(input(n, 0))
	return input(n, 1), c, ok
}

// scaled takes a multiplication or division by a constant off a value: name is x
// times c.
func (f *fuser) scaled(name string) (x string, c float64, ok bool) {
	n := f.producer[name]
	switch {
	case is(n, "Mul"):
		return f.withScalar(n)
	case is(n, "Div"):
		c, ok := f.scalar(input(n, 1))
		return input(n, 0), 1 / c, ok && c != 0
	}
	return "", 0, false
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Abs(b) }

// replace makes a fused node that takes n's place.
func replace(n *pb.NodeProto, op string, in []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{OpType: proto.String(op), Input: in, Output: n.GetOutput()[:1], Attribute: attrs}
}

func floatAttr(name string, v float64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_FLOAT.Enum(), F: proto.Float32(float32(v))}
}

func intAttr(name string, v int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func stringAttr(name, v string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func attr(n *pb.NodeProto, name string) *pb.AttributeProto {
	for _, a := range n.GetAttribute() {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// gate matches x * 0.5 * (inner + 1), in whatever order it is multiplied, where
// inner computes from x; last must be its last node. It returns inner's node.
func (f *fuser) gate(last *pb.NodeProto, op string) (x string, inner *pb.NodeProto) {
	if !is(last, "Mul") {
		return "", nil
	}
	// The factors of up to three multiplications.
	var factors []string
	half := 1.0
	var collect func(n *pb.NodeProto, depth int)
	collect = func(n *pb.NodeProto, depth int) {
		for i := range 2 {
			name := input(n, i)
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
		add := f.producer[name]
		if !is(add, "Add") {
			continue
		}
		v, c, ok := f.withScalar(add)
		if e := f.producer[v]; ok && c == 1 && is(e, op) {
			return factors[1-i], e
		}
	}
	return "", nil
}

// gelu matches x/2 * (1 + erf(x/sqrt 2)).
func (f *fuser) gelu(n *pb.NodeProto) *pb.NodeProto {
	x, e := f.gate(n, "Erf")
	if e == nil {
		return nil
	}
	if y, c, ok := f.scaled(input(e, 0)); !ok || y != x || !near(c, 1/math.Sqrt2) {
		return nil
	}
	return replace(n, "Gelu", []string{x})
}

// geluTanh matches x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
func (f *fuser) geluTanh(n *pb.NodeProto) *pb.NodeProto {
	x, t := f.gate(n, "Tanh")
	if t == nil {
		return nil
	}
	sum, c, ok := f.scaled(input(t, 0))
	add := f.producer[sum]
	if !ok || !near(c, math.Sqrt(2/math.Pi)) || !is(add, "Add") {
		return nil
	}
	var cubed string
	switch x {
	case input(add, 0):
		cubed = input(add, 1)
	case input(add, 1):
		cubed = input(add, 0)
	default:
		return nil
	}
	y, c, ok := f.scaled(cubed)
	p := f.producer[y]
	if !ok || !near(c, 0.044715) || !is(p, "Pow") || input(p, 0) != x {
		return nil
	}
	if e, ok := f.scalar(input(p, 1)); !ok || e != 3 {
		return nil
	}
	return replace(n, "GeluTanh", []string{x})
}

// swish matches x * sigmoid(alpha * x).
func (f *fuser) swish(n *pb.NodeProto) *pb.NodeProto {
	if !is(n, "Mul") {
		return nil
	}
	for i := range 2 {
		s := f.from(n, i, "Sigmoid")
		if s == nil {
			continue
		}
		x := input(n, 1-i)
		if input(s, 0) == x {
			return replace(n, "Swish", []string{x}, floatAttr("alpha", 1))
		}
		if y, c, ok := f.scaled(input(s, 0)); ok && y == x {
			return replace(n, "Swish", []string{x}, floatAttr("alpha", c))
		}
	}
	return nil
}

// matrix says whether a name is a constant matrix of floats, and the columns of a
// matrix of any numbers.
func (f *fuser) matrix(name string, transposed bool) (columns int, floats bool) {
	t := f.consts[name]
	if t == nil || t.Rank() != 2 || t.Len() == 0 {
		return 0, false
	}
	columns = t.Dim(1)
	if transposed {
		columns = t.Dim(0)
	}
	return columns, t.DType() == tensor.Float32 || t.DType() == tensor.Float16
}

// product makes fused products of MatMul and Gemm with constant matrices, for the
// later passes to add to, and fused convolutions of plain ones.
func (f *fuser) product(n *pb.NodeProto) *pb.NodeProto {
	switch {
	case is(n, "MatMul"):
		if _, ok := f.matrix(input(n, 1), false); ok {
			return replace(n, "MatMul", []string{input(n, 0), input(n, 1)})
		}
	case is(n, "Gemm"):
		one := func(name string) bool { a := attr(n, name); return a == nil || a.GetF() == 1 }
		if !one("alpha") || !one("beta") || attr(n, "transA").GetI() != 0 {
			return nil
		}
		transposed := attr(n, "transB").GetI() != 0
		columns, ok := f.matrix(input(n, 1), transposed)
		if !ok || input(n, 2) != "" && !f.isBias(input(n, 2), columns) {
			return nil
		}
		var attrs []*pb.AttributeProto
		if transposed {
			attrs = append(attrs, intAttr("transB", 1))
		}
		return replace(n, "MatMul", []string{input(n, 0), input(n, 1), input(n, 2)}, attrs...)
	case is(n, "Conv"):
		if f.consts[input(n, 1)] != nil {
			return replace(n, "Conv", []string{input(n, 0), input(n, 1), input(n, 2)}, n.GetAttribute()...)
		}
	}
	return nil
}

// isBias says whether a name is a constant with one element for each column.
func (f *fuser) isBias(name string, columns int) bool {
	t := f.consts[name]
	return t != nil && t.Len() == columns && t.Rank() > 0 && t.Dim(-1) == columns && (t.DType() == tensor.Float32 || t.DType() == tensor.Float16)
}

// into finds a fused node of the operator that computes an input of n and that
// nothing else uses, and returns the input's number.
func (f *fuser) into(n *pb.NodeProto, op string) (*pb.NodeProto, int) {
	for i, name := range n.GetInput() {
		if p := f.producer[name]; isFused(p, op) && f.sole(name) == n {
			return p, i
		}
	}
	return nil, 0
}

// extend copies p, to compute what n does, with another input and attributes.
func extend(p, n *pb.NodeProto, at int, in string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	inputs := slices.Clone(p.GetInput())
	if in != "" {
		for len(inputs) <= at {
			inputs = append(inputs, "")
		}
		inputs[at] = in
	}
	return replace(n, p.GetOpType(), inputs, append(slices.Clone(p.GetAttribute()), attrs...)...)
}

// bias adds a constant row to a product.
func (f *fuser) bias(n *pb.NodeProto) *pb.NodeProto {
	if !is(n, "Add") {
		return nil
	}
	for _, op := range []string{"MatMul", "MatMulInteger"} {
		p, i := f.into(n, op)
		if p == nil || input(p, 2) != "" {
			continue
		}
		columns, _ := f.matrix(input(p, 1), attr(p, "transB") != nil)
		if b := input(n, 1-i); f.isBias(b, columns) && (op == "MatMul" || f.consts[b].DType() == tensor.Float32) {
			return extend(p, n, 2, b)
		}
	}
	return nil
}

// activation applies an elementwise function to a product or a convolution.
func (f *fuser) activation(n *pb.NodeProto) *pb.NodeProto {
	var attrs []*pb.AttributeProto
	switch op := n.GetOpType(); {
	case is(n, "Relu"), is(n, "Sigmoid"), is(n, "Tanh"), is(n, "HardSwish"), isFused(n, "Gelu"), isFused(n, "GeluTanh"):
		attrs = append(attrs, stringAttr("activation", op))
	case is(n, "Gelu"):
		name := "Gelu"
		if string(attr(n, "approximate").GetS()) == "tanh" {
			name = "GeluTanh"
		}
		attrs = append(attrs, stringAttr("activation", name))
	case isFused(n, "Swish"):
		attrs = append(attrs, stringAttr("activation", "Swish"), floatAttr("alpha", float64(attr(n, "alpha").GetF())))
	case is(n, "Clip"):
		low, high := math.Inf(-1), math.Inf(1)
		for i, bound := range []*float64{&low, &high} {
			if name := input(n, i+1); name != "" {
				v, ok := f.scalar(name)
				if !ok {
					return nil
				}
				*bound = v
			}
		}
		if a := attr(n, "min"); a != nil {
			low = float64(a.GetF())
		}
		if a := attr(n, "max"); a != nil {
			high = float64(a.GetF())
		}
		attrs = append(attrs, stringAttr("activation", "Clip"), floatAttr("low", low), floatAttr("high", high))
	default:
		return nil
	}
	for _, op := range []string{"MatMul", "MatMulInteger", "Conv", "ConvInteger"} {
		if p, i := f.into(n, op); p != nil && i == 0 && attr(p, "activation") == nil && input(p, 3) == "" {
			return extend(p, n, 0, "", attrs...)
		}
	}
	return nil
}

// residual adds a computed tensor to a product or a convolution. Whether it has
// the same shape or is broadcast shows when it runs.
func (f *fuser) residual(n *pb.NodeProto) *pb.NodeProto {
	if !is(n, "Add") {
		return nil
	}
	for _, op := range []string{"MatMul", "MatMulInteger", "Conv"} {
		if p, i := f.into(n, op); p != nil && input(p, 3) == "" {
			return extend(p, n, 3, input(n, 1-i))
		}
	}
	return nil
}
