package ops

import (
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// convolution is the plan of one convolution: X [N, C, ...], W [M, C/group, ...].
type convolution struct {
	*place
	n, c, m, group int
	out            []int // whole output shape
}

func planConv(w *window, group int, xs, ws []int) (*convolution, error) {
	if len(xs) < 3 || len(ws) != len(xs) {
		return nil, graphErr("a convolution of %v by %v", xs, ws)
	}
	c := &convolution{n: xs[0], c: xs[1], m: ws[0], group: group}
	if group < 1 || c.c != ws[1]*group || c.m%group != 0 {
		return nil, graphErr("a convolution of %v by %v in %d groups", xs, ws, group)
	}
	if w.kernel != nil {
		for i, k := range w.kernel {
			if len(w.kernel) != len(ws)-2 || k != ws[i+2] {
				return nil, graphErr("kernel_shape %v, but the weights are %v", w.kernel, ws)
			}
		}
	}
	var err error
	if c.place, err = w.on(xs[2:], ws[2:]); err != nil {
		return nil, err
	}
	c.out = append([]int{c.n, c.m}, c.place.out...)
	return c, nil
}

func buildConv(n *Node) Kernel {
	w, group := newWindow(n), n.int("group", 1)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := floatInputs(n.Op, in); err != nil {
			return err
		}
		c, err := planConv(w, group, in[0].Shape(), in[1].Shape())
		if err != nil {
			return err
		}
		r, dst, err := alloc[float32](x, c.out)
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		inner := prod(c.place.out)
		clear(dst)
		if b := input(in, 2); b != nil {
			if b.Len() != c.m {
				return graphErr("a convolution to %d channels with bias %v", c.m, b)
			}
			bias := tensor.Data[float32](b)
			for i := range c.n * c.m {
				row := dst[i*inner : (i+1)*inner]
				for j := range row {
					row[j] = bias[i%c.m]
				}
			}
		}
		return convolve(x, c, dst, tensor.Data[float32](in[0]), tensor.Data[float32](in[1]),
			func(dst, a, b []float32, m, n, k int) { kernel.Gemm(dst, a, b, m, n, k) })
	})
}

// convolve adds to dst, for each sample and group, weights [M/group, K] times
// columns [K, positions], where a column holds what the window covers. gemm adds
// such a product.
func convolve[T, R tensor.Element](x *Context, c *convolution, dst []R, src, weights []T, gemm func(dst []R, a, b []T, m, n, k int)) error {
	cg, mg := c.c/c.group, c.m/c.group
	inner, area := prod(c.place.out), prod(c.in)
	k := cg * prod(c.kernel)
	if k == 0 {
		return nil
	}
	scratch, columns, err := alloc[T](x, []int{k, inner})
	if err != nil {
		return err
	}
	_ = scratch
	for s := range c.n {
		for g := range c.group {
			from := src[(s*c.c+g*cg)*area : (s*c.c+(g+1)*cg)*area]
			if err := x.Parallel(cg, max(1, minWork/(inner*k/cg)), func(lo, hi int) {
				c.columns(lo, hi, func(row, col, at int) {
					if at < 0 {
						var zero T
						columns[row*inner+col] = zero
					} else {
						columns[row*inner+col] = from[at]
					}
				})
			}); err != nil {
				return err
			}
			to := dst[(s*c.m+g*mg)*inner : (s*c.m+(g+1)*mg)*inner]
			w := weights[g*mg*k : (g+1)*mg*k]
			if err := x.Parallel(mg, max(1, minWork/(inner*k)), func(lo, hi int) {
				gemm(to[lo*inner:hi*inner], w[lo*k:hi*k], columns, hi-lo, inner, k)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// columns calls put for each element of the columns of channels lo..hi of a
// group, with its place in the group's input, or -1 where it lies in padding.
func (c *convolution) columns(lo, hi int, put func(row, col, at int)) {
	taps, inner, area := prod(c.kernel), prod(c.place.out), prod(c.in)
	r := len(c.in)
	steps := stridesOf(c.in)
	tap, pos := make([]int, r), make([]int, r)
	for ch := lo; ch < hi; ch++ {
		for t := range taps {
			rest := t
			for i := r - 1; i >= 0; i-- {
				tap[i] = rest % c.kernel[i] * c.dilations[i]
				rest /= c.kernel[i]
			}
			clear(pos)
			for col := range inner {
				at := ch * area
				for i := range r {
					p := pos[i]*c.strides[i] + tap[i] - c.before[i]
					if p < 0 || p >= c.in[i] {
						at = -1
						break
					}
					at += p * steps[i]
				}
				put(ch*taps+t, col, at)
				for i := r - 1; i >= 0; i-- {
					if pos[i]++; pos[i] < c.place.out[i] {
						break
					}
					pos[i] = 0
				}
			}
		}
	}
}

// buildConvTranspose spreads each input element over the window it came from.
func buildConvTranspose(n *Node) Kernel {
	w, group := newWindow(n), n.int("group", 1)
	extra, wanted := n.ints("output_padding"), n.ints("output_shape")
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := floatInputs(n.Op, in); err != nil {
			return err
		}
		xs, ws := in[0].Shape(), in[1].Shape()
		if len(xs) < 3 || len(ws) != len(xs) || group < 1 || xs[1] != ws[0] || xs[1]%group != 0 {
			return graphErr("a transposed convolution of %v by %v in %d groups", in[0], in[1], group)
		}
		p, err := w.transposed(xs[2:], ws[2:], extra, wanted)
		if err != nil {
			return err
		}
		cg, mg := xs[1]/group, ws[1]
		m := mg * group
		r, dst, err := zeros[float32](x, append([]int{xs[0], m}, p.out...))
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		outArea, inArea, taps := prod(p.out), prod(xs[2:]), prod(ws[2:])
		if b := input(in, 2); b != nil {
			if b.Len() != m {
				return graphErr("a transposed convolution to %d channels with bias %v", m, b)
			}
			for i := range dst {
				dst[i] = tensor.Data[float32](b)[i/outArea%m]
			}
		}
		src, weights := tensor.Data[float32](in[0]), tensor.Data[float32](in[1])
		steps := stridesOf(p.out)
		return x.Parallel(xs[0]*m, 1, func(lo, hi int) {
			pos, tap := make([]int, len(p.out)), make([]int, len(p.out))
			for i := lo; i < hi; i++ {
				s, ch := i/m, i%m
				g := ch / mg
				for a := range inArea {
					rest := a
					for d := len(pos) - 1; d >= 0; d-- {
						pos[d] = rest%xs[2+d]*p.strides[d] - p.before[d]
						rest /= xs[2+d]
					}
					for t := range taps {
						rest, at, inside := t, i*outArea, true
						for d := len(tap) - 1; d >= 0; d-- {
							q := pos[d] + rest%ws[2+d]*p.dilations[d]
							rest /= ws[2+d]
							inside = inside && q >= 0 && q < p.out[d]
							at += q * steps[d]
						}
						if !inside {
							continue
						}
						var sum float32
						for c := g * cg; c < (g+1)*cg; c++ {
							sum += src[(s*xs[1]+c)*inArea+a] * weights[(c*mg+ch%mg)*taps+t]
						}
						dst[at] += sum
					}
				}
			}
		})
	})
}

// transposed works out the output size of a transposed convolution.
func (w *window) transposed(in, kernel, extra, wanted []int) (*place, error) {
	r := len(in)
	plain := &window{strides: w.strides, dilations: w.dilations, pads: w.pads, autoPad: "SAME_UPPER"}
	p, err := plain.on(in, kernel) // checks lengths, fills in defaults
	if err != nil {
		return nil, err
	}
	if wanted != nil && len(wanted) == r+2 {
		wanted = wanted[2:]
	}
	if extra != nil && len(extra) != r || wanted != nil && len(wanted) != r {
		return nil, graphErr("output_padding %v and output_shape %v for %d dimensions", extra, wanted, r)
	}
	for i := range r {
		more := 0
		if extra != nil {
			more = extra[i]
		}
		full := p.strides[i]*(in[i]-1) + more + (kernel[i]-1)*p.dilations[i] + 1
		p.before[i], p.after[i] = 0, 0
		switch {
		case wanted != nil || w.autoPad == "SAME_UPPER" || w.autoPad == "SAME_LOWER":
			p.out[i] = in[i] * p.strides[i]
			if wanted != nil {
				p.out[i] = wanted[i]
			}
			total := max(0, full-p.out[i])
			p.before[i] = total - total/2
			if w.autoPad == "SAME_UPPER" || w.autoPad == "NOTSET" {
				p.before[i] = total / 2
			}
		default:
			if w.pads != nil && w.autoPad == "NOTSET" {
				p.before[i], p.after[i] = w.pads[i], w.pads[r+i]
			}
			p.out[i] = full - p.before[i] - p.after[i]
		}
		if p.out[i] < 0 {
			return nil, graphErr("a transposed convolution to a dimension of %d", p.out[i])
		}
	}
	return p, nil
}
