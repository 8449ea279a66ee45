package speech

import (
	"math"

	"github.com/crossattn/xpipe/pipeline/family"
)

// tokenTimes returns when each token of an aligned text of so many starts, and then when the last one
// ends: seconds from the beginning of the window, of which the first so many states hold sound. Source:
// find_alignment of timing.py, openai-whisper 20250625.
func tokenTimes(a *family.Alignment, tokens, states int) []float64 {
	states = min(states, a.States)
	rows := tokens + 1
	if states == 0 || rows >= a.Tokens {
		return make([]float64, rows)
	}
	times := make([]float64, rows)
	for i, state := range path(attended(a, states, rows), rows, states) {
		times[i] = float64(state) / math.Round(1/step)
	}
	return times
}

// attended returns how much each of the last rows before the end of the text attends to each state,
// [rows,states]: the mean of the heads, each normalised over all tokens and smoothed over states.
func attended(a *family.Alignment, states, rows int) []float64 {
	mean := make([]float64, rows*states)
	weights := make([]float32, a.Tokens*states)
	smooth := make([]float32, states)
	for _, head := range a.Heads {
		for t := range a.Tokens {
			share(weights[t*states:][:states], head[t*a.States:])
		}
		standardise(weights, states)
		for r := range rows {
			smoothen(smooth, weights[(a.Tokens-1-rows+r)*states:])
			for i, v := range smooth {
				mean[r*states+i] += float64(v)
			}
		}
	}
	for i := range mean {
		mean[i] /= float64(len(a.Heads))
	}
	return mean
}

// share scales the first probabilities so that they sum to 1. So softmax would make them of the
// scores of these states alone.
func share(dst, probabilities []float32) {
	sum := 0.0
	for _, p := range probabilities[:len(dst)] {
		sum += float64(p)
	}
	if sum == 0 {
		clear(dst)
		return
	}
	for i := range dst {
		dst[i] = float32(float64(probabilities[i]) / sum)
	}
}

// standardise gives each column of [rows,columns] the mean 0 and the variance 1. A column of equal
// values becomes zeros.
func standardise(values []float32, columns int) {
	rows := float64(len(values) / columns)
	mean, deviation := make([]float64, columns), make([]float64, columns)
	for i, v := range values {
		mean[i%columns] += float64(v) / rows
	}
	for i, v := range values {
		d := float64(v) - mean[i%columns]
		deviation[i%columns] += d * d / rows
	}
	for i := range deviation {
		deviation[i] = math.Sqrt(deviation[i])
	}
	for i, v := range values {
		c := i % columns
		values[i] = 0
		if deviation[c] > 0 {
			values[i] = float32((float64(v) - mean[c]) / deviation[c])
		}
	}
}

// smoothen writes the medians of 7 neighbours to dst. Beyond its ends the row is its own reflection.
// Rows too short for that stay as they are.
func smoothen(dst, row []float32) {
	const half = 3
	row = row[:len(dst)]
	if len(row) <= half {
		copy(dst, row)
		return
	}
	last := len(row) - 1
	for i := range row {
		var near [2*half + 1]float32
		if i >= half && i <= last-half {
			copy(near[:], row[i-half:])
		} else {
			for k := range near {
				at := max(i-half+k, half-i-k) // |i-half+k|
				near[k] = row[min(at, 2*last-at)]
			}
		}
		dst[i] = median(&near)
	}
}

// median returns the middle of 7 numbers, which it moves about. Source: these exchanges, of Devillard,
// "Fast median search: an ANSI C implementation", 1998.
func median(n *[7]float32) float32 {
	order(&n[0], &n[5])
	order(&n[0], &n[3])
	order(&n[1], &n[6])
	order(&n[2], &n[4])
	order(&n[0], &n[1])
	order(&n[3], &n[5])
	order(&n[2], &n[6])
	order(&n[2], &n[3])
	order(&n[3], &n[6])
	order(&n[4], &n[5])
	order(&n[1], &n[4])
	order(&n[1], &n[3])
	order(&n[3], &n[4])
	return n[3]
}

func order(a, b *float32) { *a, *b = min(*a, *b), max(*a, *b) }
