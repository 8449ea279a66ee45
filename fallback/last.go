package fallback

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx/ir"
)

// A decoder's head multiplies each position by a matrix as wide as the vocabulary, and whoever
// writes text reads the last position alone. Graphs that take num_logits_to_keep leave the others
// out themselves; in graphs that do not, the positions are cut before the head's product where
// Options.LastPosition allows it, and the run does not ask for all (engine.AllPositions).

// lastPositions cuts the positions of the outputs with those names.
func lastPositions(g *ir.Graph, names []string) {
	for _, o := range g.Outputs {
		if slices.Contains(names, o.Name) && len(o.Shape) == 3 {
			lastPosition(g, o.Name)
		}
	}
}

// lastPosition changes what computes a value [B,T,N], which nothing else may need, so that it has
// the last of T alone. It says whether it did.
func lastPosition(g *ir.Graph, value string) bool {
	n := g.Producer(value)
	if n == nil || g.Uses(value) != 1 {
		return false
	}
	switch {
	case is(n, "MatMul") || is(n, "MatMulInteger"):
		if !isMatrix(g, n.Input(1)) || !flat(g, n.Input(2)) {
			return false
		}
	case n.Op == "MatMulNBits" && n.Domain == "com.microsoft":
	case is(n, "Cast") || is(n, "Identity") || is(n, "Tanh"):
		return lastPosition(g, n.Input(0))
	case is(n, "Add") || is(n, "Sub") || is(n, "Mul") || is(n, "Div"):
		for i := range 2 {
			if flat(g, n.Input(1-i)) {
				return lastPosition(g, n.Input(i))
			}
		}
		return false
	case is(n, "If"):
		return lastOfBranches(g, n, value)
	default:
		return false
	}
	// Of what is quantised by its range the range stays that of all positions.
	name := fmt.Sprintf("%s/last", value)
	cut := &ir.Node{
		Domain: ops.FusedDomain, Op: "LastPosition", Inputs: []string{n.Input(0)}, Outputs: []string{name},
	}
	product := *n
	product.Inputs = slices.Clone(n.Inputs)
	product.Inputs[0] = name
	at := slices.Index(g.Nodes, n)
	nodes := slices.Clone(g.Nodes)
	nodes[at] = &product
	g.SetNodes(slices.Insert(nodes, at, cut))
	return true
}

// lastOfBranches does so in the branches of an If. It says whether any changed.
func lastOfBranches(g *ir.Graph, n *ir.Node, value string) bool {
	output, changed := slices.Index(n.Outputs, value), false
	branches := *n
	branches.Attrs = slices.Clone(n.Attrs)
	for i, a := range n.Attrs {
		b, ok := a.Value.(*ir.Graph)
		if !ok || output >= len(b.Outputs) {
			continue
		}
		consts := maps.Clone(b.Consts)
		for _, name := range b.Captures { // weights that the branches share
			if c := g.Consts[name]; c != nil {
				consts[name] = c
			}
		}
		b = ir.New(slices.Clone(b.Inputs), slices.Clone(b.Outputs), consts, slices.Clone(b.Nodes))
		if !lastPosition(b, b.Outputs[output].Name) {
			continue
		}
		b.Outputs[output].Shape, b.Outputs[output].Dims = nil, nil
		branches.Attrs[i].Value = b
		changed = true
	}
	if changed {
		g.Replace(slices.Index(g.Nodes, n), &branches)
	}
	return changed
}

// isMatrix says whether a value is a constant matrix, or will be once the graph is folded.
func isMatrix(g *ir.Graph, value string) bool {
	if c := g.Consts[value]; c != nil {
		return c.Rank() == 2
	}
	n := g.Producer(value)
	return (is(n, "Transpose") || is(n, "Cast") || is(n, "DequantizeLinear")) && isMatrix(g, n.Input(0))
}

// flat says whether a value has no positions: it is left out, a constant of one dimension at most,
// the scale or zero point of a range, or a product of such.
func flat(g *ir.Graph, value string) bool {
	if value == "" {
		return true
	}
	if c := g.Consts[value]; c != nil {
		return c.Rank() <= 1
	}
	n := g.Producer(value)
	switch {
	case is(n, "DynamicQuantizeLinear"):
		return value != n.Outputs[0]
	case is(n, "Mul"):
		return flat(g, n.Input(0)) && flat(g, n.Input(1))
	}
	return false
}
