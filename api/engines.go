package api

import (
	"fmt"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort"
)

// SelectEngine returns an engine by name: "go" is the pure-Go engine, "ort" is
// ONNX Runtime, and "auto" (also "") is ONNX Runtime where its library is
// found and the pure-Go engine elsewhere. library is the path of the ONNX
// Runtime library; "" lets package ort look for it. The note says in one line
// which engine was taken and why. opts go to ort.New.
func SelectEngine(name, library string, opts ...ort.Option) (eng engine.Engine, note string, err error) {
	switch name {
	case "go":
		return fallback.New(), "engine: go", nil
	case "ort", "auto", "":
	default:
		return nil, "", fmt.Errorf("%w: there is no engine %q; it is go, ort or auto", engine.ErrEngine, name)
	}
	runtime, err := ort.New(append(opts, ort.WithLibrary(library))...)
	switch {
	case err == nil:
		return runtime, "engine: ort, " + runtime.Library().String(), nil
	case name == "ort" || library != "":
		return nil, "", err
	}
	return fallback.New(), fmt.Sprintf("engine: go, because ONNX Runtime is not usable (%v)", err), nil
}
