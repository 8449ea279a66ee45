package ops

import (
	"math"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// softmaxOp builds Softmax, LogSoftmax and Hardmax from f, which computes one row along the axis.
// Before version 13 all dimensions from the axis on are one row.
func softmaxOp(f func(dst, src []float32)) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		def := -1
		if n.Version < 13 {
			def = 1
		}
		at := n.int("axis", def)
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
			t := in[0]
			if t.DType() != tensor.Float32 {
				return typeErr(n.Op, t)
			}
			shape := t.Shape()
			a := at
			if n.Version >= 13 || a != len(shape) { // the old form allows the rank
				var err error
				if a, err = axis(at, len(shape)); err != nil {
					return err
				}
			}
			d, inner := 1, 1
			if n.Version < 13 {
				d = prod(shape[a:])
			} else {
				d, inner = shape[a], prod(shape[a+1:])
			}
			r, dst, err := alloc[float32](x, shape)
			out[0] = r
			if err != nil || len(dst) == 0 {
				return err
			}
			src := tensor.Data[float32](t)
			if inner == 1 {
				return x.Parallel(len(dst)/d, max(1, minWork/(8*d)), func(lo, hi int) {
					for i := lo; i < hi; i++ {
						f(dst[i*d:(i+1)*d], src[i*d:(i+1)*d])
					}
				})
			}
			return x.Parallel(len(dst)/d, max(1, minWork/(8*d)), func(lo, hi int) {
				row := make([]float32, d)
				for i := lo; i < hi; i++ {
					base := i/inner*d*inner + i%inner
					for j := range row {
						row[j] = src[base+j*inner]
					}
					f(row, row)
					for j, v := range row {
						dst[base+j*inner] = v
					}
				}
			})
		})
	}
}

func logSoftmax(dst, src []float32) {
	l := logSumExp(src)
	for i, v := range src {
		dst[i] = v - l
	}
}

func hardmax(dst, src []float32) {
	best := 0
	for i, v := range src {
		if v > src[best] {
			best = i
		}
	}
	clear(dst)
	dst[best] = 1
}

// floatInputs checks that every input that is given holds float32.
func floatInputs(op string, in []*tensor.Tensor) error {
	for _, t := range in {
		if t != nil && t.DType() != tensor.Float32 {
			return typeErr(op, t)
		}
	}
	return nil
}

// buildLayerNorm normalises over all dimensions from the axis on.
func buildLayerNorm(n *Node) Kernel {
	at, eps := n.int("axis", -1), n.float("epsilon", 1e-5)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if err := floatInputs(n.Op, in); err != nil {
			return err
		}
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		d := prod(t.Shape()[a:])
		scale, bias, err := affine(x, in, t.Shape()[a:])
		if err != nil {
			return err
		}
		r, dst, err := alloc[float32](x, t.Shape())
		if err != nil {
			return err
		}
		out[0] = r
		stats := clone(t.Shape())
		for i := a; i < len(stats); i++ {
			stats[i] = 1
		}
		mean, means, err := alloc[float32](x, stats)
		if err != nil {
			return err
		}
		inv, invs, err := alloc[float32](x, stats)
		if err != nil {
			return err
		}
		if len(out) > 1 {
			out[1] = mean
		}
		if len(out) > 2 {
			out[2] = inv
		}
		if len(dst) == 0 {
			clear(means)
			clear(invs)
			return nil
		}
		src := tensor.Data[float32](t)
		return x.Parallel(len(dst)/d, max(1, minWork/(4*d)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				means[i], invs[i] = kernel.LayerNorm(dst[i*d:(i+1)*d], src[i*d:(i+1)*d], scale,
					bias, eps)
			}
		})
	})
}

// affine returns scale (input 1) and bias (input 2, nil where there is none), broadcast to the
// normalised shape.
func affine(x *Context, in []*tensor.Tensor, shape []int) (scale, bias []float32, err error) {
	for i, p := range []*[]float32{&scale, &bias} {
		t := input(in, i+1)
		if t == nil {
			continue
		}
		if t.Len() != prod(shape) {
			joint, err := broadcastShape(t.Shape(), shape)
			if err != nil || prod(joint) != prod(shape) {
				return nil, nil, graphErr("scale or bias %v for %v", t, shape)
			}
			if t, err = spreadTo(x, t, shape); err != nil {
				return nil, nil, err
			}
		}
		*p = tensor.Data[float32](t)
	}
	return scale, bias, nil
}

// buildRMSNorm divides by the root of the mean square over all dimensions from the axis on.
func buildRMSNorm(n *Node) Kernel {
	at, eps := n.int("axis", -1), n.float("epsilon", 1e-5)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if err := floatInputs(n.Op, in); err != nil {
			return err
		}
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		d := prod(t.Shape()[a:])
		scale, _, err := affine(x, in, t.Shape()[a:])
		if err != nil {
			return err
		}
		r, dst, err := alloc[float32](x, t.Shape())
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		src := tensor.Data[float32](t)
		return x.Parallel(len(dst)/d, max(1, minWork/(2*d)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				row, to := src[i*d:(i+1)*d], dst[i*d:(i+1)*d]
				inv := float32(1 / math.Sqrt(sumSquares(row)/float64(d)+float64(eps)))
				for j, v := range row {
					to[j] = v * inv * scale[j]
				}
			}
		})
	})
}

// perChannel computes dst = src*scale[c] + bias[c] for channels in dimension 1.
func perChannel(x *Context, t *tensor.Tensor, scale, bias []float32) (*tensor.Tensor, error) {
	r, dst, err := alloc[float32](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	inner := prod(t.Shape()[2:])
	src := tensor.Data[float32](t)
	err = x.Parallel(len(dst)/inner, max(1, minWork/inner), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			s, b := scale[i%len(scale)], bias[i%len(scale)]
			to := dst[i*inner : (i+1)*inner]
			for j, v := range src[i*inner : (i+1)*inner] {
				to[j] = v*s + b
			}
		}
	})
	return r, err
}

func buildBatchNorm(n *Node) Kernel {
	eps := float64(n.float("epsilon", 1e-5))
	if n.int("training_mode", 0) != 0 {
		n.fail("BatchNormalization in training mode is not supported")
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		if err := floatInputs(n.Op, in); err != nil {
			return err
		}
		t := in[0]
		if t.Rank() == 1 { // no channels: one
			if t, err = reshaped(t, []int{t.Len(), 1}); err != nil {
				return err
			}
		}
		if t.Rank() < 2 {
			return graphErr("BatchNormalization of %v", t)
		}
		c := t.Dim(1)
		for _, p := range in[1:5] {
			if p.Len() != c {
				return graphErr("BatchNormalization of %d channels by %v", c, p)
			}
		}
		gamma, beta := tensor.Data[float32](in[1]), tensor.Data[float32](in[2])
		mean, variance := tensor.Data[float32](in[3]), tensor.Data[float32](in[4])
		scale, bias := make([]float32, c), make([]float32, c)
		for i := range c {
			s := float64(gamma[i]) / math.Sqrt(float64(variance[i])+eps)
			scale[i] = float32(s)
			bias[i] = float32(float64(beta[i]) - float64(mean[i])*s)
		}
		if t, err = perChannel(x, t, scale, bias); err != nil {
			return err
		}
		out[0], err = reshaped(t, in[0].Shape())
		return err
	})
}

// groupNorm normalises each of the groups of channels of each sample.
func groupNorm(x *Context, in, out []*tensor.Tensor, op string, groups int, eps float32,
	perGroup bool) error {
	if err := floatInputs(op, in); err != nil {
		return err
	}
	t := in[0]
	if t.Rank() < 2 {
		return graphErr("%s of %v", op, t)
	}
	c := t.Dim(1)
	if groups == 0 {
		groups = c
	}
	if groups < 0 || c > 0 && (groups == 0 || c%groups != 0) {
		return graphErr("%s of %d channels in %d groups", op, c, groups)
	}
	params := c
	if perGroup {
		params = groups
	}
	if in[1].Len() != params || in[2].Len() != params {
		return graphErr("%s of %v by %v and %v", op, t, in[1], in[2])
	}
	r, dst, err := alloc[float32](x, t.Shape())
	out[0] = r
	if err != nil || len(dst) == 0 {
		return err
	}
	src := tensor.Data[float32](t)
	gamma, beta := tensor.Data[float32](in[1]), tensor.Data[float32](in[2])
	inner := prod(t.Shape()[2:])
	size := c / groups * inner
	return x.Parallel(len(dst)/size, max(1, minWork/size), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.LayerNorm(dst[i*size:(i+1)*size], src[i*size:(i+1)*size], nil, nil, eps)
			for j := range c / groups {
				p := i%groups*(c/groups) + j
				if perGroup {
					p = i % groups
				}
				row := dst[i*size+j*inner : i*size+(j+1)*inner]
				for k := range row {
					row[k] = row[k]*gamma[p] + beta[p]
				}
			}
		}
	})
}

func buildInstanceNorm(n *Node) Kernel {
	eps := n.float("epsilon", 1e-5)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		return groupNorm(x, in, out, n.Op, 0, eps, false)
	})
}

// buildGroupNorm has a scale for each group in version 18, for each channel from 21 on.
func buildGroupNorm(n *Node) Kernel {
	eps, groups := n.float("epsilon", 1e-5), n.int("num_groups", 0)
	if groups < 1 {
		n.fail("num_groups is %d", groups)
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		return groupNorm(x, in, out, n.Op, groups, eps, n.Version < 21)
	})
}

// buildLRN divides by a power of the squares of neighbouring channels.
func buildLRN(n *Node) Kernel {
	alpha, beta := n.float("alpha", 1e-4), n.float("beta", 0.75)
	bias, size := n.float("bias", 1), n.int("size", 0)
	if size < 1 {
		n.fail("size is %d", size)
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		if t.DType() != tensor.Float32 || t.Rank() < 2 {
			return typeErr(n.Op, t)
		}
		r, dst, err := alloc[float32](x, t.Shape())
		out[0] = r
		if err != nil || len(dst) == 0 {
			return err
		}
		src, c, inner := tensor.Data[float32](t), t.Dim(1), prod(t.Shape()[2:])
		for i := range dst {
			ch := i / inner % c
			var sum float64
			for j := max(0, ch-(size-1)/2); j <= min(c-1, ch+size/2); j++ {
				v := float64(src[i+(j-ch)*inner])
				sum += v * v
			}
			scale := float64(bias) + float64(alpha)/float64(size)*sum
			dst[i] = float32(float64(src[i]) / math.Pow(scale, float64(beta)))
		}
		return x.Err()
	})
}
