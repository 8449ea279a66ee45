// Package fallback is the pure-Go engine: it reads ONNX graphs, plans them once and runs them,
// without cgo and without any library. It runs wherever Go does, so it is the engine that is always
// there.
//
// A graph passes through these files:
//
//	onnx, onnx/ir    the file is read into nodes, attributes and uses
//	plan.go          constants are folded, and the rest is built
//	tap.go           attention is found, so that a run can give its probabilities
//	fuse*.go         patterns of nodes become fused operators
//	layout.go        images are laid out with their channels side by side
//	session.go       a plan is run, in the memory of arena.go
//
// Package ops holds the operators and package kernel their inner loops.
package fallback

import (
	"context"
	"fmt"
	"runtime"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/onnx"
)

// Engine is the pure-Go engine. The zero value is ready for use.
type Engine struct {
	// MemoryLimit bounds the bytes that the tensors of one run may take at any time, weights not
	// counted. 0 means no bound but ops.MaxTensorBytes for each tensor.
	MemoryLimit int64
}

// New returns the engine with its defaults.
func New() *Engine { return &Engine{} }

// Name is "go".
func (e *Engine) Name() string { return "go" }

// Open reads and plans a graph. Errors about the graph wrap engine.ErrGraph; a provider other than
// the CPU gives engine.ErrEngine. So does a panic inside the engine, here and in Session.Run: it is
// a bug of ours, and its error has a method Stack() []byte.
func (e *Engine) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	if opts.Provider != "" && opts.Provider != "cpu" {
		return nil, fmt.Errorf(
			"%w: the Go engine computes on the CPU, not on %q; use the ort engine for that",
			engine.ErrEngine, opts.Provider)
	}
	if opts.Threads < 0 {
		return nil, fmt.Errorf("%w: %d threads", engine.ErrEngine, opts.Threads)
	}
	if opts.MemoryLimit < 0 {
		return nil, fmt.Errorf("%w: a memory limit of %d bytes", engine.ErrEngine, opts.MemoryLimit)
	}
	if _, err := engine.ParsePrecision(string(opts.Precision)); err != nil {
		return nil, err
	}
	if err := kernel.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	threads := opts.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	m, err := onnx.Load(source)
	if err != nil {
		return nil, err
	}
	g, err := plan(ctx, m, threads, opts)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("opening %s: %w", source.Name, err)
	}
	m.Forget()
	limit := e.MemoryLimit
	if opts.MemoryLimit > 0 && (limit == 0 || opts.MemoryLimit < limit) {
		limit = opts.MemoryLimit
	}
	return newSession(m, g, threads, limit), nil
}

// Supported says whether the engine has an operator in a version of its operator set. The default
// domain is "".
func Supported(domain, op string, version int) bool {
	return unfusers[domain+"."+op] != nil || ops.Supported(domain, op, version)
}
