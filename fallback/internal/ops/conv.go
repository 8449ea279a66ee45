package ops

import (
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
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

// buildFusedConv is a convolution with the operators that follow it; attribute channels_last asks
// for the form of buildConvNHWC.
func buildFusedConv(n *Node) Kernel {
	if n.int("channels_last", 0) != 0 {
		return buildConvNHWC(n)
	}
	return buildConv(n)
}

func buildConv(n *Node) Kernel {
	w, group, act := newWindow(n), n.int("group", 1), n.activation()
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		if err != nil {
			return err
		}
		c, err := planConv(w, group, in[0].Shape(), in[1].Shape())
		if err != nil {
			return err
		}
		if double {
			out[0], err = c.double(x, in)
			return err
		}
		e := act.epilogue()
		if b := input(in, 2); b != nil {
			if b.Len() != c.m {
				return graphErr("a convolution to %d channels with bias %v", c.m, b)
			}
			e.RowBias = tensor.Data[float32](b)
		}
		r, dst, err := alloc[float32](x, c.out)
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		added := input(in, 3) // only where it was fused
		if added != nil && slices.Equal(added.Shape(), c.out) {
			e.Residual, added = tensor.Data[float32](added), nil
		}
		src, weights := tensor.Data[float32](in[0]), tensor.Data[float32](in[1])
		if c.group == c.c && c.m == c.c && len(c.in) == 2 {
			err = c.depthwise(x, dst, src, weights, e, act)
		} else {
			err = c.dense(x, dst, src, weights, e)
		}
		if err != nil || added == nil {
			return err
		}
		out[0], err = binary(x, r, added, kernel.Add)
		return err
	})
}

// double is the convolution of float64.
func (c *convolution) double(x *Context, in []*tensor.Tensor) (*tensor.Tensor, error) {
	r, dst, err := zeros[float64](x, c.out)
	if err != nil || len(dst) == 0 {
		return r, err
	}
	if b := input(in, 2); b != nil {
		if b.Len() != c.m {
			return nil, graphErr("a convolution to %d channels with bias %v", c.m, b)
		}
		fillChannels(dst, tensor.Data[float64](b), prod(c.place.out))
	}
	return r, convolve(x, c, dst, tensor.Data[float64](in[0]), tensor.Data[float64](in[1]),
		addProduct[float64])
}

// fillChannels sets each channel, of area elements, to its bias.
func fillChannels[T float](dst, bias []T, area int) {
	for i := range dst {
		dst[i] = bias[i/area%len(bias)]
	}
}

// dense computes the convolution as the product of the weights [M, K] of each group with columns
// [K, positions], which are packed a few panels at a time.
func (c *convolution) dense(x *Context, dst, src, weights []float32, e *kernel.Epilogue) error {
	cg, mg := c.c/c.group, c.m/c.group
	inner, area, taps := prod(c.place.out), prod(c.in), prod(c.kernel)
	k := cg * taps
	if k == 0 {
		clear(dst)
		for i := range c.n {
			part := c.part(e, i, 0, dst)
			part.Apply(dst[i*c.m*inner:(i+1)*c.m*inner], inner, 0, c.m, 0, inner)
		}
		return x.Err()
	}
	plain := taps == 1 // the input is its own columns
	for i := range c.in {
		plain = plain && c.strides[i] == 1 && c.before[i] == 0 && c.after[i] == 0
	}
	if len(c.in) > 3 {
		return graphErr("a convolution over %d dimensions; at most 3 are supported", len(c.in))
	}
	panels := (inner + kernel.PanelWidth - 1) / kernel.PanelWidth
	// Panels that share a pass over the weights: as many as still leave work for all cores.
	step := min(8, panels)
	if x.Threads() > 1 {
		step = min(8, kernel.WholeTiles(panels*c.n*c.group/(2*x.Threads())))
	}
	pieces := (panels + step - 1) / step
	offsets := c.taps()
	columns := kernel.PanelWidth * step
	grain, floats := max(1, minFlops/(2*k*mg*columns)), kernel.PanelFloats(k, columns)
	return x.ParallelScratch(c.n*c.group*pieces, grain, floats, func(lo, hi int, buf []float32) {
		for i := lo; i < hi; i++ {
			s, g, p := i/pieces/c.group, i/pieces%c.group, i%pieces*step
			c0, c1 := p*kernel.PanelWidth, min((p+step)*kernel.PanelWidth, inner)
			m := kernel.NewMatrix(buf, k, c1-c0)
			from := src[(s*c.c+g*cg)*area : (s*c.c+(g+1)*cg)*area]
			if plain {
				m.Fill(from[c0:], area, 0, m.Panels())
			} else {
				c.fill(m, from, offsets, cg, c0, c1)
			}
			to := dst[(s*c.m+g*mg)*inner : (s*c.m+(g+1)*mg)*inner]
			part := c.part(e, s, g*mg, dst)
			if part.Residual != nil {
				part.Residual = part.Residual[g*mg*inner+c0:]
			}
			m.Multiply(to[c0:], inner, weights[g*mg*k:(g+1)*mg*k], k, mg, 0, m.Panels(),
				false, part)
		}
	})
}

// part is e for channels from first on of sample s.
func (c *convolution) part(e *kernel.Epilogue, s, first int, dst []float32) *kernel.Epilogue {
	part := *e
	if part.RowBias != nil {
		part.RowBias = part.RowBias[first:]
	}
	if part.Residual != nil {
		part.Residual = part.Residual[s*(len(dst)/c.n):]
	}
	return &part
}

// tap is an element of the window: its distance from the window's corner along each dimension.
type tap [3]int

func (c *convolution) taps() []tap {
	r := len(c.in)
	list := make([]tap, prod(c.kernel))
	for t := range list {
		rest := t
		for i := r - 1; i >= 0; i-- {
			list[t][3-r+i] = rest % c.kernel[i] * c.dilations[i]
			rest /= c.kernel[i]
		}
	}
	return list
}

// fill packs the columns of positions c0..c1.
func (c *convolution) fill(m *kernel.Matrix, src []float32, taps []tap, channels, c0, c1 int) {
	area := prod(c.in)
	// Every window as one of three dimensions.
	in, out, stride, before := [3]int{1, 1, 1}, [3]int{1, 1, 1}, [3]int{1, 1, 1}, [3]int{}
	for i := range c.in {
		j := 3 - len(c.in) + i
		in[j], out[j], stride[j], before[j] = c.in[i], c.place.out[i], c.strides[i], c.before[i]
	}
	const across = kernel.PanelWidth
	for p0 := c0; p0 < c1; p0 += across {
		width := min(across, c1-p0)
		var at [across][3]int // where the corner of each position's window lies
		for j := range width {
			rest := p0 + j
			for d := 2; d >= 0; d-- {
				at[j][d] = rest%out[d]*stride[d] - before[d]
				rest /= out[d]
			}
		}
		panel := m.Panel((p0 - c0) / across)
		for t, o := range taps {
			var from [across]int
			side := width == across // by side in the input, as they are at stride 1
			for j := range width {
				z, y, w := at[j][0]+o[0], at[j][1]+o[1], at[j][2]+o[2]
				from[j] = -1
				if z >= 0 && z < in[0] && y >= 0 && y < in[1] && w >= 0 && w < in[2] {
					from[j] = (z*in[1]+y)*in[2] + w
				}
				side = side && from[0] >= 0 && from[j] == from[0]+j
			}
			for ch := range channels {
				row := (*[across]float32)(panel[(ch*len(taps)+t)*across:])
				plane := src[ch*area : (ch+1)*area]
				if side {
					*row = [across]float32(plane[from[0]:])
					continue
				}
				for j := range row {
					if j < width && from[j] >= 0 {
						row[j] = plane[from[j]]
					} else {
						row[j] = 0
					}
				}
			}
		}
	}
}

// depthwise convolves each channel of images with its own window. It pads a channel and sorts its
// rows and columns by their remainders modulo the strides, so that the elements under a tap lie
// next to each other through all rows: the kernel takes the whole channel as one row. The results
// between the rows are dropped.
func (c *convolution) depthwise(x *Context, dst, src, weights []float32, e *kernel.Epilogue,
	act activation) error {
	h, w, oh, ow := c.in[0], c.in[1], c.place.out[0], c.place.out[1]
	kh, kw, sy, sx := c.kernel[0], c.kernel[1], c.strides[0], c.strides[1]
	rows := oh + (kh-1)*c.dilations[0]/sy // of each part of the channel
	pitch := ow + (kw-1)*c.dilations[1]/sx
	size := rows * pitch
	offsets := make([]int, kh*kw)
	for t := range offsets {
		dy, dx := t/kw*c.dilations[0], t%kw*c.dilations[1]
		offsets[t] = (dy%sy*sx+dx%sx)*size + dy/sy*pitch + dx/sx
	}
	area, inner := h*w, oh*ow
	span := (oh-1)*pitch + ow // from the first result to the last
	low, high := act.low, act.high
	grain, floats := max(1, minWork/(inner*len(offsets)+1)), sy*sx*size+span
	return x.ParallelScratch(c.n*c.c, grain, floats, func(lo, hi int, scratch []float32) {
		plane, wide := scratch[:sy*sx*size], scratch[sy*sx*size:]
		clear(plane) // padding stays zero from channel to channel
		for i := lo; i < hi; i++ {
			c.spreadOut(plane, src[i*area:(i+1)*area], rows, pitch)
			ch := i % c.c
			var bias float32
			if e.RowBias != nil {
				bias = e.RowBias[ch]
			}
			to := dst[i*inner : (i+1)*inner]
			result := wide
			if pitch == ow {
				result = to
			}
			kernel.Depthwise(result, plane, offsets, weights[ch*len(offsets):(ch+1)*len(offsets)],
				bias, low, high)
			if pitch != ow {
				for y := range oh {
					copy(to[y*ow:(y+1)*ow], wide[y*pitch:])
				}
			}
			if act.f != nil {
				act.f(to, to)
			}
			if e.Residual != nil {
				kernel.Add(to, to, e.Residual[i*inner:(i+1)*inner])
			}
		}
	})
}

// spreadOut writes a channel into the parts of plane, each of rows x pitch: row y and column x of
// the padded channel go to part (y%sy, x%sx).
func (c *convolution) spreadOut(plane, src []float32, rows, pitch int) {
	h, w, sy, sx := c.in[0], c.in[1], c.strides[0], c.strides[1]
	for y := range h {
		py := y + c.before[0]
		if py/sy >= rows {
			break
		}
		line := src[y*w : (y+1)*w]
		part := plane[py%sy*sx*rows*pitch:]
		if sx == 1 {
			if c.before[1] < pitch {
				copy(part[py/sy*pitch+c.before[1]:(py/sy+1)*pitch], line)
			}
			continue
		}
		for p := range sx {
			to := part[p*rows*pitch+py/sy*pitch:][:pitch]
			// Column j of this part is column j*sx+p of the padded channel.
			first := max(0, (c.before[1]-p+sx-1)/sx)
			for j, q := first, first*sx+p-c.before[1]; j < pitch && q < w; j, q = j+1, q+sx {
				to[j] = line[q]
			}
		}
	}
}

// convolve adds to dst, for each sample and group, weights [M/group, K] times columns [K,
// positions], where a column holds what the window covers. gemm adds such a product.
func convolve[T, R tensor.Element](x *Context, c *convolution, dst []R, src, weights []T,
	gemm func(dst []R, a, b []T, m, n, k int)) error {
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

// columns calls put for each element of the columns of channels lo..hi of a group, with its place
// in the group's input, or -1 if it lies in padding.
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
