package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// buildArg finds the position of the largest or smallest element along an axis. NaN counts where it
// comes first, as in ONNX Runtime.
func buildArg(largest bool) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		at, keep := n.int("axis", 0), n.int("keepdims", 1) == 1
		last := n.int("select_last_index", 0) == 1
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
			switch in[0].DType() {
			case tensor.Float32:
				out[0], err = arg(x, in[0], at, keep, last, better[float32](largest))
			case tensor.Float64:
				out[0], err = arg(x, in[0], at, keep, last, better[float64](largest))
			case tensor.Int64:
				out[0], err = arg(x, in[0], at, keep, last, better[int64](largest))
			case tensor.Int32:
				out[0], err = arg(x, in[0], at, keep, last, better[int32](largest))
			case tensor.Int8:
				out[0], err = arg(x, in[0], at, keep, last, better[int8](largest))
			case tensor.Uint8:
				out[0], err = arg(x, in[0], at, keep, last, better[uint8](largest))
			default:
				err = typeErr(n.Op, in[0])
			}
			return err
		})
	}
}

func better[T number](largest bool) func(a, b T) bool {
	if largest {
		return greater[T]
	}
	return less[T]
}

func arg[T number](x *Context, t *tensor.Tensor, at int, keep, last bool,
	better func(a, b T) bool) (*tensor.Tensor, error) {
	a, err := axis(at, t.Rank())
	if err != nil {
		return nil, err
	}
	shape := clone(t.Shape())
	d := shape[a]
	outer, inner := prod(shape[:a]), prod(shape[a+1:])
	if d == 0 && outer*inner > 0 {
		return nil, graphErr("the position of an extreme along an empty axis of %v", t)
	}
	shape[a] = 1
	if !keep {
		shape = append(shape[:a], shape[a+1:]...)
	}
	r, dst, err := alloc[int64](x, shape)
	if err != nil {
		return nil, err
	}
	src := tensor.Data[T](t)
	err = x.Parallel(outer*inner, max(1, minWork/max(d, 1)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			base := i/inner*d*inner + i%inner
			best := 0
			for j := 1; j < d; j++ {
				v, b := src[base+j*inner], src[base+best*inner]
				if better(v, b) || last && v == b {
					best = j
				}
			}
			dst[i] = int64(best)
		}
	})
	return r, err
}

func buildOneHot(n *Node) Kernel {
	at := n.int("axis", -1)
	return func(x *Context, in, out []*tensor.Tensor) error {
		index, err := cast(x, in[0], tensor.Int64)
		if err != nil {
			return err
		}
		depths, err := cast(x, in[1], tensor.Int64)
		if err != nil {
			return err
		}
		depth, err := scalarInt(depths)
		if err != nil || in[2].Len() != 2 || depth < 0 {
			return graphErr("OneHot of depth %v with values %v", in[1], in[2])
		}
		a, err := axis(at, index.Rank()+1)
		if err != nil {
			return err
		}
		shape := append(append(clone(index.Shape()[:a]), depth), index.Shape()[a:]...)
		off, err := slice(x, in[2], []int{0}, []int{1}, nil, nil)
		if err != nil {
			return err
		}
		r, err := spreadTo(x, off, shape)
		out[0] = r
		if err != nil || r.Len() == 0 {
			return err
		}
		inner, size := prod(shape[a+1:]), r.DType().Size()
		dst, on := raw(r), raw(in[2])[size:2*size]
		for i, v := range tensor.Data[int64](index) {
			if v < 0 {
				v += int64(depth)
			}
			if v < 0 || v >= int64(depth) {
				continue // such a row is off everywhere
			}
			p := (i/inner*depth+int(v))*inner + i%inner
			copy(dst[p*size:(p+1)*size], on)
		}
		return nil
	}
}

func buildCumSum(n *Node) Kernel {
	exclusive, reverse := n.int("exclusive", 0) == 1, n.int("reverse", 0) == 1
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		at, err := scalarInt(in[1])
		if err != nil {
			return err
		}
		a, err := axis(at, in[0].Rank())
		if err != nil {
			return err
		}
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = cumSum[float32](x, in[0], a, exclusive, reverse)
		case tensor.Float64:
			out[0], err = cumSum[float64](x, in[0], a, exclusive, reverse)
		case tensor.Int64:
			out[0], err = cumSum[int64](x, in[0], a, exclusive, reverse)
		case tensor.Int32:
			out[0], err = cumSum[int32](x, in[0], a, exclusive, reverse)
		default:
			err = typeErr("CumSum", in[0])
		}
		return err
	})
}

func cumSum[T number](x *Context, t *tensor.Tensor, a int,
	exclusive, reverse bool) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil {
		return nil, err
	}
	src, d := tensor.Data[T](t), t.Dim(a)
	inner := prod(t.Shape()[a+1:])
	for i := range prod(t.Shape()[:a]) * inner {
		p, step := i/inner*d*inner+i%inner, inner
		if reverse {
			p, step = p+(d-1)*inner, -inner
		}
		var sum T
		for range d {
			if exclusive {
				dst[p] = sum
				sum += src[p]
			} else {
				sum += src[p]
				dst[p] = sum
			}
			p += step
		}
	}
	return r, x.Err()
}

// buildPad adds elements at the ends of axes, or takes them away.
func buildPad(n *Node) Kernel {
	mode := n.str("mode", "constant")
	n.oneOf("mode", mode, "constant", "reflect", "edge", "wrap")
	var attr []int
	var fill float32
	if n.Version < 11 {
		attr, fill = n.ints("pads"), n.float("value", 0)
	} else {
		n.want(2, 4)
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		t, pads, list := in[0], attr, []int(nil)
		value := tensor.Scalar(fill)
		if n.Version >= 11 {
			if in[1] == nil {
				return graphErr("Pad without pads")
			}
			if pads, err = intsOf(in[1]); err != nil {
				return err
			}
			if v := input(in, 2); v != nil && v.Len() > 0 {
				value = v
			}
			if v := input(in, 3); v != nil {
				if list, err = intsOf(v); err != nil {
					return err
				}
				if list, err = axes(list, t.Rank()); err != nil {
					return err
				}
			}
		}
		if value.Len() != 1 {
			return graphErr("Pad with %v", value)
		}
		if value, err = cast(x, value, t.DType()); err != nil {
			return err
		}
		if list == nil {
			list = make([]int, t.Rank())
			for i := range list {
				list[i] = i
			}
		}
		if len(pads) != 2*len(list) {
			return graphErr("Pad of %v with %d pads for %d axes", t, len(pads), len(list))
		}
		before, after := make([]int, t.Rank()), make([]int, t.Rank())
		for i, a := range list {
			before[a], after[a] = pads[i], pads[len(list)+i]
		}
		out[0], err = pad(x, t, before, after, mode, value)
		return err
	}
}

func pad(x *Context, t *tensor.Tensor, before, after []int, mode string,
	value *tensor.Tensor) (*tensor.Tensor, error) {
	shape := clone(t.Shape())
	for i := range shape {
		shape[i] += before[i] + after[i]
		if shape[i] < 0 || shape[i] > math.MaxInt32 {
			return nil, graphErr("Pad of %v by %v and %v", t, before, after)
		}
	}
	r, err := x.Alloc(t.DType(), shape)
	if err != nil || r.Len() == 0 {
		return r, err
	}
	// Where each output position of an axis comes from; -1 for the constant.
	from := make([][]int, len(shape))
	steps := stridesOf(t.Shape())
	for a, d := range t.Shape() {
		from[a] = make([]int, shape[a])
		for i := range from[a] {
			p := i - before[a]
			if p < 0 || p >= d {
				switch {
				case mode == "constant":
					from[a][i] = -1
					continue
				case d == 0:
					return nil, graphErr("Pad of %v by its own elements", t)
				case mode == "edge":
					p = min(max(p, 0), d-1)
				case mode == "wrap":
					p = ((p % d) + d) % d
				case d == 1:
					p = 0
				default: // reflect, over and over
					period := 2 * (d - 1)
					if p = ((p % period) + period) % period; p >= d {
						p = period - p
					}
				}
			}
			from[a][i] = p * steps[a]
		}
	}
	size := t.DType().Size()
	dst, src, fill := raw(r), raw(t), raw(value)
	inner := 1
	if len(shape) > 0 {
		inner = shape[len(shape)-1]
	}
	outer := shape[:max(0, len(shape)-1)]
	err = x.Parallel(r.Len()/inner, max(1, minWork/inner), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			base, rest, inside := 0, row, true
			for a := len(outer) - 1; a >= 0; a-- {
				f := from[a][rest%outer[a]]
				rest /= outer[a]
				inside = inside && f >= 0
				base += f
			}
			to := dst[row*inner*size : (row+1)*inner*size]
			for i := range inner {
				v := fill
				f := 0
				if len(shape) > 0 {
					f = from[len(shape)-1][i]
				}
				if inside && f >= 0 {
					v = src[(base+f)*size : (base+f+1)*size]
				}
				copy(to[i*size:(i+1)*size], v)
			}
		}
	})
	return r, err
}

func buildDepthToSpace(n *Node) Kernel {
	b, mode := n.int("blocksize", 0), n.str("mode", "DCR")
	n.oneOf("mode", mode, "DCR", "CRD")
	if b < 1 {
		n.fail("blocksize is %d", b)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		s := in[0].Shape()
		if len(s) != 4 || s[1]%(b*b) != 0 {
			return graphErr("DepthToSpace of %v by %d", in[0], b)
		}
		c := s[1] / (b * b)
		split, perm := []int{s[0], b, b, c, s[2], s[3]}, []int{0, 3, 4, 1, 5, 2}
		if mode == "CRD" {
			split, perm = []int{s[0], c, b, b, s[2], s[3]}, []int{0, 1, 4, 2, 5, 3}
		}
		t, err := reshaped(in[0], split)
		if err != nil {
			return err
		}
		if t, err = transpose(x, t, perm); err != nil {
			return err
		}
		out[0], err = reshaped(t, []int{s[0], c, s[2] * b, s[3] * b})
		return err
	}
}

func buildSpaceToDepth(n *Node) Kernel {
	b := n.int("blocksize", 0)
	if b < 1 {
		n.fail("blocksize is %d", b)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		s := in[0].Shape()
		if len(s) != 4 || s[2]%b != 0 || s[3]%b != 0 {
			return graphErr("SpaceToDepth of %v by %d", in[0], b)
		}
		t, err := reshaped(in[0], []int{s[0], s[1], s[2] / b, b, s[3] / b, b})
		if err != nil {
			return err
		}
		if t, err = transpose(x, t, []int{0, 3, 5, 1, 2, 4}); err != nil {
			return err
		}
		out[0], err = reshaped(t, []int{s[0], s[1] * b * b, s[2] / b, s[3] / b})
		return err
	}
}
