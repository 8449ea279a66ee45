package own

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/speech"
	"github.com/crossattn/xpipe/server/web"
)

// generationFields are the parameters of decoding.
var generationFields = func() (fields []field) {
	for _, p := range api.IntParameters {
		fields = append(fields, field{name: p.Name, kind: "integer", usage: plain(p.Usage)})
	}
	for _, p := range api.FloatParameters {
		fields = append(fields, field{name: p.Name, kind: "number", usage: plain(p.Usage)})
	}
	for _, p := range api.StringsParameters {
		fields = append(fields, field{name: p.Name, many: true, usage: plain(p.Usage)})
	}
	return append(fields,
		field{name: api.SampleParameter.Name, kind: "boolean", usage: api.SampleParameter.Usage},
		field{name: api.SeedParameter.Name, kind: "integer", usage: plain(api.SeedParameter.Usage)},
		field{name: api.EarlyStopping, usage: api.EarlyStoppingUsage})
}()

// plain is the use of a flag in words about a field.
func plain(usage string) string { return strings.ReplaceAll(usage, "--", "") }

// hearingField is a parameter of a transcript.
type hearingField struct {
	field
	set func(t *pipeline.Transcription, text string) (ok bool)
}

// hearing are the parameters of a transcript, by the names of the command's flags.
var hearing = []hearingField{
	{field{name: "language", usage: "what is spoken: a code such as fr, or a name such as french; without it what is heard"},
		func(t *pipeline.Transcription, s string) bool { t.Language = s; return true }},
	{field{name: "task", usage: "transcribe, or translate into English"},
		func(t *pipeline.Transcription, s string) bool {
			t.Task = s
			return s == speech.Write || s == speech.Translate
		}},
	{field{name: "words", kind: "boolean", usage: "give each word its time"},
		boolean(func(t *pipeline.Transcription) *bool { return &t.Words })},
	{field{name: "prompt", usage: "text that stands before the sound, with words and names to expect"},
		func(t *pipeline.Transcription, s string) bool { t.Prompt = s; return true }},
	{field{name: "no-timestamps", kind: "boolean", usage: "write windows of 30 seconds without times"},
		boolean(func(t *pipeline.Transcription) *bool { return &t.WithoutTimes })},
	{field{name: "no-condition", kind: "boolean", usage: "let windows not read the text before them"},
		boolean(func(t *pipeline.Transcription) *bool { return &t.Forgetful })},
	{field{name: "no-voice-check", kind: "boolean", usage: "hear windows, too, in which nobody seems to speak"},
		boolean(func(t *pipeline.Transcription) *bool { return &t.Everything })},
	{field{name: "batched", kind: "integer", usage: "hear so many windows at once, cut at pauses"},
		integer(func(t *pipeline.Transcription) *int { return &t.Batched })},
	{field{name: "temperature", usage: "temperatures to try in turn, with commas between; one of them: that alone"}, temperatures},
	{field{name: "compression-ratio-threshold", usage: "try again above this ratio, which repeats have; none: do not"},
		threshold(func(t *pipeline.Transcription) *float64 { return &t.MostRepeats })},
	{field{name: "logprob-threshold", usage: "try again where the mean of log-probabilities is below this; none: do not"},
		threshold(func(t *pipeline.Transcription) *float64 { return &t.LeastLogProb })},
	{field{name: "no-speech-threshold", usage: "pass a window over where no speech is more probable than this; none: do not"},
		threshold(func(t *pipeline.Transcription) *float64 { return &t.NoSpeech })},
	{field{name: "num-beams", kind: "integer", usage: "beams of beam search at temperature 0; 1: none"},
		integer(func(t *pipeline.Transcription) *int { return &t.NumBeams })},
	{field{name: "best-of", kind: "integer", usage: "texts drawn at a temperature above 0, the likeliest of which is kept"},
		integer(func(t *pipeline.Transcription) *int { return &t.BestOf })},
	{field{name: "seed", kind: "integer", usage: "same seed, same text at temperatures above 0"},
		func(t *pipeline.Transcription, s string) bool {
			n, err := strconv.ParseUint(s, 10, 64)
			t.Seed = n
			return err == nil
		}},
	{field{name: "max-new-tokens", kind: "integer", usage: "longest text of a window, in tokens"},
		integer(func(t *pipeline.Transcription) *int { return &t.MaxNewTokens })},
}

// hearingFields are the fields of hearing.
var hearingFields = func() (fields []field) {
	for _, h := range hearing {
		fields = append(fields, h.field)
	}
	return fields
}()

func boolean(of func(*pipeline.Transcription) *bool) func(*pipeline.Transcription, string) bool {
	return func(t *pipeline.Transcription, s string) bool {
		v, err := strconv.ParseBool(s)
		*of(t) = v
		return err == nil
	}
}

func integer(of func(*pipeline.Transcription) *int) func(*pipeline.Transcription, string) bool {
	return func(t *pipeline.Transcription, s string) bool {
		n, err := strconv.Atoi(s)
		*of(t) = n
		return err == nil
	}
}

// threshold reads a number, or none.
func threshold(of func(*pipeline.Transcription) *float64) func(*pipeline.Transcription, string) bool {
	return func(t *pipeline.Transcription, s string) bool {
		x, err := strconv.ParseFloat(s, 64)
		if s == "none" {
			x, err = math.NaN(), nil
		} else if math.IsNaN(x) {
			return false
		}
		*of(t) = x
		return err == nil
	}
}

// temperatures reads numbers with commas between.
func temperatures(t *pipeline.Transcription, s string) bool {
	t.Temperatures = nil
	for part := range strings.SplitSeq(s, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(x >= 0) || math.IsInf(x, 0) {
			return false
		}
		t.Temperatures = append(t.Temperatures, x)
	}
	return true
}

// transcribe writes down what is said in sounds.
func (q *query) transcribe() error {
	used := speech.DefaultOptions()
	for _, h := range hearing {
		if len(q.values[h.name]) > 0 && !h.set(&used, strings.TrimSpace(q.value(h.name))) {
			return web.Badf("%s is %q, which it cannot be: %s", h.name, web.Shortened(q.value(h.name)), h.usage)
		}
	}
	if err := used.Check(); err != nil {
		return err
	}
	release, err := q.use(q.service.Catalog.For("transcribe"))
	if err != nil {
		return err
	}
	defer release()
	settings := api.Settings{}
	settings.SetTranscription(used)
	if err := q.made(settings, nil); err != nil {
		return err
	}
	failure := func(name string, err error) any {
		line := api.NewSoundFailure(name, err)
		line.Origin = q.origin
		return line
	}
	return q.each("audio", failure, func(ctx context.Context, name string, data []byte, start time.Time) ([]any, error) {
		sound, err := q.m.Sound(ctx, data)
		if err != nil {
			return nil, err
		}
		heard, err := q.m.P.Transcribe(ctx, sound, func(t *pipeline.Transcription) { *t = used })
		if err != nil {
			return nil, err
		}
		line := api.NewAudioTranscript(name, heard, time.Since(start).Seconds())
		line.Origin = q.origin
		return []any{line}, nil
	})
}
