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
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
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

// value is memory outside Go, or some of its rows: the Storage of a tensor. It implements
// tensor.RowStorage.
type value struct {
	dtype tensor.DType
	data  unsafe.Pointer
	rows  int // of the first dimension; 0 for a scalar
	n     int // elements, of all rows

	mu       sync.Mutex
	block    *block // what data points into; nil once it was given back
	users    int    // runs that read data now
	released bool   // give back when users is 0
	cleanup  runtime.Cleanup
}

// block is memory outside Go that values share.
type block struct {
	free   func()
	size   int64
	values atomic.Int64 // neither released nor collected
}

// newBlock takes ownership of size bytes, which free gives back once no value holds them.
func newBlock(size int64, free func()) *block {
	held.add(size)
	return &block{free: free, size: size}
}

// drop lets go of the block for one value.
func (b *block) drop() {
	if b.values.Add(-1) == 0 {
		b.free()
		held.add(-b.size)
	}
}

// newValue makes a value of n elements at data, which lies in b.
func newValue(b *block, data unsafe.Pointer, dtype tensor.DType, rows, n int) *value {
	v := &value{dtype: dtype, data: data, rows: rows, n: n, block: b}
	b.values.Add(1)
	v.cleanup = runtime.AddCleanup(v, (*block).drop, b)
	return v
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

// Rows implements tensor.RowStorage: consecutive rows share v's memory, others are copied once, to
// memory where the next run reads them.
func (v *value) Rows(rows []int) (tensor.Storage, error) {
	if !v.acquire() {
		return nil, errors.New("the tensor has been released")
	}
	defer v.done()
	size := v.n / max(v.rows, 1) * v.dtype.Size() // bytes of a row
	elements := v.n / max(v.rows, 1) * len(rows)
	if first, ok := consecutive(rows); ok {
		return newValue(v.block, unsafe.Add(v.data, first*size), v.dtype, len(rows), elements), nil
	}
	total, err := tensor.NumElements([]int{len(rows), size})
	if err != nil {
		return nil, err
	}
	data := C.xort_alloc(C.size_t(total))
	if data == nil {
		return nil, fmt.Errorf("no memory for %d bytes", total)
	}
	from, to := view[byte](v.data, v.rows*size), view[byte](data, total)
	for i, r := range rows {
		copy(to[i*size:], from[r*size:(r+1)*size])
	}
	taken := newBlock(int64(total), func() { C.free(data) })
	return newValue(taken, data, v.dtype, len(rows), elements), nil
}

// consecutive reports whether rows are first, first+1 and so on.
func consecutive(rows []int) (first int, ok bool) {
	for i, r := range rows {
		if r != rows[0]+i {
			return 0, false
		}
		first = rows[0]
	}
	return first, true
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
	if v.released && v.users == 0 && v.block != nil {
		v.cleanup.Stop()
		v.block.drop()
		v.block = nil
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
