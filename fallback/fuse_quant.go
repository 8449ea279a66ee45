package fallback

import (
	"slices"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// Weights with fewer bits than the numbers they meet stay so: those of quantised graphs, and those
// stored as float16.
//
// Quantised graphs come in two forms. Dynamic ones compute in integers as they stand:
// DynamicQuantizeLinear, MatMulInteger, Cast, Mul. In the other form, between QuantizeLinear and
// DequantizeLinear, products are written in floats of dequantised operands: (a-za)*sa times
// (b-zb)*sb, summed. That is the sum of integer products times sa*sb, which is computed here
// without the float roundings between. Both become the fused MatMulInteger, or ConvInteger; the
// later passes add bias, activation and residual to it as to other products.

// fuseNarrow rewrites a graph before constant operands (weights) of DequantizeLinear and Cast are
// folded into floats.
func fuseNarrow(g *ir.Graph) {
	f := &fuser{Graph: g}
	f.apply(f.scaledInteger, f.dequantised, f.widened)
}

// bytes says whether a name is a constant of 8-bit integers, and its shape.
func (f *fuser) bytes(name string) (shape []int, ok bool) {
	t := f.Consts[name]
	if !isByte(t) || t.Rank() < 2 || t.Len() == 0 {
		return nil, false
	}
	return t.Shape(), true
}

// isByte says whether a constant is there and of 8-bit integers.
func isByte(t *tensor.Tensor) bool {
	return t != nil && (t.DType() == tensor.Int8 || t.DType() == tensor.Uint8)
}

// columns says whether a name, if any, is a constant of one element or of one for each column.
func (f *fuser) columns(name string, count int) bool {
	if name == "" {
		return true
	}
	t := f.Consts[name]
	return t != nil && (t.Len() == 1 && t.Rank() <= 1 || t.Rank() == 1 && t.Len() == count)
}

// scaledInteger matches MatMulInteger, cast to float32, times something.
func (f *fuser) scaledInteger(n *ir.Node) *ir.Node {
	if !is(n, "Mul") {
		return nil
	}
	for i := range 2 {
		c := f.from(n, i, "Cast")
		if c == nil || !toFloat(c) || !f.sole(n.Input(i)) {
			continue
		}
		m := f.from(c, 0, "MatMulInteger")
		if m == nil || !f.sole(c.Input(0)) {
			continue
		}
		shape, ok := f.bytes(m.Input(1))
		if !ok || len(shape) != 2 || !f.columns(m.Input(3), shape[1]) {
			continue
		}
		in := []string{m.Input(0), m.Input(1), "", "", m.Input(2), m.Input(3), n.Input(1 - i)}
		return fused(n, "MatMulInteger", in)
	}
	return nil
}

// dequantised matches MatMul, Gemm or Conv of an operand and constant weights that DequantizeLinear
// made.
func (f *fuser) dequantised(n *ir.Node) *ir.Node {
	transposed := n.Int("transB", 0) != 0
	var attrs []ir.Attr
	op, rank := "MatMulInteger", 2
	switch {
	case is(n, "Conv"): // a convolution of images, in one group
		if !n.Defaults("group", int64(1)) {
			return nil
		}
		op, rank, attrs, transposed = "ConvInteger", 4, n.Attrs, true
	case is(n, "MatMul"):
	case is(n, "Gemm"):
		if !plainGemm(n) {
			return nil
		}
	default:
		return nil
	}
	a, b := f.from(n, 0, "DequantizeLinear"), f.from(n, 1, "DequantizeLinear")
	if a == nil || b == nil || !f.byteRange(a) {
		return nil
	}
	sa, ok := f.scalar(a.Input(1))
	shape, ok2 := f.bytes(b.Input(0))
	if !ok || !ok2 || len(shape) != rank ||
		f.Consts[a.Input(1)].DType() != tensor.Float32 || !f.columns(a.Input(2), 1) {
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
	bias := n.Input(2)
	if bias != "" && (!f.isBias(bias, shape[at]) || f.Consts[bias].DType() != tensor.Float32) {
		return nil
	}
	product := make([]float32, len(scale))
	for i, s := range scale {
		product[i] = float32(sa) * s
	}
	name := "xpipe.scale." + n.Outputs[0]
	if f.Consts[name] != nil || f.Producer(name) != nil {
		return nil
	}
	t, err := tensor.New([]int{len(product)}, product)
	if err != nil {
		return nil
	}
	f.Consts[name] = t
	if transposed && rank == 2 {
		attrs = append(attrs, ir.Attr{Name: "transB", Value: int64(1)})
	}
	in := []string{a.Input(0), b.Input(0), bias, "", a.Input(2), b.Input(2), name}
	return fused(n, op, in, attrs...)
}

// byteRange says whether a DequantizeLinear is known to widen 8-bit numbers.
func (f *fuser) byteRange(n *ir.Node) bool {
	if z := f.Consts[n.Input(2)]; z != nil {
		return isByte(z)
	}
	q := f.from(n, 0, "QuantizeLinear")
	return n.Input(2) == "" && q != nil && q.Input(2) == "" && !q.Has("output_dtype")
}

// perColumn returns the scales of a DequantizeLinear if they are float32, one for all or one for
// each of count positions of axis at, and its zero points are too.
func (f *fuser) perColumn(n *ir.Node, at, count int) ([]float32, bool) {
	scale := f.Consts[n.Input(1)]
	if scale == nil || scale.DType() != tensor.Float32 || n.Int("block_size", 0) != 0 ||
		!f.columns(n.Input(1), count) || !f.columns(n.Input(2), count) {
		return nil, false
	}
	axis := n.Int("axis", 1)
	weights := f.Consts[n.Input(0)]
	if scale.Len() > 1 && axis != int64(at) && axis != int64(at-weights.Rank()) {
		return nil, false
	}
	z := f.Consts[n.Input(2)]
	if z != nil && (z.Len() != scale.Len() || z.DType() != weights.DType()) {
		return nil, false
	}
	return tensor.Data[float32](scale), true
}

// widened matches MatMul or Gemm with a constant matrix of float16 that is cast to float32, and
// makes the product with the matrix as it is.
func (f *fuser) widened(n *ir.Node) *ir.Node {
	if !is(n, "MatMul") && !is(n, "Gemm") {
		return nil
	}
	c := f.from(n, 1, "Cast")
	if c == nil || !toFloat(c) || !f.isHalf(c.Input(0)) {
		return nil
	}
	narrow := *n
	narrow.Inputs = slices.Clone(n.Inputs)
	narrow.Inputs[1] = c.Input(0)
	return f.product(&narrow)
}

// toFloat says whether a Cast makes float32.
func toFloat(c *ir.Node) bool { return c.Int("to", 0) == int64(onnx.ElementType(tensor.Float32)) }

// isHalf says whether a name is a constant matrix of float16.
func (f *fuser) isHalf(name string) bool {
	t := f.Consts[name]
	return t != nil && t.Rank() == 2 && t.DType() == tensor.Float16
}

// narrowWeights says whether a node widens constant weights of 8 bits or float16: they are folded
// only once fusion has had a look at them.
func (p *planner) narrowWeights(n *ir.Node) bool {
	t := p.source.Consts[n.Input(0)]
	if t == nil || t.Rank() < 2 {
		return false
	}
	if t.DType() == tensor.Float16 {
		return is(n, "Cast")
	}
	return is(n, "DequantizeLinear") && isByte(t)
}
