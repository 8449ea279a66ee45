package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// masked is a head and the masks that its Adjust adds; each returns what is added to the scores of
// a query with keys lo to hi-1, or one number for all.
type masked struct {
	*AttentionHead
	masks []func(query, lo, hi int) []float32
}

// dense computes attention by its definition in float64.
func dense(h masked) []float32 {
	out := make([]float32, h.Queries*h.DV)
	for q := range h.Queries {
		scores := make([]float64, h.Keys)
		most := math.Inf(-1)
		for k := range scores {
			for d := range h.D {
				b := h.K.Data[k*h.K.Stride*b2i(!h.KTransposed)+k*b2i(h.KTransposed)+d*b2i(!h.KTransposed)+d*h.K.Stride*b2i(h.KTransposed)]
				scores[k] += float64(h.Q.Data[q*h.Q.Stride+d]) * float64(b)
			}
			scores[k] *= float64(h.Scale)
			for _, m := range h.masks {
				if row := m(q, 0, h.Keys); len(row) == 1 {
					scores[k] += float64(row[0])
				} else {
					scores[k] += float64(row[k])
				}
			}
			most = max(most, scores[k])
		}
		var sum float64
		for k := range scores {
			scores[k] = math.Exp(scores[k] - most)
			sum += scores[k]
		}
		for d := range h.DV {
			var v float64
			for k, s := range scores {
				v += s / sum * float64(h.V.Data[k*h.V.Stride+d])
			}
			out[q*h.DV+d] = float32(v)
		}
	}
	return out
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func randHead(r *rand.Rand, queries, keys, d, dv int) masked {
	h := masked{AttentionHead: &AttentionHead{
		Queries: queries, Keys: keys, D: d, DV: dv, Scale: float32(1 / math.Sqrt(float64(d))),
	}}
	h.Adjust = func(query, lo int, scores []float32) {
		for _, m := range h.masks {
			Add(scores, scores, m(query, lo, lo+len(scores)))
		}
	}
	rows := func(n, w int) Rows {
		stride := w + r.IntN(20)
		return Rows{Data: randFloats(r, n*stride), Stride: stride}
	}
	h.Q, h.V, h.Out = rows(queries, d), rows(keys, dv), rows(queries, dv)
	if h.KTransposed = r.IntN(3) == 0; h.KTransposed {
		h.K = rows(d, keys)
	} else {
		h.K = rows(keys, d)
	}
	if r.IntN(2) == 0 {
		mask := randFloats(r, queries*keys)
		for i := range mask {
			if r.IntN(4) == 0 && i%keys != 0 {
				mask[i] = float32(math.Inf(-1))
			}
		}
		h.masks = append(h.masks, func(q, lo, hi int) []float32 { return mask[q*keys+lo : q*keys+hi] })
	}
	if r.IntN(4) == 0 {
		h.masks = append(h.masks, func(q, lo, hi int) []float32 { return []float32{float32(q)} })
	}
	return h
}

// inHalf rounds the elements of m to float16 and returns them so.
func inHalf(m Rows) Rows {
	h := Rows{Half: make([]uint16, len(m.Data)), Stride: m.Stride}
	ToHalf(h.Half, m.Data)
	FromHalf(m.Data, h.Half)
	return h
}

func TestAttentionHead(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for i := range 120 {
			keys := 1 + r.IntN(60)
			if i%6 == 0 {
				keys = 300 + r.IntN(700)
			}
			h := randHead(r, 1+r.IntN(60)/(1+r.IntN(20)), keys, 1+r.IntN(70), 1+r.IntN(70))
			if i%5 == 0 {
				h.Chunk = 1 + r.IntN(keys+20)
			}
			want := dense(h)
			if i%3 == 0 { // of keys and values that float16 holds
				h.HalfKV = true
				k, v := inHalf(h.K), inHalf(h.V)
				want = dense(h)
				h.K, h.V = k, v
			}
			scratch, check := guarded(t, h.Scratch(), i%2)
			h.Run(scratch)
			check()
			for q := range h.Queries {
				for d := range h.DV {
					g, w := h.Out.Data[q*h.Out.Stride+d], want[q*h.DV+d]
					if math.Abs(float64(g-w)) > 2e-5 {
						t.Fatalf("%d queries, %d keys, %d, %d: [%d,%d] is %v, want %v",
							h.Queries, h.Keys, h.D, h.DV, q, d, g, w)
					}
				}
			}
		}
	})
}

func BenchmarkAttentionHead(b *testing.B) {
	for _, s := range [][3]int{{1, 64, 64}, {32, 257, 64}, {257, 257, 88}, {50, 50, 64}} {
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			h := randHead(rand.New(rand.NewPCG(7, 7)), s[0], s[1], s[2], s[2])
			h.KTransposed, h.Adjust = false, nil
			h.K = Rows{Data: make([]float32, s[1]*s[2]), Stride: s[2]}
			scratch := make([]float32, h.Scratch())
			for b.Loop() {
				h.Run(scratch)
			}
			b.ReportMetric(4*float64(s[0]*s[1]*s[2])/float64(b.Elapsed().Nanoseconds())*float64(b.N), "GFLOP/s")
		})
	}
}

// A query that sees nothing is NaN by the definition, or 0 on request; other queries are not
// touched.
func TestUnseenQueries(t *testing.T) {
	both(t, func(t *testing.T) {
		for _, queries := range []int{1, 5} {
			h := randHead(rand.New(rand.NewPCG(9, 10)), queries, 40, 8, 8)
			h.Chunk = 16
			h.Adjust = func(query, lo int, scores []float32) {
				if query == queries-1 {
					for i := range scores {
						scores[i] = float32(math.Inf(-1))
					}
				}
			}
			for _, h.ZeroUnseen = range []bool{false, true} {
				h.Run(make([]float32, h.Scratch()))
				for _, v := range h.out(queries - 1) {
					if h.ZeroUnseen && v != 0 || !h.ZeroUnseen && v == v {
						t.Errorf("%d queries: %v, ZeroUnseen is %v", queries, v, h.ZeroUnseen)
					}
				}
				if v := h.out(0)[0]; queries > 1 && !(v*v > 0) {
					t.Errorf("a query that sees keys is %v", v)
				}
			}
		}
	})
}

func TestAttentionStops(t *testing.T) {
	t.Parallel()
	h := randHead(rand.New(rand.NewPCG(11, 12)), 6, 100, 8, 8)
	h.Chunk, h.masks = 10, nil
	last, chunks := -1, 0
	h.Adjust = func(_, lo int, _ []float32) { last = lo }
	h.Stop = func() bool { chunks++; return chunks > 3 }
	h.Run(make([]float32, h.Scratch()))
	if last != 20 {
		t.Errorf("the last chunk begins at key %d, want 20", last)
	}
}
