package ops

import (
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// buildConvTranspose spreads each input element over the window it came from.
func buildConvTranspose(n *Node) Kernel {
	t := &transposed{
		window: newWindow(n), group: n.int("group", 1), extra: n.ints("output_padding"),
		wanted: n.ints("output_shape"), version: n.Version,
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case double:
			out[0], err = convTranspose[float64](x, t, in)
		default:
			out[0], err = convTranspose[float32](x, t, in)
		}
		return err
	})
}

// transposed is a transposed convolution.
type transposed struct {
	*window
	group         int
	extra, wanted []int // output_padding and output_shape; nil where not given
	version       int
}

func convTranspose[T float](x *Context, t *transposed,
	in []*tensor.Tensor) (*tensor.Tensor, error) {
	xs, ws := in[0].Shape(), in[1].Shape()
	if len(xs) < 3 || len(ws) != len(xs) || t.group < 1 || xs[1] != ws[0] || xs[1]%t.group != 0 {
		return nil, graphErr("a transposed convolution of %v by %v in %d groups",
			in[0], in[1], t.group)
	}
	p, err := t.on(xs[2:], ws[2:])
	if err != nil {
		return nil, err
	}
	cg, mg := xs[1]/t.group, ws[1]
	m := mg * t.group
	r, dst, err := zeros[T](x, append([]int{xs[0], m}, p.out...))
	if err != nil || len(dst) == 0 {
		return r, err
	}
	outArea, inArea, taps := prod(p.out), prod(xs[2:]), prod(ws[2:])
	if b := input(in, 2); b != nil {
		if b.Len() != m {
			return nil, graphErr("a transposed convolution to %d channels with bias %v", m, b)
		}
		fillChannels(dst, tensor.Data[T](b), outArea)
	}
	src, weights := tensor.Data[T](in[0]), tensor.Data[T](in[1])
	s := &tapWalk{place: p, in: xs[2:], kernel: ws[2:], last: p.strides[len(p.strides)-1]}
	if dst, ok := any(dst).([]float32); ok && cg >= spreadChannels {
		return r, s.dense(x, dst, any(src).([]float32), any(weights).([]float32), xs, mg, t.group)
	}
	return r, x.Parallel(xs[0]*m, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ch := i % m
			to := dst[i*outArea : (i+1)*outArea]
			for c := ch / mg * cg; c < (ch/mg+1)*cg; c++ {
				from := src[(i/m*xs[1]+c)*inArea:]
				for t := range taps {
					w := weights[(c*mg+ch%mg)*taps+t]
					s.runs(t, 0, inArea, func(a, at, n int) {
						for k, v := range from[a : a+n] {
							to[at+k*s.last] += v * w
						}
					})
				}
			}
		}
	})
}

// tapWalk says where the taps of a transposed convolution take the elements of its input.
type tapWalk struct {
	*place
	in, kernel []int
	last       int // stride of the last dimension
}

// runs calls f for each run of n positions from a on, all within lo..hi, that a tap takes to
// outputs: the first to position at, the next ones each a stride behind.
func (s *tapWalk) runs(tap, lo, hi int, f func(a, at, n int)) {
	d := len(s.in) - 1
	off := tap%s.kernel[d]*s.dilations[d] - s.before[d]
	for lo < hi {
		row, x0 := lo/s.in[d], lo%s.in[d]
		x1 := min(s.in[d], x0+hi-lo)
		at, step, inside, rest := 0, s.out[d], true, tap/s.kernel[d]
		for i := d - 1; i >= 0; i-- {
			q := row%s.in[i]*s.strides[i] - s.before[i] + rest%s.kernel[i]*s.dilations[i]
			row, rest = row/s.in[i], rest/s.kernel[i]
			inside = inside && q >= 0 && q < s.out[i]
			at += q * step
			step *= s.out[i]
		}
		first := max(x0, -floorDiv(off, s.last)) // the first that is not before the output
		end := min(x1, floorDiv(s.out[d]-1-off, s.last)+1)
		if inside && first < end {
			f(lo+first-x0, at+first*s.last+off, end-first)
		}
		lo += x1 - x0
	}
}

// spreadChannels is from how many input channels in a group on a product pays; spreadFloats is about
// how much of its result is there at once.
const (
	spreadChannels = 4
	spreadFloats   = 1 << 20
)

// dense adds the products of weights [C, M*taps] of each group, transposed, with the input
// [C, positions] to dst, some positions at a time.
func (s *tapWalk) dense(x *Context, dst, src, weights []float32, xs []int, mg, groups int) error {
	inArea, outArea, taps, cg := prod(s.in), prod(s.out), prod(s.kernel), xs[1]/groups
	rows := mg * taps
	step := min(inArea, max(spreadFloats/rows, 8*kernel.PanelWidth))
	_, left, err := alloc[float32](x, []int{rows, cg})
	if err != nil {
		return err
	}
	_, columns, err := alloc[float32](x, []int{rows, step})
	if err != nil {
		return err
	}
	_, panels, err := alloc[float32](x, []int{kernel.PanelFloats(cg, step)})
	if err != nil {
		return err
	}
	for i := range groups * xs[0] {
		g, sample := i/xs[0], i%xs[0]
		if sample == 0 {
			transposeInto(left, weights[g*cg*rows:(g+1)*cg*rows], cg, rows)
		}
		to := dst[(sample*groups+g)*mg*outArea : (sample*groups+g+1)*mg*outArea]
		for lo := 0; lo < inArea; lo += step {
			n := min(step, inArea-lo)
			m, from := kernel.NewMatrix(panels, cg, n), src[(sample*xs[1]+g*cg)*inArea+lo:]
			err := x.Parallel(m.Panels(), max(1, minWork/(16*cg)),
				func(p0, p1 int) { m.Fill(from, inArea, p0, p1) })
			if err != nil {
				return err
			}
			if err := mulPacked(x, m, columns, left, rows, nil); err != nil {
				return err
			}
			err = x.Parallel(mg, max(1, minWork/(taps*n)), func(ch, end int) {
				for ; ch < end; ch++ {
					s.add(to[ch*outArea:(ch+1)*outArea], columns[ch*taps*n:(ch+1)*taps*n], lo, n)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds columns [taps, n] of the positions from lo on to a channel.
func (s *tapWalk) add(to, columns []float32, lo, n int) {
	for t := range prod(s.kernel) {
		from := columns[t*n : (t+1)*n]
		s.runs(t, lo, lo+n, func(a, at, n int) {
			to := to[at:]
			for k, v := range from[a-lo : a-lo+n] {
				to[k*s.last] += v
			}
		})
	}
}

// transposeInto sets dst [n,m] to src [m,n], transposed.
func transposeInto[T any](dst, src []T, m, n int) {
	for i := range m {
		for j, v := range src[i*n : (i+1)*n] {
			dst[j*m+i] = v
		}
	}
}

// on works out the output size and the padding, which is cut off.
func (t *transposed) on(in, kernel []int) (*place, error) {
	r := len(in)
	plain := &window{strides: t.strides, dilations: t.dilations, pads: t.pads,
		autoPad: "SAME_UPPER"}
	p, err := plain.on(in, kernel) // checks lengths, fills in defaults
	if err != nil {
		return nil, err
	}
	extra, wanted := t.extra, t.wanted
	if wanted != nil && len(wanted) == r+2 {
		wanted = wanted[2:]
	}
	if extra != nil && len(extra) != r || wanted != nil && len(wanted) != r {
		return nil, graphErr("output_padding %v and output_shape %v for %d dimensions",
			extra, wanted, r)
	}
	// Where the padding is odd, the begin gets more, but for SAME_UPPER and, up to version 10,
	// where output_shape stands without auto_pad.
	more := t.autoPad != "SAME_UPPER" && (t.autoPad != "NOTSET" || t.version >= 11)
	for i := range r {
		full := p.strides[i]*(in[i]-1) + (kernel[i]-1)*p.dilations[i] + 1
		if extra != nil {
			full += extra[i]
		}
		p.before[i], p.after[i] = 0, 0
		switch {
		case wanted != nil || t.autoPad == "SAME_UPPER" || t.autoPad == "SAME_LOWER":
			p.out[i] = in[i] * p.strides[i]
			if wanted != nil {
				p.out[i] = wanted[i]
			}
			total := full - p.out[i] // negative where the output is larger
			if t.autoPad == "NOTSET" {
				total = max(0, total)
			}
			p.before[i] = floorDiv(total, 2)
			if more {
				p.before[i] = total - p.before[i]
			}
		default:
			if t.pads != nil && t.autoPad == "NOTSET" {
				p.before[i], p.after[i] = t.pads[i], t.pads[r+i]
			}
			p.out[i] = full - p.before[i] - p.after[i]
		}
		if p.out[i] < 0 {
			return nil, graphErr("a transposed convolution to a dimension of %d", p.out[i])
		}
	}
	return p, nil
}
