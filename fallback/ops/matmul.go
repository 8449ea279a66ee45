package ops

import (
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// matShapes works out the batched product of two tensors as numpy's matmul: the
// last two dimensions are matrices, those before broadcast, a tensor of one
// dimension is a row on the left and a column on the right.
type matShapes struct {
	m, k, n int
	batch   []int // broadcast dimensions before the matrices
	a, b    []int // shapes of the operands with at least two dimensions
	out     []int // shape of the result
}

func matmulShapes(a, b []int) (*matShapes, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, graphErr("a product of %v and %v", a, b)
	}
	s := &matShapes{a: a, b: b}
	if len(a) == 1 {
		s.a = []int{1, a[0]}
	}
	if len(b) == 1 {
		s.b = []int{b[0], 1}
	}
	ra, rb := len(s.a), len(s.b)
	s.m, s.k, s.n = s.a[ra-2], s.a[ra-1], s.b[rb-1]
	if s.b[rb-2] != s.k {
		return nil, graphErr("a product of %v and %v", a, b)
	}
	var err error
	if s.batch, err = broadcastShape(s.a[:ra-2], s.b[:rb-2]); err != nil {
		return nil, err
	}
	s.out = clone(s.batch)
	if len(a) > 1 {
		s.out = append(s.out, s.m)
	}
	if len(b) > 1 {
		s.out = append(s.out, s.n)
	}
	return s, nil
}

// each calls f for every matrix product with the numbers of the matrices of a
// and b and of the result.
func (s *matShapes) each(f func(i, a, b int) error) error {
	walk := newSpread(s.batch, s.a[:len(s.a)-2], s.b[:len(s.b)-2])
	var first error
	walk.walk(0, prod(walk.outer), func(row int, offs []int) {
		for j := 0; j < walk.inner && first == nil; j++ {
			first = f(row*walk.inner+j, offs[0]+j*walk.step[0], offs[1]+j*walk.step[1])
		}
	})
	return first
}

func buildMatMul(n *Node) Kernel {
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		if in[0].DType() != in[1].DType() {
			return graphErr("MatMul of %v and %v", in[0], in[1])
		}
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = matmul(x, in[0], in[1])
		case tensor.Int64:
			out[0], err = matmulInt[int64](x, in[0], in[1])
		case tensor.Int32:
			out[0], err = matmulInt[int32](x, in[0], in[1])
		default:
			err = typeErr("MatMul", in[0])
		}
		return err
	})
}

// matmul is the float product. Batches of a that meet one matrix b are taken as
// one tall matrix.
func matmul(x *Context, a, b *tensor.Tensor) (*tensor.Tensor, error) {
	s, err := matmulShapes(a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	t, dst, err := zeros[float32](x, s.out)
	if err != nil || len(dst) == 0 || s.k == 0 {
		return t, err
	}
	av, bv := tensor.Data[float32](a), tensor.Data[float32](b)
	if len(bv) == s.k*s.n {
		return t, gemm(x, dst, av, bv, len(dst)/s.n, s.n, s.k)
	}
	err = s.each(func(i, p, q int) error {
		return gemm(x, dst[i*s.m*s.n:(i+1)*s.m*s.n], av[p*s.m*s.k:(p+1)*s.m*s.k], bv[q*s.k*s.n:(q+1)*s.k*s.n], s.m, s.n, s.k)
	})
	return t, err
}

// gemm adds the product of a [m,k] and b [k,n] to dst [m,n].
func gemm(x *Context, dst, a, b []float32, m, n, k int) error {
	return x.Parallel(m, max(1, minWork*4/(n*k+1)), func(lo, hi int) {
		kernel.Gemm(dst[lo*n:hi*n], a[lo*k:hi*k], b, hi-lo, n, k)
	})
}

func matmulInt[T int64 | int32](x *Context, a, b *tensor.Tensor) (*tensor.Tensor, error) {
	s, err := matmulShapes(a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	t, dst, err := zeros[T](x, s.out)
	if err != nil || len(dst) == 0 {
		return t, err
	}
	av, bv := tensor.Data[T](a), tensor.Data[T](b)
	err = s.each(func(i, p, q int) error {
		c, a, b := dst[i*s.m*s.n:(i+1)*s.m*s.n], av[p*s.m*s.k:(p+1)*s.m*s.k], bv[q*s.k*s.n:(q+1)*s.k*s.n]
		return x.Parallel(s.m, max(1, minWork/(s.n*s.k+1)), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				for j, v := range a[r*s.k : (r+1)*s.k] {
					row := c[r*s.n : (r+1)*s.n]
					for l, w := range b[j*s.n : (j+1)*s.n] {
						row[l] += v * w
					}
				}
			}
		})
	})
	return t, err
}

// buildGemm is alpha*A'*B' + beta*C with optional transposes.
func buildGemm(n *Node) Kernel {
	alpha, beta := n.float("alpha", 1), n.float("beta", 1)
	transA, transB := n.int("transA", 0) != 0, n.int("transB", 0) != 0
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		if err := floatInputs(n.Op, in); err != nil {
			return err
		}
		a, b, c := in[0], in[1], input(in, 2)
		if a.Rank() != 2 || b.Rank() != 2 {
			return graphErr("Gemm of %v and %v", a, b)
		}
		if transA {
			if a, err = transpose(x, a, nil); err != nil {
				return err
			}
		}
		if transB {
			if b, err = transpose(x, b, nil); err != nil {
				return err
			}
		}
		t, err := matmul(x, a, b)
		if err != nil {
			return err
		}
		d := tensor.Data[float32](t)
		if alpha != 1 {
			for i := range d {
				d[i] *= alpha
			}
		}
		out[0] = t
		if c == nil || beta == 0 {
			return nil
		}
		if joint, err := broadcastShape(c.Shape(), t.Shape()); err != nil || prod(joint) != t.Len() || len(joint) != 2 {
			return graphErr("Gemm adds %v to %v", c, t)
		}
		if beta != 1 {
			if c, err = binary(x, c, tensor.Scalar(beta), kernel.Mul); err != nil {
				return err
			}
		}
		out[0], err = binary(x, t, c, kernel.Add)
		return err
	})
}
