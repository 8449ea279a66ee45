package decode

import (
	"cmp"
	"math"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
)

// OrderBy returns the indices of scores sorted by compare; equal ones keep their order.
func OrderBy(scores []float32, compare func(a, b int) int) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, compare)
	return order
}

// Descending orders larger scores first, for OrderBy and slices.SortFunc.
func Descending(a, b float32) int { return cmp.Compare(b, a) }

// Softmax returns the probabilities of scores.
func Softmax(scores []float32) []float64 {
	probs := make([]float64, len(scores))
	top := float64(slices.Max(scores))
	sum := 0.0
	for i, s := range scores {
		probs[i] = math.Exp(float64(s) - top)
		sum += probs[i]
	}
	for i := range probs {
		probs[i] /= sum
	}
	return probs
}

// LogSoftmax returns the natural logarithms of the probabilities of scores.
func LogSoftmax(scores []float32) []float32 {
	norm := logSumExp(scores)
	logs := make([]float32, len(scores))
	for i, s := range scores {
		logs[i] = float32(float64(s) - norm)
	}
	return logs
}

// logSumExp returns log(sum(exp(scores))), the norm of their Softmax. A vocabulary of 50,000 is
// summed at every step for every row, so the exponentials are the vectorised ones of the Go engine
// (2 ulp).
func logSumExp(scores []float32) float64 {
	const piece = 1024
	var exps [piece]float32
	top := kernel.Max(scores)
	sum := 0.0
	for part := range slices.Chunk(scores, piece) {
		sum += float64(kernel.ExpSum(exps[:len(part)], part, top))
	}
	return float64(top) + math.Log(sum)
}

// likeliest returns the n ids with the best scores, the best first; of equal ones the smaller id.
func likeliest(scores []float32, n int) []Candidate {
	if n = min(n, len(scores)); n <= 0 {
		return nil
	}
	norm := logSumExp(scores)
	top := make([]Candidate, 0, n+1)
	for id, score := range scores {
		logProb := float64(score) - norm
		if len(top) == n && logProb <= top[n-1].LogProb {
			continue
		}
		at := len(top)
		for at > 0 && top[at-1].LogProb < logProb {
			at--
		}
		top = slices.Insert(top, at, Candidate{ID: int64(id), LogProb: logProb})
		top = top[:min(len(top), n)]
	}
	return top
}

// Probability returns that of one id, given the scores of all.
func Probability(scores []float32, id int64) float64 {
	return math.Exp(float64(scores[id]) - logSumExp(scores))
}
