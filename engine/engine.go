// Package engine is the contract of engines, which run graphs. Package enginetest holds the suite
// that an engine must pass, enginebench times engines side by side, and a Row puts an engine into a
// program's table of engines.
//
// An engine knows graphs and tensors. It knows no task, no model family and no file beyond the
// graph it is asked to open.
package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// The kinds of failure an engine reports; every error it returns wraps one of them or a context's
// error.
var (
	// ErrGraph: the file is no ONNX graph, is damaged, or needs an operator, a type or a size that
	// the engine lacks. Another file may work.
	ErrGraph = onnx.ErrGraph
	// ErrMemory: a run needs more than Options.MemoryLimit. It comes with ErrGraph.
	ErrMemory = errors.New("memory limit")
	// ErrInput: an input's name, element type or shape does not fit the graph.
	ErrInput = errors.New("input")
	// ErrEngine: the engine itself is missing or broke (no library, no such provider, a closed
	// session).
	ErrEngine = errors.New("engine")
)

// Engine opens graphs. It is safe for concurrent use.
type Engine interface {
	// Name is the name of the engine's Row, such as "go" or "ort".
	Name() string
	// Open reads and prepares the graph. It does not keep source.FS.
	Open(ctx context.Context, source Source, opts Options) (Session, error)
}

// Session runs one graph. It is safe for concurrent use. A session that can show the attention
// inside its graph is a Tapper as well.
type Session interface {
	// Inputs and Outputs describe the graph in its own order. The caller must not change what they
	// return.
	Inputs() []tensor.Spec
	Outputs() []tensor.Spec
	// Run computes the named outputs; with no names, all of them. Every graph input must be given;
	// an input the graph does not have is an error: see CheckInputs, which every engine calls.
	// Inputs are only read, and may be used again at once after Run returns. Outputs belong to the
	// caller, may share memory with nothing the engine writes to again, and may be given as inputs
	// to a later Run.
	//
	// When ctx ends, Run stops the computation, waits until it has stopped, and returns an error
	// that wraps ctx.Err().
	Run(
		ctx context.Context, in map[string]*tensor.Tensor, out ...string,
	) (map[string]*tensor.Tensor, error)
	// Close waits for calls of Run in progress and frees the session's memory. Later calls of Run
	// fail with ErrEngine; a second Close does nothing.
	Close() error
}

// Options adjust how a graph is opened. The zero value is right for most uses.
type Options struct {
	// Threads bounds the cores one Run uses; 0 means all of them.
	Threads int
	// Provider is the device or library that computes, one of the Row's Providers; "" is the first
	// of them, the CPU.
	Provider string
	// ProviderOptions go to the provider unchanged, such as device_id=1.
	ProviderOptions map[string]string
	// MemoryLimit bounds the bytes that the tensors of one run may take, weights not counted; 0
	// means no bound. The Go engine works in smaller pieces where that keeps within the bound, and
	// fails with ErrGraph otherwise; ONNX Runtime has no such bound and ignores it.
	MemoryLimit int64
	// Spinning lets idle threads wait for work in a busy loop for long, between runs too, as ONNX
	// Runtime does by default: a little quicker for small graphs where the machine does nothing else,
	// and many times slower on a busy one. The Go engine's wait for some tens of microseconds in any
	// case, and ignore it.
	Spinning bool
	// NoFusion runs the graph operator by operator, as written.
	NoFusion bool
	// LastPosition names outputs [B,T,N] of which the caller reads the last of T alone, as whoever
	// writes text does with a decoder's logits. A session may give [B,1,N] for them: the Go engine
	// does, and computes no more, where a product makes them; but not in runs of AllPositions. Names
	// that the graph lacks do not count.
	LastPosition []string
	// Steady names inputs for which the caller gives the very same tensors in many runs one after
	// another, such as the encoder's states at every step of a decoder, and never changes what is in
	// them. A session may keep what it computes of them and of weights alone: the Go engine does, as
	// long as the tensors are in use, for four callers at a time, beside MemoryLimit. Names that the
	// graph lacks do not count.
	Steady []string
	// Precision is how products with constant matrices of floats are computed; "" is float32. Only the
	// Go engine has others; opening a graph on another with one fails with ErrEngine.
	Precision Precision
	// Note is told, in a line, where an engine does something otherwise than usual though all goes on;
	// nil: nobody is. Several goroutines may call it at once.
	Note func(line string)
}

// Source names a graph inside a file system, which must hold its external data too. Nothing outside
// the file system is ever read.
type Source = onnx.Source

// FileSource is the source for the graph at a path of the operating system. External data is looked
// for in the file's folder and below.
func FileSource(path string) Source {
	return Source{FS: os.DirFS(filepath.Dir(path)), Name: filepath.Base(path)}
}

var _ io.Closer = Session(nil)
