package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/speech"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/vision"
)

// The kinds of failure a Pipeline reports. Every error wraps one of them or an error of a context.
var (
	// ErrBundle: a file of the bundle is missing, damaged or does not fit.
	ErrBundle = graph.ErrBundle
	// ErrGraph: a graph of the bundle is damaged or needs what the engine lacks.
	ErrGraph = engine.ErrGraph
	// ErrTokenizer: the bundle's tokenizer.json is damaged or not supported.
	ErrTokenizer = tokenize.ErrTokenizer
	// ErrEngine: the engine is missing or failed.
	ErrEngine = engine.ErrEngine
	// ErrImage: the picture cannot be decoded or used.
	ErrImage = vision.ErrImage
	// ErrSound: the sound cannot be decoded or used.
	ErrSound = audio.ErrSound
	// ErrRegions: a file of region features is damaged or does not fit the model.
	ErrRegions = vision.ErrRegions
	// ErrLimit: the picture, the model or the request is beyond the limits; see Limits.
	ErrLimit = graph.ErrLimit
	// ErrPrompt: the text is too long or lacks what the model needs.
	ErrPrompt = graph.ErrPrompt
	// ErrOption: a parameter of decoding is out of its range, or two of them exclude each other.
	ErrOption = graph.ErrOption
	// ErrUnsupported: the model's family cannot do the task.
	ErrUnsupported = graph.ErrUnsupported
	// ErrClosed: the Pipeline was closed.
	ErrClosed = errors.New("pipeline is closed")
)

// LimitError says which limit a request, a picture or a model is beyond. It wraps ErrLimit.
type LimitError = media.LimitError

// Pipeline is an opened model. It is safe for concurrent use.
type Pipeline struct {
	bundle   *models.Bundle
	engine   engine.Engine
	graphs   *graph.Opener
	model    family.Model
	texts    family.Texts
	images   *vision.Preprocessor // nil where the model sees no pixels
	sounds   *audio.Extractor     // nil where it hears no features, or its configuration is not there
	waves    *audio.Waves         // the same of samples
	frames   *audio.Frames        // the same of features of sounds as long as they are
	clips    *audio.Clips         // the same of clips of one length
	voice    *speech.VoiceModel   // nil without WithVoiceModel
	defaults Generation
	// scheduler decodes the texts of all calls together; nil: each call decodes its own.
	scheduler *decode.Scheduler
	// vocabulary has the bytes of the tokenizer's tokens, made when a text is first held to a schema.
	vocabulary func() *grammar.Vocabulary
	couples    func() bool // see Couples

	limits  Limits
	turns   chan struct{} // holds one value for each running call
	mu      sync.Mutex
	running sync.WaitGroup
	closed  bool
}

// Option adjusts Open and OpenFS.
type Option func(*config)

type config struct {
	engine        engine.Engine
	shadow        engine.Engine
	engineOptions engine.Options
	bundleOptions []models.Option
	families      family.Table
	limits        Limits
	voice         string
	scheduler     *decode.Scheduler
	itemsAlone    bool
}

// WithEngine runs the graphs on eng. Without it, or with nil, the Go engine runs them.
func WithEngine(eng engine.Engine) Option { return func(c *config) { c.engine = eng } }

// WithShadow sets the engine on which Attend runs a graph a second time where the Pipeline's own
// engine does not show the attention inside it. Without it, or with nil, that is the Go engine.
func WithShadow(eng engine.Engine) Option { return func(c *config) { c.shadow = eng } }

// WithEngineOptions passes threads, provider and fusion to the engine. The zero value uses all
// cores of the CPU.
func WithEngineOptions(o engine.Options) Option { return func(c *config) { c.engineOptions = o } }

// WithoutVerification skips the comparison of the bundle's files with their SHA-256.
func WithoutVerification() Option {
	return func(c *config) { c.bundleOptions = append(c.bundleOptions, models.WithoutVerification()) }
}

// WithVariant takes graphs stored as another type, such as "fp16", where the bundle has several;
// see models.WithVariant.
func WithVariant(name string) Option {
	return func(c *config) { c.bundleOptions = append(c.bundleOptions, models.WithVariant(name)) }
}

// WithFamilies opens models of the families in the table alone. Without it, or with nil, the table
// is family.Families.
func WithFamilies(table family.Table) Option { return func(c *config) { c.families = table } }

// WithVoiceModel has silero's voice detector find where somebody speaks in a sound that is transcribed, in
// audio.Voice's place: a graph, or a folder that has it (speech.OpenVoiceModel). It is opened with the
// model, runs on its engine, on one core of the CPU, and counts for nothing where the model does not hear.
func WithVoiceModel(path string) Option { return func(c *config) { c.voice = path } }

// WithScheduler has calls that run at once write their texts in common batches, which they join and
// leave at any token (continuous batching): n texts take little more time than one, where one keeps
// the processor waiting for memory. Each call gives what it gives alone. Limits.Concurrent bounds the
// calls, and with that the batch. A scheduler serves one Pipeline.
func WithScheduler(s *decode.Scheduler) Option { return func(c *config) { c.scheduler = s } }

// WithItemsAlone leaves the encoder of texts closed where a model has one beside that of its items, as
// CLIP's kind does: for callers who embed items and no texts. EmbedTexts and Match then give an error that
// wraps ErrUnsupported. It counts for nothing with other models.
func WithItemsAlone() Option { return func(c *config) { c.itemsAlone = true } }

// Open opens the bundle in a directory. Errors wrap ErrBundle, ErrGraph, ErrTokenizer, ErrEngine or
// ErrLimit.
func Open(ctx context.Context, dir string, opts ...Option) (*Pipeline, error) {
	return open(ctx, opts, func(bundle ...models.Option) (*models.Bundle, error) {
		return models.Open(dir, bundle...)
	})
}

// OpenFS opens the bundle at the root of a file system, such as an embedded one. Errors are those
// of Open.
func OpenFS(ctx context.Context, fsys fs.FS, opts ...Option) (*Pipeline, error) {
	return open(ctx, opts, func(bundle ...models.Option) (*models.Bundle, error) {
		return models.OpenFS(fsys, bundle...)
	})
}

func open(
	ctx context.Context, opts []Option, openBundle func(...models.Option) (*models.Bundle, error),
) (*Pipeline, error) {
	var c config
	for _, opt := range opts {
		if opt != nil {
			opt(&c)
		}
	}
	c.limits = c.limits.withDefaults()
	if c.engineOptions.MemoryLimit == 0 && c.limits.Memory < math.MaxInt64 {
		c.engineOptions.MemoryLimit = c.limits.Memory
	}
	if c.engine == nil {
		c.engine = fallback.New()
	}
	if c.shadow == nil {
		c.shadow = fallback.New()
	}
	if c.families == nil {
		c.families = family.Families
	}
	bundleOptions := append(slices.Clone(c.bundleOptions), c.families.Known(), models.VerifyLater(),
		models.WithSizeCheck(c.limits.checkModel))
	bundle, err := openBundle(bundleOptions...)
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

// assemble makes a Pipeline of an opened bundle: it opens the tokenizer, the graphs and the front
// end.
func assemble(ctx context.Context, bundle *models.Bundle, c config) (*Pipeline, error) {
	p := &Pipeline{
		bundle: bundle, engine: c.engine, limits: c.limits, scheduler: c.scheduler,
		turns: make(chan struct{}, min(c.limits.Concurrent, maxTurns)),
	}
	p.couples = graph.Couples(bundle)
	row, err := c.families.Find(bundle.Family)
	if err != nil {
		return nil, err
	}
	if !row.Wordless {
		tokenizer, err := tokenize.Load(bundle.File)
		if err != nil {
			return nil, err
		}
		clean, err := cleansSpaces(bundle, tokenizer)
		if err != nil {
			return nil, err
		}
		p.texts = family.Texts{Tokenizer: tokenizer, MaxTokens: c.limits.PromptTokens}
		if clean {
			p.texts.Tokenizer = tokenizer.CleaningSpaces()
		}
		p.vocabulary = sync.OnceValue(func() *grammar.Vocabulary {
			return grammar.NewVocabulary(tokenizer.Pieces())
		})
	}
	if p.defaults, err = decode.LoadOptions(bundle); err != nil {
		return nil, err
	}
	p.graphs = graph.NewOpener(ctx, bundle, attend.NewEngine(c.engine, c.shadow), c.engineOptions)
	p.model, err = row.Open(p.graphs, &family.Config{
		Texts: p.texts, Options: p.defaults, Preparer: p.preparer, ItemsAlone: c.itemsAlone,
	})
	if err == nil && slices.Contains(p.model.Media(), media.Pictures) {
		_, err = p.preparer(media.Pictures)
	}
	if err == nil && slices.Contains(p.model.Media(), media.Sounds) {
		// Without a configuration features can still be given, encoded.
		if _, err = p.preparer(media.Sounds); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil || errors.Is(err, ErrGraph) || errors.Is(err, ErrBundle) {
		// That a file is damaged tells more than what an engine could not make of it.
		if damaged := bundle.Verify(); damaged != nil {
			err = damaged
		}
	}
	if err == nil && c.voice != "" {
		opts := engine.Options{Threads: 1, MemoryLimit: c.engineOptions.MemoryLimit}
		p.voice, err = speech.OpenVoiceModel(ctx, c.engine, c.voice, opts)
	}
	if err != nil {
		p.graphs.Close()
		return nil, err
	}
	return p, nil
}

// cleansSpaces reports whether a model's texts lose the spaces before punctuation: as xpipe.json says or, in
// folders of other tools, as tokenizer_config.json does and transformers 5 does. What is heard is left as
// openai-whisper leaves it.
func cleansSpaces(bundle *models.Bundle, tokenizer *tokenize.Tokenizer) (bool, error) {
	var manifest struct {
		Clean bool `json:"clean_up_spaces"`
	}
	if err := bundle.JSON(models.ManifestName, &manifest); err != nil || bundle.Layout == "" {
		return manifest.Clean, err
	}
	if bundle.Family == family.Whisper || bundle.Family == family.Moonshine || tokenizer.IsBPE() {
		return false, nil
	}
	var config struct {
		Clean bool `json:"clean_up_tokenization_spaces"`
	}
	err := bundle.JSON("tokenizer_config.json", &config)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return config.Clean, err
}

// preparer opens the front end of a kind of media.
func (p *Pipeline) preparer(kind media.Kind) (front media.Preparer, err error) {
	var name string
	var data []byte
	switch kind {
	case media.Pictures:
		if p.images != nil {
			return p.images, nil
		}
		if data, name, err = vision.ReadConfig(p.bundle.File); err != nil {
			return nil, err
		}
		p.images, err = vision.ParseConfig(data)
		front = p.images
	case media.Sounds:
		if front := p.hearing(); front != nil {
			return front, nil
		}
		if data, name, err = audio.ReadConfig(p.bundle.File); err != nil {
			return nil, err
		}
		switch {
		case audio.IsWaves(data):
			p.waves, err = audio.NewWaves(data)
			front = p.waves
		case audio.IsFrames(data):
			p.frames, err = audio.NewFrames(data)
			front = p.frames
		case audio.IsClips(data):
			p.clips, err = audio.NewClips(data)
			front = p.clips
		default:
			p.sounds, err = audio.NewExtractor(data)
			front = p.sounds
		}
	default:
		return nil, fmt.Errorf("%w: there is no front end for a %s", ErrUnsupported, kind)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
	}
	return front, nil
}

// hearer is a front end for sounds of a rate.
type hearer interface {
	media.Preparer
	Rate() int
}

// hearing returns the front end for sounds; nil where there is none.
func (p *Pipeline) hearing() hearer {
	switch {
	case p.sounds != nil:
		return p.sounds
	case p.waves != nil:
		return p.waves
	case p.frames != nil:
		return p.frames
	case p.clips != nil:
		return p.clips
	}
	return nil
}

// hearsAlone reports whether the model takes sounds and no pictures.
func (p *Pipeline) hearsAlone() bool {
	return Abilities{Media: p.model.Media()}.HearsAlone()
}

// itemName is what the model takes a batch of, in words.
func (p *Pipeline) itemName() string {
	if p.hearsAlone() {
		return string(media.Sounds)
	}
	return string(media.Pictures)
}

// Bundle returns the model's bundle.
func (p *Pipeline) Bundle() *models.Bundle { return p.bundle }

// Engine returns the engine that runs the graphs.
func (p *Pipeline) Engine() engine.Engine { return p.engine }

// Couples reports whether what the model makes of an item, or writes, depends on what stands beside it in
// a batch: a graph of 8 bits may quantise activations over all of it. Batches then give other results
// than one item alone does.
func (p *Pipeline) Couples() bool { return p.couples() }

// Close waits for calls in progress and frees the model. Later calls fail with ErrClosed; a second
// Close does nothing, nor does one of a nil Pipeline.
func (p *Pipeline) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	p.running.Wait()
	return errors.Join(p.graphs.Close(), p.voice.Close(), p.bundle.Close())
}

// unsupported returns the error for a task that the model's family cannot do.
func (p *Pipeline) unsupported(task string) error {
	return fmt.Errorf("%w: model %s, of family %s, cannot %s",
		ErrUnsupported, p.bundle.Name, p.bundle.Family, task)
}

// hears returns the error for a picture that is given to a model of sounds.
func (p *Pipeline) hears() error {
	return fmt.Errorf("%w: model %s, of family %s, hears: it takes a sound, and no picture",
		ErrUnsupported, p.bundle.Name, p.bundle.Family)
}
