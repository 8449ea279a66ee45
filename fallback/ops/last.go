package ops

import (
	"context"
	"runtime"
	"slices"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Operators on images whose channels lie side by side, [N, H, W, C] ("channels
// last"). A convolution by one element is then a product of the image, read where
// it lies, with packed weights; a depthwise one computes neighbouring channels in
// one register, and skips what lies in padding. Package fallback decides which
// values are laid out so.

// lastConv is a convolution over two dimensions to channels last.
type lastConv struct {
	*window
	act   activation
	first bool // the input is [N, C, H, W]
	shape []int

	matrix *kernel.Matrix // of a convolution in one group: [window and channels, M]
	deep   []float32      // of a depthwise one: [window, channels]
	zeros  []float32      // the bias where there is none
}

// buildConvLast is a fused convolution with constant weights, in one group or
// depthwise. Attributes: input_first, its input is [N, C, H, W]; the result, and
// a tensor that is added, have channels last.
func buildConvLast(n *Node) Kernel {
	group := n.int("group", 1)
	k := &lastConv{window: newWindow(n), act: n.activation(), first: n.int("input_first", 0) != 0}
	w := n.Const[1]
	if w == nil || w.Rank() != 4 || w.DType() != tensor.Float32 && w.DType() != tensor.Float16 {
		n.fail("the weights are no constant of four dimensions")
		return nil
	}
	k.shape = clone(w.Shape())
	m, cg, taps := w.Dim(0), w.Dim(1), w.Dim(2)*w.Dim(3)
	values := w.Float32s()
	k.zeros = make([]float32, m)
	switch {
	case group == 1:
		k.pack(values, m, cg, taps)
	case group == m && cg == 1 && !k.first:
		k.deep = make([]float32, m*taps)
		for c := range m {
			for t := range taps {
				k.deep[t*m+c] = values[c*taps+t]
			}
		}
	default:
		n.fail("a convolution of %v in %d groups has no form with channels last", w, group)
	}
	n.drop(1)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		for _, t := range in {
			if t != nil && t.DType() != tensor.Float32 {
				return typeErr(n.Op, t)
			}
		}
		return k.run(x, group, in, out)
	})
}

// pack packs the weights [M, C, window] as columns, in the order in which gather
// lays the elements of a window out. They stay float32 where others would become
// float16: each is used for many positions, which would unpack it again.
func (k *lastConv) pack(values []float32, m, channels, taps int) {
	if m*channels*taps == 0 {
		k.matrix = kernel.NewMatrix(nil, channels*taps, m)
		return
	}
	if !k.first && taps > 1 {
		turned := make([]float32, len(values))
		for r := range m {
			row, to := values[r*channels*taps:], turned[r*channels*taps:]
			for c := range channels {
				for t := range taps {
					to[t*channels+c] = row[c*taps+t]
				}
			}
		}
		values = turned
	}
	k.matrix = kernel.NewMatrix(nil, channels*taps, m)
	x := NewContext(context.Background(), runtime.GOMAXPROCS(0), nil)
	fillMatrix(x, k.matrix, values, true)
}

func (k *lastConv) run(x *Context, group int, in, out []*tensor.Tensor) error {
	s := in[0].Shape()
	if len(s) != 4 {
		return graphErr("a convolution of %v by %v", in[0], tensor.FormatShape(k.shape))
	}
	if !k.first {
		s = []int{s[0], s[3], s[1], s[2]}
	}
	c, err := planConv(k.window, group, s, k.shape)
	if err != nil {
		return err
	}
	e := k.act.epilogue()
	e.Bias = k.zeros
	if b := input(in, 2); b != nil {
		if b.Len() != c.m {
			return graphErr("a convolution to %d channels with bias %v", c.m, b)
		}
		e.Bias = tensor.Data[float32](b)
	} else if k.deep == nil {
		e.Bias = nil
	}
	r, dst, err := alloc[float32](x, []int{c.n, c.out[2], c.out[3], c.m})
	out[0] = r
	if err != nil || len(dst) == 0 {
		return err
	}
	added := input(in, 3)
	if added != nil && slices.Equal(added.Shape(), r.Shape()) {
		e.Residual, added = tensor.Data[float32](added), nil
	}
	src := tensor.Data[float32](in[0])
	if k.deep != nil {
		err = k.depthwise(x, c, dst, src, e)
	} else {
		err = k.dense(x, c, dst, src, e)
	}
	if err != nil || added == nil {
		return err
	}
	out[0], err = binary(x, r, added, kernel.Add)
	return err
}

// dense computes rows of positions times the packed weights.
func (k *lastConv) dense(x *Context, c *convolution, dst, src []float32, e *kernel.Epilogue) error {
	rows, depth := c.n*c.out[2]*c.out[3], k.matrix.K
	if !k.first && prod(c.kernel) == 1 && prod(c.strides) == 1 && len(src) == rows*depth {
		return tall(x, k.matrix, dst, src, rows, e)
	}
	if depth*c.m > 1<<16 {
		// Weights for which the second cache is too small: a pass over them is to
		// meet many positions.
		step := min(rows, max(48, (1<<20)/max(1, depth)))
		_, buf, err := alloc[float32](x, []int{step, depth})
		for r0 := 0; r0 < rows && err == nil; r0 += step {
			r1 := min(rows, r0+step)
			err = x.Parallel(r1-r0, max(1, minWork/(depth+1)), func(lo, hi int) {
				k.gather(buf[lo*depth:hi*depth], src, c, r0+lo, r0+hi)
			})
			if err == nil {
				err = tall(x, k.matrix, dst[r0*c.m:r1*c.m], buf, r1-r0, after(e, r0*c.m))
			}
		}
		return err
	}
	step := 6 * max(4, (1<<14)/(6*depth+1))
	pieces := (rows + step - 1) / step
	return x.ParallelScratch(pieces, max(1, (1<<17)/(step*depth*c.m+1)), step*depth, func(lo, hi int, buf []float32) {
		for i := lo; i < hi; i++ {
			r0, r1 := i*step, min(rows, (i+1)*step)
			k.gather(buf[:(r1-r0)*depth], src, c, r0, r1)
			k.matrix.Multiply(dst[r0*c.m:r1*c.m], c.m, buf, depth, r1-r0, 0, k.matrix.Panels(), false, after(e, r0*c.m))
		}
	})
}

// after is e for results from the given element on.
func after(e *kernel.Epilogue, from int) *kernel.Epilogue {
	if e.Residual == nil || from == 0 {
		return e
	}
	moved := *e
	moved.Residual = e.Residual[from:]
	return &moved
}

// tall sets dst [rows,N] to a [rows,K] times w, where there are many more rows
// than columns: cores share them out by tiles of rows, or by panels where the
// tiles are few.
func tall(x *Context, w *kernel.Matrix, dst, a []float32, rows int, e *kernel.Epilogue) error {
	const tile = 6 // rows of the micro-kernel
	tiles, panels := (rows+tile-1)/tile, w.Panels()
	work := 2 * tile * w.K * w.N
	if x.Threads() == 1 || tiles >= 16*x.Threads() || panels < 4*x.Threads() {
		// Rows that stay in the second cache while panels pass.
		step := tile * max(4, (1<<15)/(tile*w.K+1))
		return x.Parallel(tiles, max(1, (1<<18)/(work+1)), func(lo, hi int) {
			for r0 := lo * tile; r0 < min(rows, hi*tile); r0 += step {
				r1 := min(rows, hi*tile, r0+step)
				w.Multiply(dst[r0*w.N:r1*w.N], w.N, a[r0*w.K:r1*w.K], w.K, r1-r0, 0, panels, false, after(e, r0*w.N))
			}
		})
	}
	return x.Parallel(panels, max(1, (1<<18)/(32*rows*w.K+1)), func(lo, hi int) {
		w.Multiply(dst, w.N, a, w.K, rows, lo, hi, false, e)
	})
}

// gather lays out what the window covers at positions r0..r1, a row each: by
// window and then channel, or by channel and then window where those of the input
// come first.
func (k *lastConv) gather(dst, src []float32, c *convolution, r0, r1 int) {
	clear(dst)
	h, w, oh, ow := c.in[0], c.in[1], c.out[2], c.out[3]
	kh, kw := c.kernel[0], c.kernel[1]
	depth := k.matrix.K
	for r := r0; r < r1; r++ {
		row := dst[(r-r0)*depth : (r-r0+1)*depth]
		n, y, x := r/(oh*ow), r/ow%oh*c.strides[0]-c.before[0], r%ow*c.strides[1]-c.before[1]
		x0, x1 := inside(x, c.dilations[1], kw, w)
		y0, y1 := inside(y, c.dilations[0], kh, h)
		if x0 >= x1 {
			continue
		}
		for ky := y0; ky < y1; ky++ {
			line := y + ky*c.dilations[0]
			if !k.first {
				from := src[(n*h+line)*w*c.c : (n*h+line+1)*w*c.c]
				if c.dilations[1] == 1 {
					copy(row[(ky*kw+x0)*c.c:(ky*kw+x1)*c.c], from[(x+x0)*c.c:])
					continue
				}
				for kx := x0; kx < x1; kx++ {
					copy(row[(ky*kw+kx)*c.c:(ky*kw+kx+1)*c.c], from[(x+kx*c.dilations[1])*c.c:])
				}
				continue
			}
			for ch := range c.c {
				from := src[((n*c.c+ch)*h+line)*w : ((n*c.c+ch)*h+line+1)*w]
				to := row[(ch*kh+ky)*kw : (ch*kh+ky+1)*kw]
				if c.dilations[1] == 1 && kw > 8 {
					copy(to[x0:x1], from[x+x0:])
					continue
				}
				for kx := x0; kx < x1; kx++ {
					to[kx] = from[x+kx*c.dilations[1]]
				}
			}
		}
	}
}

// inside returns the elements first..end of a window at position at of a
// dimension that lie in it.
func inside(at, dilation, taps, size int) (first, end int) {
	if at < 0 {
		first = min(taps, (-at+dilation-1)/dilation)
	}
	end = taps
	if last := at + (taps-1)*dilation; last >= size {
		end = max(first, (size-at+dilation-1)/dilation)
	}
	return first, end
}

// stretch is a run of positions along a dimension where the same elements of the
// window lie inside the input.
type stretch struct {
	from, to   int // positions of the output
	first, end int // elements of the window
}

// stretches cuts an output dimension into runs.
func stretches(c *convolution, d int) []stretch {
	var list []stretch
	for p := range c.out[2+d] {
		first, end := inside(p*c.strides[d]-c.before[d], c.dilations[d], c.kernel[d], c.in[d])
		if n := len(list); n > 0 && list[n-1].first == first && list[n-1].end == end {
			list[n-1].to = p + 1
		} else {
			list = append(list, stretch{p, p + 1, first, end})
		}
	}
	return list
}

// depthwise convolves each channel with its own window, sixteen channels at a
// time through the whole image or a band of it.
func (k *lastConv) depthwise(x *Context, c *convolution, dst, src []float32, e *kernel.Epilogue) error {
	h, w, oh, ow := c.in[0], c.in[1], c.out[2], c.out[3]
	down, across := stretches(c, 0), stretches(c, 1)
	taps := make([]*kernel.Taps, 0, len(down)*len(across))
	for _, v := range down {
		for _, u := range across {
			var list []kernel.Tap
			for ky := v.first; ky < v.end; ky++ {
				for kx := u.first; kx < u.end; kx++ {
					list = append(list, kernel.Tap{
						Src:    ((ky-v.first)*c.dilations[0]*w + (kx-u.first)*c.dilations[1]) * c.c,
						Weight: (ky*c.kernel[1] + kx) * c.c,
					})
				}
			}
			taps = append(taps, kernel.NewTaps(list))
		}
	}
	const block = 16
	blocks, bands := (c.c+block-1)/block, 1
	if x.Threads() > 1 {
		bands = max(1, min(4, oh/8))
	}
	low, high := k.act.low, k.act.high
	items := c.n * blocks * bands
	return x.Parallel(items, max(1, minWork*4/(oh*ow*len(k.deep)/c.c*block/bands+1)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			n, c0, band := i/(blocks*bands), i/bands%blocks*block, i%bands
			c1 := min(c.c, c0+block)
			weights, bias := k.deep[c0:], e.Bias[c0:c1]
			from, to := src[n*h*w*c.c:(n+1)*h*w*c.c], dst[n*oh*ow*c.c:(n+1)*oh*ow*c.c]
			for vi, v := range down {
				y0, y1 := max(v.from, band*oh/bands), min(v.to, (band+1)*oh/bands)
				for ui, u := range across {
					if y0 >= y1 {
						continue
					}
					list := taps[vi*len(across)+ui]
					// run computes n positions from (y, x) on, some steps apart.
					run := func(y, x, n, dstStep, srcStep int) {
						at := 0 // the first element of the window, if there is one
						if v.first < v.end && u.first < u.end {
							sy, sx := y*c.strides[0]-c.before[0]+v.first*c.dilations[0], x*c.strides[1]-c.before[1]+u.first*c.dilations[1]
							at = (sy*w+sx)*c.c + c0
						} else {
							srcStep = 0
						}
						kernel.DepthwiseLast(to[(y*ow+x)*c.c+c0:], dstStep, from[at:], srcStep, n, list, weights, bias, low, high)
					}
					if u.to-u.from >= y1-y0 {
						for y := y0; y < y1; y++ {
							run(y, u.from, u.to-u.from, c.c, c.strides[1]*c.c)
						}
					} else {
						for x := u.from; x < u.to; x++ {
							run(y0, x, y1-y0, ow*c.c, c.strides[0]*w*c.c)
						}
					}
				}
			}
			if k.act.f == nil && e.Residual == nil {
				continue
			}
			for p := band * oh / bands * ow; p < (band+1)*oh/bands*ow; p++ {
				line := to[p*c.c+c0 : p*c.c+c1]
				if k.act.f != nil {
					k.act.f(line, line)
				}
				if e.Residual != nil {
					kernel.Add(line, line, e.Residual[n*oh*ow*c.c+p*c.c+c0:][:len(line)])
				}
			}
		}
	})
}

// buildChannels turns images to channels last or back.
func buildChannels(perm []int) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return func(x *Context, in, out []*tensor.Tensor) (err error) {
			out[0], err = transpose(x, in[0], perm)
			return err
		}
	}
}

// buildGlobalAverageLast averages images [N, H, W, C] to [N, 1, 1, C], or to
// [N, C] where attribute keepdims is 0.
func buildGlobalAverageLast(n *Node) Kernel {
	keep := n.int("keepdims", 1) != 0
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if t.DType() != tensor.Float32 || t.Rank() != 4 {
			return typeErr(n.Op, t)
		}
		s := t.Shape()
		shape := []int{s[0], 1, 1, s[3]}
		if !keep {
			shape = []int{s[0], s[3]}
		}
		r, dst, err := zeros[float32](x, shape)
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		src, h, w, c := tensor.Data[float32](t), s[1], s[2], s[3]
		const block = 64
		blocks := (c + block - 1) / block
		return x.Parallel(s[0]*blocks, max(1, minWork/(h*w*block+1)), func(lo, hi int) {
			var line [block]float32
			for i := lo; i < hi; i++ {
				n, c0 := i/blocks, i%blocks*block
				sum := dst[n*c+c0 : n*c+min(c, c0+block)]
				part := line[:len(sum)]
				for y := range h { // sums of lines first, which keeps them exact longer
					clear(part)
					for p := range w {
						kernel.Add(part, part, src[((n*h+y)*w+p)*c+c0:][:len(sum)])
					}
					kernel.Add(sum, sum, part)
				}
				for j := range sum {
					sum[j] /= float32(h * w)
				}
			}
		})
	})
}

// buildPoolLast is MaxPool or AveragePool of images with channels last.
func buildPoolLast(n *Node) Kernel {
	w, average, includePad := newWindow(n), n.Op == "AveragePool", n.int("count_include_pad", 0) == 1
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if t.DType() != tensor.Float32 || t.Rank() != 4 || w.kernel == nil {
			return graphErr("%s of %v with a window %v", n.Op, t, w.kernel)
		}
		s := t.Shape()
		p, err := w.on(s[1:3], w.kernel)
		if err != nil {
			return err
		}
		oh, ow, c := p.out[0], p.out[1], s[3]
		r, dst, err := alloc[float32](x, []int{s[0], oh, ow, c})
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		src := tensor.Data[float32](t)
		return x.Parallel(s[0]*oh*ow, max(1, minWork/(c*prod(p.kernel)+1)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				to := dst[i*c : (i+1)*c]
				y, xx := i/ow%oh*p.strides[0]-p.before[0], i%ow*p.strides[1]-p.before[1]
				y0, y1 := inside(y, p.dilations[0], p.kernel[0], s[1])
				x0, x1 := inside(xx, p.dilations[1], p.kernel[1], s[2])
				count := 0
				for ky := y0; ky < y1; ky++ {
					for kx := x0; kx < x1; kx++ {
						line := src[((i/(oh*ow)*s[1]+y+ky*p.dilations[0])*s[2]+xx+kx*p.dilations[1])*c:][:c]
						switch {
						case count == 0:
							copy(to, line)
						case average:
							kernel.Add(to, to, line)
						default:
							largest(to, line)
						}
						count++
					}
				}
				if count == 0 { // a window in the padding alone
					if average {
						clear(to)
					} else {
						copy(to, src[i/(oh*ow)*s[1]*s[2]*c:][:c])
					}
				}
				if average {
					if includePad {
						count = p.padded(i % (oh * ow))
					}
					for j := range to {
						to[j] /= float32(count)
					}
				}
			}
		})
	})
}

// largest keeps the larger element of both; the first of two that are equal, and
// of NaN what it finds first, as MaxPool does.
func largest(to, line []float32) {
	for j, v := range line[:len(to)] {
		if v > to[j] {
			to[j] = v
		}
	}
}
