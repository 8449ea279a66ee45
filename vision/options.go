package vision

import (
	"image/color"
	"math"
)

// Limits bound the pictures that are accepted. They are compared with the header of a file, before
// memory for its pixels is allocated. A field of 0 stands for its default; a negative field lifts
// the bound. Exceeding a limit gives an error that wraps ErrLimit.
type Limits struct {
	// Pixels is the most pixels of one picture that is decoded or made, and of all pictures of a
	// batch together: 178,956,970 by default, beyond which Pillow raises its decompression bomb
	// error.
	Pixels int
	// Bytes is the longest file: 512 MiB by default.
	Bytes int64
	// Side is the most pixels of one side: 1,048,576 by default.
	Side int
	// Frames is the most frames of an animation or video, and the most files of a directory:
	// 100,000 by default.
	Frames int
}

const (
	defaultMaxPixels = 178_956_970
	defaultMaxBytes  = 512 << 20
	defaultMaxSide   = 1 << 20
	defaultMaxFrames = 100_000
)

// mostPixels bounds the pixels of a picture where Limits has no bound, so that 4 bytes a pixel fit
// the address space.
const mostPixels = min(math.MaxInt/4, 1<<44)

// An Option changes how pictures are read and made.
type Option func(*options)

type options struct {
	limits    Limits
	ffmpeg    string
	noProcess bool

	background *color.RGBA // nil: hidden colours are shown, as in the reference
}

// WithFFmpeg names the ffmpeg binary that Frames starts for videos. By default it is looked for on
// PATH.
func WithFFmpeg(path string) Option { return func(o *options) { o.ffmpeg = path } }

// WithoutFFmpeg keeps Frames from starting ffmpeg: a video then gives an error that wraps ErrImage.
// No other function of this package starts a process.
func WithoutFFmpeg() Option { return func(o *options) { o.noProcess = true } }

// WithLimits replaces the default limits.
func WithLimits(l Limits) Option { return func(o *options) { o.limits = l } }

// WithBackground lays pictures with transparent parts on a colour, whose alpha does not count.
// Without it the colours that such parts hide are shown, as convert("RGB") of Pillow does: often
// black.
func WithBackground(c color.RGBA) Option { return func(o *options) { o.background = &c } }

func buildOptions(opts []Option) options {
	var o options
	for _, f := range opts {
		f(&o)
	}
	o.limits = o.limits.withDefaults()
	return o
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Pixels: bound(l.Pixels, defaultMaxPixels, math.MaxInt),
		Bytes:  bound(l.Bytes, defaultMaxBytes, math.MaxInt64),
		Side:   bound(l.Side, defaultMaxSide, math.MaxInt),
		Frames: bound(l.Frames, defaultMaxFrames, math.MaxInt),
	}
}

func bound[T int | int64](value, byDefault, none T) T {
	switch {
	case value == 0:
		return byDefault
	case value < 0:
		return none
	}
	return value
}

// checkSize refuses a picture of w by h pixels that is empty or over a limit.
func (l Limits) checkSize(w, h int) error {
	most := min(l.Pixels, mostPixels)
	switch {
	case w <= 0 || h <= 0:
		return imageErrorf("the picture is %dx%d pixels: nothing to see", w, h)
	case w > l.Side || h > l.Side:
		return limitErrorf("Side", "the picture is %dx%d pixels, the limit is %d a side", w, h, l.Side)
	case w > most/h:
		return limitErrorf("Pixels", "the picture is %dx%d pixels, the limit is %d in all", w, h, most)
	}
	return nil
}
