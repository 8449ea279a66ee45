package decode

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// farBelow marks a score that cannot win, as transformers' beam search does.
const farBelow = -1e9

// beam is one hypothesis of a prompt's beam search.
type beam struct {
	ids      []int64
	logProbs []float64
	total    float32 // sum of the processed log-probabilities
	row      int     // its row in the language model's batch
	score    float32 // total under the length penalty, once finished
	finished bool
	stops    *stopWatch
}

// group is the beam search of one prompt.
type group struct {
	index    int
	limit    int    // of ids
	running  []beam // best first
	finished []beam // best first, NumBeams of them; unfilled slots have score farBelow
	improves bool   // a running beam may still beat a finished one
	random   *rand.Rand
}

// beams decodes each prompt by beam search as transformers 4.57 does (generation/utils.py,
// _beam_search): the same candidates, the same scores in float32, the same end. Prompts that are
// done leave the batch.
type beams struct {
	*Search
	groups, active []*group
	ids            int // of each running beam
}

func (s *Search) beginBeams() *beams {
	all := &beams{Search: s}
	for i := range s.history {
		g := &group{
			index: i, limit: s.limits[i], improves: true, random: rand.New(rand.NewPCG(s.Seed, 0)),
		}
		for b := range s.NumBeams {
			first := beam{row: i, stops: s.watchStops()}
			if b > 0 {
				first.total = farBelow // all beams start alike; let only one of them branch
			}
			g.running = append(g.running, first)
			g.finished = append(g.finished, beam{score: farBelow})
		}
		all.groups = append(all.groups, g)
	}
	all.active = all.groups
	return all
}

func (s *beams) next(logits func(row int) []float32) (rows []int, ids []int64) {
	var going []*group
	s.ids++
	for _, g := range s.active {
		if !s.advance(g, func(b *beam) []float32 { return logits(b.row) }, s.ids) {
			continue
		}
		going = append(going, g)
		for i := range g.running {
			b := &g.running[i]
			rows = append(rows, b.row)
			ids = append(ids, b.ids[len(b.ids)-1])
			b.row = len(rows) - 1
		}
	}
	s.active = going
	return rows, ids
}

// results takes the best NumReturnSequences of each prompt, and emits their ids.
func (s *beams) results() []Sequence {
	var results []Sequence
	for _, g := range s.groups {
		for _, b := range g.finished[:s.NumReturnSequences] {
			r := Sequence{IDs: b.ids, LogProbs: b.logProbs, Score: float64(b.score)}
			if last := len(r.IDs) - 1; last >= 0 && slices.Contains(s.EOS, r.IDs[last]) {
				end := r.IDs[last]
				r.IDs, r.LogProbs, r.End = r.IDs[:last], r.LogProbs[:last], &end
			}
			results = append(results, r)
		}
	}
	for i, r := range results {
		for j, id := range r.IDs {
			if !s.Emit(i, Chosen{ID: id, LogProb: r.LogProbs[j]}) {
				return results
			}
		}
	}
	return results
}

// advance extends the beams of g by id number n and reports whether it goes on.
func (s *Search) advance(g *group, logits func(*beam) []float32, n int) bool {
	candidates := s.candidates(g, logits)
	allEnd := true
	for i := range candidates {
		c := &candidates[i]
		id := c.ids[len(c.ids)-1]
		stopped := c.stops.add(id)
		c.finished = slices.Contains(s.EOS, id) || n >= g.limit || stopped
		allEnd = allEnd && c.finished
	}
	full := !slices.ContainsFunc(g.finished, func(b beam) bool { return !b.finished })

	// The best that have not ended go on.
	going := slices.Clone(candidates)
	for i := range going {
		if going[i].finished {
			going[i].total += farBelow
		}
	}
	slices.SortStableFunc(going, func(a, b beam) int { return cmp.Compare(b.total, a.total) })
	g.running = going[:s.NumBeams]
	for i := range g.running {
		g.running[i].finished = false
	}

	// Those that have ended compete with earlier ones if they are among the NumBeams best.
	for i, c := range candidates {
		c.score = c.total / float32(math.Pow(float64(n), s.LengthPenalty))
		if full && s.EarlyStopping == StopFirst {
			c.score += farBelow
		}
		if !g.improves {
			c.score += farBelow
		}
		if c.finished = c.finished && i < s.NumBeams; !c.finished {
			c.score += farBelow
		}
		g.finished = append(g.finished, c)
	}
	slices.SortStableFunc(g.finished, func(a, b beam) int { return cmp.Compare(b.score, a.score) })
	g.finished = g.finished[:s.NumBeams]

	g.improves = g.improves && s.mayImprove(g, n)
	full = !slices.ContainsFunc(g.finished, func(b beam) bool { return !b.finished })
	return g.improves && !(full && s.EarlyStopping == StopFirst) && !allEnd
}

// continuation is one id that one running beam may go on with.
type continuation struct {
	from  int
	id    int
	total float32 // the beam's score with this id
	key   float64 // what continuations are ranked by
}

// candidates returns the best continuations of g's running beams, best first: so many that NumBeams
// of them can go on even if each end id is among them for every beam. With DoSample they are drawn
// without replacement, in the order of the draw.
func (s *Search) candidates(g *group, logits func(*beam) []float32) []beam {
	best := make([]continuation, 0, max(2, 1+len(s.EOS))*s.NumBeams+1)
	raw := make([][]float32, len(g.running))
	for i := range g.running {
		b := &g.running[i]
		raw[i] = LogSoftmax(logits(b))
		scores := slices.Clone(raw[i])
		history := append(slices.Clone(s.history[g.index]), b.ids...)
		for _, process := range slices.Concat(s.rules, s.warpers) {
			process(history, len(b.ids), scores)
		}
		for id, score := range scores {
			c := continuation{from: i, id: id, total: score + b.total}
			c.key = float64(c.total)
			if s.DoSample {
				// The largest of log-probabilities plus Gumbel noise are a sample without
				// replacement (Kool et al., 1903.06059).
				c.key -= math.Log(-math.Log(g.random.Float64()))
			}
			best = insert(best, c)
		}
	}
	next := make([]beam, len(best))
	for i, c := range best {
		b := g.running[c.from]
		next[i] = beam{
			ids:      append(slices.Clone(b.ids), int64(c.id)),
			logProbs: append(slices.Clone(b.logProbs), float64(raw[c.from][c.id])),
			total:    c.total,
			row:      b.row,
			stops:    b.stops.fork(),
		}
	}
	return next
}

// insert puts c into the sorted list best, behind equal ones. best keeps at most its capacity less
// one.
func insert(best []continuation, c continuation) []continuation {
	full := len(best) == cap(best)-1
	if full && !(c.key > best[len(best)-1].key) {
		return best
	}
	at := len(best)
	for at > 0 && c.key > best[at-1].key {
		at--
	}
	best = slices.Insert(best, at, c)
	if full {
		best = best[:len(best)-1]
	}
	return best
}

// mayImprove estimates whether the best running beam can still beat the worst finished one, after n
// ids.
func (s *Search) mayImprove(g *group, n int) bool {
	length := n
	if s.EarlyStopping == StopNever && s.LengthPenalty > 0 {
		length = g.limit
	}
	best := g.running[0].total / float32(math.Pow(float64(length), s.LengthPenalty))
	worst := float32(math.Inf(1))
	for _, b := range g.finished {
		worst = min(worst, b.score)
	}
	// Any running beam beats an unfilled slot.
	for _, b := range g.finished {
		limit := float32(farBelow)
		if b.finished {
			limit = worst
		}
		if best > limit {
			return true
		}
	}
	return false
}
