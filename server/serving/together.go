package serving

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/crossattn/xpipe/pipeline"
)

// Together runs what several callers ask for at once in batches: each batch takes what came while those
// before ran, so that nobody waits for a batch to fill. It has goroutines only while there is something
// to do.
type Together[In, Out any] struct {
	Most  int // of a batch
	Lanes int // batches that run side by side; 0 stands for 1
	// Run gives a result for each input. Its error may hold a pipeline.ItemError for some.
	Run func(ctx context.Context, inputs []In) ([]Out, error)
	// OnBatch, where it is not nil, is told the size of each batch and its time.
	OnBatch func(size int, took time.Duration)

	mu      sync.Mutex
	waiting []*call[In, Out]
	running int // of the lanes
}

// call is what one caller asks for.
type call[In, Out any] struct {
	ctx  context.Context
	in   In
	out  Out
	err  error
	done chan struct{}
}

// Do runs one input, in a batch with those of other callers. When ctx ends it returns at once; what
// was begun for others goes on.
func (t *Together[In, Out]) Do(ctx context.Context, in In) (out Out, err error) {
	c := &call[In, Out]{ctx: ctx, in: in, done: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, c)
	if t.running < max(t.Lanes, 1) {
		t.running++
		go t.loop()
	}
	t.mu.Unlock()
	select {
	case <-c.done:
		return c.out, c.err
	case <-ctx.Done():
		return out, ctx.Err()
	}
}

// loop runs batches until nobody waits.
func (t *Together[In, Out]) loop() {
	for {
		batch := t.next()
		if len(batch) == 0 {
			return
		}
		t.run(batch)
	}
}

// next takes the calls of the next batch, without those that were given up. Without any its lane ends.
func (t *Together[In, Out]) next() (batch []*call[In, Out]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.waiting) > 0 && len(batch) < max(t.Most, 1) {
		c := t.waiting[0]
		t.waiting = t.waiting[1:]
		if c.ctx.Err() == nil {
			batch = append(batch, c)
		}
	}
	if len(batch) == 0 {
		t.running--
	}
	return batch
}

// run runs a batch. It ends early only once all of its callers are gone.
func (t *Together[In, Out]) run(batch []*call[In, Out]) {
	ctx, cancel := whileAny(batch)
	defer cancel()
	inputs := make([]In, len(batch))
	for i, c := range batch {
		inputs[i] = c.in
	}
	start := time.Now()
	outputs, err := t.Run(ctx, inputs)
	if t.OnBatch != nil {
		t.OnBatch(len(batch), time.Since(start))
	}
	failed := map[int]error{}
	for _, item := range pipeline.ItemErrors(err) {
		failed[item.Index] = item.Err
	}
	for i, c := range batch {
		switch {
		case failed[i] != nil:
			c.err = failed[i]
		case i < len(outputs):
			c.out = outputs[i]
		case err != nil:
			c.err = err
		default:
			c.err = errors.New("there is no result") // a bug of Run
		}
		close(c.done)
	}
}

// whileAny returns a context that ends once all of the callers' have.
func whileAny[In, Out any](batch []*call[In, Out]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	var mu sync.Mutex
	left := len(batch)
	var stops []func() bool
	for _, c := range batch {
		stops = append(stops, context.AfterFunc(c.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
