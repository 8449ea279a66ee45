package ir

import (
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Node applies an operator. A Node is not changed once it is part of a Graph: a rewrite makes a new
// one.
type Node struct {
	Name    string // in the file, for messages; may be ""
	Domain  string // of the operator; "" is ONNX's own
	Op      string
	Version int      // of Domain's operator set that the file imports; 0 for none
	Inputs  []string // "" where an optional one is left out
	Outputs []string
	Attrs   []Attr
}

// Attr is a named attribute of a node.
type Attr struct {
	Name string
	// Value is one of
	//
	//	int64 float32 string []int64 []float32 []string
	//	*tensor.Tensor *Graph []*Graph
	//	Ref    stands for an attribute of the function that the node belongs to
	//	error  says why the file's value cannot be read; the operator that asks for it reports it
	//	nil    the file gives neither a type nor a value, which stands for 0 or an empty list
	//
	// or whatever a rewrite leaves for the operator that it makes.
	Value any
}

// Ref is the name of an attribute of the function around a node.
type Ref string

// Attr returns the value of an attribute; given is false where the node does not have it.
func (n *Node) Attr(name string) (value any, given bool) {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a.Value, true
		}
	}
	return nil, false
}

// Has says whether an attribute is given.
func (n *Node) Has(name string) bool {
	_, given := n.Attr(name)
	return given
}

// Defaults says whether an attribute is left out, or given as its default. value is that default, a
// number or a string.
func (n *Node) Defaults(name string, value any) bool {
	v, given := n.Attr(name)
	return !given || v == value
}

// Int returns an integer attribute, or def where there is none.
func (n *Node) Int(name string, def int64) int64 {
	v, _ := n.Attr(name)
	if i, ok := v.(int64); ok {
		return i
	}
	return def
}

// Ints returns a list of integers; nil where there is none.
func (n *Node) Ints(name string) []int64 {
	v, _ := n.Attr(name)
	list, _ := v.([]int64)
	return list
}

// Input returns the name of input i; "" where the node has none or leaves it out. A nil node has no
// inputs.
func (n *Node) Input(i int) string {
	if n == nil || i >= len(n.Inputs) {
		return ""
	}
	return n.Inputs[i]
}

// Reads lists the values that a node reads: its inputs, and what its subgraphs capture.
func (n *Node) Reads() []string {
	reads := n.Inputs
	for _, a := range n.Attrs {
		switch v := a.Value.(type) {
		case *Graph:
			reads = append(slices.Clip(reads), v.Captures...)
		case []*Graph:
			for _, g := range v {
				reads = append(slices.Clip(reads), g.Captures...)
			}
		}
	}
	return reads
}

// String names the node for messages.
func (n *Node) String() string {
	switch {
	case n.Name != "":
		return fmt.Sprintf("node %q (%s)", n.Name, n.Op)
	case len(n.Outputs) > 0:
		return fmt.Sprintf("node for %q (%s)", n.Outputs[0], n.Op)
	}
	return fmt.Sprintf("a %s node", n.Op)
}

// TypeName names the type of an attribute's value as the ONNX format does, such as INTS.
func TypeName(value any) string {
	switch value.(type) {
	case int64:
		return "INT"
	case float32:
		return "FLOAT"
	case string:
		return "STRING"
	case []int64:
		return "INTS"
	case []float32:
		return "FLOATS"
	case []string:
		return "STRINGS"
	case *tensor.Tensor:
		return "TENSOR"
	case *Graph:
		return "GRAPH"
	case []*Graph:
		return "GRAPHS"
	}
	return fmt.Sprintf("%T", value)
}
