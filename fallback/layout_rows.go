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
	if d := l.shape(n, 3); d == nil || slices.Min(d) <= 0 {
		return nil
	}
	r := fused(n, "RowsToImage", []string{rows.Input(0), n.Input(1)})
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
	if d := l.shape(p, 2); d == nil || d[0] != channels && d[0] != 0 {
		return nil
	}
	return fused(n, "ImageToRows", []string{l.last[p.Input(0)], p.Input(1)})
}

// swapsRows says whether a node transposes matrices [N,H,W] to [N,W,H].
func swapsRows(n *ir.Node) bool {
	return is(n, "Transpose") && slices.Equal(n.Ints("perm"), []int64{0, 2, 1})
}

// shape returns the dimensions that a Reshape gives behind the first, so many constants; nil where
// it has no such shape. The first is a constant or computed.
func (l *layout) shape(n *ir.Node, others int) (rest []int64) {
	if n.Int("allowzero", 0) != 0 {
		return nil
	}
	parts, computed := []string{n.Input(1)}, false
	if c := l.Producer(n.Input(1)); is(c, "Concat") {
		parts = c.Inputs
		if computed = l.Consts[parts[0]] == nil; computed {
			parts = parts[1:]
		}
	}
	for _, name := range parts {
		c := l.Consts[name]
		if c == nil || c.DType() != tensor.Int64 {
			return nil
		}
		rest = append(rest, tensor.Data[int64](c)...)
	}
	if !computed && len(rest) > 0 {
		rest = rest[1:]
	}
	if len(rest) != others {
		return nil
	}
	return rest
}
