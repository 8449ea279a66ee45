// Package attention is scaled dot-product attention as a library: dense or by chunks in bounded
// memory, under boolean, additive, causal and media masks, with grouped heads, over sparse patterns
// of keys, with the temperature between modalities balanced, with disentangled positions. On it
// build multi-head attention with its projections, pooling by learned probes, gated and
// concatenating fusion, and rollout of maps.
//
// It is a public library of the attention core: programs import it for computations of their own,
// and most of its exports are there for them alone. This module's pipelines use Rollout and
// MeanHeads, for maps. Dense attention runs on kernel.AttentionHead, as the pure-Go engine's fused
// operator does; that operator knows only what exported graphs need.
//
// Operands are float32 tensors [B,H,T,D]: batch, heads, positions, width.
package attention

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Option adjusts one call of Attend, and of what is built on it.
type Option func(*options)

type options struct {
	scale     float64 // 0: 1/sqrt(D), 1/sqrt(3D) with disentangled positions
	causal    bool
	masks     []*tensor.Tensor // Bool: true attends; Float32: added
	media     [2][]int         // of queries and keys; nil: none
	gamma     float64
	modality  [2][]int
	pattern   Pattern
	topK      int
	keyTable  *tensor.Tensor // disentangled: Kr
	qryTable  *tensor.Tensor // disentangled: Qr
	chunk     int
	maxMemory int64
	threads   int
	stats     *Stats
}

// Scale multiplies the products of queries and keys; without it, or with 0, they are divided by
// sqrt(D).
func Scale(s float64) Option { return func(o *options) { o.scale = s } }

// Causal lets a query see no key after its own position. The last query stands at the last key:
// query i of T is at position i+S-T of S keys, as in decoding with a cache.
func Causal() Option { return func(o *options) { o.causal = true } }

// Mask hides keys: mask is Bool and broadcasts to [B,H,T,S], true where the query attends to the
// key. Masks add up.
func Mask(mask *tensor.Tensor) Option {
	return func(o *options) { o.masks = append(o.masks, mask) }
}

// Bias is added to the scores: float32, broadcasts to [B,H,T,S]; -Inf hides a key.
func Bias(bias *tensor.Tensor) Option { return Mask(bias) }

// MediaMask is Flamingo's mask (Alayrac et al., 2204.14198, section 3.1.2; text_time and media_time
// of open_flamingo): query i attends to exactly the keys j with keys[j] = queries[i], the number of
// a picture from 1 on. A query with 0 stands before the first picture: it attends to nothing and
// its result is 0.
func MediaMask(queries, keys []int) Option {
	return func(o *options) { o.media = [2][]int{queries, keys} }
}

// Balance multiplies the scores between different modalities by gamma, under one softmax over all
// keys (temperature-adjusted cross-modal attention, TACA, 2506.07986). queries[i] and keys[j]
// number the modality of a position. Gamma 1 changes nothing.
func Balance(gamma float64, queries, keys []int) Option {
	return func(o *options) { o.gamma, o.modality = gamma, [2][]int{queries, keys} }
}

// Sparse visits only the keys of a pattern; other keys cost nothing.
func Sparse(p Pattern) Option { return func(o *options) { o.pattern = p } }

// TopK keeps the k keys of each query with the highest scores, and of equal scores the first. All
// scores are computed; softmax and values take the k that are kept.
func TopK(k int) Option { return func(o *options) { o.topK = k } }

// Disentangled adds DeBERTa's relative positions (He et al., 2006.03654, equations 3 and 4): the
// score of query i and key j is
//
//	Qc_i.Kc_j + Qc_i.Kr_d(i,j) + Kc_j.Qr_d(j,i)
//
// scaled by 1/sqrt(3D), where d(i,j) is i-j+k kept within [0,2k-1]. keyTable (Kr) and queryTable
// (Qr) are float32 [H,2k,D].
func Disentangled(keyTable, queryTable *tensor.Tensor) Option {
	return func(o *options) { o.keyTable, o.qryTable = keyTable, queryTable }
}

// Chunk sets how many keys are weighed at a time; 0 lets the package choose. It changes the result
// by rounding only.
func Chunk(keys int) Option { return func(o *options) { o.chunk = keys } }

// MemoryLimit bounds scratch memory in bytes, for all threads together. To keep it, Attend makes a
// chunk smaller unless Chunk sets it, then uses fewer threads. 0 means no bound. Too small a bound
// is an error.
func MemoryLimit(bytes int64) Option { return func(o *options) { o.maxMemory = bytes } }

// Threads bounds the cores used; 0 means all there are.
func Threads(n int) Option { return func(o *options) { o.threads = n } }

// WithStats reports what a call did.
func WithStats(s *Stats) Option { return func(o *options) { o.stats = s } }

// Stats says what a call did.
type Stats struct {
	// Visited counts pairs of query and key whose score was computed, over all heads. Dense
	// attention computes whole tiles, so with a causal mask it counts more than the mask shows.
	Visited int64
	Chunk   int   // keys weighed at a time
	Scratch int64 // bytes of memory beside the operands and the result
}

// Attend computes softmax(scale*q*k' + masks)*v: q [B,H,T,D], k [B,G,S,D], v [B,G,S,Dv] ->
// [B,H,T,Dv], float32. G divides H: head h reads keys and values h/(H/G) (grouped queries, Ainslie
// et al., 2305.13245; G = H is multi-head, G = 1 multi-query attention). A query that sees no key
// gives 0.
//
// Keys go by chunks with a running maximum and sum (Rabe and Staats, 2112.05682; Milakov and
// Gimelshein, 1805.02867), so that no row of scores exists as a whole. Scratch, in floats and for
// each thread, is at most
//
//	R*(C+2) + D*(C+15) + C*(Dv+15)
//
// for chunks of C keys and tiles of R = 48 queries. Query by query, which Sparse, TopK and
// Disentangled need, it is 2*R + 5*C + 4*K + 2k + 1 for the top K and tables of 2k rows, beside
// what the Pattern itself allocates. It never grows with the number of keys.
//
// Errors wrap engine.ErrInput, or ctx's error; by then all work has stopped.
func Attend(ctx context.Context, q, k, v *tensor.Tensor, opts ...Option) (*tensor.Tensor, error) {
	c, err := newCall(q, k, v, opts)
	if err != nil {
		return nil, err
	}
	out := make([]float32, c.batch*c.heads*c.queries*c.depthV)
	c.out = out
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return tensor.New([]int{c.batch, c.heads, c.queries, c.depthV}, out)
}

// call is one computation: sizes, operands and how to split the work.
type call struct {
	options
	batch, heads, groups int
	queries, keys        int
	depth, depthV        int
	q, k, v, out         []float32
	bias                 []broadcast
	factor               float32 // of the scores
	span                 int     // rows of the tables of disentangled positions
	rowwise              bool    // query by query, not tile by tile
	visited              atomic.Int64
}

func inputErr(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{engine.ErrInput}, args...)...)
}

func newCall(q, k, v *tensor.Tensor, opts []Option) (*call, error) {
	c := &call{}
	for _, opt := range opts {
		opt(&c.options)
	}
	for _, t := range []*tensor.Tensor{q, k, v} {
		if t == nil || t.DType() != tensor.Float32 || t.Rank() != 4 {
			return nil, inputErr("attention takes float32 [B,H,T,D], not %v", t)
		}
	}
	c.batch, c.heads, c.queries, c.depth = q.Dim(0), q.Dim(1), q.Dim(2), q.Dim(3)
	c.groups, c.keys, c.depthV = k.Dim(1), k.Dim(2), v.Dim(3)
	switch {
	case k.Dim(0) != c.batch || v.Dim(0) != c.batch,
		k.Dim(3) != c.depth, v.Dim(1) != c.groups, v.Dim(2) != c.keys:
		return nil, inputErr("queries %v, keys %v and values %v do not fit: "+
			"[B,H,T,D], [B,G,S,D] and [B,G,S,Dv] are needed", q, k, v)
	case c.heads > 0 && (c.groups == 0 || c.heads%c.groups != 0):
		return nil, inputErr("%d heads cannot share %d heads of keys evenly", c.heads, c.groups)
	case c.depth == 0:
		return nil, inputErr("queries %v have no width", q)
	}
	c.q, c.k, c.v = tensor.Data[float32](q), tensor.Data[float32](k), tensor.Data[float32](v)
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, c.plan()
}

// check looks at the options.
func (c *call) check() error {
	for _, m := range c.masks {
		b, err := newBroadcast(m, []int{c.batch, c.heads, c.queries, c.keys})
		if err != nil {
			return err
		}
		c.bias = append(c.bias, b)
	}
	for what, labels := range map[string][2][]int{"media": c.media, "modalities": c.modality} {
		if labels[0] == nil && labels[1] == nil {
			continue
		}
		if len(labels[0]) != c.queries || len(labels[1]) != c.keys {
			return inputErr("%s of %d queries and %d keys for %d and %d",
				what, len(labels[0]), len(labels[1]), c.queries, c.keys)
		}
	}
	switch {
	case math.IsNaN(c.gamma) || math.IsInf(c.gamma, 0):
		return inputErr("gamma is %v", c.gamma)
	case math.IsNaN(c.scale) || math.IsInf(c.scale, 0):
		return inputErr("the scale is %v", c.scale)
	case c.topK < 0 || c.chunk < 0 || c.threads < 0 || c.maxMemory < 0:
		return inputErr("a top-k, chunk, number of threads or memory limit below 0")
	case (c.keyTable == nil) != (c.qryTable == nil):
		return inputErr("disentangled positions need both tables")
	}
	c.factor = float32(c.scale)
	if c.scale == 0 {
		c.factor = float32(1 / math.Sqrt(float64(c.depth)))
	}
	if c.keyTable == nil {
		return nil
	}
	if c.scale == 0 {
		c.factor = float32(1 / math.Sqrt(3*float64(c.depth)))
	}
	for _, t := range []*tensor.Tensor{c.keyTable, c.qryTable} {
		if t.DType() != tensor.Float32 || t.Rank() != 3 || t.Dim(0) != c.heads ||
			t.Dim(2) != c.depth || t.Dim(1)%2 != 0 || t.Dim(1) == 0 ||
			t.Dim(1) != c.keyTable.Dim(1) {
			return inputErr("positions %v for %d heads of width %d: [H,2k,D] is needed",
				t, c.heads, c.depth)
		}
	}
	c.span = c.keyTable.Dim(1)
	return nil
}

const (
	rowBlock     = 48  // queries of a task, a block of kernel.AttentionHead
	defaultChunk = 256 // keys of a chunk
)

// plan chooses chunk and threads within the memory limit.
func (c *call) plan() error {
	c.rowwise = c.pattern != nil || c.topK > 0 || c.span > 0
	if c.threads == 0 {
		c.threads = runtime.GOMAXPROCS(0)
	}
	c.threads = max(1, min(c.threads, len(c.tasks())))
	chosen := c.chunk > 0
	if !chosen {
		c.chunk = defaultChunk
	}
	c.chunk = max(1, min(c.chunk, c.keys))
	for {
		total := int64(c.scratchFloats()) * 4 * int64(c.threads)
		if c.maxMemory == 0 || total <= c.maxMemory {
			if c.stats != nil {
				*c.stats = Stats{Chunk: c.chunk, Scratch: total}
			}
			return nil
		}
		switch {
		case !chosen && c.chunk > 16:
			c.chunk = max(16, c.chunk/2)
		case c.threads > 1:
			c.threads--
		default:
			return inputErr("attention by chunks of %d keys needs %d bytes of scratch, "+
				"more than the limit of %d", c.chunk, total, c.maxMemory)
		}
	}
}

// task is a range of queries of one head.
type task struct{ batch, head, lo, hi int }

// tasks splits the work.
func (c *call) tasks() []task {
	var list []task
	for b := range c.batch {
		for h := range c.heads {
			for lo := 0; lo < c.queries; lo += rowBlock {
				list = append(list, task{b, h, lo, min(lo+rowBlock, c.queries)})
			}
		}
	}
	return list
}

// run computes out.
func (c *call) run(ctx context.Context) error {
	tasks := c.tasks()
	room := make([]*scratch, c.threads)
	kernel.Share(ctx, c.threads, len(tasks), 1, func(worker, lo, hi int) {
		if room[worker] == nil {
			s := c.newScratch()
			room[worker] = &s
		}
		for i := lo; i < hi && ctx.Err() == nil; i++ {
			c.do(ctx, tasks[i], *room[worker])
		}
	})
	if c.stats != nil {
		c.stats.Visited = c.visited.Load()
	}
	return ctx.Err()
}

// broadcast is a tensor that repeats to the shape of the scores.
type broadcast struct {
	add     []float32
	keep    []bool // in place of add
	strides [4]int
}

func newBroadcast(t *tensor.Tensor, scores []int) (broadcast, error) {
	var b broadcast
	if t == nil || t.DType() != tensor.Float32 && t.DType() != tensor.Bool {
		return b, inputErr("a mask is Bool or added float32, not %v", t)
	}
	shape := t.Shape()
	bad := len(shape) > 4
	for i := range min(len(shape), 4) {
		d := shape[len(shape)-1-i]
		bad = bad || d != 1 && d != scores[3-i]
	}
	if bad {
		return b, inputErr("a mask %v does not broadcast to the scores %s",
			t, tensor.FormatShape(scores))
	}
	step := 1
	for i, d := range slices.Backward(shape) {
		if d != 1 {
			b.strides[4-len(shape)+i] = step
		}
		step *= d
	}
	b.add, b.keep = tensor.Data[float32](t), tensor.Data[bool](t)
	return b, nil
}

// apply changes the scores of keys lo, lo+1 ... of a query.
func (b *broadcast) apply(row []float32, batch, head, query, lo int) {
	at := batch*b.strides[0] + head*b.strides[1] + query*b.strides[2] + lo*b.strides[3]
	for j := range row {
		if b.keep == nil {
			row[j] += b.add[at]
		} else if !b.keep[at] {
			row[j] = hidden
		}
		at += b.strides[3]
	}
}

var hidden = float32(math.Inf(-1))
