package audio

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// wav reads RIFF, RF64 and RIFX files of WAVE: PCM of 8 to 64 bits, float32 and float64, A-law and
// mu-law, in the extensible form, too.
type wav struct {
	r              *bufio.Reader
	channels, rate int
	left           int64 // bytes of samples; less than 0: up to the end of the stream
	size           int   // bytes of a sample of one channel
	order          binary.ByteOrder
	sample         func([]byte) float32
	buffer         []byte
}

// Formats of a fmt chunk, from Microsoft's mmreg.h.
const (
	wavePCM        = 1
	waveFloat      = 3
	waveALaw       = 6
	waveMuLaw      = 7
	waveExtensible = 0xFFFE
)

// openWAV reads up to the first sample. The bytes "RIFF", "RF64", "BW64" or "RIFX" are still to be
// read.
func openWAV(r *bufio.Reader) (*wav, error) {
	head := make([]byte, 12)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, soundErrorf("WAV: cut off in its head: %w", noEOF(err))
	}
	w := &wav{r: r, order: binary.LittleEndian}
	if string(head[:4]) == "RIFX" {
		w.order = binary.BigEndian
	}
	if string(head[8:]) != "WAVE" {
		return nil, soundErrorf("RIFF, but of %q and not a WAVE", head[8:])
	}
	var long uint64 // the data's size of RF64's ds64 chunk
	for {
		chunk := head[:8]
		if _, err := io.ReadFull(r, chunk); err != nil {
			return nil, soundErrorf("WAV: there is no chunk of data: %w", noEOF(err))
		}
		id, size := string(chunk[:4]), int64(w.order.Uint32(chunk[4:]))
		switch id {
		case "fmt ":
			if err := w.format(size); err != nil {
				return nil, err
			}
		case "data":
			if w.sample == nil {
				return nil, soundErrorf("WAV: the data stand before their format")
			}
			w.left = size
			switch {
			case size == math.MaxUint32 && long > 0 && long <= math.MaxInt64:
				w.left = int64(long)
			case size == math.MaxUint32, size == 0: // written by a program that could not know, into a pipe
				w.left = -1
			}
			return w, nil
		default:
			body := int64(0)
			if id == "ds64" && size >= 16 {
				sizes := make([]byte, 16)
				if _, err := io.ReadFull(r, sizes); err != nil {
					return nil, soundErrorf("WAV: cut off in its ds64 chunk: %w", noEOF(err))
				}
				long, body = w.order.Uint64(sizes[8:]), 16
			}
			if _, err := io.CopyN(io.Discard, r, size-body+size%2); err != nil {
				return nil, soundErrorf("WAV: cut off in its chunk %q: %w", id, noEOF(err))
			}
		}
	}
}

// format reads a fmt chunk.
func (w *wav) format(size int64) error {
	if size < 16 || size > 1<<16 {
		return soundErrorf("WAV: a format of %d bytes", size)
	}
	f := make([]byte, size+size%2)
	if _, err := io.ReadFull(w.r, f); err != nil {
		return soundErrorf("WAV: cut off in its format: %w", noEOF(err))
	}
	kind := w.order.Uint16(f)
	w.channels, w.rate = int(w.order.Uint16(f[2:])), int(w.order.Uint32(f[4:]))
	block, bits := int(w.order.Uint16(f[12:])), int(w.order.Uint16(f[14:]))
	if kind == waveExtensible && size >= 26 {
		kind = w.order.Uint16(f[24:]) // the first bytes of the subformat's GUID
	}
	w.size = (bits + 7) / 8
	if w.channels > 0 && block%w.channels == 0 && block/w.channels >= w.size {
		w.size = block / w.channels // 20 bits in 3 bytes or 24 in 4: the value lies in the upper ones
	}
	if w.channels == 0 || w.rate == 0 {
		return soundErrorf("WAV: %d channels of %d samples a second", w.channels, w.rate)
	}
	return w.samples(kind, bits)
}

// samples sets how a sample is read.
func (w *wav) samples(kind uint16, bits int) error {
	w.size = max(w.size, (bits+7)/8)
	order := w.order
	w.sample = nil
	switch {
	case kind == wavePCM && w.size == 1:
		w.sample = func(b []byte) float32 { return float32(int(b[0])-128) / (1 << 7) }
	case kind == wavePCM && w.size == 2:
		w.sample = func(b []byte) float32 { return float32(int16(order.Uint16(b))) / (1 << 15) }
	case kind == wavePCM && w.size == 3:
		high, low := 2, 0
		if order == binary.BigEndian {
			high, low = 0, 2
		}
		w.sample = func(b []byte) float32 {
			return float32(int32(b[high])<<24|int32(b[1])<<16|int32(b[low])<<8) / (1 << 31)
		}
	case kind == wavePCM && w.size == 4:
		w.sample = func(b []byte) float32 { return float32(float64(int32(order.Uint32(b))) / (1 << 31)) }
	case kind == wavePCM && w.size == 8:
		w.sample = func(b []byte) float32 { return float32(float64(int64(order.Uint64(b))) / (1 << 63)) }
	case kind == waveFloat && w.size == 4:
		w.sample = func(b []byte) float32 { return finite(math.Float32frombits(order.Uint32(b))) }
	case kind == waveFloat && w.size == 8:
		w.sample = func(b []byte) float32 { return finite(float32(math.Float64frombits(order.Uint64(b)))) }
	case kind == waveALaw && w.size == 1:
		w.sample = func(b []byte) float32 { return aLaw(b[0]) }
	case kind == waveMuLaw && w.size == 1:
		w.sample = func(b []byte) float32 { return muLaw(b[0]) }
	default:
		return soundErrorf("WAV: format %#x of %d bits in %d bytes is not read; PCM of 8, 16, 24, 32 and 64 bits, "+
			"float, A-law and mu-law are", kind, bits, w.size)
	}
	return nil
}

func (w *wav) Layout() (rate, channels int) { return w.rate, w.channels }

// Read fills dst with whole frames of interleaved samples. A file that ends before its time ends
// there.
func (w *wav) Read(dst []float32) (int, error) {
	frame := w.size * w.channels
	want := int64(len(dst)/w.channels) * int64(frame)
	if w.left >= 0 {
		want = min(want, w.left/int64(frame)*int64(frame))
	}
	if want == 0 {
		return 0, io.EOF
	}
	if int64(cap(w.buffer)) < want {
		w.buffer = make([]byte, want)
	}
	got, err := io.ReadFull(w.r, w.buffer[:want])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	got -= got % frame
	if w.left >= 0 {
		w.left -= int64(got)
	}
	n := got / w.size
	for i := range n {
		dst[i] = w.sample(w.buffer[i*w.size:][:w.size])
	}
	if n > 0 {
		return n, nil // an error comes again at the next call
	}
	return 0, err
}

// finite returns v, and silence for what is no number.
func finite(v float32) float32 {
	if v != v || v > math.MaxFloat32 || v < -math.MaxFloat32 {
		return 0
	}
	return v
}

// muLaw and aLaw are the expansions of ITU-T G.711, to 16 bits of scale.
func muLaw(b byte) float32 {
	b = ^b
	magnitude := ((int(b&0x0F) << 3) + 132) << (b >> 4 & 7)
	value := magnitude - 132
	if b&0x80 != 0 {
		value = -value
	}
	return float32(value) / (1 << 15)
}

func aLaw(b byte) float32 {
	b ^= 0x55
	value, segment := int(b&0x0F)<<4+8, int(b>>4&7)
	if segment > 0 {
		value = (value + 256) << (segment - 1)
	}
	if b&0x80 == 0 {
		value = -value
	}
	return float32(value) / (1 << 15)
}

// noEOF makes of an end that came too early the error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// openRaw reads samples without a head.
func openRaw(r *bufio.Reader, raw Raw) (*wav, error) {
	kinds := map[string][2]uint16{ // format and bits, as of a fmt chunk
		"u8": {wavePCM, 8}, "s16le": {wavePCM, 16}, "f32le": {waveFloat, 32},
		"mulaw": {waveMuLaw, 8}, "alaw": {waveALaw, 8},
	}
	kind, ok := kinds[raw.Format]
	if !ok || raw.Rate < 1 || raw.Channels < 1 {
		return nil, soundErrorf("raw samples %q, %d channels of %d a second: the formats are s16le, f32le, u8, mulaw "+
			"and alaw", raw.Format, raw.Channels, raw.Rate)
	}
	w := &wav{r: r, order: binary.LittleEndian, left: -1, channels: raw.Channels, rate: raw.Rate}
	return w, w.samples(kind[0], int(kind[1]))
}
