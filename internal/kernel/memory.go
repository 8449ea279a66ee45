package kernel

import (
	"runtime"
	"unsafe"
)

// Packed weights stay as long as a model does, and hold no pointers. On Go's heap they would count
// towards the garbage that may gather before it is collected, by default as much as is in use: a model
// would take twice its weights. So they lie in pages that the system gives, where it does.

// pages is memory outside Go's heap. It goes back to the system some time after nothing refers to
// pages, whatever refers to the memory itself: who uses that keeps pages alive.
type pages struct{ bytes []byte }

// leastPages is from how many bytes on memory is worth pages of its own.
const leastPages = 1 << 18

// newPages returns so many bytes, all 0, in pages of their own; nil where they are to be allocated.
func newPages(size int) *pages {
	if size < leastPages {
		return nil
	}
	b := mapPages(size)
	if b == nil {
		return nil
	}
	p := &pages{b}
	runtime.AddCleanup(p, unmapPages, b)
	return p
}

// elements returns n elements, all 0, and the pages that they lie in, nil where they lie on Go's heap.
// T has no pointers.
func elements[T float32 | uint16 | uint8](n int) ([]T, *pages) {
	var one T
	if p := newPages(n * int(unsafe.Sizeof(one))); p != nil {
		return unsafe.Slice((*T)(unsafe.Pointer(&p.bytes[0])), n), p
	}
	return make([]T, n), nil
}
