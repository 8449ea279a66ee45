package ops

import (
	"math"
	"sync"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// perAxis says which elements of a quantised tensor share a scale or zero point: all, those at one
// position of an axis, or those in one block of an axis.
type perAxis struct {
	dim, inner int // positions along the axis, elements inside each
	block      int // positions that share a value, 0 outside blocked quantisation
	count      int // values
}

func quantAxis(t, scale *tensor.Tensor, at, block int) (*perAxis, error) {
	if scale.Len() == 1 && scale.Rank() <= 1 {
		return &perAxis{dim: 1, inner: 1, count: 1}, nil
	}
	a, err := axis(at, t.Rank())
	if err != nil {
		return nil, err
	}
	p := &perAxis{dim: t.Dim(a), inner: prod(t.Shape()[a+1:]), count: scale.Len()}
	if scale.Rank() == 1 {
		if p.count != p.dim {
			return nil, graphErr("%d scales for a dimension of %d", p.count, p.dim)
		}
		return p, nil
	}
	if block < 1 || scale.Rank() != t.Rank() {
		return nil, graphErr("scale %v for %v", scale, t)
	}
	for i, d := range t.Shape() {
		want := d
		if i == a {
			want = (d + block - 1) / block
		}
		if scale.Dim(i) != want {
			return nil, graphErr("scale %v for %v in blocks of %d", scale, t, block)
		}
	}
	p.block = block
	return p, nil
}

// at returns which value element i uses.
func (p *perAxis) at(i int) int {
	if p.block == 0 {
		if p.count == 1 {
			return 0
		}
		return i / p.inner % p.dim
	}
	blocks := (p.dim + p.block - 1) / p.block
	return (i/(p.inner*p.dim)*blocks+i/p.inner%p.dim/p.block)*p.inner + i%p.inner
}

// runs calls f for parts of elements lo..hi that share a value, and which.
func (p *perAxis) runs(lo, hi int, f func(lo, hi, j int)) {
	for lo < hi {
		end := hi
		switch {
		case p.count == 1:
		case p.block != 0: // values along the axis, each for one element inside
			end = lo + 1
		default:
			end = min(hi, lo+p.inner-lo%p.inner)
		}
		f(lo, end, p.at(lo))
		lo = end
	}
}

// zeroPoints reads zero points as integers; nil stands for zeros.
func zeroPoints(t *tensor.Tensor, count int) ([]int32, error) {
	if t == nil {
		return make([]int32, count), nil
	}
	v := make([]int32, t.Len())
	switch t.DType() {
	case tensor.Int8:
		for i, z := range tensor.Data[int8](t) {
			v[i] = int32(z)
		}
	case tensor.Uint8:
		for i, z := range tensor.Data[uint8](t) {
			v[i] = int32(z)
		}
	case tensor.Int32:
		copy(v, tensor.Data[int32](t))
	default:
		return nil, typeErr("a zero point", t)
	}
	if len(v) != count {
		return nil, graphErr("zero points %v for %d scales", t, count)
	}
	return v, nil
}

// roundEven rounds to the nearest integer, ties to even. Beyond 2^40, where callers clamp anyway,
// it returns that bound.
func roundEven(v float64) float64 {
	return math.RoundToEven(min(max(v, -1<<40), 1<<40))
}

func buildQuantizeLinear(n *Node) Kernel {
	at, block, to := n.int("axis", 1), n.int("block_size", 0), n.int("output_dtype", 0)
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		zp := input(in, 2)
		dtype := tensor.Uint8
		if zp != nil {
			dtype = zp.DType()
		} else if to != 0 {
			dtype = onnxType(to)
		}
		src, err := cast(x, in[0], tensor.Float32)
		if err != nil {
			return err
		}
		scale, err := cast(x, in[1], tensor.Float32)
		if err != nil {
			return err
		}
		p, err := quantAxis(src, scale, at, block)
		if err != nil {
			return err
		}
		zeros, err := zeroPoints(zp, p.count)
		if err != nil {
			return err
		}
		if dtype != tensor.Uint8 && dtype != tensor.Int8 {
			return graphErr("QuantizeLinear to %v is not supported", dtype)
		}
		out[0], err = quantize(x, dtype, src, scale, p, zeros)
		return err
	}
}

// quantize rounds t to 8-bit integers of a type.
func quantize(x *Context, to tensor.DType, t, scale *tensor.Tensor, p *perAxis,
	zeros []int32) (*tensor.Tensor, error) {
	r, err := x.Alloc(to, t.Shape())
	if err != nil {
		return nil, err
	}
	dst, flip, err := bytesOf(r)
	if err != nil {
		return nil, err
	}
	src, s := tensor.Data[float32](t), tensor.Data[float32](scale)
	return r, x.Parallel(len(dst), minWork, func(lo, hi int) {
		p.runs(lo, hi, func(lo, hi, j int) {
			kernel.Quantize(dst[lo:hi], src[lo:hi], s[j], zeros[j]+int32(flip), flip)
		})
	})
}

func buildDequantizeLinear(n *Node) Kernel {
	at, block := n.int("axis", 1), n.int("block_size", 0)
	return func(x *Context, in, out []*tensor.Tensor) error {
		scale, err := cast(x, in[1], tensor.Float32)
		if err != nil {
			return err
		}
		p, err := quantAxis(in[0], scale, at, block)
		if err != nil {
			return err
		}
		zeros, err := zeroPoints(input(in, 2), p.count)
		if err != nil {
			return err
		}
		s := tensor.Data[float32](scale)
		r, err := dequantize(x, in[0], s, p, zeros)
		if err == nil && isNarrow(in[1]) {
			r, err = narrow(x, r, in[1].DType())
		}
		out[0] = r
		return err
	}
}

// dequantize widens 8-bit or 32-bit integers to floats.
func dequantize(x *Context, t *tensor.Tensor, s []float32, p *perAxis,
	zeros []int32) (*tensor.Tensor, error) {
	r, dst, err := alloc[float32](x, t.Shape())
	if err != nil {
		return nil, err
	}
	run := func(lo, hi, j int) {}
	if t.DType() == tensor.Int32 {
		src := tensor.Data[int32](t)
		run = func(lo, hi, j int) {
			for i := lo; i < hi; i++ {
				dst[i] = float32(src[i]-zeros[j]) * s[j]
			}
		}
	} else {
		src, flip, err := bytesOf(t)
		if err != nil {
			return nil, typeErr("DequantizeLinear", t)
		}
		run = func(lo, hi, j int) {
			kernel.Dequantize(dst[lo:hi], src[lo:hi], s[j], zeros[j]+int32(flip), flip)
		}
	}
	return r, x.Parallel(len(dst), minWork, func(lo, hi int) { p.runs(lo, hi, run) })
}

// buildDynamicQuantizeLinear picks scale and zero point from the range of the input, widened to
// hold 0.
func buildDynamicQuantizeLinear(n *Node) Kernel {
	if n.Outputs != 3 {
		n.fail("has %d outputs", n.Outputs)
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if in[0].DType() != tensor.Float32 {
			return typeErr(n.Op, in[0])
		}
		low, high, err := limits(x, tensor.Data[float32](in[0]))
		if err != nil {
			return err
		}
		scale := (high - low) / 255
		zero := float64(0)
		if scale != 0 {
			zero = min(max(roundEven(float64(-low/scale)), 0), 255)
		} else {
			scale = 1
		}
		if zero != zero {
			zero = 0
		}
		out[1], out[2] = tensor.Scalar(scale), tensor.Scalar(uint8(zero))
		out[0], err = quantize(x, tensor.Uint8, in[0], out[1],
			&perAxis{dim: 1, inner: 1, count: 1}, []int32{int32(zero)})
		return err
	}
}

// limits returns the least and the greatest of v and 0.
func limits(x *Context, v []float32) (low, high float32, err error) {
	var mu sync.Mutex
	err = x.Parallel(len(v), 4*minWork, func(lo, hi int) {
		l, h := kernel.MinMax(v[lo:hi])
		mu.Lock()
		defer mu.Unlock()
		low, high = min(low, l), max(high, h)
	})
	return low, high, err
}

// shifted returns t's elements less their zero point, as int32. Zero points are one for all, or one
// for each row (axis -2) or column (axis -1) of the last two dimensions.
func shifted(x *Context, t, zp *tensor.Tensor, at int) (*tensor.Tensor, error) {
	wide, err := cast(x, t, tensor.Int32)
	if err != nil || t.DType() != tensor.Int8 && t.DType() != tensor.Uint8 {
		return nil, typeErr("an integer product", t)
	}
	if zp == nil {
		return wide, nil
	}
	zeros, err := zeroPoints(zp, zp.Len())
	if err != nil {
		return nil, err
	}
	shape := []int{}
	if len(zeros) != 1 {
		shape = clone(zp.Shape())
		if zp.Rank() == 1 && at == -2 {
			shape = append(shape, 1)
		}
	}
	z, err := tensor.New(shape, zeros)
	if err != nil {
		return nil, graphErr("%v", err)
	}
	r, err := binary(x, wide, z, rowOf(subOf[int32]))
	if err != nil {
		return nil, err
	}
	if r.Len() != t.Len() {
		return nil, graphErr("zero points %v for %v", zp, t)
	}
	return r, nil
}

// addProduct adds the product of a [m,k] and b [k,n] to dst.
func addProduct[T float64 | int32](dst, a, b []T, m, n, k int) {
	for i := range m {
		row := dst[i*n : (i+1)*n]
		for j, v := range a[i*k : (i+1)*k] {
			if v == 0 {
				continue
			}
			for l, w := range b[j*n : (j+1)*n] {
				row[l] += v * w
			}
		}
	}
}

// convInt convolves integers less their zero points. Zero points of the weights are one for all or
// one for each output channel.
func convInt(x *Context, w *window, group int,
	t, weights, tz, wz *tensor.Tensor) (*tensor.Tensor, []int32, error) {
	c, err := planConv(w, group, t.Shape(), weights.Shape())
	if err != nil {
		return nil, nil, err
	}
	a, err := shifted(x, t, tz, -1)
	if err != nil {
		return nil, nil, err
	}
	if wz != nil && wz.Len() == c.m && c.m > 1 {
		shape := append([]int{c.m}, make([]int, weights.Rank()-1)...)
		for i := 1; i < len(shape); i++ {
			shape[i] = 1
		}
		if wz, err = reshaped(wz, shape); err != nil {
			return nil, nil, err
		}
	}
	b, err := shifted(x, weights, wz, -1)
	if err != nil {
		return nil, nil, err
	}
	r, dst, err := zeros[int32](x, c.out)
	if err != nil || len(dst) == 0 {
		return r, dst, err
	}
	return r, dst, convolve(x, c, dst, tensor.Data[int32](a), tensor.Data[int32](b), addProduct[int32])
}

func buildConvInteger(n *Node) Kernel {
	w, group := newWindow(n), n.int("group", 1)
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		out[0], _, err = convInt(x, w, group, in[0], in[1], input(in, 2), input(in, 3))
		return err
	}
}

// requantize brings int32 sums to 8 bits: q = round(sum * factor) + zero.
func requantize(x *Context, t *tensor.Tensor, factor func(i int) float64,
	zero *tensor.Tensor) (*tensor.Tensor, error) {
	z, err := zeroPoints(zero, 1)
	if err != nil {
		return nil, err
	}
	value := func(i int, v int32, low, high float64) float64 {
		return min(max(roundEven(float64(v)*factor(i))+float64(z[0]), low), high)
	}
	src := tensor.Data[int32](t)
	if zero.DType() == tensor.Int8 {
		r, dst, err := alloc[int8](x, t.Shape())
		for i := range dst {
			dst[i] = int8(value(i, src[i], -128, 127))
		}
		return r, err
	}
	r, dst, err := alloc[uint8](x, t.Shape())
	for i := range dst {
		dst[i] = uint8(value(i, src[i], 0, 255))
	}
	return r, err
}

// scales reads scale inputs as float32, given as float32 or float16.
func scales(x *Context, in []*tensor.Tensor, at ...int) ([][]float32, error) {
	s := make([][]float32, len(at))
	for i, a := range at {
		t, err := cast(x, in[a], tensor.Float32)
		if err != nil {
			return nil, err
		}
		if t.Len() == 0 {
			return nil, graphErr("a scale %v", t)
		}
		s[i] = tensor.Data[float32](t)
	}
	return s, nil
}

func buildQLinearMatMul(n *Node) Kernel {
	product := integerProduct(n, 0, 2, 3, 5)
	return func(x *Context, in, out []*tensor.Tensor) error {
		t, err := product(x, in)
		if err != nil {
			return err
		}
		s, err := scales(x, in, 1, 4, 6)
		if err != nil {
			return err
		}
		cols, rows := 1, 1
		if t.Rank() > 0 {
			cols = max(1, t.Dim(-1))
		}
		if t.Rank() > 1 {
			rows = max(1, t.Dim(-2))
		}
		if len(s[0]) != 1 && len(s[0]) != rows || len(s[1]) != 1 && len(s[1]) != cols {
			return graphErr("QLinearMatMul to %v with %d and %d scales", t, len(s[0]), len(s[1]))
		}
		out[0], err = requantize(x, t, func(i int) float64 {
			return float64(s[0][i/cols%rows%len(s[0])]) * float64(s[1][i%cols%len(s[1])]) / float64(s[2][0])
		}, in[7])
		return err
	}
}

func buildQLinearConv(n *Node) Kernel {
	w, group := newWindow(n), n.int("group", 1)
	return func(x *Context, in, out []*tensor.Tensor) error {
		t, dst, err := convInt(x, w, group, in[0], in[3], in[2], in[5])
		if err != nil {
			return err
		}
		if len(dst) == 0 {
			out[0], err = x.Alloc(in[7].DType(), t.Shape())
			return err
		}
		m, inner := t.Dim(1), prod(t.Shape()[2:])
		if b := input(in, 8); b != nil {
			bias, err := tensor.Values[int32](b)
			if err != nil || len(bias) != m {
				return graphErr("QLinearConv to %d channels with bias %v", m, b)
			}
			for i := range dst {
				dst[i] += bias[i/inner%m]
			}
		}
		s, err := scales(x, in, 1, 4, 6)
		if err != nil {
			return err
		}
		if len(s[1]) != 1 && len(s[1]) != m {
			return graphErr("QLinearConv to %d channels with %d scales", m, len(s[1]))
		}
		out[0], err = requantize(x, t, func(i int) float64 {
			return float64(s[0][0]) * float64(s[1][i/inner%m%len(s[1])]) / float64(s[2][0])
		}, in[7])
		return err
	}
}
