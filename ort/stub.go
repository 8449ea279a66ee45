//go:build !cgo || noort

package ort

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort/ortfile"
)

// Built says whether the engine is part of this program.
const Built = false

// Engine is the ONNX Runtime engine; in this program there is none.
type Engine struct{}

var errNotBuilt = fmt.Errorf("%w: this program was built without cgo and so without ONNX Runtime; "+
	"use the Go engine, or build with CGO_ENABLED=1 and a C compiler", engine.ErrEngine)

// New returns an error: the program was built without cgo or with the tag noort.
func New(...Option) (*Engine, error) { return nil, errNotBuilt }

// Name is "ort".
func (e *Engine) Name() string { return Name }

// Library is where the engine's library lies.
func (e *Engine) Library() ortfile.Library { return ortfile.Library{} }

// Providers are those of the library, as ONNX Runtime calls them.
func (e *Engine) Providers() []string { return nil }

// Open returns an error.
func (e *Engine) Open(context.Context, engine.Source, engine.Options) (engine.Session, error) {
	return nil, errNotBuilt
}
