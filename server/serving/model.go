package serving

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"runtime"
	"time"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
)

// Model is an open model that many callers share.
type Model struct {
	Name string
	P    *pipeline.Pipeline
	Can  pipeline.Abilities

	config   *Config
	encoded  *cache[*pipeline.Encoded]
	encoding Together[media.Item, *pipeline.Encoded]
	pictures Together[media.Item, []float32]
	texts    Together[string, []float32]
}

// encodedAtOnce bounds the batches of encoders. Their products are large for one picture already;
// larger batches gain little and make the first one wait.
const encodedAtOnce = 2

// embeddedAtOnce bounds batches of embeddings. On a processor of few cores larger ones take more memory
// and gain nothing: their products are large enough.
const embeddedAtOnce = 2

// smallBytes is the size of a model's files below which its weights stay in a processor's cache: batches
// gain nothing there, and runs side by side wait less for each other than the cores of one run do.
// With clip-mini on two cores that is 1.13 times as many pictures a second, with CLIP B/32 in bf16
// 0.92 times.
const smallBytes = 32 << 20

func newModel(name string, config *Config) *Model {
	m := &Model{Name: name, config: config}
	m.encoded = newCache(max(config.CacheBytes, 0), (*pipeline.Encoded).Bytes,
		func(hit bool) { config.Observer.Cache(name, hit) })
	note := func(stage string) func(int, time.Duration) {
		return func(size int, took time.Duration) { config.Observer.Batch(name, stage, size, took) }
	}
	m.encoding = Together[media.Item, *pipeline.Encoded]{
		Most: encodedAtOnce,
		Run: func(ctx context.Context, items []media.Item) ([]*pipeline.Encoded, error) {
			return m.P.Encode(ctx, items...)
		},
		OnBatch: note("encode"),
	}
	m.pictures = Together[media.Item, []float32]{
		Most: embeddedAtOnce,
		Run: func(ctx context.Context, items []media.Item) ([][]float32, error) {
			return m.P.EmbedItems(ctx, items...)
		},
		OnBatch: note("embed"),
	}
	m.texts = Together[string, []float32]{
		Most:    embeddedAtOnce,
		Run:     func(ctx context.Context, texts []string) ([][]float32, error) { return m.P.EmbedTexts(ctx, texts...) },
		OnBatch: note("embed_text"),
	}
	return m
}

// open opens the model of an entry.
func (m *Model) open(ctx context.Context, e Entry) (err error) {
	limits := m.config.Limits
	limits.Concurrent = m.config.Queue + 1
	scheduler := &decode.Scheduler{
		MaxRows: m.config.Rows,
		OnStep:  func(s decode.Step) { m.config.Observer.Step(m.Name, s) },
	}
	opts := append([]pipeline.Option{}, m.config.Options...)
	opts = append(opts, pipeline.WithLimits(limits), pipeline.WithScheduler(scheduler))
	if m.P, err = e.model.Open(ctx, opts...); err != nil {
		return err
	}
	m.Can = m.P.Abilities()
	small := e.model.Bytes() < smallBytes
	if small || m.P.Couples() { // where what others ask for must change nothing
		m.encoding.Most, m.pictures.Most, m.texts.Most = 1, 1, 1
	}
	if small {
		lanes := runtime.GOMAXPROCS(0)
		m.encoding.Lanes, m.pictures.Lanes, m.texts.Lanes = lanes, lanes, lanes
	}
	return nil
}

func (m *Model) close() { m.P.Close() }

// Picture reads a picture that a client sent. For a model that writes texts it is encoded, together
// with those of other clients, and the result is kept for the next question about it.
func (m *Model) Picture(ctx context.Context, data []byte) (media.Item, error) {
	if !m.Can.Takes(media.Pictures) && !m.Can.Takes(media.Regions) {
		return nil, fmt.Errorf("%w: model %s takes no picture", pipeline.ErrUnsupported, m.Name)
	}
	if !m.Can.Write || m.config.CacheBytes < 0 {
		return m.item(ctx, data)
	}
	return m.encoded.get(ctx, sha256.Sum256(data), func() (*pipeline.Encoded, error) {
		item, err := m.item(ctx, data)
		if err != nil {
			return nil, err
		}
		e, err := m.encoding.Do(ctx, item)
		if err == nil && e.Bytes() > m.config.CacheBytes {
			e = e.WithoutKeys() // which are many times larger, and are not kept then
		}
		return e, err
	})
}

// preparing bounds the pictures whose pixels are in memory at once, of all models: more than there are
// processors would be ready no sooner.
var preparing = make(chan struct{}, runtime.GOMAXPROCS(0))

// item reads a picture and makes it ready for the model, in whose queue it then waits without its pixels.
func (m *Model) item(ctx context.Context, data []byte) (media.Item, error) {
	select {
	case preparing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-preparing }()
	img, err := m.P.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if !m.Can.Write && !m.Can.Embed { // what sees regions would look for them here, which is its run
		return media.Picture{Image: img}, nil
	}
	return m.P.Prepare(ctx, img)
}

// Image reads the pixels of a picture, for methods of a Pipeline that want no item.
func (m *Model) Image(data []byte) (image.Image, error) { return m.P.Decode(bytes.NewReader(data)) }

// Sound reads a sound that a client sent, at the rate that the model hears.
func (m *Model) Sound(ctx context.Context, data []byte) (*audio.Sound, error) {
	rate := m.P.HearingRate()
	if rate == 0 {
		return nil, fmt.Errorf("%w: model %s does not hear", pipeline.ErrUnsupported, m.Name)
	}
	return audio.Decode(ctx, bytes.NewReader(data), audio.WithRate(rate), audio.WithoutFFmpeg(),
		audio.WithLimits(audio.Limits{Seconds: m.config.SoundSeconds}))
}

// Write writes the texts for a request: the options' NumReturnSequences of them, the best first. emit,
// where it is not nil, is called with each token of the first as it is chosen, and ends the text by
// returning false.
func (m *Model) Write(
	ctx context.Context, r pipeline.Request, emit func(pipeline.Token) bool, opts ...pipeline.GenerateOption,
) ([]*pipeline.Text, error) {
	if emit != nil {
		text, err := m.P.StreamText(ctx, r, emit, opts...)
		if err != nil {
			return nil, err
		}
		m.config.Observer.Text(m.Name, text.Stats)
		return []*pipeline.Text{text}, nil
	}
	texts, err := m.P.Generate(ctx, []pipeline.Request{r}, opts...)
	if failed := pipeline.ItemErrors(err); len(failed) == 1 {
		err = failed[0].Err
	}
	if err != nil {
		return nil, err
	}
	for _, t := range texts[0] {
		m.config.Observer.Text(m.Name, t.Stats)
	}
	return texts[0], nil
}

// WriteEach is Write whose emit is told of all texts, each by its number, from 0.
func (m *Model) WriteEach(
	ctx context.Context, r pipeline.Request, emit func(text int, t pipeline.Token) bool,
	opts ...pipeline.GenerateOption,
) ([]*pipeline.Text, error) {
	texts, err := m.P.StreamTexts(ctx, r, emit, opts...)
	for _, t := range texts {
		m.config.Observer.Text(m.Name, t.Stats)
	}
	return texts, err
}

// EmbedPictures embeds pictures that a client sent, in batches with those of others: rows [E] of
// length 1.
func (m *Model) EmbedPictures(ctx context.Context, files ...[]byte) ([][]float32, error) {
	if err := m.checkEmbeds(); err != nil {
		return nil, err
	}
	items := make([]media.Item, len(files))
	for i, data := range files {
		var err error
		if items[i], err = m.item(ctx, data); err != nil {
			return nil, inList(i, len(files), err)
		}
	}
	return together(ctx, &m.pictures, items)
}

// EmbedPicture is EmbedPictures for one, and tells the picture's size in pixels, too.
func (m *Model) EmbedPicture(ctx context.Context, data []byte) (row []float32, size image.Point, err error) {
	if err := m.checkEmbeds(); err != nil {
		return nil, size, err
	}
	item, err := m.item(ctx, data)
	if err != nil {
		return nil, size, err
	}
	if picture, ok := item.(interface{ Bounds() image.Rectangle }); ok {
		size = picture.Bounds().Size()
	}
	row, err = m.pictures.Do(ctx, item)
	return row, size, err
}

// checkEmbeds refuses models that embed no pictures.
func (m *Model) checkEmbeds() error {
	if !m.Can.Embed || !m.Can.Takes(media.Pictures) {
		return fmt.Errorf("%w: model %s embeds no pictures", pipeline.ErrUnsupported, m.Name)
	}
	return nil
}

// Classify gives each label a probability for a picture, the best first; without labels those of the
// model's own classes. See pipeline.Classify.
func (m *Model) Classify(ctx context.Context, data []byte, labels ...string) ([]pipeline.Label, error) {
	img, err := m.item(ctx, data)
	if err != nil {
		return nil, err
	}
	scored, err := m.P.ClassifyItems(ctx, []media.Item{img}, labels...)
	if failed := pipeline.ItemErrors(err); len(failed) == 1 {
		err = failed[0].Err
	}
	if err != nil {
		return nil, err
	}
	return scored[0], nil
}

// EmbedTexts embeds texts, in batches with those of others: rows [E] of length 1.
func (m *Model) EmbedTexts(ctx context.Context, texts ...string) ([][]float32, error) {
	if !m.Can.Embed {
		return nil, fmt.Errorf("%w: model %s embeds no texts", pipeline.ErrUnsupported, m.Name)
	}
	return together(ctx, &m.texts, texts)
}

// together runs a list of inputs in the batches of all.
func together[In, Out any](ctx context.Context, t *Together[In, Out], inputs []In) ([]Out, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outputs, errs := make([]Out, len(inputs)), make([]error, len(inputs))
	done := make(chan int)
	for i, in := range inputs {
		go func() {
			outputs[i], errs[i] = t.Do(ctx, in)
			done <- i
		}()
	}
	var first error
	for range inputs {
		if i := <-done; errs[i] != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = inList(i, len(inputs), errs[i])
			cancel()
		}
	}
	return outputs, first
}

// inList names an input in an error, where there are several.
func inList(i, n int, err error) error {
	if n == 1 {
		return err
	}
	return fmt.Errorf("input %d: %w", i, err)
}

// unobserved is an Observer to which all is one.
type unobserved struct{}

func (unobserved) Step(string, decode.Step)                 {}
func (unobserved) Batch(string, string, int, time.Duration) {}
func (unobserved) Cache(string, bool)                       {}
func (unobserved) Opened(string, time.Duration, error)      {}
func (unobserved) Closed(string)                            {}
func (unobserved) Text(string, pipeline.Stats)              {}
