package attention

import (
	"context"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// scratchSizes returns what a thread needs: floats, runs of keys and best keys.
func (c *call) scratchSizes() (floats, runs, best int) {
	if c.rowwise {
		// Maxima and sums, then a chunk of scores and what belongs to one key. A run has at least
		// one key, so a chunk has no more runs than keys.
		return 2*rowBlock + c.chunk + c.span + 1, c.chunk, min(c.topK, c.keys)
	}
	h := c.kernelHead(rowBlock)
	return h.Scratch(), 0, 0
}

// scratchFloats is the same in floats; Attend's comment states it.
func (c *call) scratchFloats() int {
	floats, runs, best := c.scratchSizes()
	return floats + 4*(runs+best) // a run and a scored key take as much as four floats
}

// scratch is the memory of a thread. Tasks take turns in it, and nothing in it grows, or the bound
// would not hold.
type scratch struct {
	floats []float32
	runs   []run
	best   []scored
}

func (c *call) newScratch() scratch {
	floats, runs, best := c.scratchSizes()
	return scratch{make([]float32, floats), make([]run, 0, runs), make([]scored, 0, best)}
}

// rows is one task with its operands.
type rows struct {
	*call
	task
	q, k, v, out []float32 // of this head; out of this task's queries
	kr, qr       []float32 // tables of disentangled positions, of this head
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
	if c.rowwise {
		r.eachRow(ctx, s)
	} else {
		r.dense(ctx, s.floats)
	}
}

// kernelHead returns the kernel's attention of so many queries, without operands.
func (c *call) kernelHead(queries int) kernel.AttentionHead {
	return kernel.AttentionHead{
		Queries: queries, Keys: c.keys, D: c.depth, DV: c.depthV,
		Scale: c.factor, Chunk: c.chunk, ZeroUnseen: true,
	}
}

// dense computes the task a chunk of keys at a time, all queries together.
func (r *rows) dense(ctx context.Context, scratch []float32) {
	h := r.kernelHead(r.hi - r.lo)
	if r.causal {
		h.Keys = min(h.Keys, max(0, r.position(r.hi))) // what the last query sees
	}
	h.Q = kernel.Rows{Data: r.q[r.lo*r.depth:], Stride: r.depth}
	h.K = kernel.Rows{Data: r.k, Stride: r.depth}
	h.V = kernel.Rows{Data: r.v, Stride: r.depthV}
	h.Out = kernel.Rows{Data: r.out, Stride: r.depthV}
	h.Adjust = func(query, lo int, scores []float32) { r.adjust(r.lo+query, lo, scores) }
	h.Stop = func() bool { return ctx.Err() != nil }
	h.Run(scratch)
	r.visited.Add(int64(h.Queries) * int64(h.Keys))
}

// adjust applies everything but the scale to the scores of a query with keys lo, lo+1 and so on.
func (r *rows) adjust(query, lo int, row []float32) {
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

// batch returns the task's; the call has a field of that name too.
func (r *rows) batch() int { return r.task.batch }

// position returns where a query stands among the keys.
func (c *call) position(query int) int { return query + c.keys - c.queries }
