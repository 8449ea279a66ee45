package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// reducer turns the elements that one output element combines into its value. There may be none.
type reducer struct {
	f32 func(row []float32) float32
	i64 func(row []int64) int64
	i32 func(row []int32) int32
	i8  func(row []int8) int8
	u8  func(row []uint8) uint8
}

// reduceOp builds a reduction. Axes are an attribute or, from version axesInput on, an input.
func reduceOp(r reducer, axesInput int) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		keep, noop := n.int("keepdims", 1) == 1, n.int("noop_with_empty_axes", 0) == 1
		var attr []int
		if n.Version < axesInput {
			attr = n.ints("axes")
			n.want(1, 1)
		}
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
			list, _, err := axesArg(in, 1, attr)
			if err != nil {
				return err
			}
			t := in[0]
			if len(list) == 0 {
				if noop {
					out[0] = t
					return nil
				}
				for i := range t.Rank() {
					list = append(list, i)
				}
			}
			p, err := planReduction(t.Shape(), list, keep)
			if err != nil {
				return err
			}
			switch {
			case t.DType() == tensor.Float32:
				out[0], err = reduce(x, t, p, r.f32)
			case t.DType() == tensor.Int64 && r.i64 != nil:
				out[0], err = reduce(x, t, p, r.i64)
			case t.DType() == tensor.Int32 && r.i32 != nil:
				out[0], err = reduce(x, t, p, r.i32)
			case t.DType() == tensor.Int8 && r.i8 != nil:
				out[0], err = reduce(x, t, p, r.i8)
			case t.DType() == tensor.Uint8 && r.u8 != nil:
				out[0], err = reduce(x, t, p, r.u8)
			case t.DType() == tensor.Bool && r.u8 != nil && (n.Op == "ReduceMax" || n.Op == "ReduceMin"):
				out[0], err = reduceBool(x, t, p, r.u8)
			default:
				err = typeErr(n.Op, t)
			}
			return err
		})
	}
}

// reductionPlan is where the elements of each output element lie.
type reductionPlan struct {
	shape       []int // of the output
	kept, steps []int // dimensions that stay, and their strides in the input
	rows        []int // offsets of the elements that meet, from the first
	dense       bool  // rows is 0, 1, 2, ...
}

func planReduction(shape, list []int, keep bool) (*reductionPlan, error) {
	list, err := axes(list, len(shape))
	if err != nil {
		return nil, err
	}
	gone := make([]bool, len(shape))
	for _, a := range list {
		gone[a] = true
	}
	p := &reductionPlan{rows: []int{0}, shape: []int{}}
	strides := stridesOf(shape)
	for i, d := range shape {
		if !gone[i] {
			p.shape, p.kept = append(p.shape, d), append(p.kept, d)
			p.steps = append(p.steps, strides[i])
			continue
		}
		if keep {
			p.shape = append(p.shape, 1)
		}
		if prod(shape) == 0 {
			continue
		}
		rows := make([]int, 0, len(p.rows)*d)
		for _, r := range p.rows {
			for j := range d {
				rows = append(rows, r+j*strides[i])
			}
		}
		p.rows = rows
	}
	p.dense = true
	if prod(shape) == 0 { // nothing meets, or there is nowhere to meet
		p.rows = nil
	}
	for i, r := range p.rows {
		p.dense = p.dense && r == i
	}
	return p, nil
}

func reduce[T tensor.Element](x *Context, t *tensor.Tensor, p *reductionPlan,
	f func([]T) T) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](x, p.shape)
	if err != nil {
		return nil, err
	}
	src := tensor.Data[T](t)
	err = x.Parallel(len(dst), max(1, minWork/(len(p.rows)+1)), func(lo, hi int) {
		index, at := odometer(lo, p.kept, p.steps, 0)
		var scratch []T
		if !p.dense {
			scratch = make([]T, len(p.rows))
		}
		for i := lo; i < hi; i++ {
			if len(p.rows) == 0 {
				dst[i] = f(nil)
			} else if p.dense {
				dst[i] = f(src[at : at+len(p.rows)])
			} else {
				for j, o := range p.rows {
					scratch[j] = src[at+o]
				}
				dst[i] = f(scratch)
			}
			at = advance(index, p.kept, p.steps, at)
		}
	})
	return r, err
}

func reduceBool(x *Context, t *tensor.Tensor, p *reductionPlan,
	f func([]uint8) uint8) (*tensor.Tensor, error) {
	bytes, err := cast(x, t, tensor.Uint8)
	if err != nil {
		return nil, err
	}
	if bytes, err = reduce(x, bytes, p, f); err != nil {
		return nil, err
	}
	return cast(x, bytes, tensor.Bool)
}

// sumFloats adds in float64, so that long rows keep float32's precision.
func sumFloats(row []float32) float64 {
	var a, b, c, d float64
	for ; len(row) >= 4; row = row[4:] {
		a += float64(row[0])
		b += float64(row[1])
		c += float64(row[2])
		d += float64(row[3])
	}
	for _, v := range row {
		a += float64(v)
	}
	return (a + b) + (c + d)
}

func sumOf(f func(v float64) float64) func(row []float32) float64 {
	return func(row []float32) float64 {
		var s float64
		for _, v := range row {
			s += f(float64(v))
		}
		return s
	}
}

var (
	sumAbs     = sumOf(math.Abs)
	sumSquares = sumOf(func(v float64) float64 { return v * v })
)

func sumInts[T integer](row []T) T {
	var s T
	for _, v := range row {
		s += v
	}
	return s
}

// meanInts rounds towards zero.
func meanInts[T integer](row []T) T {
	if len(row) == 0 {
		return 0
	}
	var s int64
	for _, v := range row {
		s += int64(v)
	}
	return T(s / int64(len(row)))
}

func prodInts[T integer](row []T) T {
	s := T(1)
	for _, v := range row {
		s *= v
	}
	return s
}

func absInts[T integer](row []T) T {
	var s T
	for _, v := range row {
		if v < 0 {
			v = -v
		}
		s += v
	}
	return s
}

func squareInts[T integer](row []T) T {
	var s T
	for _, v := range row {
		s += v * v
	}
	return s
}

func maxOf[T number](least T) func(row []T) T {
	return func(row []T) T {
		m := least
		for _, v := range row {
			m = max(m, v)
		}
		return m
	}
}

func minOf[T number](most T) func(row []T) T {
	return func(row []T) T {
		m := most
		for _, v := range row {
			m = min(m, v)
		}
		return m
	}
}

func logSumExp(row []float32) float32 {
	m := maxOf(float32(math.Inf(-1)))(row)
	if math.IsInf(float64(m), 0) {
		return m
	}
	var s float64
	for _, v := range row {
		s += math.Exp(float64(v) - float64(m))
	}
	return float32(float64(m) + math.Log(s))
}

var inf = float32(math.Inf(1))

var (
	reduceSum = reducer{func(r []float32) float32 { return float32(sumFloats(r)) },
		sumInts[int64], sumInts[int32], sumInts[int8], sumInts[uint8]}
	reduceMean = reducer{
		func(r []float32) float32 { return float32(sumFloats(r) / float64(len(r))) },
		meanInts[int64], meanInts[int32], meanInts[int8], meanInts[uint8]}
	reduceMax = reducer{maxOf(-inf),
		maxOf[int64](math.MinInt64), maxOf[int32](math.MinInt32),
		maxOf[int8](math.MinInt8), maxOf[uint8](0)}
	reduceMin = reducer{minOf(inf),
		minOf[int64](math.MaxInt64), minOf[int32](math.MaxInt32),
		minOf[int8](math.MaxInt8), minOf[uint8](math.MaxUint8)}
	reduceL1 = reducer{func(r []float32) float32 { return float32(sumAbs(r)) },
		absInts[int64], absInts[int32], absInts[int8], absInts[uint8]}
	reduceL2 = reducer{f32: func(r []float32) float32 { return float32(math.Sqrt(sumSquares(r))) },
		i64: func(r []int64) int64 { return int64(math.Sqrt(float64(squareInts(r)))) },
		i32: func(r []int32) int32 { return int32(math.Sqrt(float64(squareInts(r)))) }}
	reduceSquare = reducer{func(r []float32) float32 { return float32(sumSquares(r)) },
		squareInts[int64], squareInts[int32], squareInts[int8], squareInts[uint8]}
	reduceLogSum = reducer{
		f32: func(r []float32) float32 { return float32(math.Log(sumFloats(r))) }}
	reduceLogSumExp = reducer{f32: logSumExp}
	reduceProd      = reducer{func(r []float32) float32 {
		p := 1.0
		for _, v := range r {
			p *= float64(v)
		}
		return float32(p)
	}, prodInts[int64], prodInts[int32], prodInts[int8], prodInts[uint8]}
)
