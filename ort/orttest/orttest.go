// Package orttest finds the library of ONNX Runtime that tests use. It loads nothing and imports
// neither package ort nor package pipeline, so that the tests of both can use it.
package orttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/ort/ortfile"
)

const missing = "ONNX Runtime is missing: set " + ortfile.Env + " or run make test-env"

// Find returns the path of the library for tests, or of the folder it lies in: the one that
// XPIPE_ORT_LIB names, or that of the Python environment under build/ which make test-env fills. It
// looks in the working directory and those above it, up to the module's root.
func Find() (path string, ok bool) {
	if path := os.Getenv(ortfile.Env); path != "" {
		return path, true
	}
	dir, err := os.Getwd()
	for err == nil {
		for _, pattern := range []string{"lib/python3*/site-packages", "Lib/site-packages"} {
			found, _ := filepath.Glob(filepath.Join(dir, "build/venv", pattern, "onnxruntime/capi"))
			if len(found) > 0 {
				return found[0], true
			}
		}
		up := filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || up == dir {
			break
		}
		dir = up
	}
	return "", false
}

// Library is Find for a test that needs the library: without one it skips the test, or fails it
// where enginetest.RequireEnv is 1.
func Library(t testing.TB) string {
	t.Helper()
	path, ok := Find()
	switch {
	case ok:
	case os.Getenv(enginetest.RequireEnv) == "1":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
	return path
}
