package ops

import (
	"strings"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// depthwisePlan says how a depthwise convolution goes through an image, a block of channels at a
// time. The block lies in rows that are as wide as windows reach, with zeros for padding: it is
// copied there, or computed there by the convolution before.
type depthwisePlan struct {
	*convolution
	k      *nhwcConv
	width  int // positions of a row of the block
	window []*kernel.Window
	starts []int // where the rows begin that a window of the list is for
}

func (k *nhwcConv) plan(c *convolution) *depthwisePlan {
	p := &depthwisePlan{
		convolution: c, k: k,
		width: (c.out[3]-1)*c.strides[1] + (c.kernel[1]-1)*c.dilations[1] + 1,
	}
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
func (p *depthwisePlan) needs(y0, y1 int) (from, to int) {
	from = y0*p.strides[0] - p.before[0]
	to = (y1-1)*p.strides[0] - p.before[0] + (p.kernel[0]-1)*p.dilations[0] + 1
	return max(0, min(p.in[0], from)), max(0, min(p.in[0], to))
}

// bands returns into how many bands of rows to cut the output, so that the input rows of a block
// that a band needs stay in the second cache, and all cores have work; others is how many units of
// work there are in each band, and together how many blocks are computed at once. rows is how many
// rows of the input the largest band needs.
func (p *depthwisePlan) bands(threads, others, together int) (bands, rows int) {
	oh := p.out[2]
	bands = max(1, min(oh, p.in[0]*p.width*kernel.Block*together/cacheFloats))
	if threads > 1 && others*bands < 8*threads {
		bands = max(bands, min(2, oh/8))
	}
	for i := range bands {
		from, to := p.needs(i*oh/bands, (i+1)*oh/bands)
		rows = max(rows, to-from)
	}
	return bands, rows
}

// rows computes rows y0..y1 of the output image dst for the block of channels from c0 on. src holds
// the block from row first of the input on.
func (p *depthwisePlan) rows(dst, src []float32, first, y0, y1, c0 int, bias []float32) {
	for y := y0; y < y1; y++ {
		p.row(dst[y*p.out[3]*p.c+c0:], p.c, src, first, y, c0, bias)
	}
}

// row computes row y of rows; its positions lie pitch floats apart in dst.
func (p *depthwisePlan) row(dst []float32, pitch int, src []float32, first, y, c0 int,
	bias []float32) {
	const block = kernel.Block
	size := p.kernel[0] * p.kernel[1] * block
	weights := p.k.perChannel[c0/block*size:][:size]
	i := 0
	for i+1 < len(p.starts) && p.starts[i+1] <= y {
		i++
	}
	skipped, _ := inside(y*p.strides[0]-p.before[0], p.dilations[0], p.kernel[0], p.in[0])
	at := (y*p.strides[0] - p.before[0] + skipped*p.dilations[0] - first) * p.width * block
	if at < 0 || at > len(src) { // a window in the padding alone
		at = 0
	}
	kernel.DepthwiseRow(dst, pitch, src[at:], p.out[3], p.window[i], weights, bias,
		p.k.act.low, p.k.act.high)
}

// finish applies to rows y0..y1 of channels c0..c1 what the kernel does not: an activation that is
// a function, and the residual.
func (p *depthwisePlan) finish(dst []float32, e *kernel.Epilogue, n, y0, y1, c0, c1 int) {
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

// lines copies lines of the block to dst, between its padding, which is zero already. Positions lie
// pitch floats apart in src.
func (p *depthwisePlan) lines(dst, src []float32, count, pitch, channels int) {
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
func (k *nhwcConv) depthwise(x *Context, c *convolution, dst, src []float32,
	e *kernel.Epilogue) error {
	const block = kernel.Block
	p := k.plan(c)
	h, w, area, oh := c.in[0], c.in[1], c.out[2]*c.out[3], c.out[2]
	blocks := (c.c + block - 1) / block
	bands, rows := p.bands(x.Threads(), c.n*blocks, 1)
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
// both B, and a residual; attributes of the second begin with SecondPrefix. A few channels at a
// time go through both, so that what lies between stays in the cache.
func buildConvDepthwise(n *Node) Kernel {
	a, b := n.half([]int{0, 1, 3}, false), n.half([]int{-1, 2, 4}, true)
	first, second := newNHWCConv(a), newNHWCConv(b)
	for _, half := range []*Node{a, b} {
		if n.err == nil {
			n.err = half.err
		}
	}
	if n.err == nil && (first.perChannel != nil || second.perChannel == nil) {
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

// half returns one of the two operators of a node: some of its inputs, and its attributes with
// SecondPrefix, which is taken off, or those without.
func (n *Node) half(inputs []int, second bool) *Node {
	h := &Node{
		Op: n.Op, Domain: n.Domain, Version: n.Version, Inputs: len(inputs), Outputs: 1,
		Const: make([]*tensor.Tensor, len(inputs)), Dropped: make([]bool, len(inputs)),
		attrs: map[string]any{},
	}
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

// convDepthwise computes a few blocks of channels at a time: the first convolution into scratch, for
// all rows of the image or those that a band of the output needs, then the depthwise one from there.
func convDepthwise(x *Context, first, second *nhwcConv, c, d *convolution,
	dst, src []float32, e, f *kernel.Epilogue) error {
	const block = kernel.Block
	p := second.plan(d)
	h, w, oh := d.in[0], d.in[1], d.out[2]
	depth, blocks, together := first.matrix.K, first.matrix.Panels(), 2
	plain, gathered := c.plain(), 0
	if !plain { // gathered once for several blocks
		together, gathered = 4, w*depth
	}
	together = min(blocks, together)
	groups := (blocks + together - 1) / together
	bands, rows := p.bands(x.Threads(), c.n*groups, together)
	size := rows * p.width * block // of a block
	left := p.before[1]
	w = max(0, min(w, p.width-left)) // what windows reach
	grain := max(1, minFlops/(2*rows*w*depth*block*together+1))
	return x.ParallelScratch(c.n*bands*groups, grain, together*size+gathered, func(lo, hi int, scratch []float32) {
		padded, columns := scratch[:together*size], scratch[together*size:]
		clear(padded)
		for i := lo; i < hi; i++ {
			n, band, group := i/(bands*groups), i/groups%bands, i%groups
			y0, y1 := band*oh/bands, (band+1)*oh/bands
			m0, m1 := p.needs(y0, y1)
			b0, b1 := group*together, min(blocks, (group+1)*together)
			part, now := first.matrix.Part(b0, b1), *e
			now.Bias = e.Bias[b0*block : min(c.m, b1*block)]
			for y := m0; y < m1 && w > 0; y++ {
				r := (n*h + y) * d.in[1]
				line := columns
				if plain {
					line = src[r*depth:]
				} else {
					c.gather(columns, src, r, r+w)
				}
				part.Pointwise(padded[((y-m0)*p.width+left)*block:], block, size, line, depth, w, 0, b1-b0, &now)
			}
			for b := b0; b < b1; b++ {
				c0, c1 := b*block, min(c.m, (b+1)*block)
				p.rows(dst[n*oh*d.out[3]*d.c:], padded[(b-b0)*size:(b-b0+1)*size], m0, y0, y1, c0, f.Bias[c0:c1])
				p.finish(dst, f, n, y0, y1, c0, c1)
			}
		}
	})
}
