//go:build cgo && !noort

package ort

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// copyBelow is the size in bytes below which an output is copied to Go memory at once: keeping
// track of it would cost more.
const copyBelow = 64 << 10

// session implements engine.Session.
type session struct {
	inputs, outputs []tensor.Spec
	inputNames      map[string]*C.char
	outputNames     map[string]*C.char

	running sync.RWMutex // held for reading by each run, for writing by Close
	ort     *onnxruntime.DynamicAdvancedSession
	handle  unsafe.Pointer // OrtSession; nil once closed
	close   func()         // frees the rest
}

func newSession(ort *onnxruntime.DynamicAdvancedSession, close func()) (*session, error) {
	s := &session{ort: ort, close: close, inputNames: map[string]*C.char{},
		outputNames: map[string]*C.char{}}
	var err error
	if s.handle, err = pointerIn(ort, "s", "ortSession"); err == nil {
		s.inputs, err = s.describe(false, s.inputNames)
	}
	if err == nil {
		s.outputs, err = s.describe(true, s.outputNames)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	return s, nil
}

func (s *session) Inputs() []tensor.Spec  { return s.inputs }
func (s *session) Outputs() []tensor.Spec { return s.outputs }

// describe asks for the graph's inputs or outputs, and keeps their names for C.
func (s *session) describe(outputs bool, names map[string]*C.char) ([]tensor.Spec, error) {
	side := C.int(0)
	if outputs {
		side = 1
	}
	var count C.size_t
	var message *C.char
	if code := C.xort_count(s.handle, side, &count, &message); code != 0 {
		return nil, errors.New(takeText(message))
	}
	specs := make([]tensor.Spec, count)
	for i := range specs {
		var c C.xort_spec
		code := C.xort_describe(s.handle, side, C.size_t(i), &c, &message)
		if code == 0 {
			specs[i] = specFromC(&c)
			names[specs[i].Name] = C.CString(specs[i].Name)
		}
		C.xort_free_spec(&c)
		if code != 0 {
			return nil, errors.New(takeText(message))
		}
	}
	return specs, nil
}

func specFromC(c *C.xort_spec) tensor.Spec {
	spec := tensor.Spec{Name: C.GoString(c.name), DType: elementTypes[c._type]}
	if c.has_shape == 0 {
		return spec
	}
	spec.Shape, spec.Dims = []int{}, []string{}
	if c.rank == 0 {
		return spec
	}
	dims, names := unsafe.Slice(c.dims, c.rank), unsafe.Slice(c.dim_names, c.rank)
	for i := range dims {
		spec.Shape = append(spec.Shape, max(int(dims[i]), -1))
		spec.Dims = append(spec.Dims, C.GoString(names[i]))
	}
	return spec
}

// Close implements engine.Session.
func (s *session) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.ort == nil {
		return nil
	}
	err := s.ort.Destroy()
	s.ort, s.handle = nil, nil
	for _, names := range []map[string]*C.char{s.inputNames, s.outputNames} {
		for _, name := range names {
			C.free(unsafe.Pointer(name))
		}
		clear(names)
	}
	s.close()
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	return nil
}

// Run implements engine.Session.
func (s *session) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("the run was not started: %w", err)
	}
	s.running.RLock()
	defer s.running.RUnlock()
	if s.ort == nil {
		return nil, fmt.Errorf("%w: the session is closed", engine.ErrEngine)
	}
	if err := engine.CheckInputs(s.inputs, in); err != nil {
		return nil, err
	}
	names, err := s.wantedOutputs(out)
	if err != nil {
		return nil, err
	}
	results, err := s.call(ctx, in, names)
	if err != nil {
		return nil, err
	}
	held.collect()
	return results, nil
}

// wantedOutputs returns the outputs to compute, each once, and checks that package tensor has their
// element types.
func (s *session) wantedOutputs(out []string) ([]string, error) {
	var all, names []string
	for _, spec := range s.outputs {
		all = append(all, spec.Name)
		if len(out) > 0 && !slices.Contains(out, spec.Name) {
			continue
		}
		if spec.DType == tensor.Invalid {
			return nil, fmt.Errorf("%w: output %q is of a type that xpipe has no tensors for; "+
				"ask for other outputs", engine.ErrGraph, spec.Name)
		}
		names = append(names, spec.Name)
	}
	for _, name := range out {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%w: the graph has no output %q; it gives %q",
				engine.ErrInput, name, all)
		}
	}
	return names, nil
}

// call runs the graph: everything that C sees is pinned, or held in C, until it has returned.
func (s *session) call(
	ctx context.Context, in map[string]*tensor.Tensor, names []string,
) (map[string]*tensor.Tensor, error) {
	var args arguments
	defer args.done()
	inputNames := make([]*C.char, len(s.inputs))
	for i, spec := range s.inputs {
		inputNames[i] = s.inputNames[spec.Name]
		if err := args.add(in[spec.Name]); err != nil {
			return nil, fmt.Errorf("%w: input %q: %w", engine.ErrInput, spec.Name, err)
		}
	}
	outputNames := make([]*C.char, len(names))
	for i, name := range names {
		outputNames[i] = s.outputNames[name]
	}
	if len(names) == 0 {
		return map[string]*tensor.Tensor{}, nil // a graph without outputs
	}

	runOptions, stop, err := cancelledBy(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrEngine, err)
	}
	outputs := make([]C.xort_output, len(names))
	var message *C.char
	code := C.xort_run(s.handle, runOptions,
		C.size_t(len(inputNames)), unsafe.SliceData(inputNames), unsafe.SliceData(args.list),
		C.size_t(len(names)), unsafe.SliceData(outputNames), unsafe.SliceData(outputs), &message)
	stop()
	if code != 0 {
		text := takeText(message)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the run was stopped: %w", ctx.Err())
		}
		return nil, runError(code, text)
	}

	results := make(map[string]*tensor.Tensor, len(names))
	for i, name := range names {
		t, e := args.output(&outputs[i])
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%w: output %q: %w", engine.ErrGraph, name, e))
		}
		results[name] = t
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// cancelledBy returns OrtRunOptions that stop a run when ctx ends; they are NULL if ctx never ends.
// Call stop once the run has returned.
func cancelledBy(ctx context.Context) (options unsafe.Pointer, stop func(), err error) {
	if ctx.Done() == nil {
		return nil, func() {}, nil
	}
	o, err := onnxruntime.NewRunOptions()
	if err != nil {
		return nil, nil, err
	}
	if options, err = pointerIn(o, "o"); err != nil {
		o.Destroy()
		return nil, nil, err
	}
	terminated := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(terminated)
		o.Terminate()
	})
	return options, func() {
		if !cancel() {
			<-terminated // the options are in use until then
		}
		o.Destroy()
	}, nil
}

// arguments are the inputs of a run, as C takes them.
type arguments struct {
	list   []C.xort_input
	pinner runtime.Pinner
	values []*value
}

// add puts an input in the list. Its elements are used where they are: in Go memory, which is
// pinned, or in ONNX Runtime's own.
func (a *arguments) add(t *tensor.Tensor) error {
	input := C.xort_input{
		bytes: C.size_t(t.Len() * t.DType().Size()),
		rank:  C.size_t(t.Rank()),
		_type: typeNumbers[t.DType()],
	}
	if t.Rank() > 0 {
		dims := make([]C.int64_t, t.Rank())
		for i, d := range t.Shape() {
			dims[i] = C.int64_t(d)
		}
		a.pinner.Pin(&dims[0])
		input.dims = &dims[0]
	}
	if v, ok := t.Storage().(*value); ok && v.acquire() {
		a.values = append(a.values, v)
		input.data = v.data
	} else if t.Len() > 0 {
		if input.data = goData(t); input.data == nil {
			return errors.New("the tensor has been released")
		}
		a.pinner.Pin(input.data)
	}
	a.list = append(a.list, input)
	return nil
}

// done lets go of the inputs.
func (a *arguments) done() {
	a.pinner.Unpin()
	for _, v := range a.values {
		v.done()
	}
}

// goData returns the address of t's elements in Go memory, nil if there are none.
func goData(t *tensor.Tensor) unsafe.Pointer {
	switch t.DType() {
	case tensor.Float32:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[float32](t)))
	case tensor.Float64:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[float64](t)))
	case tensor.Float16:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[tensor.Half](t)))
	case tensor.BFloat16:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[tensor.BF16](t)))
	case tensor.Int64:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[int64](t)))
	case tensor.Int32:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[int32](t)))
	case tensor.Int8:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[int8](t)))
	case tensor.Uint8:
		return unsafe.Pointer(unsafe.SliceData(tensor.Data[uint8](t)))
	}
	return unsafe.Pointer(unsafe.SliceData(tensor.Data[bool](t)))
}

// output makes a tensor of what a run returned and frees the rest.
func (a *arguments) output(o *C.xort_output) (*tensor.Tensor, error) {
	defer C.free(unsafe.Pointer(o.dims))
	dtype, ok := elementTypes[o._type]
	if !ok {
		C.xort_release(o.value)
		return nil, errors.New("is of a type that xpipe has no tensors for")
	}
	shape := make([]int, o.rank)
	if o.rank > 0 {
		for i, d := range unsafe.Slice(o.dims, o.rank) {
			shape[i] = int(d)
		}
	}
	n, err := tensor.NumElements(shape)
	if err != nil {
		C.xort_release(o.value)
		return nil, err
	}
	// A graph may return an input unchanged; then the memory is the input's.
	if n*dtype.Size() < copyBelow || a.holds(o.data) {
		defer C.xort_release(o.value)
		return newTensor(dtype, shape, o.data, n)
	}
	handle, rows := o.value, 0
	if len(shape) > 0 {
		rows = shape[0]
	}
	b := newBlock(int64(n*dtype.Size()), func() { C.xort_release(handle) })
	return tensor.NewStored(dtype, shape, newValue(b, o.data, dtype, rows, n))
}

// holds reports whether p points into an input.
func (a *arguments) holds(p unsafe.Pointer) bool {
	for _, in := range a.list {
		if start := uintptr(in.data); uintptr(p) >= start && uintptr(p) < start+uintptr(in.bytes) {
			return true
		}
	}
	return false
}
