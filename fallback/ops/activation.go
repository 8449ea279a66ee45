package ops

import (
	"math"

	"github.com/crossattn/xpipe/fallback/kernel"
)

// activation is what a fused operator does to its result, in place.
type activation struct {
	f func(dst, src []float32) // nil where there is none
	// bounds: f does nothing but keep results between low and high, which
	// are infinite where there is no such bound.
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
	if a.bounds {
		low, high := a.low, a.high
		a.f = func(dst, src []float32) { kernel.Clip(dst, src, low, high) }
	}
	return a
}
