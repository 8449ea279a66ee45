//go:build cgo && !noort

package ort

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/crossattn/xpipe/tensor"
)

// Rows of an output that ONNX Runtime holds are copied once or share its memory, go in as the next
// input, and outlive it.
func TestRowsOfOutputs(t *testing.T) {
	const length, row = 256, 4 * 256 * 8
	s := open(t, cacheGraph(1))
	run := func(past, added *tensor.Tensor) *tensor.Tensor {
		t.Helper()
		out, err := s.Run(t.Context(), tensors{"past.0": past, "new": added})
		if err != nil {
			t.Fatal(err)
		}
		return out["present.0"]
	}
	first := ramp(4, 4, length, 8)
	cache := run(tensor.Must(tensor.Zeros(tensor.Float32, 4, 4, 0, 8)), first)
	taken, err := cache.Take([]int{0, 0, 1, 3})
	if err != nil {
		t.Fatal(err)
	}
	part, err := cache.Slice(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	whole, picked, shared := storage(t, cache), storage(t, taken), storage(t, part)
	if picked.block == whole.block || picked.block.values.Load() != 1 {
		t.Error("rows that are not consecutive have no memory of their own")
	}
	if shared.block != whole.block || whole.block.values.Load() != 2 {
		t.Error("consecutive rows do not share memory")
	}
	cache.Release()
	cache.Release()
	if n := shared.block.values.Load(); n != 1 {
		t.Errorf("%d values hold the memory after one of two was released", n)
	}
	if _, err := cache.Take([]int{1, 0}); !errors.Is(err, tensor.ErrTensor) {
		t.Errorf("rows of a released tensor: %v", err)
	}
	again, err := part.Take([]int{1, 0, 1})
	if err != nil {
		t.Fatal(err)
	}
	all := tensor.Data[float32](first)
	next := tensor.Data[float32](run(taken, ramp(4, 4, 1, 8)))
	if got := next[2*(row+4*8):][:length*8]; !slices.Equal(got, all[row:row+length*8]) {
		t.Error("the next step does not go on from the rows taken")
	}
	want := slices.Concat(all[:row], all[:row], all[row:2*row], all[3*row:])
	if !slices.Equal(tensor.Data[float32](taken), want) {
		t.Error("Take gives other rows")
	}
	if !slices.Equal(tensor.Data[float32](part), all[row:3*row]) {
		t.Error("Slice gives other rows")
	}
	want = slices.Concat(all[2*row:3*row], all[row:2*row], all[2*row:3*row])
	if !slices.Equal(tensor.Data[float32](again), want) {
		t.Error("Take of a slice gives other rows")
	}
	if part, err = again.Slice(3, 3); err != nil || part.Len() != 0 {
		t.Errorf("no rows: %v (%v)", part, err)
	}
}

// Memory goes back with the last value that holds it, released or collected.
func TestRowsGiveBack(t *testing.T) {
	freed := make(chan struct{})
	memory := make([]float32, 6)
	b := newBlock(24, func() { close(freed) })
	whole := newValue(b, unsafe.Pointer(&memory[0]), tensor.Float32, 3, 6)
	part, err := whole.Rows([]int{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	whole.Release()
	select {
	case <-freed:
		t.Fatal("freed while rows hold it")
	default:
	}
	if got := part.Load().([]float32); len(got) != 4 {
		t.Errorf("%d elements of two rows", len(got))
	}
	part = nil
	for collected := false; !collected; {
		runtime.GC()
		select {
		case <-freed:
			collected = true
		case <-time.After(time.Millisecond):
		}
	}
	runtime.KeepAlive(memory)
}

// storage returns the value of a tensor that lies outside Go.
func storage(t *testing.T, x *tensor.Tensor) *value {
	t.Helper()
	v, ok := x.Storage().(*value)
	if !ok {
		t.Fatalf("%v is in Go memory", x)
	}
	return v
}
