//go:build cgo && !noort

package ort

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// Open implements engine.Engine. The graph must be an ONNX file below 2 GiB;
// external data may be as large as it likes. External data that does not lie on
// a disk is copied to a temporary folder for as long as the session is open.
func (e *Engine) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", source.Name, err)
	}
	graph, err := source.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrGraph, err)
	}
	external, err := externalFiles(graph)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", engine.ErrGraph, source.Name, err)
	}
	place, err := placeExternal(ctx, source, external)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", source.Name, err)
	}
	s, err := e.open(ctx, graph, place, opts)
	if err != nil {
		place.cleanup()
		return nil, fmt.Errorf("opening %s: %w", source.Name, err)
	}
	return s, nil
}

func (e *Engine) open(ctx context.Context, graph []byte, place externalPlace, opts engine.Options) (*session, error) {
	// CUDA and what builds on it install handlers of their own for the signals
	// by which Go stops goroutines and reports crashes.
	if opts.Provider != "" && opts.Provider != "cpu" {
		defer saveSignals()()
	}
	o, err := onnxruntime.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	defer o.Destroy()
	if err := e.configure(o, place.folder, opts); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	if err := e.addProvider(o, opts); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	stop, err := cancelLoading(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	var ort *onnxruntime.DynamicAdvancedSession
	if place.graph != "" {
		ort, err = onnxruntime.NewDynamicAdvancedSession(place.graph, nil, nil, o)
	} else {
		ort, err = onnxruntime.NewDynamicAdvancedSessionWithONNXData(graph, nil, nil, o)
	}
	stop()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, openError(err, opts.Provider)
	}
	return newSession(ort, place.cleanup)
}

// saveSignals notes how the process handles signals; what it returns puts that
// back where it has changed.
func saveSignals() (restore func()) {
	saved := C.xort_save_signals()
	return func() { C.xort_restore_signals(saved) }
}

// configure sets everything but the provider.
func (e *Engine) configure(o *onnxruntime.SessionOptions, folder string, opts engine.Options) error {
	if opts.Threads < 0 {
		return fmt.Errorf("%d threads", opts.Threads)
	}
	threads := opts.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	level := onnxruntime.GraphOptimizationLevel(onnxruntime.GraphOptimizationLevelEnableAll)
	if opts.NoFusion {
		level = onnxruntime.GraphOptimizationLevelDisableAll
	}
	severity := onnxruntime.LoggingLevel(onnxruntime.LoggingLevelFatal)
	if e.verbose {
		severity = onnxruntime.LoggingLevelWarning
	}
	spinning := "0"
	if e.spinning {
		spinning = "1"
	}
	for _, set := range []func() error{
		func() error { return o.SetIntraOpNumThreads(threads) },
		func() error { return o.SetInterOpNumThreads(1) },
		func() error { return o.SetGraphOptimizationLevel(level) },
		func() error { return o.SetLogSeverityLevel(severity) },
		func() error { return o.AddSessionConfigEntry("session.intra_op.allow_spinning", spinning) },
		func() error { return o.AddSessionConfigEntry("session.inter_op.allow_spinning", spinning) },
		// A plan of memory is kept for every set of input shapes ever seen, which
		// for a decoder means one a token.
		func() error { return o.SetMemPattern(false) },
		func() error {
			if folder == "" {
				return nil
			}
			return o.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", folder)
		},
	} {
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

// cancelLoading makes the creation of a session with these options give up when
// ctx ends; stop is to be called when it has returned.
func cancelLoading(ctx context.Context, o *onnxruntime.SessionOptions) (stop func(), err error) {
	if ctx.Done() == nil {
		return func() {}, nil
	}
	options, err := pointerIn(o, "o")
	if err != nil {
		return nil, err
	}
	cancelled := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(cancelled)
		C.xort_cancel_load(options)
	})
	return func() {
		if !cancel() {
			<-cancelled
		}
	}, nil
}

// provider is what a name in engine.Options means to ONNX Runtime.
type provider struct {
	ort    string // the name in the library's list
	where  string // where to get a library that has it
	append func(o *onnxruntime.SessionOptions, options map[string]string) error
}

var providerTable = map[string]provider{
	"cuda": {"CUDAExecutionProvider", "pip install onnxruntime-gpu, or the -gpu archive of a release; it needs CUDA 12 and cuDNN 9 on the library path",
		func(o *onnxruntime.SessionOptions, options map[string]string) error {
			c, err := onnxruntime.NewCUDAProviderOptions()
			if err != nil {
				return err
			}
			defer c.Destroy()
			if err := c.Update(options); err != nil {
				return err
			}
			return o.AppendExecutionProviderCUDA(c)
		}},
	"tensorrt": {"TensorrtExecutionProvider", "pip install onnxruntime-gpu, or the -gpu archive of a release; it needs CUDA 12, cuDNN 9 and TensorRT 10 on the library path",
		func(o *onnxruntime.SessionOptions, options map[string]string) error {
			t, err := onnxruntime.NewTensorRTProviderOptions()
			if err != nil {
				return err
			}
			defer t.Destroy()
			if err := t.Update(options); err != nil {
				return err
			}
			return o.AppendExecutionProviderTensorRT(t)
		}},
	"openvino": {"OpenVINOExecutionProvider", "pip install onnxruntime-openvino", (*onnxruntime.SessionOptions).AppendExecutionProviderOpenVINO},
	"coreml":   {"CoreMLExecutionProvider", "the macOS archive of a release, or pip install onnxruntime on macOS", (*onnxruntime.SessionOptions).AppendExecutionProviderCoreMLV2},
	"directml": {"DmlExecutionProvider", "pip install onnxruntime-directml on Windows",
		func(o *onnxruntime.SessionOptions, options map[string]string) error {
			device := 0
			for key, text := range options {
				var err error
				if device, err = strconv.Atoi(text); key != "device_id" || err != nil || device < 0 {
					return fmt.Errorf("directml takes the option device_id with a number, not %s=%s", key, text)
				}
			}
			return o.AppendExecutionProviderDirectML(device)
		}},
}

// addProvider puts the chosen provider before the CPU, which takes the operators
// that the provider lacks.
func (e *Engine) addProvider(o *onnxruntime.SessionOptions, opts engine.Options) error {
	if opts.Provider == "" || opts.Provider == "cpu" {
		if len(opts.ProviderOptions) > 0 {
			return fmt.Errorf("provider cpu takes no options, given %q", slices.Sorted(maps.Keys(opts.ProviderOptions)))
		}
		return nil
	}
	p, ok := providerTable[opts.Provider]
	if !ok {
		return fmt.Errorf("there is no provider %q; there are %s", opts.Provider, strings.Join(Providers, ", "))
	}
	if !slices.Contains(e.providers, p.ort) {
		return fmt.Errorf("the library %s has no provider %s; it has %s. A library with it: %s; name it with --ort-lib or XPIPE_ORT_LIB",
			e.library.Path, opts.Provider, strings.Join(shortNames(e.providers), ", "), p.where)
	}
	if err := p.append(o, opts.ProviderOptions); err != nil {
		return fmt.Errorf("provider %s cannot be used: %s", opts.Provider, brief(err.Error()))
	}
	return nil
}

// shortNames turns the library's names of providers into those of this package
// where there is one.
func shortNames(names []string) []string {
	var short []string
	for _, name := range names {
		n := strings.ToLower(strings.TrimSuffix(name, "ExecutionProvider"))
		if n == "dml" {
			n = "directml"
		}
		short = append(short, n)
	}
	return short
}

var _ tensor.Storage = (*value)(nil)
