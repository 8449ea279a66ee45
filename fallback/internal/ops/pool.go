package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// eachWindow calls f for every window of a pool on channel planes of t, with the index of its
// result and the positions that it covers within the plane.
func eachWindow(x *Context, p *place, planes int, f func(plane, to int, at []int)) error {
	outArea, taps, r := prod(p.out), prod(p.kernel), len(p.in)
	steps := stridesOf(p.in)
	return x.Parallel(planes, max(1, minWork/(outArea*taps+1)), func(lo, hi int) {
		at := make([]int, 0, taps)
		pos, tap := make([]int, r), make([]int, r)
		for plane := lo; plane < hi; plane++ {
			clear(pos)
			for to := range outArea {
				at = at[:0]
				clear(tap)
				for range taps {
					place, inside := 0, true
					for i := range r {
						q := pos[i]*p.strides[i] + tap[i]*p.dilations[i] - p.before[i]
						inside = inside && q >= 0 && q < p.in[i]
						place += q * steps[i]
					}
					if inside {
						at = append(at, place)
					}
					step(tap, p.kernel)
				}
				f(plane, to, at)
				step(pos, p.out)
			}
		}
	})
}

// step moves to the next position in row-major order.
func step(pos, dims []int) {
	for i := len(dims) - 1; i >= 0; i-- {
		if pos[i]++; pos[i] < dims[i] {
			return
		}
		pos[i] = 0
	}
}

func poolPlan(w *window, op string, t *tensor.Tensor) (*place, []int, error) {
	if t.Rank() < 3 || w.kernel == nil {
		return nil, nil, graphErr("%s of %v with a window %v", op, t, w.kernel)
	}
	p, err := w.on(t.Shape()[2:], w.kernel)
	if err != nil {
		return nil, nil, err
	}
	return p, append(clone(t.Shape()[:2]), p.out...), nil
}

func buildMaxPool(n *Node) Kernel {
	w, column := newWindow(n), n.int("storage_order", 0) == 1
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		switch in[0].DType() {
		case tensor.Float32:
			return maxPool[float32](x, w, in[0], out, column)
		case tensor.Float64:
			return maxPool[float64](x, w, in[0], out, column)
		case tensor.Int8:
			return maxPool[int8](x, w, in[0], out, column)
		case tensor.Uint8:
			return maxPool[uint8](x, w, in[0], out, column)
		}
		return typeErr(n.Op, in[0])
	})
}

func maxPool[T number](x *Context, w *window, t *tensor.Tensor, out []*tensor.Tensor,
	column bool) error {
	p, shape, err := poolPlan(w, "MaxPool", t)
	if err != nil {
		return err
	}
	r, dst, err := alloc[T](x, shape)
	if err != nil {
		return err
	}
	out[0] = r
	var index []int64
	if len(out) > 1 {
		if out[1], index, err = alloc[int64](x, shape); err != nil {
			return err
		}
	}
	if len(dst) == 0 {
		return nil
	}
	src, inArea, outArea := tensor.Data[T](t), prod(p.in), prod(p.out)
	return eachWindow(x, p, prod(shape[:2]), func(plane, to int, at []int) {
		if len(at) == 0 { // a window in the padding alone
			at = []int{0}
		}
		best := at[0]
		for _, a := range at[1:] {
			if src[plane*inArea+a] > src[plane*inArea+best] {
				best = a
			}
		}
		dst[plane*outArea+to] = src[plane*inArea+best]
		if index != nil {
			if column { // positions counted with the first dimension fastest
				rest, col, mul := best, 0, 1
				pos := make([]int, len(p.in))
				for i := len(p.in) - 1; i >= 0; i-- {
					pos[i] = rest % p.in[i]
					rest /= p.in[i]
				}
				for i := range pos {
					col += pos[i] * mul
					mul *= p.in[i]
				}
				best = col
			}
			index[plane*outArea+to] = int64(plane*inArea + best)
		}
	})
}

func buildAveragePool(n *Node) Kernel {
	w, includePad := newWindow(n), n.int("count_include_pad", 0) == 1
	return floatPool(n, w, averageOf[float32](includePad), averageOf[float64](includePad))
}

// poolReduce reduces the elements at of a window, number to of a plane of the image.
type poolReduce[T float] func(p *place, to int, plane []T, at []int) float64

func averageOf[T float](includePad bool) poolReduce[T] {
	return func(p *place, to int, plane []T, at []int) float64 {
		var sum float64
		for _, a := range at {
			sum += float64(plane[a])
		}
		count := len(at)
		if includePad {
			count = p.padded(to)
		}
		return sum / float64(max(count, 1)) // 0 where the window lies in the padding alone
	}
}

func floatPool(n *Node, w *window, f poolReduce[float32], g poolReduce[float64]) Kernel {
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case double:
			out[0], err = poolOf(x, n.Op, w, in[0], g)
		default:
			out[0], err = poolOf(x, n.Op, w, in[0], f)
		}
		return err
	})
}

func poolOf[T float](x *Context, op string, w *window, t *tensor.Tensor,
	reduce poolReduce[T]) (*tensor.Tensor, error) {
	p, shape, err := poolPlan(w, op, t)
	if err != nil {
		return nil, err
	}
	r, dst, err := alloc[T](x, shape)
	if err != nil || len(dst) == 0 {
		return r, err
	}
	src, inArea, outArea := tensor.Data[T](t), prod(p.in), prod(p.out)
	return r, eachWindow(x, p, prod(shape[:2]), func(plane, to int, at []int) {
		dst[plane*outArea+to] = T(reduce(p, to, src[plane*inArea:], at))
	})
}

// padded counts the positions of window number to inside the input and its padding; a window that
// ceil_mode lets reach further counts less.
func (p *place) padded(to int) int {
	count := 1
	for i := len(p.out) - 1; i >= 0; i-- {
		start := to % p.out[i] * p.strides[i]
		to /= p.out[i]
		end := p.in[i] + p.before[i] + p.after[i]
		n := 0
		for k := range p.kernel[i] {
			if start+k*p.dilations[i] < end {
				n++
			}
		}
		count *= n
	}
	return count
}

// buildLpPool is the p-norm over each window.
func buildLpPool(n *Node) Kernel {
	w, power := newWindow(n), float64(n.int("p", 2))
	return floatPool(n, w, normOf[float32](power), normOf[float64](power))
}

func normOf[T float](power float64) poolReduce[T] {
	return func(_ *place, _ int, plane []T, at []int) float64 {
		var sum float64
		for _, a := range at {
			sum += math.Pow(math.Abs(float64(plane[a])), power)
		}
		return math.Pow(sum, 1/power)
	}
}

// globalPool reduces all spatial dimensions.
func globalPool(r reducer) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
			t := in[0]
			if _, err := floatInputs(n.Op, in); err != nil || t.Rank() < 2 {
				return typeErr(n.Op, t)
			}
			var spatial []int
			for i := 2; i < t.Rank(); i++ {
				spatial = append(spatial, i)
			}
			p, err := planReduction(t.Shape(), spatial, true)
			if err != nil {
				return err
			}
			out[0], err = r.apply(n.Op, x, t, p)
			return err
		})
	}
}
