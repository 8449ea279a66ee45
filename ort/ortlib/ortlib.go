// Package ortlib finds the shared library of ONNX Runtime on a machine, and installs one in the
// user's cache. To find it may start the Python on PATH; to install may start pip and use the
// network. It loads nothing. Package ort, which loads and runs the library, does not import this
// package: it takes the library that it is given (ortfile.Named), or one that Find finds where a
// program passes Find to it, as api.SelectEngine does.
package ortlib

import (
	"fmt"

	"github.com/crossattn/xpipe/ort/ortfile"
)

// What package ortfile defines of libraries, and its errors.
const (
	Env        = ortfile.Env
	MinVersion = ortfile.MinVersion
	Advice     = ortfile.Advice
)

// ErrLibrary is ortfile.ErrLibrary.
var ErrLibrary = ortfile.ErrLibrary

type (
	// Library is one found on this machine.
	Library = ortfile.Library
	// SearchError says that no place has a library that can be used. It wraps ErrLibrary.
	SearchError = ortfile.SearchError
)

// Inspect checks a library without loading it; see ortfile.Inspect.
func Inspect(path string) (version string, err error) { return ortfile.Inspect(path) }

// CheckVersion reports a version older than MinVersion; "" passes.
func CheckVersion(version string) error { return ortfile.CheckVersion(version) }

// CompareVersions orders versions by their numbers; see ortfile.CompareVersions.
func CompareVersions(a, b string) int { return ortfile.CompareVersions(a, b) }

func errorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrLibrary}, args...)...)
}
