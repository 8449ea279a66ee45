package fallback

import (
	"slices"
	"strings"

	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// layout decides which images lie in memory with their channels side by side, [N, H, W, C], where
// the graph has [N, C, H, W]. Convolutions are quicker so. A chain begins with a transposition
// before a convolution, goes on through nodes that compute the same from both forms, and ends with
// a transposition where a node wants the form of the graph.
type layout struct {
	*ir.Graph
	nodes  []*ir.Node        // the new ones
	last   map[string]string // values with channels last, by their names in the graph
	first  map[string]bool   // of those in last: there in the form of the graph too
	suffix string            // of names of values with channels last
}

// channelsLast lays out the images of a graph.
func channelsLast(g *ir.Graph) {
	isConv := func(n *ir.Node) bool { return isFused(n, "Conv") || isFused(n, "ConvInteger") }
	i := slices.IndexFunc(g.Nodes, isConv)
	if i < 0 || !slices.ContainsFunc(g.Nodes[i+1:], isConv) {
		return // one alone, as that of a vision transformer's patches, makes no chain
	}
	l := &layout{
		Graph: g, last: map[string]string{}, first: map[string]bool{}, suffix: "/channels last",
	}
	for _, n := range g.Nodes {
		for _, name := range slices.Concat(n.Inputs, n.Outputs) {
			for strings.HasSuffix(name, l.suffix) {
				l.suffix += "'"
			}
		}
	}
	for _, n := range g.Nodes {
		if r := l.turn(n); r != nil {
			l.nodes = append(l.nodes, r)
			continue
		}
		for _, name := range n.Reads() {
			l.back(name)
		}
		l.nodes = append(l.nodes, n)
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			if g.Kept(name) {
				l.back(name)
			}
		}
	}
	g.SetNodes(l.nodes)
	pairs(g)
	bytesOut(g)
}

// bytesOut has convolutions that QuantizeLinear follows give bytes themselves, and depthwise ones
// between DequantizeLinear and QuantizeLinear read bytes, too.
func bytesOut(g *ir.Graph) {
	whole := func(n *ir.Node) bool { // one constant scale and zero point
		scale, zero := g.Consts[n.Input(1)], g.Consts[n.Input(2)]
		return scale != nil && scale.DType() == tensor.Float32 && scale.Len() == 1 && scale.Rank() <= 1 &&
			isByte(zero) && zero.Len() == 1 && zero.Rank() <= 1
	}
	for i, n := range g.Nodes {
		p := g.Producer(n.Input(0))
		if !is(n, "QuantizeLinear") || !whole(n) || p == nil || g.Uses(n.Input(0)) != 1 ||
			p.Input(3) != "" {
			continue
		}
		var r *ir.Node
		switch d := g.Producer(p.Input(0)); {
		case isFused(p, "ConvInteger") && p.Has("channels_last") && len(p.Inputs) == 7:
			r = fused(n, "ConvInteger", slices.Concat(p.Inputs, n.Inputs[1:3]), p.Attrs...)
		case isLastConv(p) && p.Int("group", 1) > 1 && is(d, "DequantizeLinear") && whole(d):
			in := []string{d.Input(0), p.Input(1), p.Input(2), d.Input(1), d.Input(2)}
			r = fused(n, "ConvDepthwiseBytes", append(in, n.Inputs[1:3]...), p.Attrs...)
		default:
			continue
		}
		g.Replace(i, r)
	}
	g.Prune()
}

// gathered is how many channels a convolution may have for its windows to be gathered once in a
// ConvDepthwise, which takes four blocks of channels together: with more, each window would be
// gathered again for every four blocks.
const gathered = 4 * kernel.Block

// pairs joins a convolution with a depthwise one where nothing else reads the result between them.
func pairs(g *ir.Graph) {
	for i, n := range g.Nodes {
		p := g.Producer(n.Input(0))
		if !isLastConv(n) || !isLastConv(p) || n.Int("group", 1) <= 1 || p.Int("group", 1) > 1 ||
			p.Input(3) != "" || g.Uses(p.Outputs[0]) != 1 {
			continue
		}
		if w := g.Consts[p.Input(1)]; w.Dim(2)*w.Dim(3) > 1 && w.Dim(0) > gathered {
			continue
		}
		in := []string{p.Input(0), p.Input(1), n.Input(1), p.Input(2), n.Input(2)}
		if added := n.Input(3); added != "" {
			in = append(in, added)
		}
		attrs := slices.Clone(p.Attrs)
		for _, a := range n.Attrs {
			attrs = append(attrs, ir.Attr{Name: ops.SecondPrefix + a.Name, Value: a.Value})
		}
		g.Replace(i, fused(n, "ConvDepthwise", in, attrs...))
	}
	g.Prune()
}

func isLastConv(n *ir.Node) bool { return isFused(n, "Conv") && n.Has("channels_last") }

// back makes sure that a value is there in the form of the graph.
func (l *layout) back(name string) {
	if l.last[name] == "" || l.first[name] {
		return
	}
	l.first[name] = true
	l.transpose("ChannelsFirst", l.last[name], name)
}

// forth makes sure that a value is there with channels last.
func (l *layout) forth(name string) {
	l.first[name] = true
	l.last[name] = name + l.suffix
	l.transpose("ChannelsLast", name, l.last[name])
}

func (l *layout) transpose(op, from, to string) {
	l.nodes = append(l.nodes, &ir.Node{
		Domain: ops.FusedDomain, Op: op, Inputs: []string{from}, Outputs: []string{to},
	})
}

// turn returns the node with channels last; nil where it has no such form, or nothing is won.
func (l *layout) turn(n *ir.Node) *ir.Node {
	turned := l.last[n.Input(0)] != ""
	switch {
	case isFused(n, "Conv"), isFused(n, "ConvInteger"):
		return l.conv(n)
	case turned && (is(n, "QuantizeLinear") || is(n, "DequantizeLinear")):
		// With one scale, to or from any form.
		scale, zero := l.Consts[n.Input(1)], n.Input(2)
		if scale != nil && scale.Len() == 1 && scale.Rank() <= 1 &&
			(zero == "" || l.Consts[zero] != nil) {
			return l.like(n)
		}
	case turned && ops.Has(n, ops.Elementwise):
		for _, name := range n.Inputs[1:] { // bounds
			if name != "" && l.Consts[name] == nil {
				return nil
			}
		}
		return l.like(n)
	case ops.Has(n, ops.Broadcast):
		return l.broadcast(n)
	case is(n, "Reshape"):
		return l.fromRows(n)
	case is(n, "Transpose"):
		return l.toRows(n)
	case !turned:
	case is(n, "GlobalAveragePool"):
		return l.pooled(n, n.Op, n.Attrs)
	case is(n, "ReduceMean"):
		return l.mean(n)
	case is(n, "Resize"):
		return l.resize(n)
	case is(n, "Concat"):
		return l.concat(n)
	case is(n, "MaxPool"), is(n, "AveragePool"):
		if len(n.Outputs) == 1 && len(n.Ints("kernel_shape")) == 2 {
			return l.pooled(n, n.Op, n.Attrs)
		}
	}
	return nil
}

// broadcast turns an operator on images of one size and single numbers.
func (l *layout) broadcast(n *ir.Node) *ir.Node {
	found := false
	for _, name := range n.Inputs {
		c := l.Consts[name]
		switch {
		case l.last[name] != "":
			found = true
		case c == nil || c.Len() != 1 || c.Rank() > 4:
			return nil
		}
	}
	if !found {
		return nil
	}
	return l.like(n)
}

// like returns n on images with channels last.
func (l *layout) like(n *ir.Node) *ir.Node {
	r := *n
	r.Inputs = slices.Clone(n.Inputs)
	for i, name := range r.Inputs {
		if last := l.last[name]; last != "" {
			r.Inputs[i] = last
		}
	}
	l.result(&r)
	return &r
}

// result renames the output of a node.
func (l *layout) result(n *ir.Node) {
	name := n.Outputs[0]
	n.Outputs = []string{name + l.suffix}
	l.last[name] = n.Outputs[0]
}

// pooled returns the fused operator for a pool of n's first input.
func (l *layout) pooled(n *ir.Node, op string, attrs []ir.Attr) *ir.Node {
	r := fused(n, op, []string{l.last[n.Input(0)]}, attrs...)
	l.result(r)
	return r
}

// resize turns a Resize where its result goes on with channels last: elsewhere it is cheaper to
// transpose the smaller image before.
func (l *layout) resize(n *ir.Node) *ir.Node {
	out := n.Outputs[0]
	goesOn := func(r *ir.Node) bool {
		return slices.Contains(r.Inputs, out) &&
			(isFused(r, "Conv") || is(r, "Concat") || ops.Has(r, ops.Broadcast))
	}
	if l.Kept(out) || !slices.ContainsFunc(l.Nodes, goesOn) {
		return nil
	}
	in := slices.Clone(n.Inputs)
	in[0] = l.last[in[0]]
	r := fused(n, "Resize", in, n.Attrs...)
	r.Version = n.Version
	l.result(r)
	return r
}

// concat turns images that are joined along their channels.
func (l *layout) concat(n *ir.Node) *ir.Node {
	for _, name := range n.Inputs {
		if l.last[name] == "" {
			return nil
		}
	}
	if axis := n.Int("axis", 0); axis != 1 && axis != -3 {
		return nil
	}
	r := l.like(n)
	r.Attrs = []ir.Attr{{Name: "axis", Value: int64(3)}}
	return r
}

// conv turns a fused convolution over two dimensions, in one group or depthwise.
func (l *layout) conv(n *ir.Node) *ir.Node {
	w := l.Consts[n.Input(1)]
	if w == nil || w.Rank() != 4 || w.Len() == 0 || isFused(n, "Conv") && !isFloat(w) {
		return nil
	}
	group := n.Int("group", 1)
	turned := l.last[n.Input(0)] != ""
	depthwise := group == int64(w.Dim(0)) && w.Dim(1) == 1
	if group != 1 && !(depthwise && turned) {
		return nil
	}
	if added := n.Input(3); added != "" && l.last[added] == "" {
		return nil
	}
	if !turned {
		l.forth(n.Input(0))
	}
	r := l.like(n)
	r.Attrs = append(slices.Clone(r.Attrs), ir.Attr{Name: "channels_last", Value: int64(1)})
	return r
}

// mean turns the mean over all positions of an image.
func (l *layout) mean(n *ir.Node) *ir.Node {
	axes := n.Ints("axes")
	if name := n.Input(1); name != "" {
		t := l.Consts[name]
		if t == nil || t.DType() != tensor.Int64 {
			return nil
		}
		axes = tensor.Data[int64](t)
	}
	if len(axes) != 2 || n.Has("noop_with_empty_axes") {
		return nil
	}
	y, x := (axes[0]+4)%4, (axes[1]+4)%4
	if min(x, y) != 2 || max(x, y) != 3 {
		return nil
	}
	if n.Defaults("keepdims", int64(1)) {
		return l.pooled(n, "GlobalAveragePool", nil)
	}
	noDims := ir.Attr{Name: "keepdims", Value: int64(0)}
	return fused(n, "GlobalAveragePool", []string{l.last[n.Input(0)]}, noDims)
}
