package ops

import (
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Operators on images whose channels lie side by side, [N,H,W,C] ("NHWC", "channels last"). A
// convolution by one element is then a product of the image, read where it lies, with packed
// weights; a depthwise one computes neighbouring channels in one register, and skips padding.
// Package fallback decides which values are laid out so. Convolutions are in conv_nhwc.go and
// conv_depthwise.go.

// buildToNHWC turns images [N,C,H,W] to [N,H,W,C].
func buildToNHWC(*Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		t := in[0]
		if t.Rank() != 4 || t.DType() != tensor.Float32 || t.Dim(1) > 4 {
			out[0], err = transpose(x, t, []int{0, 2, 3, 1})
			return err
		}
		// Few channels, such as colours: copy one after the other.
		c, area := t.Dim(1), t.Dim(2)*t.Dim(3)
		r, dst, err := alloc[float32](x, []int{t.Dim(0), t.Dim(2), t.Dim(3), c})
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		src := tensor.Data[float32](t)
		const piece = 1024 // pixels
		pieces := (area + piece - 1) / piece
		return x.Parallel(t.Dim(0)*pieces, max(1, minWork/(c*piece)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				n, p0, p1 := i/pieces, i%pieces*piece, min(area, (i%pieces+1)*piece)
				to := dst[(n*area+p0)*c : (n*area+p1)*c]
				for ch := range c {
					at := ch
					for _, v := range src[(n*c+ch)*area+p0 : (n*c+ch)*area+p1] {
						to[at] = v
						at += c
					}
				}
			}
		})
	}
}

// buildChannels permutes the dimensions of images.
func buildChannels(perm []int) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return func(x *Context, in, out []*tensor.Tensor) (err error) {
			out[0], err = transpose(x, in[0], perm)
			return err
		}
	}
}

// buildRowsToImage is Transpose of rows [N,L,C] to [N,C,L], Reshape to an image, and ChannelsLast of
// that: where the image has the rows' channels nothing moves.
func buildRowsToImage(*Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if t.Rank() != 3 {
			return graphErr("an image of rows %v", t)
		}
		shape, err := reshapedAs(in[1], []int{t.Dim(0), t.Dim(2), t.Dim(1)}, 4)
		if err != nil {
			return err
		}
		if shape[0] == t.Dim(0) && shape[1] == t.Dim(2) {
			out[0], err = reshaped(t, []int{shape[0], shape[2], shape[3], shape[1]})
			return err
		}
		out[0], err = moved(x, t, []int{0, 2, 1}, shape, []int{0, 2, 3, 1})
		return err
	}
}

// buildImageToRows is ChannelsFirst of an image, Reshape to three dimensions, and Transpose of the
// last two: where the rows have the image's channels nothing moves.
func buildImageToRows(*Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if t.Rank() != 4 {
			return graphErr("rows of an image %v", t)
		}
		shape, err := reshapedAs(in[1], []int{t.Dim(0), t.Dim(3), t.Dim(1), t.Dim(2)}, 3)
		if err != nil {
			return err
		}
		if shape[0] == t.Dim(0) && shape[1] == t.Dim(3) {
			out[0], err = reshaped(t, []int{shape[0], shape[2], shape[1]})
			return err
		}
		out[0], err = moved(x, t, []int{0, 3, 1, 2}, shape, []int{0, 2, 1})
		return err
	}
}

// reshapedAs is the shape of so many dimensions that a Reshape gives.
func reshapedAs(want *tensor.Tensor, from []int, rank int) ([]int, error) {
	dims, err := intsOf(want)
	if err != nil {
		return nil, err
	}
	if len(dims) != rank {
		return nil, graphErr("Reshape of %v to %v, of %d dimensions", from, dims, rank)
	}
	return reshapeTo(from, dims, false)
}

// moved transposes, reshapes and transposes again.
func moved(x *Context, t *tensor.Tensor, before, shape, behind []int) (*tensor.Tensor, error) {
	t, err := transpose(x, t, before)
	if err != nil {
		return nil, err
	}
	if t, err = reshaped(t, shape); err != nil {
		return nil, err
	}
	return transpose(x, t, behind)
}

// inside returns which elements of a window at position at, first to end-1, lie within a dimension
// of the given size.
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

// buildGlobalAveragePoolNHWC averages images [N,H,W,C] to [N,1,1,C], or to [N,C] if attribute
// keepdims is 0.
func buildGlobalAveragePoolNHWC(n *Node) Kernel {
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

// buildPoolNHWC is MaxPool or AveragePool of images [N,H,W,C].
func buildPoolNHWC(n *Node) Kernel {
	w, average := newWindow(n), n.Op == "AveragePool"
	includePad := n.int("count_include_pad", 0) == 1
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

// largest keeps the larger of two elements in to, and the one there if they are equal or either is
// NaN, as MaxPool does.
func largest(to, line []float32) {
	for j, v := range line[:len(to)] {
		if v > to[j] {
			to[j] = v
		}
	}
}

// buildPadChannels adds channels of zeros to images [N,C,...] until they are a multiple of the attribute
// "multiple".
func buildPadChannels(n *Node) Kernel {
	multiple := n.int("multiple", 1)
	if multiple < 1 {
		n.fail("multiple %d", multiple)
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		t := in[0]
		if t.Rank() < 2 || t.DType() != tensor.Float32 {
			return graphErr("%s of %v", n.Op, t)
		}
		c := t.Dim(1)
		whole := (c + multiple - 1) / multiple * multiple
		if whole == c {
			out[0] = t
			return nil
		}
		shape := append([]int{t.Dim(0), whole}, t.Shape()[2:]...)
		r, dst, err := zeros[float32](x, shape)
		if out[0] = r; err != nil || len(dst) == 0 || t.Len() == 0 {
			return err
		}
		src, area := tensor.Data[float32](t), t.Len()/(t.Dim(0)*c)
		for i := range t.Dim(0) {
			copy(dst[i*whole*area:], src[i*c*area:(i+1)*c*area])
		}
		return nil
	}
}
