package ops

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// softmaxOp builds Softmax, LogSoftmax and Hardmax from f and g, which compute one row along the
// axis. Before version 13 all dimensions from the axis on are one row.
func softmaxOp(f func(dst, src []float32), g func(dst, src []float64)) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		def := -1
		if n.Version < 13 {
			def = 1
		}
		at := n.int("axis", def)
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
			shape := in[0].Shape()
			a := at
			if n.Version >= 13 || a != len(shape) { // the old form allows the rank
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
			switch in[0].DType() {
			case tensor.Float32:
				out[0], err = softmaxRows(x, in[0], d, inner, f)
			case tensor.Float64:
				out[0], err = softmaxRows(x, in[0], d, inner, g)
			default:
				err = typeErr(n.Op, in[0])
			}
			return err
		})
	}
}

// softmaxRows calls f for rows of d elements that lie inner apart.
func softmaxRows[T float](x *Context, t *tensor.Tensor, d, inner int,
	f func(dst, src []T)) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	src := tensor.Data[T](t)
	if inner == 1 {
		return r, x.Parallel(len(dst)/d, max(1, minWork/(8*d)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				f(dst[i*d:(i+1)*d], src[i*d:(i+1)*d])
			}
		})
	}
	return r, x.Parallel(len(dst)/d, max(1, minWork/(8*d)), func(lo, hi int) {
		row := make([]T, d)
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
}

func softmax64(dst, src []float64) {
	l := logSumExp(src)
	for i, v := range src {
		dst[i] = math.Exp(v - l)
	}
}

func logSoftmax[T float](dst, src []T) {
	l := logSumExp(src)
	for i, v := range src {
		dst[i] = v - l
	}
}

func hardmax[T float](dst, src []T) {
	best := 0
	for i, v := range src {
		if v > src[best] {
			best = i
		}
	}
	clear(dst)
	dst[best] = 1
}

// floatInputs checks that the inputs that are given hold float32, or all of them float64.
func floatInputs(op string, in []*tensor.Tensor) (double bool, err error) {
	double = in[0] != nil && in[0].DType() == tensor.Float64
	if !double {
		return false, singleInputs(op, in)
	}
	for _, t := range in {
		if t != nil && t.DType() != tensor.Float64 {
			return false, typeErr(op, t)
		}
	}
	return true, nil
}

// singleInputs checks that every input that is given holds float32.
func singleInputs(op string, in []*tensor.Tensor) error {
	for _, t := range in {
		if t != nil && t.DType() != tensor.Float32 {
			return typeErr(op, t)
		}
	}
	return nil
}

// buildLayerNorm normalises over all dimensions from the axis on. Outputs 1 and 2 are float32
// whatever the input is.
func buildLayerNorm(n *Node) Kernel {
	at, eps := n.int("axis", -1), n.float("epsilon", 1e-5)
	return viaFloatFirst(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case double:
			return layerNorm(x, in, out, at, float64(eps), layerNorm64)
		}
		return layerNorm(x, in, out, at, eps, kernel.LayerNorm)
	}, 1)
}

// normalise sets dst to src, shifted and scaled to mean 0 and variance 1, times scale plus bias,
// either of which may be nil. It returns the mean and the inverse of the standard deviation.
type normalise[T float] func(dst, src, scale, bias []T, eps T) (mean, inverse T)

func layerNorm64(dst, src, scale, bias []float64, eps float64) (mean, inverse float64) {
	for _, v := range src {
		mean += v
	}
	mean /= float64(len(src))
	var variance float64
	for _, v := range src {
		variance += (v - mean) * (v - mean)
	}
	inverse = 1 / math.Sqrt(variance/float64(len(src))+eps)
	for i, v := range src {
		v = (v - mean) * inverse
		if scale != nil {
			v *= scale[i]
		}
		if bias != nil {
			v += bias[i]
		}
		dst[i] = v
	}
	return mean, inverse
}

func layerNorm[T float](x *Context, in, out []*tensor.Tensor, at int, eps T,
	f normalise[T]) error {
	t := in[0]
	a, err := axis(at, t.Rank())
	if err != nil {
		return err
	}
	d := prod(t.Shape()[a:])
	scale, bias, err := affine[T](x, in, t.Shape()[a:])
	if err != nil {
		return err
	}
	r, dst, err := alloc[T](x, t.Shape())
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
	src := tensor.Data[T](t)
	return x.Parallel(len(dst)/d, max(1, minWork/(4*d)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			m, v := f(dst[i*d:(i+1)*d], src[i*d:(i+1)*d], scale, bias, eps)
			means[i], invs[i] = float32(m), float32(v)
		}
	})
}

// affine returns scale (input 1) and bias (input 2, nil where there is none), broadcast to the
// normalised shape.
func affine[T float](x *Context, in []*tensor.Tensor, shape []int) (scale, bias []T, err error) {
	for i, p := range []*[]T{&scale, &bias} {
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
		*p = tensor.Data[T](t)
	}
	return scale, bias, nil
}

// buildRMSNorm divides by the root of the mean square over all dimensions from the axis on.
func buildRMSNorm(n *Node) Kernel {
	at, eps := n.int("axis", -1), n.float("epsilon", 1e-5)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case double:
			out[0], err = rmsNorm[float64](x, in, at, eps)
		default:
			out[0], err = rmsNorm[float32](x, in, at, eps)
		}
		return err
	})
}

func rmsNorm[T float](x *Context, in []*tensor.Tensor, at int,
	eps float32) (*tensor.Tensor, error) {
	t := in[0]
	a, err := axis(at, t.Rank())
	if err != nil {
		return nil, err
	}
	d := prod(t.Shape()[a:])
	scale, _, err := affine[T](x, in, t.Shape()[a:])
	if err != nil {
		return nil, err
	}
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	src := tensor.Data[T](t)
	return r, x.Parallel(len(dst)/d, max(1, minWork/(2*d)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row, to := src[i*d:(i+1)*d], dst[i*d:(i+1)*d]
			inv := T(1 / math.Sqrt(sumSquares(row)/float64(d)+float64(eps)))
			if single, ok := any(to).([]float32); ok {
				kernel.Scale(single, any(row).([]float32), float32(inv))
				kernel.Mul(single, single, any(scale).([]float32))
				continue
			}
			for j, v := range row {
				to[j] = v * inv * scale[j]
			}
		}
	})
}

// perChannel computes dst = src*scale[c] + bias[c] for channels in dimension 1.
func perChannel[T float](x *Context, t *tensor.Tensor, scale, bias []T) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	inner := prod(t.Shape()[2:])
	src := tensor.Data[T](t)
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
	if n.Outputs > 1 && n.Version < 14 {
		n.fail("BatchNormalization with the outputs of training is not supported")
	}
	// Before version 9, 0 stood for a mean and variance of each element of a channel.
	perElement := n.Version < 9 && n.int("spatial", 1) == 0
	k := viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case double:
			out[0], err = batchNorm[float64](x, in, eps, perElement)
		default:
			out[0], err = batchNorm[float32](x, in, eps, perElement)
		}
		return err
	})
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		// The parameters may be other floats than the input.
		wide := tensor.Float32
		if in[0].DType() == tensor.Float64 {
			wide = tensor.Float64
		}
		in = slices.Clone(in)
		for i, t := range in[1:5] {
			if !isNarrow(t) && !isFloat(t) {
				return typeErr(n.Op+" by parameters", t)
			}
			if in[1+i], err = cast(x, t, wide); err != nil {
				return err
			}
		}
		return k(x, in, out)
	}
}

func batchNorm[T float](x *Context, in []*tensor.Tensor, eps float64,
	perElement bool) (*tensor.Tensor, error) {
	t := in[0]
	shape := t.Shape()
	switch {
	case t.Rank() == 1: // no channels: one
		shape = []int{t.Len(), 1}
	case t.Rank() > 1 && perElement:
		shape = []int{shape[0], prod(shape[1:])}
	case t.Rank() == 0:
		return nil, graphErr("BatchNormalization of %v", t)
	}
	t, err := reshaped(t, shape)
	if err != nil {
		return nil, err
	}
	c := t.Dim(1)
	for _, p := range in[1:5] {
		if p.Len() != c {
			return nil, graphErr("BatchNormalization of %d channels by %v", c, p)
		}
	}
	gamma, beta := tensor.Data[T](in[1]), tensor.Data[T](in[2])
	mean, variance := tensor.Data[T](in[3]), tensor.Data[T](in[4])
	scale, bias := make([]T, c), make([]T, c)
	for i := range c {
		s := float64(gamma[i]) / math.Sqrt(float64(variance[i])+eps)
		scale[i] = T(s)
		bias[i] = T(float64(beta[i]) - float64(mean[i])*s)
	}
	if t, err = perChannel(x, t, scale, bias); err != nil {
		return nil, err
	}
	return reshaped(t, in[0].Shape())
}

// groupNormOp normalises each of the groups of channels of each sample.
func groupNormOp(n *Node, groups int, perGroup bool) Kernel {
	eps := n.float("epsilon", 1e-5)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case double:
			out[0], err = groupNorm(x, in, n.Op, groups, float64(eps), perGroup, layerNorm64)
		default:
			out[0], err = groupNorm(x, in, n.Op, groups, eps, perGroup, kernel.LayerNorm)
		}
		return err
	})
}

func groupNorm[T float](x *Context, in []*tensor.Tensor, op string, groups int, eps T,
	perGroup bool, f normalise[T]) (*tensor.Tensor, error) {
	t := in[0]
	if t.Rank() < 2 {
		return nil, graphErr("%s of %v", op, t)
	}
	c := t.Dim(1)
	if groups == 0 {
		groups = c
	}
	if groups < 0 || c > 0 && (groups == 0 || c%groups != 0) {
		return nil, graphErr("%s of %d channels in %d groups", op, c, groups)
	}
	params := c
	if perGroup {
		params = groups
	}
	if in[1].Len() != params || in[2].Len() != params {
		return nil, graphErr("%s of %v by %v and %v", op, t, in[1], in[2])
	}
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	src := tensor.Data[T](t)
	gamma, beta := tensor.Data[T](in[1]), tensor.Data[T](in[2])
	inner := prod(t.Shape()[2:])
	size := c / groups * inner
	return r, x.Parallel(len(dst)/size, max(1, minWork/size), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(dst[i*size:(i+1)*size], src[i*size:(i+1)*size], nil, nil, eps)
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

func buildInstanceNorm(n *Node) Kernel { return groupNormOp(n, 0, false) }

// buildGroupNorm has a scale for each group in version 18, for each channel from 21 on.
func buildGroupNorm(n *Node) Kernel {
	groups := n.int("num_groups", 0)
	if groups < 1 {
		n.fail("num_groups is %d", groups)
	}
	return groupNormOp(n, groups, n.Version < 21)
}

// buildLRN divides by a power of the squares of neighbouring channels.
func buildLRN(n *Node) Kernel {
	l := lrn{
		alpha: float64(n.float("alpha", 1e-4)), beta: float64(n.float("beta", 0.75)),
		bias: float64(n.float("bias", 1)), size: n.int("size", 0),
	}
	if l.size < 1 {
		n.fail("size is %d", l.size)
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		double, err := floatInputs(n.Op, in)
		switch {
		case err != nil:
			return err
		case in[0].Rank() < 2:
			return typeErr(n.Op, in[0])
		case double:
			out[0], err = lrnOf[float64](x, in[0], l)
		default:
			out[0], err = lrnOf[float32](x, in[0], l)
		}
		return err
	})
}

type lrn struct {
	alpha, beta, bias float64
	size              int
}

func lrnOf[T float](x *Context, t *tensor.Tensor, l lrn) (*tensor.Tensor, error) {
	r, dst, err := alloc[T](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return r, err
	}
	src, c, inner := tensor.Data[T](t), t.Dim(1), prod(t.Shape()[2:])
	for i := range dst {
		ch := i / inner % c
		var sum float64
		for j := max(0, ch-(l.size-1)/2); j <= min(c-1, ch+l.size/2); j++ {
			v := float64(src[i+(j-ch)*inner])
			sum += v * v
		}
		dst[i] = T(float64(src[i]) / math.Pow(l.bias+l.alpha/float64(l.size)*sum, l.beta))
	}
	return r, x.Err()
}
