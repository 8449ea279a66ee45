//go:build cgo && !noort

package ort

import (
	"slices"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// Rows of an output that ONNX Runtime holds are loaded with it, once, go in as the next input,
// and outlive it.
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
	if cache.Storage() == nil {
		t.Fatal("the output is in Go memory: nothing is tested")
	}
	taken, err := cache.Take([]int{0, 0, 1, 3})
	if err != nil {
		t.Fatal(err)
	}
	part, err := cache.Slice(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	cache.Release()
	all := tensor.Data[float32](first)
	want := slices.Concat(all[:row], all[:row], all[row:2*row], all[3*row:])
	if !slices.Equal(tensor.Data[float32](taken), want) {
		t.Error("Take gives other rows")
	}
	if !slices.Equal(tensor.Data[float32](part), all[row:3*row]) {
		t.Error("Slice gives other rows")
	}
	next := tensor.Data[float32](run(taken, ramp(4, 4, 1, 8)))
	if got := next[2*(row+4*8):][:length*8]; !slices.Equal(got, all[row:row+length*8]) {
		t.Error("the next step does not go on from the rows taken")
	}
}
