// Package ir holds a graph the way a planner works on it: nodes with their attributes read, the
// node that computes each value, and how often each value is read. Package onnx reads files into
// it; rewrites of a graph never meet protobuf.
package ir

import (
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Graph is a graph of nodes over named values. A value is an input, a constant or the output of one
// node; "" names none. Change Nodes through Replace, SetNodes and Prune, which keep Producer and
// Uses right. A Graph is not safe for concurrent use.
type Graph struct {
	Inputs, Outputs []tensor.Spec
	// Consts holds the values that are known: the initializers that something reads, and whatever a
	// planner has computed since.
	Consts map[string]*tensor.Tensor
	// Nodes stand in an order in which they can run.
	Nodes []*Node
	// Captures lists what a subgraph reads from the graphs around it. It is empty for the graph of
	// a model.
	Captures []string

	producer map[string]*Node
	uses     map[string]int
	kept     map[string]bool // by Keep
}

// New makes a graph. nodes must stand in an order in which they can run, and no two may compute the
// same value.
func New(inputs, outputs []tensor.Spec, consts map[string]*tensor.Tensor, nodes []*Node) *Graph {
	g := &Graph{Inputs: inputs, Outputs: outputs, Consts: consts, kept: map[string]bool{}}
	for _, o := range outputs {
		g.kept[o.Name] = true
	}
	g.SetNodes(nodes)
	known := map[string]bool{"": true}
	for _, i := range inputs {
		known[i.Name] = true
	}
	read := func(value string) {
		if !known[value] && g.producer[value] == nil && consts[value] == nil {
			g.Captures = append(g.Captures, value)
			known[value] = true
		}
	}
	for _, n := range nodes {
		for _, in := range n.Reads() {
			read(in)
		}
	}
	for _, o := range outputs {
		read(o.Name)
	}
	return g
}

// Keep marks a value that must stay although no node reads it. Outputs are kept from the start.
func (g *Graph) Keep(value string) { g.kept[value] = true }

// Producer returns the node that computes a value; nil for inputs, constants and "".
func (g *Graph) Producer(value string) *Node { return g.producer[value] }

// Uses counts the inputs of nodes that read a value. A kept value has one use more.
func (g *Graph) Uses(value string) int {
	if g.kept[value] {
		return g.uses[value] + 1
	}
	return g.uses[value]
}

// Kept says whether a value is an output, or marked by Keep.
func (g *Graph) Kept(value string) bool { return g.kept[value] }

// SetNodes replaces all nodes.
func (g *Graph) SetNodes(nodes []*Node) {
	g.Nodes = nodes
	g.producer, g.uses = make(map[string]*Node, len(nodes)), make(map[string]int, len(nodes))
	for _, n := range nodes {
		g.link(n)
	}
}

// Replace puts n in the place of node i. n may compute fewer values. The nodes that only the old
// one needed stay until Prune.
func (g *Graph) Replace(i int, n *Node) {
	g.unlink(g.Nodes[i])
	g.Nodes[i] = n
	g.link(n)
}

// Prune drops the nodes whose outputs nothing needs.
func (g *Graph) Prune() {
	needed := func(value string) bool { return value != "" && g.Uses(value) > 0 }
	live := make([]*Node, 0, len(g.Nodes))
	for _, n := range slices.Backward(g.Nodes) {
		if slices.ContainsFunc(n.Outputs, needed) {
			live = append(live, n)
		} else {
			g.unlink(n)
		}
	}
	slices.Reverse(live)
	g.Nodes = live
}

func (g *Graph) link(n *Node) {
	for _, o := range n.Outputs {
		if o != "" {
			g.producer[o] = n
		}
	}
	for _, in := range n.Reads() {
		if in != "" {
			g.uses[in]++
		}
	}
}

func (g *Graph) unlink(n *Node) {
	for _, o := range n.Outputs {
		if g.producer[o] == n {
			delete(g.producer, o)
		}
	}
	for _, in := range n.Reads() {
		if in != "" {
			g.uses[in]--
		}
	}
}
