package pipeline

import "math"

// Confidence says how far a caption can be trusted.
type Confidence struct {
	// Probability is the measured share of right captions among those that the model found as
	// likely. The model's card says what counts as right, and which pictures were used.
	Probability float64
	// Unsure is true below the model's measured threshold.
	Unsure bool
}

// CaptionConfidence returns the confidence in a caption, from the tokens that Caption or Stream
// gave for it: a logistic function of their mean log-probability, with the coefficients of the
// bundle's "calibration" (Platt 1999). They were fitted to greedy decoding, and mean less for
// sampled captions and for beams. It is nil where the bundle has no calibration of captions. A
// caption without tokens gets probability 0.
func (p *Pipeline) CaptionConfidence(tokens []Token) *Confidence {
	c, ok := p.bundle.Calibration["caption"]
	if !ok {
		return nil
	}
	if len(tokens) == 0 {
		return &Confidence{Unsure: true}
	}
	sum := 0.0
	for _, t := range tokens {
		sum += t.LogProb
	}
	probability := 1 / (1 + math.Exp(-(c.Slope*sum/float64(len(tokens)) + c.Intercept)))
	return &Confidence{Probability: probability, Unsure: probability < c.Threshold}
}
