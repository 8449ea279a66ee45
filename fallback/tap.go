package fallback

import (
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// tap is attention found in a graph and the value that has its probabilities.
type tap struct {
	engine.Tap
	value string
}

// tapper finds attention: a product of softmax(f(q*k')) with values, where f is
// any arithmetic of scales and masks.
type tapper struct {
	consts   map[string]*tensor.Tensor
	producer map[string]*pb.NodeProto
	products map[*pb.NodeProto]bool // of probabilities and values
}

// findTaps looks at nodes as the file has them, before fusion.
func findTaps(nodes []*pb.NodeProto, consts map[string]*tensor.Tensor) []tap {
	t := &tapper{consts: consts, producer: map[string]*pb.NodeProto{}, products: map[*pb.NodeProto]bool{}}
	for _, n := range nodes {
		for _, o := range n.GetOutput() {
			t.producer[o] = n
		}
	}
	var taps []tap
	var scores []*pb.NodeProto
	for _, n := range nodes {
		if !t.multiplies(n) {
			continue
		}
		value, softmax := t.probabilities(n)
		if softmax == nil {
			continue
		}
		if product := t.scores(input(softmax, 0), 12); product != nil {
			t.products[n] = true
			taps = append(taps, tap{value: value})
			scores = append(scores, product)
		}
	}
	for i, product := range scores {
		taps[i].Name = fmt.Sprintf("attention.%d", i)
		taps[i].Queries, taps[i].Keys = t.sources(input(product, 0)), t.sources(input(product, 1))
	}
	return taps
}

// multiplies says whether n is a product of two things that a run computes.
func (t *tapper) multiplies(n *pb.NodeProto) bool {
	return (is(n, "MatMul") || is(n, "Einsum")) && len(n.GetInput()) == 2 && t.consts[input(n, 0)] == nil && t.consts[input(n, 1)] == nil
}

// probabilities walks from a product back to the softmax of its left side. value
// is what is multiplied, with rows that are set to zero after the softmax zero, and
// in the softmax's shape.
func (t *tapper) probabilities(product *pb.NodeProto) (value string, softmax *pb.NodeProto) {
	value = input(product, 0)
	exact := false // value may not move further back
	for at := value; ; {
		n := t.producer[at]
		switch {
		case is(n, "Softmax"):
			return value, n
		case is(n, "Identity"), is(n, "Dropout"), is(n, "Cast"), is(n, "Reshape"):
			at = input(n, 0)
		case is(n, "Where"):
			exact = true
			at = input(n, 2) // masked_fill: where(mask, 0, probabilities)
		case is(n, "Mul"):
			exact = true
			at = input(n, 0)
		default:
			return "", nil
		}
		if !exact {
			value = at
		}
	}
}

// scores walks from the input of a softmax back to the product of queries and
// keys, at most so many nodes.
func (t *tapper) scores(name string, depth int) *pb.NodeProto {
	n := t.producer[name]
	switch {
	case depth == 0 || n == nil:
		return nil
	case t.multiplies(n):
		return n
	}
	switch n.GetOpType() {
	case "Add", "Sub", "Mul", "Div", "Where", "Cast", "Identity", "Reshape", "Max", "Min", "Clip", "Dropout":
		for _, in := range n.GetInput() {
			if p := t.scores(in, depth-1); p != nil {
				return p
			}
		}
	}
	return nil
}

// sources lists the graph inputs that a value was computed from, sorted; what came
// through attention or is only a shape does not count.
func (t *tapper) sources(name string) []string {
	var found []string
	seen := map[string]bool{"": true}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] || t.consts[name] != nil {
			return
		}
		seen[name] = true
		n := t.producer[name]
		switch {
		case n == nil:
			found = append(found, name)
		case t.products[n], is(n, "Shape"), is(n, "Size"):
		default:
			for _, in := range n.GetInput() {
				visit(in)
			}
		}
	}
	visit(name)
	slices.Sort(found)
	return found
}
