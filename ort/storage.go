//go:build cgo && !noort

package ort

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"unsafe"

	"github.com/crossattn/xpipe/tensor"
)

// elementTypes pairs ONNX's numbers for element types with those of tensor.
var elementTypes = map[C.int]tensor.DType{
	1: tensor.Float32, 2: tensor.Uint8, 3: tensor.Int8, 6: tensor.Int32, 7: tensor.Int64,
	9: tensor.Bool, 10: tensor.Float16, 11: tensor.Float64, 16: tensor.BFloat16,
}

// typeNumbers is elementTypes the other way round.
var typeNumbers = func() map[tensor.DType]C.int {
	m := map[tensor.DType]C.int{}
	for number, dtype := range elementTypes {
		m[dtype] = number
	}
	return m
}()

// value is an output that ONNX Runtime holds: the Storage of a tensor.
type value struct {
	dtype tensor.DType
	data  unsafe.Pointer
	n     int // elements

	mu       sync.Mutex
	handle   unsafe.Pointer // OrtValue; nil once it was given back
	users    int            // runs that read data now
	released bool           // give back when users is 0
	cleanup  runtime.Cleanup
}

// newValue takes ownership of an OrtValue with n elements at data.
func newValue(handle, data unsafe.Pointer, dtype tensor.DType, n int) *value {
	v := &value{dtype: dtype, data: data, n: n, handle: handle}
	size := int64(n * dtype.Size())
	v.cleanup = runtime.AddCleanup(v, func(handle unsafe.Pointer) { free(handle, size) }, handle)
	held.add(size)
	return v
}

// free gives an OrtValue back.
func free(handle unsafe.Pointer, size int64) {
	C.xort_release(handle)
	held.add(-size)
}

// Load implements tensor.Storage.
func (v *value) Load() any {
	if !v.acquire() {
		return nil
	}
	defer v.done()
	return copyElements(v.dtype, v.data, v.n)
}

// Release implements tensor.Storage.
func (v *value) Release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.released = true
	v.giveBack()
}

// acquire keeps the memory for a reader until done; it returns false if the memory has been
// released.
func (v *value) acquire() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.released {
		return false
	}
	v.users++
	return true
}

func (v *value) done() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users--
	v.giveBack()
}

func (v *value) giveBack() {
	if v.released && v.users == 0 && v.handle != nil {
		v.cleanup.Stop()
		free(v.handle, int64(v.n*v.dtype.Size()))
		v.handle = nil
	}
}

// copyElements copies n elements at data, which may be nil if n is 0, to Go memory: a []T.
func copyElements(dtype tensor.DType, data unsafe.Pointer, n int) any {
	switch dtype {
	case tensor.Float32:
		return slices.Clone(view[float32](data, n))
	case tensor.Float64:
		return slices.Clone(view[float64](data, n))
	case tensor.Float16:
		return slices.Clone(view[tensor.Half](data, n))
	case tensor.BFloat16:
		return slices.Clone(view[tensor.BF16](data, n))
	case tensor.Int64:
		return slices.Clone(view[int64](data, n))
	case tensor.Int32:
		return slices.Clone(view[int32](data, n))
	case tensor.Int8:
		return slices.Clone(view[int8](data, n))
	case tensor.Uint8:
		return slices.Clone(view[uint8](data, n))
	}
	// A byte that is neither 0 nor 1 would be a broken bool in Go.
	bools := make([]bool, n)
	for i, b := range view[uint8](data, n) {
		bools[i] = b != 0
	}
	return bools
}

func view[T any](data unsafe.Pointer, n int) []T {
	if n == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(data), n)
}

// newTensor makes a tensor of an output in Go memory.
func newTensor(
	dtype tensor.DType, shape []int, data unsafe.Pointer, n int,
) (*tensor.Tensor, error) {
	switch d := copyElements(dtype, data, n).(type) {
	case []float32:
		return tensor.New(shape, d)
	case []float64:
		return tensor.New(shape, d)
	case []tensor.Half:
		return tensor.New(shape, d)
	case []tensor.BF16:
		return tensor.New(shape, d)
	case []int64:
		return tensor.New(shape, d)
	case []int32:
		return tensor.New(shape, d)
	case []int8:
		return tensor.New(shape, d)
	case []uint8:
		return tensor.New(shape, d)
	case []bool:
		return tensor.New(shape, d)
	}
	return nil, fmt.Errorf("no element type %v", dtype)
}

// held counts the bytes that values hold. The garbage collector does not see them and would let
// them pile up behind a few small Go objects; held runs it once they have doubled since the last
// collection, the rule that the collector itself has for Go memory.
var held heldMemory

type heldMemory struct {
	mu         sync.Mutex
	bytes      int64
	low        int64 // least bytes since the last collection called here
	collecting bool
}

// minGarbage is how many bytes may pile up without a collection.
const minGarbage = 64 << 20

func (h *heldMemory) add(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes += n
	h.low = min(h.low, h.bytes)
}

// collect runs the garbage collector if it is time. Run calls it, once its outputs are made.
func (h *heldMemory) collect() {
	h.mu.Lock()
	if h.collecting || h.bytes < h.low+max(h.low, minGarbage) {
		h.mu.Unlock()
		return
	}
	h.collecting = true
	h.mu.Unlock()

	// A collection costs in proportion to the live Go memory, so wait until it can free as much.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	h.mu.Lock()
	due := h.bytes >= h.low+max(h.low, minGarbage, int64(live[0].Value.Uint64())/2)
	if due {
		h.low = h.bytes
	}
	h.mu.Unlock()
	if due {
		runtime.GC() // the cleanups follow on their own goroutine
	}
	h.mu.Lock()
	h.collecting = false
	h.mu.Unlock()
}

// bytesHeld is for tests.
func bytesHeld() int64 {
	held.mu.Lock()
	defer held.mu.Unlock()
	return held.bytes
}
