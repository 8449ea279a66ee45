package pipeline

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/tensor"
)

// sequence is one generated sequence.
type sequence struct {
	ids      []int64
	logProbs []float64 // of each id under the model itself, before any processor
	score    float64   // what beam search ranked it by; the sum of logProbs otherwise
}

// search is one decoding run: a batch of sequences under one set of parameters.
type search struct {
	Generation
	list    []processor
	decode  func(ids []int64) string // for StopStrings
	emit    func(row int, id int64, logProb float64) (goOn bool)
	limit   int
	history [][]int64 // of each prompt, what processors see before the text
}

// run decodes every prompt of lm and returns NumReturnSequences sequences for
// each, those of one prompt together. emit is told each id as it is chosen, and
// ends the run by returning false; beam search, which may change its mind until
// its end, tells it then.
func (s *search) run(ctx context.Context, lm languageModel) ([]sequence, error) {
	s.list = s.processors()
	s.limit = min(s.MaxNewTokens, lm.room())
	s.history = lm.prompts()
	if s.NumBeams == 1 {
		return s.single(ctx, lm)
	}
	results, err := s.beams(ctx, lm)
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		for j, id := range r.ids {
			if !s.emit(i, id, r.logProbs[j]) {
				return results, nil
			}
		}
	}
	return results, nil
}

// row is a sequence in decoding.
type row struct {
	index   int // among the results
	history []int64
	random  *rand.Rand
	*sequence
}

// single decodes each row on its own: the most probable id each time, or one
// drawn at random. Rows that end leave the batch.
func (s *search) single(ctx context.Context, lm languageModel) ([]sequence, error) {
	logits, err := lm.prefill(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]sequence, len(s.history)*s.NumReturnSequences)
	var active []row
	var from []int // the row of logits that each active row continues
	for i := range results {
		prompt := i / s.NumReturnSequences
		active = append(active, row{
			index:    i,
			history:  slices.Clone(s.history[prompt]),
			random:   rand.New(rand.NewPCG(s.Seed, uint64(i%s.NumReturnSequences))),
			sequence: &results[i],
		})
		from = append(from, prompt)
	}
	for n := 1; ; n++ {
		var running []row
		var keep []int
		var next []int64
		for i, r := range active {
			id, logProb := s.choose(r, rowOf(logits, from[i]))
			if slices.Contains(s.EOS, id) {
				continue
			}
			r.ids = append(r.ids, id)
			r.logProbs = append(r.logProbs, logProb)
			r.score += logProb
			r.history = append(r.history, id)
			if !s.emit(r.index, id, logProb) {
				return results, nil
			}
			if n < s.limit && !s.stopped(r.ids) {
				running = append(running, r)
				keep = append(keep, from[i])
				next = append(next, id)
			}
		}
		if active = running; len(active) == 0 {
			return results, nil
		}
		if err := lm.reorder(keep); err != nil {
			return nil, err
		}
		if logits, err = lm.step(ctx, next); err != nil {
			return nil, err
		}
		from = from[:0]
		for i := range active {
			from = append(from, i)
		}
	}
}

// choose picks the next id of a row from its logits [V].
func (s *search) choose(r row, logits []float32) (id int64, logProb float64) {
	scores := logits
	if len(s.list) > 0 {
		scores = slices.Clone(logits)
		for _, process := range s.list {
			process(r.history, len(r.ids), scores)
		}
	}
	best := 0
	if s.DoSample {
		best = draw(r.random, softmax(scores))
	} else {
		best = argmax(scores)
	}
	return int64(best), float64(logits[best]) - logSumExp(logits)
}

// draw returns an index with the given probabilities.
func draw(random *rand.Rand, probs []float64) int {
	u := random.Float64()
	last := 0
	for i, p := range probs {
		if p == 0 {
			continue
		}
		last = i
		if u -= p; u < 0 {
			return i
		}
	}
	return last // rounding left u at the end of the scale
}

// stopped reports whether the text of ids holds a stop string.
func (s *search) stopped(ids []int64) bool {
	if len(s.StopStrings) == 0 {
		return false
	}
	text := s.decode(ids)
	return slices.ContainsFunc(s.StopStrings, func(stop string) bool { return strings.Contains(text, stop) })
}

// rowOf returns row i of logits [B,V].
func rowOf(logits *tensor.Tensor, i int) []float32 {
	v := logits.Dim(1)
	return tensor.Data[float32](logits)[i*v : (i+1)*v]
}

// argmax returns the index of the largest value, the first of equals.
func argmax(values []float32) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}
