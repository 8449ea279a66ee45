package decode

import (
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// holdTo makes the rule that holds texts to s.Grammar, within the fewest ids that any of them may have:
// a text of that length is whole. It stands behind all other rules, and wins against them.
func (s *Search) holdTo() (processor, error) {
	if s.Vocabulary == nil || len(s.EOS) == 0 {
		return nil, fmt.Errorf("%w: the model's texts have no end, and cannot be held to a schema", graph.ErrOption)
	}
	m := &grammar.Matcher{Grammar: s.Grammar, Vocabulary: s.Vocabulary()}
	if err := s.Grammar.Check(m.Vocabulary); err != nil {
		return nil, fmt.Errorf("%w: %w", graph.ErrUnsupported, err)
	}
	limit := slices.Min(s.limits)
	// Each byte can be a token of its own; one more is the end.
	if need := s.Grammar.Start().Need() + 1; need > limit {
		return nil, fmt.Errorf("%w: the shortest text that fits the schema may take %d tokens, and %d are allowed",
			graph.ErrOption, need, limit)
	}
	return func(history []int64, generated int, scores []float32) {
		state, ok := m.After(history[len(history)-generated:])
		if !ok { // a beam that no rule let live
			state = nil
		}
		behind := limit - generated - 1 // tokens that may follow the next one
		var allowed []int64
		shortest := grammar.Choice{Need: -1}
		for _, c := range m.Choices(state) {
			if int(c.Need)+1 > behind || int(c.ID) >= len(scores) {
				continue
			}
			allowed = append(allowed, int64(c.ID))
			if shortest.Need < 0 || c.Need < shortest.Need {
				shortest = c
			}
		}
		if !ok || state.Done() {
			for _, id := range s.EOS {
				if id >= 0 && id < int64(len(scores)) {
					allowed = append(allowed, id)
					shortest = grammar.Choice{ID: int32(id)}
				}
			}
		}
		keepOnly(scores, allowed)
		if len(allowed) > 0 && scores[graph.Argmax(scores)] == minusInf { // other rules forbid what has to come
			scores[shortest.ID] = 0
		}
	}, nil
}

// keepOnly makes all other ids impossible.
func keepOnly(scores []float32, ids []int64) {
	kept := make([]float32, len(ids))
	for i, id := range ids {
		kept[i] = scores[id]
	}
	for i := range scores {
		scores[i] = minusInf
	}
	for i, id := range ids {
		scores[id] = kept[i]
	}
}
