package ops

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// activation is a function that a fused operator applies to its result, in place.
type activation struct {
	f func(dst, src []float32) // nil for none
	// bounds keeps results between low and high, without an f. Both are infinite otherwise, and
	// where there is no such bound.
	bounds    bool
	low, high float32
}

// function is an activation without bounds.
func function(f func(dst, src []float32)) activation {
	return activation{f: f, low: float32(math.Inf(-1)), high: float32(math.Inf(1))}
}

// activationAttr is the attribute of fused operators that holds an activation.
const activationAttr = "activation"

// Activation returns the attribute that makes a fused operator apply the function of n to its
// result; ok is false where n is no activation, or depends on more than its input and consts.
func Activation(n *ir.Node, consts map[string]*tensor.Tensor) (attr ir.Attr, ok bool) {
	d, ok := find(n.Domain, n.Op, n.Version)
	if !ok || d.activate == nil {
		return ir.Attr{}, false
	}
	node := NewNode(n, consts)
	a, ok := d.activate(node)
	return ir.Attr{Name: activationAttr, Value: a}, ok && node.err == nil
}

// Activated says whether a fused operator applies an activation already.
func Activated(n *ir.Node) bool { return n.Has(activationAttr) }

// activation returns the activation of a fused operator.
func (n *Node) activation() activation {
	if a, ok := attribute[activation](n, activationAttr); ok {
		return a
	}
	return function(nil)
}

func relu(*Node) (activation, bool) {
	return activation{bounds: true, low: 0, high: float32(math.Inf(1))}, true
}

func gelu(n *Node) (activation, bool) {
	if n.str("approximate", "none") == "tanh" {
		return function(kernel.GeluTanh), true
	}
	return function(kernel.Gelu), true
}

// swish is the activation of swishOp.
func swish(byDefault float32) func(n *Node) (activation, bool) {
	return func(n *Node) (activation, bool) {
		alpha := n.float("alpha", byDefault)
		return function(func(dst, src []float32) { kernel.Swish(dst, src, alpha) }), true
	}
}

// clip is an activation where its bounds are attributes or constant inputs of floats.
func clip(n *Node) (activation, bool) {
	bounds := [2]float32{float32(math.Inf(-1)), float32(math.Inf(1))}
	for i, name := range [2]string{"min", "max"} {
		bounds[i] = n.float(name, bounds[i])
		if n.left(i + 1) {
			continue
		}
		t := n.Const[i+1]
		if t == nil || t.Len() != 1 || t.DType() != tensor.Float32 && t.DType() != tensor.Float16 {
			return activation{}, false
		}
		bounds[i] = t.Float32s()[0]
	}
	return activation{bounds: true, low: bounds[0], high: bounds[1]}, true
}

// epilogue is the activation as part of a product.
func (a activation) epilogue() *kernel.Epilogue {
	e := &kernel.Epilogue{Activate: a.f}
	if a.bounds {
		e.Bounds = &[2]float32{a.low, a.high}
	}
	return e
}
