package ops

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// skipNormOp builds com.microsoft's SkipLayerNormalization and SkipSimplifiedLayerNormalization: the
// sum of two inputs (and a bias) is normalised, and is output 3. The simplified one divides by the
// root of the mean square and has no shift.
func skipNormOp(simplified bool) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		eps := n.float("epsilon", 1e-12)
		if n.Outputs > 1 && n.outputs[1] != "" || n.Outputs > 2 && n.outputs[2] != "" {
			n.fail("the outputs of means and deviations, which only training uses, are not supported")
		}
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
			if err := singleInputs(n.Op, in); err != nil {
				return err
			}
			shift, bias := input(in, 3), input(in, 4)
			if simplified {
				shift, bias = nil, shift
			}
			sum, err := skipSum(x, in[0], in[1], bias)
			if err != nil {
				return err
			}
			if n.Outputs > 3 {
				out[3] = sum
			}
			width := sum.Dim(sum.Rank() - 1)
			for _, p := range []*tensor.Tensor{in[2], shift} {
				if p != nil && (p.Rank() != 1 || p.Dim(0) != width) {
					return graphErr("scale or shift %v for %v", p, sum)
				}
			}
			if simplified {
				out[0], err = rmsNorm[float32](x, []*tensor.Tensor{sum, in[2]}, -1, eps)
				return err
			}
			return layerNorm(x, []*tensor.Tensor{sum, in[2], shift}, out[:1], -1, eps, kernel.LayerNorm)
		})
	}
}

// skipSum adds skip, of the input's shape or without its batch, and a bias for each column.
func skipSum(x *Context, t, skip, bias *tensor.Tensor) (*tensor.Tensor, error) {
	if t.Rank() < 2 || skip.Rank() < 2 {
		return nil, graphErr("a sum of %v and %v", t, skip)
	}
	width, repeat := t.Dim(t.Rank()-1), skip.Len()
	if skip.Dim(skip.Rank()-1) != width || repeat == 0 && t.Len() > 0 || repeat > 0 && t.Len()%repeat != 0 {
		return nil, graphErr("a sum of %v and %v", t, skip)
	}
	r, dst, err := alloc[float32](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	a, b := tensor.Data[float32](t), tensor.Data[float32](skip)
	var c []float32
	if bias != nil {
		if bias.Len() != width {
			return nil, graphErr("a bias %v for %v", bias, t)
		}
		c = tensor.Data[float32](bias)
	}
	return r, x.Parallel(len(dst)/width, max(1, minWork/width), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row, at := dst[i*width:(i+1)*width], i*width%repeat
			kernel.Add(row, a[i*width:(i+1)*width], b[at:at+width])
			if c != nil {
				kernel.Add(row, row, c)
			}
		}
	})
}

// buildSimplifiedLayerNorm is RMSNormalization as ONNX Runtime called it before there was one, in
// the default domain. Output 1 is the inverse of the root of the mean square, float32.
func buildSimplifiedLayerNorm(n *Node) Kernel {
	at, eps := n.int("axis", -1), n.float("epsilon", 1e-5)
	return viaFloatFirst(func(x *Context, in, out []*tensor.Tensor) error {
		if err := singleInputs(n.Op, in); err != nil {
			return err
		}
		var err error
		if out[0], err = rmsNorm[float32](x, in, at, eps); err != nil || len(out) < 2 {
			return err
		}
		shape := clone(in[0].Shape())
		a, err := axis(at, len(shape))
		if err != nil {
			return err
		}
		d := prod(shape[a:])
		for i := a; i < len(shape); i++ {
			shape[i] = 1
		}
		r, inverse, err := alloc[float32](x, shape)
		src := tensor.Data[float32](in[0])
		for i := range inverse {
			inverse[i] = float32(1 / math.Sqrt(sumSquares(src[i*d:(i+1)*d])/float64(d)+float64(eps)))
		}
		out[1] = r
		return err
	}, 1)
}
