package audio

import (
	"context"
	"encoding/json"

	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Waves gives models the samples of sounds themselves, as Wav2Vec2FeatureExtractor of transformers
// 4.57.6 does without do_normalize. It is safe for use by several goroutines.
type Waves struct{ rate int }

// wavesType is the class of configurations that NewWaves reads.
const wavesType = "Wav2Vec2FeatureExtractor"

// IsWaves says whether a preprocessor_config.json is one for NewWaves, not for NewExtractor.
func IsWaves(config []byte) bool { return extractorType(config) == wavesType }

// NewWaves reads a preprocessor_config.json whose feature_extractor_type is Wav2Vec2FeatureExtractor.
// Without sampling_rate a sound has 16,000 samples a second. Errors wrap ErrSound.
func NewWaves(config []byte) (*Waves, error) {
	c := struct {
		Type      string `json:"feature_extractor_type"`
		Size      int    `json:"feature_size"`
		Rate      int    `json:"sampling_rate"`
		Normalize bool   `json:"do_normalize"`
	}{Size: 1, Rate: 16000, Normalize: true}
	config, err := bom.Strip(config)
	if err == nil {
		err = json.Unmarshal(config, &c)
	}
	switch {
	case err != nil:
		return nil, soundErrorf("preprocessor configuration: %w", err)
	case c.Type != wavesType:
		return nil, soundErrorf("preprocessor configuration: feature_extractor_type %q is not %s", c.Type, wavesType)
	case c.Size != 1 || c.Rate < 1000 || c.Rate > 768000:
		return nil, soundErrorf("preprocessor configuration: feature_size %d, not 1, or sampling_rate %d is out of bounds",
			c.Size, c.Rate)
	case c.Normalize:
		return nil, soundErrorf("preprocessor configuration: do_normalize true is not supported")
	}
	return &Waves{c.Rate}, nil
}

// Rate returns the samples a second that Prepare takes.
func (w *Waves) Rate() int { return w.rate }

// Prepare returns input_values [samples] float32, those of one sound behind those of another, which Rows
// tells apart. It makes Waves a media.Preparer. Items that are no sounds, and sounds of another rate,
// give an error that wraps ErrSound.
func (w *Waves) Prepare(_ context.Context, items []media.Item) (media.Prepared, error) {
	var values []float32
	var rows [][2]int
	for i, item := range items {
		sound, err := soundOf(item, i, w.rate)
		if err != nil {
			return media.Prepared{}, err
		}
		rows = append(rows, [2]int{len(values), len(values) + len(sound.Samples)})
		values = append(values, sound.Samples...)
	}
	t, err := tensor.New([]int{len(values)}, values)
	return media.Prepared{Tensors: map[string]*tensor.Tensor{"input_values": t}, Rows: rows}, err
}
