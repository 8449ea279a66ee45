package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// dense computes attention by its definition in float64.
func dense(h *AttentionHead) []float32 {
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
			for _, m := range h.Masks {
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

func randHead(r *rand.Rand, queries, keys, d, dv int) *AttentionHead {
	h := &AttentionHead{Queries: queries, Keys: keys, D: d, DV: dv, Scale: float32(1 / math.Sqrt(float64(d)))}
	rows := func(n, w int) Rows {
		stride := w + r.IntN(20)
		return Rows{randFloats(r, n*stride), stride}
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
		h.Masks = append(h.Masks, func(q, lo, hi int) []float32 { return mask[q*keys+lo : q*keys+hi] })
	}
	if r.IntN(4) == 0 {
		h.Masks = append(h.Masks, func(q, lo, hi int) []float32 { return []float32{float32(q)} })
	}
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
			scratch, check := guarded(t, h.Scratch(), i%2)
			h.Run(scratch)
			check()
			want := dense(h)
			for q := range h.Queries {
				for d := range h.DV {
					g, w := h.Out.Data[q*h.Out.Stride+d], want[q*h.DV+d]
					if math.Abs(float64(g-w)) > 2e-5 {
						t.Fatalf("%d queries, %d keys, %d, %d: [%d,%d] is %v, want %v", h.Queries, h.Keys, h.D, h.DV, q, d, g, w)
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
			h.KTransposed, h.Masks = false, nil
			h.K = Rows{make([]float32, s[1]*s[2]), s[2]}
			scratch := make([]float32, h.Scratch())
			for b.Loop() {
				h.Run(scratch)
			}
			b.ReportMetric(4*float64(s[0]*s[1]*s[2])/float64(b.Elapsed().Nanoseconds())*float64(b.N), "GFLOP/s")
		})
	}
}
