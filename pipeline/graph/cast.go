package graph

import "github.com/crossattn/xpipe/tensor"

// Files of one model in several variants differ in the types of their inputs and outputs: float16
// files may take and give float16, or float32 with float16 in the cache alone.

// Cast returns t with elements of type dtype, which an input of a graph declares: another type of
// floats for floats, of integers for integers. Other tensors, and those of that type already, are
// returned unchanged.
func Cast(t *tensor.Tensor, dtype tensor.DType) *tensor.Tensor {
	if t.DType() == dtype {
		return t
	}
	switch {
	case isFloat(t.DType()) && dtype == tensor.Float32:
		return AsFloat32(t)
	case isFloat(t.DType()) && dtype == tensor.Float16:
		return castTo(t, t.Float32s(), tensor.ToHalf)
	case isFloat(t.DType()) && dtype == tensor.BFloat16:
		return castTo(t, t.Float32s(), tensor.ToBF16)
	case t.DType() == tensor.Int64 && dtype == tensor.Int32:
		return castTo(t, tensor.Data[int64](t), func(v int64) int32 { return int32(v) })
	case t.DType() == tensor.Int64 && dtype == tensor.Bool:
		return castTo(t, tensor.Data[int64](t), func(v int64) bool { return v != 0 })
	case t.DType() == tensor.Bool && dtype == tensor.Int64:
		return castTo(t, tensor.Data[bool](t), func(v bool) int64 {
			if v {
				return 1
			}
			return 0
		})
	}
	return t
}

// AsFloat32 returns t with float32 elements where it has floats of another type.
func AsFloat32(t *tensor.Tensor) *tensor.Tensor {
	if t.DType() == tensor.Float32 || !isFloat(t.DType()) {
		return t
	}
	return tensor.Must(tensor.New(t.Shape(), t.Float32s()))
}

func isFloat(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16 || d == tensor.Float64
}

func castTo[From, To tensor.Element](
	t *tensor.Tensor, from []From, f func(From) To,
) *tensor.Tensor {
	to := make([]To, len(from))
	for i, v := range from {
		to[i] = f(v)
	}
	return tensor.Must(tensor.New(t.Shape(), to))
}
