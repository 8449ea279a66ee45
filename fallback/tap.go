package fallback

import (
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx/ir"
)

// tap is attention found in a graph and the value that has its probabilities.
type tap struct {
	engine.Tap
	value string
}

// tapper finds attention: a product of softmax(f(q*k')) with values, where f is any arithmetic of
// scales and masks.
type tapper struct {
	*ir.Graph
	products map[*ir.Node]bool // of probabilities and values
}

// maxScoring bounds the nodes between scores and softmax. Exporters write up to five: a scale, two
// masks, a bound and a conversion.
const maxScoring = 12

// findTaps looks at a graph as the file has it, before fusion.
func findTaps(g *ir.Graph) []tap {
	t := &tapper{g, map[*ir.Node]bool{}}
	var taps []tap
	var scores []*ir.Node
	for _, n := range g.Nodes {
		if !t.multiplies(n) {
			continue
		}
		value, softmax := t.probabilities(n)
		if softmax == nil {
			continue
		}
		if product := t.scores(softmax.Input(0), maxScoring); product != nil {
			t.products[n] = true
			taps = append(taps, tap{value: value})
			scores = append(scores, product)
		}
	}
	for i, product := range scores {
		taps[i].Name = fmt.Sprintf("attention.%d", i)
		taps[i].Queries, taps[i].Keys = t.sources(product.Input(0)), t.sources(product.Input(1))
	}
	return taps
}

// addTaps makes the attention inside an If taps of the graph around it: outputs of its node behind its
// own, which have the values of whichever branch runs. branches are the taps of each.
func (p *planner) addTaps(n *node, source *ir.Node, branches [][]engine.Tap) {
	if len(branches) != 2 || len(branches[0]) != len(branches[1]) || source.Op != "If" {
		return
	}
	around := &tapper{p.source, map[*ir.Node]bool{}}
	sources := func(inside ...string) (found []string) {
		for _, name := range inside {
			found = append(found, around.sources(name)...)
		}
		slices.Sort(found)
		return slices.Compact(found)
	}
	n.taps = len(branches[0])
	for i, yes := range branches[0] {
		no := branches[1][i]
		value := fmt.Sprintf("%v/attention.%d", source, i)
		n.out = append(n.out, p.value(value))
		p.inside = append(p.inside, tap{engine.Tap{
			Queries: sources(slices.Concat(yes.Queries, no.Queries)...),
			Keys:    sources(slices.Concat(yes.Keys, no.Keys)...),
		}, value})
	}
}

// multiplies says whether n is a product of two things that a run computes.
func (t *tapper) multiplies(n *ir.Node) bool {
	return (is(n, "MatMul") || is(n, "Einsum")) && len(n.Inputs) == 2 &&
		t.Consts[n.Input(0)] == nil && t.Consts[n.Input(1)] == nil
}

// probabilities walks from a product back to the softmax of its left side. value is what is
// multiplied: in the softmax's shape, and with zeros in the rows that a mask sets to zero after it.
func (t *tapper) probabilities(product *ir.Node) (value string, softmax *ir.Node) {
	value = product.Input(0)
	exact := false // value may not move further back
	for at := value; ; {
		n := t.Producer(at)
		switch {
		case is(n, "Softmax"):
			return value, n
		case is(n, "Identity"), is(n, "Dropout"), is(n, "Cast"), is(n, "Reshape"):
			at = n.Input(0)
		case is(n, "Where"):
			exact = true
			at = n.Input(2) // masked_fill: where(mask, 0, probabilities)
		case is(n, "Mul"):
			exact = true
			at = n.Input(0)
		default:
			return "", nil
		}
		if !exact {
			value = at
		}
	}
}

// scores walks from the input of a softmax back to the product of queries and keys, over at most
// depth nodes.
func (t *tapper) scores(name string, depth int) *ir.Node {
	n := t.Producer(name)
	switch {
	case depth == 0 || n == nil:
		return nil
	case t.multiplies(n):
		return n
	case !ops.Has(n, ops.OnScores):
		return nil
	}
	for _, in := range n.Inputs {
		if p := t.scores(in, depth-1); p != nil {
			return p
		}
	}
	return nil
}

// sources lists the graph inputs that a value was computed from, sorted. What came through
// attention or is only a shape does not count.
func (t *tapper) sources(name string) []string {
	var found []string
	seen := map[string]bool{"": true}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] || t.Consts[name] != nil {
			return
		}
		seen[name] = true
		n := t.Producer(name)
		switch {
		case n == nil:
			found = append(found, name)
		case t.products[n], is(n, "Shape"), is(n, "Size"):
		default:
			for _, in := range n.Reads() {
				visit(in)
			}
		}
	}
	visit(name)
	slices.Sort(found)
	return found
}
