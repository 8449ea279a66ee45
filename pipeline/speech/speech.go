// Package speech writes down what is said in a sound, with the time of every word: the windows that a
// long sound is heard through, what a window's text may be and when it is tried again, and the
// alignment of its words with the sound by cross-attention.
//
// The reference is openai-whisper 20250625, whose sequential algorithm (transcribe.py, decoding.py,
// timing.py) it follows. Package audio makes features of sounds, package decode runs the decoder,
// package family knows a model's graphs and its tokens; package pipeline takes files.
package speech

// Transcript is what is said in a sound.
type Transcript struct {
	// Language is the code of the language that was given or heard, such as "en".
	Language string
	Text     string
	Segments []Segment
	// NoSpeech is the probability that nothing is said at all: of the window that has the least. Of a
	// model that hears in pieces it is 1 where no text was written, else 0.
	NoSpeech float64
	Seconds  float64 // of the sound
	// IDs are the tokens of all segments, those of times among them.
	IDs []int64
}

// Segment is a piece of a transcript, as the model cut it: a sentence, or a part of one. Times are
// seconds from the beginning of the sound.
type Segment struct {
	Start, End float64
	Text       string
	Words      []Word  // nil unless Options.Words asks for them
	IDs        []int64 // of the text, and of the times around it
	// Temperature is that at which the text was accepted, and LogProb the mean of its tokens'
	// log-probabilities there. CompressionRatio says how much the text repeats itself. NoSpeech is
	// the probability that its window holds no speech.
	Temperature, LogProb, CompressionRatio, NoSpeech float64
}

// Word is a word with the time at which it is said. Its text has the space before it and the
// punctuation beside it.
type Word struct {
	Start, End  float64 // seconds from the beginning of the sound
	Text        string
	Probability float64 // the mean of its tokens'
	IDs         []int64
}
