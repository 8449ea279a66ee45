package ops

import (
	"math"

	"github.com/crossattn/xpipe/fallback/kernel"
)

// activation is what a fused operator does to its result, in place.
type activation struct {
	f func(dst, src []float32) // nil where there is none
	// bounds: results are kept between low and high, which are infinite where
	// there is no such bound; f is then nil.
	bounds    bool
	low, high float32
}

// activation reads the attributes that fusion gives a node: "activation", and
// its parameters.
func (n *Node) activation() activation {
	a := activation{low: float32(math.Inf(-1)), high: float32(math.Inf(1))}
	name := n.str("activation", "")
	n.oneOf("activation", name, "", "Relu", "Clip", "Gelu", "GeluTanh", "Sigmoid", "Tanh", "Swish", "HardSwish")
	switch name {
	case "Relu":
		a.bounds, a.low = true, 0
	case "Clip":
		a.bounds, a.low, a.high = true, n.float("low", a.low), n.float("high", a.high)
	case "Gelu":
		a.f = kernel.Gelu
	case "GeluTanh":
		a.f = kernel.GeluTanh
	case "Sigmoid":
		a.f = kernel.Sigmoid
	case "Tanh":
		a.f = kernel.Tanh
	case "Swish":
		alpha := n.float("alpha", 1)
		a.f = func(dst, src []float32) { kernel.Swish(dst, src, alpha) }
	case "HardSwish":
		a.f = each(hardSwish)
	}
	return a
}

// epilogue returns the activation as part of a product.
func (a activation) epilogue() *kernel.Epilogue {
	e := &kernel.Epilogue{Activate: a.f}
	if a.bounds {
		e.Bounds = &[2]float32{a.low, a.high}
	}
	return e
}
