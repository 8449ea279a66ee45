//go:build cgo && !noort

package ort

import (
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/tensor"
)

func testEngine(t testing.TB) *Engine {
	t.Helper()
	e, err := New(WithLibrary(orttest.Library(t)))
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
