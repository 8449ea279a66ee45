//go:build cgo && !noort

package ort

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/crossattn/xpipe/tensor"
)

// testLibrary finds the library that the tests use: the one XPIPE_ORT_LIB names,
// or that of the Python environment which make test fills.
func testLibrary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(ortlib.Env); path != "" {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		for _, pattern := range []string{"lib/python3*/site-packages", "Lib/site-packages"} {
			found, _ := filepath.Glob(filepath.Join(dir, "build/venv", pattern, "onnxruntime/capi"))
			if len(found) > 0 {
				return found[0]
			}
		}
		up := filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || up == dir {
			break
		}
		dir = up
	}
	const missing = "ONNX Runtime is not there: set XPIPE_ORT_LIB or run make test-env"
	if os.Getenv("XPIPE_REQUIRE_REFS") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

func testEngine(t testing.TB) *Engine {
	t.Helper()
	e, err := New(WithLibrary(testLibrary(t)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// open opens a graph for the length of a test.
func open(t testing.TB, b *onnx.Builder) engine.Session {
	t.Helper()
	s, err := testEngine(t).Open(t.Context(), b.Source(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

type tensors = map[string]*tensor.Tensor

// ramp makes a float32 tensor of 0, 1, 2, ...
func ramp(shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(i)
	}
	return t
}
