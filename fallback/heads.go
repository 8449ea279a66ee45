package fallback

import (
	"github.com/crossattn/xpipe/onnx/ir"
)

// findHeads lists the products with constant matrices whose results are outputs of a graph, as they
// are or after steps that take each element for itself, such as a bias or a cast: a decoder's logits,
// a classifier's scores, an embedding. They keep to float32 in every precision. Keys and values of a
// cache are no such outputs: they are split into heads first.
func findHeads(g *ir.Graph) map[*ir.Node]bool {
	heads := map[*ir.Node]bool{}
	for _, o := range g.Outputs {
		if n := headOf(g, o.Name); n != nil {
			heads[n] = true
		}
	}
	return heads
}

// headOf returns the product that makes a value; nil where there is none.
func headOf(g *ir.Graph, value string) *ir.Node {
	for {
		n := g.Producer(value)
		switch {
		case is(n, "MatMul") || is(n, "Gemm") || isFused(n, "MatMul") && n.Input(3) == "":
			return n
		case is(n, "Cast") || is(n, "Identity") || is(n, "Tanh") || is(n, "Sigmoid"):
			value = n.Input(0)
		case is(n, "Add") || is(n, "Sub") || is(n, "Mul") || is(n, "Div"):
			switch {
			case flat(g, n.Input(1)):
				value = n.Input(0)
			case flat(g, n.Input(0)):
				value = n.Input(1)
			default:
				return nil
			}
		default:
			return nil
		}
	}
}
