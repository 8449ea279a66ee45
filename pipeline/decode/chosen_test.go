package decode

import (
	"context"
	"math"
	"slices"
	"testing"
)

// Penalties for what was written are those of OpenAI's reference, score - count*frequency - presence,
// computed here by themselves; the prompt's ids do not count.
func TestWrittenPenalties(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ frequency, presence float64 }{{0.7, 0}, {0, 1.5}, {-1, 0.25}} {
		lm := newToy(12, 100, []int64{1, 2, 3})
		g := plain()
		g.MaxNewTokens, g.EOS = 20, nil
		g.FrequencyPenalty, g.PresencePenalty = c.frequency, c.presence
		got := runSearch(t, lm, g)[0].IDs
		var want []int64
		for len(want) < 20 {
			scores := lm.logitsOf(append([]int64{1, 2, 3}, want...))
			best, bestScore := 0, math.Inf(-1)
			for id, s := range scores {
				n := 0
				for _, w := range want {
					if w == int64(id) {
						n++
					}
				}
				score := float64(s)
				if n > 0 {
					score = float64(float32(s) - float32(float64(n)*c.frequency+c.presence))
				}
				if score > bestScore {
					best, bestScore = id, score
				}
			}
			want = append(want, int64(best))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", c, got, want)
		}
	}
}

// The likeliest ids are those of the logits themselves, in order, whatever is chosen of them.
func TestTopLogProbs(t *testing.T) {
	t.Parallel()
	lm := newToy(12, 100, []int64{4})
	g := plain()
	g.EOS, g.DoSample, g.TopLogProbs = nil, true, 3
	ids := []int64{4}
	s := Search{Options: g, Tokenizer: letters(t), Emit: func(_ int, c Chosen) bool {
		logs := LogSoftmax(lm.logitsOf(ids))
		order := OrderBy(logs, func(a, b int) int { return Descending(logs[a], logs[b]) })
		if len(c.Top) != 3 {
			t.Fatalf("%d candidates", len(c.Top))
		}
		for i, top := range c.Top {
			if top.ID != int64(order[i]) || math.Abs(top.LogProb-float64(logs[order[i]])) > 1e-5 {
				t.Errorf("candidate %d is %+v, want %d with %g", i, top, order[i], logs[order[i]])
			}
		}
		ids = append(ids, c.ID)
		return true
	}}
	if _, err := s.Run(context.Background(), lm); err != nil || len(ids) != 7 {
		t.Fatal(err, ids)
	}
	if got := likeliest([]float32{1, 3, 3, 2}, 9); len(got) != 4 || got[0].ID != 1 || got[1].ID != 2 {
		t.Errorf("%+v", got)
	}
	g.NumBeams = 2
	if err := g.Check(); err == nil {
		t.Error("beams with candidates pass")
	}
}

func TestRepetitionLastBoundsThePenalty(t *testing.T) {
	t.Parallel()
	for last, want := range map[int][]float32{
		0: {0.5, 1, 1.5, -8}, 1: {1, 2, 1.5, -4}, 2: {1, 2, 1.5, -8}, 9: {0.5, 1, 1.5, -8},
	} {
		scores := []float32{1, 2, 3, -4}
		repetitionPenalty(2, last)([]int64{0, 1, 3, 2}, 2, scores)
		if !slices.Equal(scores, want) {
			t.Errorf("of the last %d: %v, want %v", last, scores, want)
		}
	}
}
