package kernel

import "runtime/debug"

// Panic carries a panic from a core that computed a part of an operator to the goroutine of the
// run, with the stack of where it happened.
type Panic struct {
	Value any
	Stack []byte
}

// NewPanic keeps what recover returned, with the stack of the goroutine that panicked. It must be
// called by the deferred function that recovered.
func NewPanic(value any) *Panic {
	if p, carried := value.(*Panic); carried {
		return p
	}
	return &Panic{Value: value, Stack: debug.Stack()}
}
