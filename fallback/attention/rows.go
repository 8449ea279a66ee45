package attention

import (
	"context"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
)

// eachRow computes the task query by query, which sparse patterns, top-k and positions of their own
// need.
func (r *rows) eachRow(ctx context.Context, s scratch) {
	w := rowWork{rows: r, runs: s.runs}
	w.softmax = kernel.OnlineSoftmax{Max: s.floats[:rowBlock], Sum: s.floats[rowBlock : 2*rowBlock]}
	w.softmax.Reset()
	rest := s.floats[2*rowBlock:]
	w.scores, rest = rest[:0:r.chunk], rest[r.chunk:]
	w.byDistance, w.one = rest[:r.span], rest[r.span:r.span+1]
	if r.topK > 0 {
		w.best = &best{k: cap(s.best), keys: s.best}
	}
	// One function for all rows: patterns take it, so each would be on the heap.
	take := func(lo, hi int) { w.take(ctx, lo, hi) }
	for i := range r.hi - r.lo {
		if ctx.Err() != nil {
			return
		}
		w.row(i, take)
	}
}

// rowWork computes one query at a time: ranges of keys gather until a chunk is full.
type rowWork struct {
	*rows
	softmax    kernel.OnlineSoftmax
	i          int       // the query, from lo on
	end        int       // of the keys that it may see
	scores     []float32 // of the gathered keys
	runs       []run     // where they lie
	byDistance []float32 // Qc_i.Kr_d, by d
	one        []float32 // Kc_j.Qr_d, or the weight, of one key
	best       *best     // nil without top-k
}

// run is n keys in a row.
type run struct{ lo, n int }

func (w *rowWork) row(i int, take func(lo, hi int)) {
	w.i = i
	query := w.lo + i
	if w.span > 0 {
		kernel.Dots(w.byDistance, w.query(), w.kr, w.depth)
	}
	w.end = w.keys
	if w.causal {
		w.end = min(w.end, max(0, w.position(query)+1))
	}
	if w.pattern == nil {
		take(0, w.end)
	} else {
		w.pattern.Ranges(w.position(query), w.keys, take)
	}
	w.flush()
	if w.best != nil {
		w.takeBest()
	}
	out := w.result()
	if sum := w.softmax.Sum[i]; sum == 0 {
		clear(out) // the query sees no key
	} else {
		kernel.Scale(out, out, 1/sum)
	}
}

// result returns the query's part of out.
func (w *rowWork) result() []float32 { return w.out[w.i*w.depthV : (w.i+1)*w.depthV] }

// take gathers keys lo to hi, as far as there are any that the query may see.
func (w *rowWork) take(ctx context.Context, lo, hi int) {
	for lo, hi = max(lo, 0), min(hi, w.end); lo < hi && ctx.Err() == nil; {
		n := min(hi-lo, w.chunk-len(w.scores))
		w.gather(w.lo+w.i, lo, n)
		if lo += n; len(w.scores) == w.chunk {
			w.flush()
		}
	}
}

func (w *rowWork) query() []float32 {
	at := (w.lo + w.i) * w.depth
	return w.q[at : at+w.depth]
}

// gather computes the scores of n keys from lo on.
func (w *rowWork) gather(query, lo, n int) {
	at := len(w.scores)
	w.scores = w.scores[:at+n]
	row := w.scores[at:]
	kernel.Dots(row, w.query(), w.k[lo*w.depth:], w.depth)
	if w.span > 0 {
		for j := range row {
			key := w.k[(lo+j)*w.depth : (lo+j+1)*w.depth]
			behind := w.position(query) - (lo + j)
			d := distance(-behind, w.span)
			kernel.Dots(w.one, key, w.qr[d*w.depth:], w.depth)
			row[j] += w.byDistance[distance(behind, w.span)] + w.one[0]
		}
	}
	if w.factor != 1 {
		kernel.Scale(row, row, w.factor)
	}
	w.adjust(query, lo, row)
	w.runs = append(w.runs, run{lo, n})
	w.visited.Add(int64(n))
}

// distance is d of DeBERTa: the row of the table for a query that stands so many positions behind a
// key.
func distance(behind, span int) int { return min(max(behind+span/2, 0), span-1) }

// flush weighs the gathered keys and adds their values.
func (w *rowWork) flush() {
	if w.best != nil {
		at := 0
		for _, r := range w.runs {
			for j := range r.n {
				w.best.add(w.scores[at+j], r.lo+j)
			}
			at += r.n
		}
	} else if len(w.scores) > 0 {
		out := w.result()
		w.softmax.Weigh(w.i, w.scores, out)
		at := 0
		for _, r := range w.runs {
			kernel.Combine(out, w.scores[at:at+r.n], w.v[r.lo*w.depthV:], w.depthV)
			at += r.n
		}
	}
	w.scores, w.runs = w.scores[:0], w.runs[:0]
}

// takeBest weighs the best keys of the row.
func (w *rowWork) takeBest() {
	b := w.best
	out := w.result()
	slices.SortFunc(b.keys, func(x, y scored) int { return x.key - y.key })
	for _, s := range b.keys {
		w.one[0] = s.score
		w.softmax.Weigh(w.i, w.one, out)
		kernel.Axpy(out, w.v[s.key*w.depthV:(s.key+1)*w.depthV], w.one[0])
	}
	b.keys = b.keys[:0]
}

// best keeps the k highest scores of a row, the worst of them first: a heap.
type best struct {
	k    int
	keys []scored
}

type scored struct {
	score float32
	key   int
}

// worse says whether a gives way to b: keys come in order, so of equal scores the later one is
// worse.
func worse(a, b scored) bool { return a.score < b.score || a.score == b.score && a.key > b.key }

func (b *best) add(score float32, key int) {
	s := scored{score, key}
	if score == hidden {
		return
	}
	if len(b.keys) < b.k {
		b.keys = append(b.keys, s)
		for i := len(b.keys) - 1; i > 0 && worse(b.keys[i], b.keys[(i-1)/2]); i = (i - 1) / 2 {
			b.keys[i], b.keys[(i-1)/2] = b.keys[(i-1)/2], b.keys[i]
		}
		return
	}
	if !worse(b.keys[0], s) {
		return
	}
	b.keys[0] = s
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(b.keys); c++ {
			if worse(b.keys[c], b.keys[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		b.keys[i], b.keys[least] = b.keys[least], b.keys[i]
		i = least
	}
}
