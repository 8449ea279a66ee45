package audio

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"sync"
)

// Format is a kind of sound file: what RegisterFormat takes.
type Format struct {
	Name     string
	Suffixes []string // of file names, in lower case, with the dot
	// Is says by the first 64 bytes of a file, or fewer where it is shorter, whether it is of this kind.
	Is func(head []byte) bool
	// Open reads up to the first sample.
	Open func(r *bufio.Reader) (Decoder, error)
}

// Decoder reads the samples of a file.
type Decoder interface {
	// Layout returns the samples a second of each channel, and the channels.
	Layout() (rate, channels int)
	// Read fills dst, whose length is a multiple of the channels, with interleaved samples from -1 to 1.
	// It returns how many, a multiple of the channels and more than 0, or an error: io.EOF at the end,
	// also of a file that ends too early.
	Read(dst []float32) (int, error)
}

var registry struct {
	sync.RWMutex
	list []Format
}

// RegisterFormat has Open, Decode and DecodeFile read a further format, as a package's init does that a
// program imports for it. The first that is registered for a file reads it. Errors of the format's
// functions need not wrap ErrSound.
func RegisterFormat(f Format) {
	registry.Lock()
	defer registry.Unlock()
	registry.list = append(registry.list, f)
}

func knownFormats() []Format {
	registry.RLock()
	defer registry.RUnlock()
	own := Format{Name: "WAV", Suffixes: []string{".wav", ".wave"},
		Is:   func(head []byte) bool { return begins(head, "RIFF", "RF64", "BW64", "RIFX") },
		Open: func(r *bufio.Reader) (Decoder, error) { return openWAV(r) }}
	return append([]Format{own}, registry.list...)
}

// Suffixes returns the suffixes, in lower case with the dot, of the files that Decode reads without
// ffmpeg, those of registered formats included.
func Suffixes() (list []string) {
	for _, f := range knownFormats() {
		list = append(list, f.Suffixes...)
	}
	return list
}

// formatNames lists the formats that are read.
func formatNames() string {
	var names []string
	for _, f := range knownFormats() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func begins(head []byte, magics ...string) bool {
	return slices.ContainsFunc(magics, func(m string) bool { return bytes.HasPrefix(head, []byte(m)) })
}
