package ops

import "github.com/crossattn/xpipe/tensor"

// floats returns an attribute that lists floats; nil where it is not given.
func (n *Node) floats(name string) []float32 {
	v, _ := attribute[[]float32](n, name)
	return v
}

// doubles returns an attribute that holds a tensor of numbers as float64; nil where it is not given.
func (n *Node) doubles(name string) []float64 {
	if !n.has(name) {
		return nil
	}
	t := n.tensor(name)
	if t == nil {
		return nil
	}
	v := make([]float64, t.Len())
	for i := range v {
		switch t.DType() {
		case tensor.Float32:
			v[i] = float64(tensor.Data[float32](t)[i])
		case tensor.Float64:
			v[i] = tensor.Data[float64](t)[i]
		case tensor.Float16:
			v[i] = float64(tensor.Data[tensor.Half](t)[i].Float32())
		case tensor.Uint8:
			v[i] = float64(tensor.Data[uint8](t)[i])
		default:
			n.fail("attribute %q is of type %v", name, t.DType())
			return nil
		}
	}
	return v
}

// buildScaler computes (x - offset) * scale, where both are one for all features or one each, and
// features are the last dimension. The result is float32 whatever the input is.
func buildScaler(n *Node) Kernel {
	offset, scale := n.floats("offset"), n.floats("scale")
	if len(offset) == 0 || len(offset) != len(scale) {
		n.fail("has %d offsets and %d scales", len(offset), len(scale))
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		t := in[0]
		switch t.DType() {
		case tensor.Float64:
			out[0], err = scaled[float64](x, t, offset, scale)
		case tensor.Float32:
			out[0], err = scaled[float32](x, t, offset, scale)
		case tensor.Int32, tensor.Int64:
			if t, err = cast(x, t, tensor.Float32); err == nil {
				out[0], err = scaled[float32](x, t, offset, scale)
			}
		default:
			err = typeErr(n.Op, t)
		}
		return err
	}
}

func scaled[T float](x *Context, t *tensor.Tensor, offset, scale []float32) (*tensor.Tensor, error) {
	if len(offset) > 1 && (t.Rank() == 0 || t.Dim(t.Rank()-1) != len(offset)) {
		return nil, graphErr("%d offsets for the features of %v", len(offset), t)
	}
	r, dst, err := alloc[float32](x, t.Shape())
	if err != nil {
		return nil, err
	}
	src := tensor.Data[T](t)
	return r, x.Parallel(len(dst), minWork, func(lo, hi int) {
		j := lo % len(offset)
		for i := lo; i < hi; i++ {
			dst[i] = float32((src[i] - T(offset[j])) * T(scale[j]))
			if j++; j == len(offset) {
				j = 0
			}
		}
	})
}
