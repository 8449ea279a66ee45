package fallback

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// channels folds what scales and shifts the channels of a convolution, plain or transposed, into its
// weights and bias: a BatchNormalization, or a sum or product with one number for each channel.
func (f *fuser) channels(n *ir.Node) *ir.Node {
	for i, name := range n.Inputs {
		p := f.Producer(name)
		if !f.sole(name) || !isFused(p, "Conv") && !is(p, "ConvTranspose") ||
			p.Input(3) != "" || ops.Activated(p) {
			continue
		}
		w, bias := f.single(p.Input(1)), f.single(p.Input(2))
		if w == nil || p.Input(2) != "" && bias == nil || w.Rank() < 3 || w.Len() == 0 {
			return nil
		}
		groups, count := 1, w.Dim(0)
		if is(p, "ConvTranspose") {
			groups = int(p.Int("group", 1))
			count = w.Dim(1) * groups
		}
		if groups < 1 || w.Dim(0)%groups != 0 || bias != nil && bias.Len() != count {
			return nil // an error, which the node reports
		}
		if scale, shift := f.affine(n, i, count, w.Rank()); scale != nil {
			return f.folded(p, n, w, bias, groups, scale, shift)
		}
		return nil
	}
	return nil
}

// single returns a constant of float32; nil for others.
func (f *fuser) single(name string) *tensor.Tensor {
	if t := f.Consts[name]; t != nil && t.DType() == tensor.Float32 {
		return t
	}
	return nil
}

// affine returns what n, whose input i it is, multiplies each channel of an image by and then adds;
// nil where it does something else.
func (f *fuser) affine(n *ir.Node, i, count, rank int) (scale, shift []float64) {
	scale, shift = slices.Repeat([]float64{1}, count), make([]float64, count)
	if is(n, "BatchNormalization") {
		if i != 0 || len(n.Outputs) != 1 || n.Int("training_mode", 0) != 0 ||
			n.Version < 9 && n.Int("spatial", 1) == 0 {
			return nil, nil
		}
		var p [4][]float32
		for k := range p {
			t := f.single(n.Input(k + 1))
			if t == nil || t.Len() != count {
				return nil, nil
			}
			p[k] = tensor.Data[float32](t)
		}
		eps := 1e-5
		if v, given := n.Attr("epsilon"); given {
			f, ok := v.(float32)
			if !ok {
				return nil, nil // an error, which the node reports
			}
			eps = float64(f)
		}
		for c := range scale {
			scale[c] = float64(p[0][c]) / math.Sqrt(float64(p[3][c])+eps)
			shift[c] = float64(p[1][c]) - float64(p[2][c])*scale[c]
		}
		return scale, shift
	}
	if !is(n, "Add") && !is(n, "Mul") {
		return nil, nil
	}
	t := f.single(n.Input(1 - i))
	if t == nil || t.Len() != count || t.Rank() > rank || t.Rank() < rank-1 ||
		t.Dim(t.Rank()-rank+1) != count {
		return nil, nil
	}
	to := shift
	if is(n, "Mul") {
		to = scale
	}
	for c, v := range tensor.Data[float32](t) {
		to[c] = float64(v)
	}
	return scale, shift
}

// folded is convolution p with its weights [M, ...] or, transposed, [C, M/groups, ...] scaled and
// its bias scaled and shifted, which computes n.
func (f *fuser) folded(p, n *ir.Node, w, bias *tensor.Tensor, groups int,
	scale, shift []float64) *ir.Node {
	transposed := is(p, "ConvTranspose")
	to := tensor.Must(tensor.Zeros(tensor.Float32, w.Shape()...))
	src, dst := tensor.Data[float32](w), tensor.Data[float32](to)
	inner := len(src) / w.Dim(0)
	if transposed {
		inner /= w.Dim(1)
	}
	for k := 0; k < len(src); k += inner {
		c := k / inner
		if transposed {
			group := c / w.Dim(1) / (w.Dim(0) / groups)
			c = group*w.Dim(1) + c%w.Dim(1)
		}
		for j := k; j < k+inner; j++ {
			dst[j] = float32(float64(src[j]) * scale[c])
		}
	}
	sums := make([]float32, len(scale))
	for c := range sums {
		b := 0.0
		if bias != nil {
			b = float64(tensor.Data[float32](bias)[c])
		}
		sums[c] = float32(b*scale[c] + shift[c])
	}
	r := *p
	r.Name, r.Outputs = n.Name, n.Outputs
	r.Inputs = []string{p.Input(0), f.constant(n.Outputs[0]+"/weights", to),
		f.constant(n.Outputs[0]+"/bias", tensor.Must(tensor.New([]int{len(sums)}, sums)))}
	return &r
}

// constant adds a constant under a name that begins so.
func (f *fuser) constant(name string, t *tensor.Tensor) string {
	for f.Consts[name] != nil || f.Producer(name) != nil ||
		slices.ContainsFunc(f.Inputs, func(s tensor.Spec) bool { return s.Name == name }) {
		name += "'"
	}
	f.Consts[name] = t
	return name
}
