package speech

import (
	"context"
	"errors"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
)

// measuring is a model that notes how many samples it is given.
type measuring struct {
	family.PieceHearer
	samples int
}

func (m *measuring) Pieces() family.Pieces {
	return family.Pieces{Least: 895, Longest: 30, Tokens: 6.5}
}

var errMeasured = errors.New("measured")

func (m *measuring) Encode(_ context.Context, prepared media.Prepared) ([]family.Encoded, error) {
	m.samples = prepared.Tensors["input_values"].Len()
	return nil, errMeasured
}

// Pieces that are too short for the model have silence behind them.
func TestShortPieces(t *testing.T) {
	t.Parallel()
	waves, err := audio.NewWaves([]byte(`{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": false}`))
	if err != nil {
		t.Fatal(err)
	}
	for samples, want := range map[int]int{1: 895, 895: 895, 1000: 1000} {
		m := &measuring{}
		p := &Pieces{Model: m, Waves: waves}
		_, err := p.segment(t.Context(), stretch{samples: make([]float32, samples)}, DefaultOptions())
		if !errors.Is(err, errMeasured) || m.samples != want {
			t.Errorf("%d samples: the model is given %d, %v", samples, m.samples, err)
		}
	}
}
