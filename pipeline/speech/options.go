package speech

import (
	"fmt"
	"math"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Tasks of Options.
const (
	Write     = "transcribe" // in the language that is spoken
	Translate = "translate"  // into English
)

// Options say how a sound is written down. DefaultOptions are those of openai-whisper's transcribe.
type Options struct {
	Language string // a code such as "fr", or a name such as "french"; "": the one that is heard
	Task     string // Write or Translate
	Words    bool   // whether each word gets its time
	// Prompt is text that stands before the sound, with the words and names to expect.
	Prompt string
	// WithoutTimes has windows of 30 s written without times. They follow each other then as they lie:
	// what a window's text leaves out is not heard again, as with openai-whisper; transformers refuses
	// such windows of a longer sound.
	WithoutTimes bool
	// Forgetful windows do not read the text of those before them.
	Forgetful bool

	// A window's text is tried at each of Temperatures, in their order, until its compression ratio is
	// at most MostRepeats and the mean of its log-probabilities at least LeastLogProb. A window is
	// passed over where the probability of no speech is above NoSpeech and that mean below
	// LeastLogProb. NaN leaves a test out.
	Temperatures                        []float64
	MostRepeats, LeastLogProb, NoSpeech float64

	// Everything is heard, also windows in which nobody seems to speak (audio.Voice, or a VoiceModel). They
	// are passed over otherwise, since models of this kind invent words for silence and noise. Batched
	// windows are cut by the same detector, whatever this says.
	Everything bool

	NumBeams     int    // of temperature 0
	BestOf       int    // texts drawn at higher temperatures, of which the likeliest is kept
	Seed         uint64 // of what is drawn
	MaxNewTokens int    // of a window; 0: as many as the model has positions for

	// Sound says how a file is decoded, beside its rate.
	Sound []audio.Option

	// Batched hears several windows at once, cut where nothing is said, each without the text before it.
	Batched int
	// Live writes down a sound as it comes, before its windows are full. Emit is given some words at a
	// time then, those that two texts about a growing sound agree on.
	Live bool

	// Emit, where it is not nil, is given each segment once it is final, and ends the transcript by
	// returning false. Progress is told how many seconds have been heard.
	Emit     func(Segment) bool
	Progress func(seconds float64)
}

// DefaultOptions returns the options of a transcript about which nothing is said.
func DefaultOptions() Options {
	return Options{
		Task: Write, Temperatures: []float64{0, 0.2, 0.4, 0.6, 0.8, 1},
		MostRepeats: 2.4, LeastLogProb: -1, NoSpeech: 0.6, NumBeams: 1, BestOf: 5,
	}
}

// Check refuses options out of range; the error wraps graph.ErrOption.
func (o *Options) Check() error {
	refuse := func(name, want string) error {
		return fmt.Errorf("%w: %s must be %s", graph.ErrOption, name, want)
	}
	switch {
	case o.Task != Write && o.Task != Translate:
		return refuse("task", Write+" or "+Translate)
	case len(o.Temperatures) == 0:
		return refuse("temperature", "one number or several")
	case o.NumBeams < 1:
		return refuse("num_beams", "1 or more")
	case o.BestOf < 1:
		return refuse("best_of", "1 or more")
	case o.MaxNewTokens < 0:
		return refuse("max_new_tokens", "0 or more")
	case o.Batched < 0:
		return refuse("batched", "0 or more")
	case o.Live && o.Batched > 0:
		return refuse("batched", "0 where a sound is written down as it comes")
	}
	for _, t := range o.Temperatures {
		if !(t >= 0) || math.IsInf(t, 0) {
			return refuse("temperature", "0 or more")
		}
	}
	return nil
}
