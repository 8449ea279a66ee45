package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// reducer turns the elements that one output element combines into its value. There may be none.
type reducer struct {
	f32 func(row []float32) float32
	f64 func(row []float64) float64
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
			if len(list) == 0 && !noop {
				for i := range t.Rank() {
					list = append(list, i)
				}
			}
			// With noop_with_empty_axes each element is reduced alone: squared by ReduceSumSquare.
			p, err := planReduction(t.Shape(), list, keep)
			if err != nil {
				return err
			}
			if t.DType() == tensor.Bool && (n.Op == "ReduceMax" || n.Op == "ReduceMin") {
				out[0], err = reduceBool(x, t, p, r.u8)
				return err
			}
			out[0], err = r.apply(n.Op, x, t, p)
			return err
		})
	}
}

func (r reducer) apply(op string, x *Context, t *tensor.Tensor,
	p *reductionPlan) (*tensor.Tensor, error) {
	switch {
	case t.DType() == tensor.Float32:
		return reduce(x, t, p, r.f32)
	case t.DType() == tensor.Float64:
		return reduce(x, t, p, r.f64)
	case t.DType() == tensor.Int64 && r.i64 != nil:
		return reduce(x, t, p, r.i64)
	case t.DType() == tensor.Int32 && r.i32 != nil:
		return reduce(x, t, p, r.i32)
	case t.DType() == tensor.Int8 && r.i8 != nil:
		return reduce(x, t, p, r.i8)
	case t.DType() == tensor.Uint8 && r.u8 != nil:
		return reduce(x, t, p, r.u8)
	}
	return nil, typeErr(op, t)
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
func sumFloats[T float](row []T) float64 {
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

func sumAbs[T float](row []T) float64 {
	var s float64
	for _, v := range row {
		s += math.Abs(float64(v))
	}
	return s
}

func sumSquares[T float](row []T) float64 {
	var a, b, c, d float64 // sums that do not wait for each other
	for ; len(row) >= 4; row = row[4:] {
		r := (*[4]T)(row)
		a += float64(r[0]) * float64(r[0])
		b += float64(r[1]) * float64(r[1])
		c += float64(r[2]) * float64(r[2])
		d += float64(r[3]) * float64(r[3])
	}
	for _, v := range row {
		a += float64(v) * float64(v)
	}
	return (a + b) + (c + d)
}

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

func prodFloats[T float](row []T) T {
	p := 1.0
	for _, v := range row {
		p *= float64(v)
	}
	return T(p)
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

// maxOf and minOf compare as ONNX Runtime does: NaN counts where it comes first.
func maxOf[T number](least T) func(row []T) T {
	return func(row []T) T {
		if len(row) == 0 {
			return least
		}
		m := row[0]
		for _, v := range row[1:] {
			if v > m {
				m = v
			}
		}
		return m
	}
}

func minOf[T number](most T) func(row []T) T {
	return func(row []T) T {
		if len(row) == 0 {
			return most
		}
		m := row[0]
		for _, v := range row[1:] {
			if v < m {
				m = v
			}
		}
		return m
	}
}

func logSumExp[T float](row []T) T {
	m := math.Inf(-1)
	for _, v := range row {
		m = max(m, float64(v)) // NaN if there is one
	}
	if math.IsInf(m, 0) {
		return T(m)
	}
	var s float64
	for _, v := range row {
		s += math.Exp(float64(v) - m)
	}
	return T(m + math.Log(s))
}

var inf = float32(math.Inf(1))

// floatReducer makes a reducer of floats of a function that computes in float64.
func floatReducer(f32 func([]float32) float64, f64 func([]float64) float64) reducer {
	return reducer{f32: func(r []float32) float32 { return float32(f32(r)) }, f64: f64}
}

func meanFloats[T float](row []T) float64   { return sumFloats(row) / float64(len(row)) }
func l2Floats[T float](row []T) float64     { return math.Sqrt(sumSquares(row)) }
func logSumFloats[T float](row []T) float64 { return math.Log(sumFloats(row)) }

func l2Ints[T integer](row []T) T {
	var s float64
	for _, v := range row {
		s += float64(v) * float64(v)
	}
	return T(math.Sqrt(s))
}

// floored makes a reduction of integers of one of floats.
func floored[T integer](f func([]float64) float64) func(row []T) T {
	return func(row []T) T {
		wide := make([]float64, len(row))
		for i, v := range row {
			wide[i] = float64(v)
		}
		return T(f(wide))
	}
}

// ints adds functions of integers to a reducer.
func (r reducer) ints(i64 func([]int64) int64, i32 func([]int32) int32, i8 func([]int8) int8,
	u8 func([]uint8) uint8) reducer {
	r.i64, r.i32, r.i8, r.u8 = i64, i32, i8, u8
	return r
}

var (
	reduceSum = floatReducer(sumFloats, sumFloats).
			ints(sumInts, sumInts, sumInts, sumInts)
	reduceMean = floatReducer(meanFloats, meanFloats).
			ints(meanInts, meanInts, meanInts, meanInts)
	reduceL1 = floatReducer(sumAbs, sumAbs).ints(absInts, absInts, absInts, absInts)
	reduceL2 = floatReducer(l2Floats, l2Floats).ints(l2Ints, l2Ints, l2Ints, l2Ints)

	reduceSquare = floatReducer(sumSquares, sumSquares).
			ints(squareInts, squareInts, squareInts, squareInts)
	reduceLogSum = floatReducer(logSumFloats, logSumFloats).
			ints(floored[int64](logSumFloats), floored[int32](logSumFloats), nil, nil)
	reduceLogSumExp = reducer{f32: logSumExp[float32], f64: logSumExp[float64]}.
			ints(floored[int64](logSumExp), floored[int32](logSumExp), nil, nil)
	reduceProd = reducer{f32: prodFloats[float32], f64: prodFloats[float64]}.
			ints(prodInts, prodInts, prodInts, prodInts)
	reduceMax = reducer{maxOf(-inf), maxOf(math.Inf(-1)),
		maxOf[int64](math.MinInt64), maxOf[int32](math.MinInt32),
		maxOf[int8](math.MinInt8), maxOf[uint8](0)}
	reduceMin = reducer{minOf(inf), minOf(math.Inf(1)),
		minOf[int64](math.MaxInt64), minOf[int32](math.MaxInt32),
		minOf[int8](math.MaxInt8), minOf[uint8](math.MaxUint8)}
)
