package decode

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/crossattn/xpipe/pipeline/grammar"
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
	// Vocabulary has the tokens' bytes, for Grammar.
	Vocabulary func() *grammar.Vocabulary
	// MostTokens bounds each text beside Options; 0: it does not.
	MostTokens int
	// Emit, where it is not nil, is called with each id as it is chosen, and ends the run by
	// returning false. Beam search calls it at its end, because any id may change until then.
	Emit func(row int, c Chosen) (goOn bool)

	rules   []processor
	warpers []processor
	limits  []int     // of each prompt, how many ids its texts may have
	history [][]int64 // of each prompt, the ids before the text, for processors
}

// Chosen is an id that a search chose.
type Chosen struct {
	ID      int64
	LogProb float64     // under the model itself, before any processor
	Top     []Candidate // without their texts, as many as Options.TopLogProbs says
}

// Run decodes every prompt and returns NumReturnSequences sequences for each, those of one prompt
// together. Options must have passed Check. A prompt that leaves no room in MaxLength gives an error
// that wraps graph.ErrPrompt.
func (s *Search) Run(ctx context.Context, batch Sequences) ([]Sequence, error) {
	steps, err := s.begin(batch)
	if err != nil {
		return nil, err
	}
	logits, err := batch.Prefill(ctx)
	for err == nil {
		rows, ids := steps.next(func(row int) []float32 { return graph.Row(logits, row) })
		if len(rows) == 0 {
			return steps.results(), nil
		}
		if err = batch.Reorder(rows); err == nil {
			logits, err = batch.Step(ctx, ids)
		}
	}
	return nil, err
}

// steps is what a search does between two runs of the decoder.
type steps interface {
	// next reads the logits of each row, those of the prompts at first and then those that it asked
	// for, and returns the rows that go on, each with the id that follows: none once the search is
	// done.
	next(logits func(row int) []float32) (rows []int, ids []int64)
	results() []Sequence
}

// begin starts a search for the texts of sequences that were just begun.
func (s *Search) begin(batch Sequences) (steps, error) {
	if s.Emit == nil {
		s.Emit = func(int, Chosen) bool { return true }
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
	if s.Grammar != nil {
		rule, err := s.holdTo()
		if err != nil {
			return nil, err
		}
		s.rules = append(s.rules, rule)
	}
	if s.NumBeams > 1 {
		return s.beginBeams(), nil
	}
	return s.beginSingle(), nil
}

// single decodes each row on its own: the most probable id each time, or one drawn at random. Rows
// that end leave the batch.
type single struct {
	*Search
	done   []Sequence
	active []row
	from   []int // the row of logits that each active row continues
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

func (s *Search) beginSingle() *single {
	one := &single{Search: s, done: make([]Sequence, len(s.history)*s.NumReturnSequences)}
	for i := range one.done {
		prompt := i / s.NumReturnSequences
		one.active = append(one.active, row{
			index:    i,
			limit:    s.limits[prompt],
			history:  slices.Clone(s.history[prompt]),
			random:   rand.New(rand.NewPCG(s.Seed, uint64(i%s.NumReturnSequences))),
			stops:    s.watchStops(),
			Sequence: &one.done[i],
		})
		one.from = append(one.from, prompt)
	}
	return one
}

func (s *single) results() []Sequence { return s.done }

func (s *single) next(logits func(row int) []float32) (rows []int, ids []int64) {
	var running []row
	for i, r := range s.active {
		id, logProb, allowed := s.choose(r, logits(s.from[i]))
		r.Allowed += allowed
		if slices.Contains(s.EOS, id) {
			r.End = &id
			continue
		}
		r.IDs = append(r.IDs, id)
		r.LogProbs = append(r.LogProbs, logProb)
		r.Score += logProb
		r.history = append(r.history, id)
		if !s.Emit(r.index, Chosen{id, logProb, likeliest(logits(s.from[i]), s.TopLogProbs)}) {
			return nil, nil
		}
		if len(r.IDs) < r.limit && !r.stops.add(id) {
			running = append(running, r)
			rows = append(rows, s.from[i])
			ids = append(ids, id)
		}
	}
	s.active, s.from = running, s.from[:0]
	for i := range running {
		s.from = append(s.from, i)
	}
	return rows, ids
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
