package pipeline

import (
	"context"
	"iter"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline/speech"
)

// What is said in a sound; package speech defines it.
type (
	// Transcript is what is said in a sound.
	Transcript = speech.Transcript
	// Segment is a piece of a transcript.
	Segment = speech.Segment
	// SpokenWord is a word with the time at which it is said.
	SpokenWord = speech.Word
	// Transcription holds the parameters of a transcript. A TranscribeOption changes them for one call.
	Transcription = speech.Options
	// TranscribeOption changes the parameters of one call:
	//
	//	func(t *pipeline.Transcription) { t.Language, t.Words = "fr", true }
	TranscribeOption = func(*Transcription)
)

// WithLanguage says what language is spoken, by its code or its English name.
func WithLanguage(code string) TranscribeOption {
	return func(t *Transcription) { t.Language = code }
}

// WithWords gives each word its time.
func WithWords() TranscribeOption { return func(t *Transcription) { t.Words = true } }

// WithTranslation writes English, whatever is spoken.
func WithTranslation() TranscribeOption {
	return func(t *Transcription) { t.Task = speech.Translate }
}

// Transcribe writes down what is said in a sound of any length. Models that do not hear give
// ErrUnsupported, parameters out of range ErrOption, a sound that cannot be used ErrSound.
func (p *Pipeline) Transcribe(
	ctx context.Context, sound *audio.Sound, opts ...TranscribeOption,
) (*Transcript, error) {
	return nil, p.unsupported("transcribe")
}

// TranscribeFile is Transcribe for a file, of which it holds no more than some windows in memory.
func (p *Pipeline) TranscribeFile(
	ctx context.Context, path string, opts ...TranscribeOption,
) (*Transcript, error) {
	return nil, p.unsupported("transcribe")
}

// TranscribeStream is Transcribe for a sound that is read once, as it comes. The loudest part so far
// stands for the loudest of the whole, so that a text may differ from that of Transcribe.
func (p *Pipeline) TranscribeStream(
	ctx context.Context, sound *audio.Stream, opts ...TranscribeOption,
) (*Transcript, error) {
	return nil, p.unsupported("transcribe")
}

// Segments gives the segments of a sound as they are written. The last pair of a sound that failed
// has the error.
func (p *Pipeline) Segments(
	ctx context.Context, sound *audio.Stream, opts ...TranscribeOption,
) iter.Seq2[Segment, error] {
	return func(yield func(Segment, error) bool) {
		going := true
		emit := func(t *Transcription) {
			t.Emit = func(s Segment) bool {
				going = yield(s, nil)
				return going
			}
		}
		_, err := p.TranscribeStream(ctx, sound, append(opts[:len(opts):len(opts)], emit)...)
		if err != nil && going {
			yield(Segment{}, err)
		}
	}
}
