package pipeline

import (
	"math"
	"testing"

	"github.com/crossattn/xpipe/models"
)

func TestCaptionConfidence(t *testing.T) {
	t.Parallel()
	p := &Pipeline{bundle: &models.Bundle{}}
	tokens := []Token{{LogProb: -0.1}, {LogProb: -0.5}}
	if c := p.CaptionConfidence(tokens); c != nil {
		t.Errorf("without calibration: %+v", c)
	}
	p.bundle.Calibration = map[string]models.Calibration{"caption": {Slope: 2, Intercept: 0.6, Threshold: 0.5}}
	for _, c := range []struct {
		tokens []Token
		want   Confidence
	}{
		{tokens, Confidence{Probability: 0.5}}, // 2 * -0.3 + 0.6 = 0
		{[]Token{{LogProb: -1}}, Confidence{Probability: 1 / (1 + math.Exp(1.4)), Unsure: true}},
		{nil, Confidence{Unsure: true}},
	} {
		got := p.CaptionConfidence(c.tokens)
		if math.Abs(got.Probability-c.want.Probability) > 1e-12 || got.Unsure != c.want.Unsure {
			t.Errorf("%v: %+v, want %+v", c.tokens, got, c.want)
		}
	}
}
