package ops

import (
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// matShapes holds the shapes of a batched product, as numpy's matmul has it: the last two
// dimensions are matrices and those before are broadcast; a tensor of one dimension is a row on the
// left and a column on the right.
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

// each calls f for every matrix product with the numbers of the matrices of a and b and of the
// result.
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
	weights := n.packed(1, false)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		if weights == nil && in[0].DType() != in[1].DType() {
			return graphErr("MatMul of %v and %v", in[0], in[1])
		}
		switch {
		case in[0].DType() == tensor.Float32:
			out[0], err = matmul(x, in[0], in[1], weights, nil)
		case weights == nil:
			out[0], err = anyMatmul(x, in[0], in[1])
		default:
			err = typeErr("MatMul", in[0])
		}
		return err
	})
}

// anyMatmul is the product of two tensors of one type.
func anyMatmul(x *Context, a, b *tensor.Tensor) (*tensor.Tensor, error) {
	switch a.DType() {
	case tensor.Float32:
		return matmul(x, a, b, nil, nil)
	case tensor.Float64:
		return plainMatmul[float64](x, a, b)
	case tensor.Int64:
		return plainMatmul[int64](x, a, b)
	case tensor.Int32:
		return plainMatmul[int32](x, a, b)
	}
	return nil, typeErr("a product", a)
}

// fillMatrix packs b, whose rows are those of m or, transposed, its columns.
func fillMatrix(x *Context, m *kernel.Matrix, b []float32, transposed bool) error {
	return x.Parallel(m.Panels(), max(1, minWork/(16*m.K+1)), func(lo, hi int) {
		if transposed {
			m.FillTransposed(b, m.K, lo, hi)
		} else {
			m.Fill(b, m.N, lo, hi)
		}
	})
}

// matmul is the float product of a and b or, if b was packed before, of a and weights. Batches of a
// that meet one matrix b are taken as one tall matrix.
func matmul(x *Context, a, b *tensor.Tensor, weights *weights,
	e *kernel.Epilogue) (*tensor.Tensor, error) {
	var right []int
	if weights != nil {
		right = []int{weights.K, weights.N}
	} else {
		right = b.Shape()
	}
	s, err := matmulShapes(a.Shape(), right)
	if err != nil {
		return nil, err
	}
	t, dst, err := alloc[float32](x, s.out)
	if err != nil || len(dst) == 0 {
		return t, err
	}
	if weights != nil {
		return t, weights.multiply(x, dst, a, len(dst)/s.n, e)
	}
	av, bv := tensor.Data[float32](a), tensor.Data[float32](b)
	if s.k == 0 {
		clear(dst)
	} else if len(bv) == s.k*s.n {
		err = product(x, dst, av, bv, len(dst)/s.n, s.n, s.k)
	} else {
		err = s.products(x, dst, av, bv)
	}
	if err == nil && e != nil {
		err = x.Parallel(len(dst)/s.n, max(1, minWork/s.n),
			func(lo, hi int) { e.Apply(dst, s.n, lo, hi, 0, s.n) })
	}
	return t, err
}

// product sets dst [m,n] to a [m,k] times b [k,n].
func product(x *Context, dst, a, b []float32, m, n, k int) error {
	if m < 4 { // not worth packing
		return x.Parallel((n+63)/64, max(1, minWork/(64*k*m)), func(lo, hi int) {
			c0, c1 := lo*64, min(hi*64, n)
			for i := range m {
				axpys(dst[i*n+c0:i*n+c1], a[i*k:(i+1)*k], b[c0:], n)
			}
		})
	}
	_, buf, err := alloc[float32](x, []int{kernel.PanelFloats(k, n)})
	if err != nil {
		return err
	}
	w := kernel.NewMatrix(buf, k, n)
	if err := fillMatrix(x, w, b, false); err != nil {
		return err
	}
	return mulPacked(x, w, dst, a, m, nil)
}

// axpys sets dst to a row times a matrix whose rows begin ldb apart.
func axpys(dst, a, b []float32, ldb int) {
	clear(dst)
	for j, v := range a {
		kernel.Axpy(dst, b[j*ldb:j*ldb+len(dst)], v)
	}
}

// products computes each matrix product of a batch in one piece, several at a time.
func (s *matShapes) products(x *Context, dst, a, b []float32) error {
	type job struct{ i, p, q int }
	var jobs []job
	if err := s.each(func(i, p, q int) error {
		jobs = append(jobs, job{i, p, q})
		return nil
	}); err != nil {
		return err
	}
	grain, floats := max(1, minWork/(s.m*s.n*s.k)), kernel.PanelFloats(s.k, s.n)
	return x.ParallelScratch(len(jobs), grain, floats, func(lo, hi int, buf []float32) {
		w := kernel.NewMatrix(buf, s.k, s.n)
		for _, j := range jobs[lo:hi] {
			c := dst[j.i*s.m*s.n : (j.i+1)*s.m*s.n]
			a, b := a[j.p*s.m*s.k:(j.p+1)*s.m*s.k], b[j.q*s.k*s.n:(j.q+1)*s.k*s.n]
			if s.m < 4 {
				for r := range s.m {
					axpys(c[r*s.n:(r+1)*s.n], a[r*s.k:(r+1)*s.k], b, s.n)
				}
				continue
			}
			w.Fill(b, s.n, 0, w.Panels())
			w.Multiply(c, s.n, a, s.k, s.m, 0, w.Panels(), false, nil)
		}
	})
}

// mulPacked sets dst [rows,N] to a [rows,K] times w, on all cores.
func mulPacked(x *Context, w *kernel.Matrix, dst, a []float32, rows int, e *kernel.Epilogue) error {
	left, _, err := leftOf(x, w, a, rows)
	if err != nil {
		return err
	}
	return mulLeft(x, w, dst, a, left, rows, e)
}

// mulLeft is mulPacked with the left operand in w's form, nil where that is a.
func mulLeft(x *Context, w *kernel.Matrix, dst, a []float32, left *kernel.Left, rows int,
	e *kernel.Epilogue) error {
	pieces := w.Pieces(rows, x.Threads())
	work := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			r0, r1, p0, p1 := pieces.At(i)
			c, rest := dst[r0*w.N:r1*w.N], after(e, r0*w.N)
			if left != nil {
				left.Multiply(c, w.N, r0, r1, p0, p1, false, rest)
			} else {
				w.Multiply(c, w.N, a[r0*w.K:], w.K, r1-r0, p0, p1, false, rest)
			}
		}
	}
	if pieces.Cores == 1 {
		work(0, pieces.Count)
		return x.Err()
	}
	return x.Parallel(pieces.Count, 1, work)
}

// plainMatmul is matmul of other types than float32.
func plainMatmul[T float64 | int64 | int32](x *Context, a, b *tensor.Tensor) (*tensor.Tensor, error) {
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
		c := dst[i*s.m*s.n : (i+1)*s.m*s.n]
		a, b := av[p*s.m*s.k:(p+1)*s.m*s.k], bv[q*s.k*s.n:(q+1)*s.k*s.n]
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
	weights := n.packed(1, transB)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		a, b, c := in[0], in[1], input(in, 2)
		integers := a.DType() == tensor.Int32 || a.DType() == tensor.Int64
		double := false
		if integers {
			for _, t := range in {
				if weights != nil || t != nil && t.DType() != a.DType() {
					return typeErr(n.Op+" with other factors or sums", a)
				}
			}
		} else if double, err = floatInputs(n.Op, in); err != nil {
			return err
		}
		if a.Rank() != 2 || b != nil && b.Rank() != 2 {
			return graphErr("Gemm of %v and %v", a, b)
		}
		if transA {
			if a, err = transpose(x, a, nil); err != nil {
				return err
			}
		}
		if transB && weights == nil {
			if b, err = transpose(x, b, nil); err != nil {
				return err
			}
		}
		var t *tensor.Tensor
		if double || integers {
			t, err = anyMatmul(x, a, b)
		} else {
			t, err = matmul(x, a, b, weights, nil)
		}
		if err != nil {
			return err
		}
		if alpha != 1 && integers {
			if t, err = scaledIntegers(x, t, alpha); err != nil {
				return err
			}
		} else if alpha != 1 {
			scaleBy(tensor.Data[float32](t), alpha)
			scaleBy(tensor.Data[float64](t), float64(alpha))
		}
		out[0] = t
		if c == nil || beta == 0 {
			return nil
		}
		if joint, err := broadcastShape(c.Shape(), t.Shape()); err != nil ||
			prod(joint) != t.Len() || len(joint) != 2 {
			return graphErr("Gemm adds %v to %v", c, t)
		}
		if beta != 1 && integers {
			if c, err = scaledIntegers(x, c, beta); err != nil {
				return err
			}
		} else if beta != 1 {
			factor, err := cast(x, tensor.Scalar(beta), c.DType())
			if err != nil {
				return err
			}
			if c, err = multiply.apply(n.Op, x, c, factor); err != nil {
				return err
			}
		}
		out[0], err = add.apply(n.Op, x, t, c)
		return err
	})
}

// scaledIntegers multiplies integers with a float, and drops the fractions.
func scaledIntegers(x *Context, t *tensor.Tensor, factor float32) (*tensor.Tensor, error) {
	wide, err := cast(x, t, tensor.Float64)
	if err != nil {
		return nil, err
	}
	scaleBy(tensor.Data[float64](wide), float64(factor))
	return cast(x, wide, t.DType())
}

func scaleBy[T float](d []T, factor T) {
	for i := range d {
		d[i] *= factor
	}
}

// buildFusedMatMulMS is com.microsoft's FusedMatMul: alpha times a product whose operands may be
// transposed, in their matrices (transA) or by moving the first dimension behind the other ones of
// the batch (transBatchA).
func buildFusedMatMulMS(n *Node) Kernel {
	alpha := n.float("alpha", 1)
	var trans, transBatch [2]bool
	for i, name := range []string{"A", "B"} {
		trans[i], transBatch[i] = n.int("trans"+name, 0) != 0, n.int("transBatch"+name, 0) != 0
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		ops := [2]*tensor.Tensor{in[0], in[1]}
		for i, t := range ops {
			rank := t.Rank()
			perm := make([]int, rank)
			for j := range perm {
				perm[j] = j
			}
			if transBatch[i] && rank > 2 {
				copy(perm, perm[1:rank-1])
				perm[rank-2] = 0
			}
			if trans[i] && rank > 1 {
				perm[rank-2], perm[rank-1] = perm[rank-1], perm[rank-2]
			}
			if trans[i] || transBatch[i] {
				if ops[i], err = transpose(x, t, perm); err != nil {
					return err
				}
			}
		}
		if ops[0].DType() != ops[1].DType() {
			return graphErr("%s of %v and %v", n.Op, ops[0], ops[1])
		}
		if out[0], err = anyMatmul(x, ops[0], ops[1]); err != nil || alpha == 1 {
			return err
		}
		scaleBy(tensor.Data[float32](out[0]), alpha)
		scaleBy(tensor.Data[float64](out[0]), float64(alpha))
		return nil
	})
}
