package audio

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// Reader gives samples one after the other, as Stream does: how many it wrote to dst, and at the end
// io.EOF.
type Reader interface {
	Read(dst []float32) (int, error)
}

// Spectrogram makes the features of a sound of any length while it is read: those that openai-whisper
// 20250625 cuts its windows from, equal to 1e-4 (log_mel_spectrogram of whisper/audio.py with padding
// of 30 s, and transcribe.py). The sound is reflected before its beginning and silent behind its end; a
// frame is a hop, and there are as many as the sound has whole hops. How a sound is cut into writes
// changes nothing. It is not safe for use by several goroutines.
//
// Values are clamped relative to the loudest cell of the whole sound, which a stream does not know
// beforehand: Extractor.Loudest finds it in a first pass, and SetLoudest takes it. Without, windows are
// clamped relative to the loudest so far.
type Spectrogram struct {
	e       *Extractor
	input   []float32 // what frames from the one of number frames on are made of; reflected at first
	begun   bool      // input has the reflection
	closed  bool
	bare    bool // frames give their power and are not kept
	samples int  // written
	frames  int  // known
	power   float64
	loudest float64 // as SetLoudest says
	blocks  [][]float32
	first   int // number of the first of blocks
}

const (
	// blockColumns is how many frames lie together, [mels,blockColumns], and are forgotten together.
	blockColumns = 512
	// pieceSamples is how much of a write is taken at once, so that a long one takes no memory of its own.
	pieceSamples = 1 << 17
)

// NewSpectrogram returns the spectrogram of a sound without samples yet.
func (e *Extractor) NewSpectrogram() *Spectrogram {
	return &Spectrogram{e: e, loudest: math.Inf(-1)}
}

// Write adds samples at the extractor's rate. Frames are made once all of their samples are there.
// After Close it does nothing.
func (s *Spectrogram) Write(samples []float32) {
	for len(samples) > 0 && !s.closed {
		n := min(len(samples), pieceSamples)
		s.input = append(s.input, samples[:n]...)
		s.samples += n
		samples = samples[n:]
		s.begin()
		if s.begun {
			s.advance(min((s.samples-s.e.overhang())/s.e.hop+1, s.samples/s.e.hop) - s.frames)
		}
	}
}

// Close says that there are no more samples, and makes the frames of the end.
func (s *Spectrogram) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if s.samples == 0 {
		return
	}
	n := s.e.transform.Len()
	s.input = append(s.input, make([]float32, 2*n)...)
	s.begin()
	s.advance(s.samples/s.e.hop - s.frames)
	// Frames behind the last still hear the end, and may be the loudest.
	behind := (s.samples+n/2-1)/s.e.hop + 1 - s.frames
	s.power = math.Max(s.power, s.e.logs(context.Background(), nil, 0, s.input, behind))
	s.input = nil
}

// begin puts the reflection before the first samples, once there are enough.
func (s *Spectrogram) begin() {
	if half := s.e.transform.Len() / 2; !s.begun && len(s.input) > half {
		s.input = append(reflection(s.input, half), s.input...)
		s.begun = true
	}
}

// reflection returns the samples before the first, mirrored at it.
func reflection(samples []float32, count int) []float32 {
	out := make([]float32, count)
	for i := range out {
		out[i] = samples[count-i]
	}
	return out
}

// advance makes the next frames.
func (s *Spectrogram) advance(count int) {
	if count <= 0 {
		return
	}
	done := 0
	if s.bare {
		s.power = math.Max(s.power, s.e.logs(context.Background(), nil, 0, s.input, count))
		done = count
		s.frames += count
	}
	for done < count {
		if s.frames/blockColumns == s.first+len(s.blocks) {
			s.blocks = append(s.blocks, make([]float32, s.e.mels*blockColumns))
		}
		column := s.frames % blockColumns
		n := min(count-done, blockColumns-column)
		block := s.blocks[len(s.blocks)-1]
		power := s.e.logs(context.Background(), block[column:], blockColumns, s.input[done*s.e.hop:], n)
		s.power = math.Max(s.power, power)
		done += n
		s.frames += n
	}
	s.input = append(s.input[:0], s.input[done*s.e.hop:]...)
}

// Frames returns how many frames are known, counted from the beginning of the sound, forgotten ones
// too.
func (s *Spectrogram) Frames() int { return s.frames }

// Loudest returns the logarithm, to base 10, of the power of the loudest cell so far, -10 of silence;
// or what SetLoudest said, where that is more.
func (s *Spectrogram) Loudest() float64 { return math.Max(s.loudest, logPower(s.power)) }

// SetLoudest says what Loudest is of the whole sound.
func (s *Spectrogram) SetLoudest(v float64) { s.loudest = v }

// logPower returns the logarithm of a power, which counts from floor on.
func logPower(power float64) float64 {
	if power <= floor {
		return -10
	}
	return math.Log(power) * (1 / math.Ln10)
}

// Window returns input_features [1,mels,frames of a window] float32: at most so many frames of the
// sound, from one on, as far as they are known, then zeros. Frames that were forgotten, and ones that
// do not exist, give an error that wraps ErrSound; so do extractors with do_normalize, for which the
// whole sound must be known.
func (s *Spectrogram) Window(from, frames int) (*tensor.Tensor, error) {
	switch {
	case s.e.normalize:
		return nil, errNormalize
	case from < 0 || from > s.frames || frames < 0:
		return nil, soundErrorf("%d frames from frame %d on: %d are known", frames, from, s.frames)
	case from < s.first*blockColumns:
		return nil, soundErrorf("frame %d is asked for, and those before %d are forgotten", from, s.first*blockColumns)
	}
	columns := s.e.window / s.e.hop
	frames = min(frames, columns, s.frames-from)
	values := make([]float32, s.e.mels*columns)
	least := float32(s.Loudest() - 8)
	for done := 0; done < frames; {
		column := (from + done) % blockColumns
		block := s.blocks[(from+done)/blockColumns-s.first]
		n := min(frames-done, blockColumns-column)
		for m := range s.e.mels {
			scaled(values[m*columns+done:][:n], block[m*blockColumns+column:][:n], least)
		}
		done += n
	}
	return tensor.New([]int{1, s.e.mels, columns}, values)
}

// Drop forgets frames before one, so that Window may no longer be asked for them, and frees memory.
func (s *Spectrogram) Drop(before int) {
	for len(s.blocks) > 0 && (s.first+1)*blockColumns <= min(before, s.frames) {
		s.blocks[0] = nil
		s.blocks = s.blocks[1:]
		s.first++
	}
}

var errNormalize = soundErrorf("do_normalize needs the whole sound at once: it is not supported in windows of a longer one")

// Loudest reads a sound to its end and returns what Spectrogram.Loudest is of it, and how many seconds
// it lasts, in memory that does not grow with it. Errors are those of the reader and the context, and
// of an extractor with do_normalize.
func (e *Extractor) Loudest(ctx context.Context, r Reader) (loudest, seconds float64, err error) {
	if e.normalize {
		return 0, 0, errNormalize
	}
	s := e.NewSpectrogram()
	s.bare = true
	buffer := make([]float32, 1<<15)
	for idle := 0; ; idle++ {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		n, err := r.Read(buffer)
		if n > 0 {
			idle = 0
			s.Write(buffer[:n])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && idle > 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			return 0, 0, err
		}
	}
	s.Close()
	return s.Loudest(), float64(s.samples) / float64(e.rate), nil
}
