//go:build cgo && !noort

package ort

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort/ortfile"
	"github.com/crossattn/xpipe/tensor"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// Open implements engine.Engine. The graph must be an ONNX file below 2 GiB; external data may be
// of any size. External data that does not lie on a disk is copied to a temporary folder for as
// long as the session is open.
func (e *Engine) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", source.Name, err)
	}
	if err := opts.Precision.OnlyExact(e.Name()); err != nil {
		return nil, err
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
	s, err := e.open(ctx, graph, place, opts, fullLevel(opts))
	// ONNX Runtime up to 1.27 writes a copy of a float16 graph that its own fusions then trip over
	// (microsoft/onnxruntime#26717).
	if why, ok := errors.AsType[*optimizerError](err); ok {
		for _, lower := range lowerLevels {
			var again error
			if s, again = e.open(ctx, graph, place, opts, lower.level); again == nil {
				if err = nil; opts.Note != nil {
					opts.Note(fmt.Sprintf("ONNX Runtime could not optimise %s in full, and opened it %s: %v",
						source.Name, lower.words, why))
				}
				break
			}
		}
	}
	if err != nil {
		place.cleanup()
		return nil, fmt.Errorf("opening %s: %w", source.Name, err)
	}
	return s, nil
}

// lowerLevels are the levels below the full one that a graph is opened at, in turns, where the
// optimizer fails.
var lowerLevels = []struct {
	level onnxruntime.GraphOptimizationLevel
	words string
}{
	{onnxruntime.GraphOptimizationLevelEnableExtended, "one level lower, as extended"},
	{onnxruntime.GraphOptimizationLevelEnableBasic, "two levels lower, as basic"},
}

func (e *Engine) open(
	ctx context.Context, graph []byte, place externalPlace, opts engine.Options,
	level onnxruntime.GraphOptimizationLevel,
) (*session, error) {
	// CUDA and what builds on it install handlers of their own for the signals by which Go stops
	// goroutines and reports crashes.
	if opts.Provider != "" && opts.Provider != cpu {
		defer saveSignals()()
	}
	o, err := onnxruntime.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	defer o.Destroy()
	if err := e.configure(o, place.folder, opts, level); err != nil {
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
		brief := openError(err, opts.Provider)
		if level == onnxruntime.GraphOptimizationLevelEnableAll && failsInOptimizer(err) {
			return nil, &optimizerError{brief}
		}
		return nil, brief
	}
	return newSession(ort, place.cleanup)
}

// fullLevel is how far ONNX Runtime optimises a graph at most.
func fullLevel(opts engine.Options) onnxruntime.GraphOptimizationLevel {
	if opts.NoFusion {
		return onnxruntime.GraphOptimizationLevelDisableAll
	}
	return onnxruntime.GraphOptimizationLevelEnableAll
}

// saveSignals notes how the process handles signals; restore puts back what has changed since.
func saveSignals() (restore func()) {
	saved := C.xort_save_signals()
	return func() { C.xort_restore_signals(saved) }
}

// configure sets everything but the provider.
func (e *Engine) configure(
	o *onnxruntime.SessionOptions, folder string, opts engine.Options,
	level onnxruntime.GraphOptimizationLevel,
) error {
	if opts.Threads < 0 {
		return fmt.Errorf("%d threads", opts.Threads)
	}
	threads := opts.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	spinning := "0"
	if opts.Spinning {
		spinning = "1"
	}
	for _, set := range []func() error{
		func() error { return o.SetIntraOpNumThreads(threads) },
		func() error { return o.SetInterOpNumThreads(1) },
		func() error { return o.SetGraphOptimizationLevel(level) },
		func() error { return o.SetLogSeverityLevel(onnxruntime.LoggingLevelFatal) },
		func() error { return o.AddSessionConfigEntry("session.intra_op.allow_spinning", spinning) },
		func() error { return o.AddSessionConfigEntry("session.inter_op.allow_spinning", spinning) },
		// A memory pattern is kept for every set of input shapes ever seen, which for a decoder
		// means one a token.
		func() error { return o.SetMemPattern(false) },
		func() error {
			if folder == "" {
				return nil
			}
			return o.AddSessionConfigEntry("session.model_external_initializers_file_folder_path",
				folder)
		},
	} {
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

// cancelLoading makes the creation of a session with these options give up when ctx ends. Call stop
// once the creation has returned.
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

// addProvider puts the chosen provider before the CPU, which takes the operators that the provider
// lacks.
func (e *Engine) addProvider(o *onnxruntime.SessionOptions, opts engine.Options) error {
	p, ok := findProvider(opts.Provider)
	switch {
	case !ok:
		return fmt.Errorf("there is no provider %q; there are %s",
			opts.Provider, strings.Join(Providers, ", "))
	case p.name == cpu && len(opts.ProviderOptions) > 0:
		return fmt.Errorf("provider cpu takes no options, given %q",
			slices.Sorted(maps.Keys(opts.ProviderOptions)))
	case p.name == cpu:
		return nil
	case !slices.Contains(e.providers, p.ort):
		return fmt.Errorf("the library %s has no provider %s; it has %s. "+
			"A library with it: %s; name it with --ort-lib or %s",
			e.library.Path, p.name, strings.Join(shortNames(e.providers), ", "), p.get, ortfile.Env)
	}
	if err := p.append(o, opts.ProviderOptions); err != nil {
		return fmt.Errorf("provider %s cannot be used: %s", p.name, brief(err.Error()))
	}
	return nil
}

// append gives the provider to a session's options. Each has a call of its own in the C API.
func (p provider) append(o *onnxruntime.SessionOptions, options map[string]string) error {
	switch p.ort {
	case "CUDAExecutionProvider":
		c, err := onnxruntime.NewCUDAProviderOptions()
		if err != nil {
			return err
		}
		defer c.Destroy()
		if err := c.Update(options); err != nil {
			return err
		}
		return o.AppendExecutionProviderCUDA(c)
	case "TensorrtExecutionProvider":
		t, err := onnxruntime.NewTensorRTProviderOptions()
		if err != nil {
			return err
		}
		defer t.Destroy()
		if err := t.Update(options); err != nil {
			return err
		}
		return o.AppendExecutionProviderTensorRT(t)
	case "OpenVINOExecutionProvider":
		return o.AppendExecutionProviderOpenVINO(options)
	case "CoreMLExecutionProvider":
		return o.AppendExecutionProviderCoreMLV2(options)
	case "DmlExecutionProvider":
		device, err := directMLDevice(options)
		if err != nil {
			return err
		}
		return o.AppendExecutionProviderDirectML(device)
	}
	return fmt.Errorf("xpipe cannot start %s", p.ort)
}

// directMLDevice reads the one option that DirectML takes, the number of a device.
func directMLDevice(options map[string]string) (device int, err error) {
	for key, text := range options {
		if device, err = strconv.Atoi(text); key != "device_id" || err != nil || device < 0 {
			return 0, fmt.Errorf("directml takes the option device_id with a number, not %s=%s",
				key, text)
		}
	}
	return device, nil
}

// shortNames turns the library's names of providers into those of this package where there is one.
func shortNames(names []string) []string {
	var short []string
	for _, name := range names {
		n := strings.ToLower(strings.TrimSuffix(name, "ExecutionProvider"))
		for _, p := range providerTable {
			if p.ort == name {
				n = p.name
			}
		}
		short = append(short, n)
	}
	return short
}

var _ tensor.Storage = (*value)(nil)
