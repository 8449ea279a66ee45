package audio

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Features of one sound stand behind those of another; configurations that ask for more are refused. That
// the values are the reference's is a test of pipeline, with Gemma 3n.
func TestFrames(t *testing.T) {
	t.Parallel()
	const plain = `{"feature_extractor_type":"Gemma3nAudioFeatureExtractor","feature_size":8,"sampling_rate":16000}`
	if !IsFrames([]byte(plain)) || IsFrames([]byte(`{"feature_extractor_type":"WhisperFeatureExtractor"}`)) || IsFrames(nil) {
		t.Error("which configurations are of frames")
	}
	f, err := NewFrames([]byte(plain))
	if err != nil || f.Rate() != 16000 {
		t.Fatal(f, err)
	}
	sound := func(n int) *Sound {
		s := &Sound{Rate: 16000, Samples: make([]float32, n)}
		for i := range s.Samples {
			s.Samples[i] = float32(math.Sin(float64(i) / 7))
		}
		return s
	}
	made, err := f.Prepare(t.Context(), []media.Item{sound(514), sound(2000)})
	if err != nil || !slices.Equal(made.Rows, [][2]int{{0, 1}, {1, 11}}) ||
		!slices.Equal(made.Tensors["input_features"].Shape(), []int{11, 8}) ||
		!slices.Equal(made.Tensors["input_features_mask"].Shape(), []int{11}) {
		t.Error(made, err)
	}
	silent, err := f.Prepare(t.Context(), []media.Item{&Sound{Rate: 16000, Samples: make([]float32, 600)}})
	if err != nil || silent.Tensors["input_features"].Float32s()[0] != float32(math.Log(1e-5)) {
		t.Error(silent, err)
	}
	// What is said behind 30 s is not heard.
	long := sound(500_000)
	whole, err := f.Prepare(t.Context(), []media.Item{long, sound(480_000)})
	if err != nil || whole.Rows[0][1] != 2997 || whole.Rows[1][1]-whole.Rows[1][0] != 2997 {
		t.Error(whole.Rows, err)
	}
	scaled, err := NewFrames([]byte(strings.Replace(plain, "{", `{"per_bin_mean":[1,1,1,1,1,1,1,1],"per_bin_stddev":[2,2,2,2,2,2,2,2],`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := scaled.Prepare(t.Context(), []media.Item{sound(514)})
	if err != nil {
		t.Fatal(err)
	}
	a, b := tensor.Data[float32](made.Tensors["input_features"])[0], tensor.Data[float32](other.Tensors["input_features"])[0]
	if math.Abs(float64((a-1)/2-b)) > 1e-5 {
		t.Errorf("with mean and deviation %v, without %v", b, a)
	}
	for _, item := range []media.Item{sound(512), &Sound{Rate: 8000}, (*Sound)(nil), media.Picture{}} {
		if _, err := f.Prepare(t.Context(), []media.Item{item}); !errors.Is(err, ErrSound) {
			t.Errorf("%v: %v", item, err)
		}
	}
	for config, want := range map[string]string{
		`{`: "configuration", `{"feature_extractor_type":"X"}`: `"X" is not`,
		strings.Replace(plain, "{", `{"dither":1,`, 1): "dither", strings.Replace(plain, "{", `{"padding_value":1,`, 1): "padding_value",
		strings.Replace(plain, "16000", "1", 1): "sampling_rate 1", strings.Replace(plain, "{", `{"per_bin_mean":[1],`, 1): "per_bin_mean",
		strings.Replace(plain, "{", `{"mel_floor":0,`, 1): "mel_floor", strings.Replace(plain, "{", `{"hop_length":900,`, 1): "every 900",
	} {
		if _, err := NewFrames([]byte(config)); !errors.Is(err, ErrSound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
