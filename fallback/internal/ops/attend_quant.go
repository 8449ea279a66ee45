package ops

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// cacheScales are how a cache [B,heads,T,size] is quantised: to signed numbers of 8 bits, or of 4, of
// which uint8 holds two with 8 added, the first in the lower half. There is one scale, or one for
// each value of a head. GroupQueryAttention computes with what the quantised cache stands for, new
// keys and values included.
type cacheScales struct {
	bits   int // 0: the cache is not quantised
	scales []float32
}

// quantizedCache reads the attributes of a cache's quantisation; which is "k" or "v".
func (n *Node) quantizedCache(which string) (bits int) {
	name := which + "_quant_type"
	kind := n.str(name, "NONE")
	n.oneOf(name, kind, "NONE", "PER_TENSOR", "PER_CHANNEL")
	if kind == "NONE" {
		return 0
	}
	if bits = n.int("kv_cache_bit_width", 8); bits != 8 && bits != 4 {
		n.fail("attribute \"kv_cache_bit_width\" is %d, neither 8 nor 4", bits)
	}
	return bits
}

// scalesOf reads the scales of heads of size values.
func scalesOf(t *tensor.Tensor, bits, heads, size int) (cacheScales, error) {
	if bits == 0 {
		return cacheScales{}, nil
	}
	if t == nil || t.DType() != tensor.Float32 || t.Len() != 1 && t.Len() != heads*size {
		return cacheScales{}, graphErr("a quantised cache of %d heads of %d values with scales %v", heads, size, t)
	}
	if bits == 4 && size%2 != 0 {
		return cacheScales{}, graphErr("a cache of 4 bits of %d values a head, an odd number", size)
	}
	return cacheScales{bits, tensor.Data[float32](t)}, nil
}

// at is the scale of a value of a head.
func (c cacheScales) at(head, value, size int) float32 {
	if len(c.scales) == 1 {
		return c.scales[0]
	}
	return c.scales[head*size+value]
}

// number is a value in steps of a scale.
func (c cacheScales) number(v, scale float32) int {
	if scale == 0 {
		return 0
	}
	half := float64(int(1) << (c.bits - 1))
	return int(min(max(math.RoundToEven(float64(v/scale)), -half), half-1))
}

// widened is what a cache stands for, in float32.
func (c cacheScales) widened(x *Context, t *tensor.Tensor, heads, size int) (*tensor.Tensor, error) {
	if t == nil {
		return nil, nil
	}
	want, per := tensor.Int8, 1
	if c.bits == 4 {
		want, per = tensor.Uint8, 2
	}
	if t.DType() != want || t.Rank() != 4 || t.Dim(1) != heads || t.Dim(3)*per != size {
		return nil, graphErr("a cache %v in %d bits for %d heads of %d values", t, c.bits, heads, size)
	}
	shape := clone(t.Shape())
	shape[3] = size
	r, dst, err := alloc[float32](x, shape)
	if err != nil {
		return nil, err
	}
	rows := shape[2]
	for i := range dst {
		head, value := i/(rows*size)%heads, i%size
		var v float32
		if c.bits == 8 {
			v = float32(tensor.Data[int8](t)[i])
		} else {
			v = float32(int(tensor.Data[uint8](t)[i/2]>>(i%2*4)&15) - 8)
		}
		dst[i] = v * c.at(head, value, size)
	}
	return r, nil
}

// rounded is a copy of heads as the cache will hold them.
func (c cacheScales) rounded(x *Context, h *heads) (*heads, error) {
	batch, count, size := h.batch[0], h.batch[1], h.cols
	t, dst, err := alloc[float32](x, []int{batch, h.rows, count * size})
	if err != nil {
		return nil, err
	}
	for b := range batch {
		for head := range count {
			rows := h.at([]int{b, head})
			for r := range h.rows {
				to := dst[((b*h.rows+r)*count+head)*size:][:size]
				for i, v := range rows.Data[r*rows.Stride:][:size] {
					s := c.at(head, i, size)
					to[i] = float32(c.number(v, s)) * s
				}
			}
		}
	}
	return rowHeads(t, 0, count, size)
}

// narrowed quantises a cache that holds only such numbers.
func (c cacheScales) narrowed(x *Context, t *tensor.Tensor) (*tensor.Tensor, error) {
	heads, rows, size := t.Dim(1), t.Dim(2), t.Dim(3)
	src := tensor.Data[float32](t)
	at := func(i int) int { return c.number(src[i], c.at(i/(rows*size)%heads, i%size, size)) }
	if c.bits == 8 {
		r, dst, err := alloc[int8](x, t.Shape())
		for i := range dst {
			dst[i] = int8(at(i))
		}
		return r, err
	}
	shape := clone(t.Shape())
	shape[3] /= 2
	r, dst, err := alloc[uint8](x, shape)
	for i := range dst {
		dst[i] = uint8(at(2*i)+8) | uint8(at(2*i+1)+8)<<4
	}
	return r, err
}

// What scores gives.
const (
	scoresSeen    = iota // scores, 0 where a query does not see a key
	scoresWeights        // what softmax makes of them
	scoresAll            // scores with what is added to hide keys
)

// scores are those of each query with each of so many keys, [B,heads,queries,keys].
func (a *attention) scores(x *Context, keys, what int) (*tensor.Tensor, error) {
	batch, count, queries, size := a.q.batch[0], a.q.batch[1], a.q.rows, a.q.cols
	t, dst, err := zeros[float32](x, []int{batch, count, queries, keys})
	if err != nil || len(dst) == 0 {
		return t, err
	}
	groups := count / a.k.batch[1]
	return t, x.ParallelScratch(batch*count, 1, size, func(lo, hi int, wide []float32) {
		for i := lo; i < hi; i++ {
			at := []int{i / count, i % count}
			q, k, adjust := a.q.at(at), a.k.at([]int{at[0], at[1] / groups}), a.adjust(at)
			for r := range queries {
				row := dst[(i*queries+r)*keys:][:keys]
				for j := a.keys(at[0]); j < keys && what == scoresAll; j++ {
					row[j] = a.hidden
				}
				row = row[:min(keys, a.keys(at[0]))]
				query := q.Data[r*q.Stride:][:size]
				for j := range row {
					if k.Half != nil {
						kernel.FromHalf(wide, k.Half[j*k.Stride:][:size])
						kernel.Dots(row[j:j+1], query, wide, size)
					} else {
						kernel.Dots(row[j:j+1], query, k.Data[j*k.Stride:], size)
					}
				}
				kernel.Scale(row, row, a.scale)
				if adjust != nil {
					adjust(r, 0, row)
				}
				if what != scoresAll {
					a.seen(row, at[1], what == scoresWeights)
				}
			}
		}
	})
}

// seen sets scores of what is not seen to 0, and others to weights if asked.
func (a *attention) seen(row []float32, head int, weights bool) {
	most, sum := float32(math.Inf(-1)), float64(0)
	for _, v := range row {
		most = max(most, v)
	}
	if weights && a.sinks != nil {
		most = max(most, a.sinks[head])
		sum = math.Exp(float64(a.sinks[head] - most))
	}
	for i, v := range row {
		switch {
		case math.IsInf(float64(v), -1):
			row[i] = 0
		case weights:
			row[i] = float32(math.Exp(float64(v - most)))
			sum += float64(row[i])
		}
	}
	if weights && sum > 0 {
		kernel.Scale(row, row, float32(1/sum))
	}
}
