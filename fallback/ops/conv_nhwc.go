package ops

import (
	"context"
	"runtime"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/onnx/pb"
	"github.com/crossattn/xpipe/tensor"
)

// lastConv is a convolution over two dimensions of images with channels last, with
// constant weights, in one group or depthwise.
type lastConv struct {
	*window
	group int
	act   activation
	shape []int // of the weights, as the graph has them

	matrix *kernel.Matrix // of a convolution in one group: [window and channels, M]
	deep   []float32      // of a depthwise one: [blocks of channels, window, channels of a block]
	zeros  []float32      // a bias
}

// newLastConv reads the node of a fused convolution and packs its weights. Weights of one group
// stay float32 where those of other products would become float16: each is used for
// many positions, which would unpack it again.
func newLastConv(n *Node) *lastConv {
	k := &lastConv{window: newWindow(n), group: n.int("group", 1), act: n.activation()}
	w := n.Const[1]
	if w == nil || w.Rank() != 4 || w.Len() == 0 || w.DType() != tensor.Float32 && w.DType() != tensor.Float16 {
		n.fail("the weights are no constant of four dimensions")
		return k
	}
	k.shape = clone(w.Shape())
	m, cg, taps := w.Dim(0), w.Dim(1), w.Dim(2)*w.Dim(3)
	k.zeros = make([]float32, m)
	values := w.Float32s()
	switch {
	case k.group == 1:
		values = windowFirst(values, cg, taps)
		k.matrix = kernel.NewMatrix(nil, cg*taps, m)
		fillMatrix(NewContext(context.Background(), runtime.GOMAXPROCS(0), nil), k.matrix, values, true)
	case k.group == m && cg == 1:
		const block = kernel.Block
		k.deep = make([]float32, (m+block-1)/block*taps*block)
		for c := range m {
			for t := range taps {
				k.deep[(c/block*taps+t)*block+c%block] = values[c*taps+t]
			}
		}
	default:
		n.fail("a convolution of %v in %d groups has no form with channels last", w, k.group)
	}
	n.drop(1)
	return k
}

// windowFirst turns weights [M, channels, window] to [M, window, channels], as windows are
// gathered where channels lie last.
func windowFirst[T any](values []T, channels, taps int) []T {
	if taps == 1 {
		return values
	}
	turned := make([]T, len(values))
	for i, v := range values {
		r, c, t := i/(channels*taps), i/taps%channels, i%taps
		turned[(r*taps+t)*channels+c] = v
	}
	return turned
}

// on plans the convolution of an input [N, H, W, C].
func (k *lastConv) on(s []int) (*convolution, error) {
	if len(s) != 4 {
		return nil, graphErr("a convolution of %v by %v", s, k.shape)
	}
	return planConv(k.window, k.group, []int{s[0], s[3], s[1], s[2]}, k.shape)
}

// result is the shape of the output.
func (c *convolution) result() []int { return []int{c.n, c.out[2], c.out[3], c.m} }

// epilogue is what happens to sums: bias, zeros where it is nil, and activation.
func (k *lastConv) epilogue(bias *tensor.Tensor) (*kernel.Epilogue, error) {
	e := k.act.epilogue()
	e.Bias = k.zeros
	if bias != nil {
		if bias.Len() != len(k.zeros) {
			return nil, graphErr("a convolution to %d channels with bias %v", len(k.zeros), bias)
		}
		e.Bias = tensor.Data[float32](bias)
	}
	return e, nil
}

// allFloat checks the inputs that are there.
func allFloat(op string, in []*tensor.Tensor) error {
	for _, t := range in {
		if t != nil && t.DType() != tensor.Float32 {
			return typeErr(op, t)
		}
	}
	return nil
}

// buildConvLast is Conv(X, W, B), activated, + residual.
func buildConvLast(n *Node) Kernel {
	k := newLastConv(n)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := allFloat(n.Op, in); err != nil {
			return err
		}
		c, err := k.on(in[0].Shape())
		if err != nil {
			return err
		}
		e, err := k.epilogue(input(in, 2))
		if err != nil {
			return err
		}
		return withResidual(x, c.result(), input(in, 3), e, out, func(dst []float32) error {
			src := tensor.Data[float32](in[0])
			if k.deep == nil {
				return k.dense(x, c, dst, src, e)
			}
			return k.depthwise(x, c, dst, src, e)
		})
	})
}

// withResidual allocates a result that run computes, and adds a tensor: in e where it has
// the same shape, else afterwards.
func withResidual(x *Context, shape []int, added *tensor.Tensor, e *kernel.Epilogue, out []*tensor.Tensor, run func(dst []float32) error) error {
	r, dst, err := alloc[float32](x, shape)
	out[0] = r
	if err != nil || len(dst) == 0 {
		return err
	}
	if added != nil && slices.Equal(added.Shape(), shape) {
		e.Residual, added = tensor.Data[float32](added), nil
	}
	if err := run(dst); err != nil || added == nil {
		return err
	}
	out[0], err = binary(x, r, added, kernel.Add)
	return err
}

// plain says whether the input is what the window covers, position by position.
func (c *convolution) plain() bool {
	return prod(c.kernel) == 1 && prod(c.strides) == 1 && slices.Equal(c.in, c.out[2:]) && c.before[0] == 0 && c.before[1] == 0
}

// dense computes rows of positions times the packed weights.
func (k *lastConv) dense(x *Context, c *convolution, dst, src []float32, e *kernel.Epilogue) error {
	rows, depth := c.n*c.out[2]*c.out[3], k.matrix.K
	if c.plain() {
		return tall(x, k.matrix, dst, src, rows, e)
	}
	if depth*c.m > 1<<16 {
		// Weights for which the second cache is too small: a pass over them is to
		// meet many positions.
		step := min(rows, max(48, (1<<20)/depth))
		_, buf, err := alloc[float32](x, []int{step, depth})
		for r0 := 0; r0 < rows && err == nil; r0 += step {
			r1 := min(rows, r0+step)
			err = x.Parallel(r1-r0, max(1, minWork/depth), func(lo, hi int) {
				c.gather(buf[lo*depth:hi*depth], src, r0+lo, r0+hi)
			})
			if err == nil {
				err = tall(x, k.matrix, dst[r0*c.m:r1*c.m], buf, r1-r0, after(e, r0*c.m))
			}
		}
		return err
	}
	step := gatherStep(depth)
	pieces := (rows + step - 1) / step
	return x.ParallelScratch(pieces, max(1, (1<<17)/(step*depth*c.m)), step*depth, func(lo, hi int, buf []float32) {
		for i := lo; i < hi; i++ {
			r0, r1 := i*step, min(rows, (i+1)*step)
			c.gather(buf, src, r0, r1)
			k.matrix.Multiply(dst[r0*c.m:r1*c.m], c.m, buf, depth, r1-r0, 0, k.matrix.Panels(), false, after(e, r0*c.m))
		}
	})
}

// gatherStep is how many positions to gather at a time: 64 kB, whole tiles.
func gatherStep(depth int) int { return tileRows * max(4, (1<<14)/(tileRows*depth)) }

// tileRows is a number of rows that the micro-kernels compute at a time.
const tileRows = 12

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
	tiles, panels := (rows+tileRows-1)/tileRows, w.Panels()
	if x.Threads() == 1 || tiles >= 8*x.Threads() || panels < 4*x.Threads() {
		// Rows that stay in the second cache while panels pass.
		step := tileRows * max(4, (1<<15)/(tileRows*w.K))
		return x.Parallel(tiles, max(1, (1<<18)/(2*tileRows*w.K*w.N)), func(lo, hi int) {
			for r0 := lo * tileRows; r0 < min(rows, hi*tileRows); r0 += step {
				r1 := min(rows, hi*tileRows, r0+step)
				w.Multiply(dst[r0*w.N:r1*w.N], w.N, a[r0*w.K:r1*w.K], w.K, r1-r0, 0, panels, false, after(e, r0*w.N))
			}
		})
	}
	return x.Parallel(panels, max(1, (1<<18)/(32*rows*w.K)), func(lo, hi int) {
		w.Multiply(dst, w.N, a, w.K, rows, lo, hi, false, e)
	})
}

// gather lays out what the window covers at positions r0..r1, a row each: by
// elements of the window, then channels.
func (c *convolution) gather(dst, src []float32, r0, r1 int) {
	h, w, oh, ow := c.in[0], c.in[1], c.out[2], c.out[3]
	kh, kw, dilated := c.kernel[0], c.kernel[1], c.dilations[1]
	line := kw * c.c
	for r := r0; r < r1; {
		// Positions of one row of the image.
		n, y, x := r/(oh*ow), r/ow%oh*c.strides[0]-c.before[0], r%ow
		count := min(r1-r, ow-x)
		for ky := range kh {
			at := y + ky*c.dilations[0]
			var from []float32
			if at >= 0 && at < h {
				from = src[(n*h+at)*w*c.c : (n*h+at+1)*w*c.c]
			}
			for i := range count {
				to := dst[((r-r0+i)*kh+ky)*line:][:line]
				left := (x+i)*c.strides[1] - c.before[1]
				switch {
				case from == nil:
					clear(to)
				case dilated == 1 && left >= 0 && left+kw <= w:
					if line == 9 { // usually three colours: quicker than a call
						*(*[9]float32)(to) = *(*[9]float32)(from[left*c.c:])
					} else {
						copy(to, from[left*c.c:])
					}
				default:
					first, end := inside(left, dilated, kw, w)
					clear(to)
					for kx := first; kx < end; kx++ {
						copy(to[kx*c.c:(kx+1)*c.c], from[(left+kx*dilated)*c.c:])
					}
				}
			}
		}
		r += count
	}
}

// deepPlan is how a depthwise convolution goes through an image, a block of channels at a time. The
// block is copied, if it is not computed there, to rows that are as wide as windows reach, with
// zeros for padding.
type deepPlan struct {
	*convolution
	k      *lastConv
	width  int // positions of a row of the block
	window []*kernel.Window
	starts []int // where the rows begin that a window of the list is for
}

func (k *lastConv) plan(c *convolution) *deepPlan {
	p := &deepPlan{convolution: c, k: k, width: (c.out[3]-1)*c.strides[1] + (c.kernel[1]-1)*c.dilations[1] + 1}
	var last [2]int
	for y := range c.out[2] {
		first, end := inside(y*c.strides[0]-c.before[0], c.dilations[0], c.kernel[0], c.in[0])
		if y > 0 && last == [2]int{first, end} {
			continue
		}
		last = [2]int{first, end}
		w := &kernel.Window{Width: c.kernel[1], Stride: c.strides[1], Dilation: c.dilations[1]}
		for ky := first; ky < end; ky++ {
			w.Row((ky-first)*c.dilations[0]*p.width*kernel.Block, ky*c.kernel[1]*kernel.Block)
		}
		p.window, p.starts = append(p.window, w), append(p.starts, y)
	}
	return p
}

// needs returns the rows of the input that rows y0..y1 of the output take.
func (p *deepPlan) needs(y0, y1 int) (from, to int) {
	from = y0*p.strides[0] - p.before[0]
	to = (y1-1)*p.strides[0] - p.before[0] + (p.kernel[0]-1)*p.dilations[0] + 1
	return max(0, min(p.in[0], from)), max(0, min(p.in[0], to))
}

// bands cuts the rows of the output: the rows of a block that a band needs are to stay in the second
// cache, and all cores are to have work, where others is how many units there are besides.
// rows is how many rows of the input the largest band needs.
func (p *deepPlan) bands(threads, others int) (bands, rows int) {
	const most = 1 << 16 // floats
	oh := p.out[2]
	bands = max(1, min(oh, p.in[0]*p.width*kernel.Block/most))
	if threads > 1 && others*bands < 8*threads {
		bands = max(bands, min(2, oh/8))
	}
	for i := range bands {
		from, to := p.needs(i*oh/bands, (i+1)*oh/bands)
		rows = max(rows, to-from)
	}
	return bands, rows
}

// rows computes rows y0..y1 of the output image dst for the block of channels from c0 on; src holds the
// block from row first of the input on.
func (p *deepPlan) rows(dst, src []float32, first, y0, y1, c0 int, bias []float32) {
	const block = kernel.Block
	size := p.kernel[0] * p.kernel[1] * block
	weights := p.k.deep[c0/block*size:][:size]
	for y, i := y0, 0; y < y1; y++ {
		for i+1 < len(p.starts) && p.starts[i+1] <= y {
			i++
		}
		skipped, _ := inside(y*p.strides[0]-p.before[0], p.dilations[0], p.kernel[0], p.in[0])
		at := (y*p.strides[0] - p.before[0] + skipped*p.dilations[0] - first) * p.width * block
		if at < 0 || at > len(src) { // a window in the padding alone
			at = 0
		}
		kernel.DepthwiseRow(dst[y*p.out[3]*p.c+c0:], p.c, src[at:], p.out[3], p.window[i], weights, bias, p.k.act.low, p.k.act.high)
	}
}

// finish does to rows y0..y1 of channels c0..c1 what the kernel does not: an activation that is
// a function, and the residual.
func (p *deepPlan) finish(dst []float32, e *kernel.Epilogue, n, y0, y1, c0, c1 int) {
	if e.Activate == nil && e.Residual == nil {
		return
	}
	area := p.out[2] * p.out[3]
	for i := n*area + y0*p.out[3]; i < n*area+y1*p.out[3]; i++ {
		line := dst[i*p.c+c0 : i*p.c+c1]
		if e.Activate != nil {
			e.Activate(line, line)
		}
		if e.Residual != nil {
			kernel.Add(line, line, e.Residual[i*p.c+c0:i*p.c+c1])
		}
	}
}

// lines copies lines of the block, positions pitch floats apart in src, to between the padding of
// dst, whose padding is zero already.
func (p *deepPlan) lines(dst, src []float32, count, pitch, channels int) {
	const block = kernel.Block
	w, left := p.in[1], p.before[1]
	n := max(0, min(w, p.width-left))
	for y := range count {
		to, from := dst[(y*p.width+min(left, p.width))*block:], src[y*w*pitch:]
		switch {
		case pitch == block:
			copy(to[:n*block], from)
		case channels == block:
			for x := range n {
				*(*[block]float32)(to[x*block:]) = *(*[block]float32)(from[x*pitch:])
			}
		default:
			for x := range n {
				copy(to[x*block:x*block+channels], from[x*pitch:])
			}
		}
	}
}

// depthwise convolves each channel with its own window.
func (k *lastConv) depthwise(x *Context, c *convolution, dst, src []float32, e *kernel.Epilogue) error {
	const block = kernel.Block
	p := k.plan(c)
	h, w, area, oh := c.in[0], c.in[1], c.out[2]*c.out[3], c.out[2]
	blocks := (c.c + block - 1) / block
	bands, rows := p.bands(x.Threads(), c.n*blocks)
	grain := max(1, minWork*4*bands/(area*block*prod(c.kernel)))
	return x.ParallelScratch(c.n*blocks*bands, grain, rows*p.width*block, func(lo, hi int, padded []float32) {
		clear(padded)
		for i := lo; i < hi; i++ {
			n, c0, band := i/(blocks*bands), i/bands%blocks*block, i%bands
			c1 := min(c.c, c0+block)
			y0, y1 := band*oh/bands, (band+1)*oh/bands
			m0, m1 := p.needs(y0, y1)
			if m0 < m1 && w > 0 {
				p.lines(padded, src[(n*h+m0)*w*c.c+c0:], m1-m0, c.c, c1-c0)
			}
			p.rows(dst[n*area*c.c:], padded, m0, y0, y1, c0, e.Bias[c0:c1])
			p.finish(dst, e, n, y0, y1, c0, c1)
		}
	})
}

// buildConvDepthwise is a convolution in one group followed by a depthwise one: inputs X, both W,
// both B, and a residual; attributes of the second begin with "depthwise_". A few
// channels at a time go through both, so that what lies between stays in the cache.
func buildConvDepthwise(n *Node) Kernel {
	a, b := n.half([]int{0, 1, 3}, false), n.half([]int{-1, 2, 4}, true)
	first, second := newLastConv(a), newLastConv(b)
	for _, half := range []*Node{a, b} {
		if n.err == nil {
			n.err = half.err
		}
	}
	if n.err == nil && (first.deep != nil || second.deep == nil) {
		n.fail("is no convolution in one group and a depthwise one")
	}
	n.drop(1)
	n.drop(2)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := allFloat(n.Op, in); err != nil {
			return err
		}
		c, err := first.on(in[0].Shape())
		if err != nil {
			return err
		}
		d, err := second.on(c.result())
		if err != nil {
			return err
		}
		e, err := first.epilogue(input(in, 3))
		if err != nil {
			return err
		}
		f, err := second.epilogue(input(in, 4))
		if err != nil {
			return err
		}
		return withResidual(x, d.result(), input(in, 5), f, out, func(dst []float32) error {
			return convDepthwise(x, first, second, c, d, dst, tensor.Data[float32](in[0]), e, f)
		})
	})
}

// half is a view of some inputs of a node and of its attributes with the prefix of the second of
// two operators, or of those without.
func (n *Node) half(inputs []int, second bool) *Node {
	h := &Node{Op: n.Op, Domain: n.Domain, Version: n.Version, Inputs: len(inputs), Outputs: 1, model: n.model,
		Const: make([]*tensor.Tensor, len(inputs)), Dropped: make([]bool, len(inputs)), attrs: map[string]*pb.AttributeProto{}}
	for i, j := range inputs {
		if j >= 0 && j < len(n.Const) {
			h.Const[i] = n.Const[j]
		}
	}
	for name, a := range n.attrs {
		if short := strings.TrimPrefix(name, SecondPrefix); (short != name) == second {
			h.attrs[short] = a
		}
	}
	return h
}

// SecondPrefix begins the names of attributes of the second operator of a fused ConvDepthwise.
const SecondPrefix = "depthwise_"

// convDepthwise computes a few channels at a time: their product into scratch, for all rows of the
// image or those that a band of the output needs, then the depthwise convolution from
// there.
func convDepthwise(x *Context, first, second *lastConv, c, d *convolution, dst, src []float32, e, f *kernel.Epilogue) error {
	const block = kernel.Block
	p := second.plan(d)
	h, w, oh := d.in[0], d.in[1], d.out[2]
	depth, blocks, together := first.matrix.K, first.matrix.Panels(), 1
	plain := c.plain()
	if !plain { // gathered once for several blocks
		together = min(blocks, 4)
	}
	groups := (blocks + together - 1) / together
	bands, rows := p.bands(x.Threads(), c.n*groups)
	// The block as it is computed, and as it is padded. Wide lines are computed where they
	// belong: few of their tiles are smaller than they could be.
	flat, padded, step := rows*w*block, rows*p.width*block, 0
	direct := plain && w >= 24 && d.before[1]+w <= p.width
	if direct {
		flat = 0
	}
	if !plain {
		step = gatherStep(depth)
	}
	grain := max(1, (1<<18)/(2*rows*w*depth*block*together+1))
	return x.ParallelScratch(c.n*bands*groups, grain, flat*together+padded+step*depth, func(lo, hi int, scratch []float32) {
		middle, padded, columns := scratch[:flat*together], scratch[flat*together:][:padded], scratch[flat*together+padded:]
		clear(padded)
		for i := lo; i < hi; i++ {
			n, band, group := i/(bands*groups), i/groups%bands, i%groups
			y0, y1 := band*oh/bands, (band+1)*oh/bands
			m0, m1 := p.needs(y0, y1)
			r0, r1 := (n*h+m0)*w, (n*h+m1)*w
			b0, b1 := group*together, min(blocks, (group+1)*together)
			// multiply computes a block for some rows of a.
			multiply := func(dst []float32, b int, a []float32, rows int) {
				part := *e
				part.Bias = e.Bias[b*block : min(c.m, (b+1)*block)]
				first.matrix.Part(b, b+1).Multiply(dst, block, a, depth, rows, 0, 1, false, &part)
			}
			if !plain {
				for r := r0; r < r1; r += step {
					end := min(r1, r+step)
					c.gather(columns, src, r, end)
					for b := b0; b < b1; b++ {
						multiply(middle[(b-b0)*flat+(r-r0)*block:], b, columns, end-r)
					}
				}
			}
			for b := b0; b < b1; b++ {
				switch {
				case direct:
					for y := m0; y < m1; y++ {
						multiply(padded[((y-m0)*p.width+d.before[1])*block:], b, src[(n*h+y)*w*depth:(n*h+y+1)*w*depth], w)
					}
				case plain && m0 < m1:
					multiply(middle, b, src[r0*depth:r1*depth], r1-r0)
				}
				if !direct {
					p.lines(padded, middle[(b-b0)*flat:], m1-m0, block, block)
				}
				c0, c1 := b*block, min(c.m, (b+1)*block)
				p.rows(dst[n*oh*d.out[3]*d.c:], padded, m0, y0, y1, c0, f.Bias[c0:c1])
				p.finish(dst, f, n, y0, y1, c0, c1)
			}
		}
	})
}
