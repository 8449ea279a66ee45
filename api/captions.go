package api

import (
	"cmp"
	"context"
	"image"
	"iter"
	"sync"
	"time"

	"github.com/crossattn/xpipe/pipeline"
)

// Captioner captions many pictures: while the model has one batch, the next is decoded.
type Captioner struct {
	Pipeline *pipeline.Pipeline
	Options  []pipeline.GenerateOption
	Batch    int // pictures that go through the model at once; below 1 it is 1
	Jobs     int // pictures that are decoded at once; below 1 it is 1
	// Skip leaves out the pictures for which it returns true; nil leaves out none. It is called in
	// their order, from a goroutine of the run.
	Skip func(name string) bool
}

// Captioned is a picture with what the model wrote of it, the best text first, or with its error.
type Captioned struct {
	Name    string
	File    string // as Picture.File
	Texts   []*pipeline.Text
	Err     error
	Seconds float64 // for decoding it, and its share of the batch's time
}

// Run captions the pictures, in their order, one of a name once, however its path is spelt. A
// picture that fails does not end the run: where a batch fails, each of its pictures is tried on
// its own. An error of the sequence is the last of it: a source is damaged, or ctx is done.
func (c *Captioner) Run(
	ctx context.Context, pictures iter.Seq2[Picture, error],
) iter.Seq2[Captioned, error] {
	return func(yield func(Captioned, error) bool) {
		var reader sync.WaitGroup
		defer reader.Wait()
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		batches := make(chan []decoded, 1)
		var damaged error // of the sequence, told after its pictures
		reader.Go(func() {
			defer close(batches)
			damaged = c.read(ctx, pictures, batches)
		})
		for batch := range batches {
			for captioned := range c.caption(ctx, batch) {
				if captioned.Err != nil && ctx.Err() != nil {
					yield(Captioned{}, context.Cause(ctx))
					return
				}
				if !yield(captioned, nil) {
					return
				}
			}
		}
		if err := cmp.Or(context.Cause(ctx), damaged); err != nil {
			yield(Captioned{}, err)
		}
	}
}

// decoded is a picture, or the error of decoding it.
type decoded struct {
	name    string
	file    string
	img     image.Image
	err     error
	seconds float64
}

// read decodes the pictures, in order, into batches.
func (c *Captioner) read(
	ctx context.Context, pictures iter.Seq2[Picture, error], batches chan<- []decoded,
) error {
	known := map[string]bool{}
	spellings := newSpellings()
	var waiting []Picture
	flush := func() error {
		if len(waiting) == 0 {
			return nil
		}
		batch := decodeAll(waiting, max(1, c.Jobs))
		waiting = nil
		select {
		case batches <- batch:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for p, err := range pictures {
		if err != nil {
			return cmp.Or(flush(), err)
		}
		key := spellings.key(p.Name)
		if known[key] || c.Skip != nil && c.Skip(p.Name) {
			continue
		}
		known[key] = true
		if waiting = append(waiting, p); len(waiting) >= c.Batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// decodeAll decodes pictures, so many at once.
func decodeAll(pictures []Picture, jobs int) []decoded {
	batch := make([]decoded, len(pictures))
	free := make(chan struct{}, jobs)
	var decoding sync.WaitGroup
	for i, p := range pictures {
		free <- struct{}{}
		decoding.Go(func() {
			start := time.Now()
			img, err := p.Load()
			batch[i] = decoded{p.Name, p.File, img, err, time.Since(start).Seconds()}
			<-free
		})
	}
	decoding.Wait()
	return batch
}

// caption runs one batch.
func (c *Captioner) caption(ctx context.Context, batch []decoded) iter.Seq[Captioned] {
	return func(yield func(Captioned) bool) {
		var requests []pipeline.Request
		for _, d := range batch {
			if d.err == nil {
				requests = append(requests, pipeline.Request{Image: d.img})
			}
		}
		start := time.Now()
		texts, err := c.Pipeline.Generate(ctx, requests, c.Options...)
		if err != nil && len(requests) > 1 && ctx.Err() == nil {
			// One of them may be to blame: each on its own tells which.
			for i := range batch {
				for captioned := range c.caption(ctx, batch[i:i+1]) {
					if !yield(captioned) {
						return
					}
				}
			}
			return
		}
		share := time.Since(start).Seconds() / float64(max(1, len(requests)))
		for _, d := range batch {
			captioned := Captioned{
				Name: d.name, File: d.file, Err: d.err, Seconds: d.seconds + share,
			}
			if d.err == nil {
				captioned.Err = err
			}
			if captioned.Err == nil {
				captioned.Texts, texts = texts[0], texts[1:]
			}
			if !yield(captioned) {
				return
			}
		}
	}
}
