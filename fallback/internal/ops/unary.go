package ops

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// floatOp builds an operator that computes each float from one float: f for float32, and g, the
// same function of an element, for float64.
func floatOp(f func(dst, src []float32), g func(float64) float64) func(n *Node) Kernel {
	return func(n *Node) Kernel { return floats(n.Op, f, g) }
}

func floats(op string, f func(dst, src []float32), g func(float64) float64) Kernel {
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = unary(x, in[0], 8, f)
		case tensor.Float64:
			out[0], err = unary(x, in[0], 8, each(g))
		default:
			err = typeErr(op, in[0])
		}
		return err
	})
}

// math64 makes an elementwise function of one of package math.
func math64(f func(float64) float64) func(n *Node) Kernel {
	return floatOp(each(func(v float32) float32 { return float32(f(float64(v))) }), f)
}

// numberOp builds an operator that takes every number type.
func numberOp(f32 func(dst, src []float32), f64 func(float64) float64,
	i64 func(int64) int64) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
			switch in[0].DType() {
			case tensor.Float32:
				out[0], err = unary(x, in[0], 1, f32)
			case tensor.Float64:
				out[0], err = unary(x, in[0], 1, each(f64))
			case tensor.Int64:
				out[0], err = unary(x, in[0], 1, each(i64))
			case tensor.Int32:
				out[0], err = unary(x, in[0], 1, each(func(v int32) int32 { return int32(i64(int64(v))) }))
			case tensor.Int8:
				out[0], err = unary(x, in[0], 1, each(func(v int8) int8 { return int8(i64(int64(v))) }))
			case tensor.Uint8:
				out[0], err = unary(x, in[0], 1, each(func(v uint8) uint8 { return uint8(i64(int64(v))) }))
			default:
				err = typeErr(n.Op, in[0])
			}
			return err
		})
	}
}

func absFloat(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// erfInt drops the fraction.
func erfInt(v int64) int64 { return int64(math.Erf(float64(v))) }

func negInt(v int64) int64 { return -v }

func negFloat(v float64) float64 { return -v }

func reluInt(v int64) int64 { return max(v, 0) }

func reluFloat(v float64) float64 { return max(v, 0) }

func reciprocal[T float](v T) T { return 1 / v }

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

func absInt(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

func signFloat[T float](v T) T {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return v // 0 and NaN
}

func signInt(v int64) int64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

func softplus(v float64) float64 { return math.Max(v, 0) + math.Log1p(math.Exp(-math.Abs(v))) }
func mish(v float64) float64     { return v * math.Tanh(softplus(v)) }
func softsign(v float64) float64 { return v / (1 + math.Abs(v)) }
func hardSwish[T float](v T) T {
	return v * max(0, min(1, v/6+0.5))
}

func buildHardSigmoid(n *Node) Kernel {
	alpha, beta := n.float("alpha", 0.2), n.float("beta", 0.5)
	return floats(n.Op, each(hardSigmoid(alpha, beta)),
		hardSigmoid(float64(alpha), float64(beta)))
}

func hardSigmoid[T float](alpha, beta T) func(T) T {
	return func(v T) T { return max(0, min(1, alpha*v+beta)) }
}

func buildLeakyRelu(n *Node) Kernel {
	alpha := n.float("alpha", 0.01)
	return floats(n.Op, each(func(v float32) float32 { return preluOf(v, alpha) }),
		func(v float64) float64 { return preluOf(v, float64(alpha)) })
}

func buildThresholdedRelu(n *Node) Kernel {
	alpha := n.float("alpha", 1)
	return floats(n.Op, each(above(alpha)), above(float64(alpha)))
}

// above keeps what is larger than a threshold.
func above[T float](threshold T) func(T) T {
	return func(v T) T {
		if v > threshold {
			return v
		}
		return 0
	}
}

func buildElu(n *Node) Kernel {
	alpha := float64(n.float("alpha", 1))
	return math64(func(v float64) float64 {
		if v < 0 {
			return alpha * math.Expm1(v)
		}
		return v
	})(n)
}

func buildCelu(n *Node) Kernel {
	alpha := float64(n.float("alpha", 1))
	return math64(func(v float64) float64 {
		return max(0, v) + min(0, alpha*math.Expm1(v/alpha))
	})(n)
}

func buildSelu(n *Node) Kernel {
	alpha := float64(n.float("alpha", 1.67326319217681884765625))
	gamma := float64(n.float("gamma", 1.05070102214813232421875))
	return math64(func(v float64) float64 {
		if v > 0 {
			return gamma * v
		}
		return gamma * alpha * math.Expm1(v)
	})(n)
}

func buildShrink(n *Node) Kernel {
	bias, lambda := n.float("bias", 0), n.float("lambd", 0.5)
	f64 := shrink(float64(bias), float64(lambda))
	return numberOp(each(shrink(bias, lambda)), f64,
		func(v int64) int64 { return int64(f64(float64(v))) })(n)
}

func shrink[T float](bias, lambda T) func(T) T {
	return func(v T) T {
		switch {
		case v < -lambda:
			return v + bias
		case v > lambda:
			return v - bias
		}
		return 0
	}
}

func buildGelu(n *Node) Kernel {
	approximate := n.str("approximate", "none")
	n.oneOf("approximate", approximate, "none", "tanh")
	if approximate == "tanh" {
		return floats(n.Op, kernel.GeluTanh, geluTanh64)
	}
	return floats(n.Op, kernel.Gelu, gelu64)
}

func gelu64(v float64) float64 { return 0.5 * v * (1 + math.Erf(v/math.Sqrt2)) }

func geluTanh64(v float64) float64 {
	return 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
}

// swishOp builds x times the sigmoid of alpha x (Swish of operator set 24, QuickGelu of com.microsoft),
// alpha being byDefault where it is not given.
func swishOp(byDefault float32) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		alpha := n.float("alpha", byDefault)
		return floats(n.Op, func(dst, src []float32) { kernel.Swish(dst, src, alpha) },
			func(v float64) float64 { return v * sigmoid(float64(alpha)*v) })
	}
}

// biasGeluOp builds the GELU of a sum, exact or as a polynomial in tanh (FastGelu, whose bias may be
// left out).
func biasGeluOp(gelu func(dst, src []float32)) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
			if err := singleInputs(n.Op, in); err != nil {
				return err
			}
			t := in[0]
			var err error
			if bias := input(in, 1); bias != nil {
				if t.Rank() == 0 || bias.Len() != t.Dim(t.Rank()-1) {
					return graphErr("a bias %v for %v", bias, t)
				}
				if t, err = biased(x, t, bias, 0); err != nil {
					return err
				}
			}
			out[0], err = unary(x, t, 8, gelu)
			return err
		})
	}
}

// predicate builds an operator from float to bool.
func predicate(op string, f func(float64) bool) Kernel {
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		switch in[0].DType() {
		case tensor.Float32:
			out[0], err = unary(x, in[0], 1, each(func(v float32) bool { return f(float64(v)) }))
		case tensor.Float64:
			out[0], err = unary(x, in[0], 1, each(f))
		default:
			err = typeErr(op, in[0])
		}
		return err
	})
}

func buildIsNaN(n *Node) Kernel { return predicate(n.Op, math.IsNaN) }

func buildIsInf(n *Node) Kernel {
	neg, pos := n.int("detect_negative", 1) == 1, n.int("detect_positive", 1) == 1
	return predicate(n.Op, func(v float64) bool {
		return pos && math.IsInf(v, 1) || neg && math.IsInf(v, -1)
	})
}

// buildClip bounds elements. Before version 11 the bounds were attributes.
func buildClip(n *Node) Kernel {
	if n.Version < 11 {
		low, high := n.float("min", -math.MaxFloat32), n.float("max", math.MaxFloat32)
		low64, high64 := float64(low), float64(high)
		if !n.has("min") {
			low64 = -math.MaxFloat64
		}
		if !n.has("max") {
			high64 = math.MaxFloat64
		}
		return floats(n.Op, func(dst, src []float32) { kernel.Clip(dst, src, low, high) },
			func(v float64) float64 { return min(max(v, low64), high64) })
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) (err error) {
		low, high := input(in, 1), input(in, 2)
		for _, b := range []*tensor.Tensor{low, high} {
			if b != nil && (b.Len() != 1 || b.DType() != in[0].DType()) {
				return graphErr("Clip of %v by %v", in[0], b)
			}
		}
		switch in[0].DType() {
		case tensor.Float32:
			l, h := floatBound(low, -inf), floatBound(high, inf)
			out[0], err = unary(x, in[0], 1,
				func(dst, src []float32) { kernel.Clip(dst, src, l, h) })
		case tensor.Float64:
			l, h := floatBound(low, math.Inf(-1)), floatBound(high, math.Inf(1))
			out[0], err = unary(x, in[0], 1,
				each(func(v float64) float64 { return min(max(v, l), h) }))
		case tensor.Int64:
			out[0], err = clipInt[int64](x, in[0], low, high, math.MinInt64, math.MaxInt64)
		case tensor.Int32:
			out[0], err = clipInt[int32](x, in[0], low, high, math.MinInt32, math.MaxInt32)
		case tensor.Int8:
			out[0], err = clipInt[int8](x, in[0], low, high, math.MinInt8, math.MaxInt8)
		case tensor.Uint8:
			out[0], err = clipInt[uint8](x, in[0], low, high, 0, math.MaxUint8)
		default:
			err = typeErr("Clip", in[0])
		}
		return err
	})
}

func bound[T tensor.Element](t *tensor.Tensor, def T) T {
	if t == nil {
		return def
	}
	return tensor.Data[T](t)[0]
}

// floatBound is bound of floats; NaN bounds nothing.
func floatBound[T float](t *tensor.Tensor, def T) T {
	if v := bound(t, def); v == v {
		return v
	}
	return def
}

func clipInt[T integer](x *Context, t, low, high *tensor.Tensor,
	least, most T) (*tensor.Tensor, error) {
	l, h := bound(low, least), bound(high, most)
	return unary(x, t, 1, each(func(v T) T { return min(max(v, l), h) }))
}

// buildDropout is the inference form: the input passes through. The mask, which the specification
// leaves open before version 12, is as in ONNX Runtime: then all false (before version 10: zeros of
// the input's type), now all true.
func buildDropout(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if mode := input(in, 2); mode != nil &&
			(mode.DType() != tensor.Bool || mode.Len() != 1 || tensor.Data[bool](mode)[0]) {
			return graphErr("Dropout in training mode is not supported")
		}
		out[0] = in[0]
		if len(out) > 1 {
			mask, d, err := zeros[bool](x, in[0].Shape())
			if err != nil {
				return err
			}
			for i := range d {
				d[i] = n.Version >= 12
			}
			out[1] = mask
			if n.Version < 10 {
				out[1], err = cast(x, mask, in[0].DType())
			}
			return err
		}
		return nil
	}
}

func buildIdentity(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		out[0] = in[0]
		return nil
	}
}
