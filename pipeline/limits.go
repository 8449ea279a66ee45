package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"runtime"
	"time"

	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/vision"
)

// Limits bound what a Pipeline takes on, so that neither a request nor a bundle can
// take the machine with it. A field of 0 stands for its default, which is meant for
// a server that strangers send requests to; a negative field lifts the bound. What
// goes beyond one gives an error that wraps ErrLimit.
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

// checkLimit refuses n of something beyond the most there may be.
func checkLimit[T int | int64](what string, n, most T) error {
	if n > most {
		return fmt.Errorf("%w: %s: %d, the limit is %d (pipeline.Limits)", ErrLimit, what, n, most)
	}
	return nil
}

// checkModel adds up the files of a bundle, before any is read.
func (l Limits) checkModel(fsys fs.FS) error {
	var total int64
	return fs.WalkDir(fsys, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // what cannot be read is told of by what needs it
		}
		if info, err := fs.Stat(fsys, path); err == nil {
			total += info.Size()
		}
		return checkLimit("bytes of the model's files", total, l.ModelBytes)
	})
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

// bytesPerToken bounds the text that is tokenized at all.
const bytesPerToken = 64

// checkText bounds a text before the work of tokenizing it.
func (l Limits) checkText(text string) error {
	return checkLimit("bytes of a text", len(text)/bytesPerToken, l.PromptTokens)
}

// readText tokenizes a text within the limits.
func (g *graphOpener) readText(tokenizer *tokenize.Tokenizer, text string, opts ...tokenize.Option) (*tokenize.Encoding, error) {
	if err := g.limits.checkText(text); err != nil {
		return nil, err
	}
	encoding, err := tokenizer.Encode(text, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPrompt, err)
	}
	return encoding, checkLimit("tokens of a text", len(encoding.IDs), g.limits.PromptTokens)
}

// preprocess turns pictures into pixels within the limits.
func (p *Pipeline) preprocess(ctx context.Context, images ...image.Image) (*tensor.Tensor, error) {
	if err := checkLimit("pictures at once", len(images), p.limits.Batch); err != nil {
		return nil, err
	}
	for _, img := range images {
		if err := p.checkPicture(img); err != nil {
			return nil, err
		}
	}
	return p.images.Preprocess(ctx, images...)
}

// checkPicture refuses what is no picture, or too large.
func (p *Pipeline) checkPicture(img image.Image) error {
	if img == nil {
		return fmt.Errorf("%w: there is no picture", ErrImage)
	}
	b := img.Bounds()
	if err := checkLimit("pixels of a picture's longer side", max(b.Dx(), b.Dy()), p.limits.ImageSide); err != nil {
		return err
	}
	return checkLimit("pixels of a picture", int64(b.Dx())*int64(b.Dy()), int64(p.limits.ImagePixels))
}

// enter registers a call, once it is its turn, and bounds its time. The caller
// defers leave with its error.
func (p *Pipeline) enter(ctx context.Context) (call context.Context, leave func(*error), err error) {
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("waiting for other calls to end: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		<-p.turns
		return nil, nil, ErrClosed
	}
	p.running.Add(1)
	call, cancel := ctx, context.CancelFunc(func() {})
	if p.limits.Time < math.MaxInt64 {
		call, cancel = context.WithTimeout(ctx, p.limits.Time)
	}
	return call, func(err *error) {
		if errors.Is(*err, context.DeadlineExceeded) && ctx.Err() == nil {
			*err = fmt.Errorf("%w: the call took more than %v (pipeline.Limits): %w", ErrLimit, p.limits.Time, *err)
		}
		cancel()
		p.running.Done()
		<-p.turns
	}, nil
}
