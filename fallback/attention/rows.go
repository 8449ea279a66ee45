package attention

import (
	"context"
	"slices"

	"github.com/crossattn/xpipe/fallback/kernel"
)

// eachRow computes the task query by query, which sparse patterns, top-k and
// positions of their own need.
func (r *rows) eachRow(ctx context.Context, scratch []float32) {
	w := rowWork{rows: r, scores: scratch[:0:r.chunk]}
	scratch = scratch[r.chunk:]
	w.byDistance, w.dot = scratch[:r.span], scratch[r.span:r.span+1]
	if r.topK > 0 {
		w.best = &best{k: min(r.topK, r.keys)}
	}
	for i := range r.hi - r.lo {
		if ctx.Err() != nil {
			return
		}
		w.row(ctx, i)
	}
}

// rowWork computes one query: pieces of keys gather until a chunk is full.
type rowWork struct {
	*rows
	i          int       // the query, from lo on
	scores     []float32 // of the gathered keys
	runs       []run     // where they lie
	byDistance []float32 // Qc_i.Kr_d, by d
	dot        []float32 // Kc_j.Qr_d of one key
	best       *best     // nil without top-k
}

// run is n keys in a row.
type run struct{ lo, n int }

func (w *rowWork) row(ctx context.Context, i int) {
	w.i = i
	query := w.lo + i
	if w.span > 0 {
		kernel.Dots(w.byDistance, w.query(), w.kr, w.depth)
	}
	end := w.keys
	if w.causal {
		end = min(end, max(0, w.position(query)+1))
	}
	take := func(lo, hi int) {
		for lo, hi = max(lo, 0), min(hi, end); lo < hi && ctx.Err() == nil; {
			n := min(hi-lo, w.chunk-len(w.scores))
			w.gather(query, lo, n)
			if lo += n; len(w.scores) == w.chunk {
				w.flush()
			}
		}
	}
	if w.pattern == nil {
		take(0, end)
	} else {
		w.pattern.Ranges(w.position(query), w.keys, take)
	}
	w.flush()
	if w.best != nil {
		w.takeBest()
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
			kernel.Dots(w.dot, key, w.qr[d*w.depth:], w.depth)
			row[j] += w.byDistance[distance(behind, w.span)] + w.dot[0]
		}
	}
	w.adjust(query, lo, row)
	w.runs = append(w.runs, run{lo, n})
	w.visited.Add(int64(n))
}

// distance is d of DeBERTa: the row of the table for a query that stands so many
// positions behind a key.
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
		w.weigh(w.i, w.scores)
		out := w.out[w.i*w.depthV : (w.i+1)*w.depthV]
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
	slices.SortFunc(b.keys, func(x, y scored) int { return x.key - y.key })
	for _, s := range b.keys {
		one := [1]float32{s.score}
		w.weigh(w.i, one[:])
		kernel.Axpy(w.out[w.i*w.depthV:(w.i+1)*w.depthV], w.v[s.key*w.depthV:(s.key+1)*w.depthV], one[0])
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

// worse says whether a gives way to b: keys come in order, so of equal scores the
// later one is worse.
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
