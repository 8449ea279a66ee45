package ops

import (
	"math"
	"strings"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// buildCast converts element types. Float to integer drops the fraction; integers wrap; bool is
// whether a value is not zero.
func buildCast(n *Node) Kernel {
	to := n.int("to", 0)
	dtype := onnx.DType(int32(to))
	if dtype == tensor.Invalid {
		n.fail("%s", onnx.NotRun(strings.ToLower(onnx.TypeName(int32(to)))))
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		out[0], err = cast(x, in[0], dtype)
		return err
	}
}

func buildCastLike(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		out[0], err = cast(x, in[0], in[1].DType())
		return err
	}
}

// cast converts t; it returns t itself if the type is right already.
func cast(x *Context, t *tensor.Tensor, to tensor.DType) (*tensor.Tensor, error) {
	if t.DType() == to {
		return t, nil
	}
	switch t.DType() {
	case tensor.Float32:
		return castFloat[float32](x, t, to)
	case tensor.Float64:
		return castFloat[float64](x, t, to)
	case tensor.Float16, tensor.BFloat16:
		if to == tensor.Float32 {
			return widen(x, t)
		}
		wide, err := widen(x, t)
		if err != nil {
			return nil, err
		}
		return cast(x, wide, to)
	case tensor.Int64:
		return castInt[int64](x, t, to)
	case tensor.Int32:
		return castInt[int32](x, t, to)
	case tensor.Int8:
		return castInt[int8](x, t, to)
	case tensor.Uint8:
		return castInt[uint8](x, t, to)
	}
	bytes, err := unary(x, t, 1, each(func(v bool) uint8 {
		if v {
			return 1
		}
		return 0
	}))
	if err != nil {
		return nil, err
	}
	return cast(x, bytes, to)
}

// toInt64 drops the fraction. NaN and numbers that an int64 cannot hold become its least value, as
// on x86 processors.
func toInt64[T float](v T) int64 {
	if v >= -(1<<63) && v < 1<<63 {
		return int64(v)
	}
	return math.MinInt64
}

func castFloat[T float](x *Context, t *tensor.Tensor, to tensor.DType) (*tensor.Tensor, error) {
	switch to {
	case tensor.Float32:
		return unary(x, t, 1, each(func(v T) float32 { return float32(v) }))
	case tensor.Float64:
		return unary(x, t, 1, each(func(v T) float64 { return float64(v) }))
	case tensor.Float16, tensor.BFloat16:
		single, err := cast(x, t, tensor.Float32)
		if err != nil {
			return nil, err
		}
		return narrow(x, single, to)
	case tensor.Int64:
		return unary(x, t, 1, each(toInt64[T]))
	case tensor.Int32:
		return unary(x, t, 1, each(func(v T) int32 { return int32(toInt64(v)) }))
	case tensor.Int8:
		return unary(x, t, 1, each(func(v T) int8 { return int8(toInt64(v)) }))
	case tensor.Uint8:
		return unary(x, t, 1, each(func(v T) uint8 { return uint8(toInt64(v)) }))
	case tensor.Bool:
		return unary(x, t, 1, each(func(v T) bool { return v != 0 }))
	}
	return nil, graphErr("a cast from %v to %v is not supported", t.DType(), to)
}

func castInt[T integer](x *Context, t *tensor.Tensor, to tensor.DType) (*tensor.Tensor, error) {
	switch to {
	case tensor.Float32:
		return unary(x, t, 1, each(func(v T) float32 { return float32(v) }))
	case tensor.Float64:
		return unary(x, t, 1, each(func(v T) float64 { return float64(v) }))
	case tensor.Float16:
		return unary(x, t, 1, each(func(v T) tensor.Half { return tensor.ToHalf(float32(v)) }))
	case tensor.BFloat16:
		return unary(x, t, 1, each(func(v T) tensor.BF16 { return tensor.ToBF16(float32(v)) }))
	case tensor.Int64:
		return unary(x, t, 1, each(func(v T) int64 { return int64(v) }))
	case tensor.Int32:
		return unary(x, t, 1, each(func(v T) int32 { return int32(v) }))
	case tensor.Int8:
		return unary(x, t, 1, each(func(v T) int8 { return int8(v) }))
	case tensor.Uint8:
		return unary(x, t, 1, each(func(v T) uint8 { return uint8(v) }))
	case tensor.Bool:
		return unary(x, t, 1, each(func(v T) bool { return v != 0 }))
	}
	return nil, graphErr("a cast from %v to %v is not supported", t.DType(), to)
}
