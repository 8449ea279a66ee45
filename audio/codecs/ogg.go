package codecs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/jfreymuth/oggvorbis"
	"github.com/pion/opus"
	"github.com/pion/opus/pkg/oggreader"

	"github.com/crossattn/xpipe/audio"
)

// openOgg reads Vorbis and Opus, which the first packet names.
func openOgg(r *bufio.Reader) (audio.Decoder, error) {
	head, _ := r.Peek(64)
	switch {
	case bytes.Contains(head, []byte("OpusHead")):
		return openOpus(r)
	case bytes.Contains(head, []byte("\x01vorbis")):
		reader, err := oggvorbis.NewReader(struct{ io.Reader }{r})
		if err != nil {
			return nil, fmt.Errorf("vorbis: %w", err)
		}
		return &vorbisFile{reader}, nil
	case bytes.Contains(head, []byte("\x7fFLAC")):
		return nil, errors.New("of FLAC, which is not read inside Ogg; FLAC files are")
	case bytes.Contains(head, []byte("Speex")):
		return nil, errors.New("of Speex, which is not read; Vorbis and Opus are")
	}
	return nil, errors.New("neither Vorbis nor Opus")
}

type vorbisFile struct{ r *oggvorbis.Reader }

func (v *vorbisFile) Layout() (rate, channels int) { return v.r.SampleRate(), v.r.Channels() }

func (v *vorbisFile) Read(dst []float32) (int, error) {
	for {
		n, err := v.r.Read(dst)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("vorbis: %w", err)
		}
	}
}

// opusFile reads Opus of one stream, mono or stereo, at 48,000 samples a second. Source of what is
// cut off at both ends: RFC 7845, sections 4.2 to 4.5.
type opusFile struct {
	ogg      *oggreader.OggReader
	decoder  opus.Decoder
	channels int
	gain     float32
	skip     int   // samples still to be left out
	position int64 // samples decoded so far, of each channel
	buffer   []float32
	left     []float32
}

const opusRate = 48_000

func openOpus(r *bufio.Reader) (audio.Decoder, error) {
	ogg, head, err := oggreader.NewWith(r)
	if err != nil {
		return nil, fmt.Errorf("opus: %w", err)
	}
	channels := int(head.Channels)
	if channels < 1 || channels > 2 || head.ChannelMap != 0 {
		return nil, fmt.Errorf("opus of %d channels (mapping %d) is not read; mono and stereo are",
			channels, head.ChannelMap)
	}
	d, err := opus.NewDecoderWithOutput(opusRate, channels)
	if err != nil {
		return nil, fmt.Errorf("opus: %w", err)
	}
	const longest = opusRate * 120 / 1000 // of a packet
	return &opusFile{
		ogg: ogg, decoder: d, channels: channels, skip: int(head.PreSkip), buffer: make([]float32, longest*channels),
		gain: float32(math.Pow(10, float64(int16(head.OutputGain))/(20*256))),
	}, nil
}

func (o *opusFile) Layout() (rate, channels int) { return opusRate, o.channels }

func (o *opusFile) Read(dst []float32) (int, error) {
	for len(o.left) == 0 {
		packet, page, err := o.ogg.ParseNextPacket()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("opus: %w", err)
		case bytes.HasPrefix(packet, []byte("OpusTags")), len(packet) == 0:
			continue
		}
		n, err := o.decoder.DecodeToFloat32(packet, o.buffer)
		if err != nil {
			return 0, fmt.Errorf("opus: %w", err)
		}
		o.position += int64(n)
		// A page's position is that of its last sample: where packets go beyond it, in the last page,
		// the sound ends.
		if end := int64(page.GranulePosition); end > 0 && o.position > end {
			n = max(0, n-int(min(int64(n), o.position-end)))
		}
		drop := min(o.skip, n)
		o.skip -= drop
		o.left = o.buffer[drop*o.channels : n*o.channels]
		if o.gain != 1 {
			for i := range o.left {
				o.left[i] *= o.gain
			}
		}
	}
	n := copy(dst, o.left)
	o.left = o.left[n:]
	return n, nil
}
