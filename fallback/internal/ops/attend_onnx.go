package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// buildAttention is Attention of the default domain: queries, keys and values are [B,heads,L,size] or
// [B,L,heads*size], a mask is boolean or added, and a query whose keys are all masked gives zeros. A
// query stands behind the past, or (from version 24 on) behind the keys that are no padding. Windows
// come with version 25.
func buildAttention(n *Node) Kernel {
	o := &onnxAttention{
		op: n.Op, version: n.Version, heads: n.int("q_num_heads", 0), kvHeads: n.int("kv_num_heads", 0),
		scale: n.float("scale", 0), scaled: n.has("scale"), softcap: n.float("softcap", 0),
		causal: n.int("is_causal", 0) != 0, left: -1, right: -1, mode: n.int("qk_matmul_output_mode", 0),
		present: n.Outputs > 1, scores: n.Outputs > 3 && n.outputs[3] != "",
	}
	if n.Version >= 25 {
		o.left, o.right = n.int("left_window_size", -1), n.int("right_window_size", -1)
	}
	switch {
	case o.mode < 0 || o.mode > 3:
		n.fail("attribute \"qk_matmul_output_mode\" is %d", o.mode)
	case o.left < -1 || o.right < -1:
		n.fail("a window of %d keys before and %d behind", o.left, o.right)
	case n.left(4) != n.left(5):
		n.fail("of the past keys and values, inputs 4 and 5, one alone is given")
	case !n.left(6) && !n.left(4):
		n.fail("input 6, nonpad_kv_seqlen, stands beside a past")
	}
	return viaFloatBut([]int{4, 5}, o.run)
}

type onnxAttention struct {
	op                string
	version           int
	heads, kvHeads    int
	scale, softcap    float32
	scaled, causal    bool
	left, right, mode int
	present, scores   bool
}

func (o *onnxAttention) run(x *Context, in, out []*tensor.Tensor) error {
	mask, pastK, pastV := input(in, 3), input(in, 4), input(in, 5)
	if err := singleInputs(o.op, in[:3]); err != nil {
		return err
	}
	if err := cacheInputs(o.op, []*tensor.Tensor{pastK, pastV}); err != nil {
		return err
	}
	rank := in[0].Rank()
	var parts [3]*heads
	for i, t := range in[:3] {
		count := o.kvHeads
		if i == 0 {
			count = o.heads
		}
		var err error
		switch {
		case t.Rank() != rank || rank != 3 && rank != 4:
			return graphErr("attention of %v, %v and %v", in[0], in[1], in[2])
		case rank == 4:
			parts[i], err = headsOf(t, false)
		case count <= 0 || t.Dim(2)%count != 0:
			return graphErr("attention of %v, %v and %v in %d and %d heads", in[0], in[1], in[2], o.heads, o.kvHeads)
		default:
			parts[i], err = rowHeads(t, 0, count, t.Dim(2)/count)
		}
		if err != nil {
			return err
		}
	}
	a := &attention{
		q: parts[0], k: parts[1], v: parts[2], scale: o.scale, softcap: o.softcap,
		causal: o.causal, hidden: float32(math.Inf(-1)),
	}
	if a.q.batch[0] != a.k.batch[0] || a.q.batch[0] != a.v.batch[0] || a.k.batch[1] != a.v.batch[1] {
		return graphErr("attention of %v, %v and %v", in[0], in[1], in[2])
	}
	if a.k.batch[1] == 0 || a.q.batch[1]%a.k.batch[1] != 0 || a.q.cols != a.k.cols || a.k.rows != a.v.rows {
		return graphErr("attention of %d heads of %v to %d of %v and %v", a.q.batch[1], in[0], a.k.batch[1], in[1], in[2])
	}
	if !o.scaled {
		a.scale = scaleOr(0, a.q.cols)
	}
	if o.left >= 0 {
		a.window = o.left + 1
	}
	if o.right >= 0 && !o.causal {
		a.causal, a.ahead = true, o.right
	}
	have := 0
	if pastK != nil && pastK.Rank() == 4 {
		have = pastK.Dim(2)
	}
	if o.present || pastK != nil {
		for i, past := range []*tensor.Tensor{pastK, pastV} {
			t, err := appendRows(past, parts[1+i])
			if err != nil {
				return err
			}
			if 1+i < len(out) {
				out[1+i] = t
			}
			if parts[1+i], err = headsOf(t, false); err != nil {
				return err
			}
		}
		a.k, a.v = parts[1], parts[2]
	}
	a.keys, a.past = all(a.k.rows), all(have)
	if t := input(in, 6); t != nil {
		lengths, err := intsOf(t)
		if err != nil || len(lengths) != a.q.batch[0] {
			return graphErr("attention of %v with lengths %v", in[0], t)
		}
		for _, l := range lengths {
			if l < 0 || l > a.k.rows {
				return graphErr("attention to %d keys of %d", l, a.k.rows)
			}
		}
		a.keys = func(b int) int { return lengths[b] }
		a.past = func(b int) int { return lengths[b] - a.q.rows }
	}
	if mask != nil {
		m, err := o.mask(x, mask, a.k.rows)
		if err != nil {
			return err
		}
		made, err := maskOf(x, m, []int{a.q.batch[0], a.q.batch[1], a.q.rows, a.k.rows})
		if err != nil {
			return err
		}
		a.masks = append(a.masks, made)
	}
	if o.scores {
		var err error
		if out[3], err = o.matrix(x, a); err != nil {
			return err
		}
	}
	if rank == 3 {
		return a.finish(x, out)
	}
	y, _, err := zeros[float32](x, []int{a.q.batch[0], a.q.batch[1], a.q.rows, a.v.cols})
	if err != nil {
		return err
	}
	out[0] = y
	if y.Len() == 0 || a.k.rows == 0 {
		return nil
	}
	to, err := headsOf(y, false)
	if err != nil {
		return err
	}
	return a.run(x, to)
}

// mask makes a mask of what is added to scores. One with fewer keys than there are masks the others.
func (o *onnxAttention) mask(x *Context, t *tensor.Tensor, keys int) (*tensor.Tensor, error) {
	if t.DType() != tensor.Bool && t.DType() != tensor.Float32 || t.Rank() == 0 {
		return nil, typeErr("a mask", t)
	}
	shape := clone(t.Shape())
	last := len(shape) - 1
	width := shape[last]
	if width < keys && (width != 1 || o.version >= 24) {
		shape[last] = keys
	}
	if shape[last] == width && t.DType() == tensor.Float32 {
		return t, nil
	}
	r, dst, err := alloc[float32](x, shape)
	if err != nil {
		return nil, err
	}
	hidden := float32(math.Inf(-1))
	for i := range dst {
		row, at := i/shape[last], i%shape[last]
		switch from := row*width + at; {
		case at >= width:
			dst[i] = hidden
		case t.DType() == tensor.Float32:
			dst[i] = tensor.Data[float32](t)[from]
		case tensor.Data[bool](t)[from]:
			dst[i] = 0
		default:
			dst[i] = hidden
		}
	}
	return r, nil
}

// matrix is output 3: scores, bounded scores, with masks, or weights.
func (o *onnxAttention) matrix(x *Context, a *attention) (*tensor.Tensor, error) {
	b := *a
	switch o.mode {
	case 0, 1:
		if b.masks, b.causal, b.window, b.keys = nil, false, 0, all(a.k.rows); o.mode == 0 {
			b.softcap = 0
		}
		return b.scores(x, a.k.rows, scoresSeen)
	case 2:
		return b.scores(x, a.k.rows, scoresAll)
	}
	return b.scores(x, a.k.rows, scoresWeights)
}
