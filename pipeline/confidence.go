package pipeline

import "math"

// Confidence says how far a caption can be trusted.
type Confidence struct {
	// Probability is how often captions that looked as likely to the model were right when it was
	// measured; what counts as right, and on which pictures, is on the model's card.
	Probability float64
	// Unsure is true below the model's measured threshold.
	Unsure bool
}

// CaptionConfidence is the confidence in a caption, from the tokens that Caption or Stream gave for
// it: a logistic function of their mean log-probability, with the numbers of the bundle's
// "calibration" (Platt 1999). They were fitted to greedy decoding; sampled or searched captions get
// a number that means less. It is nil where the bundle has no calibration of captions. A caption
// without tokens has no probability at all.
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
