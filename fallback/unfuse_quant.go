package fallback

import (
	"slices"

	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// Tools that quantise graphs write operators of 8 bits that ONNX has none of. This file makes of each what
// it is defined by: the values, ONNX's operator, and the values quantised again.

// renamed is an operator that ONNX has by the same name.
func (u *unfuser) renamed(n *ir.Node) { u.add(n, n.Op, n.Inputs, n.Attrs, n.Outputs...) }

// value adds what the three inputs from one on say: a quantised tensor, its scale and its zero point, which
// may be absent.
func (u *unfuser) value(n *ir.Node, at int, attrs ...ir.Attr) string {
	return u.valueOf(n, n.Input(at), n.Input(at+1), n.Input(at+2), attrs...)
}

func (u *unfuser) valueOf(n *ir.Node, quantised, scale, zero string, attrs ...ir.Attr) string {
	inputs := []string{quantised, scale}
	if zero != "" {
		inputs = append(inputs, zero)
	}
	return u.add(n, "DequantizeLinear", inputs, attrs)
}

// quantised gives n's output: a value by the scale and the zero point that are n's inputs from one on. An
// absent zero point is 0 of the type of like, a quantised tensor.
func (u *unfuser) quantised(n *ir.Node, value string, at int, like string) {
	zero := n.Input(at + 1)
	if zero == "" {
		zero = u.add(n, "CastLike", []string{u.constant(n, tensor.Scalar(int64(0))), like}, nil)
		u.nodes[len(u.nodes)-1].Version = 19 // which it came in before
	}
	u.add(n, "QuantizeLinear", []string{value, n.Input(at), zero}, nil, n.Outputs[0])
}

// quantBinary is op of two tensors: A, its scale and zero point, the same of B, and those of the result.
func quantBinary(op string) func(*unfuser, *ir.Node) {
	return func(u *unfuser, n *ir.Node) {
		u.quantised(n, u.add(n, op, []string{u.value(n, 0), u.value(n, 3)}, nil), 6, n.Input(0))
	}
}

// quantUnary is op of a tensor: X, its scale and zero point, and those of the result. Pools may have
// channels last.
func quantUnary(op string) func(*unfuser, *ir.Node) {
	return func(u *unfuser, n *ir.Node) {
		if n.Int("channels_last", 0) != 0 {
			u.fail("channels_last is not supported")
			return
		}
		attrs := without(n, "channels_last", "opset")
		if op == "Softmax" && n.Int("opset", 13) < 13 && n.Int("axis", 1) != -1 { // of a matrix of all axes from one on
			u.fail("Softmax of operator set %d along axis %d is not supported", n.Int("opset", 13), n.Int("axis", 1))
			return
		}
		u.quantised(n, u.add(n, op, []string{u.value(n, 0)}, attrs), 3, n.Input(0))
	}
}

// quantConcat is QLinearConcat(scale, zero point, then X, its scale and its zero point of each).
func (u *unfuser) quantConcat(n *ir.Node) {
	var values []string
	for at := 2; at+2 < len(n.Inputs); at += 3 {
		values = append(values, u.value(n, at))
	}
	u.quantised(n, u.add(n, "Concat", values, n.Attrs), 0, n.Input(2))
}

// quantWhere is QLinearWhere(condition, X, its scale and zero point, the same of Y, and those of the result).
func (u *unfuser) quantWhere(n *ir.Node) {
	value := u.add(n, "Where", []string{n.Input(0), u.value(n, 1), u.value(n, 4)}, nil)
	u.quantised(n, value, 7, n.Input(1))
}

// quantGemm is QGemm(A, its scale and zero point, the same of B, C, scale and zero point of the result). C are
// integers in units of alpha and both scales; without a scale the result are floats.
func (u *unfuser) quantGemm(n *ir.Node) {
	matrix := func(at int, transposed string) string {
		if n.Int(transposed, 0) == 0 {
			return n.Input(at)
		}
		return u.add(n, "Transpose", []string{n.Input(at)}, []ir.Attr{{Name: "perm", Value: []int64{1, 0}}})
	}
	inputs := []string{matrix(0, "transA"), matrix(3, "transB"), n.Input(2), n.Input(5)}
	value := u.add(n, "MatMulInteger", inputs, nil)
	if bias := n.Input(6); bias != "" {
		value = u.add(n, "Add", []string{value, bias}, nil)
	}
	value = u.add(n, "Cast", []string{value}, []ir.Attr{{Name: "to", Value: int64(1)}})
	factor := u.add(n, "Mul", []string{n.Input(1), n.Input(4)}, nil)
	if alpha := floats(n, "alpha"); len(alpha) == 1 && alpha[0] != 1 {
		factor = u.add(n, "Mul", []string{factor, u.constant(n, tensor.Scalar(alpha[0]))}, nil)
	}
	value = u.add(n, "Mul", []string{value, factor}, nil)
	if n.Input(7) == "" {
		u.nodes[len(u.nodes)-1].Outputs = n.Outputs[:1]
		return
	}
	u.quantised(n, value, 7, n.Input(0))
}

// quantAttention is QAttention(X, weights, bias, scale of X, scale of the weights, mask, zero point of X, zero
// point of the weights, past): Attention, which has the rest of the inputs and the attributes.
func (u *unfuser) quantAttention(n *ir.Node) {
	inputs := []string{
		u.valueOf(n, n.Input(0), n.Input(3), n.Input(6)),
		u.valueOf(n, n.Input(1), n.Input(4), n.Input(7), ir.Attr{Name: "axis", Value: int64(1)}),
		n.Input(2), n.Input(5), n.Input(8),
	}
	for len(inputs) > 3 && inputs[len(inputs)-1] == "" {
		inputs = inputs[:len(inputs)-1]
	}
	u.nodes = append(u.nodes, &ir.Node{
		Name: n.Name, Domain: microsoftDomain, Op: "Attention", Version: n.Version, Inputs: inputs,
		Outputs: slices.Clone(n.Outputs), Attrs: n.Attrs,
	})
}
