package tensor

import (
	"fmt"
	"reflect"
	"slices"
)

// AlignedStorage is a RowStorage that joins tensors which end together without loading them, such as
// the caches of sequences that a decoder goes on with in one batch.
type AlignedStorage interface {
	RowStorage
	// JoinAligned does what the function of this name does, for tensors of which the first is in this
	// storage. ok is false where it cannot: others are elsewhere, or the axis is another than it is
	// made for.
	JoinAligned(axis int, parts []*Tensor) (joined Storage, ok bool)
}

// JoinAligned puts tensors one behind another along the first dimension, as Join does, and lets them
// differ in one more, axis: shorter ones have zeros before their own elements, so that all end
// together. Errors are those of Join.
func JoinAligned(axis int, parts ...*Tensor) (*Tensor, error) {
	if len(parts) == 0 || axis < 1 || axis >= parts[0].Rank() {
		return nil, fmt.Errorf("%w: nothing to join along an axis %d", ErrTensor, axis)
	}
	first, longest, rows := parts[0], 0, 0
	for _, t := range parts {
		if t.dtype != first.dtype || len(t.shape) != len(first.shape) ||
			!slices.Equal(t.shape[1:axis], first.shape[1:axis]) || !slices.Equal(t.shape[axis+1:], first.shape[axis+1:]) {
			return nil, fmt.Errorf("%w: %v and %v do not join by rows", ErrTensor, first, t)
		}
		longest, rows = max(longest, t.shape[axis]), rows+t.shape[0]
	}
	shape := slices.Clone(first.shape)
	shape[0], shape[axis] = rows, longest
	if s, ok := first.Storage().(AlignedStorage); ok {
		if joined, ok := s.JoinAligned(axis, parts); ok {
			return NewStored(first.dtype, shape, joined)
		}
	}
	aligned := make([]*Tensor, len(parts))
	for i, t := range parts {
		var err error
		if aligned[i], err = t.padded(axis, longest); err != nil {
			return nil, err
		}
	}
	return Join(aligned...)
}

// padded returns t with zeros before the elements of an axis, so that it is as long as length.
func (t *Tensor) padded(axis, length int) (*Tensor, error) {
	if t.shape[axis] == length {
		return t, nil
	}
	elements := t.elements()
	if elements == nil {
		return nil, fmt.Errorf("%w: %v was released", ErrTensor, t)
	}
	outer, inner := 1, 1
	for _, d := range t.shape[:axis] {
		outer *= d
	}
	for _, d := range t.shape[axis+1:] {
		inner *= d
	}
	shape := slices.Clone(t.shape)
	shape[axis] = length
	whole, err := Zeros(t.dtype, shape...)
	if err != nil {
		return nil, err
	}
	from, to := reflect.ValueOf(elements), reflect.ValueOf(whole.data)
	size, pad := t.shape[axis]*inner, (length-t.shape[axis])*inner
	for i := range outer {
		at := i * length * inner
		reflect.Copy(to.Slice(at+pad, at+length*inner), from.Slice(i*size, (i+1)*size))
	}
	return whole, nil
}
