package ops

import (
	"github.com/crossattn/xpipe/tensor"
)

// indices reads indices into a dimension of size n; negative ones count from the end.
func indices(t *tensor.Tensor, n int) ([]int, error) {
	list, err := intsOf(t)
	if err != nil {
		return nil, err
	}
	for i, v := range list {
		if v < -n || v >= n {
			return nil, graphErr("index %d into a dimension of %d", v, n)
		}
		if v < 0 {
			list[i] = v + n
		}
	}
	return list, nil
}

func buildGather(n *Node) Kernel { return gatherAt(n.int("axis", 0)) }

// gatherAt copies the slices along an axis that indices name.
func gatherAt(at int) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		index, err := indices(in[1], t.Dim(a))
		if err != nil {
			return err
		}
		shape := append(append(clone(t.Shape()[:a]), in[1].Shape()...), t.Shape()[a+1:]...)
		r, err := x.Alloc(t.DType(), shape)
		out[0] = r
		if err != nil || r.Len() == 0 {
			return err
		}
		dst, src := raw(r), raw(t)
		chunk := prod(t.Shape()[a+1:]) * t.DType().Size()
		pitch := t.Dim(a) * chunk
		return x.Parallel(r.Len()*t.DType().Size()/chunk, max(1, minWork/chunk), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				from := i/len(index)*pitch + index[i%len(index)]*chunk
				copy(dst[i*chunk:(i+1)*chunk], src[from:from+chunk])
			}
		})
	}
}

// elementIndex yields, for each element of an index tensor used along axis a, its offset in a
// tensor of the shape.
func elementIndex(index *tensor.Tensor, shape []int, a int) ([]int, error) {
	is := index.Shape()
	if len(is) != len(shape) {
		return nil, graphErr("indices %v into %v", index, shape)
	}
	for i := range is {
		if i != a && is[i] > shape[i] {
			return nil, graphErr("indices %v into %v", index, shape)
		}
	}
	list, err := indices(index, shape[a])
	if err != nil || len(list) == 0 {
		return nil, err
	}
	steps := stridesOf(shape)
	along := steps[a]
	steps[a] = 0
	at, pos := 0, make([]int, len(is))
	for i, v := range list {
		list[i] = at + v*along
		at = advance(pos, is, steps, at)
	}
	return list, nil
}

func buildGatherElements(n *Node) Kernel {
	at := n.int("axis", 0)
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		from, err := elementIndex(in[1], t.Shape(), a)
		if err != nil {
			return err
		}
		out[0], err = pick(x, t, from, in[1].Shape())
		return err
	}
}

// pick copies single elements.
func pick(x *Context, t *tensor.Tensor, from, shape []int) (*tensor.Tensor, error) {
	r, err := x.Alloc(t.DType(), shape)
	if err != nil {
		return nil, err
	}
	switch t.DType().Size() {
	case 8:
		pickWords(bits[uint64](r), bits[uint64](t), from)
	case 4:
		pickWords(bits[uint32](r), bits[uint32](t), from)
	case 2:
		pickWords(bits[uint16](r), bits[uint16](t), from)
	default:
		pickWords(bits[uint8](r), bits[uint8](t), from)
	}
	return r, nil
}

func pickWords[W word](dst, src []W, from []int) {
	for i, f := range from {
		dst[i] = src[f]
	}
}

// ndIndex reads indices whose last dimension names positions in the dimensions of shape after the
// first batch ones. It returns the offset of each, and the number of elements each stands for.
func ndIndex(index *tensor.Tensor, shape []int, batch int) (offsets []int, chunk int, err error) {
	is := index.Shape()
	if len(is) < 1 || batch >= len(is) || batch >= len(shape) {
		return nil, 0, graphErr("indices %v into %v", index, shape)
	}
	k := is[len(is)-1]
	if k < 1 || batch+k > len(shape) {
		return nil, 0, graphErr("indices %v into %v", index, shape)
	}
	for i := range batch {
		if is[i] != shape[i] {
			return nil, 0, graphErr("indices %v into %v", index, shape)
		}
	}
	list, err := intsOf(index)
	if err != nil {
		return nil, 0, err
	}
	steps := stridesOf(shape)
	count := prod(is[:len(is)-1])
	offsets = make([]int, count)
	perBatch := 1
	if b := prod(is[:batch]); b > 0 {
		perBatch = max(1, count/b)
	}
	batchStep := prod(shape[batch:])
	for i := range offsets {
		at := 0
		if batch > 0 {
			at = i / perBatch * batchStep
		}
		for j := range k {
			v, d := list[i*k+j], shape[batch+j]
			if v < -d || v >= d {
				return nil, 0, graphErr("index %d into a dimension of %d", v, d)
			}
			if v < 0 {
				v += d
			}
			at += v * steps[batch+j]
		}
		offsets[i] = at
	}
	return offsets, prod(shape[batch+k:]), nil
}

func buildGatherND(n *Node) Kernel {
	batch := n.int("batch_dims", 0)
	if batch < 0 {
		n.fail("batch_dims is %d", batch)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		t, is := in[0], in[1].Shape()
		from, chunk, err := ndIndex(in[1], t.Shape(), batch)
		if err != nil {
			return err
		}
		shape := append(clone(is[:len(is)-1]), t.Shape()[batch+is[len(is)-1]:]...)
		r, err := x.Alloc(t.DType(), shape)
		out[0] = r
		if err != nil || r.Len() == 0 {
			return err
		}
		size := t.DType().Size()
		dst, src := raw(r), raw(t)
		for i, f := range from {
			copy(dst[i*chunk*size:(i+1)*chunk*size], src[f*size:(f+chunk)*size])
		}
		return nil
	}
}

// scatterReduction says how to combine scattered elements with those already there.
func scatterReduction(n *Node) string {
	r := n.str("reduction", "none")
	n.oneOf("reduction", r, "none", "add", "mul", "max", "min")
	return r
}

func buildScatterND(n *Node) Kernel {
	kind := scatterReduction(n)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t, index, updates := in[0], in[1], in[2]
		to, chunk, err := ndIndex(index, t.Shape(), 0)
		if err != nil {
			return err
		}
		if updates.DType() != t.DType() || updates.Len() != len(to)*chunk {
			return graphErr("ScatterND of %v at %v into %v", updates, index, t)
		}
		out[0], err = scatter(x, t, updates, to, chunk, kind)
		return err
	})
}

func buildScatterElements(n *Node) Kernel {
	at, kind := n.int("axis", 0), scatterReduction(n)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t, index, updates := in[0], in[1], in[2]
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		to, err := elementIndex(index, t.Shape(), a)
		if err != nil {
			return err
		}
		if updates.DType() != t.DType() || updates.Len() != len(to) {
			return graphErr("ScatterElements of %v at %v into %v", updates, index, t)
		}
		out[0], err = scatter(x, t, updates, to, 1, kind)
		return err
	})
}

// scatter copies t and writes each chunk of updates to its offset.
func scatter(x *Context, t, updates *tensor.Tensor, to []int, chunk int,
	kind string) (*tensor.Tensor, error) {
	r, err := x.Alloc(t.DType(), t.Shape())
	if err != nil {
		return nil, err
	}
	dst, src := raw(r), raw(updates)
	copy(dst, raw(t))
	if kind == "none" {
		size := t.DType().Size()
		for i, at := range to {
			copy(dst[at*size:(at+chunk)*size], src[i*chunk*size:(i+1)*chunk*size])
		}
		return r, nil
	}
	switch t.DType() {
	case tensor.Float32:
		combine(tensor.Data[float32](r), tensor.Data[float32](updates), to, chunk, kind)
	case tensor.Float64:
		combine(tensor.Data[float64](r), tensor.Data[float64](updates), to, chunk, kind)
	case tensor.Int64:
		combine(tensor.Data[int64](r), tensor.Data[int64](updates), to, chunk, kind)
	case tensor.Int32:
		combine(tensor.Data[int32](r), tensor.Data[int32](updates), to, chunk, kind)
	case tensor.Int8:
		combine(tensor.Data[int8](r), tensor.Data[int8](updates), to, chunk, kind)
	case tensor.Uint8:
		combine(tensor.Data[uint8](r), tensor.Data[uint8](updates), to, chunk, kind)
	default:
		return nil, typeErr("a scatter with reduction", t)
	}
	return r, nil
}

func combine[T number](dst, src []T, to []int, chunk int, kind string) {
	for i, at := range to {
		for j := range chunk {
			d, v := &dst[at+j], src[i*chunk+j]
			switch kind {
			case "add":
				*d += v
			case "mul":
				*d *= v
			case "max":
				*d = max(*d, v)
			case "min":
				*d = min(*d, v)
			}
		}
	}
}

// buildNonZero lists the positions of elements that are not zero, a row for each dimension.
func buildNonZero(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		flags, err := cast(x, t, tensor.Bool)
		if err != nil {
			return err
		}
		var at []int
		for i, v := range tensor.Data[bool](flags) {
			if v {
				at = append(at, i)
			}
		}
		r, d, err := alloc[int64](x, []int{t.Rank(), len(at)})
		if err != nil {
			return err
		}
		for i, p := range at {
			for k := t.Rank() - 1; k >= 0; k-- {
				d[k*len(at)+i] = int64(p % t.Dim(k))
				p /= t.Dim(k)
			}
		}
		out[0] = r
		return nil
	}
}

func buildCompress(n *Node) Kernel {
	at, given := n.int("axis", 0), n.has("axis")
	return func(x *Context, in, out []*tensor.Tensor) error {
		t, err := in[0], error(nil)
		if !given {
			if t, err = reshaped(t, []int{t.Len()}); err != nil {
				return err
			}
		}
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		keep, err := tensor.Values[bool](in[1])
		if err != nil || len(keep) > t.Dim(a) {
			return graphErr("Compress of %v by %v", t, in[1])
		}
		var list []int64
		for i, k := range keep {
			if k {
				list = append(list, int64(i))
			}
		}
		index := tensor.Must(tensor.New([]int{len(list)}, append([]int64{}, list...)))
		return gatherAt(a)(x, []*tensor.Tensor{t, index}, out)
	}
}
