package pipeline

import (
	"math"
	"runtime"
	"time"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/vision"
)

// Limits bound what a Pipeline takes on, so that neither a request nor a bundle can take the
// machine with it. A field of 0 stands for its default, which is meant for a server that strangers
// send requests to; a negative field lifts the bound. What goes beyond one gives an error that
// wraps ErrLimit.
type Limits struct {
	ImagePixels  int           // pixels of one picture; default 178,956,970, Pillow's bound
	ImageBytes   int64         // of a picture's file, by the decoder that Vision sets; default 512 MiB
	ImageSide    int           // pixels of a picture's longer side, as resizing stretches the shorter one; default 1,048,576
	Frames       int           // of an animation, video or folder, by vision.Frames with what Vision sets; default 100,000
	RegionBytes  int64         // of a file of regions, unpacked, by its LoadRegions; default 1 GiB
	PromptTokens int           // tokens of one text that is read; default 4,096
	OutputTokens int           // MaxNewTokens at most; default 4,096
	Batch        int           // rows at once: requests times beams or texts each, pictures, texts; default 1,024
	ModelBytes   int64         // of the files in a bundle's folder; default 64 GiB
	Time         time.Duration // of one call; a context may ask for less; default 10 minutes
	Concurrent   int           // calls that run at once, others wait; default the processors, 4 at least
	Memory       int64         // engine.Options.MemoryLimit, where that is 0; default 16 GiB; ONNX Runtime does not know of it
}

// DefaultLimits are what the zero Limits stand for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	return Limits{
		ImagePixels:  bound(l.ImagePixels, 178_956_970),
		ImageBytes:   bound(l.ImageBytes, 512<<20),
		ImageSide:    bound(l.ImageSide, 1<<20),
		Frames:       bound(l.Frames, 100_000),
		RegionBytes:  bound(l.RegionBytes, 1<<30),
		PromptTokens: bound(l.PromptTokens, 4096),
		OutputTokens: bound(l.OutputTokens, 4096),
		Batch:        bound(l.Batch, 1024),
		ModelBytes:   bound(l.ModelBytes, 64<<30),
		Time:         bound(l.Time, 10*time.Minute),
		Concurrent:   bound(l.Concurrent, max(4, runtime.GOMAXPROCS(0))),
		Memory:       bound(l.Memory, 16<<30),
	}
}

func bound[T ~int | ~int64](value, byDefault T) T {
	switch {
	case value == 0:
		return byDefault
	case value < 0:
		return math.MaxInt
	}
	return value
}

// maxTurns stands for calls without a bound.
const maxTurns = 1 << 20

// WithLimits bounds what the Pipeline takes on. Without it the zero Limits hold.
func WithLimits(l Limits) Option { return func(c *config) { c.limits = l } }

// Limits are the Pipeline's, defaults filled in.
func (p *Pipeline) Limits() Limits { return p.limits }

// Vision are the limits for decoding the pictures of requests, all of vision's:
// vision.Decode(r, vision.WithLimits(p.Limits().Vision())).
func (l Limits) Vision() vision.Limits {
	l = l.withDefaults()
	return vision.Limits{Pixels: l.ImagePixels, Bytes: l.ImageBytes, Side: l.ImageSide, Frames: l.Frames}
}

func checkLimit[T int | int64](what string, n, most T) error { return graph.CheckLimit(what, n, most) }

// checkModel bounds the files of a bundle, before any is read.
func (l Limits) checkModel(total int64) error {
	return checkLimit("bytes of the model's files", total, l.ModelBytes)
}

// checkGeneration bounds a run of g for some requests.
func (l Limits) checkGeneration(g *Generation, requests int) error {
	if err := checkLimit("max_new_tokens", g.MaxNewTokens, l.OutputTokens); err != nil {
		return err
	}
	if err := checkLimit("num_beams", g.NumBeams, l.Batch); err != nil {
		return err
	}
	if err := checkLimit("num_return_sequences", g.NumReturnSequences, l.Batch); err != nil {
		return err
	}
	return checkLimit("rows of the batch", requests*max(g.NumBeams, g.NumReturnSequences), l.Batch)
}
