package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/speech"
)

// spokenGolden is what transformers' generate writes about clips of a sound, made by
// python -m xpipe_export.golden.speech.
type spokenGolden struct {
	Clips        []int  `json:"clips"`   // their first samples
	Samples      int    `json:"samples"` // of a clip
	Prompt       string `json:"prompt"`
	MaxNewTokens int    `json:"max_new_tokens"`
	Free         []struct {
		Clip int     `json:"clip"`
		IDs  []int64 `json:"ids"`
	} `json:"free"` // with no list of tokens suppressed, begun as generation_config.json says
	Rows []spokenCase `json:"rows"`
}

// spokenCase is a text that is asked for.
type spokenCase struct {
	Clip        *int    `json:"clip"` // nil: the whole sound, window by window
	Language    string  `json:"language"`
	Task        string  `json:"task"`
	Times       bool    `json:"times"`
	Prompt      bool    `json:"prompt"`
	Conditioned bool    `json:"conditioned"` // by the text of the windows before
	Beams       int     `json:"beams"`
	IDs         []int64 `json:"ids"`
}

func (c spokenCase) String() string {
	clip := "whole"
	if c.Clip != nil {
		clip = fmt.Sprint("clip ", *c.Clip)
	}
	c.Clip, c.IDs = nil, nil
	asked, _ := json.Marshal(c)
	return clip + " " + string(asked)
}

// Transcripts have the ids that transformers writes: greedily and by beams, with times and without,
// behind a prompt, translated, in a language that is given or heard, with the lists of
// generation_config.json, in one window and in many.
func TestTranscribeEqualsTransformers(t *testing.T) {
	t.Parallel()
	sound, err := audio.DecodeFile(t.Context(), "../testdata/speech/jfk.flac", audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"english-80", "languages-128"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("../testdata/speech", model)
			var g spokenGolden
			data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			if err == nil {
				err = json.Unmarshal(data, &g)
			}
			if err != nil {
				t.Fatal(err)
			}
			clip := func(i int) *audio.Sound {
				return &audio.Sound{Rate: sound.Rate, Samples: sound.Samples[g.Clips[i]:][:g.Samples]}
			}
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p, err := Open(t.Context(), dir, WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				for _, c := range g.Rows {
					asked := sound
					if c.Clip != nil {
						asked = clip(*c.Clip)
					}
					got, err := p.Transcribe(t.Context(), asked, g.options(c))
					if err != nil {
						t.Fatal(err)
					}
					if ids := got.IDs; c.Times && c.Clip != nil {
						got.IDs = ids[:min(len(ids), len(c.IDs))] // of the first window
					}
					if !slices.Equal(got.IDs, c.IDs) {
						t.Errorf("%v: %v, want %v", c, got.IDs, c.IDs)
					}
				}
				for _, c := range g.Free {
					got, err := p.Generate(t.Context(), []Request{{Item: clip(c.Clip)}}, func(o *Generation) {
						o.MaxNewTokens, o.SuppressTokens, o.BeginSuppressTokens = g.MaxNewTokens, nil, nil
					})
					if err != nil {
						t.Fatal(err)
					}
					sameIDs(t, "without lists", got[0][0], c.IDs)
				}
			})
		})
	}
}

// options ask for a case as transformers is asked: it tries one temperature, and passes nothing over.
func (g *spokenGolden) options(c spokenCase) TranscribeOption {
	return func(o *Transcription) {
		o.Language, o.Task = c.Language, cmp.Or(c.Task, speech.Write)
		o.WithoutTimes, o.Forgetful, o.NumBeams = !c.Times, !c.Conditioned, max(c.Beams, 1)
		if c.Prompt {
			o.Prompt = g.Prompt
		}
		o.Temperatures, o.Everything, o.MaxNewTokens = []float64{0}, true, g.MaxNewTokens
		o.MostRepeats, o.LeastLogProb, o.NoSpeech = math.NaN(), math.NaN(), math.NaN()
	}
}
