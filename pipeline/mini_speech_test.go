package pipeline_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	whispermini "github.com/crossattn/xpipe/models/mini/whisper-mini"
	"github.com/crossattn/xpipe/pipeline"
)

const speech = "../testdata/speech/"

func openWhisperMini(t *testing.T, eng engine.Engine) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.OpenFS(t.Context(), whispermini.FS(), pipeline.WithEngine(eng))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// The embedded model writes what ONNX Runtime makes of its graphs (testdata/speech/mini.py), on both
// engines, and that is what the float32 model says. Words get their times from attention inside the
// packed decoder.
func TestWhisperMini(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(speech + "mini.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Float32 []int64 `json:"float32"`
		Packed  []int64 `json:"packed"`
		Text    string  `json:"packed_text"`
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(want.Packed, want.Float32) {
		t.Errorf("packed %v, float32 %v", want.Packed, want.Float32)
	}
	pipeline.MostlyGo(t, func(t *testing.T, eng engine.Engine) {
		p := openWhisperMini(t, eng)
		got, err := p.TranscribeFile(t.Context(), speech+"jfk.flac", func(o *pipeline.Transcription) {
			o.WithoutTimes, o.Temperatures = true, []float64{0}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != strings.TrimSpace(want.Text) || !slices.Equal(got.IDs, want.Packed) {
			t.Errorf("%s: %q %v, want %q %v", eng.Name(), got.Text, got.IDs, want.Text, want.Packed)
		}
		if got.Language != "en" || got.NoSpeech > 0.5 {
			t.Errorf("%s: language %q, no speech %v", eng.Name(), got.Language, got.NoSpeech)
		}
		if !sweep.Whole { // TestWordTimes takes a smaller model
			return
		}
		timed, err := p.TranscribeFile(t.Context(), speech+"jfk.flac", pipeline.WithWords())
		if err != nil {
			t.Fatal(err)
		}
		checkWords(t, eng.Name(), timed)
	})
}

// checkWords holds the words of the clip to its length and their order.
func checkWords(t *testing.T, engine string, got *pipeline.Transcript) {
	t.Helper()
	last, words := 0.0, 0
	for _, s := range got.Segments {
		for _, w := range s.Words {
			if w.Start < last || w.End < w.Start || w.End > got.Seconds+0.1 {
				t.Errorf("%s: %q from %v to %v after %v", engine, w.Text, w.Start, w.End, last)
			}
			last, words = w.Start, words+1
		}
	}
	if words != 22 {
		t.Errorf("%s: %d words in %q", engine, words, got.Text)
	}
}
