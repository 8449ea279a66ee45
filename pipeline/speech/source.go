package speech

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// source is a sound whose frames become known as it is read.
//
// One that fits in a window is heard with silence behind it, as the model was trained and as
// transformers 4.57.6 hears it. The last window of a longer one has zeros there, as those of transformers
// and openai-whisper have.
type source struct {
	rate      int
	extractor *audio.Extractor   // of windows; nil where a sound is heard in pieces
	held      []float32          // all samples, while they fit in a window
	frames    *audio.Spectrogram // of a longer sound; else nil
	loudest   float64            // of the whole, where it is known
	seconds   float64            // read so far
	voice     detector           // nil of a rate that it does not know
	silero    *silero            // voice, where it has errors; else nil
	spans     []audio.Span       // with speech, in samples
	ended     bool

	pieces chan piece
	stop   context.CancelFunc
}

// piece is what one Read gave.
type piece struct {
	samples []float32
	err     error
}

// pieceSamples is how many samples are asked for at once.
const pieceSamples = 4096

// newSource begins to read a sound, ahead of what is asked for by a few pieces.
// A voice model, where it is not nil, finds where somebody speaks.
func newSource(ctx context.Context, rate int, sound audio.Reader, model *VoiceModel) *source {
	ctx, stop := context.WithCancel(ctx)
	s := &source{rate: rate, pieces: make(chan piece, 64), stop: stop}
	if model != nil {
		s.silero = model.detect(ctx, rate)
		s.voice = s.silero
	} else if voice, err := audio.NewVoice(rate); err == nil {
		s.voice = voice
	}
	go func() {
		defer close(s.pieces)
		for {
			samples := make([]float32, pieceSamples)
			n, err := sound.Read(samples)
			select {
			case s.pieces <- piece{samples[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// close ends the reading.
func (s *source) close() {
	if s.stop != nil {
		s.stop()
	}
}

// next returns what is read next. Without waiting, ok says whether there is anything yet.
func (s *source) next(ctx context.Context, wait bool) (samples []float32, ok bool, err error) {
	var p piece
	if wait {
		select {
		case p = <-s.pieces:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	} else {
		select {
		case p = <-s.pieces:
		default:
			return nil, false, ctx.Err()
		}
	}
	rate := float64(s.rate)
	for i, v := range p.samples {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, false, fmt.Errorf("%w: the sample at %.3f s is no number (%v)",
				audio.ErrSound, s.seconds+float64(i)/rate, v)
		}
	}
	s.seconds += float64(len(p.samples)) / rate
	if s.ended = errors.Is(p.err, io.EOF); s.ended {
		p.err = nil
	}
	if s.voice != nil {
		s.voice.Write(p.samples)
		if s.ended {
			s.voice.Close()
		}
		s.spans = append(s.spans, s.voice.Spans()...)
	}
	if s.silero != nil && s.silero.err != nil {
		return nil, false, s.silero.err
	}
	return p.samples, true, p.err
}

// undecided is how many seconds at the end of what is heard the voice detector may not have decided
// about.
const undecided = 3.0

// silentUntil returns the sample up to which nobody speaks from one on, if that is nearly all there is up
// to another; else ok is false.
func (s *source) silentUntil(from, to int) (until int, ok bool) {
	if s.voice == nil {
		return 0, false
	}
	for len(s.spans) > 0 && s.spans[0].To <= from {
		s.spans = s.spans[1:]
	}
	settled, speaking := s.voice.Settled()
	if len(s.spans) > 0 && s.spans[0].From < to || speaking && settled < to ||
		settled < to-int(undecided*float64(s.rate)) {
		return 0, false
	}
	return min(settled, to), settled > from
}

// speaks reports whether somebody speaks behind a sample, as far as it is decided.
func (s *source) speaks(from int) bool {
	if s.voice == nil {
		return true
	}
	_, speaking := s.voice.Settled()
	return speaking || len(s.spans) > 0 && s.spans[len(s.spans)-1].To > from
}

// pause returns the sample where the last voice between two ended, and up to which nobody has spoken since;
// zeros where there was none.
func (s *source) pause(from, to int) (ended, until int) {
	if s.voice == nil || len(s.spans) == 0 || s.spans[len(s.spans)-1].To <= from {
		return 0, 0
	}
	settled, _ := s.voice.Settled()
	return s.spans[len(s.spans)-1].To, min(settled, to)
}

// upTo reads on until so many frames of the sound are known, or all, and returns how many that are.
func (s *source) upTo(ctx context.Context, frames int) (int, error) {
	for !s.ended && (s.frames == nil || s.known() < frames) {
		samples, _, err := s.next(ctx, true)
		if err != nil {
			return 0, err
		}
		s.keep(samples)
	}
	return min(frames, s.known()), ctx.Err()
}

// known returns how many frames are.
func (s *source) known() int {
	if s.frames == nil {
		return len(s.held) / s.extractor.Hop()
	}
	return s.frames.Frames()
}

// keep takes what was read, for windows.
func (s *source) keep(samples []float32) {
	if s.frames != nil {
		s.frames.Write(samples)
	} else if s.held = append(s.held, samples...); len(s.held) > s.extractor.Window() {
		s.frames = s.extractor.NewSpectrogram()
		s.frames.SetLoudest(s.loudest)
		s.frames.Write(s.held)
		s.held = nil
	}
	if s.ended && s.frames != nil {
		s.frames.Close()
	}
}

// window returns the features [1,mels,frames] of content frames from one on.
func (s *source) window(ctx context.Context, from, content int) (*tensor.Tensor, error) {
	if s.frames != nil {
		return s.frames.Window(from, content)
	}
	return windowOf(ctx, s.extractor, s.held[from*s.extractor.Hop():])
}

// windowOf returns the features [1,mels,frames] of samples with silence behind them.
func windowOf(ctx context.Context, e *audio.Extractor, samples []float32) (*tensor.Tensor, error) {
	prepared, err := e.Prepare(ctx, []media.Item{&audio.Sound{Rate: e.Rate(), Samples: samples}})
	if err != nil {
		return nil, err
	}
	return prepared.Tensors[features], nil
}

// features is what the encoder's input is called.
const features = "input_features"

// drop forgets the frames before one.
func (s *source) drop(before int) {
	if s.frames != nil {
		s.frames.Drop(before)
	}
}
