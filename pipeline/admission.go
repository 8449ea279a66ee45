package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// enter waits for a call's turn, registers the call and bounds its time. The caller defers leave
// with its error.
func (p *Pipeline) enter(
	ctx context.Context,
) (call context.Context, leave func(*error), err error) {
	if p == nil || p.turns == nil { // not from Open; without turns a call would wait for ever
		return nil, nil, fmt.Errorf("%w: there is none; did Open give an error?", ErrClosed)
	}
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
			took := fmt.Sprintf("the call took more than %v", p.limits.Time)
			*err = fmt.Errorf("%w: %w", &LimitError{Field: "Time", Text: took}, *err)
		}
		cancel()
		p.running.Done()
		<-p.turns
	}, nil
}
