package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
)

// Runner does one task for many pictures: while the model has one batch, the next pictures are
// decoded and prepared. A picture's pixels go as soon as it is prepared, so that memory holds those
// of Jobs pictures at most, whatever Batch is. T is the result for a picture.
type Runner[T any] struct {
	// Task gives one result for each picture of a batch, in order.
	Task func(ctx context.Context, batch []Loaded) ([]T, error)
	// Load makes of a picture what Task takes. LoadFor is what most models need.
	Load  func(ctx context.Context, p Picture) (media.Item, error)
	Batch int // pictures that go through the model at once; below 1 it is 1
	Jobs  int // pictures that are decoded at once; below 1 it is 1
	// Skip leaves out the pictures for which it returns true; nil leaves out none. It is called in
	// their order, from a goroutine of the run. index counts the pictures of the sequence.
	Skip func(name string, index int) bool
	// Repeats takes pictures of one name each time; otherwise the first of a name counts, however
	// its path is spelt.
	Repeats bool
	// SameTexts says that Task puts the same texts to all pictures, so that an error about one of
	// them ends the run.
	SameTexts bool
}

// LoadFor decodes pictures and prepares them for a model; see pipeline.Prepare. Of a model that hears
// and does not see, they are sounds, found by Sources.Sounds.
func LoadFor(p *pipeline.Pipeline) func(context.Context, Picture) (media.Item, error) {
	if p.Abilities().HearsAlone() {
		return func(ctx context.Context, sound Picture) (media.Item, error) { return loadSound(ctx, p, sound) }
	}
	return func(ctx context.Context, picture Picture) (media.Item, error) {
		img, err := picture.Load()
		if err != nil {
			return nil, err
		}
		item, err := p.Prepare(ctx, img)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", picture.Name, err)
		}
		return item, nil
	}
}

// loadSound decodes a sound for a model.
func loadSound(ctx context.Context, p *pipeline.Pipeline, sound Picture) (media.Item, error) {
	if _, err := sound.Load(); err != nil { // says why there is no such file
		return nil, err
	}
	switch {
	case p.HearingRate() == 0:
		return nil, fmt.Errorf("%w: model %s has no preprocessor_config.json that says how it hears",
			pipeline.ErrUnsupported, p.Bundle().Name)
	case sound.File == "":
		return nil, Inputf("a sound comes from a file, not from standard input")
	}
	return audio.DecodeFile(ctx, sound.File, audio.WithRate(p.HearingRate()), audio.WithFFmpeg(""))
}

// Loaded is a picture that is ready for the model.
type Loaded struct {
	Picture
	Index int // in the sequence, from 0, those counted that were left out
	Item  media.Item
}

// Finished is a picture with its result, or with its error.
type Finished[T any] struct {
	Picture
	Index   int
	Value   T
	Err     error
	Seconds float64 // for decoding it, and its share of the batch's time
}

// Run does the task for the pictures, in their order. A picture that fails does not end the run:
// where a batch fails, each of its pictures is tried on its own. An error of the sequence is the
// last of it: a source is damaged, ctx is done, or what was asked for suits no picture, such as a
// parameter out of range.
func (r *Runner[T]) Run(
	ctx context.Context, pictures iter.Seq2[Picture, error],
) iter.Seq2[Finished[T], error] {
	return func(yield func(Finished[T], error) bool) {
		var reader sync.WaitGroup
		defer reader.Wait()
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		queue := make(chan chan loading, max(1, r.Batch))
		var damaged error // of the sequence, told after its pictures
		reader.Go(func() {
			defer close(queue)
			damaged = r.read(ctx, pictures, queue)
		})
		var batch []loading
		for more := true; more; {
			var next chan loading
			if next, more = <-queue; more {
				batch = append(batch, <-next)
			}
			if len(batch) == 0 || more && len(batch) < r.Batch {
				continue
			}
			for finished := range r.task(ctx, batch) {
				err := finished.Err
				if err != nil && ctx.Err() != nil {
					yield(Finished[T]{}, context.Cause(ctx))
					return
				}
				if r.suitsNone(err) {
					yield(Finished[T]{}, err)
					return
				}
				if !yield(finished, nil) {
					return
				}
			}
			batch = nil
		}
		if err := cmp.Or(context.Cause(ctx), damaged); err != nil {
			yield(Finished[T]{}, err)
		}
	}
}

// suitsNone says whether an error is one that every picture would give.
func (r *Runner[T]) suitsNone(err error) bool {
	return errors.Is(err, pipeline.ErrOption) || errors.Is(err, pipeline.ErrUnsupported) ||
		errors.Is(err, pipeline.ErrClosed) || r.SameTexts && errors.Is(err, pipeline.ErrPrompt)
}

// loading is a picture that is ready, or the error of making it so.
type loading struct {
	Loaded
	err     error
	seconds float64
}

// read loads the pictures, so many at once, and queues them in order.
func (r *Runner[T]) read(
	ctx context.Context, pictures iter.Seq2[Picture, error], queue chan<- chan loading,
) error {
	known := map[string]bool{}
	spellings := newSpellings()
	free := make(chan struct{}, max(1, r.Jobs))
	var jobs sync.WaitGroup
	defer jobs.Wait()
	index := -1
	for p, err := range pictures {
		if err != nil {
			return err
		}
		index++
		if !r.Repeats {
			key := spellings.key(p.Name)
			if known[key] {
				continue
			}
			known[key] = true
		}
		if r.Skip != nil && r.Skip(p.Name, index) {
			continue
		}
		slot := make(chan loading, 1)
		for _, wait := range []func() bool{
			func() bool { return send(ctx, free, struct{}{}) },
			func() bool { return send(ctx, queue, slot) },
		} {
			if !wait() {
				return context.Cause(ctx)
			}
		}
		at := index
		jobs.Go(func() {
			start := time.Now()
			item, err := r.Load(ctx, p)
			p.Load = nil // what it holds may go
			slot <- loading{Loaded{p, at, item}, err, time.Since(start).Seconds()}
			<-free
		})
	}
	return nil
}

// send sends a value unless ctx ends before there is room.
func send[V any](ctx context.Context, to chan<- V, value V) bool {
	select {
	case to <- value:
		return true
	case <-ctx.Done():
		return false
	}
}

// task runs one batch.
func (r *Runner[T]) task(ctx context.Context, batch []loading) iter.Seq[Finished[T]] {
	return func(yield func(Finished[T]) bool) {
		var ready []Loaded
		for _, l := range batch {
			if l.err == nil {
				ready = append(ready, l.Loaded)
			}
		}
		start := time.Now()
		var values []T
		var err error
		if len(ready) > 0 {
			values, err = r.Task(ctx, ready)
		}
		if err != nil && len(ready) > 1 && ctx.Err() == nil && !r.suitsNone(err) {
			// One of them may be to blame: each on its own tells which.
			for i := range batch {
				for finished := range r.task(ctx, batch[i:i+1]) {
					if !yield(finished) {
						return
					}
				}
			}
			return
		}
		share := time.Since(start).Seconds() / float64(max(1, len(ready)))
		for _, l := range batch {
			finished := Finished[T]{
				Picture: l.Picture, Index: l.Index, Err: l.err, Seconds: l.seconds + share,
			}
			if l.err == nil {
				finished.Err = err
			}
			if finished.Err == nil {
				finished.Value, values = values[0], values[1:]
			}
			if !yield(finished) {
				return
			}
		}
	}
}
