package ops

import (
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// FusedDomain is the domain of operators that each replace several of a graph. Fusion makes them,
// no file holds them; they check their inputs like any other.
const FusedDomain = "xpipe"

// buildFusedMatMul is MatMul with the operators that follow it. Attribute transB is as in Gemm;
// bias has one element for each column.
func buildFusedMatMul(n *Node) Kernel {
	transB := n.int("transB", 0) != 0
	weights, act := n.packed(1, transB), n.activation()
	if weights == nil {
		n.fail("the second input is no constant matrix")
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := singleInputs(n.Op, in); err != nil {
			return err
		}
		e := act.epilogue()
		if bias := input(in, 2); bias != nil {
			if bias.Len() != weights.N {
				return graphErr("a product with %d columns adds %v", weights.N, bias)
			}
			e.Bias = tensor.Data[float32](bias)
		}
		s, err := matmulShapes(in[0].Shape(), []int{weights.K, weights.N})
		if err != nil {
			return err
		}
		residual := input(in, 3)
		if residual != nil && slices.Equal(residual.Shape(), s.out) {
			e.Residual, residual = tensor.Data[float32](residual), nil
		}
		if out[0], err = matmul(x, in[0], nil, weights, e); err != nil || residual == nil {
			return err
		}
		out[0], err = binary(x, out[0], residual, kernel.Add)
		return err
	})
}

// heads says where the matrices of an attention operand lie: those of [B,H,T,D], of which the first
// two dimensions may be any others, or those of [B,T,H,D] if fusion took the transposition away.
type heads struct {
	data       cells
	sequences  []*kvSequence // of a cache, in place of data: one for each index of dimension 0
	batch      []int         // dimensions before rows and columns
	strides    []int         // of batch
	rows, cols int
	pitch      int // between rows
}

// headsOf reads an operand of attention, of float32 or float16. bthd: rows are dimension 1, heads
// dimension 2.
func headsOf(t *tensor.Tensor, bthd bool) (*heads, error) {
	s := t.Shape()
	if !isCacheType(t.DType()) || len(s) < 2 || bthd && len(s) != 4 {
		return nil, graphErr("attention of %v", t)
	}
	st := stridesOf(s)
	if bthd {
		return &heads{
			data: cellsOf(t), batch: []int{s[0], s[2]}, strides: []int{st[0], st[2]},
			rows: s[1], cols: s[3], pitch: st[1],
		}, nil
	}
	r := len(s)
	h := &heads{batch: s[:r-2], strides: st[:r-2], rows: s[r-2], cols: s[r-1], pitch: st[r-2]}
	if c := cacheOf(t); c != nil {
		h.sequences = c.sequences // with room behind their positions; read where they lie
	} else {
		h.data = cellsOf(t)
	}
	return h, nil
}

// at returns the matrix of one batch index; dimensions of 1 are broadcast.
func (h *heads) at(index []int) kernel.Rows {
	index = index[len(index)-len(h.batch):]
	if h.sequences != nil {
		var at [2]int
		for i, d := range h.batch {
			if d != 1 {
				at[i] = index[i]
			}
		}
		s := h.sequences[at[0]]
		return s.data.rows(at[1]*s.capacity*h.pitch, h.pitch)
	}
	off := 0
	for i, d := range h.batch {
		if d != 1 {
			off += index[i] * h.strides[i]
		}
	}
	return h.data.rows(off, h.pitch)
}

// isHalf says whether the operand is float16.
func (h *heads) isHalf() bool {
	if len(h.sequences) > 0 {
		return h.sequences[0].data.half != nil
	}
	return h.data.half != nil
}

// buildFusedAttention multiplies queries, keys and values. Attributes: q_bthd, k_bthd, v_bthd and
// out_bthd say that an operand is [B,T,H,D]; k_transposed that keys are [...,D,T]; scale multiplies
// the scores. Inputs 3 and 4 are added to the scores, broadcast.
func buildFusedAttention(n *Node) Kernel {
	flag := func(name string) bool { return n.int(name, 0) != 0 }
	qB, kB, vB, outB := flag("q_bthd"), flag("k_bthd"), flag("v_bthd"), flag("out_bthd")
	kT := flag("k_transposed")
	scale := n.float("scale", 1)
	return viaFloatBut([]int{1, 2}, func(x *Context, in, out []*tensor.Tensor) (err error) {
		if err := singleInputs(n.Op, slices.Concat(in[:1], in[3:])); err != nil {
			return err
		}
		if err := cacheInputs(n.Op, in[1:3]); err != nil {
			return err
		}
		q, err := headsOf(in[0], qB)
		if err != nil {
			return err
		}
		k, err := headsOf(in[1], kB)
		if err != nil {
			return err
		}
		v, err := headsOf(in[2], vB)
		if err != nil {
			return err
		}
		keys, depth := k.rows, k.cols
		if kT {
			keys, depth = k.cols, k.rows
		}
		if q.cols != depth || v.rows != keys {
			return graphErr("attention of %v, %v and %v", in[0], in[1], in[2])
		}
		batch, err := broadcastShape(q.batch, k.batch, v.batch)
		if err != nil {
			return err
		}
		scores := append(clone(batch), q.rows, keys)
		var masks []*mask
		for _, t := range in[3:] {
			if t == nil {
				continue
			}
			m, err := maskOf(x, t, scores)
			if err != nil {
				return err
			}
			masks = append(masks, m)
		}
		shape := append(clone(batch), q.rows, v.cols)
		if outB {
			if len(batch) != 2 {
				return graphErr("attention of %v, %v and %v", in[0], in[1], in[2])
			}
			shape = []int{batch[0], q.rows, batch[1], v.cols}
		}
		r, dst, err := alloc[float32](x, shape)
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		if keys == 0 {
			for i := range dst {
				dst[i] = 0
			}
			return nil
		}
		to, err := headsOf(r, outB)
		if err != nil {
			return err
		}
		head := kernel.AttentionHead{
			Queries: q.rows, Keys: keys, D: depth, DV: v.cols, KTransposed: kT, Scale: scale,
			HalfKV: k.isHalf() || v.isHalf(),
		}
		return eachHead(x, head, batch, func(index []int, h *kernel.AttentionHead) {
			h.Q, h.K, h.V, h.Out = q.at(index), k.at(index), v.at(index), to.at(index)
			if len(masks) > 0 {
				h.Adjust = func(query, lo int, scores []float32) {
					for _, m := range masks {
						kernel.Add(scores, scores, m.at(index, query, lo, len(scores)))
					}
				}
			}
		})
	})
}

// eachHead runs a copy of head for each index of batch, after set has given it its operands. They
// may have fewer keys than head, which scratch is made for. index is set's until the head has run.
func eachHead(x *Context, head kernel.AttentionHead, batch []int,
	set func(index []int, h *kernel.AttentionHead)) error {
	head.Chunk = kernel.EvenChunk(head.Keys, 0)
	// Packing keys and values and the softmax take longer than the products of a small head: a
	// quarter of the operations is worth another goroutine.
	flops := 2 * head.Queries * head.Keys * (head.D + head.DV)
	grain := max(1, minFlops/4/(flops+1))
	// If memory is short, take fewer keys at a time.
	workers, room := int64(x.workers(prod(batch), grain)), x.memory.Room()
	for most := head.Keys; most > 16 && int64(head.Scratch())*4*workers > room; {
		most /= 2
		head.Chunk = kernel.EvenChunk(head.Keys, most)
	}
	return x.ParallelScratch(prod(batch), grain, head.Scratch(), func(lo, hi int, scratch []float32) {
		index, _ := odometer(lo, batch, make([]int, len(batch)), 0)
		for range hi - lo {
			h := head
			set(index, &h)
			h.Run(scratch)
			step(index, batch)
		}
	})
}

// mask is a tensor that broadcasts to the scores [batch..., queries, keys].
type mask struct {
	data    []float32
	strides []int // in the dimensions of the scores, 0 where it repeats
}

func maskOf(x *Context, t *tensor.Tensor, scores []int) (*mask, error) {
	shape, err := broadcastShape(t.Shape(), scores)
	if err != nil || !slices.Equal(shape, scores) {
		return nil, graphErr("attention scores %v with a mask %v", scores, t)
	}
	m := &mask{data: tensor.Data[float32](t), strides: make([]int, len(scores))}
	for i, s := range stridesOf(t.Shape()) {
		if t.Dim(i) != 1 {
			m.strides[len(scores)-t.Rank()+i] = s
		}
	}
	return m, nil
}

// at returns what is added to n scores, of a query with keys from lo on, in the head at index: n
// elements, or one for all.
func (m *mask) at(index []int, query, lo, n int) []float32 {
	at := query * m.strides[len(index)]
	for i, p := range index {
		at += p * m.strides[i]
	}
	perKey := m.strides[len(index)+1]
	if perKey == 0 {
		return m.data[at : at+1]
	}
	return m.data[at+lo : at+lo+n]
}
