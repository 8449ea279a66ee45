package audio

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Samples pass as they are, one sound behind another; configurations that ask for more are refused.
func TestWaves(t *testing.T) {
	t.Parallel()
	const plain = `{"feature_extractor_type":"Wav2Vec2FeatureExtractor","do_normalize":false,"sampling_rate":8000}`
	if !IsWaves([]byte(plain)) || IsWaves([]byte(`{"feature_extractor_type":"WhisperFeatureExtractor"}`)) || IsWaves(nil) {
		t.Error("which configurations are of samples")
	}
	w, err := NewWaves([]byte(plain))
	if err != nil || w.Rate() != 8000 {
		t.Fatal(w, err)
	}
	made, err := w.Prepare(t.Context(), []media.Item{
		&Sound{Rate: 8000, Samples: []float32{1, 2}}, &Sound{Rate: 8000}, &Sound{Rate: 8000, Samples: []float32{3}},
	})
	if err != nil || !slices.Equal(tensor.Data[float32](made.Tensors["input_values"]), []float32{1, 2, 3}) ||
		!slices.Equal(made.Rows, [][2]int{{0, 2}, {2, 2}, {2, 3}}) {
		t.Error(made, err)
	}
	for _, item := range []media.Item{&Sound{Rate: 16000}, (*Sound)(nil), media.Picture{}} {
		if _, err := w.Prepare(t.Context(), []media.Item{item}); !errors.Is(err, ErrSound) {
			t.Errorf("%v: %v", item, err)
		}
	}
	for config, want := range map[string]string{
		`{`: "configuration", `{"feature_extractor_type":"X"}`: `"X" is not`,
		strings.Replace(plain, "false", "true", 1): "do_normalize", strings.Replace(plain, "8000", "1", 1): "sampling_rate 1",
	} {
		if _, err := NewWaves([]byte(config)); !errors.Is(err, ErrSound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
