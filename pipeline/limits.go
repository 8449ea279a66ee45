package pipeline

import (
	"math"
	"runtime"
	"time"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/vision"
)

// Limits bound a Pipeline's work, so that neither a request nor a bundle can exhaust the machine. A
// field of 0 stands for its default, which suits a server that takes requests from strangers; a
// negative field lifts the bound. Exceeding a limit gives an error that wraps ErrLimit.
type Limits struct {
	// ImagePixels bounds one picture; default 178,956,970, Pillow's bound.
	ImagePixels int
	// ImageBytes bounds a picture's file, in a decoder that has Vision's limits; default 512 MiB.
	ImageBytes int64
	// ImageSide bounds a picture's longer side in pixels, because resizing stretches the shorter
	// one; default 1,048,576.
	ImageSide int
	// Frames bounds those of an animation, video or folder, in vision.Frames with Vision's limits;
	// default 100,000.
	Frames int
	// RegionBytes bounds a file of regions, unpacked, in LoadRegions; default 1 GiB.
	RegionBytes int64
	// PromptTokens bounds the tokens of one text that is read; default 4,096.
	PromptTokens int
	// OutputTokens bounds MaxNewTokens; default 4,096. Where a model has a max_length alone, a text
	// ends there, though that may be more.
	OutputTokens int
	// Batch bounds the rows at once: requests times beams or texts each, pictures, texts; default
	// 1,024.
	Batch int
	// ModelBytes bounds the files in a bundle's folder, summed up; default 64 GiB.
	ModelBytes int64
	// Time bounds one call; a context may ask for less; default 10 minutes.
	Time time.Duration
	// Concurrent bounds the calls that run at once, and others wait; default the number of
	// processors, 4 at least.
	Concurrent int
	// Memory bounds the tensors of one run of a graph, in bytes; default 16 GiB. ONNX Runtime has no
	// such bound. This is the place for it in a program that uses a Pipeline: engine.Options.
	// MemoryLimit, for graphs opened without one, counts in its place where WithEngineOptions sets
	// it, and fallback.Engine.MemoryLimit holds for all graphs of an engine besides.
	Memory int64
}

// DefaultLimits returns the limits that the zero Limits stand for.
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

// maxTurns is the number of turns where Concurrent has no bound.
const maxTurns = 1 << 20

// WithLimits bounds the Pipeline's work. Without it the zero Limits hold.
func WithLimits(l Limits) Option { return func(c *config) { c.limits = l } }

// Limits returns the Pipeline's limits, defaults filled in.
func (p *Pipeline) Limits() Limits { return p.limits }

// Vision returns the limits for decoding the pictures of requests:
// vision.Decode(r, vision.WithLimits(p.Limits().Vision())).
func (l Limits) Vision() vision.Limits {
	l = l.withDefaults()
	return vision.Limits{
		Pixels: l.ImagePixels, Bytes: l.ImageBytes, Side: l.ImageSide, Frames: l.Frames,
	}
}

// checkModel bounds the files of a bundle, before any is read.
func (l Limits) checkModel(total int64) error {
	return graph.CheckLimit("ModelBytes", "bytes of the model's files", total, l.ModelBytes)
}

// checkGeneration bounds a run of g for some requests.
func (l Limits) checkGeneration(g *Generation, requests int) error {
	if err := graph.CheckLimit("OutputTokens", "max_new_tokens", g.MaxNewTokens, l.OutputTokens); err != nil {
		return err
	}
	if err := graph.CheckLimit("Batch", "num_beams", g.NumBeams, l.Batch); err != nil {
		return err
	}
	if err := graph.CheckLimit("Batch", "num_return_sequences", g.NumReturnSequences, l.Batch); err != nil {
		return err
	}
	rows := requests * max(g.NumBeams, g.NumReturnSequences)
	return graph.CheckLimit("Batch", "rows of the batch", rows, l.Batch)
}
