package openai

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/speech"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// hearing is what a form asks to be written of a sound.
type hearing struct {
	translate    bool
	data         []byte
	model        string
	language     string
	prompt       string
	temperatures []float64 // nil: those of the model's own rules
	form         string
	words        bool
	segments     bool
	stream       bool
}

// audioFields are the fields of the two forms. Those that are false change what is written, in ways that
// are not there.
var audioFields = map[string]bool{
	"model": true, "language": true, "prompt": true, "response_format": true, "temperature": true,
	"timestamp_granularities[]": true, "timestamp_granularities": true, "stream": true,
	"include[]": false, "include": false, "chunking_strategy": false,
	"known_speaker_names[]": false, "known_speaker_references[]": false,
}

// audioForms are the forms of a transcript.
var audioForms = []string{"json", "text", "srt", "verbose_json", "vtt"}

// readHearing reads a form.
func readHearing(r *http.Request, translate bool) (*hearing, error) {
	f, err := web.ReadForm(r)
	if err != nil {
		return nil, err
	}
	for name, values := range f.Values {
		taken, known := audioFields[name]
		pass := harmless[name] || taken || name == "chunking_strategy" && values[0] == "auto" || values[0] == ""
		if !pass {
			code, what := unknownParam, "is not known here, and might change the answer; leave it out"
			if known {
				code, what = unsupported, "is not supported"
			}
			return nil, badParam(name, code, "%q %s", name, what)
		}
	}
	if n := len(f.Files["file"]); n != 1 {
		return nil, badParam("file", missing, `the form has %d files named "file"; send one`, n)
	}
	o := &hearing{
		translate: translate, data: f.Files["file"][0].Data, model: f.Value("model"),
		language: f.Value("language"), prompt: f.Value("prompt"),
		form: cmp.Or(f.Value("response_format"), "json"),
	}
	if !slices.Contains(audioForms, o.form) {
		return nil, badParam("response_format", invalidValue, `"response_format" is %q; there are %s`,
			o.form, strings.Join(audioForms, ", "))
	}
	if translate && o.language != "" && o.language != "en" && o.language != "english" {
		return nil, badParam("language", unsupported, "translations are into English; leave language out")
	}
	if translate {
		o.language = ""
	}
	if text := f.Value("temperature"); text != "" {
		t, err := strconv.ParseFloat(text, 64)
		if err != nil || !(t >= 0 && t <= 1) {
			return nil, badParam("temperature", invalidValue, `"temperature" is %q; it goes from 0 to 1`, text)
		}
		// 0 stands for the usual rules, as OpenAI says of it: it rises where a text is unlikely.
		if t > 0 {
			o.temperatures = []float64{t}
		}
	}
	if text := f.Value("stream"); text != "" {
		if o.stream, err = strconv.ParseBool(text); err != nil {
			return nil, badParam("stream", invalidValue, `"stream" is %q, not true or false`, text)
		}
	}
	return o, o.readTimes(append(f.Values["timestamp_granularities[]"], f.Values["timestamp_granularities"]...))
}

// readTimes reads timestamp_granularities[].
func (o *hearing) readTimes(list []string) error {
	const param = "timestamp_granularities[]"
	if len(list) > 0 && o.form != "verbose_json" {
		return badParam(param, invalidValue, "%q needs response_format verbose_json", param)
	}
	o.segments = len(list) == 0
	for _, name := range list {
		switch name {
		case "word":
			o.words = true
		case "segment":
			o.segments = true
		default:
			return badParam(param, invalidValue, "%q has %q; there are word and segment", param, name)
		}
	}
	return nil
}

// about says which parameter an error of a transcript is about, where it is one.
func (o *hearing) about(err error) error {
	switch {
	case !errors.Is(err, pipeline.ErrOption) && !errors.Is(err, pipeline.ErrUnsupported):
		return err
	case o.translate:
		return aboutParam("model", err)
	case o.language != "":
		return aboutParam("language", err)
	}
	return aboutParam("model", err)
}

// change sets the parameters of a transcript.
func (o *hearing) change(t *pipeline.Transcription) {
	t.Language, t.Prompt, t.Words = o.language, o.prompt, o.words
	if o.translate {
		t.Task = speech.Translate
	}
	if o.temperatures != nil {
		t.Temperatures = o.temperatures
	}
}

func (h handlers) transcriptions(w http.ResponseWriter, r *http.Request) error {
	return h.hear(w, r, false)
}
func (h handlers) translations(w http.ResponseWriter, r *http.Request) error {
	return h.hear(w, r, true)
}

// hear writes down what is said in a sound.
func (h handlers) hear(w http.ResponseWriter, r *http.Request, translate bool) error {
	o, err := readHearing(r, translate)
	if err != nil {
		return err
	}
	m, release, err := h.service.Use(r.Context(), h.modelName(o.model, "transcribe"))
	if err != nil {
		return err
	}
	defer release()
	if !m.Can.Transcribe {
		return badParam("model", unsupported, "model %s writes down no speech; /v1/models says what each model does", m.Name)
	}
	sound, err := m.Sound(r.Context(), o.data)
	if err != nil {
		return aboutParam("file", err)
	}
	if o.stream {
		return streamHearing(w, r.Context(), m, sound, o)
	}
	t, err := m.P.Transcribe(r.Context(), sound, o.change)
	if err != nil {
		return o.about(err)
	}
	return o.answer(w, t)
}

// answer writes a transcript in the form that was asked for.
func (o *hearing) answer(w http.ResponseWriter, t *pipeline.Transcript) error {
	text := strings.TrimSpace(t.Text)
	switch o.form {
	case "json":
		return web.WriteJSON(w, http.StatusOK, map[string]any{"text": text, "usage": newSoundUsage(t)})
	case "verbose_json":
		return web.WriteJSON(w, http.StatusOK, o.verbose(t))
	case "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte(text + "\n"))
		return nil
	}
	form, _ := api.TranscriptFormOf(o.form)
	var b bytes.Buffer
	if err := form.Write(&b, t, api.SubtitleOptions{}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", map[string]string{"srt": "application/x-subrip", "vtt": "text/vtt"}[o.form]+"; charset=utf-8")
	w.Write(b.Bytes())
	return nil
}

// soundUsage is what a transcript is billed by at OpenAI: how long the sound lasts.
type soundUsage struct {
	Type    string  `json:"type"`
	Seconds float64 `json:"seconds"`
}

func newSoundUsage(t *pipeline.Transcript) soundUsage {
	return soundUsage{"duration", millis(t.Seconds)}
}

// millis rounds seconds to milliseconds; what is no number is 0.
func millis(seconds float64) float64 {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0
	}
	return math.Round(seconds*1000) / 1000
}

// number is x as JSON may hold it.
func number(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

type verboseTranscript struct {
	Task     string            `json:"task"`
	Language string            `json:"language"` // its English name, as OpenAI has it
	Duration float64           `json:"duration"`
	Text     string            `json:"text"`
	Words    *[]verboseWord    `json:"words,omitempty"`
	Segments *[]verboseSegment `json:"segments,omitempty"`
	Usage    soundUsage        `json:"usage"`
}

type verboseWord struct {
	Word  string  `json:"word"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

type verboseSegment struct {
	ID               int     `json:"id"`
	Seek             int     `json:"seek"` // of the segment, in hundredths of a second
	Start            float64 `json:"start"`
	End              float64 `json:"end"`
	Text             string  `json:"text"`
	Tokens           []int64 `json:"tokens"`
	Temperature      float64 `json:"temperature"`
	AvgLogProb       float64 `json:"avg_logprob"`
	CompressionRatio float64 `json:"compression_ratio"`
	NoSpeechProb     float64 `json:"no_speech_prob"`
}

// verbose is a transcript with times.
func (o *hearing) verbose(t *pipeline.Transcript) verboseTranscript {
	v := verboseTranscript{
		Task: speech.Write, Language: cmp.Or(family.LanguageName(t.Language), t.Language), Duration: millis(t.Seconds),
		Text: strings.TrimSpace(t.Text), Usage: newSoundUsage(t),
	}
	if o.translate {
		v.Task = speech.Translate
	}
	if o.words {
		v.Words = &[]verboseWord{}
	}
	if o.segments {
		v.Segments = &[]verboseSegment{}
	}
	for i, s := range t.Segments {
		if o.words {
			for _, word := range s.Words {
				*v.Words = append(*v.Words, verboseWord{strings.TrimSpace(word.Text), millis(word.Start), millis(word.End)})
			}
		}
		if o.segments {
			*v.Segments = append(*v.Segments, verboseSegment{
				ID: i, Seek: int(s.Start * 100), Start: millis(s.Start), End: millis(s.End), Text: s.Text,
				Tokens: append([]int64{}, s.IDs...), Temperature: number(s.Temperature),
				AvgLogProb: number(s.LogProb), CompressionRatio: number(s.CompressionRatio),
				NoSpeechProb: number(s.NoSpeech),
			})
		}
	}
	return v
}

// streamHearing writes a transcript segment by segment, as events.
func streamHearing(
	w http.ResponseWriter, ctx context.Context, m *serving.Model, sound *audio.Sound, o *hearing,
) error {
	if o.form != "json" && o.form != "text" {
		return badParam("stream", unsupported, `"stream" goes with response_format json; %q is written whole`, o.form)
	}
	var stream *web.Stream
	send := func(event any) error {
		if stream == nil {
			stream = web.Events(w)
		}
		return stream.Send("", event)
	}
	var failed error
	begun := false
	t, err := m.P.Transcribe(ctx, sound, o.change, func(t *pipeline.Transcription) {
		t.Emit = func(s pipeline.Segment) bool {
			text := s.Text
			if !begun {
				text = strings.TrimLeft(text, " ")
			}
			begun = true
			failed = send(map[string]string{"type": "transcript.text.delta", "delta": text})
			return failed == nil
		}
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return endStream(stream, o.about(err))
	}
	err = send(map[string]any{
		"type": "transcript.text.done", "text": strings.TrimSpace(t.Text), "usage": newSoundUsage(t),
	})
	if err != nil {
		return err
	}
	return stream.Raw("", []byte("[DONE]"))
}
