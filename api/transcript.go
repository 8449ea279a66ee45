package api

import (
	"math"
	"reflect"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/speech"
)

// AudioTranscript is one sound's line of transcribe. Times are seconds, rounded to milliseconds.
type AudioTranscript struct {
	Audio    Name           `json:"audio"`
	Language string         `json:"language"` // its code, given or heard
	Text     string         `json:"text"`
	Segments []AudioSegment `json:"segments"`
	// NoSpeech is the probability that nothing is said at all.
	NoSpeech     float64 `json:"no_speech_probability"`
	AudioSeconds float64 `json:"audio_seconds"` // how long the sound lasts
	Seconds      float64 `json:"seconds"`       // for writing it down, as of other lines
	IDs          []int64 `json:"ids"`           // the tokens of all segments
	*Origin
}

// AudioSegment is a piece of a transcript, as the model cut it. What is said of its text's likelihood
// has openai-whisper's meaning.
type AudioSegment struct {
	Start float64     `json:"start"`
	End   float64     `json:"end"`
	Text  string      `json:"text"`
	Words []AudioWord `json:"words,omitempty"` // where they were asked for

	Temperature      float64 `json:"temperature"` // at which the text was accepted
	LogProb          float64 `json:"logprob"`     // mean of its tokens'
	CompressionRatio float64 `json:"compression_ratio"`
	NoSpeech         float64 `json:"no_speech_probability"` // of its window
}

// AudioWord is a word with its time. Its text has the space before it: joined, words are the text.
type AudioWord struct {
	Start       float64 `json:"start"`
	End         float64 `json:"end"`
	Text        string  `json:"text"`
	Probability float64 `json:"probability"`
}

// NewAudioTranscript makes a sound's line from its transcript, which took some seconds to write.
func NewAudioTranscript(audio string, t *pipeline.Transcript, seconds float64) AudioTranscript {
	line := AudioTranscript{
		Audio: Name(audio), Language: t.Language, Text: trimmed(t.Text), Segments: []AudioSegment{},
		NoSpeech: orZero(t.NoSpeech), AudioSeconds: rounded(t.Seconds), Seconds: orZero(seconds),
		IDs: append([]int64{}, t.IDs...),
	}
	for _, s := range t.Segments {
		segment := AudioSegment{
			Start: rounded(s.Start), End: rounded(s.End), Text: trimmed(s.Text),
			Temperature: orZero(s.Temperature), LogProb: orZero(s.LogProb),
			CompressionRatio: orZero(s.CompressionRatio), NoSpeech: orZero(s.NoSpeech),
		}
		for _, w := range s.Words {
			segment.Words = append(segment.Words,
				AudioWord{rounded(w.Start), rounded(w.End), w.Text, orZero(w.Probability)})
		}
		line.Segments = append(line.Segments, segment)
	}
	return line
}

// rounded is a time to the millisecond.
func rounded(seconds float64) float64 { return float64(wholeMillis(seconds)) / 1000 }

// orZero is a number as JSON may hold it: what is none is 0.
func orZero(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

// SoundFailure takes the place of a sound's line where the sound failed and others go on.
type SoundFailure struct {
	Audio Name   `json:"audio"`
	Error string `json:"error"` // one line
	*Origin
}

// NewSoundFailure is what is printed of a sound that failed.
func NewSoundFailure(audio string, err error) SoundFailure {
	return SoundFailure{Audio: Name(audio), Error: OneLine(err)}
}

// SetTranscription adds the parameters of a transcript that are not the defaults, by openai-whisper's names.
func (s Settings) SetTranscription(used pipeline.Transcription) {
	before := transcriptionOf(speech.DefaultOptions())
	for name, value := range transcriptionOf(used) {
		if !reflect.DeepEqual(before[name], value) {
			s[name] = value
		}
	}
}

func transcriptionOf(t pipeline.Transcription) map[string]any {
	bound := func(x float64) any {
		if math.IsNaN(x) {
			return "none"
		}
		return x
	}
	return map[string]any{
		"language": t.Language, "task": t.Task, "word_timestamps": t.Words,
		"initial_prompt": t.Prompt, "without_timestamps": t.WithoutTimes,
		"condition_on_previous_text": !t.Forgetful, "voice_check": !t.Everything, "temperature": t.Temperatures,
		"compression_ratio_threshold": bound(t.MostRepeats),
		"logprob_threshold":           bound(t.LeastLogProb),
		"no_speech_threshold":         bound(t.NoSpeech),
		"num_beams":                   t.NumBeams, "best_of": t.BestOf, "seed": t.Seed,
		"max_new_tokens": t.MaxNewTokens, "batched": t.Batched > 0, "live": t.Live,
	}
}
