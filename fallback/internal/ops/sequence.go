package ops

import (
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// A sequence travels between operators as a tensor of bytes whose storage is the list of its
// elements. Nothing else may read it: Build keeps it from operators that take tensors, and package
// fallback from the outputs of a run.
type sequence []*tensor.Tensor

// Load implements tensor.Storage. A sequence has no elements of its own.
func (sequence) Load() any { return nil }

// Release implements tensor.Storage.
func (sequence) Release() {}

// absent is the storage of an optional value that is not there.
type absent struct{}

func (absent) Load() any { return nil }
func (absent) Release()  {}

// maxSequence bounds the elements of a sequence.
const maxSequence = 1 << 20

// makeSequence makes a sequence of tensors, which it keeps.
func makeSequence(elements []*tensor.Tensor) (*tensor.Tensor, error) {
	if len(elements) > maxSequence {
		return nil, graphErr("a sequence of more than %d tensors", maxSequence)
	}
	for _, t := range elements {
		if isSequence(t) || t.DType() != elements[0].DType() {
			return nil, graphErr("a sequence of %v and %v", elements[0], t)
		}
	}
	return tensor.NewStored(tensor.Uint8, []int{len(elements)}, sequence(elements))
}

// Elements returns the tensors of a sequence; ok is false where t is none. An optional value that
// is not there counts as a sequence without elements.
func Elements(t *tensor.Tensor) (elements []*tensor.Tensor, ok bool) {
	switch s := t.Storage().(type) {
	case sequence:
		return s, true
	case absent:
		return nil, true
	}
	return nil, false
}

func isSequence(t *tensor.Tensor) bool {
	_, ok := Elements(t)
	return ok
}

// sequenceOf returns the elements of an input that must be a sequence.
func sequenceOf(t *tensor.Tensor) (sequence, error) {
	s, ok := t.Storage().(sequence)
	if !ok {
		return nil, graphErr("a sequence is expected, given %v", t)
	}
	return s, nil
}

func buildSequenceEmpty(n *Node) Kernel {
	if onnxType(n.int("dtype", 1)) == tensor.Invalid {
		n.fail("attribute \"dtype\" is %d, which is not supported", n.int("dtype", 1))
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		out[0], err = makeSequence(nil)
		return err
	}
}

func buildSequenceConstruct(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if slices.Contains(in, nil) {
			return graphErr("an input is left out")
		}
		out[0], err = makeSequence(slices.Clone(in))
		return err
	}
}

// position reads a position in n places, which may count from the end; def stands where t is nil.
func position(t *tensor.Tensor, n, def int) (int, error) {
	if t == nil {
		return def, nil
	}
	i, err := scalarInt(t)
	if err != nil {
		return 0, err
	}
	if i < -n || i > n {
		return 0, graphErr("position %d of a sequence of %d", i, n)
	}
	if i < 0 {
		i += n
	}
	return i, nil
}

func buildSequenceInsert(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		s, err := sequenceOf(in[0])
		if err != nil {
			return err
		}
		i, err := position(input(in, 2), len(s), len(s))
		if err != nil {
			return err
		}
		out[0], err = makeSequence(slices.Insert(slices.Clone(s), i, in[1]))
		return err
	}
}

func buildSequenceErase(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		s, err := sequenceOf(in[0])
		if err != nil {
			return err
		}
		i, err := position(input(in, 1), len(s), len(s)-1)
		if err != nil {
			return err
		}
		if i < 0 || i >= len(s) {
			return graphErr("position %d of a sequence of %d", i, len(s))
		}
		out[0], err = makeSequence(slices.Delete(slices.Clone(s), i, i+1))
		return err
	}
}

func buildSequenceAt(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		s, err := sequenceOf(in[0])
		if err != nil {
			return err
		}
		i, err := position(in[1], len(s), 0)
		if err != nil {
			return err
		}
		if i >= len(s) {
			return graphErr("position %d of a sequence of %d", i, len(s))
		}
		out[0] = s[i]
		return nil
	}
}

func buildSequenceLength(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		s, err := sequenceOf(in[0])
		out[0] = tensor.Scalar(int64(len(s)))
		return err
	}
}

func buildConcatFromSequence(n *Node) Kernel {
	at, fresh := n.int("axis", 0), n.int("new_axis", 0) != 0
	if !n.has("axis") {
		n.fail("attribute \"axis\" is not given")
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		s, err := sequenceOf(in[0])
		if err != nil {
			return err
		}
		if len(s) == 0 {
			return graphErr("%s of no tensors", n.Op)
		}
		if !fresh {
			out[0], err = concat(x, s, at)
			return err
		}
		for _, t := range s {
			if !slices.Equal(t.Shape(), s[0].Shape()) {
				return graphErr("%s of %v and %v", n.Op, s[0], t)
			}
		}
		out[0], err = stack(x, s, at)
		return err
	}
}

// buildSplitToSequence splits into parts of the sizes that input 1 lists, or of one size; without
// it, at every position.
func buildSplitToSequence(n *Node) Kernel {
	at, keep := n.int("axis", 0), n.int("keepdims", 1) != 0
	return func(x *Context, in, out []*tensor.Tensor) error {
		t, split := in[0], input(in, 1)
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		total := t.Dim(a)
		sizes := []int{1}
		if split != nil {
			if sizes, err = intsOf(split); err != nil {
				return err
			}
		}
		if split == nil || split.Rank() == 0 {
			size := sizes[0]
			if size < 1 {
				return graphErr("%s of %v into parts of %d", n.Op, t, size)
			}
			sizes = nil
			for from := 0; from < total; from += size {
				sizes = append(sizes, min(size, total-from))
			}
		}
		var parts []*tensor.Tensor
		from := 0
		for _, size := range sizes {
			if size < 0 || size > total-from {
				return graphErr("%s of %v into %v", n.Op, t, sizes)
			}
			shape := clone(t.Shape())
			shape[a] = size
			strides := stridesOf(t.Shape())
			part, err := strided(x, t, shape, strides, from*strides[a])
			if err != nil {
				return err
			}
			if split == nil && !keep {
				if part, err = reshaped(part, slices.Delete(shape, a, a+1)); err != nil {
					return err
				}
			}
			parts = append(parts, part)
			from += size
		}
		if from != total {
			return graphErr("%s of %v into %v", n.Op, t, sizes)
		}
		out[0], err = makeSequence(parts)
		return err
	}
}

// An optional value is the value itself, or one whose storage is absent.

func buildOptional(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if out[0] = input(in[:n.Inputs], 0); out[0] == nil {
			out[0], err = tensor.NewStored(tensor.Uint8, []int{0}, absent{})
		}
		return err
	}
}

func isAbsent(t *tensor.Tensor) bool {
	_, ok := t.Storage().(absent)
	return ok
}

func buildOptionalHasElement(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := input(in[:n.Inputs], 0)
		out[0] = tensor.Scalar(t != nil && !isAbsent(t))
		return nil
	}
}

func buildOptionalGetElement(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		if isAbsent(in[0]) {
			return graphErr("the optional value is not there")
		}
		out[0] = in[0]
		return nil
	}
}
