package tensor

import (
	"bytes"
	"slices"
	"sync"
	"testing"
)

// cell is a Storage that counts how it is used.
type cell struct {
	mu       sync.Mutex
	values   []float32
	loads    int
	released bool
}

func (c *cell) Load() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return nil
	}
	c.loads++
	return slices.Clone(c.values)
}

func (c *cell) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
}

func TestStoredElementsAreLoadedOnce(t *testing.T) {
	t.Parallel()
	c := &cell{values: []float32{1, 2, 3, 4}}
	x := Must(NewStored(Float32, []int{2, 2}, c))
	y := Must(x.Reshape(4))
	if x.Storage() == nil || c.loads != 0 {
		t.Fatal("elements were loaded before anybody looked")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _ = Data[float32](y)[3] + x.Float32s()[0] })
	}
	wg.Wait()
	if got := Data[float32](x); !slices.Equal(got, c.values) {
		t.Errorf("Data = %v", got)
	}
	if got := Data[float32](x.Clone()); !slices.Equal(got, c.values) {
		t.Errorf("Data of the clone = %v", got)
	}
	if c.loads != 1 || x.Storage() != nil || y.Storage() != nil {
		t.Errorf("%d loads, want 1; storage left: %v %v", c.loads, x.Storage(), y.Storage())
	}
	x.Release() // the elements are in Go memory: nothing to give back
	if c.released || Data[float32](x) == nil {
		t.Error("Release took elements that had been loaded")
	}
	var stored, plain bytes.Buffer
	if err := WriteNpy(&stored, Must(NewStored(Float32, []int{4}, &cell{values: c.values}))); err != nil {
		t.Fatal(err)
	}
	if err := WriteNpy(&plain, Must(New([]int{4}, c.values))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored.Bytes(), plain.Bytes()) {
		t.Error(".npy of a stored tensor differs from that of a plain one")
	}
}

func TestStoredRelease(t *testing.T) {
	t.Parallel()
	c := &cell{values: []float32{1}}
	x := Must(NewStored(Float32, []int{1}, c))
	x.Release()
	x.Release()
	if !c.released || Data[float32](x) != nil {
		t.Error("a released tensor still has elements")
	}
	Scalar[int64](1).Release()
}

func TestNewStoredChecks(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (*Tensor, error){
		"dtype": func() (*Tensor, error) { return NewStored(Invalid, []int{1}, &cell{}) },
		"shape": func() (*Tensor, error) { return NewStored(Float32, []int{-1}, &cell{}) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
