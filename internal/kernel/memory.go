package kernel

import (
	"runtime"
	"sync"
	"unsafe"
	"weak"
)

// Packed weights stay as long as a model does, and hold no pointers. On Go's heap they would count
// towards the garbage that may gather before it is collected, by default as much as is in use: a model
// would take twice its weights. So they lie in pages that the system gives, where it does: of 2 MB where
// it has such, or a product that reads its weights once waits for the addresses of pages as well as for
// memory. Matrices share what is mapped at once, since most are smaller than two such pages.

// pages is memory outside Go's heap. It goes back to the system some time after nothing refers to
// pages, whatever refers to the memory itself: who uses that keeps pages alive.
type pages struct {
	bytes []byte
	used  int // by matrices, from the beginning on
}

const (
	// leastPages is from how many bytes on memory is worth pages.
	leastPages = 1 << 18
	// mapped is how much is mapped at once for matrices that are smaller.
	mapped = 32 << 20
	// hugePage is the size of a large page, and a multiple of what mapped memory begins at.
	hugePage = 2 << 20
	// cacheLine is what each matrix begins at a multiple of.
	cacheLine = 64
)

// unfilled are the pages that the next matrix shares, if something still refers to them.
var unfilled struct {
	sync.Mutex
	pages weak.Pointer[pages]
}

// newPages returns so many bytes, all 0, and the pages that they are a part of; nil where they are to
// be allocated.
func newPages(size int) ([]byte, *pages) {
	if size < leastPages {
		return nil, nil
	}
	unfilled.Lock()
	defer unfilled.Unlock()
	p := unfilled.pages.Value()
	if p == nil || len(p.bytes)-p.used < size {
		all := mapPages(max(size, mapped) + hugePage)
		if all == nil {
			return nil, nil
		}
		first := -int(uintptr(unsafe.Pointer(&all[0]))) & (hugePage - 1)
		p = &pages{bytes: all[first : first+max(size, mapped)]}
		hugePages(p.bytes[:len(p.bytes)&^(hugePage-1)])
		runtime.AddCleanup(p, unmapPages, all)
		if size < mapped {
			unfilled.pages = weak.Make(p)
		}
	}
	b := p.bytes[p.used : p.used+size : p.used+size]
	p.used = min(len(p.bytes), (p.used+size+cacheLine-1)&^(cacheLine-1))
	return b, p
}

// elements returns n elements, all 0, and the pages that they lie in, nil where they lie on Go's heap.
// In pages they begin at a multiple of a cache line. T has no pointers.
func elements[T float32 | uint32 | uint16 | uint8](n int) ([]T, *pages) {
	var one T
	if b, p := newPages(n * int(unsafe.Sizeof(one))); p != nil {
		return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), p
	}
	return make([]T, n), nil
}
