package ops

import (
	"math"
	mathbits "math/bits"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// buildTopK keeps the k largest or smallest elements along an axis. Of equal elements the first
// ones count as larger (smaller). The specification leaves open in which order they come where
// attribute sorted is 0, and where NaN ranks. The order is that of ONNX Runtime 1.24 to 1.32, whose
// algorithms are repeated here; NaN ranks above all numbers, as in 1.32.
func buildTopK(n *Node) Kernel {
	at, largest := n.int("axis", -1), n.int("largest", 1) == 1
	sorted := n.int("sorted", 1) == 1
	fixed := n.int("k", -1) // an attribute before version 10
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		k := fixed
		if n.Version >= 10 {
			if len(in) < 2 || in[1] == nil {
				return graphErr("TopK without k")
			}
			if k, err = scalarInt(in[1]); err != nil {
				return err
			}
		}
		switch in[0].DType() {
		case tensor.Float32:
			return topK(x, in[0], out, at, k, sorted, better[float32](largest))
		case tensor.Float64:
			return topK(x, in[0], out, at, k, sorted, better[float64](largest))
		case tensor.Int64:
			return topK(x, in[0], out, at, k, sorted, better[int64](largest))
		case tensor.Int32:
			return topK(x, in[0], out, at, k, sorted, better[int32](largest))
		case tensor.Uint8:
			return topK(x, in[0], out, at, k, sorted, better[uint8](largest))
		case tensor.Int8:
			return topK(x, in[0], out, at, k, sorted, better[int8](largest))
		}
		return typeErr("TopK", in[0])
	})
}

func topK[T number](x *Context, t *tensor.Tensor, out []*tensor.Tensor, at, k int, sorted bool,
	better func(a, b T) bool) error {
	a, err := axis(at, t.Rank())
	if err != nil {
		return err
	}
	shape := clone(t.Shape())
	d := shape[a]
	if k < 0 || k > d {
		return graphErr("TopK of %d among %d", k, d)
	}
	outer, inner := prod(shape[:a]), prod(shape[a+1:])
	shape[a] = k
	values, dst, err := alloc[T](x, shape)
	if err != nil {
		return err
	}
	positions, pos, err := alloc[int64](x, shape)
	if err != nil {
		return err
	}
	out[0] = values
	if len(out) > 1 {
		out[1] = positions
	}
	if k == 0 {
		return x.Err()
	}
	src := tensor.Data[T](t)
	return x.Parallel(outer*inner, max(1, minWork/(8*max(d, 1))), func(lo, hi int) {
		row := make([]T, d)
		r := &ranking{order: make([]int, d), before: func(p, q int) bool {
			a, b := row[p], row[q]
			switch {
			case a == a && b == b:
				return better(a, b) || a == b && p < q
			case a != a && b != b: // both are NaN
				return p < q
			}
			return better(1, 0) == (a != a)
		}}
		for i := lo; i < hi; i++ {
			base := i/inner*d*inner + i%inner
			for j := range row {
				row[j] = src[base+j*inner]
			}
			to := i/inner*k*inner + i%inner
			for j, p := range r.first(k, sorted) {
				dst[to+j*inner] = row[p]
				pos[to+j*inner] = int64(p)
			}
		}
	})
}

// ranking finds the first of len(order) things by an order of their numbers.
type ranking struct {
	order  []int
	before func(p, q int) bool
}

// first returns the first k, in their order where sorted.
func (r *ranking) first(k int, sorted bool) []int {
	n := len(r.order)
	switch {
	case k == 1:
		best := 0
		for p := 1; p < n; p++ {
			if r.before(p, best) {
				best = p
			}
		}
		r.order[0] = best
	case k < 4 || math.Log2(float64(k))/math.Log2(float64(n)) < 0.725:
		r.heap(k, sorted)
	default:
		for p := range r.order {
			r.order[p] = p
		}
		r.partial(k - 1)
		if sorted {
			slices.SortFunc(r.order[:k], r.compare)
		}
	}
	return r.order[:k]
}

func (r *ranking) compare(p, q int) int {
	switch {
	case r.before(p, q):
		return -1
	case r.before(q, p):
		return 1
	}
	return 0
}

// heap keeps the first k in a heap whose root is the last of them.
func (r *ranking) heap(k int, sorted bool) {
	h := r.order[:k]
	for p := range k {
		h[k-1-p] = p
		r.sift(h, k-1-p)
	}
	for p := k; p < len(r.order); p++ {
		if r.before(p, h[0]) {
			h[0] = p
			r.sift(h, 0)
		}
	}
	if !sorted {
		return
	}
	for end := k - 1; end >= 0; end-- {
		h[0], h[end] = h[end], h[0]
		r.sift(h[:end], 0)
	}
}

// sift moves element i of a heap down to its place.
func (r *ranking) sift(h []int, i int) {
	for {
		left, right := 2*i+1, 2*i+2
		next := left
		switch {
		case right < len(h):
			overLeft := r.before(h[i], h[left])
			switch {
			case overLeft && r.before(h[right], h[left]):
			case overLeft || r.before(h[i], h[right]):
				next = right
			default:
				return
			}
		case left >= len(h) || !r.before(h[i], h[left]):
			return
		}
		h[i], h[next] = h[next], h[i]
		i = next
	}
}

// partial brings the element of rank nth to its place and those before it to its left: nth_element
// of the GNU C++ library.
func (r *ranking) partial(nth int) {
	a := r.order
	first, last := 0, len(a)
	for depth := 2 * (mathbits.Len(uint(len(a))) - 1); last-first > 3; depth-- {
		if depth == 0 { // the pivots were bad
			slices.SortFunc(a[first:last], r.compare)
			return
		}
		cut := r.partition(first, last)
		if cut <= nth {
			first = cut
		} else {
			last = cut
		}
	}
	for i := first + 1; i < last; i++ {
		for j := i; j > first && r.before(a[j], a[j-1]); j-- {
			a[j], a[j-1] = a[j-1], a[j]
		}
	}
}

// partition brings what comes before a pivot, the median of three, to the left of the place that it
// returns.
func (r *ranking) partition(first, last int) int {
	a := r.order
	pivot := r.median(first+1, first+(last-first)/2, last-1)
	a[first], a[pivot] = a[pivot], a[first]
	i, j := first+1, last
	for {
		for i < last && r.before(a[i], a[first]) {
			i++
		}
		j--
		for j > first && r.before(a[first], a[j]) {
			j--
		}
		if i >= j {
			return i
		}
		a[i], a[j] = a[j], a[i]
		i++
	}
}

func (r *ranking) median(p, q, s int) int {
	a := r.order
	switch {
	case r.before(a[p], a[q]):
		switch {
		case r.before(a[q], a[s]):
			return q
		case r.before(a[p], a[s]):
			return s
		}
		return p
	case r.before(a[p], a[s]):
		return p
	case r.before(a[q], a[s]):
		return s
	}
	return q
}
