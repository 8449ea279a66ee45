package codecs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hajimehoshi/go-mp3"

	"github.com/crossattn/xpipe/audio"
)

// mp3File reads MPEG-1 and MPEG-2 audio, layer 3.
type mp3File struct {
	decoder *mp3.Decoder
	skip    int64 // samples of the encoder's and the decoder's delay, still to be left out
	left    int64 // samples up to the padding; less than 0: unknown
	buffer  []byte
}

// mp3Delay is how late a decoder gives the sound, in samples: 528 of the filter bank and the overlap,
// and one. Source: the LAME Tag's specification and libavformat/mp3dec.c.
const mp3Delay = 529

func openMP3(r *bufio.Reader) (audio.Decoder, error) {
	if err := skipID3(r); err != nil {
		return nil, err
	}
	head, _ := r.Peek(4096)
	gap, found := mp3Gap(head)
	decoder, err := mp3.NewDecoder(struct{ io.Reader }{r}) // without Seek, which would read it all
	if err != nil {
		return nil, err
	}
	m := &mp3File{decoder: decoder, left: -1}
	if found {
		m.skip, m.left = gap.skip, gap.length
	}
	return m, nil
}

// isMP3 says whether a file begins with an ID3 tag or a frame of layer 3.
func isMP3(head []byte) bool {
	if bytes.HasPrefix(head, []byte("ID3")) {
		return true
	}
	return len(head) >= 4 && frameHead(binary.BigEndian.Uint32(head))
}

// frameHead says whether a word begins a frame of layer 3 of MPEG-1 or MPEG-2 with a bit rate and a
// sample rate that exist.
func frameHead(w uint32) bool {
	return w>>21 == 0x7FF && w>>19&3 >= 2 && w>>17&3 == 1 && w>>12&15 != 15 && w>>12&15 != 0 && w>>10&3 != 3
}

// skipID3 reads over ID3v2 tags.
func skipID3(r *bufio.Reader) error {
	for {
		head, _ := r.Peek(10)
		if len(head) < 10 || !bytes.HasPrefix(head, []byte("ID3")) {
			return nil
		}
		size := int64(head[6]&0x7F)<<21 | int64(head[7]&0x7F)<<14 | int64(head[8]&0x7F)<<7 | int64(head[9]&0x7F)
		if size += 10; head[5]&0x10 != 0 {
			size += 10 // a foot
		}
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			return fmt.Errorf("cut off in its ID3 tag: %w", err)
		}
	}
}

// gap is what of decoded samples is the sound.
type gap struct {
	skip, length int64 // length: less than 0 where it is not known
}

// mp3Gap reads the delay and padding from the tag that encoders write into a first frame of their
// own: Xing or Info, with LAME's extension. That frame is silent, and decoded like any other.
func mp3Gap(head []byte) (gap, bool) {
	if len(head) < 4 {
		return gap{}, false
	}
	w := binary.BigEndian.Uint32(head)
	if !frameHead(w) {
		return gap{}, false
	}
	mpeg1, mono := w>>19&3 == 3, w>>6&3 == 3
	samples, side := int64(576), 17
	switch {
	case mpeg1 && mono:
		samples = 1152
	case mpeg1:
		samples, side = 1152, 32
	case mono:
		side = 9
	}
	at := 4 + side
	if len(head) < at+8 || !begins(head[at:], "Xing", "Info") {
		return gap{}, false
	}
	flags := binary.BigEndian.Uint32(head[at+4:])
	rest := head[at+8:]
	g := gap{skip: samples, length: -1} // the tag's own frame is no sound
	var count int64 = -1
	for _, field := range []struct {
		flag uint32
		size int
	}{{1, 4}, {2, 4}, {4, 100}, {8, 4}} {
		if flags&field.flag == 0 {
			continue
		}
		if len(rest) < field.size {
			return g, true
		}
		if field.flag == 1 {
			count = int64(binary.BigEndian.Uint32(rest))
		}
		rest = rest[field.size:]
	}
	if len(rest) < 24 || !begins(rest, "LAME", "Lavf", "Lavc", "GOGO", "L3.9") {
		return g, true
	}
	delay := int64(rest[21])<<4 | int64(rest[22])>>4
	padding := int64(rest[22]&15)<<8 | int64(rest[23])
	g.skip += delay + mp3Delay
	if count > 0 {
		// What the padding has too much for the decoder's delay is sound that frames behind would
		// have carried.
		g.length = max(0, count*samples-delay-max(padding, mp3Delay))
		if padding >= mp3Delay {
			g.length = max(0, count*samples-delay-padding)
		}
	}
	return g, true
}

// layout has two channels always: the decoder gives mono files twice.
func (m *mp3File) Layout() (rate, channels int) { return m.decoder.SampleRate(), 2 }

func (m *mp3File) Read(dst []float32) (int, error) {
	const frame = 4 // bytes of two channels of 16 bits
	for {
		if m.left == 0 {
			return 0, io.EOF
		}
		want := int64(len(dst) / 2)
		if m.left > 0 {
			want = min(want, m.left)
		}
		if m.skip > 0 {
			want = min(int64(len(dst)/2), m.skip)
		}
		if int64(cap(m.buffer)) < want*frame {
			m.buffer = make([]byte, want*frame)
		}
		got, err := io.ReadFull(m.decoder, m.buffer[:want*frame])
		n := int64(got / frame)
		if m.skip > 0 && n > 0 {
			m.skip -= n
			continue
		}
		for i := range 2 * n {
			dst[i] = float32(int16(binary.LittleEndian.Uint16(m.buffer[2*i:]))) / (1 << 15)
		}
		if m.left > 0 {
			m.left -= n
		}
		switch {
		case n > 0:
			return int(2 * n), nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return 0, io.EOF
		default:
			return 0, err
		}
	}
}
