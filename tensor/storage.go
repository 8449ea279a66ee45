package tensor

import (
	"fmt"
	"sync"
)

// Storage holds the elements of a tensor that an engine made: in C memory, a device's, or Go memory
// in a layout of its own. They stay there, and can go back into the engine without a copy, until
// they are read: a slice that Data returns is always Go memory, so it can be kept and outlive the
// tensor like any other slice.
//
// Methods are safe for concurrent use. A storage that can copy rows implements RowStorage.
type Storage interface {
	// Load returns a copy of the elements in row-major order: a []T of the Go type of the tensor's
	// element type. It returns nil after Release.
	Load() any
	// Release gives the memory back as soon as no run of the engine reads it. Tensors that are not
	// released are given back when the garbage collector finds them unreachable.
	Release()
}

// NewStored makes a tensor whose elements an engine holds. The error wraps ErrTensor if a dimension
// is negative or dtype is Invalid.
func NewStored(dtype DType, shape []int, s Storage) (*Tensor, error) {
	if dtype.Size() == 0 {
		return nil, fmt.Errorf("%w: cannot hold elements of type %v", ErrTensor, dtype)
	}
	if _, err := NumElements(shape); err != nil {
		return nil, err
	}
	at := &stored{storage: s}
	if len(shape) > 0 {
		at.rows = shape[0]
	}
	return &Tensor{shape: append([]int{}, shape...), dtype: dtype, stored: at}, nil
}

// Storage returns where an engine holds t's elements, and nil if they are in Go memory. It is for
// engines; everything else reads t with Data.
func (t *Tensor) Storage() Storage {
	if t.stored == nil {
		return nil
	}
	return t.stored.where()
}

// Release frees the memory that an engine holds for t at once, not at some later garbage
// collection. That helps with big tensors made in a loop, such as the cache of a decoder. t, and
// tensors that Reshape made of it, must not be read again: an engine refuses them as inputs and
// Data returns nil. Slices that Data returned stay valid, and so do tensors that Slice and Take
// returned. A tensor in Go memory stays unchanged.
func (t *Tensor) Release() {
	if s := t.Storage(); s != nil {
		s.Release()
	}
}

// stored is shared by a tensor and what Reshape makes of it, so that elements are copied to Go
// memory once.
type stored struct {
	rows int // first dimension that the storage was made for; 0 for a scalar

	mu      sync.Mutex
	storage Storage // nil once data is there
	data    any
}

func (s *stored) where() Storage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.storage
}

func (s *stored) elements() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		if s.data = s.storage.Load(); s.data != nil {
			s.storage = nil
		}
	}
	return s.data
}

// elements returns t's elements in Go memory, a []T.
func (t *Tensor) elements() any {
	if t.stored != nil {
		return t.stored.elements()
	}
	return t.data
}
