package ops

import (
	"cmp"
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Attention as ONNX Runtime's own operators have it (com.microsoft; docs/ContribOperators.md):
// heads that lie side by side in rows, caches, masks of several forms. Package fallback recognises
// attention that is written out in other operators, and computes it by buildFusedAttention.

// attention is softmax(scale*Q*K' + masks) * V over heads.
type attention struct {
	q, k, v *heads // batch [B,heads]; k and v may have fewer heads, which groups of q share
	scale   float32
	softcap float32         // bounds scores to softcap*tanh(score/softcap); 0 for none
	window  int             // keys that a query sees, itself included, before which none is; 0: all
	causal  bool            // a query sees no key behind its own position
	ahead   int             // but so many, where causal is set
	past    func(b int) int // the position of the first query of a row of the batch
	keys    func(b int) int // how many keys a row has
	masks   []*mask         // added to the scores
	sinks   []float32       // one for each head of q; nil for none
	hidden  float32         // the score of a key that is not seen
}

// run computes the heads of out.
func (a *attention) run(x *Context, out *heads) error {
	batch := out.batch
	if a.q.cols != a.k.cols || a.k.rows != a.v.rows || a.k.batch[1] == 0 || batch[1]%a.k.batch[1] != 0 {
		return graphErr("attention of %d heads of %d values to %d heads of %d", batch[1], a.q.cols, a.k.batch[1], a.k.cols)
	}
	groups := batch[1] / a.k.batch[1]
	head := kernel.AttentionHead{
		Queries: a.q.rows, Keys: a.k.rows, D: a.q.cols, DV: a.v.cols, Scale: a.scale, ZeroUnseen: true,
		HalfKV: a.k.isHalf() || a.v.isHalf(),
	}
	return eachHead(x, head, batch, func(at []int, h *kernel.AttentionHead) {
		of := []int{at[0], at[1] / groups}
		h.Keys = a.keys(at[0])
		h.Q, h.K, h.V, h.Out = a.q.at(at), a.k.at(of), a.v.at(of), out.at(at)
		h.Adjust = a.adjust(at)
		if a.sinks != nil {
			h.Sink = &a.sinks[at[1]]
		}
	})
}

// adjust returns what changes the scores of a head; nil for nothing.
func (a *attention) adjust(at []int) func(query, lo int, scores []float32) {
	if a.softcap == 0 && !a.causal && a.window == 0 && len(a.masks) == 0 {
		return nil
	}
	first := a.past(at[0])
	return func(query, lo int, scores []float32) {
		if a.softcap != 0 {
			for i, s := range scores {
				scores[i] = a.softcap * float32(math.Tanh(float64(s/a.softcap)))
			}
		}
		for _, m := range a.masks {
			kernel.Add(scores, scores, m.at(at, query, lo, len(scores)))
		}
		own := first + query
		if a.causal {
			for i := max(0, own+1+a.ahead-lo); i < len(scores); i++ {
				scores[i] = a.hidden
			}
		}
		if a.window > 0 {
			for i := range min(len(scores), max(0, own+1-a.window-lo)) {
				scores[i] = a.hidden
			}
		}
	}
}

// rowHeads are heads of one width that lie side by side in the rows of a tensor [B,T,width], from
// column first on.
func rowHeads(t *tensor.Tensor, first, count, size int) (*heads, error) {
	if t.DType() != tensor.Float32 || t.Rank() != 3 || first+count*size > t.Dim(2) {
		return nil, graphErr("attention of %d heads of %d values in %v", count, size, t)
	}
	return &heads{
		data: cells{single: tensor.Data[float32](t)[min(first, t.Len()):]}, batch: []int{t.Dim(0), count},
		strides: []int{t.Dim(1) * t.Dim(2), size}, rows: t.Dim(1), cols: size, pitch: t.Dim(2),
	}, nil
}

// appendBoth is appendRows of keys and of values, each on a core if there are two: a past in memory
// of its own is copied.
func appendBoth(x *Context, past []*tensor.Tensor, k, v *heads) (joined [2]*tensor.Tensor, err error) {
	var errs [2]error
	if err := x.Parallel(2, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			joined[i], errs[i] = appendRows(past[i], []*heads{k, v}[i])
		}
	}); err != nil {
		return joined, err
	}
	return joined, cmp.Or(errs[0], errs[1])
}

// appendRows joins a past [B,heads,P,size], nil for none, and the rows of new, by position, in the
// past's type. The result grows in place where it can (kvCache).
func appendRows(past *tensor.Tensor, new *heads) (*tensor.Tensor, error) {
	b, count, size := new.batch[0], new.batch[1], new.cols
	have := 0
	if past != nil {
		if !isCacheType(past.DType()) || past.Rank() != 4 || past.Dim(0) != b || past.Dim(1) != count || past.Dim(3) != size {
			return nil, graphErr("a cache %v for %d heads of %d values", past, count, size)
		}
		have = past.Dim(2)
	} else {
		var err error
		if past, err = tensor.Zeros(tensor.Float32, b, count, 0, size); err != nil {
			return nil, err
		}
	}
	shape := []int{b, count, have + new.rows, size}
	if _, err := checkShape(shape); err != nil {
		return nil, err
	}
	c := &kvCache{dtype: past.DType(), heads: count, positions: shape[2], width: size}
	alone := func(n, _ int, f func(lo, hi int)) error {
		f(0, n)
		return nil
	}
	if err := c.grow(past, alone); err != nil {
		return nil, err
	}
	for i, s := range c.sequences {
		for h := range count {
			copyRows(c.head(s, h).part(have*size, new.rows*size), new.at([]int{i, h}), new.rows, size)
		}
	}
	return tensor.NewStored(c.dtype, shape, c)
}

// copyRows writes rows of float32 to dst, one behind another.
func copyRows(dst cells, from kernel.Rows, rows, size int) {
	for r := range rows {
		at := r * from.Stride
		dst.part(r*size, size).set(cells{single: from.Data[at : at+size]})
	}
}

// padding makes a mask of what com.microsoft calls mask_index or key_padding_mask: int32 of
// [B] (how many keys a row has), [2B] (their ends, then their starts), [B,keys], [B,queries,keys]
// or [B,1,queries,keys], 0 for what is not seen.
func padding(x *Context, t *tensor.Tensor, batch, queries, keys int, hidden float32) (*mask, error) {
	if t.DType() != tensor.Int32 {
		return nil, typeErr("a mask", t)
	}
	v := tensor.Data[int32](t)
	var seen func(b, q, k int) bool
	rows := 1
	s := t.Shape()
	switch {
	case len(s) == 1 && s[0] == batch:
		seen = func(b, _, k int) bool { return k < int(v[b]) }
	case len(s) == 1 && s[0] == 2*batch:
		seen = func(b, _, k int) bool { return k < int(v[b]) && k >= int(v[batch+b]) }
	case len(s) == 2 && s[0] == batch && s[1] == keys:
		seen = func(b, _, k int) bool { return v[b*keys+k] != 0 }
	case len(s) == 3 && s[0] == batch && s[1] == queries && s[2] == keys:
		rows = queries
		seen = func(b, q, k int) bool { return v[(b*queries+q)*keys+k] != 0 }
	case len(s) == 4 && s[0] == batch && s[1] == 1 && s[2] == s[3] && s[3] >= keys:
		rows = queries
		seen = func(b, q, k int) bool { return v[(b*s[2]+keys-queries+q)*s[3]+k] != 0 }
	default:
		return nil, graphErr("a mask %v for %d rows of %d queries and %d keys", t, batch, queries, keys)
	}
	added, dst, err := alloc[float32](x, []int{batch, 1, rows, keys})
	if err != nil {
		return nil, err
	}
	i := 0
	for b := range batch {
		for q := range rows {
			for k := range keys {
				dst[i] = 0
				if !seen(b, q, k) {
					dst[i] = hidden
				}
				i++
			}
		}
	}
	return maskOf(x, added, []int{batch, 1, queries, keys})
}

// scaleOr is the attribute "scale", or one over the root of a head's width.
func scaleOr(scale float32, size int) float32 {
	if scale != 0 {
		return scale
	}
	return float32(1 / math.Sqrt(float64(size)))
}

// all is a function that gives one number for every row of a batch.
func all(n int) func(int) int { return func(int) int { return n } }

// finish allocates the result [B,T,heads*size], computes it and sets output 0.
func (a *attention) finish(x *Context, out []*tensor.Tensor) error {
	count, size := a.q.batch[1], a.v.cols
	r, _, err := zeros[float32](x, []int{a.q.batch[0], a.q.rows, count * size})
	if err != nil {
		return err
	}
	out[0] = r
	if r.Len() == 0 || a.k.rows == 0 {
		return nil
	}
	to, err := rowHeads(r, 0, count, size)
	if err != nil {
		return err
	}
	return a.run(x, to)
}

// biased adds a part of a bias to a tensor of rows; without a bias it is the tensor.
func biased(x *Context, t, bias *tensor.Tensor, first int) (*tensor.Tensor, error) {
	if bias == nil {
		return t, nil
	}
	width := t.Dim(t.Rank() - 1)
	if bias.DType() != tensor.Float32 || bias.Len() < first+width {
		return nil, graphErr("a bias %v for %v", bias, t)
	}
	r, dst, err := alloc[float32](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	b, src := tensor.Data[float32](bias)[first:first+width], tensor.Data[float32](t)
	return r, x.Parallel(len(dst)/width, max(1, minWork/width), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.Add(dst[i*width:(i+1)*width], src[i*width:(i+1)*width], b)
		}
	})
}

// buildMultiHeadAttention is com.microsoft's MultiHeadAttention. Keys and values are [B,L,width], or
// [B,heads,L,size] of another graph's cache; packed forms are not supported, as in ONNX Runtime on
// the CPU.
func buildMultiHeadAttention(n *Node) Kernel {
	count, scale := n.int("num_heads", 0), n.float("scale", 0)
	causal, hidden := n.int("unidirectional", 0) != 0, n.float("mask_filter_value", -10000)
	if count <= 0 {
		n.fail("attribute \"num_heads\" is %d", count)
	}
	if !n.left(8) || !n.left(9) {
		n.fail("buffers that are shared between runs are not supported")
	}
	if n.Outputs > 3 {
		n.fail("the output of scores is not supported")
	}
	return viaFloatBut([]int{1, 2, 6, 7}, func(x *Context, in, out []*tensor.Tensor) error {
		q, key, value, bias := in[0], input(in, 1), input(in, 2), input(in, 3)
		if q.Rank() != 3 || key == nil || value == nil || count == 0 || q.Dim(2)%count != 0 || key.Rank() != value.Rank() {
			return graphErr("attention of %v, %v and %v in %d heads", q, key, value, count)
		}
		if err := singleInputs(n.Op, []*tensor.Tensor{q, bias, input(in, 5)}); err != nil {
			return err
		}
		if err := cacheInputs(n.Op, []*tensor.Tensor{key, value, input(in, 6), input(in, 7)}); err != nil {
			return err
		}
		width := q.Dim(2)
		size := width / count
		a := &attention{scale: scaleOr(scale, size), causal: causal, hidden: float32(math.Inf(-1))}
		q, err := biased(x, q, bias, 0)
		if err != nil {
			return err
		}
		if a.q, err = rowHeads(q, 0, count, size); err != nil {
			return err
		}
		var keys, values *tensor.Tensor
		if key.Rank() == 4 { // made before, its bias included
			keys, values = key, value
			if input(in, 6) != nil || input(in, 7) != nil {
				return graphErr("attention to keys %v has a cache beside", key)
			}
		} else {
			var both [2]*heads
			for i, t := range []*tensor.Tensor{key, value} {
				if t.Rank() != 3 || t.Dim(2)%count != 0 {
					return graphErr("attention of %v, %v and %v in %d heads", q, key, value, count)
				}
				if t, err = biased(x, t, bias, (i+1)*width); err != nil {
					return err
				}
				rows, err := rowHeads(t, 0, count, t.Dim(2)/count)
				if err != nil {
					return err
				}
				both[i] = rows
			}
			joined, err := appendBoth(x, []*tensor.Tensor{input(in, 6), input(in, 7)}, both[0], both[1])
			if err != nil {
				return err
			}
			keys, values = joined[0], joined[1]
		}
		if a.k, err = headsOf(keys, false); err != nil {
			return err
		}
		if a.v, err = headsOf(values, false); err != nil {
			return err
		}
		if len(a.k.batch) != 2 || a.k.batch[0] != a.q.batch[0] || a.k.batch[1] != count {
			return graphErr("attention of %v to %v in %d heads", q, keys, count)
		}
		have := 0
		if past := input(in, 6); past != nil {
			have = past.Dim(2)
		}
		a.keys, a.past = all(a.k.rows), all(have)
		if err := a.addMasks(x, input(in, 4), input(in, 5), hidden); err != nil {
			return err
		}
		if n.Outputs > 1 {
			out[1] = keys
		}
		if n.Outputs > 2 {
			out[2] = values
		}
		return a.finish(x, out)
	})
}

// addMasks takes the mask of padding and what is added to the scores; either may be nil.
func (a *attention) addMasks(x *Context, pad, bias *tensor.Tensor, hidden float32) error {
	scores := []int{a.q.batch[0], a.q.batch[1], a.q.rows, a.k.rows}
	if pad != nil {
		m, err := padding(x, pad, scores[0], scores[2], scores[3], hidden)
		if err != nil {
			return err
		}
		a.masks = append(a.masks, m)
	}
	if bias != nil {
		m, err := maskOf(x, bias, scores)
		if err != nil {
			return err
		}
		a.masks = append(a.masks, m)
	}
	return nil
}

// buildAttentionMS is com.microsoft's Attention: it makes queries, keys and values of its input, by
// weights [width, queries+keys+values]. The past is [2,B,heads,P,size].
func buildAttentionMS(n *Node) Kernel {
	count, scale := n.int("num_heads", 0), n.float("scale", 0)
	causal, hidden := n.int("unidirectional", 0) != 0, n.float("mask_filter_value", -10000)
	widths := n.ints("qkv_hidden_sizes")
	switch {
	case count <= 0:
		n.fail("attribute \"num_heads\" is %d", count)
	case n.int("do_rotary", 0) != 0:
		n.fail("attribute \"do_rotary\" is not supported, nor by ONNX Runtime on the CPU")
	case n.int("past_present_share_buffer", 0) != 0:
		n.fail("buffers that are shared between runs are not supported")
	case widths != nil && (len(widths) != 3 || widths[0] != widths[1]):
		n.fail("attribute \"qkv_hidden_sizes\" is %v", widths)
	}
	weights := n.packed(1, false)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := singleInputs(n.Op, []*tensor.Tensor{in[0], in[1], input(in, 2), input(in, 4), input(in, 5)}); err != nil {
			return err
		}
		qkv, err := matmul(x, in[0], in[1], weights, nil)
		if err != nil {
			return err
		}
		if qkv, err = biased(x, qkv, input(in, 2), 0); err != nil {
			return err
		}
		if qkv.Rank() != 3 || count == 0 {
			return graphErr("attention of %v", in[0])
		}
		w := widths
		if w == nil {
			w = []int{qkv.Dim(2) / 3, qkv.Dim(2) / 3, qkv.Dim(2) / 3}
		}
		if w[0]+w[1]+w[2] != qkv.Dim(2) || w[0]%count != 0 || w[2]%count != 0 || w[0] < 0 || w[2] < 0 {
			return graphErr("attention of %d heads in %v of %d values", count, w, qkv.Dim(2))
		}
		a := &attention{scale: scaleOr(scale, w[0]/count), causal: causal, hidden: float32(math.Inf(-1))}
		if a.q, err = rowHeads(qkv, 0, count, w[0]/count); err != nil {
			return err
		}
		if a.k, err = rowHeads(qkv, w[0], count, w[1]/count); err != nil {
			return err
		}
		if a.v, err = rowHeads(qkv, w[0]+w[1], count, w[2]/count); err != nil {
			return err
		}
		past := input(in, 4)
		if past != nil || n.Outputs > 1 {
			present, err := joinPast(x, past, a.k, a.v)
			if err != nil {
				return err
			}
			if a.k, a.v, err = halves(present); err != nil {
				return err
			}
			if n.Outputs > 1 {
				out[1] = present
			}
		}
		a.keys, a.past = all(a.k.rows), all(a.k.rows-a.q.rows)
		if err := a.addMasks(x, input(in, 3), input(in, 5), hidden); err != nil {
			return err
		}
		return a.finish(x, out)
	})
}

// joinPast puts a past [2,B,heads,P,size] and new keys and values together.
func joinPast(x *Context, past *tensor.Tensor, k, v *heads) (*tensor.Tensor, error) {
	have := 0
	if past != nil {
		if s := past.Shape(); len(s) != 5 || s[0] != 2 || s[1] != k.batch[0] || s[2] != k.batch[1] || s[4] != k.cols {
			return nil, graphErr("a cache %v for %d heads of %d values", past, k.batch[1], k.cols)
		}
		have = past.Dim(3)
	}
	if k.cols != v.cols {
		return nil, graphErr("a cache of keys of %d values and values of %d", k.cols, v.cols)
	}
	t, dst, err := alloc[float32](x, []int{2, k.batch[0], k.batch[1], have + k.rows, k.cols})
	if err != nil || len(dst) == 0 {
		return t, err
	}
	var old []float32
	if past != nil {
		old = tensor.Data[float32](past)
	}
	for _, h := range []*heads{k, v} {
		for b := range h.batch[0] {
			for i := range h.batch[1] {
				dst = dst[copy(dst, old[:have*h.cols]):]
				old = old[have*h.cols:]
				rows := h.at([]int{b, i})
				for r := range h.rows {
					dst = dst[copy(dst, rows.Data[r*rows.Stride:r*rows.Stride+h.cols]):]
				}
			}
		}
	}
	return t, nil
}

// halves are the keys and the values of a cache [2,B,heads,T,size].
func halves(t *tensor.Tensor) (k, v *heads, err error) {
	s := t.Shape()[1:]
	st := stridesOf(s)
	of := func(data []float32) *heads {
		return &heads{data: cells{single: data}, batch: s[:2], strides: st[:2], rows: s[2], cols: s[3], pitch: st[2]}
	}
	d := tensor.Data[float32](t)
	return of(d[:len(d)/2]), of(d[len(d)/2:]), nil
}
