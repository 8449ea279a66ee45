package main

import (
	"context"
	"io"
	"sync"
	"time"
)

// stillHeard is how many bytes of a pipe are heard after its end was asked for: as many as a pipe
// holds, so that what was said before is not lost.
const stillHeard = 64 << 10

// endMoment is how long a pipe that was told to end may be silent before it has ended.
const endMoment = 200 * time.Millisecond

// untilInterrupted has the first signal of the user end standard input, and the second one the
// context that is returned. finish is called when all is done.
func (h *hearing) untilInterrupted(
	ctx context.Context, env *environment,
) (under context.Context, finish func()) {
	signals, stop := env.interrupts()
	under, cancel := context.WithCancel(context.WithoutCancel(ctx))
	in := newEndable(under, h.stdin)
	h.stdin = in
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		for range 2 {
			select {
			case <-signals:
				in.end()
			case <-done:
				return
			}
		}
	})
	return under, func() { close(done); watching.Wait(); stop() }
}

// endable is a pipe that can be told to end, also while nothing comes.
type endable struct {
	ctx    context.Context
	chunks chan []byte // closed at the pipe's end
	err    error       // of it, once chunks is closed
	ended  chan struct{}
	once   sync.Once

	left  []byte // of a chunk
	after int    // bytes that may come once it was told to end
}

// newEndable begins to read r, no further ahead than one read.
func newEndable(ctx context.Context, r io.Reader) *endable {
	e := &endable{ctx: ctx, chunks: make(chan []byte), ended: make(chan struct{}), after: stillHeard}
	go func() { // until the pipe ends: a read cannot be interrupted
		defer close(e.chunks)
		for {
			data := make([]byte, 8<<10)
			n, err := r.Read(data)
			if n > 0 && !send(ctx, e.chunks, data[:n]) {
				return
			}
			if err != nil {
				e.err = err
				return
			}
		}
	}()
	return e
}

func send[T any](ctx context.Context, to chan<- T, value T) bool {
	select {
	case to <- value:
		return true
	case <-ctx.Done():
		return false
	}
}

// end tells it to end.
func (e *endable) end() { e.once.Do(func() { close(e.ended) }) }

func (e *endable) Read(p []byte) (int, error) {
	if len(e.left) == 0 {
		if err := e.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

// next waits for a chunk.
func (e *endable) next() error {
	select {
	case <-e.ended:
	default:
		select {
		case data, more := <-e.chunks:
			return e.take(data, more)
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-e.ended:
		}
	}
	// What lies in the pipe comes at once; a moment is enough to know that nothing does.
	moment := time.NewTimer(endMoment)
	defer moment.Stop()
	select {
	case data, more := <-e.chunks:
		if e.after -= len(data); e.after < 0 {
			return io.EOF
		}
		return e.take(data, more)
	case <-e.ctx.Done():
		return e.ctx.Err()
	case <-moment.C:
		return io.EOF
	}
}

func (e *endable) take(data []byte, more bool) error {
	if !more && e.err == nil { // the context ended
		return e.ctx.Err()
	}
	if !more {
		return e.err
	}
	e.left = data
	return nil
}
