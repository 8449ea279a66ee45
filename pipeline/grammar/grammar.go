// Package grammar says which bytes may follow in a text that has to be JSON of a given shape, and which
// tokens of a vocabulary those are. It knows no model: package decode asks it before each token. Shapes
// are a part of JSON Schema; what is not in it is refused by name, never passed over.
package grammar

import "slices"

// Grammar is the shape of a text. It is safe for concurrent use.
type Grammar struct {
	root  *node
	nodes []*node // all of them
}

// kind is what a node's values are.
type kind uint8

const (
	literals kind = iota // one of some texts: enums, booleans, null
	text                 // a string
	number
	object
	array
	either // a value of one of several nodes
)

// node is the shape of a value.
type node struct {
	id   int
	kind kind
	// texts are the literals as JSON writes them, sorted.
	texts []string
	// least and most bound a string's characters; most is -1 without a bound.
	least, most int
	whole       bool       // of numbers: integers alone
	properties  []property // in the order in which they are written
	extra       *node      // of the properties that have no name here; nil: there are none
	items       *node
	nodes       []*node // of either
	need        int     // bytes of the shortest value
}

// property is one of an object's.
type property struct {
	key      string // as JSON writes it, with quotes
	node     *node
	required bool
}

// setNeeds computes how many bytes the shortest value of each node has. Nodes may refer to themselves:
// it repeats until nothing changes. ok is false if some node has no finite value.
func (g *Grammar) setNeeds() (ok bool) {
	for _, n := range g.nodes {
		n.need = unbounded
	}
	for changed := true; changed; {
		changed = false
		for _, n := range g.nodes {
			if need := n.shortest(); need < n.need {
				n.need, changed = need, true
			}
		}
	}
	return !slices.ContainsFunc(g.nodes, func(n *node) bool { return n.need >= unbounded })
}

// unbounded is more than any need.
const unbounded = 1 << 30

func (n *node) shortest() int {
	need := unbounded
	switch n.kind {
	case literals:
		for _, t := range n.texts {
			need = min(need, len(t))
		}
	case text:
		need = n.least + 2
	case number:
		need = 1
	case object:
		need = 2
		for _, p := range n.properties {
			if p.required {
				if need > 2 {
					need++ // the comma
				}
				need = min(unbounded, need+len(p.key)+1+p.node.need)
			}
		}
	case array:
		need = 2
	case either:
		for _, o := range n.nodes {
			need = min(need, o.need)
		}
	}
	return need
}

// required returns how many bytes the required properties from the index on take, with a comma before
// each but the first where first is true.
func (n *node) requiredNeed(from int, first bool) int {
	need := 0
	for _, p := range n.properties[from:] {
		if p.required {
			if !first {
				need++
			}
			first = false
			need += len(p.key) + 1 + p.node.need
		}
	}
	return need
}
