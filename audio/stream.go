package audio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Stream is a sound that is decoded as it is read: mono, at one rate, in memory that does not grow
// with its length. It is not safe for use by several goroutines.
type Stream struct {
	decoder  Decoder
	format   string
	source   *source
	heard    bool // something was decoded
	close    func() error
	resample *Resampler
	rate     int
	frames   []float32 // interleaved, as decoded
	ready    []float32 // mono, at rate, not yet given out
	err      error
}

// blockFrames is how many samples of each channel are decoded at once.
const blockFrames = 4096

// mostFaster is how many times as many samples a block of so many may become; shorter ones may become
// more.
const mostFaster = 16

// Open begins to read a sound, whose format it finds in its first bytes. It reads no further than it
// must, so that a pipe is heard as it comes. Errors wrap ErrSound or ErrLimit, or are those of r.
func Open(ctx context.Context, r io.Reader, opts ...Option) (*Stream, error) {
	o := buildOptions(opts)
	s := &Stream{source: &source{r: r}, close: func() error { return nil }}
	buffered := bufio.NewReaderSize(s.source, 64<<10)
	var err error
	if o.raw != nil {
		s.format = "raw samples"
		s.decoder, err = openRaw(buffered, *o.raw)
	} else {
		err = s.open(ctx, buffered, &o)
	}
	if err != nil {
		return nil, err
	}
	rate, channels := s.decoder.Layout()
	switch {
	case rate < 1 || channels < 1:
		err = soundErrorf("%s: %d channels of %d samples a second", s.format, channels, rate)
	case channels > o.limits.Channels:
		err = limitErrorf("Channels", "%d channels, at most %d are accepted", channels, o.limits.Channels)
	case rate > o.limits.Rate:
		err = limitErrorf("Rate", "%d samples a second, at most %d are accepted", rate, o.limits.Rate)
	case o.rate < 0:
		err = soundErrorf("a rate of %d", o.rate)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.rate = rate; o.rate > 0 {
		s.rate = o.rate
	}
	s.resample = NewResampler(rate, s.rate)
	// A block of a slow sound that is made fast is short, so that it does not become a long one.
	block := min(blockFrames, max(1, blockFrames*mostFaster*int64(rate)/int64(s.rate)))
	s.frames = make([]float32, int(block)*channels)
	return s, nil
}

// source knows how its reader has ended.
type source struct {
	r     io.Reader
	ended bool
	err   error // other than its end
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if errors.Is(err, io.EOF) {
		s.ended = true
	} else if err != nil {
		s.err = err
	}
	return n, err
}

// open finds the format.
func (s *Stream) open(ctx context.Context, r *bufio.Reader, o *options) error {
	head, err := r.Peek(64)
	if len(head) == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return soundErrorf("it is empty")
		}
		return err
	}
	for _, f := range knownFormats() {
		if f.Is(head) {
			s.format = f.Name
			s.decoder, err = guarded(func() (Decoder, error) { return f.Open(r) })
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // a head is no end
			}
			return s.wrong(err)
		}
	}
	return s.openFFmpeg(ctx, head, r, o)
}

// wrong makes of an error of a decoder one that wraps ErrSound and names the format. io.EOF, a context's
// and the source's own stay as they are.
func (s *Stream) wrong(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrSound), err == io.EOF, s.source.err != nil && errors.Is(err, s.source.err),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.EOF): // a Read that ends with it has not come to its end
		return soundErrorf("%s: %v", s.format, err)
	}
	return soundErrorf("%s: %w", s.format, err)
}

// guarded makes an error of a panic, by which libraries may answer to damaged files.
func guarded[T any](f func() (T, error)) (value T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = soundErrorf("it is damaged: its decoder stopped with %v", r)
		}
	}()
	return f()
}

// Format names the format that is read, such as "WAV".
func (s *Stream) Format() string { return s.format }

// Rate returns the samples a second that Read gives.
func (s *Stream) Rate() int { return s.rate }

// Read fills dst with the next samples and returns how many there are: fewer than len(dst) only where
// more would have to be waited for, and at the end, where the error is io.EOF.
func (s *Stream) Read(dst []float32) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(dst, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// fill decodes a block.
func (s *Stream) fill() {
	_, channels := s.decoder.Layout()
	n, err := guarded(func() (int, error) { return s.decoder.Read(s.frames) })
	err = s.wrong(err)
	if s.heard = s.heard || n > 0; s.heard && s.source.ended && errors.Is(err, ErrSound) {
		err = io.EOF // the file is cut off: what was heard of it stands
	}
	mono := s.frames[:n/channels]
	if channels > 1 {
		for i := range mono {
			var sum float32
			for _, v := range s.frames[i*channels : (i+1)*channels] {
				sum += v
			}
			mono[i] = sum / float32(channels)
		}
	}
	s.ready = s.resample.Write(s.ready[:0], mono)
	if s.err = err; errors.Is(err, io.EOF) {
		s.ready = s.resample.Close(s.ready)
	}
}

// Close frees what the stream holds, not the reader that it was opened on.
func (s *Stream) Close() error { return s.close() }

// Decode reads a whole sound. Errors are those of Open, and of the sound's length.
func Decode(ctx context.Context, r io.Reader, opts ...Option) (sound *Sound, err error) {
	s, err := Open(ctx, r, opts...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	o := buildOptions(opts)
	most := o.limits.Seconds * float64(s.rate)
	sound = &Sound{Rate: s.rate}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(s.ready) == 0 {
			if s.err != nil && !errors.Is(s.err, io.EOF) {
				return nil, s.err
			}
			if s.err != nil {
				return sound, nil
			}
			s.fill()
		}
		sound.Samples = append(sound.Samples, s.ready...)
		s.ready = s.ready[:0]
		if float64(len(sound.Samples)) > most {
			return nil, limitErrorf("Seconds", "it lasts longer than %.0f s", o.limits.Seconds)
		}
	}
}

// DecodeFile reads a whole sound from a file.
func DecodeFile(ctx context.Context, path string, opts ...Option) (*Sound, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := Decode(ctx, f, opts...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
