package ops

import (
	"context"
	"math"
	"runtime"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

func buildMatMulInteger(n *Node) Kernel {
	weights := n.packedInts(1, 3)
	return func(x *Context, in, out []*tensor.Tensor) error {
		a, err := shifted(x, in[0], input(in, 2), -2)
		if err != nil {
			return err
		}
		if weights != nil {
			out[0], err = weights.product(x, a)
			return err
		}
		b, err := shifted(x, in[1], input(in, 3), -1)
		if err != nil {
			return err
		}
		out[0], err = matmulInt[int32](x, a, b)
		return err
	}
}

// intMatrix is a constant 8-bit matrix, less its zero points, packed for float
// products in pieces of so few rows that every sum is exact: |a| and |b| are at
// most 255, and float32 holds integers up to 2^24.
type intMatrix struct {
	k, n   int
	pieces []*kernel.Matrix
}

const exactRows = 1 << 24 / (255 * 255)

// packedInts packs input i with the zero points of input zp; nil where they are
// no constants of the right kind.
func (n *Node) packedInts(i, zp int) *intMatrix {
	if i >= len(n.Const) || n.Const[i] == nil || n.Const[i].Rank() != 2 || n.Const[i].Len() == 0 {
		return nil
	}
	var zero *tensor.Tensor
	if zp < n.Inputs && !n.left(zp) {
		if zero = n.Const[zp]; zero == nil {
			return nil
		}
	}
	x := NewContext(context.Background(), runtime.GOMAXPROCS(0), heap{})
	b, err := shifted(x, n.Const[i], zero, -1)
	if err != nil {
		return nil
	}
	m := &intMatrix{k: b.Dim(0), n: b.Dim(1)}
	values := b.Float32s()
	for k := 0; k < m.k; k += exactRows {
		rows := min(exactRows, m.k-k)
		var p *kernel.Matrix
		if kernel.HasHalf() { // holds integers up to 2048
			p = kernel.NewHalfMatrix(rows, m.n)
		} else {
			p = kernel.NewMatrix(nil, rows, m.n)
		}
		fillMatrix(x, p, values[k*m.n:], false)
		m.pieces = append(m.pieces, p)
	}
	n.drop(i)
	return m
}

// product is a, of 8-bit values less their zero points, times the matrix.
func (m *intMatrix) product(x *Context, a *tensor.Tensor) (*tensor.Tensor, error) {
	s, err := matmulShapes(a.Shape(), []int{m.k, m.n})
	if err != nil {
		return nil, err
	}
	t, dst, err := alloc[int32](x, s.out)
	if err != nil || len(dst) == 0 {
		return t, err
	}
	wide, err := cast(x, a, tensor.Float32)
	if err != nil {
		return nil, err
	}
	_, sums, err := alloc[float32](x, []int{len(dst)})
	if err != nil {
		return nil, err
	}
	rows := len(dst) / m.n
	av := tensor.Data[float32](wide)
	for i, p := range m.pieces {
		err := x.Parallel(p.Panels(), max(1, (1<<18)/(2*rows*p.K*16)), func(lo, hi int) {
			p.Multiply(sums, m.n, av[i*exactRows:], m.k, rows, lo, hi, false, nil)
			c0, c1 := lo*16, min(hi*16, m.n)
			for r := range rows {
				to := dst[r*m.n+c0 : r*m.n+c1]
				for j, v := range sums[r*m.n+c0 : r*m.n+c1] {
					if i == 0 {
						to[j] = int32(v)
					} else {
						to[j] += int32(v)
					}
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// heap is memory for what is computed when a graph is opened.
type heap struct{}

func (heap) Alloc(dtype tensor.DType, shape []int) (*tensor.Tensor, error) {
	return tensor.Zeros(dtype, shape...)
}

func (heap) Room() int64 { return math.MaxInt64 }
