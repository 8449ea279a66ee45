package codecs

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/mewkiz/flac"

	"github.com/crossattn/xpipe/audio"
)

// flacFile reads FLAC.
type flacFile struct {
	stream *flac.Stream
	left   []float32 // of a frame, interleaved
}

func openFLAC(r *bufio.Reader) (audio.Decoder, error) {
	stream, err := flac.New(r)
	if err != nil {
		return nil, err
	}
	if bits := stream.Info.BitsPerSample; bits < 4 || bits > 32 {
		return nil, fmt.Errorf("samples of %d bits", bits)
	}
	return &flacFile{stream: stream}, nil
}

func (f *flacFile) Layout() (rate, channels int) {
	return int(f.stream.Info.SampleRate), int(f.stream.Info.NChannels)
}

func (f *flacFile) Read(dst []float32) (int, error) {
	for len(f.left) == 0 {
		frame, err := f.stream.ParseNext()
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, io.EOF // cut off: what was heard stands
		}
		if err != nil {
			return 0, err
		}
		channels := int(f.stream.Info.NChannels)
		if len(frame.Subframes) != channels {
			return 0, fmt.Errorf("a frame of %d channels, and the head says %d", len(frame.Subframes), channels)
		}
		n := len(frame.Subframes[0].Samples)
		scale := 1 / float32(int64(1)<<(f.stream.Info.BitsPerSample-1))
		f.left = make([]float32, n*channels)
		for c, sub := range frame.Subframes {
			if len(sub.Samples) != n {
				return 0, fmt.Errorf("channels of one frame have %d and %d samples", n, len(sub.Samples))
			}
			for i, v := range sub.Samples {
				f.left[i*channels+c] = float32(v) * scale
			}
		}
	}
	n := copy(dst, f.left)
	f.left = f.left[n:]
	return n, nil
}
