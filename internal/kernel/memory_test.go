//go:build unix

package kernel

import (
	"runtime"
	"slices"
	"testing"
)

// Packed weights do not count towards the garbage that may gather, and go back to the system once
// nothing refers to the matrix, not before: here a part of it is all that is left.
func TestWeightsLieOutsideTheHeap(t *testing.T) {
	const k, n = 256, 4096
	b := make([]float32, k*n)
	for i := range b {
		b[i] = float32(i%7 - 3)
	}
	a := slices.Repeat([]float32{1, -1}, k/2)
	for name, build := range map[string]func() *Matrix{
		"floats": func() *Matrix { return NewMatrix(nil, k, n) },
		"halves": func() *Matrix { return NewHalfMatrix(k, n) },
		"pairs":  func() *Matrix { return NewBF16Matrix(k, n, true) },
	} {
		before := heapBytes()
		m := build()
		if grown := heapBytes() - before; grown > int64(m.Bytes())/2 {
			t.Errorf("%s: the heap grew by %d bytes for a matrix of %d", name, grown, m.Bytes())
		}
		m.Fill(b, n, 0, m.Panels())
		var want, got [n]float32
		m.Multiply(want[:], n, a, k, 1, 0, m.Panels(), false, nil)
		part, returned := m.Part(m.Panels()/2, m.Panels()), make(chan struct{})
		runtime.AddCleanup(m.pages, func(c chan struct{}) { close(c) }, returned)
		m = nil
		for range 3 {
			runtime.GC()
			part.Multiply(got[:], n/2, a, k, 1, 0, part.Panels(), false, nil)
			if !slices.Equal(got[:n/2], want[n/2:]) {
				t.Fatalf("%s: a part of the matrix gives other products after a collection", name)
			}
		}
		part = nil
		runtime.GC()
		<-returned
	}
}

// heapBytes returns what is in use of Go's heap.
func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
