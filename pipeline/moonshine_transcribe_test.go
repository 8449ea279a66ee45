package pipeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/audio"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/engine"
)

// twicePresident is what is said in two halves with 4 s of silence between and behind them.
func twicePresident(t *testing.T) *audio.Sound {
	t.Helper()
	sound, err := audio.DecodeFile(t.Context(), "../testdata/speech/jfk.flac", audio.WithoutFFmpeg(), audio.WithRate(16000))
	if err != nil {
		t.Fatal(err)
	}
	half, silence := len(sound.Samples)/2, make([]float32, 4*16000)
	return &audio.Sound{Rate: 16000, Samples: slices.Concat(sound.Samples[:half], silence, sound.Samples[half:], silence)}
}

func openMoonshineLayout(t *testing.T, eng engine.Engine) *Pipeline {
	t.Helper()
	p, err := Open(t.Context(), filepath.Join(layoutsDir, "moonshine-transformersjs"), WithEngine(eng))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Each stretch in which somebody speaks is a segment, with the text that Generate writes about it.
func TestMoonshineTranscribes(t *testing.T) {
	t.Parallel()
	sound := twicePresident(t)
	mostlyGo(t, func(t *testing.T, eng engine.Engine) {
		p := openMoonshineLayout(t, eng)
		if !p.Abilities().Transcribe || p.HearingRate() != 16000 {
			t.Errorf("abilities %+v, %d samples a second", p.Abilities(), p.HearingRate())
		}
		for _, o := range []Transcription{{NumBeams: 1}, {NumBeams: 2, MaxNewTokens: 5, Live: true}} {
			var emitted []string
			heard, err := p.Transcribe(t.Context(), sound, WithLanguage("english"), func(t *Transcription) {
				t.NumBeams, t.MaxNewTokens, t.Live = o.NumBeams, o.MaxNewTokens, o.Live
				t.Temperatures, t.MostRepeats = []float64{0}, math.NaN()
				t.Emit = func(s Segment) bool { emitted = append(emitted, s.Text); return true }
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(heard.Segments); !o.Live && n != 2 || n < 2 || heard.Language != "en" ||
				heard.Text != strings.Join(emitted, " ") || math.Abs(heard.Seconds-19) > 1e-6 {
				t.Fatalf("%d segments, language %q, %.2f s, %q", n, heard.Language, heard.Seconds, heard.Text)
			}
			for _, s := range heard.Segments {
				from, to := int(math.Round(s.Start*16000)), int(math.Round(s.End*16000))
				most := int(math.Ceil(6.5 * (s.End - s.Start)))
				if o.MaxNewTokens > 0 {
					most = o.MaxNewTokens
				}
				request := Request{Item: &audio.Sound{Rate: 16000, Samples: sound.Samples[from:to]}}
				texts, err := p.Generate(t.Context(), []Request{request}, func(g *Generation) {
					g.MaxNewTokens, g.NumBeams = most, o.NumBeams
				})
				if err != nil {
					t.Fatal(err)
				}
				sameIDs(t, s.Text, texts[0][0], s.IDs)
				if s.LogProb >= 0 || len(s.IDs) > most {
					t.Errorf("%q: log-probability %v, %d ids", s.Text, s.LogProb, len(s.IDs))
				}
			}
		}
		stopped, err := p.Transcribe(t.Context(), sound, func(t *Transcription) { t.Emit = func(Segment) bool { return false } })
		if err != nil || len(stopped.Segments) != 1 {
			t.Errorf("stopped: %v, %v", stopped, err)
		}
		none, err := p.Transcribe(t.Context(), &audio.Sound{Rate: 16000, Samples: make([]float32, 32000)})
		if err != nil || none.Text != "" || none.NoSpeech != 1 || none.Seconds != 2 {
			t.Errorf("silence: %+v, %v", none, err)
		}
	})
}

// A sound that comes is written down as each piece is over.
func TestMoonshineLive(t *testing.T) {
	t.Parallel()
	p := openMoonshineLayout(t, goEngine)
	in, out := io.Pipe()
	sound, err := audio.Open(t.Context(), in, audio.WithRaw(audio.Raw{Rate: 16000, Channels: 1, Format: "f32le"}))
	if err != nil {
		t.Fatal(err)
	}
	defer sound.Close()
	var raw bytes.Buffer
	if err := binary.Write(&raw, binary.LittleEndian, twicePresident(t).Samples); err != nil {
		t.Fatal(err)
	}
	first := make(chan bool)
	go func() {
		half := raw.Next(raw.Len() / 2) // the first words and the silence behind them
		_, _ = out.Write(half)
		<-first
		_, _ = out.Write(raw.Bytes())
		out.Close()
	}()
	var segments int
	for _, err := range p.Segments(t.Context(), sound, func(t *Transcription) { t.Live = true }) {
		if err != nil {
			t.Fatal(err)
		}
		if segments++; segments == 1 {
			close(first)
		}
	}
	if segments < 2 {
		t.Errorf("%d segments", segments)
	}
}

// Options that mean nothing to a model that hears in pieces are refused by name.
func TestMoonshineRefuses(t *testing.T) {
	t.Parallel()
	p := openMoonshineLayout(t, goEngine)
	sound := &audio.Sound{Rate: 16000, Samples: make([]float32, 16000)}
	for name, option := range map[string]TranscribeOption{
		"words":                       WithWords(),
		"task":                        WithTranslation(),
		"language":                    WithLanguage("fr"),
		"prompt":                      func(t *Transcription) { t.Prompt = "names" },
		"temperature":                 func(t *Transcription) { t.Temperatures = []float64{0.5} },
		"best_of":                     func(t *Transcription) { t.BestOf = 2 },
		"seed":                        func(t *Transcription) { t.Seed = 2 },
		"compression_ratio_threshold": func(t *Transcription) { t.MostRepeats = 2 },
		"logprob_threshold":           func(t *Transcription) { t.LeastLogProb = -2 },
		"no_speech_threshold":         func(t *Transcription) { t.NoSpeech = 0.5 },
		"voice_check":                 func(t *Transcription) { t.Everything = true },
		"batched":                     func(t *Transcription) { t.Batched = 2 },
	} {
		if _, err := p.Transcribe(t.Context(), sound, option); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), ": "+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Transcribe(t.Context(), sound, func(t *Transcription) { t.NumBeams = 0 }); !errors.Is(err, ErrOption) {
		t.Errorf("no beams: %v", err)
	}
	if _, err := p.Transcribe(t.Context(), &audio.Sound{Rate: 8000}); !errors.Is(err, ErrSound) {
		t.Errorf("another rate: %v", err)
	}
}
