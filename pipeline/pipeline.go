// Package pipeline is xpipe's Go API: open a model bundle, then caption
// pictures and answer questions about them.
//
//	p, err := pipeline.Open(ctx, "path/to/bundle")
//	text, err := p.Caption(ctx, img)
//	text, err = p.Answer(ctx, img, "what color is the shape?")
//
// A Pipeline joins what the packages below it do: vision turns a picture into
// pixels as the model saw them in training, tokenize turns text into ids, an
// engine runs the graphs, and this package does what lies between the graphs:
// the projection from image to language width, the prompts, the decoding loop
// with its cache.
//
// The embedded default models are not here but in models/mini, so that a
// program which brings its own bundle does not carry them.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/vision"
)

// The kinds of failure a Pipeline reports. Every error wraps one of them, an
// error of a context, or ErrUnsupported.
var (
	// ErrBundle: a file of the bundle is missing, damaged or does not fit.
	ErrBundle = models.ErrBundle
	// ErrGraph: a graph of the bundle is damaged or needs what the engine lacks.
	ErrGraph = engine.ErrGraph
	// ErrTokenizer: the bundle's tokenizer.json is damaged or not supported.
	ErrTokenizer = tokenize.ErrTokenizer
	// ErrEngine: the engine is missing or failed.
	ErrEngine = engine.ErrEngine
	// ErrImage: the picture cannot be decoded or used.
	ErrImage = vision.ErrImage
	// ErrLimit: the picture, the model or the request is beyond the limits; see
	// Limits.
	ErrLimit = vision.ErrLimit
	// ErrPrompt: the text is too long or lacks what the model needs.
	ErrPrompt = errors.New("prompt")
	// ErrUnsupported: the model's family cannot do the task.
	ErrUnsupported = errors.New("unsupported")
	// ErrClosed: the Pipeline was closed.
	ErrClosed = errors.New("pipeline is closed")
)

// Pipeline is an opened model. It is safe for concurrent use.
type Pipeline struct {
	bundle    *models.Bundle
	engine    engine.Engine
	tokenizer *tokenize.Tokenizer
	images    *vision.Preprocessor
	model     model
	defaults  Generation

	limits  Limits
	turns   chan struct{} // a place for each call that may run
	mu      sync.Mutex
	running sync.WaitGroup
	closed  bool
}

// model is what a family implements: it holds the family's sessions.
type model interface {
	close() error
}

// generator is a model that writes text about a picture.
type generator interface {
	model
	// encode turns pixels [B,3,H,W] into what the text is conditioned on. The
	// result may be used for any number of prompts.
	encode(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error)
	// begin starts one sequence for each prompt, prompt i about the images
	// which[i], rows of what encode returned.
	begin(ctx context.Context, images *tensor.Tensor, which [][]int, prompts []string) (languageModel, error)
	// startsAfresh reports whether the decoder's text does not go on from the
	// prompt, which an encoder has read, but starts from one token.
	startsAfresh() bool
}

// composer is a generator whose prompts have pictures in between.
type composer interface {
	generator
	// compose writes the prompt of text and pictures.
	compose(parts []Part) string
	// end is what closes an example of a few-shot prompt.
	end() string
}

// onePicture is for families whose prompts are about exactly one picture.
func onePicture(which [][]int) ([]int, error) {
	pictures := make([]int, len(which))
	for i, images := range which {
		if len(images) != 1 {
			return nil, fmt.Errorf("%w: this model takes one picture for each text; request %d has %d", ErrPrompt, i+1, len(images))
		}
		pictures[i] = images[0]
	}
	return pictures, nil
}

// Option adjusts Open and OpenFS.
type Option func(*config)

type config struct {
	engine        engine.Engine
	engineOptions engine.Options
	bundleOptions []models.Option
	limits        Limits
}

// WithEngine runs the graphs on eng. Without it, or with nil, SelectEngine
// chooses as for "auto".
func WithEngine(eng engine.Engine) Option { return func(c *config) { c.engine = eng } }

// WithEngineOptions passes threads, provider and fusion to the engine. The
// zero value uses all cores of the CPU.
func WithEngineOptions(o engine.Options) Option { return func(c *config) { c.engineOptions = o } }

// WithoutVerification skips the comparison of the bundle's files with their
// SHA-256.
func WithoutVerification() Option {
	return func(c *config) { c.bundleOptions = append(c.bundleOptions, models.NoVerify()) }
}

// WithVariant takes graphs stored as another type, such as "fp16", where the
// bundle has several; see models.WithVariant.
func WithVariant(name string) Option {
	return func(c *config) { c.bundleOptions = append(c.bundleOptions, models.WithVariant(name)) }
}

// Open opens the bundle in a directory.
func Open(ctx context.Context, dir string, opts ...Option) (*Pipeline, error) {
	return open(ctx, os.DirFS(dir), opts, func(o ...models.Option) (*models.Bundle, error) { return models.Open(dir, o...) })
}

// OpenFS opens the bundle at the root of a file system, such as an embedded
// one.
func OpenFS(ctx context.Context, fsys fs.FS, opts ...Option) (*Pipeline, error) {
	return open(ctx, fsys, opts, func(o ...models.Option) (*models.Bundle, error) { return models.OpenFS(fsys, o...) })
}

func open(ctx context.Context, files fs.FS, opts []Option, openBundle func(...models.Option) (*models.Bundle, error)) (*Pipeline, error) {
	var c config
	for _, opt := range opts {
		opt(&c)
	}
	c.limits = c.limits.withDefaults()
	if err := c.limits.checkModel(files); err != nil {
		return nil, err
	}
	if c.engineOptions.MemoryLimit == 0 && c.limits.Memory < math.MaxInt64 {
		c.engineOptions.MemoryLimit = c.limits.Memory
	}
	if c.engine == nil {
		eng, _, err := SelectEngine("auto", "")
		if err != nil {
			return nil, err
		}
		c.engine = eng
	}
	bundle, err := openBundle(c.bundleOptions...)
	if err != nil {
		return nil, err
	}
	p, err := assemble(ctx, bundle, c)
	if err != nil {
		bundle.Close()
		return nil, fmt.Errorf("model %s: %w", bundle.Name, err)
	}
	return p, nil
}

// assemble opens everything in the bundle.
func assemble(ctx context.Context, bundle *models.Bundle, c config) (*Pipeline, error) {
	p := &Pipeline{bundle: bundle, engine: c.engine, limits: c.limits, turns: make(chan struct{}, min(c.limits.Concurrent, maxTurns))}
	data, err := bundle.File("tokenizer.json")
	if err != nil {
		return nil, err
	}
	if p.tokenizer, err = tokenize.New(data); err != nil {
		return nil, err
	}
	if bundle.Family != models.LXMERT || bundle.Has(regionEncoderRole) { // LXMERT itself sees regions, not pixels
		if data, err = bundle.File("preprocessor_config.json"); err != nil {
			return nil, err
		}
		if p.images, err = vision.ParseConfig(data); err != nil {
			return nil, fmt.Errorf("%w: preprocessor_config.json: %w", ErrBundle, err)
		}
	}
	if p.defaults, err = loadGeneration(bundle); err != nil {
		return nil, err
	}
	graphs := graphOpener{ctx: ctx, bundle: bundle, engine: c.engine, options: c.engineOptions, limits: c.limits}
	writes := bundle.Has("decoder")
	switch family := bundle.Family; {
	case family == models.BLIP2 && writes:
		p.model, err = openBLIP2(&graphs, p.tokenizer)
	case family == models.BLIP && writes:
		p.model, err = openBLIP(&graphs, p.tokenizer)
	case family == models.BLIP2 || family == models.BLIP:
		p.model, err = openRetrieval(&graphs, p.tokenizer, family == models.BLIP2)
	case family == models.Flamingo:
		p.model, err = openFlamingo(&graphs, p.tokenizer, p.defaults)
	case family == models.CLIP:
		p.model, err = openCLIP(&graphs, p.tokenizer, p.images)
	case family == models.LXMERT:
		p.model, err = openLXMERT(&graphs, p.tokenizer)
	default:
		err = fmt.Errorf("%w: no pipeline for family %s", ErrUnsupported, family)
	}
	if err != nil {
		graphs.close()
		return nil, err
	}
	return p, nil
}

// graphOpener opens the graphs of one bundle and closes what it has opened if
// a later one fails.
type graphOpener struct {
	ctx     context.Context
	bundle  *models.Bundle
	engine  engine.Engine
	options engine.Options
	limits  Limits
	opened  []engine.Session
}

func (g *graphOpener) open(role string) (engine.Session, error) {
	source, err := g.bundle.Graph(role)
	if err != nil {
		return nil, err
	}
	if info, err := fs.Stat(source.FS, source.Name); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s, the graph %q, is not there or not a file", ErrBundle, source.Name, role)
	}
	session, err := g.engine.Open(g.ctx, source, g.options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source.Name, err)
	}
	session = &watchedSession{Session: session, role: role, source: source, options: g.options}
	g.opened = append(g.opened, session)
	return session, nil
}

func (g *graphOpener) close() error {
	var errs []error
	for _, s := range g.opened {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Bundle describes the model.
func (p *Pipeline) Bundle() *models.Bundle { return p.bundle }

// Engine is what runs the graphs.
func (p *Pipeline) Engine() engine.Engine { return p.engine }

// Close waits for calls in progress and frees the model. Later calls fail with
// ErrClosed; a second Close does nothing.
func (p *Pipeline) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	p.running.Wait()
	return errors.Join(p.model.close(), p.bundle.Close())
}
