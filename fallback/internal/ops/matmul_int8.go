package ops

import (
	"context"
	"math"
	"runtime"
	"slices"
	"unsafe"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// buildMatMulInteger is MatMulInteger.
func buildMatMulInteger(n *Node) Kernel {
	product := integerProduct(n, 0, 2, 1, 3)
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		out[0], err = product(x, in)
		return err
	}
}

// integerProduct returns the product of two inputs of 8-bit integers, less the zero points of two
// others, in int32. A constant matrix on the right is packed when the graph is opened.
func integerProduct(
	n *Node, a, za, b, zb int,
) func(x *Context, in []*tensor.Tensor) (*tensor.Tensor, error) {
	weights := n.packedBytes(b, zb, false)
	return func(x *Context, in []*tensor.Tensor) (*tensor.Tensor, error) {
		if weights != nil {
			return (&byteProduct{a: in[a], zero: input(in, za), w: weights}).run(x)
		}
		left, err := shifted(x, in[a], input(in, za), -2)
		if err != nil {
			return nil, err
		}
		right, err := shifted(x, in[b], input(in, zb), -1)
		if err != nil {
			return nil, err
		}
		return plainMatmul[int32](x, left, right)
	}
}

// buildFusedMatMulInteger is MatMulInteger with a constant matrix, cast to float32, times a scale,
// + bias, activated, + residual. Its inputs are A, B, bias, residual, the zero points of A and B,
// and the scale: one number or one for each column, which the graph may compute. Attribute transB
// is as in Gemm.
func buildFusedMatMulInteger(n *Node) Kernel {
	weights, act := n.packedBytes(1, 5, n.int("transB", 0) != 0), n.activation()
	if weights == nil || n.Inputs != 7 || n.left(6) {
		n.fail("the second input is no constant 8-bit matrix, or there is no scale")
		return nil
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		p := &byteProduct{a: in[0], zero: input(in, 4), w: weights, e: act.epilogue()}
		s, err := matmulShapes(in[0].Shape(), []int{weights.K, weights.N})
		if err != nil {
			return err
		}
		scale, bias, residual := in[6], input(in, 2), input(in, 3)
		if scale.DType() != tensor.Float32 || bias != nil && bias.DType() != tensor.Float32 ||
			residual != nil && residual.DType() != tensor.Float32 {
			return graphErr("a quantised product scaled by %v, with bias %v and sum %v",
				scale, bias, residual)
		}
		if bias != nil && bias.Len() != weights.N {
			return graphErr("a product with %d columns adds %v", weights.N, bias)
		}
		if scale.Rank() <= len(s.out) &&
			(scale.Len() == 1 || scale.Len() == weights.N && scale.Dim(-1) == weights.N) {
			if p.scale = tensor.Data[float32](scale); bias != nil {
				p.bias = tensor.Data[float32](bias)
			}
			if residual != nil && slices.Equal(residual.Shape(), s.out) {
				p.e.Residual, residual = tensor.Data[float32](residual), nil
			}
			if out[0], err = p.run(x); err != nil || residual == nil {
				return err
			}
			out[0], err = binary(x, out[0], residual, kernel.Add)
			return err
		}
		// A scale of some other shape: step by step.
		e := p.e
		p.e = nil
		t, err := p.run(x)
		if err != nil {
			return err
		}
		if t, err = cast(x, t, tensor.Float32); err != nil {
			return err
		}
		if t, err = binary(x, t, scale, kernel.Mul); err != nil {
			return err
		}
		if bias != nil {
			if t, err = binary(x, t, bias, kernel.Add); err != nil {
				return err
			}
		}
		if t.Len() > 0 {
			d := tensor.Data[float32](t)
			e.Apply(d, len(d), 0, 1, 0, len(d))
		}
		if residual != nil {
			t, err = binary(x, t, residual, kernel.Add)
		}
		out[0] = t
		return err
	}
}

// bytesOf returns the elements of an 8-bit tensor as bytes, and the flip by which package kernel
// makes unsigned numbers of them.
func bytesOf(t *tensor.Tensor) (data []uint8, flip uint8, err error) {
	switch t.DType() {
	case tensor.Uint8:
		return tensor.Data[uint8](t), 0, nil
	case tensor.Int8:
		v := tensor.Data[int8](t)
		if len(v) == 0 {
			return nil, 0x80, nil
		}
		return unsafe.Slice((*uint8)(unsafe.Pointer(&v[0])), len(v)), 0x80, nil
	}
	return nil, 0, typeErr("an integer product", t)
}

// byteZeros reads zero points of an 8-bit operand, any number of them; a nil t is one zero.
func byteZeros(t *tensor.Tensor) ([]int32, error) {
	if t == nil {
		return []int32{0}, nil
	}
	if t.DType() != tensor.Int8 && t.DType() != tensor.Uint8 || t.Len() == 0 {
		return nil, graphErr("zero points %v of 8-bit integers", t)
	}
	return zeroPoints(t, t.Len())
}

// packedBytes packs input i, of 8-bit integers, with the zero points of input zp. It returns nil if
// they are no constants of the right kind; otherwise the kernel does not get the input again.
func (n *Node) packedBytes(i, zp int, transposed bool) *kernel.ByteMatrix {
	if i >= len(n.Const) || n.Const[i] == nil || n.Const[i].Rank() != 2 || n.Const[i].Len() == 0 {
		return nil
	}
	var zero *tensor.Tensor
	if zp < n.Inputs && !n.left(zp) {
		if zero = n.Const[zp]; zero == nil {
			return nil
		}
	}
	w := n.Const[i]
	data, flip, err := bytesOf(w)
	if err != nil {
		return nil
	}
	k, cols := w.Dim(0), w.Dim(1)
	if transposed {
		k, cols = cols, k
	}
	zeros, err := byteZeros(zero)
	if err != nil || len(zeros) != 1 && len(zeros) != cols ||
		zero != nil && zero.Rank() > 1 && zero.Dim(-1) != len(zeros) {
		return nil
	}
	m := kernel.NewByteMatrix(k, cols)
	m.SetZeros(zeros, flip)
	x := NewContext(context.Background(), runtime.GOMAXPROCS(0), heap{})
	x.Parallel(m.Panels(), max(1, minWork/(2*k)), func(lo, hi int) {
		if transposed {
			m.FillTransposed(data, k, flip, lo, hi)
		} else {
			m.Fill(data, cols, flip, lo, hi)
		}
	})
	n.drop(i)
	return m
}

// byteProduct is a product of 8-bit integers with a packed matrix. If scale is set, one number or
// one for each column, the result is float32 with bias and e applied; otherwise it is int32.
type byteProduct struct {
	a, zero     *tensor.Tensor // zero may be nil
	w           *kernel.ByteMatrix
	scale, bias []float32
	e           *kernel.Epilogue // Activate, Bounds and Residual count
}

func (p *byteProduct) run(x *Context) (*tensor.Tensor, error) {
	w := p.w
	s, err := matmulShapes(p.a.Shape(), []int{w.K, w.N})
	if err != nil {
		return nil, err
	}
	data, flip, err := bytesOf(p.a)
	if err != nil {
		return nil, err
	}
	to := tensor.Int32
	if p.scale != nil {
		to = tensor.Float32
	}
	t, err := x.Alloc(to, s.out)
	if err != nil || t.Len() == 0 {
		return t, err
	}
	rows := t.Len() / w.N
	zeros, err := byteZeros(p.zero)
	if err != nil {
		return nil, err
	}
	if len(zeros) != 1 && len(zeros) != rows && !(len(zeros) == s.m && p.zero.Rank() == 1) {
		return nil, graphErr("zero points %v for %v", p.zero, p.a)
	}
	_, room, err := alloc[int32](x, []int{w.RowInts(rows)})
	if err != nil {
		return nil, err
	}
	packed := w.Rows(room, rows)
	if err := x.Parallel(rows, max(1, minWork/w.K), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			packed.Pack(r, data[r*w.K:(r+1)*w.K], flip, zeros[r%len(zeros)]+int32(flip))
		}
	}); err != nil {
		return nil, err
	}
	var e *kernel.ByteEpilogue
	if p.scale != nil {
		e = &kernel.ByteEpilogue{Scale: p.scale, Bias: p.bias}
		if len(p.scale) == 1 && w.N != 1 {
			if _, e.Scale, err = alloc[float32](x, []int{w.N}); err != nil {
				return nil, err
			}
			for j := range e.Scale {
				e.Scale[j] = p.scale[0]
			}
		}
	}
	return t, bytePieces(x, w, rows, func(r0, r1, p0, p1 int) {
		if e == nil {
			w.Multiply(tensor.Data[int32](t)[r0*w.N:r1*w.N], w.N, packed, r0, r1, p0, p1, nil)
			return
		}
		dst := tensor.Data[float32](t)
		w.MultiplyFloat(dst[r0*w.N:r1*w.N], w.N, packed, r0, r1, p0, p1, e)
		if p.e != nil && (p.e.Activate != nil || p.e.Bounds != nil || p.e.Residual != nil) {
			p.e.Apply(dst, w.N, r0, r1, p0*kernel.PanelWidth, min(p1*kernel.PanelWidth, w.N))
		}
	})
}

// bytePieces cuts a product of rows with w, and calls f for rows r0 to r1-1 and panels p0 to p1-1 of
// each piece, on all cores: panels are cut, and rows too where there are few panels.
func bytePieces(x *Context, w *kernel.ByteMatrix, rows int, f func(r0, r1, p0, p1 int)) error {
	want := max(1, min(x.Threads()*4, 2*rows*w.K*w.N/minFlops))
	if want < x.Threads() {
		want = 1
	}
	panels := w.Panels()
	panelStep := min(8, max(1, panels/want))
	columns := (panels + panelStep - 1) / panelStep
	parts := max(1, want/columns)
	rowStep := min(512, ((rows+parts-1)/parts+3)&^3)
	parts = (rows + rowStep - 1) / rowStep
	work := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p0, r0 := i/parts*panelStep, i%parts*rowStep
			f(r0, min(rows, r0+rowStep), p0, min(panels, p0+panelStep))
		}
	}
	if want == 1 {
		work(0, columns*parts)
		return x.Err()
	}
	return x.Parallel(columns*parts, 1, work)
}

// heap is the Memory for computations when a graph is opened.
type heap struct{}

func (heap) Alloc(dtype tensor.DType, shape []int) (*tensor.Tensor, error) {
	return tensor.Zeros(dtype, shape...)
}

func (heap) Room() int64         { return math.MaxInt64 }
func (heap) Hold(*tensor.Tensor) {}
func (heap) Drop(*tensor.Tensor) {}
func (heap) Pass(*tensor.Tensor) {}
