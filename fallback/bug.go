package fallback

import (
	"fmt"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/kernel"
)

// bug is the error for a panic inside the engine. It wraps engine.ErrEngine: whatever a file holds,
// a panic is a mistake of ours. Callers reach the stack through
//
//	var bug interface{ Stack() []byte }
//	errors.As(err, &bug)
type bug struct{ panic *kernel.Panic }

func (b *bug) Error() string {
	return fmt.Sprintf("%v: bug in the Go engine, please report it: %v",
		engine.ErrEngine, b.panic.Value)
}

func (b *bug) Unwrap() error { return engine.ErrEngine }

// Stack returns the stack of the goroutine that panicked, as runtime/debug.Stack formats it.
func (b *bug) Stack() []byte { return b.panic.Stack }

// catch turns a panic of the function that defers it into an error.
func catch(err *error) {
	if r := recover(); r != nil {
		*err = &bug{kernel.NewPanic(r)}
	}
}
