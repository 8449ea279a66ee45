package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// buildGroupQueryAttention is com.microsoft's GroupQueryAttention: causal attention whose groups of
// query heads share a head of keys and values, with its cache and, if asked, rotary embedding. Rows
// of a batch may have different lengths, padded on the right: seqlens_k is the number of keys less
// one, new ones included.
func buildGroupQueryAttention(n *Node) Kernel {
	g := &groupQuery{
		heads: n.int("num_heads", 0), kvHeads: n.int("kv_num_heads", 0), scale: n.float("scale", 0),
		softcap: n.float("softcap", 0), window: n.int("local_window_size", -1),
		rotary: n.int("do_rotary", 0) != 0, interleaved: n.int("rotary_interleaved", 0) != 0,
		smooth: n.int("smooth_softmax", 0) > 0, causal: n.int("causal", 1) != 0, scores: n.int("qk_output", 0),
		bits: [2]int{n.quantizedCache("k"), n.quantizedCache("v")},
	}
	switch {
	case n.Inputs < 7 || n.left(5) || n.left(6):
		n.fail("inputs 5 and 6, the lengths, are left out")
	case g.heads <= 0 || g.kvHeads <= 0 || g.heads%g.kvHeads != 0:
		n.fail("%d heads of queries and %d of keys", g.heads, g.kvHeads)
	case g.scores < 0 || g.scores > 2 || (g.scores > 0) != (n.Outputs > 3):
		n.fail("attribute \"qk_output\" is %d with %d outputs", g.scores, n.Outputs)
	case !g.causal && g.window >= 0:
		n.fail("attribute \"local_window_size\" is %d, and \"causal\" is 0", g.window)
	case n.int("sliding_window_cache", 0) != 0:
		n.fail("attribute \"sliding_window_cache\", a cache of a window's size, is not supported")
	case !n.left(14) || !n.left(15):
		n.fail("inputs 14 and 15, norms of queries and keys, are not supported, nor by ONNX Runtime on the CPU")
	}
	return viaFloatBut([]int{3, 4}, func(x *Context, in, out []*tensor.Tensor) error {
		floats := []*tensor.Tensor{in[0], in[1], in[2], input(in, 7), input(in, 8), input(in, 10), input(in, 11)}
		if err := singleInputs(n.Op, floats); err != nil {
			return err
		}
		caches := make([]*tensor.Tensor, 2)
		for i, bits := range g.bits {
			if bits == 0 {
				caches[i] = in[3+i]
			}
		}
		if err := cacheInputs(n.Op, caches); err != nil {
			return err
		}
		return g.run(x, in, out)
	})
}

type groupQuery struct {
	heads, kvHeads              int
	scale, softcap              float32
	window                      int
	rotary, interleaved, smooth bool
	causal                      bool
	scores                      int    // what output 3 is: 1 for scores, 2 for weights
	bits                        [2]int // of the caches of keys and values; 0 for floats
}

func (g *groupQuery) run(x *Context, in, out []*tensor.Tensor) error {
	a := &attention{softcap: g.softcap, causal: g.causal, hidden: float32(math.Inf(-1))}
	var err error
	if a.q, a.k, a.v, err = g.split(in[0], in[1], in[2]); err != nil {
		return err
	}
	a.scale = scaleOr(g.scale, a.q.cols)
	a.window = max(g.window, 0)
	batch, length := a.q.batch[0], a.q.rows
	ends, err := intsOf(in[5])
	if err != nil {
		return err
	}
	total, err := scalarInt(in[6])
	if err != nil {
		return err
	}
	if len(ends) != batch {
		return graphErr("seqlens_k %v for a batch of %d", in[5], batch)
	}
	have := 0
	if in[3] != nil && in[3].Rank() == 4 {
		have = in[3].Dim(2)
	}
	first := total == length // the prompt, before which there is nothing
	pasts, keys, valid := make([]int, batch), make([]int, batch), make([]int, batch)
	var given []int // how many of the rows are no padding, where the graph says it
	if t := input(in, 16); t != nil {
		if given, err = intsOf(t); err != nil || len(given) != batch {
			return graphErr("query_seqlens %v for a batch of %d", t, batch)
		}
		first = false
	}
	for b, e := range ends {
		keys[b], valid[b] = e+1, length
		if given != nil {
			if valid[b] = given[b]; valid[b] < 0 || valid[b] > length {
				return graphErr("row %d has %d queries of %d", b, valid[b], length)
			}
		}
		if pasts[b] = keys[b] - valid[b]; first {
			pasts[b] = 0
		}
		if e < 0 || keys[b] > total || pasts[b] < 0 || pasts[b] > have || !first && have > 0 && total > have+length {
			return graphErr("row %d has %d keys of %d, with %d new and a cache of %d", b, keys[b], total, length, have)
		}
	}
	a.past = func(b int) int { return pasts[b] }
	a.keys = func(b int) int { return keys[b] }
	if g.rotary {
		if err := g.turn(x, a, in, pasts, valid); err != nil {
			return err
		}
	}
	if err := g.caches(x, a, in, out, pasts, valid, max(total, have)); err != nil {
		return err
	}
	if bias := input(in, 10); bias != nil {
		m, err := maskOf(x, bias, []int{batch, g.heads, length, total})
		if err != nil {
			return err
		}
		a.masks = append(a.masks, m)
	}
	if sinks := input(in, 11); sinks != nil {
		if sinks.Len() != g.heads {
			return graphErr("sinks %v for %d heads", sinks, g.heads)
		}
		a.sinks = tensor.Data[float32](sinks)
	} else if g.smooth {
		a.sinks = make([]float32, g.heads)
	}
	if g.scores > 0 {
		if out[3], err = a.scores(x, total, []int{0, scoresSeen, scoresWeights}[g.scores]); err != nil {
			return err
		}
	}
	return a.finish(x, out)
}

// split finds the heads in three tensors, or in one that has all.
func (g *groupQuery) split(q, k, v *tensor.Tensor) (qh, kh, vh *heads, err error) {
	if q.Rank() != 3 {
		return nil, nil, nil, graphErr("attention of %v", q)
	}
	size, kFrom, vFrom := q.Dim(2)/g.heads, 0, 0
	if k == nil || v == nil {
		if k != nil || v != nil {
			return nil, nil, nil, graphErr("attention with keys or values alone")
		}
		size = q.Dim(2) / (g.heads + 2*g.kvHeads)
		k, v, kFrom, vFrom = q, q, g.heads*size, (g.heads+g.kvHeads)*size
	}
	if qh, err = rowHeads(q, 0, g.heads, size); err != nil {
		return nil, nil, nil, err
	}
	if kh, err = rowHeads(k, kFrom, g.kvHeads, size); err != nil {
		return nil, nil, nil, err
	}
	if vh, err = rowHeads(v, vFrom, g.kvHeads, size); err != nil {
		return nil, nil, nil, err
	}
	if kh.batch[0] != qh.batch[0] || vh.batch[0] != qh.batch[0] || kh.rows != qh.rows || vh.rows != qh.rows {
		return nil, nil, nil, graphErr("attention of %v, %v and %v", q, k, v)
	}
	return qh, kh, vh, nil
}

// turn puts queries and keys, turned by their positions, in place of both. Padding is left to
// chance: it counts as the first position.
func (g *groupQuery) turn(x *Context, a *attention, in []*tensor.Tensor, pasts, valid []int) error {
	r, err := rotaryOf(input(in, 7), input(in, 8), g.interleaved)
	if err != nil {
		return err
	}
	if r.width > a.q.cols || r.width == 0 {
		return graphErr("rotary embedding of %d of %d values", r.width, a.q.cols)
	}
	batch, length, size := a.q.batch[0], a.q.rows, a.q.cols
	position := func(b, i int) int { return pasts[b] + i }
	if p := input(in, 9); p != nil {
		list, err := intsOf(p)
		if err != nil || len(list) != batch*length {
			return graphErr("positions %v for %d rows of %d", p, batch, length)
		}
		position = func(b, i int) int { return list[b*length+i] }
	}
	of := position
	position = func(b, i int) int {
		if i >= valid[b] {
			return 0
		}
		return of(b, i)
	}
	for b := range batch {
		for i := range length {
			if p := position(b, i); p < 0 || p >= r.positions() {
				return graphErr("position %d, and the cosines have %d", p, r.positions())
			}
		}
	}
	for _, h := range []**heads{&a.q, &a.k} {
		from, count := *h, (*h).batch[1]
		t, dst, err := alloc[float32](x, []int{batch, length, count * size})
		if err != nil {
			return err
		}
		if err := x.Parallel(batch*length*count, max(1, minWork/(4*size+1)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				b, at, head := i/(length*count), i/count%length, i%count
				row := from.at([]int{b, head})
				src := row.Data[at*row.Stride : at*row.Stride+size]
				r.turn(dst[i*size:(i+1)*size], src, position(b, at))
			}
		}); err != nil {
			return err
		}
		if *h, err = rowHeads(t, 0, count, size); err != nil {
			return err
		}
	}
	return nil
}

// caches puts new keys and values, so many of each row as are valid, behind the past of each row of the
// batch, in caches of the given length, which become a's keys and values and, as far as they are asked
// for, outputs 1 and 2. Pasts that every row has whole grow in place; caches of fewer bits are floats
// in between.
func (g *groupQuery) caches(
	x *Context, a *attention, in, out []*tensor.Tensor, pasts, valid []int, length int,
) error {
	both, past, have := []**heads{&a.k, &a.v}, []*tensor.Tensor{in[3], in[4]}, [2]int{}
	var scales [2]cacheScales
	even := true
	for i, h := range both {
		var err error
		if scales[i], err = scalesOf(input(in, 12+i), g.bits[i], g.kvHeads, (*h).cols); err != nil {
			return err
		}
		if scales[i].bits != 0 {
			if past[i], err = scales[i].widened(x, past[i], g.kvHeads, (*h).cols); err != nil {
				return err
			}
			if *h, err = scales[i].rounded(x, *h); err != nil {
				return err
			}
		}
		new := *h
		if past[i] != nil {
			if s := past[i].Shape(); len(s) != 4 || s[0] != new.batch[0] || s[1] != new.batch[1] || s[3] != new.cols {
				return graphErr("a cache %v for %d heads of %d values", past[i], new.batch[1], new.cols)
			}
			have[i] = past[i].Dim(2)
		}
		even = even && length == have[i]+new.rows
		for b, p := range pasts {
			even = even && p == have[i] && valid[b] == new.rows
		}
	}
	var joined [2]*tensor.Tensor
	var err error
	if even {
		joined, err = appendBoth(x, past, a.k, a.v)
	} else {
		for i, h := range both {
			if err == nil {
				joined[i], err = g.cache(x, past[i], *h, pasts, valid, have[i], length)
			}
		}
	}
	if err != nil {
		return err
	}
	for i, h := range both {
		if *h, err = headsOf(joined[i], false); err != nil {
			return err
		}
		if i+1 >= len(out) {
			continue
		}
		if out[i+1] = joined[i]; scales[i].bits != 0 {
			if out[i+1], err = scales[i].narrowed(x, joined[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// cache puts new rows, so many of them as are valid, behind the past, of have positions, of each row of
// the batch, in a cache of the given length.
func (g *groupQuery) cache(
	x *Context, past *tensor.Tensor, new *heads, pasts, valid []int, have, length int,
) (*tensor.Tensor, error) {
	size, shape := new.cols, []int{new.batch[0], new.batch[1], length, new.cols}
	t, err := zerosLike(x, past, shape)
	if err != nil || t.Len() == 0 {
		return t, err
	}
	dst := cellsOf(t)
	var old cells
	if past != nil {
		old = cellsOf(past)
	}
	for b := range new.batch[0] {
		for h := range new.batch[1] {
			at := b*new.batch[1] + h
			to := dst.part(at*length*size, length*size)
			to.part(0, pasts[b]*size).set(old.part(at*have*size, pasts[b]*size))
			rows := min(valid[b], length-pasts[b])
			copyRows(to.part(pasts[b]*size, rows*size), new.at([]int{b, h}), rows, size)
		}
	}
	return t, nil
}

// zerosLike allocates zeros of a cache's type, float32 without one.
func zerosLike(x *Context, past *tensor.Tensor, shape []int) (t *tensor.Tensor, err error) {
	if past != nil && past.DType() == tensor.Float16 {
		t, _, err = zeros[tensor.Half](x, shape)
	} else {
		t, _, err = zeros[float32](x, shape)
	}
	return t, err
}
