package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
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

// Transcribe writes down what is said in a sound of any length. Models that know no windows and tell no
// times, such as Moonshine, hear it in pieces (speech.Pieces). Models that do not hear, and options that
// mean nothing to the model, give ErrUnsupported, parameters out of range ErrOption, a sound that cannot
// be used ErrSound. Limits.Time bounds each window of 30 s, or each piece, not the whole.
func (p *Pipeline) Transcribe(
	ctx context.Context, sound *audio.Sound, opts ...TranscribeOption,
) (*Transcript, error) {
	l, o, err := p.listener(opts)
	if err != nil {
		return nil, err
	}
	if sound == nil || sound.Rate != p.HearingRate() {
		return nil, fmt.Errorf("%w: the model hears %d samples a second: resample it", ErrSound, p.HearingRate())
	}
	loudest := math.Inf(-1)
	if p.sounds != nil && len(sound.Samples) > p.sounds.Window() {
		if loudest, _, err = p.sounds.Loudest(ctx, &soundReader{sound.Samples}); err != nil {
			return nil, err
		}
	}
	return l.Transcribe(ctx, &soundReader{sound.Samples}, loudest, o)
}

// soundReader reads the samples of a sound.
type soundReader struct{ rest []float32 }

func (r *soundReader) Read(dst []float32) (int, error) {
	n := copy(dst, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// TranscribeFile is Transcribe for a file, of which it holds some minutes in memory at most. One that is
// longer than a window is read twice, the first time to find its loudest part. A file that can be read
// only once, such as a pipe, is heard as TranscribeStream hears. No ffmpeg is started for formats that
// are not known here, unless Transcription.Sound has audio.WithFFmpeg.
func (p *Pipeline) TranscribeFile(
	ctx context.Context, path string, opts ...TranscribeOption,
) (*Transcript, error) {
	l, o, err := p.listener(opts)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := p.transcribeFile(ctx, l, f, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func (p *Pipeline) transcribeFile(
	ctx context.Context, l listener, f *os.File, o Transcription,
) (t *Transcript, err error) {
	reading := []audio.Option{audio.WithoutFFmpeg()} // a library starts no process unasked
	reading = append(append(reading, o.Sound...), audio.WithRate(p.HearingRate()))
	loudest := math.Inf(-1)
	if info, err := f.Stat(); p.sounds != nil && err == nil && info.Mode().IsRegular() {
		if loudest, err = p.loudest(ctx, f, reading); err != nil {
			return nil, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	sound, err := audio.Open(ctx, f, reading...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sound.Close()) }()
	return l.Transcribe(ctx, sound, loudest, o)
}

// loudest reads a sound to its end and returns Spectrogram.Loudest of it.
func (p *Pipeline) loudest(
	ctx context.Context, file io.Reader, reading []audio.Option,
) (loudest float64, err error) {
	sound, err := audio.Open(ctx, file, reading...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, sound.Close()) }()
	loudest, _, err = p.sounds.Loudest(ctx, sound)
	return loudest, err
}

// TranscribeStream is Transcribe for a sound that is read once, as it comes, at the model's rate
// (audio.WithRate(p.HearingRate())). The loudest part so far stands for the loudest of the whole, so
// that a text may differ from that of Transcribe.
func (p *Pipeline) TranscribeStream(
	ctx context.Context, sound *audio.Stream, opts ...TranscribeOption,
) (*Transcript, error) {
	l, o, err := p.listener(opts)
	if err != nil {
		return nil, err
	}
	if sound == nil || sound.Rate() != p.HearingRate() {
		return nil, fmt.Errorf("%w: the model hears %d samples a second: open it with audio.WithRate",
			ErrSound, p.HearingRate())
	}
	return l.Transcribe(ctx, sound, math.Inf(-1), o)
}

// HearingRate returns how many samples a second the model hears; 0 of a model that does not hear.
func (p *Pipeline) HearingRate() int {
	if front := p.hearing(); front != nil {
		return front.Rate()
	}
	return 0
}

// listener transcribes a sound: a speech.Listener, or speech.Pieces.
type listener interface {
	Transcribe(ctx context.Context, sound audio.Reader, loudest float64, o Transcription) (*Transcript, error)
}

// listener returns what transcribes, and the parameters of a call.
func (p *Pipeline) listener(opts []TranscribeOption) (listener, Transcription, error) {
	o := speech.DefaultOptions()
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	windows, ok := p.model.(family.Hearer)
	pieces, inPieces := p.model.(family.PieceHearer)
	if !ok && !inPieces {
		return nil, o, p.unsupported("transcribe")
	}
	if ok && p.sounds == nil || inPieces && p.waves == nil {
		return nil, o, fmt.Errorf("%w: the model has no preprocessor_config.json that says how it hears", ErrBundle)
	}
	rows := max(o.NumBeams, o.BestOf)
	if err := graph.CheckLimit("Batch", "rows of the batch", rows, p.limits.Batch); err != nil {
		return nil, o, err
	}
	if err := graph.CheckLimit("OutputTokens", "max_new_tokens", o.MaxNewTokens, p.limits.OutputTokens); err != nil {
		return nil, o, err
	}
	if inPieces {
		return &speech.Pieces{
			Model: pieces, Texts: p.texts, Waves: p.waves, Decoding: p.defaults, Turn: p.enter,
			Voice: p.voice,
		}, o, nil
	}
	return &speech.Listener{
		Model: windows, Texts: p.texts, Extractor: p.sounds, Decoding: p.defaults, Turn: p.enter,
		Voice: p.voice,
	}, o, nil
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
