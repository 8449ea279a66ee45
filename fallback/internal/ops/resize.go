package ops

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Resize works on one axis after the other. For an axis, a place in the result stands at a
// coordinate in the input, which the coordinate transformation says; from there the mode picks one
// element, or weighs a few. Coordinates are float32, as ONNX Runtime has them: where two elements
// are equally near, the last bit decides.
type resizer struct {
	op          string
	mode        string // nearest, linear or cubic
	transform   string // of coordinates
	round       func(at float32, shrinks bool) float32
	cubic       float64 // the coefficient a
	exclude     bool    // weigh nothing outside
	antialias   bool
	outside     float32 // the value there, in tf_crop_and_resize
	policy      string  // of the aspect ratio, where sizes are given
	axes        []int   // nil for all
	fixed       []float32
	roi         int // these inputs, -1 where the version has none
	scales      int
	sizes       int
	channelLast bool // of tensors [N,H,W,C] that the graph has as [N,C,H,W]
}

// resampled is an axis that changes.
type resampled struct {
	axis    int
	in, out int
	pick    []int     // nearest: the element for each place
	first   []int     // otherwise: where the weights of each place begin, and where the last end
	index   []int32   // the elements that are weighed
	weight  []float32 // and how
	pairs   []pair    // the same where each place weighs two, of a line of single elements
	outside []int     // places beyond the input
}

type pair struct {
	low, high int32
	u, v      float32
}

// buildUpsample is Upsample, whose scales were an attribute in version 7 and are an input in 9.
func buildUpsample(n *Node) Kernel {
	r := &resizer{
		op: n.Op, mode: n.str("mode", "nearest"), transform: "asymmetric", round: roundSimple,
		roi: -1, scales: 1, sizes: -1,
	}
	n.oneOf("mode", r.mode, "nearest", "linear")
	if n.Version >= 10 {
		n.fail("%s ended with operator set 9; Resize took its place", n.Op)
	}
	if n.Version < 9 {
		r.scales = -1
		if r.fixed, _ = attribute[[]float32](n, "scales"); r.fixed == nil {
			n.fail("attribute \"scales\" is not given")
		}
	}
	return r.kernel()
}

func buildResize(n *Node) Kernel {
	r := &resizer{op: n.Op, roi: 1, scales: 2, sizes: 3, channelLast: n.Domain == FusedDomain}
	r.mode = n.str("mode", "nearest")
	n.oneOf("mode", r.mode, "nearest", "linear", "cubic")
	if n.Version == 10 {
		r.roi, r.scales, r.sizes = -1, 1, -1
		r.transform, r.round = "asymmetric", roundSimple
		return r.kernel()
	}
	r.transform = n.str("coordinate_transformation_mode", "half_pixel")
	if coordinates[r.transform] == nil {
		n.fail("attribute \"coordinate_transformation_mode\" is %q, which is unknown", r.transform)
	}
	round := n.str("nearest_mode", "round_prefer_floor")
	if r.round = rounding[round]; r.round == nil {
		n.fail("attribute \"nearest_mode\" is %q, which is unknown", round)
	}
	r.cubic = float64(n.float("cubic_coeff_a", -0.75))
	r.exclude = n.int("exclude_outside", 0) != 0
	r.antialias = n.int("antialias", 0) != 0
	r.outside = n.float("extrapolation_value", 0)
	r.policy = n.str("keep_aspect_ratio_policy", "stretch")
	n.oneOf("keep_aspect_ratio_policy", r.policy, "stretch", "not_larger", "not_smaller")
	r.axes = n.ints("axes")
	if r.antialias && r.mode == "nearest" {
		n.fail("antialias with mode nearest")
	}
	return r.kernel()
}

// coordinates holds the transformations: where place x of a result of length resized stands in the
// original. start and end bound the region of interest.
var coordinates = map[string]func(x, scale, resized, original, start, end float32) float32{
	"half_pixel": func(x, scale, _, _, _, _ float32) float32 { return (x+0.5)/scale - 0.5 },
	"half_pixel_symmetric": func(x, scale, resized, original, _, _ float32) float32 {
		center := original / 2
		offset := center * (1 - resized/(scale*original))
		return float32(offset) + (x+0.5)/scale - 0.5
	},
	"pytorch_half_pixel": func(x, scale, resized, _, _, _ float32) float32 {
		if resized > 1 {
			return (x+0.5)/scale - 0.5
		}
		return 0
	},
	"tf_half_pixel_for_nn": func(x, scale, _, _, _, _ float32) float32 { return (x + 0.5) / scale },
	"asymmetric":           func(x, scale, _, _, _, _ float32) float32 { return x / scale },
	"align_corners": func(x, _, resized, original, _, _ float32) float32 {
		if resized == 1 {
			return 0
		}
		return x * (original - 1) / (resized - 1)
	},
	"tf_crop_and_resize": func(x, _, resized, original, start, end float32) float32 {
		if resized > 1 {
			return float32(start*(original-1)) + x*(end-start)*(original-1)/(resized-1)
		}
		return 0.5 * (start + end) * (original - 1)
	},
}

func floor32(v float32) float32 { return float32(math.Floor(float64(v))) }
func ceil32(v float32) float32  { return float32(math.Ceil(float64(v))) }

// rounding holds the modes of nearest.
var rounding = map[string]func(at float32, shrinks bool) float32{
	"floor": func(at float32, _ bool) float32 { return floor32(at) },
	"ceil":  func(at float32, _ bool) float32 { return ceil32(at) },
	"round_prefer_ceil": func(at float32, _ bool) float32 {
		return float32(math.Floor(float64(at) + 0.5))
	},
	"round_prefer_floor": func(at float32, _ bool) float32 {
		return float32(math.Ceil(float64(at) - 0.5))
	},
}

// roundSimple is how ONNX Runtime rounds before version 11, which defined it.
func roundSimple(at float32, shrinks bool) float32 {
	if shrinks {
		return ceil32(at)
	}
	return floor32(at)
}

func (r *resizer) kernel() Kernel {
	k := func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		shape := clone(t.Shape()) // as the graph has it
		order := make([]int, len(shape))
		for i := range order {
			order[i] = i
		}
		if r.channelLast {
			if len(shape) != 4 {
				return graphErr("%s of %v with channels last", r.op, t)
			}
			order = []int{0, 3, 1, 2}
			for i, a := range order {
				shape[i] = t.Dim(a)
			}
		}
		changes, to, err := r.plan(x, in, shape)
		if err != nil {
			return err
		}
		result := make([]int, len(shape))
		for i, a := range order {
			result[a] = to[i]
		}
		for _, c := range changes {
			c.axis = order[c.axis]
		}
		switch {
		case prod(result) == 0:
			out[0], err = x.Alloc(t.DType(), result)
			return err
		case t.Len() == 0:
			return graphErr("%s of %v to %v", r.op, t, result)
		case len(changes) == 0:
			out[0] = t
			return nil
		case r.mode == "nearest":
			out[0], err = nearest(x, t, result, changes)
		case t.DType() == tensor.Float32:
			out[0], err = weigh(x, t, result, changes)
		case t.DType() == tensor.Float64:
			out[0], err = weighDoubles(x, t, changes)
		default:
			out[0], err = r.integers(x, t, result, changes)
		}
		if err != nil {
			return err
		}
		return r.extrapolate(x, out[0], changes)
	}
	if r.mode == "nearest" {
		return k
	}
	half := viaFloat(k)
	return func(x *Context, in, out []*tensor.Tensor) error {
		if isNarrow(in[0]) {
			return half(x, in, out)
		}
		return k(x, in, out)
	}
}

// integers resizes integers as floats, whose fractions are dropped as ONNX Runtime does, or rounded
// where it antialiases. A bool is true where any that it weighs is.
func (r *resizer) integers(
	x *Context, t *tensor.Tensor, result []int, changes []*resampled,
) (*tensor.Tensor, error) {
	low, high := float32(math.MinInt32), float32(math.MaxInt32-64)
	switch t.DType() {
	case tensor.Uint8:
		low, high = 0, math.MaxUint8
	case tensor.Int8:
		low, high = math.MinInt8, math.MaxInt8
	case tensor.Int32, tensor.Int64, tensor.Bool:
	default:
		return nil, typeErr(r.op, t)
	}
	wide, err := cast(x, t, tensor.Float32)
	if err != nil {
		return nil, err
	}
	if wide, err = weigh(x, wide, result, changes); err != nil {
		return nil, err
	}
	d := tensor.Data[float32](wide)
	for i, v := range d {
		if r.antialias && t.DType() != tensor.Bool {
			v = float32(math.Round(float64(v)))
		}
		d[i] = min(max(v, low), high)
	}
	return cast(x, wide, t.DType())
}

// given returns the numbers of an input; nil where it is left out or empty.
func given(in []*tensor.Tensor, i int) *tensor.Tensor {
	if i < 0 {
		return nil
	}
	if t := input(in, i); t != nil && t.Len() > 0 {
		return t
	}
	return nil
}

// maxResized bounds a dimension of a result.
const maxResized = 1 << 30

// plan returns the axes that change, and the shape that results.
func (r *resizer) plan(x *Context, in []*tensor.Tensor, shape []int) ([]*resampled, []int, error) {
	list := r.axes
	if list == nil {
		for i := range shape {
			list = append(list, i)
		}
	}
	list, err := axes(list, len(shape))
	if err != nil {
		return nil, nil, err
	}
	wrong := func(what string, n int) ([]*resampled, []int, error) {
		return nil, nil, graphErr("%s of %v with %d %s for %d axes",
			r.op, in[0], n, what, len(list))
	}
	result := clone(shape)
	scale := make([]float32, len(list))
	scales, sizes := r.fixed, given(in, r.sizes)
	if t := given(in, r.scales); t != nil && scales == nil {
		if t.DType() != tensor.Float32 {
			return nil, nil, typeErr(r.op+" with scales", t)
		}
		scales = tensor.Data[float32](t)
	}
	switch {
	case scales != nil:
		if len(scales) != len(list) {
			return wrong("scales", len(scales))
		}
		for i, a := range list {
			scale[i] = scales[i]
			long := scale[i] * float32(shape[a])
			if !(scale[i] > 0) || !(long < maxResized) {
				return nil, nil, graphErr("%s of %v by %v", r.op, in[0], scales)
			}
			result[a] = int(long)
		}
	case sizes != nil:
		wanted, err := intsOf(sizes)
		if err != nil {
			return nil, nil, err
		}
		if len(wanted) != len(list) {
			return wrong("sizes", len(wanted))
		}
		for i, a := range list {
			if wanted[i] < 0 || wanted[i] >= maxResized {
				return nil, nil, graphErr("%s of %v to %v", r.op, in[0], wanted)
			}
			result[a] = wanted[i]
			scale[i] = float32(wanted[i]) / float32(shape[a])
		}
		if err := r.keepRatio(result, shape, list, scale); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, graphErr("%s without scales and sizes", r.op)
	}
	region := make([]float32, 2*len(list))
	for i := range list {
		region[len(list)+i] = 1
	}
	crops := r.transform == "tf_crop_and_resize"
	if crops {
		t := given(in, r.roi)
		if t == nil || t.Len() != len(region) {
			return nil, nil, graphErr("%s by tf_crop_and_resize in the region %v", r.op, t)
		}
		region = t.Float32s()
	}
	count, err := checkShape(result)
	if err != nil {
		return nil, nil, err
	}
	// An axis takes up to 64 bytes for each place.
	var places int64
	for _, d := range result {
		places += int64(d)
	}
	if bytes := int64(in[0].DType().Size()); count > 0 && (int64(count) > MaxTensorBytes/bytes ||
		places*64 > max(x.memory.Room(), 1<<20) || places*64 > MaxTensorBytes) {
		return nil, nil, graphErr("%s of %v to %v is beyond the memory limit", r.op, in[0], result)
	}
	if count == 0 {
		return nil, result, nil
	}
	var changes []*resampled
	for i, a := range list {
		start, end := region[i], region[len(list)+i]
		whole := !crops || start == 0 && end == 1
		if whole && scale[i] == 1 && result[a] == shape[a] || result[a] == 0 || shape[a] == 0 {
			continue
		}
		c := &resampled{axis: a, in: shape[a], out: result[a]}
		r.resample(c, scale[i], start, end)
		changes = append(changes, c)
	}
	return changes, result, nil
}

// keepRatio gives all axes one scale, where the policy says so.
func (r *resizer) keepRatio(result, shape, list []int, scale []float32) error {
	if r.policy == "" || r.policy == "stretch" || len(scale) == 0 {
		return nil
	}
	one := slices.Min(scale)
	if r.policy == "not_smaller" {
		one = slices.Max(scale)
	}
	for i, a := range list {
		long := math.Floor(float64(one*float32(shape[a])) + 0.5)
		if !(long < maxResized) {
			return graphErr("%s of %v with one scale %v", r.op, shape, one)
		}
		scale[i], result[a] = one, int(long)
	}
	return nil
}
