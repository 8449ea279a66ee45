package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/speech"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// batchedByDefault is how many windows --batched without a number hears at once.
const batchedByDefault = 8

// addTranscriptionFlags adds the flags that change what is written, by openai-whisper's names where
// it has them.
func (o *transcribeOptions) addTranscriptionFlags(cmd *cobra.Command) {
	t := speech.DefaultOptions()
	f := cmd.Flags()
	on := func(flag string, change func(*pipeline.Transcription)) {
		o.changes = append(o.changes, func(to *pipeline.Transcription) {
			if f.Changed(flag) {
				change(to)
			}
		})
	}
	f.StringVar(&t.Language, "language", "", "what is spoken: a code such as fr, or a name such as "+
		"french (default: what is heard)")
	on("language", func(to *pipeline.Transcription) { to.Language = t.Language })
	tasks := []string{speech.Write, speech.Translate}
	f.Var(wordFlag{value: &t.Task, what: "task", words: tasks}, "task",
		"transcribe, or translate into English")
	on("task", func(to *pipeline.Transcription) { to.Task = t.Task })
	f.BoolVar(&t.Words, "words", false, "give each word its time")
	on("words", func(to *pipeline.Transcription) { to.Words = t.Words })
	f.StringVar(&t.Prompt, "prompt", "", "text that stands before the sound, with words and names to "+
		"expect")
	on("prompt", func(to *pipeline.Transcription) { to.Prompt = t.Prompt })
	f.BoolVar(&t.WithoutTimes, "no-timestamps", false, "write windows of 30 seconds without times; what a window's text leaves out is not heard again")
	on("no-timestamps", func(to *pipeline.Transcription) { to.WithoutTimes = t.WithoutTimes })
	f.BoolVar(&t.Forgetful, "no-condition", false, "let windows not read the text before them")
	on("no-condition", func(to *pipeline.Transcription) { to.Forgetful = t.Forgetful })
	f.BoolVar(&t.Everything, "no-voice-check", false, "hear windows, too, in which nobody seems to speak")
	on("no-voice-check", func(to *pipeline.Transcription) { to.Everything = t.Everything })
	f.StringVar(&o.voice, "voice-model", "", "silero's voice detector, silero_vad.onnx or its folder, finds "+
		"where somebody speaks (default: a detector that goes by loudness)")
	f.IntVar(&t.Batched, "batched", 0, "hear N windows at once, cut at pauses; faster for long sounds "+
		"(--batched alone: "+strconv.Itoa(batchedByDefault)+")")
	f.Lookup("batched").NoOptDefVal = strconv.Itoa(batchedByDefault)
	on("batched", func(to *pipeline.Transcription) { to.Batched = t.Batched })
	o.addSearchFlags(f, &t, on)
}

// addSearchFlags adds the flags that say how a window's text is looked for, and when it is accepted.
func (o *transcribeOptions) addSearchFlags(
	f *pflag.FlagSet, t *pipeline.Transcription, on func(string, func(*pipeline.Transcription)),
) {
	f.Var(temperatures{&t.Temperatures}, "temperature", "temperatures to try in turn; one of them: "+
		"that alone")
	on("temperature", func(to *pipeline.Transcription) { to.Temperatures = t.Temperatures })
	f.Var(threshold{&t.MostRepeats}, "compression-ratio-threshold",
		"try again above this ratio, which repeats have; none: do not")
	on("compression-ratio-threshold",
		func(to *pipeline.Transcription) { to.MostRepeats = t.MostRepeats })
	f.Var(threshold{&t.LeastLogProb}, "logprob-threshold",
		"try again where the mean of log-probabilities is below this; none: do not")
	on("logprob-threshold", func(to *pipeline.Transcription) { to.LeastLogProb = t.LeastLogProb })
	f.Var(threshold{&t.NoSpeech}, "no-speech-threshold", "pass a window over where no speech is more "+
		"probable than this, and its text below --logprob-threshold; none: do not")
	on("no-speech-threshold", func(to *pipeline.Transcription) { to.NoSpeech = t.NoSpeech })
	f.IntVar(&t.NumBeams, "num-beams", t.NumBeams, "beams of beam search at temperature 0; 1: none")
	on("num-beams", func(to *pipeline.Transcription) { to.NumBeams = t.NumBeams })
	f.IntVar(&t.BestOf, "best-of", t.BestOf, "texts drawn at a temperature above 0, the likeliest of "+
		"which is kept")
	on("best-of", func(to *pipeline.Transcription) { to.BestOf = t.BestOf })
	f.Uint64Var(&t.Seed, "seed", 0, "same seed, same text at temperatures above 0")
	on("seed", func(to *pipeline.Transcription) { to.Seed = t.Seed })
	f.IntVar(&t.MaxNewTokens, "max-new-tokens", 0,
		"longest text of a window, in tokens (default: as the model has room)")
	on("max-new-tokens", func(to *pipeline.Transcription) { to.MaxNewTokens = t.MaxNewTokens })
}

// temperatures is a flag for numbers with commas between.
type temperatures struct{ to *[]float64 }

func (t temperatures) Type() string { return "temperatures" }

func (t temperatures) String() string {
	if t.to == nil {
		return ""
	}
	var all []string
	for _, x := range *t.to {
		all = append(all, strconv.FormatFloat(x, 'g', -1, 64))
	}
	return strings.Join(all, ",")
}

func (t temperatures) Set(text string) error {
	var all []float64
	for part := range strings.SplitSeq(text, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("%q is no temperature of 0 or more, nor several such as 0,0.2,0.4", text)
		}
		all = append(all, x)
	}
	*t.to = all
	return nil
}

// threshold is a flag for a number, or none.
type threshold struct{ to *float64 }

func (t threshold) Type() string { return "threshold" }

func (t threshold) String() string {
	switch {
	case t.to == nil:
		return ""
	case math.IsNaN(*t.to):
		return "none"
	}
	return strconv.FormatFloat(*t.to, 'g', -1, 64)
}

func (t threshold) Set(text string) error {
	x, err := strconv.ParseFloat(text, 64)
	switch {
	case text == "none":
		x = math.NaN()
	case err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		return fmt.Errorf("%q is no number, nor none", text)
	}
	*t.to = x
	return nil
}

// rawFlag is a flag for samples without a head.
type rawFlag struct{ to **audio.Raw }

var rawFormats = []string{"s16le", "f32le", "u8", "mulaw", "alaw"}

func (f rawFlag) Type() string { return "raw" }

func (f rawFlag) String() string {
	if f.to == nil || *f.to == nil {
		return ""
	}
	r := *f.to
	return fmt.Sprintf("%dx%d:%s", r.Rate, r.Channels, r.Format)
}

func (f rawFlag) Set(text string) error {
	raw := audio.Raw{Channels: 1, Format: rawFormats[0]}
	numbers, format, formatted := strings.Cut(text, ":")
	if formatted {
		raw.Format = format
	}
	rate, channels, several := strings.Cut(numbers, "x")
	var err, errChannels error
	raw.Rate, err = strconv.Atoi(rate)
	if several {
		raw.Channels, errChannels = strconv.Atoi(channels)
	}
	switch {
	case err != nil || errChannels != nil || raw.Rate < 1 || raw.Channels < 1:
		return fmt.Errorf("%q is not RATE[xCHANNELS][:FORMAT], such as 16000 or 44100x2:f32le", text)
	case !slices.Contains(rawFormats, raw.Format):
		return fmt.Errorf("there is no format %q of samples; it is %s%s", raw.Format,
			api.OrList(rawFormats), api.DidYouMean(raw.Format, rawFormats))
	}
	*f.to = &raw
	return nil
}
