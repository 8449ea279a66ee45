package fallback

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/fallback/ops"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// Weights with fewer bits than the numbers they meet stay so: those of quantised graphs,
// and those stored as float16.
//
// Quantised graphs come in two forms. Dynamic ones compute in integers as they stand:
// DynamicQuantizeLinear, MatMulInteger, Cast, Mul. In the other form, between
// QuantizeLinear and DequantizeLinear, products are written in floats of dequantised
// operands: (a-za)*sa times (b-zb)*sb, summed. That is the sum of integer products
// times sa*sb, which is computed here without the float roundings between. Both become
// the fused MatMulInteger, or ConvInteger; the later passes add bias, activation and residual to it as
// to other products.

// fuseNarrow rewrites nodes, before constant operands of DequantizeLinear and Cast
// (weights) are folded into floats.
func fuseNarrow(nodes []*pb.NodeProto, consts map[string]*tensor.Tensor, outputs []tensor.Spec) []*pb.NodeProto {
	f := &fuser{nodes: slices.Clone(nodes), consts: consts, output: map[string]bool{}}
	for _, o := range outputs {
		f.output[o.Name] = true
	}
	f.index()
	for i, n := range f.nodes {
		r := f.scaledInteger(n)
		if r == nil {
			r = f.dequantised(n)
		}
		if r == nil {
			r = f.widened(n)
		}
		if r == nil {
			continue
		}
		r.Name, r.Domain = n.Name, proto.String(ops.FusedDomain)
		f.nodes[i] = r
		for _, o := range r.Output {
			f.producer[o] = r
		}
	}
	return live(f.nodes, outputs)
}

// bytes says whether a name is a constant of 8-bit integers, and its shape.
func (f *fuser) bytes(name string) (shape []int, ok bool) {
	t := f.consts[name]
	if t == nil || t.Rank() < 2 || t.Len() == 0 || t.DType() != tensor.Int8 && t.DType() != tensor.Uint8 {
		return nil, false
	}
	return t.Shape(), true
}

// columns says whether a name, if any, is a constant of one element or of one for each
// column.
func (f *fuser) columns(name string, count int) bool {
	if name == "" {
		return true
	}
	t := f.consts[name]
	return t != nil && (t.Len() == 1 && t.Rank() <= 1 || t.Rank() == 1 && t.Len() == count)
}

// scaledInteger matches MatMulInteger, cast to float32, times something.
func (f *fuser) scaledInteger(n *pb.NodeProto) *pb.NodeProto {
	if !is(n, "Mul") {
		return nil
	}
	for i := range 2 {
		c := f.from(n, i, "Cast")
		if c == nil || attr(c, "to").GetI() != int64(pb.TensorProto_FLOAT) || f.sole(input(n, i)) != n {
			continue
		}
		m := f.from(c, 0, "MatMulInteger")
		if m == nil || f.sole(input(c, 0)) != c {
			continue
		}
		shape, ok := f.bytes(input(m, 1))
		if !ok || len(shape) != 2 || !f.columns(input(m, 3), shape[1]) {
			continue
		}
		return replace(n, "MatMulInteger", []string{input(m, 0), input(m, 1), "", "", input(m, 2), input(m, 3), input(n, 1-i)})
	}
	return nil
}

// dequantised matches MatMul, Gemm or Conv of an operand and constant weights that
// DequantizeLinear made.
func (f *fuser) dequantised(n *pb.NodeProto) *pb.NodeProto {
	transposed := attr(n, "transB").GetI() != 0
	var attrs []*pb.AttributeProto
	op, rank := "MatMulInteger", 2
	switch {
	case is(n, "Conv"): // a convolution of images, in one group
		if g := attr(n, "group"); g != nil && g.GetI() != 1 {
			return nil
		}
		op, rank, attrs, transposed = "ConvInteger", 4, n.GetAttribute(), true
	case is(n, "MatMul"):
	case is(n, "Gemm"):
		one := func(name string) bool { a := attr(n, name); return a == nil || a.GetF() == 1 }
		if !one("alpha") || !one("beta") || attr(n, "transA").GetI() != 0 {
			return nil
		}
	default:
		return nil
	}
	a, b := f.from(n, 0, "DequantizeLinear"), f.from(n, 1, "DequantizeLinear")
	if a == nil || b == nil || !f.byteRange(a) {
		return nil
	}
	sa, ok := f.scalar(input(a, 1))
	shape, ok2 := f.bytes(input(b, 0))
	if !ok || !ok2 || len(shape) != rank || f.consts[input(a, 1)].DType() != tensor.Float32 || !f.columns(input(a, 2), 1) {
		return nil
	}
	at := 1
	if transposed {
		at = 0
	}
	scale, ok := f.perColumn(b, at, shape[at])
	if !ok {
		return nil
	}
	if c := input(n, 2); c != "" && (!f.isBias(c, shape[at]) || f.consts[c].DType() != tensor.Float32) {
		return nil
	}
	product := make([]float32, len(scale))
	for i, s := range scale {
		product[i] = float32(sa) * s
	}
	name := "xpipe.scale." + n.GetOutput()[0]
	if f.consts[name] != nil || f.producer[name] != nil {
		return nil
	}
	t, err := tensor.New([]int{len(product)}, product)
	if err != nil {
		return nil
	}
	f.consts[name] = t
	if transposed && rank == 2 {
		attrs = append(attrs, intAttr("transB", 1))
	}
	return replace(n, op, []string{input(a, 0), input(b, 0), input(n, 2), "", input(a, 2), input(b, 2), name}, attrs...)
}

// byteRange says whether what a DequantizeLinear widens is known to have 8 bits.
func (f *fuser) byteRange(n *pb.NodeProto) bool {
	if z := f.consts[input(n, 2)]; z != nil {
		return z.DType() == tensor.Int8 || z.DType() == tensor.Uint8
	}
	q := f.from(n, 0, "QuantizeLinear")
	return input(n, 2) == "" && q != nil && input(q, 2) == "" && attr(q, "output_dtype") == nil
}

// perColumn returns the scales of a DequantizeLinear if they are float32, one for all or
// one for each of count positions of axis at, and its zero points are too.
func (f *fuser) perColumn(n *pb.NodeProto, at, count int) ([]float32, bool) {
	scale := f.consts[input(n, 1)]
	if scale == nil || scale.DType() != tensor.Float32 || !f.columns(input(n, 1), count) || !f.columns(input(n, 2), count) || attr(n, "block_size").GetI() != 0 {
		return nil, false
	}
	axis := int64(1)
	if a := attr(n, "axis"); a != nil {
		axis = a.GetI()
	}
	if scale.Len() > 1 && axis != int64(at) && axis != int64(at-f.consts[input(n, 0)].Rank()) {
		return nil, false
	}
	if z := f.consts[input(n, 2)]; z != nil && (z.Len() != scale.Len() || z.DType() != f.consts[input(n, 0)].DType()) {
		return nil, false
	}
	return tensor.Data[float32](scale), true
}

// widened matches MatMul or Gemm with a constant matrix of float16 that is cast to
// float32, and makes the product with the matrix as it is.
func (f *fuser) widened(n *pb.NodeProto) *pb.NodeProto {
	if !is(n, "MatMul") && !is(n, "Gemm") {
		return nil
	}
	c := f.from(n, 1, "Cast")
	if c == nil || attr(c, "to").GetI() != int64(pb.TensorProto_FLOAT) || !f.isHalf(input(c, 0)) {
		return nil
	}
	narrow := proto.Clone(n).(*pb.NodeProto)
	narrow.Input[1] = input(c, 0)
	return f.product(narrow)
}

// isHalf says whether a name is a constant matrix of float16.
func (f *fuser) isHalf(name string) bool {
	t := f.consts[name]
	return t != nil && t.Rank() == 2 && t.DType() == tensor.Float16
}

// narrowWeights says whether a node widens constant weights of 8 bits or float16: they
// are folded only once fusion has had a look at them.
func (p *planner) narrowWeights(n *pb.NodeProto) bool {
	t := p.consts[input(n, 0)]
	if t == nil || t.Rank() < 2 {
		return false
	}
	if t.DType() == tensor.Float16 {
		return is(n, "Cast")
	}
	return is(n, "DequantizeLinear") && (t.DType() == tensor.Int8 || t.DType() == tensor.Uint8)
}
