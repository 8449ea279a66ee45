package decode

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tokenize"
)

// Sequence is one generated sequence.
type Sequence struct {
	IDs      []int64   // without the end
	End      *int64    // the id of EOS that ended it; nil where it was cut off
	LogProbs []float64 // of each of IDs under the model itself, before any processor
	Score    float64   // the score that beam search ranked by; the sum of LogProbs otherwise
	// Allowed is the sum of the log-probabilities of IDs and End among the ids that the rules of
	// Options left at their places, at temperature 1: what Whisper judges a text by. It is 0 of beams.
	Allowed float64
}

// Search is one decoding run: a batch of sequences under one set of parameters.
type Search struct {
	Options
	// Tokenizer writes ids as text, for StopStrings.
	Tokenizer *tokenize.Tokenizer
	// MostTokens bounds each text beside Options; 0: it does not.
	MostTokens int
	// Emit, where it is not nil, is called with each id as it is chosen, and ends the run by
	// returning false. Beam search calls it at its end, because any id may change until then.
	Emit func(row int, id int64, logProb float64) (goOn bool)

	rules   []processor
	warpers []processor
	limits  []int     // of each prompt, how many ids its texts may have
	history [][]int64 // of each prompt, the ids before the text, for processors
}

// Run decodes every prompt and returns NumReturnSequences sequences for each, those of one prompt
// together. Options must have passed Check. A prompt that leaves no room in MaxLength gives an error
// that wraps graph.ErrPrompt.
func (s *Search) Run(ctx context.Context, batch Sequences) ([]Sequence, error) {
	if s.Emit == nil {
		s.Emit = func(int, int64, float64) bool { return true }
	}
	s.rules, s.warpers = s.processors(), s.samplers()
	s.history = batch.Prompts()
	s.limits = nil
	for _, prompt := range s.history {
		limit, err := s.room(len(prompt))
		if err != nil {
			return nil, err
		}
		if s.MostTokens > 0 {
			limit = min(limit, s.MostTokens)
		}
		s.limits = append(s.limits, min(limit, batch.Room()))
	}
	if s.NumBeams == 1 {
		return s.single(ctx, batch)
	}
	results, err := s.beams(ctx, batch)
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		for j, id := range r.IDs {
			if !s.Emit(i, id, r.LogProbs[j]) {
				return results, nil
			}
		}
	}
	return results, nil
}

// row is a sequence in decoding.
type row struct {
	index   int // among the results
	limit   int // of ids
	history []int64
	random  *rand.Rand
	stops   *stopWatch
	*Sequence
}

// single decodes each row on its own: the most probable id each time, or one drawn at random. Rows
// that end leave the batch.
func (s *Search) single(ctx context.Context, batch Sequences) ([]Sequence, error) {
	logits, err := batch.Prefill(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]Sequence, len(s.history)*s.NumReturnSequences)
	var active []row
	var from []int // the row of logits that each active row continues
	for i := range results {
		prompt := i / s.NumReturnSequences
		active = append(active, row{
			index:    i,
			limit:    s.limits[prompt],
			history:  slices.Clone(s.history[prompt]),
			random:   rand.New(rand.NewPCG(s.Seed, uint64(i%s.NumReturnSequences))),
			stops:    s.watchStops(),
			Sequence: &results[i],
		})
		from = append(from, prompt)
	}
	for n := 1; ; n++ {
		var running []row
		var keep []int
		var next []int64
		for i, r := range active {
			id, logProb, allowed := s.choose(r, graph.Row(logits, from[i]))
			r.Allowed += allowed
			if slices.Contains(s.EOS, id) {
				r.End = &id
				continue
			}
			r.IDs = append(r.IDs, id)
			r.LogProbs = append(r.LogProbs, logProb)
			r.Score += logProb
			r.history = append(r.history, id)
			if !s.Emit(r.index, id, logProb) {
				return results, nil
			}
			if n < r.limit && !r.stops.add(id) {
				running = append(running, r)
				keep = append(keep, from[i])
				next = append(next, id)
			}
		}
		if active = running; len(active) == 0 {
			return results, nil
		}
		if err := batch.Reorder(keep); err != nil {
			return nil, err
		}
		if logits, err = batch.Step(ctx, next); err != nil {
			return nil, err
		}
		from = from[:0]
		for i := range active {
			from = append(from, i)
		}
	}
}

// choose picks the next id of a row from its logits [V]. logProb is its logarithm under the model
// itself, allowed that among the ids that the rules leave.
func (s *Search) choose(r row, logits []float32) (id int64, logProb, allowed float64) {
	scores := logits
	if len(s.rules)+len(s.warpers) > 0 {
		scores = slices.Clone(logits)
	}
	for _, rule := range s.rules {
		rule(r.history, len(r.IDs), scores)
	}
	norm := logSumExp(logits)
	if !s.DoSample {
		best := graph.Argmax(scores)
		logProb = float64(logits[best]) - norm
		if allowed = logProb; len(s.rules) > 0 {
			allowed = float64(scores[best]) - logSumExp(scores)
		}
		return int64(best), logProb, allowed
	}
	left, normLeft := logits, norm
	if len(s.rules) > 0 {
		left, normLeft = slices.Clone(scores), logSumExp(scores)
	}
	for _, warp := range s.warpers {
		warp(r.history, len(r.IDs), scores)
	}
	drawn := draw(r.random, Softmax(scores))
	return int64(drawn), float64(logits[drawn]) - norm, float64(left[drawn]) - normLeft
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
