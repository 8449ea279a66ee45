// Package serving holds the models of a server: which there are, which are open and for how long, what
// many callers ask of one at once, and what is kept of pictures between requests. It knows no HTTP;
// the packages of dialects beside it know nothing else of models.
package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
)

// Config says how models are held. The zero value serves the embedded ones.
type Config struct {
	Catalog *Catalog
	// Options open every model: the engine, its options, limits. Limits.Concurrent is set from Queue.
	Options []pipeline.Option
	Limits  pipeline.Limits
	// Idle is how long a model stays open that nobody uses; 0 stands for 5 minutes, a negative value for
	// ever.
	Idle time.Duration
	// Memory bounds the files of open models together, in bytes: those used least recently are closed
	// for others. 0: no bound.
	Memory int64
	// CacheBytes bounds what is kept of encoded pictures, for each model; 0 stands for 256 MiB, a
	// negative value keeps nothing.
	CacheBytes int64
	// Queue bounds the calls of one model that run or wait; 0 stands for 512.
	Queue int
	// Rows bounds the texts that one model writes at once; 0 stands for decode.DefaultMaxRows, 1 writes
	// one at a time.
	Rows int
	// SoundSeconds bounds a sound; 0 stands for an hour.
	SoundSeconds float64
	// OpenDocument opens a PDF file that a client sent; nil: there are no documents. api/pagefiles has one.
	OpenDocument func(ctx context.Context, name string, data []byte, password string) (document.Paged, error)
	// Observer is told what happens; nil: nobody is.
	Observer Observer
	// Library is what find searches; nil: nothing.
	Library Library
	// Pull fetches a model that is not here, by its name on the hub; nil: models are never fetched.
	Pull func(ctx context.Context, name string) error
}

// Library holds items that can be found.
type Library interface {
	// Model is the model that made the vectors of the library's pictures, by its name and its
	// models.Bundle.Hash; both are "" where there are none.
	Model() (name, hash string)
	// Find returns hits, the best first. text and like are vectors of a text and a picture by that model;
	// nil: none.
	Find(ctx context.Context, sought api.Sought, text, like []float32) ([]api.Hit, error)
}

// Observer is told what happens, for metrics. Its methods return at once and are called from many
// goroutines.
type Observer interface {
	Step(model string, s decode.Step)
	Batch(model, stage string, size int, took time.Duration)
	Cache(model string, hit bool)
	Opened(model string, took time.Duration, err error)
	Closed(model string)
	// Text is told of each text that was written.
	Text(model string, s pipeline.Stats)
}

// KindBusy is the kind of errors of a queue that is full.
var KindBusy = api.Kind{Name: "busy", Exit: api.ExitOther, Status: http.StatusServiceUnavailable}

// KindNotAllowed is the kind of errors of what the operator could allow and did not.
var KindNotAllowed = api.Kind{Name: "not_allowed", Exit: api.ExitUsage, Status: http.StatusForbidden}

// RetryAfter is how long a client that was refused for want of room should wait.
const RetryAfter = 2 * time.Second

// Service holds open models. It is safe for concurrent use.
type Service struct {
	Catalog *Catalog
	config  Config
	texts   *cache[*api.DocumentText]

	mu     sync.Mutex
	slots  map[string]*slot // by Entry.Path
	closed bool
	// closing are models that were dropped and end what they do.
	closing sync.WaitGroup
}

// slot is the place of a model that is open, or being opened.
type slot struct {
	name    string
	ready   chan struct{} // closed once model or err is there
	model   *Model
	err     error
	users   int
	bytes   int64
	last    time.Time
	idle    *time.Timer
	keep    time.Duration // overrides Config.Idle, by a request
	dropped bool          // it is in no list any more
}

// New returns a Service in which no model is open yet.
func New(c Config) *Service {
	c.Catalog = cmp.Or(c.Catalog, &Catalog{})
	c.Idle = cmp.Or(c.Idle, 5*time.Minute)
	c.CacheBytes = cmp.Or(c.CacheBytes, 256<<20)
	c.Queue = cmp.Or(c.Queue, 512)
	c.Rows = cmp.Or(c.Rows, decode.DefaultMaxRows)
	c.SoundSeconds = cmp.Or(c.SoundSeconds, 3600)
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	forgetProgram() // of which starting read much
	return &Service{Catalog: c.Catalog, config: c, texts: newTexts(), slots: map[string]*slot{}}
}

// Library is what find searches, nil for nothing.
func (s *Service) Library() Library { return s.config.Library }

// Use returns an open model by the name that a client gave, and opens it if need be. The caller calls
// release when it is done with it. Errors wrap api.ErrNoModel, have the kind KindBusy, or are those of
// opening.
func (s *Service) Use(ctx context.Context, name string) (m *Model, release func(), err error) {
	entry, err := s.Catalog.Find(name)
	if err != nil && s.config.Pull != nil && errors.Is(err, api.ErrNoModel) {
		if err = s.config.Pull(ctx, name); err == nil {
			entry, err = s.Catalog.Find(name)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	at, err := s.take(ctx, entry)
	if err != nil {
		return nil, nil, err
	}
	release = sync.OnceFunc(func() { s.release(at) })
	select {
	case <-at.ready:
	case <-ctx.Done():
		release()
		return nil, nil, ctx.Err()
	}
	if at.err != nil {
		release()
		return nil, nil, at.err
	}
	return at.model, release, nil
}

// Pulls reports whether models are fetched from the hub when a client names one that is not here.
func (s *Service) Pulls() bool { return s.config.Pull != nil }

// Pull fetches a model from the hub. The error has the kind KindNotAllowed where the operator did not
// allow it.
func (s *Service) Pull(ctx context.Context, name string) error {
	if s.config.Pull == nil {
		return api.WithKind(errors.New("this server fetches no models: its operator does (--allow-pull)"), KindNotAllowed)
	}
	return s.config.Pull(ctx, name)
}

// take counts a user of a model's slot, and begins to open a model that has none.
func (s *Service) take(ctx context.Context, e Entry) (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: the server is ending", pipeline.ErrClosed)
	}
	at := s.slots[e.Path()]
	if at == nil {
		bytes := e.model.Bytes()
		if err := s.makeRoom(e.Name, bytes); err != nil {
			return nil, err
		}
		at = &slot{name: e.Name, ready: make(chan struct{}), bytes: bytes, keep: s.config.Idle}
		s.slots[e.Path()] = at
		go s.open(context.WithoutCancel(ctx), e, at)
	}
	if at.users >= s.config.Queue {
		return nil, api.WithKind(fmt.Errorf(
			"model %s is busy: %d calls run or wait, which is the most; try again later", e.Name, at.users), KindBusy)
	}
	at.users++
	if at.idle != nil {
		at.idle.Stop()
	}
	return at, nil
}

// makeRoom closes models that nobody uses, until so many bytes fit beside the others.
func (s *Service) makeRoom(name string, bytes int64) error {
	if s.config.Memory <= 0 {
		return nil
	}
	if bytes > s.config.Memory {
		return api.WithKind(fmt.Errorf("model %s has files of %d bytes, and open models may have %d together",
			name, bytes, s.config.Memory), api.KindUsage)
	}
	held := bytes
	var unused []*slot
	for _, at := range s.slots {
		held += at.bytes
		if at.users == 0 {
			unused = append(unused, at)
		}
	}
	slices.SortFunc(unused, func(a, b *slot) int { return a.last.Compare(b.last) })
	for _, at := range unused {
		if held <= s.config.Memory {
			break
		}
		held -= at.bytes
		s.drop(at)
	}
	if held > s.config.Memory {
		return api.WithKind(fmt.Errorf(
			"there is no room for model %s beside those in use; try again later", name), KindBusy)
	}
	return nil
}

// open opens the model of a slot. It goes on where the caller that asked for it goes away, since others
// may have come.
func (s *Service) open(ctx context.Context, e Entry, at *slot) {
	start := time.Now()
	m := newModel(e.Name, &s.config)
	at.model, at.err = m, m.open(ctx, e)
	s.config.Observer.Opened(e.Name, time.Since(start), at.err)
	debug.FreeOSMemory() // what opening alone took, which may be as much as the model
	forgetProgram()
	s.mu.Lock()
	defer s.mu.Unlock()
	close(at.ready)
	switch {
	case at.err != nil:
		delete(s.slots, e.Path()) // the next one tries again
	case at.dropped:
		s.end(at)
	case at.users == 0:
		s.idleFrom(at) // nobody waited for it
	}
}

// release ends one use of a slot, and has it closed once it was idle for its time.
func (s *Service) release(at *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at.users--
	at.last = time.Now()
	if at.users > 0 {
		return
	}
	s.idleFrom(at)
}

// idleFrom has a slot that nobody uses closed after its time. The lock is held.
func (s *Service) idleFrom(at *slot) {
	switch {
	case s.closed || at.keep == 0:
		s.drop(at)
	case at.keep > 0:
		at.idle = time.AfterFunc(at.keep, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if at.users == 0 && time.Since(at.last) >= at.keep {
				s.drop(at)
			}
		})
	}
}

// drop takes a slot that nobody uses out of the list, and closes its model. The lock is held.
func (s *Service) drop(at *slot) {
	if at.dropped {
		return
	}
	at.dropped = true
	for path, other := range s.slots {
		if other == at {
			delete(s.slots, path)
		}
	}
	select {
	case <-at.ready:
		s.end(at)
	default: // it is being opened, and open sees to the rest
	}
}

// end closes the model of a slot that was dropped.
func (s *Service) end(at *slot) {
	if at.err != nil {
		return
	}
	s.closing.Go(func() {
		at.model.close()
		s.config.Observer.Closed(at.name)
	})
}

// Keep sets how long an open model stays open once nobody uses it: a negative time for ever, 0 not at
// all. A model that is not open stays so.
func (s *Service) Keep(name string, d time.Duration) {
	entry, err := s.Catalog.Find(name)
	if err != nil {
		return
	}
	s.mu.Lock()
	at := s.slots[entry.Path()]
	if at == nil {
		s.mu.Unlock()
		return
	}
	at.keep = d
	at.users++ // release does the rest
	s.mu.Unlock()
	s.release(at)
}

// Open is an open model, for lists.
type Open struct {
	Name    string
	Bytes   int64     // of its files
	Expires time.Time // when it is closed if nobody uses it; zero: never
	Users   int
}

// Opened lists the open models by name.
func (s *Service) Opened() []Open {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Open
	for _, at := range s.slots {
		o := Open{Name: at.name, Bytes: at.bytes, Users: at.users}
		if at.keep >= 0 {
			o.Expires = time.Now().Add(at.keep)
			if at.users == 0 {
				o.Expires = at.last.Add(at.keep)
			}
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Open) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// CacheBytes returns the memory of the encoded pictures that are kept.
func (s *Service) CacheBytes() (sum int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.slots {
		select {
		case <-at.ready:
			if at.err == nil {
				sum += at.model.encoded.bytes()
			}
		default:
		}
	}
	return sum
}

// Close closes all models once nobody uses them; later calls fail with pipeline.ErrClosed.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for _, at := range s.slots {
		if at.users == 0 {
			s.drop(at)
		}
	}
	s.mu.Unlock()
	s.closing.Wait()
}
