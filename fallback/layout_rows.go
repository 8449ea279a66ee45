package fallback

import (
	"slices"

	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// Between its convolutions a vision transformer has an image as rows of positions [N,H*W,C], which
// is the image with channels last: the transpositions around a convolution cancel those that turn it.

// fromRows returns the node for an image with channels last that is made of transposed rows, where
// a convolution goes on with it; nil where n is no such Reshape.
func (l *layout) fromRows(n *ir.Node) *ir.Node {
	rows, image := l.Producer(n.Input(0)), n.Outputs[0]
	if !swapsRows(rows) || l.Uses(image) != 1 || !slices.ContainsFunc(l.Nodes, func(r *ir.Node) bool {
		return isFused(r, "Conv") && r.Input(0) == image
	}) {
		return nil
	}
	first, d := l.shape(n, 3)
	if d == nil || slices.Min(d) <= 0 {
		return nil
	}
	r := l.reshape(n, rows.Input(0), first, d[1], d[2], d[0])
	l.result(r)
	return r
}

// toRows returns the node for rows of an image with channels last; nil where n does not transpose
// the rows of a convolution's result.
func (l *layout) toRows(n *ir.Node) *ir.Node {
	p := l.Producer(n.Input(0))
	if !swapsRows(n) || !is(p, "Reshape") || l.last[p.Input(0)] == "" {
		return nil
	}
	conv := l.Producer(p.Input(0))
	if !isFused(conv, "Conv") {
		return nil
	}
	channels := int64(l.Consts[conv.Input(1)].Dim(0))
	first, d := l.shape(p, 2)
	if d == nil || d[0] != channels && d[0] != 0 {
		return nil
	}
	return l.reshape(n, l.last[p.Input(0)], first, d[1], channels)
}

// swapsRows says whether a node transposes matrices [N,H,W] to [N,W,H].
func swapsRows(n *ir.Node) bool {
	return is(n, "Transpose") && slices.Equal(n.Ints("perm"), []int64{0, 2, 1})
}

// shape returns the shape that a Reshape gives: its first dimension, a constant or a value of one
// element, and so many others, which are constant; nil where it has no such shape.
func (l *layout) shape(n *ir.Node, others int) (first string, rest []int64) {
	if n.Int("allowzero", 0) != 0 {
		return "", nil
	}
	parts := []string{n.Input(1)}
	if c := l.Producer(n.Input(1)); is(c, "Concat") {
		parts = c.Inputs
		if l.Consts[parts[0]] == nil {
			first, parts = parts[0], parts[1:]
		}
	}
	for _, name := range parts {
		c := l.Consts[name]
		if c == nil || c.DType() != tensor.Int64 {
			return "", nil
		}
		rest = append(rest, tensor.Data[int64](c)...)
	}
	if first == "" && len(rest) == others+1 {
		first, rest = l.dims(n, "/first", rest[:1]), rest[1:]
	}
	if first == "" || len(rest) != others {
		return "", nil
	}
	return first, rest
}

// reshape returns a Reshape of a value in the place of n, and puts what makes its shape before it.
func (l *layout) reshape(n *ir.Node, value, first string, rest ...int64) *ir.Node {
	shape := n.Outputs[0] + l.suffix + "/shape"
	l.nodes = append(l.nodes, &ir.Node{
		Op: "Concat", Version: 13, Outputs: []string{shape},
		Inputs: []string{first, l.dims(n, "/rest", rest)},
		Attrs:  []ir.Attr{{Name: "axis", Value: int64(0)}},
	})
	return &ir.Node{
		Name: n.Name, Op: "Reshape", Version: 13, Outputs: slices.Clone(n.Outputs),
		Inputs: []string{value, shape},
	}
}

// dims makes a constant of dimensions, for n.
func (l *layout) dims(n *ir.Node, what string, values []int64) string {
	name := n.Outputs[0] + l.suffix + what
	l.Consts[name] = tensor.Must(tensor.New([]int{len(values)}, slices.Clone(values)))
	return name
}
