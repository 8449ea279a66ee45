package api

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/speech"
)

// Times are rounded to milliseconds, and what is no number does not break a line.
func TestAudioTranscriptJSON(t *testing.T) {
	t.Parallel()
	heard := &pipeline.Transcript{
		Language: "en", Text: " So my fellow", NoSpeech: math.NaN(), Seconds: 11.000062, IDs: []int64{523, 616},
		Segments: []pipeline.Segment{{
			Start: 0.1 + 0.2, End: 1.9999, Text: " So my fellow", LogProb: math.Inf(-1), CompressionRatio: 1.5, NoSpeech: 0.25,
			Words: []pipeline.SpokenWord{{Start: 0.3, End: 0.58, Text: " So", Probability: 0.5}},
		}},
	}
	origin := &Origin{Model: "m", ModelHash: "h", Version: "v", Settings: Settings{}}
	line := NewAudioTranscript("a\xe9.wav", heard, 0.5)
	line.Origin = origin
	failure := NewSoundFailure("b.wav", errors.New("one\ntwo"))
	failure.Origin = origin
	nothing := NewAudioTranscript("c.wav", &pipeline.Transcript{}, 0)
	for _, c := range []struct {
		line any
		want string
	}{
		{line, `{"audio":"a` + "\ufffd" + `e9.wav","language":"en","text":"So my fellow","segments":[{"start":0.3,"end":2,` +
			`"text":"So my fellow","words":[{"start":0.3,"end":0.58,"text":" So","probability":0.5}],"temperature":0,` +
			`"logprob":0,"compression_ratio":1.5,"no_speech_probability":0.25}],"no_speech_probability":0,` +
			`"audio_seconds":11,"seconds":0.5,"ids":[523,616],"model":"m","model_hash":"h","version":"v","settings":{}}`},
		{failure, `{"audio":"b.wav","error":"one; two","model":"m","model_hash":"h","version":"v","settings":{}}`},
		{nothing, `{"audio":"c.wav","language":"","text":"","segments":[],"no_speech_probability":0,` +
			`"audio_seconds":0,"seconds":0,"ids":[]}`},
	} {
		var got bytes.Buffer
		if err := WriteJSON(&got, c.line); err != nil || got.String() != c.want+"\n" {
			t.Errorf("%v\n%s\nwant\n%s", err, got.String(), c.want)
		}
	}
}

func TestTranscriptionSettings(t *testing.T) {
	t.Parallel()
	used := speech.DefaultOptions()
	same := Settings{}
	if same.SetTranscription(used); len(same) > 0 {
		t.Errorf("%v", same)
	}
	used.Language, used.Forgetful, used.NoSpeech = "fr", true, math.NaN()
	used.Temperatures, used.Batched = []float64{0}, 8
	changed := Settings{}
	changed.SetTranscription(used)
	want := []string{"batched", "condition_on_previous_text", "language", "no_speech_threshold", "temperature"}
	if names := slices.Sorted(maps.Keys(changed)); !slices.Equal(names, want) || changed["batched"] != true {
		t.Errorf("%v", changed)
	}
	var line bytes.Buffer
	if err := WriteJSON(&line, changed); err != nil {
		t.Error(err)
	}
}

// Folders give sounds, and what else is in them counts as it does beside pictures.
func TestSounds(t *testing.T) {
	t.Parallel()
	dir := folder(t, "b.wav", "a/c.WAV", "x.png", "notes.txt")
	skips := &Skips{}
	found, count, err := Sources{Skipped: skips}.Sounds(dir, "-")
	if err != nil || count != 3 {
		t.Fatalf("%d, %v", count, err)
	}
	var names []string
	for p, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Load(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		names = append(names, p.Name)
	}
	want := []string{filepath.Join(dir, "a/c.WAV"), filepath.Join(dir, "b.wav"), "-"}
	if !slices.Equal(names, want) || skips.Others() != 2 || skips.Total() != 0 {
		t.Errorf("%v, %d others, %v", names, skips.Others(), skips)
	}
	_, _, err = Sources{}.Sounds(filepath.Join(dir, "x.tar"))
	if err != nil {
		t.Errorf("a shard that is not there is a sound that fails: %v", err)
	}
	_, _, err = Sources{}.Sounds("http://x.org/a.mp3")
	wantError(t, err, ExitInput, "fetches no sounds")
	empty := folder(t, "x.png")
	_, _, err = Sources{}.Sounds(empty)
	wantError(t, err, ExitInput, "no sounds in it")
	skips = &Skips{}
	_, _, err = Sources{Skipped: skips}.Sounds(empty, empty)
	wantError(t, err, ExitInput, "2 folders without sounds")
}
