// Package ort is the engine over ONNX Runtime. It finds the shared library
// (package ortlib), loads it once per process through onnxruntime_go, and runs
// graphs in it, on the CPU or on what else the library has a provider for.
//
// What onnxruntime_go 1.27 lacks or does wrong is done in a small C file here
// that calls the same library: outputs of every element type and of no dimensions,
// outputs that are not copied, graphs without inputs, the names of open dimensions,
// the list of providers. Nothing of the engine's memory is ever under a Go slice:
// a big output stays in ONNX Runtime until somebody looks at it, and can go into
// the next run as it is; see tensor.Storage.
//
// Run asks for the outputs it was told to compute and gets no others, but ONNX
// Runtime computes every node of the graph all the same: an output that is dear
// and seldom needed belongs in a graph of its own.
//
// Providers other than the CPU are passed what engine.Options says and have not
// been tried: there was no machine with a GPU to try them on. Outputs come back to
// the CPU's memory after every run. CUDA is known to replace Go's signal handlers;
// Open puts them back after it has made such a session, which covers what a
// provider does while it starts and not what it may do later.
//
// Built without cgo, or with the tag noort, the package has the same API, and New
// says that the engine is not there.
package ort

import (
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort/ortlib"
)

var _ engine.Engine = (*Engine)(nil)

// Name is what Engine.Name returns.
const Name = "ort"

// Option adjusts New.
type Option func(*config)

type config struct {
	library  string
	check    func(ortlib.Library) error
	verbose  bool
	spinning bool
}

// WithLibrary names the shared library, or the folder it lies in. Without it, or
// with "", the library is searched for as ortlib.Find says.
func WithLibrary(path string) Option { return func(c *config) { c.library = path } }

// WithCheck asks check about every library before it is loaded; one that it has an
// error for is not. A library is code that runs when it is loaded, and a crash of it
// ends the process: who has a way to try it elsewhere first can do so here.
func WithCheck(check func(ortlib.Library) error) Option { return func(c *config) { c.check = check } }

// WithVerbose lets ONNX Runtime write its warnings and errors on stderr; without
// it nothing is written, and errors are returned only. The first engine of the
// process settles it.
func WithVerbose(verbose bool) Option { return func(c *config) { c.verbose = verbose } }

// WithSpinning lets idle threads of ONNX Runtime wait for work in a busy loop. On
// a machine that does nothing else it makes small graphs a little faster; on a
// busy one it can make them many times slower, so that it is off by default.
func WithSpinning(spinning bool) Option { return func(c *config) { c.spinning = spinning } }

// Providers are the names that engine.Options.Provider takes here.
var Providers = []string{"cpu", "cuda", "tensorrt", "openvino", "coreml", "directml"}
