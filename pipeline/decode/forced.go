package decode

import (
	"context"
	"fmt"
	"math"

	"github.com/crossattn/xpipe/pipeline/graph"
)

// Forced returns the natural log-probability of each text, its end included, as the continuation of
// the batch's only prompt. texts are ids; eos are the ids that end a text.
func Forced(ctx context.Context, batch Sequences, texts [][]int64, eos []int64) ([]float64, error) {
	logits, err := batch.Prefill(ctx)
	if err != nil {
		return nil, err
	}
	totals := make([]float64, len(texts))
	active := make([]int, len(texts)) // texts that go on
	from := make([]int, len(texts))   // the row of logits of each
	for i := range active {
		active[i] = i
	}
	for n := 0; len(active) > 0; n++ {
		var going, keep []int
		var next []int64
		for i, text := range active {
			logs := LogSoftmax(graph.Row(logits, from[i]))
			if n == len(texts[text]) {
				totals[text] += logSumOf(logs, eos)
				continue
			}
			id := texts[text][n]
			if err := checkID(id, logs); err != nil {
				return nil, err
			}
			totals[text] += float64(logs[id])
			going, keep, next = append(going, text), append(keep, from[i]), append(next, id)
		}
		if active = going; len(active) == 0 {
			break
		}
		if err := batch.Reorder(keep); err != nil {
			return nil, err
		}
		if logits, err = batch.Step(ctx, next); err != nil {
			return nil, err
		}
		from = from[:len(active)]
		for i := range from {
			from[i] = i
		}
	}
	return totals, nil
}

// Write makes the batch's only sequence go on with the given ids, one step a token, and returns the
// sequence with its log-probabilities.
func Write(ctx context.Context, batch Sequences, ids []int64) (Sequence, error) {
	s := Sequence{IDs: ids}
	logits, err := batch.Prefill(ctx)
	for i, id := range ids {
		if err != nil {
			return s, err
		}
		logs := LogSoftmax(graph.Row(logits, 0))
		if err := checkID(id, logs); err != nil {
			return s, err
		}
		s.LogProbs = append(s.LogProbs, float64(logs[id]))
		s.Score += s.LogProbs[i]
		if i < len(ids)-1 {
			logits, err = batch.Step(ctx, []int64{id})
		}
	}
	return s, err
}

// checkID refuses an id that the decoder gives no logit for.
func checkID(id int64, logs []float32) error {
	if id < 0 || id >= int64(len(logs)) {
		return fmt.Errorf("%w: the tokenizer has an id %d, the decoder gives logits for %d",
			graph.ErrBundle, id, len(logs))
	}
	return nil
}

// logSumOf returns the logarithm of the summed probability of the ids. It is 0, certainty, for a
// model without end ids.
func logSumOf(logs []float32, ids []int64) float64 {
	if len(ids) == 0 {
		return 0
	}
	sum := 0.0
	for _, id := range ids {
		if id < 0 || id >= int64(len(logs)) {
			continue
		}
		sum += math.Exp(float64(logs[id]))
	}
	return math.Log(sum)
}
