package ops

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

type number interface {
	float32 | float64 | int64 | int32 | int8 | uint8
}

type float interface {
	float32 | float64
}

type integer interface {
	int64 | int32 | int8 | uint8
}

// arithmetic holds one operator's row function for each element type, nil for types it does not
// take.
type arithmetic struct {
	f32 rowFunc[float32, float32]
	f64 rowFunc[float64, float64]
	i64 rowFunc[int64, int64]
	i32 rowFunc[int32, int32]
	i8  rowFunc[int8, int8]
	u8  rowFunc[uint8, uint8]
}

func (o arithmetic) apply(op string, x *Context, a, b *tensor.Tensor) (*tensor.Tensor, error) {
	if a.DType() != b.DType() {
		return nil, graphErr("%s of %v and %v", op, a.DType(), b.DType())
	}
	switch a.DType() {
	case tensor.Float32:
		if o.f32 != nil {
			return binary(x, a, b, o.f32)
		}
	case tensor.Float64:
		if o.f64 != nil {
			return binary(x, a, b, o.f64)
		}
	case tensor.Int64:
		if o.i64 != nil {
			return binary(x, a, b, o.i64)
		}
	case tensor.Int32:
		if o.i32 != nil {
			return binary(x, a, b, o.i32)
		}
	case tensor.Int8:
		if o.i8 != nil {
			return binary(x, a, b, o.i8)
		}
	case tensor.Uint8:
		if o.u8 != nil {
			return binary(x, a, b, o.u8)
		}
	}
	return nil, typeErr(op, a)
}

// binaryOp builds an operator of two inputs.
func binaryOp(o arithmetic) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
			out[0], err = o.apply(n.Op, x, in[0], in[1])
			return err
		})
	}
}

// foldOp builds an operator of any number of inputs, taken from the left.
func foldOp(o arithmetic, mean bool) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
			acc := in[0]
			for _, t := range in[1:] {
				if t == nil {
					return graphErr("an input is left out")
				}
				if acc, err = o.apply(n.Op, x, acc, t); err != nil {
					return err
				}
			}
			if mean {
				count, err := cast(x, tensor.Scalar(float32(len(in))), acc.DType())
				if err != nil {
					return err
				}
				if acc, err = divide.apply(n.Op, x, acc, count); err != nil {
					return err
				}
			}
			out[0] = acc
			return nil
		})
	}
}

func addOf[T number](a, b T) T { return a + b }
func subOf[T number](a, b T) T { return a - b }
func mulOf[T number](a, b T) T { return a * b }

// divOf rounds towards zero. Division by zero, which the specification leaves open, gives 0.
func divOf[T integer](a, b T) T {
	if b == 0 {
		return 0
	}
	return a / b
}

// modFloor has the sign of the divisor, as Python's %; by zero it gives 0.
func modFloor[T integer](a, b T) T {
	if b == 0 {
		return 0
	}
	m := a % b
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

// modTrunc has the sign of the dividend, as C's fmod; by zero it gives 0.
func modTrunc[T integer](a, b T) T {
	if b == 0 {
		return 0
	}
	return a % b
}

func fmod(a, b float32) float32 { return float32(math.Mod(float64(a), float64(b))) }

func divFloat(a, b float64) float64 { return a / b }

// The larger and the smaller; NaN if either is.
func maxNum[T number](a, b T) T { return max(a, b) }
func minNum[T number](a, b T) T { return min(a, b) }

var (
	add = arithmetic{kernel.Add, rowOf(addOf[float64]), rowOf(addOf[int64]), rowOf(addOf[int32]),
		rowOf(addOf[int8]), rowOf(addOf[uint8])}
	subtract = arithmetic{kernel.Sub, rowOf(subOf[float64]), rowOf(subOf[int64]), rowOf(subOf[int32]),
		rowOf(subOf[int8]), rowOf(subOf[uint8])}
	multiply = arithmetic{kernel.Mul, rowOf(mulOf[float64]), rowOf(mulOf[int64]), rowOf(mulOf[int32]),
		rowOf(mulOf[int8]), rowOf(mulOf[uint8])}
	divide = arithmetic{kernel.Div, rowOf(divFloat), rowOf(divOf[int64]), rowOf(divOf[int32]),
		rowOf(divOf[int8]), rowOf(divOf[uint8])}
	maximum = arithmetic{rowOf(maxNum[float32]), rowOf(maxNum[float64]), rowOf(maxNum[int64]),
		rowOf(maxNum[int32]), rowOf(maxNum[int8]), rowOf(maxNum[uint8])}
	minimum = arithmetic{rowOf(minNum[float32]), rowOf(minNum[float64]), rowOf(minNum[int64]),
		rowOf(minNum[int32]), rowOf(minNum[int8]), rowOf(minNum[uint8])}
	modulo = arithmetic{nil, nil, rowOf(modFloor[int64]), rowOf(modFloor[int32]),
		rowOf(modFloor[int8]), rowOf(modFloor[uint8])}
	fmodulo = arithmetic{rowOf(fmod), rowOf(math.Mod), rowOf(modTrunc[int64]), rowOf(modTrunc[int32]),
		rowOf(modTrunc[int8]), rowOf(modTrunc[uint8])}
	prelu = arithmetic{rowOf(preluOf[float32]), rowOf(preluOf[float64]), rowOf(preluOf[int64]),
		rowOf(preluOf[int32]), nil, nil}
)

func preluOf[T number](a, slope T) T {
	if a < 0 {
		return a * slope
	}
	return a
}

func buildMod(n *Node) Kernel {
	if n.int("fmod", 0) == 1 {
		return binaryOp(fmodulo)(n)
	}
	return binaryOp(modulo)(n)
}

// buildPow takes an exponent of another type than the base; the result has the base's.
func buildPow(n *Node) Kernel {
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		base, exp := in[0], in[1]
		if base.DType() == tensor.Float32 {
			e := exp
			if exp.DType() != tensor.Float32 {
				if e, err = cast(x, exp, tensor.Float32); err != nil {
					return err
				}
			}
			out[0], err = binary(x, base, e, powRow)
			return err
		}
		switch base.DType() {
		case tensor.Float64:
			if exp, err = cast(x, exp, tensor.Float64); err != nil {
				return err
			}
			out[0], err = binary(x, base, exp, rowOf(math.Pow))
		case tensor.Int64:
			out[0], err = powInt[int64](x, base, exp)
		case tensor.Int32:
			out[0], err = powInt[int32](x, base, exp)
		default:
			err = typeErr("Pow", base)
		}
		return err
	})
}

func powRow(dst, a, b []float32) {
	if len(b) == 1 && len(a) == len(dst) {
		switch b[0] {
		case 2:
			kernel.Mul(dst, a, a)
			return
		case 3:
			for i, v := range a {
				dst[i] = v * v * v
			}
			return
		case 0.5:
			for i, v := range a {
				dst[i] = float32(math.Sqrt(float64(v)))
			}
			return
		}
	}
	powAny(dst, a, b)
}

var powAny = rowOf(func(a, b float32) float32 { return float32(math.Pow(float64(a), float64(b))) })

func powInt[T int64 | int32](x *Context, base, exp *tensor.Tensor) (*tensor.Tensor, error) {
	e := exp
	if exp.DType() != base.DType() {
		if exp.DType() == tensor.Float32 || exp.DType() == tensor.Float64 { // fractions matter
			return powIntFloat(x, base, exp)
		}
		var err error
		if e, err = cast(x, exp, base.DType()); err != nil {
			return nil, err
		}
	}
	return binary(x, base, e, rowOf(func(a, b T) T { return T(math.Pow(float64(a), float64(b))) }))
}

func powIntFloat(x *Context, base, exp *tensor.Tensor) (*tensor.Tensor, error) {
	wide, err := cast(x, base, tensor.Float64)
	if err != nil {
		return nil, err
	}
	if exp, err = cast(x, exp, tensor.Float64); err != nil {
		return nil, err
	}
	p, err := binary(x, wide, exp, rowOf(math.Pow))
	if err != nil {
		return nil, err
	}
	return cast(x, p, base.DType())
}

// compare builds Equal, Less and the other comparisons for every element type.
func compareOp(f32 func(a, b float32) bool, f64 func(a, b float64) bool,
	i64 func(a, b int64) bool, boolean func(a, b bool) bool) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
			a, b := in[0], in[1]
			if a.DType() != b.DType() {
				return graphErr("%s of %v and %v", n.Op, a.DType(), b.DType())
			}
			switch a.DType() {
			case tensor.Float32:
				out[0], err = binary(x, a, b, rowOf(f32))
			case tensor.Float64:
				out[0], err = binary(x, a, b, rowOf(f64))
			case tensor.Int64:
				out[0], err = binary(x, a, b, rowOf(i64))
			case tensor.Int32:
				out[0], err = binary(x, a, b, rowOf(func(a, b int32) bool { return i64(int64(a), int64(b)) }))
			case tensor.Int8:
				out[0], err = binary(x, a, b, rowOf(func(a, b int8) bool { return i64(int64(a), int64(b)) }))
			case tensor.Uint8:
				out[0], err = binary(x, a, b, rowOf(func(a, b uint8) bool { return i64(int64(a), int64(b)) }))
			default:
				if boolean == nil {
					return typeErr(n.Op, a)
				}
				out[0], err = binary(x, a, b, rowOf(boolean))
			}
			return err
		})
	}
}

func equal[T comparable](a, b T) bool { return a == b }
func less[T number](a, b T) bool      { return a < b }
func lessEq[T number](a, b T) bool    { return a <= b }
func greater[T number](a, b T) bool   { return a > b }
func greaterEq[T number](a, b T) bool { return a >= b }
func logicalAnd(a, b bool) bool       { return a && b }
func logicalOr(a, b bool) bool        { return a || b }
func logicalXor(a, b bool) bool       { return a != b }
func logicalOp(f func(a, b bool) bool) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return func(x *Context, in, out []*tensor.Tensor) (err error) {
			if in[0].DType() != tensor.Bool || in[1].DType() != tensor.Bool {
				return graphErr("%s of %v and %v", n.Op, in[0].DType(), in[1].DType())
			}
			out[0], err = binary(x, in[0], in[1], rowOf(f))
			return err
		}
	}
}

func buildNot(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if in[0].DType() != tensor.Bool {
			return typeErr("Not", in[0])
		}
		out[0], err = unary(x, in[0], 1, each(func(v bool) bool { return !v }))
		return err
	}
}

// buildWhere chooses between two tensors element by element.
func buildWhere(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if in[0].DType() != tensor.Bool || in[1].DType() != in[2].DType() {
			return graphErr("Where of %v, %v and %v", in[0], in[1], in[2])
		}
		switch in[1].DType().Size() {
		case 8:
			out[0], err = where[uint64](x, in)
		case 4:
			out[0], err = where[uint32](x, in)
		case 2:
			out[0], err = where[uint16](x, in)
		default:
			out[0], err = where[uint8](x, in)
		}
		return err
	}
}

func where[W word](x *Context, in []*tensor.Tensor) (*tensor.Tensor, error) {
	shape, err := broadcastShape(in[0].Shape(), in[1].Shape(), in[2].Shape())
	if err != nil {
		return nil, err
	}
	t, err := x.Alloc(in[1].DType(), shape)
	if err != nil || t.Len() == 0 {
		return t, err
	}
	dst, cond, a, b := bits[W](t), tensor.Data[bool](in[0]), bits[W](in[1]), bits[W](in[2])
	s := newSpread(shape, in[0].Shape(), in[1].Shape(), in[2].Shape())
	sc, sa, sb := s.step[0], s.step[1], s.step[2]
	err = x.Parallel(len(dst)/s.inner, max(1, minWork/s.inner), func(lo, hi int) {
		s.walk(lo, hi, func(r int, offs []int) {
			row := dst[r*s.inner : (r+1)*s.inner]
			i, j, k := offs[0], offs[1], offs[2]
			for e := range row {
				if cond[i] {
					row[e] = a[j]
				} else {
					row[e] = b[k]
				}
				i, j, k = i+sc, j+sa, k+sb
			}
		})
	})
	return t, err
}
