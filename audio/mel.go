package audio

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
)

// melBands returns a bank of filters on Slaney's mel scale, with Slaney's norm, over the terms of a
// power spectrum of real numbers at a rate. Source: mel_filter_bank of audio_utils.py, transformers
// 4.57.6, with norm and mel_scale "slaney".
func melBands(count, terms, rate int, lowest, highest float64) *kernel.Bands {
	low, high := hertzToMel(lowest), hertzToMel(highest)
	edges := make([]float64, count+2)
	for i := range edges {
		edges[i] = melToHertz(low + (high-low)*float64(i)/float64(count+1))
	}
	bands := &kernel.Bands{}
	for b := range count {
		left, centre, right := edges[b], edges[b+1], edges[b+2]
		norm := 2 / (right - left)
		first, weights := 0, []float64(nil)
		for k := range terms {
			f := float64(rate/2) * float64(k) / float64(terms-1)
			w := math.Min((f-left)/(centre-left), (right-f)/(right-centre))
			if w <= 0 {
				continue
			}
			if weights == nil {
				first = k
			}
			weights = append(weights, w*norm)
		}
		bands.Add(first, weights)
	}
	return bands
}

// Slaney's scale is linear up to 1000 Hz, which is mel 15, and logarithmic above, 27 mel to a factor
// of 6.4.
func hertzToMel(f float64) float64 {
	if f < 1000 {
		return 3 * f / 200
	}
	return 15 + math.Log(f/1000)*27/math.Log(6.4)
}

func melToHertz(mel float64) float64 {
	if mel < 15 {
		return 200 * mel / 3
	}
	return 1000 * math.Exp(math.Log(6.4)/27*(mel-15))
}
