package fallback

import (
	"slices"

	"github.com/crossattn/xpipe/onnx/pb"
)

// attention matches softmax(scale*q*k' + masks) * v, with the transpositions
// between [B,T,H,D] and [B,H,T,D] around it. n is the product with v, or the
// transposition after it.
func (f *fuser) attention(n *pb.NodeProto) *pb.NodeProto {
	product, outBTHD := n, false
	if f.permutes(n, 0, 2, 1, 3) {
		if product = f.producer[input(n, 0)]; f.sole(input(n, 0)) != n {
			return nil
		}
		outBTHD = true
	}
	if !is(product, "MatMul") {
		return nil
	}
	softmax := f.producer[input(product, 0)]
	for is(softmax, "Identity") || is(softmax, "Dropout") && input(softmax, 2) == "" {
		softmax = f.producer[input(softmax, 0)]
	}
	if !is(softmax, "Softmax") || attr(softmax, "axis") == nil || attr(softmax, "axis").GetI() != -1 && attr(softmax, "axis").GetI() != 3 {
		return nil
	}
	s, ok := f.scores(input(softmax, 0), 2)
	if !ok {
		return nil
	}
	q, k, v := input(s.product, 0), input(s.product, 1), input(product, 1)
	if x, c, ok := f.scaled(q); ok {
		q, s.scale = x, s.scale*c
	}
	if x, c, ok := f.scaled(k); ok {
		k, s.scale = x, s.scale*c
	}
	attrs := []*pb.AttributeProto{floatAttr("scale", s.scale)}
	flag := func(name string, set bool) {
		if set {
			attrs = append(attrs, intAttr(name, 1))
		}
	}
	flag("out_bthd", outBTHD)
	switch t := f.producer[k]; {
	case f.permutes(t, 0, 2, 3, 1):
		k = input(t, 0)
		flag("k_bthd", true)
	case f.permutes(t, 0, 1, 3, 2), f.permutes(t, 0, 2, 1):
		k = input(t, 0)
		// The keys themselves may be transposed as the values are.
		if t := f.producer[k]; f.permutes(t, 0, 2, 1, 3) {
			k = input(t, 0)
			flag("k_bthd", true)
		}
	default:
		flag("k_transposed", true)
	}
	if t := f.producer[q]; f.permutes(t, 0, 2, 1, 3) {
		q = input(t, 0)
		flag("q_bthd", true)
	}
	if t := f.producer[v]; f.permutes(t, 0, 2, 1, 3) {
		v = input(t, 0)
		flag("v_bthd", true)
	}
	return replace(n, "Attention", append([]string{q, k, v}, s.masks...), attrs...)
}

// append matches the growth of a decoder's cache: what the caller gives and what
// is new, joined along the rows of [B,H,T,D], read in place by attention and given
// back. Whatever else reads it, such as a tap, gets a copy.
func (f *fuser) append(n *pb.NodeProto) *pb.NodeProto {
	if !is(n, "Concat") || len(n.GetInput()) != 2 || !f.output[n.GetOutput()[0]] {
		return nil
	}
	axis := attr(n, "axis").GetI()
	if axis != 2 && axis != -2 {
		return nil
	}
	past, present := input(n, 0), n.GetOutput()[0]
	if f.producer[past] != nil || f.consts[past] != nil {
		return nil
	}
	for _, user := range f.users[present] {
		inPlace := input(user, 1) == present && attr(user, "k_bthd") == nil || input(user, 2) == present && attr(user, "v_bthd") == nil
		if isFused(user, "Attention") && inPlace {
			return replace(n, "Append", n.GetInput(), intAttr("axis", axis))
		}
	}
	return nil
}

// permutes says whether n is a Transpose by perm.
func (f *fuser) permutes(n *pb.NodeProto, perm ...int64) bool {
	return is(n, "Transpose") && slices.Equal(attr(n, "perm").GetInts(), perm)
}

// scoring is how attention scores are computed: scale times a product, plus
// masks.
type scoring struct {
	product *pb.NodeProto
	scale   float64
	masks   []string
}

// scores matches the scores that name stands for, with at most so many masks.
func (f *fuser) scores(name string, masks int) (scoring, bool) {
	n := f.producer[name]
	if is(n, "Add") && masks > 0 {
		for i := range 2 {
			if s, ok := f.scores(input(n, i), masks-1); ok {
				s.masks = append(s.masks, input(n, 1-i))
				return s, true
			}
		}
		return scoring{}, false
	}
	if x, c, ok := f.scaled(name); ok {
		if p := f.producer[x]; is(p, "MatMul") {
			return scoring{product: p, scale: c}, true
		}
		return scoring{}, false
	}
	if is(n, "MatMul") && f.consts[input(n, 0)] == nil && f.consts[input(n, 1)] == nil {
		return scoring{product: n, scale: 1}, true
	}
	return scoring{}, false
}
