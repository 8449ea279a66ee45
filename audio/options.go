package audio

import "math"

// Limits bound the sounds that are accepted. A field of 0 stands for its default; a negative field
// lifts the bound. Exceeding a limit gives an error that wraps ErrLimit.
type Limits struct {
	// Seconds is how long a sound that is decoded whole may last: 24 hours by default. A Stream has
	// no such bound.
	Seconds float64
	// Channels is the most channels: 255 by default.
	Channels int
	// Rate is the most samples a second: 768,000 by default.
	Rate int
}

const (
	defaultMaxSeconds  = 24 * 3600
	defaultMaxChannels = 255
	defaultMaxRate     = 768_000
)

// An Option changes how sounds are read.
type Option func(*options)

type options struct {
	limits    Limits
	rate      int // 0: the file's
	ffmpeg    string
	noProcess bool
	raw       *Raw
}

// WithRate asks for samples of this rate, in samples a second; without it they have the file's.
func WithRate(rate int) Option { return func(o *options) { o.rate = rate } }

// WithLimits replaces the default limits.
func WithLimits(l Limits) Option { return func(o *options) { o.limits = l } }

// WithFFmpeg names the ffmpeg binary that is started for formats that this package does not read. By
// default it is looked for on PATH.
func WithFFmpeg(path string) Option {
	return func(o *options) { o.ffmpeg, o.noProcess = path, false }
}

// WithoutFFmpeg keeps this package from starting ffmpeg: formats that it does not read itself then
// give an error that wraps ErrSound.
func WithoutFFmpeg() Option { return func(o *options) { o.noProcess = true } }

// Raw says what samples without a head are.
type Raw struct {
	Rate, Channels int
	Format         string // s16le, f32le, u8, mulaw or alaw
}

// WithRaw reads samples without a head.
func WithRaw(raw Raw) Option { return func(o *options) { o.raw = &raw } }

func buildOptions(opts []Option) options {
	var o options
	for _, f := range opts {
		f(&o)
	}
	l := &o.limits
	if l.Seconds == 0 {
		l.Seconds = defaultMaxSeconds
	} else if l.Seconds < 0 {
		l.Seconds = math.Inf(1)
	}
	for _, f := range []struct {
		field *int
		value int
	}{{&l.Channels, defaultMaxChannels}, {&l.Rate, defaultMaxRate}} {
		if *f.field == 0 {
			*f.field = f.value
		} else if *f.field < 0 {
			*f.field = math.MaxInt
		}
	}
	return o
}
