package tensor

import (
	"fmt"
	"reflect"
	"slices"
)

// RowStorage is a Storage that takes rows of a tensor without loading it, such as the growing cache
// of a decoder, of which beam search continues some sequences and drops others.
type RowStorage interface {
	Storage
	// Rows returns a storage of the given rows, in this order, of the first dimension that
	// NewStored was given together with the receiver. Each is within that dimension, and they may
	// repeat. Both storages may share memory, which neither changes; Release of one leaves the
	// other usable.
	Rows(rows []int) (Storage, error)
}

// Slice returns rows from to to-1 of the first dimension, [to-from,...]. It copies nothing if the
// elements are in Go memory or in a RowStorage: the result shares them and keeps all of that memory
// in use. Any other Storage is loaded first, once for all slices of a tensor.
//
// Release of either tensor leaves the other usable. The error wraps ErrTensor if t is a scalar or
// was released, or if the first dimension does not have the range.
func (t *Tensor) Slice(from, to int) (*Tensor, error) {
	if len(t.shape) == 0 || from < 0 || to < from || to > t.shape[0] {
		return nil, fmt.Errorf("%w: %v has no rows %d to %d", ErrTensor, t, from, to)
	}
	if s := t.rowStorage(); s != nil {
		rows := make([]int, to-from)
		for i := range rows {
			rows[i] = from + i
		}
		return t.storedRows(s, rows)
	}
	return t.goRows(to-from, func(elements reflect.Value, size int) reflect.Value {
		return elements.Slice3(from*size, to*size, to*size)
	})
}

// Take returns the given rows of the first dimension, [len(rows),...], in this order; they may
// repeat. It is how beam search reorders a decoder's cache.
//
// Each row is copied once, or not at all: a RowStorage decides what to copy, and consecutive rows
// in Go memory are shared as Slice does. So the result may share memory with t; both are only read.
// Release of either leaves the other usable: a caller that replaces t by the result releases t
// right away. The error wraps ErrTensor if t is a scalar or was released, or if the first dimension
// lacks a row.
func (t *Tensor) Take(rows []int) (*Tensor, error) {
	if len(t.shape) == 0 {
		return nil, fmt.Errorf("%w: %v has no rows", ErrTensor, t)
	}
	for _, r := range rows {
		if r < 0 || r >= t.shape[0] {
			return nil, fmt.Errorf("%w: %v has no row %d", ErrTensor, t, r)
		}
	}
	if s := t.rowStorage(); s != nil {
		return t.storedRows(s, rows)
	}
	if from, ok := consecutive(rows); ok {
		return t.Slice(from, from+len(rows))
	}
	return t.goRows(len(rows), func(elements reflect.Value, size int) reflect.Value {
		picked := reflect.MakeSlice(elements.Type(), 0, len(rows)*size)
		for _, r := range rows {
			picked = reflect.AppendSlice(picked, elements.Slice(r*size, (r+1)*size))
		}
		return picked
	})
}

// Join puts tensors one behind another along the first dimension; the result shares no memory with
// them. Tensors of different element types or of different other dimensions, scalars, tensors that
// were released and no tensors at all give an error that wraps ErrTensor.
func Join(parts ...*Tensor) (*Tensor, error) {
	if len(parts) == 0 || len(parts[0].shape) == 0 {
		return nil, fmt.Errorf("%w: nothing to join by rows", ErrTensor)
	}
	first, rows := parts[0], 0
	for _, t := range parts {
		if t.dtype != first.dtype || len(t.shape) != len(first.shape) ||
			!slices.Equal(t.shape[1:], first.shape[1:]) {
			return nil, fmt.Errorf("%w: %v and %v do not join by rows", ErrTensor, first, t)
		}
		if t.elements() == nil {
			return nil, fmt.Errorf("%w: %v was released", ErrTensor, t)
		}
		rows += t.shape[0]
	}
	return first.goRows(rows, func(elements reflect.Value, size int) reflect.Value {
		joined := reflect.MakeSlice(elements.Type(), 0, rows*size)
		for _, t := range parts {
			joined = reflect.AppendSlice(joined, reflect.ValueOf(t.elements()))
		}
		return joined
	})
}

// Append returns t with the rows of more behind it. What the memory of t has room for is put there, as
// Go's append does, so that adding rows one after another copies each but a few times; where there is no
// room, as behind every tensor that neither Append nor Keep returned, all is copied. t is the caller's
// alone and is not read again. Errors are those of Join.
func (t *Tensor) Append(more *Tensor) (*Tensor, error) {
	fits := t.owned && t.dtype == more.dtype && len(t.shape) == len(more.shape) && slices.Equal(t.shape[1:], more.shape[1:])
	if !fits {
		joined, err := Join(t, more)
		if err == nil {
			joined.owned = true
		}
		return joined, err
	}
	elements := more.elements()
	if elements == nil {
		return nil, fmt.Errorf("%w: %v was released", ErrTensor, more)
	}
	data := reflect.AppendSlice(reflect.ValueOf(t.data), reflect.ValueOf(elements)).Interface()
	return &Tensor{shape: t.withRows(t.shape[0] + more.shape[0]), dtype: t.dtype, data: data, owned: true}, nil
}

// Keep returns the given rows of t, in ascending order, each once. They move together in the memory of a
// tensor that Append or Keep returned, which is the caller's alone and is not read again, unless they
// would fill less than a quarter of it; elsewhere it is Take.
func (t *Tensor) Keep(rows []int) (*Tensor, error) {
	ascending := true
	for i := range rows {
		ascending = ascending && rows[i] >= 0 && rows[i] < t.Dim(0) && (i == 0 || rows[i] > rows[i-1])
	}
	if !t.owned || !ascending {
		return t.Take(rows)
	}
	elements := reflect.ValueOf(t.data)
	size := elements.Len() / max(t.shape[0], 1)
	if len(rows)*size < elements.Cap()/4 {
		return t.Take(rows)
	}
	for i, r := range rows {
		if i != r {
			reflect.Copy(elements.Slice(i*size, (i+1)*size), elements.Slice(r*size, (r+1)*size))
		}
	}
	data := elements.Slice(0, len(rows)*size).Interface()
	return &Tensor{shape: t.withRows(len(rows)), dtype: t.dtype, data: data, owned: true}, nil
}

// consecutive reports whether rows are first, first+1 and so on.
func consecutive(rows []int) (first int, ok bool) {
	if len(rows) == 0 {
		return 0, true
	}
	for i, r := range rows {
		if r != rows[0]+i {
			return 0, false
		}
	}
	return rows[0], true
}

// rowStorage returns where the elements are if rows can be taken there, else nil. A tensor that
// Reshape gave another first dimension has other rows than its storage.
func (t *Tensor) rowStorage() RowStorage {
	if t.stored == nil || t.stored.rows != t.shape[0] {
		return nil
	}
	s, _ := t.stored.where().(RowStorage)
	return s
}

// storedRows makes a tensor of rows of a storage.
func (t *Tensor) storedRows(s RowStorage, rows []int) (*Tensor, error) {
	taken, err := s.Rows(rows)
	if err != nil {
		return nil, fmt.Errorf("%w: rows %v of %v: %w", ErrTensor, rows, t, err)
	}
	return NewStored(t.dtype, t.withRows(len(rows)), taken)
}

// goRows makes a tensor of n rows in Go memory; pick returns their elements, given all elements of
// t, a []T, and how many of them a row has.
func (t *Tensor) goRows(
	n int, pick func(elements reflect.Value, size int) reflect.Value,
) (*Tensor, error) {
	elements := t.elements()
	if elements == nil {
		return nil, fmt.Errorf("%w: %v was released", ErrTensor, t)
	}
	size := 0
	if t.shape[0] > 0 {
		size = t.Len() / t.shape[0]
	}
	data := pick(reflect.ValueOf(elements), size).Interface()
	return &Tensor{shape: t.withRows(n), dtype: t.dtype, data: data}, nil
}

// withRows returns t's shape with another first dimension.
func (t *Tensor) withRows(n int) []int {
	shape := append([]int{}, t.shape...)
	shape[0] = n
	return shape
}
