package pipeline

import (
	"math"
	"strings"

	"github.com/crossattn/xpipe/pipeline/decode"
)

// Confidence says how far a caption can be trusted.
type Confidence = decode.Confidence

// CaptionConfidence returns the confidence in a caption, from the tokens that Stream gave for it; a
// Text has it as Text.Confidence. It is a logistic function of the tokens' mean log-probability,
// with the coefficients of the bundle's "calibration" (Platt 1999). They were fitted to greedy
// decoding, and mean less for sampled captions and for beams. It is nil where the bundle has no
// calibration of captions. A caption without tokens gets probability 0.
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

// asksForCaption reports whether a request asks for a caption as the model gives it by itself: the
// texts that the calibration is about.
func (r *Request) asksForCaption() bool {
	return strings.TrimSpace(r.Question) == "" && r.Prompt == "" &&
		len(r.Shots) == 0 && len(r.Parts) == 0 && len(r.Messages) == 0
}
