package ops

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// broadcastShape returns the shape that all the shapes broadcast to, as numpy does: aligned at the
// end, dimensions equal or 1.
func broadcastShape(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		for i, d := range s {
			j := rank - len(s) + i
			switch {
			case out[j] == 1:
				out[j] = d
			case d != 1 && d != out[j]:
				return nil, graphErr("shapes %v do not broadcast", shapes)
			}
		}
	}
	return out, nil
}

// spread walks operands that are broadcast to one shape, a row at a time. It merges adjacent
// dimensions in which every operand moves alike, so that rows are as long as possible.
type spread struct {
	outer   []int   // merged dimensions but the last
	inner   int     // the last: the length of a row
	strides [][]int // per operand, one for each of outer
	step    []int   // per operand: 1 if it moves along the row, 0 if it repeats
}

// newSpread plans the walk; every shape must broadcast to out.
func newSpread(out []int, shapes ...[]int) *spread {
	n := len(shapes)
	full := make([][]int, n) // strides of each operand in out's dimensions
	for k, s := range shapes {
		full[k] = make([]int, len(out))
		stride := 1
		for i := len(s) - 1; i >= 0; i-- {
			if s[i] != 1 {
				full[k][len(out)-len(s)+i] = stride
			}
			stride *= s[i]
		}
	}
	var dims []int
	strides := make([][]int, n)
	for i, d := range out {
		if d == 1 {
			continue
		}
		last := len(dims) - 1
		merge := last >= 0
		for k := 0; k < n && merge; k++ {
			merge = strides[k][last] == full[k][i]*d
		}
		if merge {
			dims[last] *= d
			for k := range n {
				strides[k][last] = full[k][i]
			}
			continue
		}
		dims = append(dims, d)
		for k := range n {
			strides[k] = append(strides[k], full[k][i])
		}
	}
	s := &spread{inner: 1, step: make([]int, n), strides: make([][]int, n)}
	if len(dims) == 0 {
		for k := range n {
			s.step[k] = 1 // one element: any step will do
		}
		return s
	}
	last := len(dims) - 1
	s.outer, s.inner = dims[:last], dims[last]
	for k := range n {
		s.strides[k], s.step[k] = strides[k][:last], strides[k][last]
	}
	return s
}

// walk calls f for rows lo..hi with the offset of each operand's row; offs is reused between calls.
func (s *spread) walk(lo, hi int, f func(row int, offs []int)) {
	index := make([]int, len(s.outer))
	offs := make([]int, len(s.strides))
	rest := lo
	for i := len(s.outer) - 1; i >= 0; i-- {
		index[i] = rest % s.outer[i]
		rest /= s.outer[i]
		for k := range offs {
			offs[k] += index[i] * s.strides[k][i]
		}
	}
	for row := lo; row < hi; row++ {
		f(row, offs)
		for i := len(s.outer) - 1; i >= 0; i-- {
			index[i]++
			for k := range offs {
				offs[k] += s.strides[k][i]
			}
			if index[i] < s.outer[i] {
				break
			}
			for k := range offs {
				offs[k] -= index[i] * s.strides[k][i]
			}
			index[i] = 0
		}
	}
}

// rowFunc computes a row: dst[i] from a[i] and b[i]. a or b may hold a single element, which then
// stands for all.
type rowFunc[T, R any] func(dst []R, a, b []T)

// rowOf makes a rowFunc of a function of two elements.
func rowOf[T, R any](f func(a, b T) R) rowFunc[T, R] {
	return func(dst []R, a, b []T) {
		switch {
		case len(a) == 1 && len(b) == 1 && len(dst) >= 1:
			v := f(a[0], b[0])
			for i := range dst {
				dst[i] = v
			}
		case len(b) == 1:
			v := b[0]
			for i, u := range a[:len(dst)] {
				dst[i] = f(u, v)
			}
		case len(a) == 1:
			u := a[0]
			for i, v := range b[:len(dst)] {
				dst[i] = f(u, v)
			}
		default:
			b := b[:len(dst)]
			for i, u := range a[:len(dst)] {
				dst[i] = f(u, b[i])
			}
		}
	}
}

// What is worth another goroutine: simple operations on elements, about 10 microseconds of them,
// and floating-point operations of a product.
const (
	minWork  = 1 << 14
	minFlops = kernel.PieceFlops
)

// binary applies row to a and b broadcast against each other.
func binary[T, R tensor.Element](x *Context, a, b *tensor.Tensor,
	row rowFunc[T, R]) (*tensor.Tensor, error) {
	shape, err := broadcastShape(a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	t, dst, err := alloc[R](x, shape)
	if err != nil || len(dst) == 0 {
		return t, err
	}
	av, bv := tensor.Data[T](a), tensor.Data[T](b)
	s := newSpread(shape, a.Shape(), b.Shape())
	if len(s.outer) == 0 { // one long row: split it
		err = x.Parallel(len(dst), minWork, func(lo, hi int) {
			row(dst[lo:hi], part(av, s.step[0], lo, hi), part(bv, s.step[1], lo, hi))
		})
		return t, err
	}
	err = x.Parallel(len(dst)/s.inner, max(1, minWork/s.inner), func(lo, hi int) {
		s.walk(lo, hi, func(r int, offs []int) {
			i, j := offs[0], offs[1]
			row(dst[r*s.inner:(r+1)*s.inner], part(av[i:], s.step[0], 0, s.inner),
				part(bv[j:], s.step[1], 0, s.inner))
		})
	})
	return t, err
}

// part returns v[lo:hi] of an operand that moves along the row, v[:1] of one that repeats.
func part[T any](v []T, step, lo, hi int) []T {
	if step == 0 {
		return v[:1]
	}
	return v[lo:hi]
}

// unary applies f to every element.
func unary[T, R tensor.Element](x *Context, a *tensor.Tensor, work int,
	f func(dst []R, src []T)) (*tensor.Tensor, error) {
	t, dst, err := alloc[R](x, a.Shape())
	if err != nil {
		return nil, err
	}
	src := tensor.Data[T](a)
	err = x.Parallel(len(dst), max(1, minWork/work), func(lo, hi int) { f(dst[lo:hi], src[lo:hi]) })
	return t, err
}

// each makes a function of slices of a function of elements.
func each[T, R any](f func(T) R) func(dst []R, src []T) {
	return func(dst []R, src []T) {
		dst = dst[:len(src)]
		for i, v := range src {
			dst[i] = f(v)
		}
	}
}

// viaFloat runs a kernel written for float32 on float16 and bfloat16 tensors too: inputs are
// widened, and float32 outputs rounded back.
func viaFloat(k Kernel) Kernel { return viaFloatFirst(k, math.MaxInt) }

// viaFloatFirst is viaFloat that rounds back only the first outputs. The others are float32
// whatever the inputs are.
func viaFloatFirst(k Kernel, first int) Kernel { return viaFloats(k, first, nil) }

// viaFloatBut is viaFloat that leaves caches as they are, inputs [B,H,T,D] of float16 at the places
// of kept: a kernel widens what it reads of them.
func viaFloatBut(kept []int, k Kernel) Kernel { return viaFloats(k, math.MaxInt, kept) }

func viaFloats(k Kernel, first int, kept []int) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		narrowed := tensor.Invalid
		for _, t := range in {
			if isNarrow(t) {
				narrowed = t.DType()
			}
		}
		if narrowed == tensor.Invalid {
			return k(x, in, out)
		}
		wide := make([]*tensor.Tensor, len(in))
		for i, t := range in {
			wide[i] = t
			cache := slices.Contains(kept, i) && t != nil && t.Rank() == 4
			if !isNarrow(t) || cache && t.DType() == tensor.Float16 {
				continue
			}
			var err error
			if wide[i], err = widen(x, t); err != nil {
				return err
			}
		}
		if err := k(x, wide, out); err != nil {
			return err
		}
		for i, t := range out {
			if t == nil || t.DType() != tensor.Float32 || i >= first {
				continue
			}
			h, err := narrow(x, t, narrowed)
			if err != nil {
				return err
			}
			out[i] = h
		}
		return nil
	}
}

// isNarrow says whether a tensor is there and of floats that are widened to compute with them.
func isNarrow(t *tensor.Tensor) bool {
	return t != nil && (t.DType() == tensor.Float16 || t.DType() == tensor.BFloat16)
}

// widen makes float32 of float16 or bfloat16.
func widen(x *Context, t *tensor.Tensor) (*tensor.Tensor, error) {
	if t.DType() == tensor.BFloat16 {
		return unary(x, t, 1, each(tensor.BF16.Float32))
	}
	return unary(x, t, 2,
		func(dst []float32, src []tensor.Half) { kernel.FromHalf(dst, as[uint16](src)) })
}

// narrow rounds float32 to float16 or bfloat16.
func narrow(x *Context, t *tensor.Tensor, to tensor.DType) (*tensor.Tensor, error) {
	if to == tensor.BFloat16 {
		return unary(x, t, 1, each(tensor.ToBF16))
	}
	return unary(x, t, 2,
		func(dst []tensor.Half, src []float32) { kernel.ToHalf(as[uint16](dst), src) })
}
