package ops

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// buildUnique finds the different elements, or slices along an axis.
func buildUnique(n *Node) Kernel {
	at, along, sorted := n.int("axis", 0), n.has("axis"), n.int("sorted", 1) != 0
	if n.Outputs < 1 || n.Outputs > 4 {
		n.fail("has %d outputs", n.Outputs)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		var back []int // the transposition from rows along the axis
		var err error
		if along {
			a, err := axis(at, t.Rank())
			if err != nil {
				return err
			}
			perm := []int{a}
			for i := range t.Rank() {
				switch {
				case i < a:
					perm, back = append(perm, i), append(back, i+1)
				case i == a:
					back = append(back, 0)
				default:
					perm, back = append(perm, i), append(back, i)
				}
			}
			if t, err = transpose(x, t, perm); err != nil {
				return err
			}
		} else if t, err = reshaped(t, []int{t.Len()}); err != nil {
			return err
		}
		order, err := compareRows(t)
		if err != nil {
			return err
		}
		rows := t.Dim(0)
		byValue := make([]int, rows)
		for i := range byValue {
			byValue[i] = i
		}
		slices.SortStableFunc(byValue, order)
		var first, counts []int // of each value
		of := make([]int, rows) // the value of each row
		for k, i := range byValue {
			if k == 0 || order(byValue[k-1], i) != 0 {
				first, counts = append(first, i), append(counts, 0)
			}
			of[i] = len(first) - 1
			counts[len(first)-1]++
		}
		places := make([]int, len(first)) // the values in the order of the result
		for i := range places {
			places[i] = i
		}
		if !sorted {
			slices.SortFunc(places, func(a, b int) int { return first[a] - first[b] })
		}
		place := make([]int, len(first))
		for k, v := range places {
			place[v] = k
		}
		shape := clone(t.Shape())
		shape[0] = len(first)
		r, err := x.Alloc(t.DType(), shape)
		if err != nil {
			return err
		}
		size := prod(shape[1:]) * t.DType().Size()
		dst, src := raw(r), raw(t)
		for k, v := range places {
			copy(dst[k*size:(k+1)*size], src[first[v]*size:])
		}
		if out[0] = r; along {
			if out[0], err = transpose(x, r, back); err != nil {
				return err
			}
		}
		lists := []struct {
			n  int
			of func(i int) int
		}{
			{len(first), func(i int) int { return first[places[i]] }},
			{rows, func(i int) int { return place[of[i]] }},
			{len(first), func(i int) int { return counts[places[i]] }},
		}
		for i, list := range lists[:len(out)-1] {
			var d []int64
			if out[1+i], d, err = alloc[int64](x, []int{list.n}); err != nil {
				return err
			}
			for j := range d {
				d[j] = int64(list.of(j))
			}
		}
		return x.Err()
	}
}

// compareRows returns the order of the rows of t, by their first elements that differ.
func compareRows(t *tensor.Tensor) (func(i, j int) int, error) {
	switch t.DType() {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
		return rowOrder(t, t.Float32s()), nil
	case tensor.Float64:
		return rowOrder(t, tensor.Data[float64](t)), nil
	case tensor.Int64:
		return rowOrder(t, tensor.Data[int64](t)), nil
	case tensor.Int32:
		return rowOrder(t, tensor.Data[int32](t)), nil
	case tensor.Int8:
		return rowOrder(t, tensor.Data[int8](t)), nil
	case tensor.Uint8:
		return rowOrder(t, tensor.Data[uint8](t)), nil
	case tensor.Bool:
		return rowOrder(t, bits[uint8](t)), nil
	}
	return nil, typeErr("Unique", t)
}

// rowOrder compares rows of numbers. NaNs are alike, and come last.
func rowOrder[T number](t *tensor.Tensor, v []T) func(i, j int) int {
	size := prod(t.Shape()[1:])
	return func(i, j int) int {
		a, b := v[i*size:(i+1)*size], v[j*size:(j+1)*size]
		for k := range a {
			switch {
			case a[k] < b[k], a[k] == a[k] && b[k] != b[k]:
				return -1
			case a[k] > b[k], a[k] != a[k] && b[k] == b[k]:
				return 1
			}
		}
		return 0
	}
}

// buildReverseSequence turns round the first elements along the time axis, as many as each sequence
// of the batch axis has.
func buildReverseSequence(n *Node) Kernel {
	time, batch := n.int("time_axis", 0), n.int("batch_axis", 1)
	if time != 0 && time != 1 || batch != 1-time {
		n.fail("time_axis %d and batch_axis %d, which must be 0 and 1", time, batch)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if t.Rank() < 2 {
			return graphErr("%s of %v", n.Op, t)
		}
		lengths, err := intsOf(in[1])
		if err != nil {
			return err
		}
		if len(lengths) != t.Dim(batch) {
			return graphErr("%s of %v with lengths %v", n.Op, t, in[1])
		}
		r, err := x.Alloc(t.DType(), t.Shape())
		if err != nil {
			return err
		}
		out[0] = r
		strides := stridesOf(t.Shape())
		size := prod(t.Shape()[2:]) * t.DType().Size()
		dst, src := raw(r), raw(t)
		for b, length := range lengths {
			if length < 0 || length > t.Dim(time) {
				return graphErr("%s of %v by a length of %d", n.Op, t, length)
			}
			for s := range t.Dim(time) {
				from := s
				if s < length {
					from = length - 1 - s
				}
				at := b*strides[batch]*t.DType().Size() + s*strides[time]*t.DType().Size()
				copy(dst[at:at+size], src[at+(from-s)*strides[time]*t.DType().Size():])
			}
		}
		return x.Err()
	}
}

// buildLpNormalization divides by the norm along an axis; zeros stay zeros.
func buildLpNormalization(n *Node) Kernel {
	at, p := n.int("axis", -1), n.int("p", 2)
	if p != 1 && p != 2 {
		n.fail("attribute \"p\" is %d, of which only 1 and 2 are supported", p)
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		a, err := axis(at, in[0].Rank())
		if err != nil {
			return err
		}
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = lpNormalized[float32](x, in[0], a, p)
		case tensor.Float64:
			out[0], err = lpNormalized[float64](x, in[0], a, p)
		default:
			err = typeErr(n.Op, in[0])
		}
		return err
	})
}

func lpNormalized[T float](x *Context, t *tensor.Tensor, at, p int) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	src := tensor.Data[T](t)
	count, inner := t.Dim(at), prod(t.Shape()[at+1:])
	return r, x.Parallel(len(dst)/count, max(1, minWork/count), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			first := i/inner*count*inner + i%inner
			var norm float64
			for k := range count {
				v := float64(src[first+k*inner])
				if p == 1 {
					norm += math.Abs(v)
				} else {
					norm += v * v
				}
			}
			if p == 2 {
				norm = math.Sqrt(norm)
			}
			if norm == 0 {
				norm = 1
			}
			for k := range count {
				dst[first+k*inner] = T(float64(src[first+k*inner]) / norm)
			}
		}
	})
}
