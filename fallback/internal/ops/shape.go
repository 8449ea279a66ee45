package ops

import (
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// reshaped returns t under another shape of the same size.
func reshaped(t *tensor.Tensor, shape []int) (*tensor.Tensor, error) {
	if _, err := checkShape(shape); err != nil {
		return nil, err
	}
	r, err := t.Reshape(shape...)
	if err != nil {
		return nil, graphErr("%v", err)
	}
	return r, nil
}

func buildShape(n *Node) Kernel {
	start, end := n.int("start", 0), n.int("end", 1<<30)
	return func(x *Context, in, out []*tensor.Tensor) error {
		shape := in[0].Shape()
		lo, hi := clampIndex(start, len(shape)), clampIndex(end, len(shape))
		t, d, err := alloc[int64](x, []int{max(0, hi-lo)})
		for i := range d {
			d[i] = int64(shape[lo+i])
		}
		out[0] = t
		return err
	}
}

// clampIndex brings an index that may count from the end into [0,n].
func clampIndex(i, n int) int {
	if i < 0 {
		i += n
	}
	return min(max(i, 0), n)
}

func buildSize(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		out[0] = tensor.Scalar(int64(in[0].Len()))
		return nil
	}
}

func buildReshape(n *Node) Kernel {
	allowZero := n.int("allowzero", 0) == 1
	return func(x *Context, in, out []*tensor.Tensor) error {
		want, err := intsOf(in[1])
		if err != nil {
			return err
		}
		shape, err := reshapeTo(in[0].Shape(), want, allowZero)
		if err != nil {
			return err
		}
		out[0], err = reshaped(in[0], shape)
		return err
	}
}

// reshapeTo resolves a wanted shape: 0 stands for the input's dimension, unless allowZero, and -1
// for what is left.
func reshapeTo(from, want []int, allowZero bool) ([]int, error) {
	shape := clone(want)
	infer, known := -1, 1
	for i, d := range shape {
		switch {
		case d == 0 && !allowZero:
			if i >= len(from) {
				return nil, graphErr("Reshape of %v to %v", from, want)
			}
			shape[i] = from[i]
		case d == -1 && infer < 0:
			infer = i
			continue
		case d < 0:
			return nil, graphErr("Reshape of %v to %v", from, want)
		}
	}
	if infer < 0 {
		return shape, nil
	}
	shape[infer] = 1
	known, err := checkShape(shape)
	if err != nil {
		return nil, err
	}
	total := prod(from)
	if known == 0 {
		if total != 0 {
			return nil, graphErr("Reshape of %v to %v", from, want)
		}
		shape[infer] = 0
		return shape, nil
	}
	if total%known != 0 {
		return nil, graphErr("Reshape of %v to %v", from, want)
	}
	shape[infer] = total / known
	return shape, nil
}

func buildFlatten(n *Node) Kernel {
	at := n.int("axis", 1)
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		shape := in[0].Shape()
		a := at
		if a < 0 {
			a += len(shape)
		}
		if a < 0 || a > len(shape) {
			return graphErr("Flatten of %v at axis %d", in[0], at)
		}
		out[0], err = reshaped(in[0], []int{prod(shape[:a]), prod(shape[a:])})
		return err
	}
}

// axesArg reads axes from input i or, in versions before they became an input, from the attribute.
// given is false if there are none.
func axesArg(in []*tensor.Tensor, i int, attr []int) (list []int, given bool, err error) {
	if t := input(in, i); t != nil {
		list, err = intsOf(t)
		return list, true, err
	}
	return attr, attr != nil, nil
}

func buildSqueeze(n *Node) Kernel {
	attr := n.ints("axes")
	return func(x *Context, in, out []*tensor.Tensor) error {
		shape := in[0].Shape()
		list, given, err := axesArg(in, 1, attr)
		if err != nil {
			return err
		}
		drop := make([]bool, len(shape))
		if !given {
			for i, d := range shape {
				drop[i] = d == 1
			}
		}
		for _, a := range list {
			if a, err = axis(a, len(shape)); err != nil {
				return err
			}
			if shape[a] != 1 {
				return graphErr("Squeeze of axis %d of %v", a, in[0])
			}
			drop[a] = true
		}
		var to []int
		for i, d := range shape {
			if !drop[i] {
				to = append(to, d)
			}
		}
		out[0], err = reshaped(in[0], to)
		return err
	}
}

func buildUnsqueeze(n *Node) Kernel {
	attr := n.ints("axes")
	return func(x *Context, in, out []*tensor.Tensor) error {
		list, _, err := axesArg(in, 1, attr)
		if err != nil {
			return err
		}
		shape := in[0].Shape()
		rank := len(shape) + len(list)
		if rank > maxRank {
			return graphErr("Unsqueeze of %v to %d dimensions", in[0], rank)
		}
		if list, err = axes(list, rank); err != nil {
			return err
		}
		to := make([]int, rank)
		for _, a := range list {
			to[a] = 1
		}
		i := 0
		for j := range to {
			if to[j] == 0 {
				if to[j] = shape[i]; to[j] == 0 {
					to[j] = -1 // a true 0, told from "not set"
				}
				i++
			}
		}
		for j := range to {
			to[j] = max(to[j], 0)
		}
		out[0], err = reshaped(in[0], to)
		return err
	}
}

func buildExpand(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		want, err := intsOf(in[1])
		if err != nil {
			return err
		}
		if _, err := checkShape(want); err != nil {
			return err
		}
		shape, err := broadcastShape(in[0].Shape(), want)
		if err != nil {
			return err
		}
		if prod(shape) == in[0].Len() {
			out[0], err = reshaped(in[0], shape)
			return err
		}
		out[0], err = spreadTo(x, in[0], shape)
		return err
	}
}

// spreadTo copies t broadcast to shape.
func spreadTo(x *Context, t *tensor.Tensor, shape []int) (*tensor.Tensor, error) {
	r, err := x.Alloc(t.DType(), shape)
	if err != nil || r.Len() == 0 {
		return r, err
	}
	s := newSpread(shape, t.Shape())
	switch t.DType().Size() {
	case 8:
		err = expand(x, s, bits[uint64](r), bits[uint64](t))
	case 4:
		err = expand(x, s, bits[uint32](r), bits[uint32](t))
	case 2:
		err = expand(x, s, bits[uint16](r), bits[uint16](t))
	default:
		err = expand(x, s, bits[uint8](r), bits[uint8](t))
	}
	return r, err
}

func expand[T word](x *Context, s *spread, dst, src []T) error {
	return x.Parallel(len(dst)/s.inner, max(1, minWork/s.inner), func(lo, hi int) {
		s.walk(lo, hi, func(r int, offs []int) {
			row := dst[r*s.inner : (r+1)*s.inner]
			if s.step[0] == 1 {
				copy(row, src[offs[0]:])
				return
			}
			v := src[offs[0]]
			for i := range row {
				row[i] = v
			}
		})
	})
}

func buildConstant(n *Node) Kernel {
	var t *tensor.Tensor
	switch {
	case n.has("value"):
		t = n.tensor("value")
	case n.has("value_float"):
		t = tensor.Scalar(n.float("value_float", 0))
	case n.has("value_int"):
		v, _ := attribute[int64](n, "value_int")
		t = tensor.Scalar(v)
	case n.has("value_floats"):
		v, _ := attribute[[]float32](n, "value_floats")
		t, _ = tensor.New([]int{len(v)}, v)
	case n.has("value_ints"):
		v, _ := attribute[[]int64](n, "value_ints")
		t, _ = tensor.New([]int{len(v)}, v)
	case n.has("value_string"), n.has("value_strings"):
		n.fail("%s", onnx.NotRun("string"))
	default:
		n.fail("this kind of Constant is not supported")
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		out[0] = t
		return nil
	}
}

func buildConstantOfShape(n *Node) Kernel {
	value := tensor.Scalar(float32(0))
	if v := n.tensor("value"); v != nil {
		value = v
		if v.Len() != 1 {
			n.fail("the value of ConstantOfShape is %v", v)
		}
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		shape, err := intsOf(in[0])
		if err != nil {
			return err
		}
		if _, err := checkShape(shape); err != nil {
			return err
		}
		one, err := reshaped(value, []int{})
		if err != nil {
			return err
		}
		out[0], err = spreadTo(x, one, shape)
		return err
	}
}

func buildRange(n *Node) Kernel {
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		for _, t := range in {
			if t.Len() != 1 || t.DType() != in[0].DType() {
				return graphErr("Range of %v, %v and %v", in[0], in[1], in[2])
			}
		}
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = rangeOf[float32](x, in)
		case tensor.Float64:
			out[0], err = rangeOf[float64](x, in)
		case tensor.Int64:
			out[0], err = rangeOf[int64](x, in)
		case tensor.Int32:
			out[0], err = rangeOf[int32](x, in)
		default:
			err = typeErr("Range", in[0])
		}
		return err
	})
}

func rangeOf[T number](x *Context, in []*tensor.Tensor) (*tensor.Tensor, error) {
	start, limit := tensor.Data[T](in[0])[0], tensor.Data[T](in[1])[0]
	delta := tensor.Data[T](in[2])[0]
	if delta == 0 {
		return nil, graphErr("Range with a step of 0")
	}
	count := max(0, ceilDiv(float64(limit)-float64(start), float64(delta)))
	if !(count < 1<<40) { // NaN too
		return nil, graphErr("Range from %v to %v by %v", start, limit, delta)
	}
	t, d, err := alloc[T](x, []int{int(count)})
	for i := range d {
		d[i] = start + T(i)*delta
	}
	return t, err
}

func buildEyeLike(n *Node) Kernel {
	k := n.int("k", 0)
	to := n.int("dtype", 0)
	return func(x *Context, in, out []*tensor.Tensor) error {
		shape := in[0].Shape()
		if len(shape) != 2 {
			return graphErr("EyeLike of %v", in[0])
		}
		dtype := in[0].DType()
		if to != 0 {
			dtype = onnxType(to)
		}
		eye, d, err := zeros[float32](x, shape)
		if err != nil {
			return err
		}
		for i := range shape[0] {
			if j := i + k; j >= 0 && j < shape[1] {
				d[i*shape[1]+j] = 1
			}
		}
		out[0], err = cast(x, eye, dtype)
		return err
	}
}
