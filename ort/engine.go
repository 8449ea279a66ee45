// Package ort is the engine over ONNX Runtime. It loads the shared library that it is given, once
// per process, through onnxruntime_go, and runs graphs in it, on the CPU or on any other provider
// that the library has. It starts no process and searches for nothing: package ortlib does, for
// programs that pass its Find to WithFinder, as api.SelectEngine does.
//
// A small C file here calls the same library for what onnxruntime_go 1.27 lacks or does wrong:
// outputs of every element type and of no dimensions, outputs that are not copied, graphs without
// inputs, the names of open dimensions, the list of providers. A Go slice never points into the
// engine's memory: a big output stays in ONNX Runtime until it is read, and can be the input of the
// next run without a copy; see tensor.Storage.
//
// Run returns only the outputs asked for, but ONNX Runtime computes every node of the graph all the
// same: an output that is costly and seldom needed belongs in a graph of its own.
//
// Providers other than the CPU get the options of engine.Options, and were not tested on a GPU.
// Outputs are copied to the CPU's memory after every run. CUDA is known to replace Go's signal
// handlers; Open restores them after it has made such a session. Handlers that a provider installs
// later stay.
//
// Built without cgo, or with the tag noort, the package has the same API, and New says that the
// engine is missing.
package ort

import (
	"errors"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort/ortfile"
)

var _ engine.Engine = (*Engine)(nil)

// Name is what Engine.Name returns.
const Name = "ort"

// Option adjusts New.
type Option func(*config)

type config struct {
	library string
	check   func(ortfile.Library) error
	find    Finder
}

func newConfig(opts []Option) config {
	c := config{find: ortfile.Named}
	for _, o := range opts {
		o(&c)
	}
	return c
}

// Finder finds the library at a path, or where path is "" one of its own finding. It offers each
// candidate to accept, which loads it, and goes on or fails where accept gives an error.
type Finder func(path string, accept func(ortfile.Library) error) (ortfile.Library, error)

// WithFinder sets how the library is found: ortlib.Find searches the machine for one where none is
// named, and may start Python to do so. The default is ortfile.Named, which searches nowhere.
func WithFinder(find Finder) Option { return func(c *config) { c.find = find } }

// WithLibrary names the shared library, or the folder it lies in. Without it, or with "", it is the
// one that the environment variable XPIPE_ORT_LIB names.
func WithLibrary(path string) Option { return func(c *config) { c.library = path } }

// WithCheck calls check with every library before it is loaded; an error of check keeps it from
// being loaded. Loading a library runs its code, and a crash there kills the process. Use check to
// try it in another process first.
func WithCheck(check func(ortfile.Library) error) Option {
	return func(c *config) { c.check = check }
}

// Open is New for a table of engines: it also describes what it found. The returned engine is an
// *Engine.
func Open(c engine.Config) (engine.Engine, engine.Description, error) {
	return OpenWith(ortfile.Named, c)
}

// OpenWith is Open with a Finder.
func OpenWith(find Finder, c engine.Config) (engine.Engine, engine.Description, error) {
	opts := []Option{WithLibrary(c.Library), WithFinder(find)}
	if c.Trial != nil {
		opts = append(opts, WithCheck(func(l ortfile.Library) error { return c.Trial(l.Path) }))
	}
	e, err := New(opts...)
	if err != nil {
		return nil, describeFailure(find, c.Library, err), err
	}
	found := describeLibrary(e.Library())
	found.Built, found.Providers = true, e.Providers()
	return e, found, nil
}

// describeFailure describes the library, if there is one, after New gave an error.
func describeFailure(find Finder, library string, err error) engine.Description {
	found := engine.Description{Built: Built}
	if l, e := find(library, nil); e == nil && !Built {
		found = describeLibrary(l) // a program with cgo would take it
	}
	found.Problem = err.Error()
	if search, ok := errors.AsType[*ortfile.SearchError](err); ok {
		found.Problem, found.Looked = "no library of ONNX Runtime was found", search.Looked
	}
	do := ortfile.Advice + "; or go on with the Go engine, which needs none"
	if !Built {
		do = "this program is built without cgo: build it with CGO_ENABLED=1 and a C compiler, " +
			"or go on with the Go engine"
	}
	found.Advice = []engine.Advice{{Missing: "engine " + Name, Do: do}}
	return found
}

func describeLibrary(l ortfile.Library) engine.Description {
	return engine.Description{Summary: l.String(), Library: (*engine.Library)(&l)}
}
