//go:build cgo && !noort

package ort

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort/ortfile"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// Built says whether the engine is part of this program.
const Built = true

// Engine is the ONNX Runtime engine. New makes it.
type Engine struct {
	library   ortfile.Library
	providers []string
}

// loaded is the one library of this process: ONNX Runtime's environment can be made once, and
// unloading the library while its threads run is not safe.
var loaded struct {
	sync.Mutex
	library   *ortfile.Library
	providers []string
}

// New loads the library that WithLibrary or the environment variable ortfile.Env names, or takes the
// one that this process has loaded; naming another one then is an error. All errors wrap
// engine.ErrEngine and say what to do.
func New(opts ...Option) (*Engine, error) {
	c := newConfig(opts)
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.library == nil {
		if err := load(c); err != nil {
			return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
		}
	} else if err := sameLibrary(c.library); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	return &Engine{library: *loaded.library, providers: loaded.providers}, nil
}

// Name is "ort".
func (e *Engine) Name() string { return Name }

// Library is where the engine's library lies.
func (e *Engine) Library() ortfile.Library { return e.library }

// Providers are those of the library, as ONNX Runtime calls them, such as "CUDAExecutionProvider".
func (e *Engine) Providers() []string { return slices.Clone(e.providers) }

// sameLibrary reports whether path names another library than the loaded one.
func sameLibrary(path string) error {
	if path == "" {
		return nil
	}
	real := func(p string) string {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			p = r
		}
		if a, err := filepath.Abs(p); err == nil {
			p = a
		}
		return p
	}
	have := real(loaded.library.Path)
	if p := real(path); p == have || p == filepath.Dir(have) {
		return nil
	}
	return fmt.Errorf("this process has already loaded the library %s and cannot load %s as well",
		loaded.library.Path, path)
}

func load(c config) error {
	if onnxruntime.IsInitialized() {
		return errors.New("another part of this program has set up onnxruntime_go; " +
			"make xpipe's engine first, so that it can")
	}
	library, err := c.find(c.library, func(l ortfile.Library) error {
		if c.check != nil {
			if err := c.check(l); err != nil {
				return err
			}
		}
		return tryLibrary(l)
	})
	if err != nil {
		return err
	}
	onnxruntime.SetSharedLibraryPath(library.Path)
	if err := onnxruntime.InitializeEnvironment(onnxruntime.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%s: %w", library.Path, err)
	}
	if err := onnxruntime.DisableTelemetry(); err != nil {
		return fmt.Errorf("%s: %w", library.Path, err)
	}
	library.Version = onnxruntime.GetVersion()
	if loaded.providers, err = providers(); err != nil {
		return fmt.Errorf("%s: %w", library.Path, err)
	}
	loaded.library = &library
	return nil
}

// tryLibrary loads a library that looked good and takes its C API. It asks a library that is too
// old for the API for its version only: asked for the API, such a library writes to stderr.
func tryLibrary(library ortfile.Library) error {
	path := C.CString(library.Path)
	defer C.free(unsafe.Pointer(path))
	var base unsafe.Pointer
	var message *C.char
	version := C.xort_probe(path, &base, &message)
	if version == nil {
		return fmt.Errorf("%s cannot be loaded: %s", library.Path, takeText(message))
	}
	if err := ortfile.CheckVersion(C.GoString(version)); err != nil {
		return fmt.Errorf("%s: %w", library.Path, err)
	}
	if C.xort_use(base) == 0 {
		return fmt.Errorf("%s (version %s) does not offer the C API that came with %s",
			library.Path, C.GoString(version), ortfile.MinVersion)
	}
	return nil
}

func providers() ([]string, error) {
	var names **C.char
	var count C.int
	var message *C.char
	if code := C.xort_providers(&names, &count, &message); code != 0 {
		return nil, errors.New(takeText(message))
	}
	defer C.xort_free_providers(names, count)
	var list []string
	for _, name := range unsafe.Slice(names, count) {
		list = append(list, C.GoString(name))
	}
	return list, nil
}

// takeText makes a Go string of a message from C and frees it.
func takeText(message *C.char) string {
	if message == nil {
		return "out of memory"
	}
	defer C.free(unsafe.Pointer(message))
	return strings.TrimSpace(C.GoString(message))
}
