package fallback

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/fallback/ops"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// layout decides which images lie in memory with their channels side by side,
// [N, H, W, C], where the graph has [N, C, H, W]. Convolutions are quicker so. A
// chain begins with a transposition before a convolution, goes on through nodes
// that compute the same from both forms, and ends with a transposition where a node
// wants the form of the graph.
type layout struct {
	consts map[string]*tensor.Tensor
	nodes  []*pb.NodeProto // the new ones
	last   map[string]string
	first  map[string]bool // of those in last: there in the form of the graph too
	suffix string          // of names of values with channels last
}

// channelsLast lays out nodes, of which kept values are wanted in the form of the
// graph.
func channelsLast(nodes []*pb.NodeProto, consts map[string]*tensor.Tensor, kept []tensor.Spec) []*pb.NodeProto {
	l := &layout{consts: consts, last: map[string]string{}, first: map[string]bool{}, suffix: "/channels last"}
	for _, n := range nodes {
		for _, name := range slices.Concat(n.GetInput(), n.GetOutput()) {
			for strings.HasSuffix(name, l.suffix) {
				l.suffix += "'"
			}
		}
	}
	isConv := func(n *pb.NodeProto) bool { return isFused(n, "Conv") || isFused(n, "ConvInteger") }
	if first := slices.IndexFunc(nodes, isConv); first < 0 || !slices.ContainsFunc(nodes[first+1:], isConv) {
		return nodes // one alone, as that of a vision transformer's patches, makes no chain
	}
	for _, n := range nodes {
		if r := l.turn(n); r != nil {
			l.nodes = append(l.nodes, r)
			continue
		}
		for _, name := range n.GetInput() {
			l.back(name)
		}
		l.nodes = append(l.nodes, n)
	}
	for _, k := range kept {
		l.back(k.Name)
	}
	return pairs(l.nodes, consts)
}

// pairs joins convolutions with the depthwise ones that alone use what they compute.
func pairs(nodes []*pb.NodeProto, consts map[string]*tensor.Tensor) []*pb.NodeProto {
	users, producer := map[string]int{}, map[string]*pb.NodeProto{}
	for _, n := range nodes {
		for _, name := range n.GetInput() {
			users[name]++
		}
		for _, name := range n.GetOutput() {
			producer[name] = n
		}
	}
	joined := map[*pb.NodeProto]bool{}
	nodes = slices.Clone(nodes)
	for i, n := range nodes {
		p := producer[input(n, 0)]
		if !isLastConv(n) || !isLastConv(p) || attr(n, "group").GetI() <= 1 || attr(p, "group").GetI() > 1 || input(p, 3) != "" || users[p.Output[0]] != 1 {
			continue
		}
		if w := consts[input(p, 1)]; w.Dim(2)*w.Dim(3) > 1 && w.Dim(0) > 64 {
			continue // its windows would be gathered again for each few channels
		}
		in := []string{input(p, 0), input(p, 1), input(n, 1), input(p, 2), input(n, 2)}
		if added := input(n, 3); added != "" {
			in = append(in, added)
		}
		attrs := slices.Clone(p.GetAttribute())
		for _, a := range n.GetAttribute() {
			second := proto.Clone(a).(*pb.AttributeProto)
			second.Name = proto.String(ops.SecondPrefix + a.GetName())
			attrs = append(attrs, second)
		}
		nodes[i] = replace(n, "ConvDepthwise", in, attrs...)
		nodes[i].Name, nodes[i].Domain = n.Name, n.Domain
		joined[p] = true
	}
	return slices.DeleteFunc(nodes, func(n *pb.NodeProto) bool { return joined[n] })
}

func isLastConv(n *pb.NodeProto) bool { return isFused(n, "Conv") && attr(n, "channels_last") != nil }

// back makes sure that a value is there in the form of the graph.
func (l *layout) back(name string) {
	if l.last[name] == "" || l.first[name] {
		return
	}
	l.first[name] = true
	l.nodes = append(l.nodes, &pb.NodeProto{
		OpType: proto.String("ChannelsFirst"), Domain: proto.String(ops.FusedDomain),
		Input: []string{l.last[name]}, Output: []string{name},
	})
}

// forth makes sure that a value is there with channels last.
func (l *layout) forth(name string) {
	l.first[name] = true
	l.last[name] = name + l.suffix
	l.nodes = append(l.nodes, &pb.NodeProto{
		OpType: proto.String("ChannelsLast"), Domain: proto.String(ops.FusedDomain),
		Input: []string{name}, Output: []string{l.last[name]},
	})
}

// elementwise are operators of one tensor that compute each element by itself.
var elementwise = map[string]bool{
	"Relu": true, "Clip": true, "Sigmoid": true, "Tanh": true, "HardSwish": true, "HardSigmoid": true, "LeakyRelu": true,
	"Elu": true, "Selu": true, "Celu": true, "Softplus": true, "Mish": true, "Gelu": true, "GeluTanh": true, "Swish": true,
	"Erf": true, "Exp": true, "Abs": true, "Neg": true, "Sqrt": true, "Identity": true,
}

// turn returns the node with channels last; nil where it has no such form, or
// nothing is won.
func (l *layout) turn(n *pb.NodeProto) *pb.NodeProto {
	switch op := n.GetOpType(); {
	case isFused(n, "Conv"), isFused(n, "ConvInteger"):
		return l.conv(n)
	case l.last[input(n, 0)] != "" && (is(n, "QuantizeLinear") || is(n, "DequantizeLinear")):
		// With one scale, to or from any form.
		if s := l.consts[input(n, 1)]; s != nil && s.Len() == 1 && s.Rank() <= 1 && (input(n, 2) == "" || l.consts[input(n, 2)] != nil) {
			return l.like(n)
		}
	case l.last[input(n, 0)] != "" && elementwise[op] && (is(n, op) || isFused(n, op)):
		for _, name := range n.GetInput()[1:] { // bounds
			if name != "" && l.consts[name] == nil {
				return nil
			}
		}
		return l.like(n)
	case is(n, "Add"), is(n, "Sub"), is(n, "Mul"), is(n, "Div"):
		found := false
		for _, name := range n.GetInput() {
			c := l.consts[name]
			switch {
			case l.last[name] != "":
				found = true
			case c == nil || c.Len() != 1 || c.Rank() > 4:
				return nil
			}
		}
		if found {
			return l.like(n)
		}
	case l.last[input(n, 0)] == "":
	case is(n, "GlobalAveragePool"):
		return l.fused(n, "GlobalAveragePool", true)
	case is(n, "ReduceMean"):
		return l.mean(n)
	case (is(n, "MaxPool") || is(n, "AveragePool")) && len(n.GetOutput()) == 1 && len(attr(n, "kernel_shape").GetInts()) == 2:
		return l.fused(n, op, true)
	}
	return nil
}

// like returns n on images with channels last.
func (l *layout) like(n *pb.NodeProto) *pb.NodeProto {
	r := proto.Clone(n).(*pb.NodeProto)
	for i, name := range r.Input {
		if last := l.last[name]; last != "" {
			r.Input[i] = last
		}
	}
	l.result(r)
	return r
}

// fused returns a fused operator on n's first input; images says whether its
// result is one.
func (l *layout) fused(n *pb.NodeProto, op string, images bool, attrs ...*pb.AttributeProto) *pb.NodeProto {
	r := replace(n, op, []string{l.last[input(n, 0)]}, append(slices.Clone(n.GetAttribute()), attrs...)...)
	r.Name, r.Domain = n.Name, proto.String(ops.FusedDomain)
	if images {
		l.result(r)
	}
	return r
}

// result renames what a node computes.
func (l *layout) result(n *pb.NodeProto) {
	name := n.GetOutput()[0]
	n.Output = []string{name + l.suffix}
	l.last[name] = n.Output[0]
}

// conv turns a fused convolution over two dimensions, in one group or depthwise.
func (l *layout) conv(n *pb.NodeProto) *pb.NodeProto {
	w := l.consts[input(n, 1)]
	if w == nil || w.Rank() != 4 || w.Len() == 0 || isFused(n, "Conv") && w.DType() != tensor.Float32 && w.DType() != tensor.Float16 {
		return nil
	}
	group := int64(1)
	if a := attr(n, "group"); a != nil {
		group = a.GetI()
	}
	turned := l.last[input(n, 0)] != ""
	depthwise := group == int64(w.Dim(0)) && w.Dim(1) == 1
	if group != 1 && !(depthwise && turned) {
		return nil
	}
	if added := input(n, 3); added != "" && l.last[added] == "" {
		return nil
	}
	if !turned {
		l.forth(input(n, 0))
	}
	r := l.like(n)
	r.Attribute = append(slices.Clone(r.Attribute), intAttr("channels_last", 1))
	return r
}

// mean turns the mean over all positions of an image.
func (l *layout) mean(n *pb.NodeProto) *pb.NodeProto {
	axes := attr(n, "axes").GetInts()
	if name := input(n, 1); name != "" {
		t := l.consts[name]
		if t == nil || t.DType() != tensor.Int64 {
			return nil
		}
		axes = tensor.Data[int64](t)
	}
	if len(axes) != 2 || (axes[0]+4)%4+(axes[1]+4)%4 != 5 || (axes[0]+4)%4 < 2 || (axes[1]+4)%4 < 2 || attr(n, "noop_with_empty_axes") != nil {
		return nil
	}
	keep := attr(n, "keepdims") == nil || attr(n, "keepdims").GetI() == 1
	r := l.fused(n, "GlobalAveragePool", keep)
	r.Attribute = nil
	if !keep {
		r.Attribute = []*pb.AttributeProto{intAttr("keepdims", 0)}
	}
	return r
}
