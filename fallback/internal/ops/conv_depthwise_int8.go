package ops

import (
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// byteScale is what QuantizeLinear and DequantizeLinear of a whole tensor go by.
type byteScale struct {
	scale float32
	zero  int32 // of the unsigned bytes
	flip  uint8
	dtype tensor.DType
}

// byteScale reads constant inputs i and i+1 of a node, a scale and its zero point.
func (n *Node) byteScale(i int) (b byteScale) {
	if i+1 >= n.Inputs || n.Const[i] == nil || n.Const[i].DType() != tensor.Float32 ||
		n.Const[i].Len() != 1 || n.Const[i+1] == nil || n.Const[i+1].Len() != 1 {
		n.fail("inputs %d and %d are no constant scale and zero point", i, i+1)
		return b
	}
	_, flip, err := bytesOf(n.Const[i+1])
	if err != nil {
		n.fail("zero point %v", n.Const[i+1])
		return b
	}
	zeros, err := byteZeros(n.Const[i+1])
	if err != nil {
		n.fail("%v", err)
		return b
	}
	return byteScale{tensor.Data[float32](n.Const[i])[0], zeros[0] + int32(flip), flip,
		n.Const[i+1].DType()}
}

// buildConvDepthwiseBytes is a depthwise convolution between DequantizeLinear and QuantizeLinear, of
// 8-bit images [N,H,W,C]: inputs X, W, B, the scale and zero point of X, and those of the result. It
// computes in floats, a block of channels at a time, so that no image of floats is made.
func buildConvDepthwiseBytes(n *Node) Kernel {
	from, to := n.byteScale(3), n.byteScale(5)
	k := newNHWCConv(n)
	if n.err == nil && k.perChannel == nil {
		n.fail("is no depthwise convolution")
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		src, _, err := bytesOf(in[0])
		if err != nil || in[0].DType() != from.dtype {
			return typeErr(n.Op, in[0])
		}
		c, err := k.on(in[0].Shape())
		if err != nil {
			return err
		}
		e, err := k.epilogue(input(in, 2))
		if err != nil {
			return err
		}
		if out[0], err = x.Alloc(to.dtype, c.result()); err != nil {
			return err
		}
		dst, _, err := bytesOf(out[0])
		if err != nil || len(dst) == 0 {
			return err
		}
		return k.depthwiseBytes(x, c, dst, src, e, from, to)
	}
}

// depthwiseBytes is depthwise on bytes.
func (k *nhwcConv) depthwiseBytes(x *Context, c *convolution, dst, src []uint8,
	e *kernel.Epilogue, from, to byteScale) error {
	const block = kernel.Block
	p := k.plan(c)
	h, w, oh, ow := c.in[0], c.in[1], c.out[2], c.out[3]
	blocks := (c.c + block - 1) / block
	bands, rows := p.bands(x.Threads(), c.n*blocks, 1)
	grain := max(1, minWork*4*bands/(oh*ow*block*prod(c.kernel)))
	image := rows * p.width * block
	return x.ParallelScratch(c.n*blocks*bands, grain, image+ow*block, func(lo, hi int, room []float32) {
		padded, row := room[:image], room[image:]
		clear(room)
		for i := lo; i < hi; i++ {
			n, c0, band := i/(blocks*bands), i/bands%blocks*block, i%bands
			c1 := min(c.c, c0+block)
			y0, y1 := band*oh/bands, (band+1)*oh/bands
			m0, m1 := p.needs(y0, y1)
			for y := m0; y < m1 && w > 0; y++ {
				p.dequantize(padded[(y-m0)*p.width*block:], src[(n*h+y)*w*c.c+c0:], c1-c0, from)
			}
			for y := y0; y < y1; y++ {
				p.row(row, block, padded, m0, y, c0, e.Bias[c0:c1])
				if e.Activate != nil {
					e.Activate(row, row)
				}
				line := dst[(n*oh+y)*ow*c.c+c0:]
				if c1-c0 == block {
					kernel.QuantizeBlocks(line, row, ow, c.c, to.scale, to.zero, to.flip)
					continue
				}
				for at := range ow {
					kernel.Quantize(line[at*c.c:at*c.c+c1-c0], row[at*block:at*block+c1-c0],
						to.scale, to.zero, to.flip)
				}
			}
		}
	})
}

// dequantize is lines for one line of bytes.
func (p *depthwisePlan) dequantize(dst []float32, src []uint8, channels int, from byteScale) {
	const block = kernel.Block
	left := p.before[1]
	n := max(0, min(p.in[1], p.width-left))
	dst = dst[min(left, p.width)*block:]
	if channels == block {
		kernel.DequantizeBlocks(dst, src, n, p.c, from.scale, from.zero, from.flip)
		return
	}
	for i := range n {
		kernel.Dequantize(dst[i*block:i*block+channels], src[i*p.c:i*p.c+channels], from.scale,
			from.zero, from.flip)
	}
}
