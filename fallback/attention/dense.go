package attention

import (
	"context"
	"math"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// scratchSizes is what a thread needs: floats, runs of keys and best keys.
func (c *call) scratchSizes() (floats, runs, best int) {
	floats = 2 * rowBlock // running maxima and sums
	if c.rowwise {
		// A run has at least one key, so a chunk has no more runs than keys.
		return floats + c.chunk + c.span + 1, c.chunk, min(c.topK, c.keys)
	}
	return floats + rowBlock*c.chunk + kernel.PanelFloats(c.depth, c.chunk) + kernel.PanelFloats(c.chunk, c.depthV), 0, 0
}

// scratchFloats is the same in floats; Attend's comment states it.
func (c *call) scratchFloats() int {
	floats, runs, best := c.scratchSizes()
	return floats + 4*(runs+best) // a run and a scored key take as much as four floats
}

// scratch is the memory of a thread. Tasks take turns in it, and nothing in it
// grows, or the bound would not hold.
type scratch struct {
	floats []float32
	runs   []run
	best   []scored
}

func (c *call) newScratch() scratch {
	floats, runs, best := c.scratchSizes()
	return scratch{make([]float32, floats), make([]run, 0, runs), make([]scored, 0, best)}
}

// do computes one task.
func (c *call) do(ctx context.Context, t task, s scratch) {
	r := &rows{call: c, task: t}
	kv := (t.batch*c.groups + t.head/(c.heads/c.groups)) * c.keys
	r.q = c.q[(t.batch*c.heads+t.head)*c.queries*c.depth:]
	r.k, r.v = c.k[kv*c.depth:(kv+c.keys)*c.depth], c.v[kv*c.depthV:(kv+c.keys)*c.depthV]
	at := ((t.batch*c.heads+t.head)*c.queries + t.lo) * c.depthV
	r.out = c.out[at : at+(t.hi-t.lo)*c.depthV]
	if c.span > 0 {
		at := t.head * c.span * c.depth
		r.kr = tensor.Data[float32](c.keyTable)[at : at+c.span*c.depth]
		r.qr = tensor.Data[float32](c.qryTable)[at : at+c.span*c.depth]
	}
	r.top, r.sum = s.floats[:rowBlock], s.floats[rowBlock:2*rowBlock]
	s.floats = s.floats[2*rowBlock:]
	for i := range r.top {
		r.top[i], r.sum[i] = hidden, 0
	}
	if c.rowwise {
		r.eachRow(ctx, s)
	} else {
		r.tiles(ctx, s.floats)
	}
	for i := range t.hi - t.lo {
		row := r.out[i*c.depthV : (i+1)*c.depthV]
		if r.sum[i] == 0 {
			clear(row) // the query sees no key
		} else {
			kernel.Scale(row, row, 1/r.sum[i])
		}
	}
}

// rows is the state of one task: results not yet divided by their sums.
type rows struct {
	*call
	task
	q, k, v, out []float32
	kr, qr       []float32 // tables of disentangled positions, of this head
	top, sum     []float32 // by query
}

// tiles computes the task a chunk of keys at a time, all queries together.
func (r *rows) tiles(ctx context.Context, scratch []float32) {
	n := r.hi - r.lo
	scores, panels := scratch[:rowBlock*r.chunk], scratch[rowBlock*r.chunk:]
	end := r.keys
	if r.causal {
		end = min(end, max(0, r.hi+r.keys-r.queries))
	}
	for lo := 0; lo < end && ctx.Err() == nil; lo += r.chunk {
		hi := min(lo+r.chunk, end)
		k := kernel.NewMatrix(panels, r.depth, hi-lo)
		k.FillTransposed(r.k[lo*r.depth:], r.depth, 0, k.Panels())
		v := kernel.NewMatrix(panels[kernel.PanelFloats(r.depth, r.chunk):], hi-lo, r.depthV)
		v.Fill(r.v[lo*r.depthV:], r.depthV, 0, v.Panels())
		k.Multiply(scores, r.chunk, r.q[r.lo*r.depth:], r.depth, n, 0, k.Panels(), false, nil)
		for i := range n {
			row := scores[i*r.chunk : i*r.chunk+hi-lo]
			r.adjust(r.lo+i, lo, row)
			r.weigh(i, row)
		}
		v.Multiply(r.out, r.depthV, scores, r.chunk, n, 0, v.Panels(), true, nil)
		r.visited.Add(int64(n) * int64(hi-lo))
	}
}

// adjust turns the products of a query and keys lo, lo+1 ... into scores.
func (r *rows) adjust(query, lo int, row []float32) {
	if r.factor != 1 {
		kernel.Scale(row, row, r.factor)
	}
	if r.modality[0] != nil {
		mine, others := r.modality[0][query], r.modality[1][lo:lo+len(row)]
		for j, m := range others {
			if m != mine {
				row[j] *= float32(r.gamma)
			}
		}
	}
	for i := range r.bias {
		r.bias[i].apply(row, r.batch(), r.head, query, lo)
	}
	if r.media[0] != nil {
		mine, others := r.media[0][query], r.media[1][lo:lo+len(row)]
		for j, m := range others {
			if mine == 0 || m != mine {
				row[j] = hidden
			}
		}
	}
	if r.causal {
		for j := max(0, r.position(query)+1-lo); j < len(row); j++ {
			row[j] = hidden
		}
	}
}

// batch is the task's; the call has a field of that name too.
func (r *rows) batch() int { return r.task.batch }

// position is where a query stands among the keys.
func (c *call) position(query int) int { return query + c.keys - c.queries }

// weigh turns scores into weights relative to the highest score of the query so
// far, and brings what was summed before to the same scale.
func (r *rows) weigh(i int, row []float32) {
	top := max(r.top[i], kernel.Max(row))
	shift := top
	if math.IsInf(float64(top), -1) {
		shift = 0 // every key so far is hidden: their weights are 0
	}
	sum := kernel.ExpSum(row, row, shift)
	if r.top[i] != top && r.sum[i] != 0 {
		old := float32(math.Exp(float64(r.top[i] - shift)))
		r.sum[i] *= old
		out := r.out[i*r.depthV : (i+1)*r.depthV]
		kernel.Scale(out, out, old)
	}
	r.sum[i] += sum
	r.top[i] = top
}
