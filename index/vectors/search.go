package vectors

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
)

// Candidate is a slot whose vector may be one of the nearest.
type Candidate struct {
	Slot  int64
	Score float32 // the dot product with the query, about
}

// Set is a set of slots; nil stands for all.
type Set []uint64

// Add adds a slot.
func (s *Set) Add(slot int64) {
	for int64(len(*s)) <= slot/64 {
		*s = append(*s, 0)
	}
	(*s)[slot/64] |= 1 << (slot % 64)
}

func (s Set) has(slot int) bool {
	return s == nil || slot/64 < len(s) && s[slot/64]>>(slot%64)&1 != 0
}

// Spare says how many candidates to ask for so that the k nearest are among them: measured on a million
// vectors, random ones and such as models make, with a recall of 0.999 and more.
func Spare(k int) int { return 4*k + 64 }

// Search finds the n slots of within whose vectors have the greatest dot products with query, by their
// bytes, the greatest first.
func (v *File) Search(ctx context.Context, query []float32, n int, within Set) ([]Candidate, error) {
	all, err := v.SearchAll(ctx, [][]float32{query}, n, within)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// SearchAll is Search for several queries, which share a pass over the file.
func (v *File) SearchAll(ctx context.Context, queries [][]float32, n int, within Set) ([][]Candidate, error) {
	found := make([][]Candidate, len(queries))
	chunks := v.Slots() / chunkSlots
	if len(queries) == 0 || n <= 0 || chunks == 0 {
		return found, ctx.Err()
	}
	shape := kernel.NewByteMatrix(v.dim(), chunkSlots)
	shape.SetZeros([]int32{0}, 0x80)
	rows := shape.Rows(make([]int32, shape.RowInts(len(queries))), len(queries))
	small := make([]uint8, v.dim())
	steps := make([]float32, len(queries))
	for i, q := range queries {
		if len(q) != v.dim() {
			return nil, fmt.Errorf("a vector of %d numbers is sought among such of %d", len(q), v.dim())
		}
		steps[i] = rows.PackFloats(i, q, small)
	}
	workers := min(runtime.GOMAXPROCS(0), chunks)
	tops := make([][]top, workers)
	scores := make([][]float32, workers)
	for w := range workers {
		tops[w] = make([]top, len(queries))
		for i := range tops[w] {
			tops[w][i].most = n
		}
		scores[w] = make([]float32, len(queries)*chunkSlots)
	}
	kernel.Share(ctx, workers, chunks, 1, func(w, lo, hi int) {
		for c := lo; c < hi; c++ {
			chunk := v.mapped[page+c*v.chunkBytes():]
			sums, scale := v.extras(chunk)
			m := shape.Over(chunk, sums)
			m.MultiplyFloat(scores[w], chunkSlots, rows, 0, len(queries), 0, m.Panels(), &kernel.ByteEpilogue{Scale: scale})
			for i := range queries {
				tops[w][i].addAll(scores[w][i*chunkSlots:(i+1)*chunkSlots], c*chunkSlots, within)
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	for i := range queries {
		for w := range workers {
			found[i] = append(found[i], tops[w][i].heap...)
		}
		slices.SortFunc(found[i], better)
		found[i] = found[i][:min(n, len(found[i]))]
		for j := range found[i] {
			found[i][j].Score *= steps[i]
		}
	}
	return found, nil
}

// better orders candidates, the greatest score first.
func better(a, b Candidate) int {
	if a.Score != b.Score {
		return cmp.Compare(b.Score, a.Score)
	}
	return cmp.Compare(a.Slot, b.Slot)
}

// top keeps the best candidates of those added, in a heap whose root is the worst of them.
type top struct {
	most int
	heap []Candidate
}

// addAll adds the scores of slots from first on. NaN stands for a slot without a vector.
func (t *top) addAll(scores []float32, first int, within Set) {
	least := float32(math.Inf(-1))
	if len(t.heap) == t.most {
		least = t.heap[0].Score
	}
	for i, score := range scores {
		if !(score > least) || !within.has(first+i) {
			continue
		}
		t.add(Candidate{int64(first + i), score})
		if len(t.heap) == t.most {
			least = t.heap[0].Score
		}
	}
}

// add adds a candidate; the worst one goes where there are too many.
func (t *top) add(c Candidate) {
	h := t.heap
	if len(h) < t.most {
		h = append(h, c)
		for i := len(h) - 1; i > 0 && better(h[(i-1)/2], h[i]) < 0; i = (i - 1) / 2 {
			h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		}
		t.heap = h
		return
	}
	if better(c, h[0]) >= 0 {
		return
	}
	h[0] = c
	for i := 0; ; {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if better(h[worst], h[child]) < 0 {
				worst = child
			}
		}
		if worst == i {
			return
		}
		h[i], h[worst] = h[worst], h[i]
		i = worst
	}
}

// Has says whether the set has a slot.
func (s Set) Has(slot int64) bool { return s.has(int(slot)) }
