package fallback

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/tensor"
)

// arena is the memory of one run. The memory of a value that nothing needs any more goes to later
// values, and to later runs with the same arena.
type arena struct {
	limit int64 // bytes; 0 means none
	taken int64 // bytes of all buffers, free ones included

	free  []*buffer
	live  map[unsafe.Pointer]*buffer // by where their memory begins
	fresh []*buffer                  // allocated since the last settle
	base  int                        // how many of fresh belong to kernels around a subgraph
}

// buffer is a piece of memory that one tensor uses, or several that are reshaped from each other.
type buffer struct {
	words []uint64
	refs  int  // values that use it
	used  bool // in this run
	gone  bool // belongs to the caller now
}

func newArena(limit int64) *arena {
	return &arena{limit: limit, live: map[unsafe.Pointer]*buffer{}}
}

// Alloc implements ops.Memory.
func (a *arena) Alloc(dtype tensor.DType, shape []int) (*tensor.Tensor, error) {
	n, err := tensor.NumElements(shape)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", engine.ErrGraph, err)
	}
	if n == 0 || dtype.Size() == 0 {
		t, err := tensor.Zeros(dtype, shape...)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", engine.ErrGraph, err)
		}
		return t, nil
	}
	b, err := a.buffer((n*dtype.Size() + 7) / 8)
	if err != nil {
		return nil, err
	}
	p := unsafe.Pointer(&b.words[0])
	switch dtype {
	case tensor.Float32:
		return tensor.New(shape, unsafe.Slice((*float32)(p), n))
	case tensor.Float64:
		return tensor.New(shape, unsafe.Slice((*float64)(p), n))
	case tensor.Float16:
		return tensor.New(shape, unsafe.Slice((*tensor.Half)(p), n))
	case tensor.BFloat16:
		return tensor.New(shape, unsafe.Slice((*tensor.BF16)(p), n))
	case tensor.Int64:
		return tensor.New(shape, unsafe.Slice((*int64)(p), n))
	case tensor.Int32:
		return tensor.New(shape, unsafe.Slice((*int32)(p), n))
	case tensor.Int8:
		return tensor.New(shape, unsafe.Slice((*int8)(p), n))
	case tensor.Uint8:
		return tensor.New(shape, unsafe.Slice((*uint8)(p), n))
	}
	// A bool must be 0 or 1, which old contents need not be.
	clear(b.words)
	return tensor.New(shape, unsafe.Slice((*bool)(p), n))
}

// A free buffer serves a value that needs at least half of it. Shapes grow step by step in a
// decoder, so an exact fit is rare; a much larger buffer would lie mostly idle while others need
// its room. fitSlack words, 4 KiB or a page, are too little to count.
const (
	fitFactor = 2
	fitSlack  = 512
)

// buffer returns the smallest free buffer that fits, or a new one.
func (a *arena) buffer(words int) (*buffer, error) {
	best := -1
	for i, b := range a.free {
		size := len(b.words)
		fits := size >= words && size <= fitFactor*words+fitSlack
		if fits && (best < 0 || size < len(a.free[best].words)) {
			best = i
		}
	}
	var b *buffer
	if best >= 0 {
		b = a.free[best]
		a.free[best] = a.free[len(a.free)-1]
		a.free = a.free[:len(a.free)-1]
	} else {
		size := int64(words) * 8
		if a.limit > 0 && a.taken+size > a.limit {
			a.trim()
			if a.taken+size > a.limit {
				return nil, fmt.Errorf("%w: the run needs more than the %w of %d bytes",
					engine.ErrGraph, engine.ErrMemory, a.limit)
			}
		}
		b = &buffer{words: ops.Uncleared(words)}
		a.taken += size
	}
	b.used, b.refs = true, 0
	a.live[unsafe.Pointer(&b.words[0])] = b
	a.fresh = append(a.fresh, b)
	return b, nil
}

// Room returns the bytes that are left of the limit; without a limit, more than there can be.
func (a *arena) Room() int64 {
	if a.limit == 0 {
		return math.MaxInt64
	}
	room := a.limit - a.taken
	for _, b := range a.free {
		room += int64(len(b.words)) * 8
	}
	return room
}

// trim leaves the free buffers to the garbage collector.
func (a *arena) trim() {
	for _, b := range a.free {
		a.taken -= int64(len(b.words)) * 8
	}
	a.free = nil
}

// find returns the buffer that a tensor lies in; nil where it is not of this arena.
func (a *arena) find(t *tensor.Tensor) *buffer {
	if p := ops.Pointer(t); p != nil {
		return a.live[p]
	}
	return nil
}

// Hold notes that a value uses t's memory.
func (a *arena) Hold(t *tensor.Tensor) {
	a.each(t, func(b *buffer) { b.refs++ })
}

// Drop notes that a value no longer uses t's memory.
func (a *arena) Drop(t *tensor.Tensor) {
	a.each(t, func(b *buffer) {
		if b.refs--; b.refs == 0 {
			a.release(b)
		}
	})
}

// Pass is Drop that leaves the memory to settle.
func (a *arena) Pass(t *tensor.Tensor) {
	a.each(t, func(b *buffer) {
		b.refs--
		a.fresh = append(a.fresh, b)
	})
}

// each calls f for the buffer that t lies in, or those of a sequence's tensors.
func (a *arena) each(t *tensor.Tensor, f func(b *buffer)) {
	elements, ok := ops.Elements(t)
	if !ok {
		if b := a.find(t); b != nil {
			f(b)
		}
		return
	}
	for _, e := range elements {
		if b := a.find(e); b != nil {
			f(b)
		}
	}
}

func (a *arena) release(b *buffer) {
	delete(a.live, unsafe.Pointer(&b.words[0]))
	a.free = append(a.free, b)
}

// settle takes back the scratch of the operator that just ran: all memory allocated since the last
// call that no value holds.
func (a *arena) settle() {
	for _, b := range a.fresh[a.base:] {
		// A kernel may have let go of it already.
		if b.refs == 0 && a.live[unsafe.Pointer(&b.words[0])] == b {
			a.release(b)
		}
	}
	a.fresh = a.fresh[:a.base]
}

// give hands t's memory over to the caller of the run. It returns false, and the caller needs a
// copy, where the arena does not own the memory, another result has it, or most of it would be
// wasted.
func (a *arena) give(t *tensor.Tensor) bool {
	b := a.find(t)
	if b == nil || b.gone || len(b.words) > fitFactor*(t.Len()*t.DType().Size()+7)/8 {
		return false
	}
	b.gone = true
	return true
}

// reset ends a run. Memory given away leaves the arena, buffers that the run did not use are left
// to the garbage collector, and the rest is free again.
func (a *arena) reset() {
	for _, b := range a.live {
		if b.gone {
			a.taken -= int64(len(b.words)) * 8
		} else {
			a.free = append(a.free, b)
		}
	}
	clear(a.live)
	a.fresh, a.base = a.fresh[:0], 0
	kept := a.free[:0]
	for _, b := range a.free {
		if b.used {
			b.used, b.refs = false, 0
			kept = append(kept, b)
		} else {
			a.taken -= int64(len(b.words)) * 8
		}
	}
	clear(a.free[len(kept):])
	a.free = kept
}
