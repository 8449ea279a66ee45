package decode

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// A processor changes the scores of the next id in place. history is the prompt's ids and those
// generated so far, of which the last generated are new.
//
// Each computes as transformers' LogitsProcessor of the same name does
// (generation/logits_process.py, 4.57), in the order in which _get_logits_processor lists them.
type processor func(history []int64, generated int, scores []float32)

var minusInf = float32(math.Inf(-1))

// processors lists the rules that g asks for: those that hold whether or not ids are drawn.
func (g *Options) processors() []processor {
	var list []processor
	if len(g.SequenceBias) > 0 {
		list = append(list, sequenceBias(g.SequenceBias))
	}
	if g.RepetitionPenalty != 1 {
		list = append(list, repetitionPenalty(g.RepetitionPenalty, g.RepetitionLast))
	}
	if g.FrequencyPenalty != 0 || g.PresencePenalty != 0 {
		list = append(list, writtenPenalty(g.FrequencyPenalty, g.PresencePenalty))
	}
	if g.NoRepeatNgramSize > 0 {
		list = append(list, noRepeatNgram(g.NoRepeatNgramSize))
	}
	if len(g.BadWordsIDs) > 0 {
		list = append(list, noBadWords(g.BadWordsIDs, g.EOS))
	}
	if g.MinLength > 0 {
		list = append(list, minLength(g.MinLength, g.EOS))
	}
	if g.MinNewTokens > 0 {
		list = append(list, minNewTokens(g.MinNewTokens, g.EOS))
	}
	if g.ForcedBOS != nil {
		list = append(list, forcedBOS(*g.ForcedBOS))
	}
	if g.ForcedEOS != nil {
		list = append(list, forcedEOS(*g.ForcedEOS, g))
	}
	if g.ExponentialDecayLengthPenalty != nil {
		list = append(list, lengthDecay(*g.ExponentialDecayLengthPenalty, g.EOS))
	}
	if len(g.SuppressTokens) > 0 {
		list = append(list, suppressed(g.SuppressTokens, math.MaxInt))
	}
	if len(g.BeginSuppressTokens) > 0 {
		list = append(list, suppressed(g.BeginSuppressTokens, 0))
	}
	if g.Times != nil {
		list = append(list, g.Times.rule)
	}
	return list
}

// samplers lists the processors that change what is drawn, behind those of the rules.
func (g *Options) samplers() (list []processor) {
	if g.DoSample {
		list = g.warpers()
	}
	if g.RenormalizeLogits {
		list = append(list, renormalize)
	}
	return list
}

// warpers lists the processors of sampling.
func (g *Options) warpers() (list []processor) {
	keep := 1
	if g.NumBeams > 1 {
		// Each beam needs a way to go on beside every way to end.
		keep = max(2, len(g.EOS)+1)
	}
	if g.Temperature != 1 {
		list = append(list, temperature(g.Temperature))
	}
	if g.TopK > 0 {
		list = append(list, topK(g.TopK, keep))
	}
	if g.TopP < 1 {
		list = append(list, topP(g.TopP, keep))
	}
	if g.MinP > 0 {
		list = append(list, minP(g.MinP, keep))
	}
	if g.TypicalP < 1 {
		list = append(list, typical(g.TypicalP, keep))
	}
	if g.EpsilonCutoff > 0 {
		list = append(list, cutoff(keep, func([]float64) float64 { return g.EpsilonCutoff }))
	}
	if g.EtaCutoff > 0 {
		list = append(list, cutoff(keep, func(probs []float64) float64 {
			return min(g.EtaCutoff, math.Sqrt(g.EtaCutoff)*math.Exp(-entropyOf(probs)))
		}))
	}
	return list
}

// renormalize makes the scores logarithms of probabilities.
func renormalize(_ []int64, _ int, scores []float32) {
	for i, p := range Softmax(scores) {
		scores[i] = float32(math.Log(p))
	}
}

// entropyOf returns the entropy of probabilities, in nats.
func entropyOf(probs []float64) (entropy float64) {
	for _, p := range probs {
		if p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return entropy
}

// cutoff drops ids less probable than least of all probabilities, but for the best of them, and those
// as good as the last of these.
func cutoff(keep int, least func(probs []float64) float64) processor {
	return func(_ []int64, _ int, scores []float32) {
		sorted := slices.Clone(scores)
		slices.SortFunc(sorted, Descending)
		kept := sorted[min(keep, len(sorted))-1]
		probs := Softmax(scores)
		limit := least(probs)
		for i, p := range probs {
			if p < limit && scores[i] < kept {
				scores[i] = minusInf
			}
		}
	}
}

// sequenceBias adds to the score of the last id of each sequence whose other ids the history ends with.
// Of several that are one id, and the same, the last counts.
func sequenceBias(biases []SequenceBias) processor {
	alone := map[int64]float32{}
	for _, b := range biases {
		if len(b.IDs) == 1 {
			alone[b.IDs[0]] = float32(b.Bias)
		}
	}
	return func(history []int64, _ int, scores []float32) {
		gain := maps.Clone(alone)
		for _, b := range biases {
			head := b.IDs[:len(b.IDs)-1]
			// transformers wants the history to be as long as the whole sequence.
			if len(head) > 0 && len(b.IDs) <= len(history) && slices.Equal(history[len(history)-len(head):], head) {
				gain[b.IDs[len(head)]] += float32(b.Bias)
			}
		}
		for id, bias := range gain {
			if id >= 0 && id < int64(len(scores)) {
				scores[id] += bias
			}
		}
	}
}

// lengthDecay makes the end more likely, token by token.
func lengthDecay(decay LengthDecay, eos []int64) processor {
	return func(_ []int64, generated int, scores []float32) {
		beyond := generated - decay.Start
		for _, id := range eos {
			if beyond > 0 && id >= 0 && id < int64(len(scores)) && scores[id] > minusInf {
				size := float32(math.Abs(float64(scores[id])))
				scores[id] += size * float32(math.Pow(decay.Factor, float64(beyond))-1)
			}
		}
	}
}

// suppressed drops ids from the first tokens, up to the one with the number last
// (SuppressTokensLogitsProcessor, and SuppressTokensAtBeginLogitsProcessor with last 0).
func suppressed(ids []int64, last int) processor {
	return func(_ []int64, generated int, scores []float32) {
		for _, id := range ids {
			if generated <= last && id >= 0 && id < int64(len(scores)) {
				scores[id] = minusInf
			}
		}
	}
}

// repetitionPenalty makes every id of the history less likely (CTRL, 1909.05858), or of its last ones where
// last is not 0.
func repetitionPenalty(penalty float64, last int) processor {
	p := float32(penalty)
	return func(history []int64, _ int, scores []float32) {
		if last > 0 {
			history = history[max(0, len(history)-last):]
		}
		seen := map[int64]bool{}
		for _, id := range history {
			if id < 0 || id >= int64(len(scores)) || seen[id] {
				continue
			}
			seen[id] = true
			if scores[id] < 0 {
				scores[id] *= p
			} else {
				scores[id] /= p
			}
		}
	}
}

// writtenPenalty makes ids less likely that the text has already: score - count*frequency - presence,
// as OpenAI's reference of the two parameters has it.
func writtenPenalty(frequency, presence float64) processor {
	return func(history []int64, generated int, scores []float32) {
		counts := map[int64]int{}
		for _, id := range history[len(history)-generated:] {
			counts[id]++
		}
		for id, n := range counts {
			if id >= 0 && id < int64(len(scores)) {
				scores[id] -= float32(float64(n)*frequency + presence)
			}
		}
	}
}

// noRepeatNgram forbids every id that would complete a sequence of n ids that the history already
// has.
func noRepeatNgram(n int) processor {
	return func(history []int64, _ int, scores []float32) {
		if len(history)+1 < n {
			return
		}
		tail := history[len(history)-(n-1):]
		for i := 0; i+n <= len(history); i++ {
			if slices.Equal(history[i:i+n-1], tail) {
				forbid(scores, history[i+n-1:i+n])
			}
		}
	}
}

// noBadWords forbids the last id of each sequence whose other ids the history ends with. A sequence
// that is only an end id stays allowed.
func noBadWords(words [][]int64, eos []int64) processor {
	return func(history []int64, _ int, scores []float32) {
		for _, word := range words {
			head, last := word[:len(word)-1], word[len(word)-1:]
			if len(head) == 0 && slices.Contains(eos, last[0]) {
				continue
			}
			// transformers wants the history to be as long as the whole word.
			long := len(head) == 0 || len(word) <= len(history)
			if long && slices.Equal(history[max(0, len(history)-len(head)):], head) {
				forbid(scores, last)
			}
		}
	}
}

// minLength forbids to end before the history is n ids long.
func minLength(n int, eos []int64) processor {
	return func(history []int64, _ int, scores []float32) {
		if len(history) < n {
			forbid(scores, eos)
		}
	}
}

// minNewTokens forbids to end before n ids are generated.
func minNewTokens(n int, eos []int64) processor {
	return func(_ []int64, generated int, scores []float32) {
		if generated < n {
			forbid(scores, eos)
		}
	}
}

// forcedBOS makes id the only possible second id of the history.
func forcedBOS(id int64) processor {
	return func(history []int64, _ int, scores []float32) {
		if len(history) == 1 {
			force(scores, id)
		}
	}
}

// forcedEOS makes id the only possible one where g allows no more behind it.
func forcedEOS(id int64, g *Options) processor {
	return func(history []int64, generated int, scores []float32) {
		if n, err := g.room(len(history) - generated); err == nil && generated == n-1 {
			force(scores, id)
		}
	}
}

// force makes an id the only possible one.
func force(scores []float32, id int64) {
	if id < 0 || id >= int64(len(scores)) {
		return
	}
	for i := range scores {
		scores[i] = minusInf
	}
	scores[id] = 0
}

// forbid makes ids impossible.
func forbid(scores []float32, ids []int64) {
	for _, id := range ids {
		if id >= 0 && id < int64(len(scores)) {
			scores[id] = minusInf
		}
	}
}

func temperature(t float64) processor {
	return func(_ []int64, _ int, scores []float32) {
		for i := range scores {
			scores[i] /= float32(t)
		}
	}
}

// topK keeps the k best scores, and those equal to the last of them.
func topK(k, keep int) processor {
	k = max(k, keep)
	return func(_ []int64, _ int, scores []float32) {
		if k >= len(scores) {
			return
		}
		sorted := slices.Clone(scores)
		slices.SortFunc(sorted, Descending)
		for i, s := range scores {
			if s < sorted[k-1] {
				scores[i] = minusInf
			}
		}
	}
}

// topP keeps the fewest most probable ids whose probabilities sum to p (nucleus sampling,
// 1904.09751).
func topP(p float64, keep int) processor {
	return func(_ []int64, _ int, scores []float32) {
		order := OrderBy(scores, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
		probs := Softmax(scores)
		sum := 0.0
		for n, id := range order {
			sum += probs[id]
			if sum <= 1-p && n < len(order)-keep {
				scores[id] = minusInf
			}
		}
	}
}

// minP drops ids less probable than p times the best one (2407.01082).
func minP(p float64, keep int) processor {
	return func(_ []int64, _ int, scores []float32) {
		order := OrderBy(scores, func(a, b int) int { return Descending(scores[a], scores[b]) })
		probs := Softmax(scores)
		threshold := p * probs[order[0]]
		for n, id := range order {
			if n >= keep && probs[id] < threshold {
				scores[id] = minusInf
			}
		}
	}
}

// typical keeps the ids whose information is nearest to the distribution's entropy, until their
// probabilities sum to mass (2202.00666).
func typical(mass float64, keep int) processor {
	return func(_ []int64, _ int, scores []float32) {
		probs := Softmax(scores)
		entropy := entropyOf(probs)
		distance := make([]float64, len(scores))
		for i, p := range probs {
			distance[i] = math.Abs(-math.Log(p) - entropy)
		}
		nearest := func(a, b int) int { return cmp.Compare(distance[a], distance[b]) }
		order := OrderBy(scores, nearest)
		last, sum := 0, 0.0
		for _, id := range order {
			if sum += probs[id]; sum >= mass {
				break
			}
			last++
		}
		limit := distance[order[min(last, len(order)-1)]]
		for n, id := range order {
			if n >= keep && distance[id] > limit {
				scores[id] = minusInf
			}
		}
	}
}
