package fallback

import (
	"slices"

	"github.com/crossattn/xpipe/onnx/ir"
)

// attention matches softmax(scale*q*k' + masks) * v, with the transpositions from [B,T,H,D] to
// [B,H,T,D] before it. n is the product with v.
func (f *fuser) attention(n *ir.Node) *ir.Node {
	if !is(n, "MatMul") {
		return nil
	}
	softmax := f.Producer(n.Input(0))
	for is(softmax, "Identity") || is(softmax, "Dropout") && softmax.Input(2) == "" {
		softmax = f.Producer(softmax.Input(0))
	}
	if !is(softmax, "Softmax") || softmax.Int("axis", 0) != -1 && softmax.Int("axis", 0) != 3 {
		return nil
	}
	s, ok := f.scores(softmax.Input(0), 2)
	if !ok {
		return nil
	}
	q, k, v := s.product.Input(0), s.product.Input(1), n.Input(1)
	if x, c, ok := f.scaled(q); ok {
		q, s.scale = x, s.scale*c
	}
	if x, c, ok := f.scaled(k); ok {
		k, s.scale = x, s.scale*c
	}
	attrs := []ir.Attr{{Name: "scale", Value: float32(s.scale)}}
	flag := func(name string, set bool) {
		if set {
			attrs = append(attrs, ir.Attr{Name: name, Value: int64(1)})
		}
	}
	switch t := f.Producer(k); {
	case f.permutes(t, 0, 2, 3, 1):
		k = t.Input(0)
		flag("k_bthd", true)
	case f.permutes(t, 0, 1, 3, 2), f.permutes(t, 0, 2, 1):
		k = t.Input(0)
		// The keys themselves may be transposed as the values are.
		if t := f.Producer(k); f.permutes(t, 0, 2, 1, 3) {
			k = t.Input(0)
			flag("k_bthd", true)
		}
	default:
		flag("k_transposed", true)
	}
	if t := f.Producer(q); f.permutes(t, 0, 2, 1, 3) {
		q = t.Input(0)
		flag("q_bthd", true)
	}
	if t := f.Producer(v); f.permutes(t, 0, 2, 1, 3) {
		v = t.Input(0)
		flag("v_bthd", true)
	}
	return fused(n, "Attention", append([]string{q, k, v}, s.masks...), attrs...)
}

// joinHeads matches the transposition of fused attention back to [B,T,H,D].
func (f *fuser) joinHeads(n *ir.Node) *ir.Node {
	p, _ := f.into(n, "Attention")
	if p == nil || !f.permutes(n, 0, 2, 1, 3) || p.Has("out_bthd") {
		return nil
	}
	return extend(p, n, 0, "", ir.Attr{Name: "out_bthd", Value: int64(1)})
}

// append matches the growth of a decoder's cache: an input of the graph joined with new rows of
// [B,H,T,D], read in place by attention and given back as an output. Other readers, such as a tap,
// get a copy.
func (f *fuser) append(n *ir.Node) *ir.Node {
	if !is(n, "Concat") || len(n.Inputs) != 2 || !f.Kept(n.Outputs[0]) || !f.inPlace[n.Outputs[0]] {
		return nil
	}
	axis := n.Int("axis", 0)
	if axis != 2 && axis != -2 {
		return nil
	}
	if past := n.Input(0); f.Producer(past) != nil || f.Consts[past] != nil {
		return nil
	}
	return fused(n, "Append", n.Inputs, ir.Attr{Name: "axis", Value: axis})
}

// readInPlace notes the keys and values that attention takes as [B,H,T,D].
func (f *fuser) readInPlace() {
	f.inPlace = map[string]bool{}
	for _, n := range f.Nodes {
		if !isFused(n, "Attention") {
			continue
		}
		for i, transposed := range map[int]string{1: "k_bthd", 2: "v_bthd"} {
			if !n.Has(transposed) {
				f.inPlace[n.Input(i)] = true
			}
		}
	}
}

// permutes says whether n is a Transpose by perm.
func (f *fuser) permutes(n *ir.Node, perm ...int64) bool {
	return is(n, "Transpose") && slices.Equal(n.Ints("perm"), perm)
}

// scoring is how attention scores are computed: scale times a product, plus masks.
type scoring struct {
	product *ir.Node
	scale   float64
	masks   []string
}

// scores matches the scores that name stands for, with at most so many masks.
func (f *fuser) scores(name string, masks int) (scoring, bool) {
	n := f.Producer(name)
	if is(n, "Add") && masks > 0 {
		for i := range 2 {
			if s, ok := f.scores(n.Input(i), masks-1); ok {
				s.masks = append(s.masks, n.Input(1-i))
				return s, true
			}
		}
		return scoring{}, false
	}
	if x, c, ok := f.scaled(name); ok {
		if p := f.Producer(x); is(p, "MatMul") {
			return scoring{product: p, scale: c}, true
		}
		return scoring{}, false
	}
	if is(n, "MatMul") && f.Consts[n.Input(0)] == nil && f.Consts[n.Input(1)] == nil {
		return scoring{product: n, scale: 1}, true
	}
	return scoring{}, false
}
