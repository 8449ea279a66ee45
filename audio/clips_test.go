package audio

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// How sounds become clips; configurations that ask for more are refused. That the values are the
// reference's is a test of pipeline, with CLAP.
func TestClips(t *testing.T) {
	t.Parallel()
	const plain = `{"feature_extractor_type":"ClapFeatureExtractor","feature_size":8,"sampling_rate":1000,"hop_length":100,` +
		`"max_length_s":1,"fft_window_size":128,"frequency_max":400,"truncation":"rand_trunc","padding":"repeatpad"}`
	if !IsClips([]byte(plain)) || IsClips([]byte(`{"feature_extractor_type":"WhisperFeatureExtractor"}`)) || IsClips(nil) {
		t.Error("which configurations are of clips")
	}
	with := func(from, to string) *Clips {
		c, err := NewClips([]byte(strings.Replace(plain, from, to, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	third := make([]float32, 300)
	for i := range third {
		third[i] = 1
	}
	for fill, want := range map[string]int{"repeat": 1000, "repeatpad": 900, "pad": 300} {
		clip := with("repeatpad", fill).filled(third)
		n := slices.Index(clip, 0)
		if n < 0 {
			n = len(clip)
		}
		if len(clip) != 1000 || n != want {
			t.Errorf("%s: %d of %d samples are the sound's, want %d", fill, n, len(clip), want)
		}
	}
	// np.array_split of 0..n-1 in three, the element in the middle of each.
	for places, want := range map[int][3]int{1: {}, 2: {0, 1, 0}, 3: {0, 1, 2}, 4: {1, 2, 3}, 11: {2, 6, 9}} {
		if got := crops(places); got != want {
			t.Errorf("crops of %d places: %v, want %v", places, got, want)
		}
	}
	sound := func(n int) *Sound { return &Sound{Rate: 1000, Samples: make([]float32, n)} }
	for truncation, want := range map[string]struct {
		clips  int
		longer []bool
	}{"rand_trunc": {1, []bool{false, false, true}}, "fusion": {4, []bool{true, true, true}}} {
		made, err := with("rand_trunc", truncation).Prepare(t.Context(), []media.Item{sound(10), sound(1000), sound(2345)})
		if err != nil {
			t.Fatal(err)
		}
		features, longer := made.Tensors["input_features"], made.Tensors["is_longer"]
		if !slices.Equal(features.Shape(), []int{3, want.clips, 11, 8}) || !slices.Equal(tensor.Data[bool](longer), want.longer) ||
			made.Items() != 3 {
			t.Errorf("%s: %v, %v", truncation, features, tensor.Data[bool](longer))
		}
		if v := tensor.Data[float32](features); slices.Min(v) != -100 || slices.Max(v) != -100 { // silence
			t.Errorf("%s: from %v to %v", truncation, slices.Min(v), slices.Max(v))
		}
	}
	for _, item := range []media.Item{sound(0), &Sound{Rate: 8000, Samples: third}, (*Sound)(nil), media.Picture{}} {
		if _, err := with("", "").Prepare(t.Context(), []media.Item{item}); !errors.Is(err, ErrSound) {
			t.Errorf("%v: %v", item, err)
		}
	}
	for config, want := range map[string]string{
		`{`: "configuration", `{"feature_extractor_type":"X"}`: `"X" is not`,
		strings.Replace(plain, "rand_trunc", "middle", 1): `truncation "middle"`,
		strings.Replace(plain, "1000", "1", 1):            "sampling_rate 1",
		strings.Replace(plain, ":100,", ":129,", 1):       "hop_length 129",
		strings.Replace(plain, ":400", ":0", 1):           "frequency_max 0",
		strings.Replace(plain, `_s":1`, `_s":9000`, 1):    "max_length_s 9000",
	} {
		if _, err := NewClips([]byte(config)); !errors.Is(err, ErrSound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
	if whole, err := NewClips([]byte(`{"feature_extractor_type":"ClapFeatureExtractor"}`)); err != nil || whole.Rate() != 48000 ||
		whole.frames(whole.e.window) != 1001 || !whole.fused {
		t.Error(whole, err)
	}
}
