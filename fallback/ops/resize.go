package ops

import (
	"cmp"
	"math"
	"slices"
	"unsafe"

	"github.com/crossattn/xpipe/fallback/kernel"
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
		if in[0].DType() == tensor.Float16 {
			return half(x, in, out)
		}
		return k(x, in, out)
	}
}

// integers resizes integers as floats, whose fractions are dropped as ONNX Runtime does, or rounded
// where it antialiases.
func (r *resizer) integers(
	x *Context, t *tensor.Tensor, result []int, changes []*resampled,
) (*tensor.Tensor, error) {
	low, high := float32(math.MinInt32), float32(math.MaxInt32-64)
	switch t.DType() {
	case tensor.Uint8:
		low, high = 0, math.MaxUint8
	case tensor.Int8:
		low, high = math.MinInt8, math.MaxInt8
	case tensor.Int32, tensor.Int64:
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
		if r.antialias {
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
const maxResized = 1 << 31

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
		return nil, nil, graphErr("%s of %v with %d %s for %d axes", r.op, in[0], n, what, len(list))
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

// resample finds the elements for each place of an axis.
func (r *resizer) resample(c *resampled, scale, start, end float32) {
	coordinate := coordinates[r.transform]
	last := float32(c.in - 1)
	for place := range c.out {
		at := coordinate(float32(place), scale, float32(c.out), float32(c.in), start, end)
		if r.transform == "tf_crop_and_resize" && !(at >= 0 && at <= last) {
			c.outside = append(c.outside, place)
			at = min(max(at, 0), last)
			if at != at {
				at = 0
			}
		}
		if r.mode == "nearest" {
			c.pick = append(c.pick, int(min(max(r.round(at, scale < 1), 0), last)))
			continue
		}
		c.first = append(c.first, len(c.index))
		switch {
		case r.antialias && scale < 1:
			r.window(c, float64(at), float64(scale))
		case r.mode == "linear":
			at = min(max(at, 0), last)
			low := floor32(at)
			p := pair{low: int32(low), high: int32(min(low+1, last)), u: 0.5, v: 0.5}
			if p.low != p.high {
				p.u, p.v = low+1-at, at-low
			}
			c.pairs = append(c.pairs, p)
			c.add(int(p.low), p.u)
			c.add(int(p.high), p.v)
		default:
			r.window(c, float64(at), 1)
		}
	}
	c.first = append(c.first, len(c.index))
}

func (c *resampled) add(i int, weight float32) {
	c.index, c.weight = append(c.index, int32(i)), append(c.weight, weight)
}

// window weighs all elements within reach of a coordinate, which is further where the filter is
// stretched, by a scale below 1. What lies outside counts for the element at the edge, or not at
// all.
func (r *resizer) window(c *resampled, at, scale float64) {
	reach, filter := 1/scale, func(d float64) float64 { return max(0, 1-d) }
	if r.mode == "cubic" {
		reach, filter = 2/scale, r.cubicWeight
	}
	// Beyond one reach from the edge all elements are the one there.
	at = min(max(at, -reach-1), float64(c.in)+reach)
	low, high := int(math.Floor(at-reach))+1, int(math.Ceil(at+reach))-1
	from, to := min(max(low, 0), c.in-1), max(min(high, c.in-1), 0)
	weights := make([]float64, to-from+1)
	var sum float64
	for i := low; i <= high; i++ {
		w := filter(math.Abs(float64(i)-at) * scale)
		if r.exclude && (i < 0 || i >= c.in) {
			continue
		}
		weights[min(max(i, from), to)-from] += w
		sum += w
	}
	for i, w := range weights {
		c.add(from+i, float32(w/sum))
	}
}

// cubicWeight is the cubic convolution of R. Keys, "Cubic Convolution Interpolation for Digital
// Image Processing", 1981, at a distance of up to 2.
func (r *resizer) cubicWeight(d float64) float64 {
	a := r.cubic
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

// extrapolate sets the places beyond the input.
func (r *resizer) extrapolate(x *Context, t *tensor.Tensor, changes []*resampled) error {
	var value []byte
	shape := t.Shape()
	for _, c := range changes {
		if len(c.outside) == 0 {
			continue
		}
		if value == nil {
			one, err := cast(x, tensor.Scalar(r.outside), t.DType())
			if err != nil {
				return err
			}
			value = raw(one)
		}
		dst, size := raw(t), prod(shape[c.axis+1:])*len(value)
		for outer := range prod(shape[:c.axis]) {
			for _, place := range c.outside {
				chunk := dst[(outer*c.out+place)*size:][:size]
				for i := 0; i < size; i += len(value) {
					copy(chunk[i:], value)
				}
			}
		}
	}
	return x.Err()
}

// nearest copies the picked elements.
func nearest(
	x *Context, t *tensor.Tensor, shape []int, changes []*resampled,
) (*tensor.Tensor, error) {
	r, err := x.Alloc(t.DType(), shape)
	if err != nil {
		return nil, err
	}
	// Offsets in t of each place of each axis, up to the last that changes.
	strides, last := stridesOf(t.Shape()), 0
	offsets := make([][]int, len(shape))
	for _, c := range changes {
		offsets[c.axis], last = c.pick, max(last, c.axis)
	}
	offsets = offsets[:last+1]
	for a := range offsets {
		picked := make([]int, shape[a])
		for i := range picked {
			if picked[i] = i * strides[a]; offsets[a] != nil {
				picked[i] = offsets[a][i] * strides[a]
			}
		}
		offsets[a] = picked
	}
	switch t.DType().Size() {
	case 8:
		err = pickRows(x, bits[uint64](r), bits[uint64](t), offsets, strides[last])
	case 4:
		err = pickRows(x, bits[uint32](r), bits[uint32](t), offsets, strides[last])
	case 2:
		err = pickRows(x, bits[uint16](r), bits[uint16](t), offsets, strides[last])
	default:
		err = pickRows(x, bits[uint8](r), bits[uint8](t), offsets, strides[last])
	}
	return r, err
}

// pickRows copies chunks of inner words, row by row of the last axis. Rows that come from the same
// place are computed once.
func pickRows[W word](x *Context, dst, src []W, offsets [][]int, inner int) error {
	row := offsets[len(offsets)-1]
	lines, above := []int{0}, offsets[:0] // of the rows: the axis before, and those before that
	if n := len(offsets); n > 1 {
		lines, above = offsets[n-2], offsets[:n-2]
	}
	width, reach := len(row)*inner, slices.Max(row)+1
	// Whether each element is there twice, or every second one, in order.
	twice := inner == 1 && len(row)%2 == 0 && words32(dst) != nil
	second := inner == 1 && words32(dst) != nil
	for j, at := range row {
		twice, second = twice && at == j/2, second && at == 2*j
	}
	return x.Parallel(len(dst)/width, max(1, minWork/width), func(lo, hi int) {
		base, before := 0, -1
		for i := lo; i < hi; i++ {
			k := i % len(lines)
			if k == 0 || i == lo {
				base = 0
				for a, rest := len(above)-1, i/len(lines); a >= 0; a-- {
					base += above[a][rest%len(above[a])]
					rest /= len(above[a])
				}
			}
			from, to := base+lines[k], dst[i*width:(i+1)*width]
			switch {
			case from == before:
				copy(to, dst[(i-1)*width:i*width])
			case twice:
				kernel.Double(words32(to), words32(src[from:from+width/2]))
			case second:
				kernel.EverySecond(words32(to), words32(src[from:from+reach]))
			case inner == 1:
				pickWords(to, src[from:from+reach], row)
			default:
				for j, at := range row {
					copy(to[j*inner:(j+1)*inner], src[from+at:])
				}
			}
			before = from
		}
	})
}

// words32 is v seen as words of 32 bits; nil where its words are of another size.
func words32[W word](v []W) []uint32 {
	if len(v) == 0 || unsafe.Sizeof(v[0]) != 4 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&v[0])), len(v))
}

// weigh computes one axis after the other. On the last one elements are weighed one by one, and not
// row by row: the axes before it come first where they shrink, and later where they grow.
func weigh(
	x *Context, t *tensor.Tensor, shape []int, changes []*resampled,
) (*tensor.Tensor, error) {
	r, dst, err := alloc[float32](x, shape)
	if err != nil {
		return nil, err
	}
	src := tensor.Data[float32](t)
	turn := func(c *resampled) int {
		switch {
		case c.axis == len(shape)-1:
			return 1
		case c.out < c.in:
			return 0
		}
		return 2
	}
	order := slices.Clone(changes)
	slices.SortFunc(order, func(a, b *resampled) int {
		return cmp.Or(cmp.Compare(turn(a), turn(b)), cmp.Compare(a.out*b.in, b.out*a.in),
			cmp.Compare(b.axis, a.axis))
	})
	// Before the first axis that changes lie blocks which have nothing to do with each other. If
	// there are enough, each core takes its blocks through all axes while they are in its cache.
	first := slices.MinFunc(changes, func(a, b *resampled) int { return cmp.Compare(a.axis, b.axis) })
	blocks := prod(shape[:first.axis])
	now, largest := clone(t.Shape()[first.axis:]), 0
	passes := make([]pass, len(order))
	for i, c := range order {
		axis := c.axis - first.axis
		passes[i] = pass{resampled: c, outer: prod(now[:axis]), inner: prod(now[axis+1:])}
		if now[axis] = c.out; i < len(order)-1 {
			largest = max(largest, prod(now))
		}
	}
	if blocks >= x.Threads() || len(order) == 1 && blocks > 1 {
		from, to := len(src)/blocks, len(dst)/blocks
		return r, x.ParallelScratch(blocks, max(1, minWork/to), 2*largest,
			func(lo, hi int, scratch []float32) {
				for b := lo; b < hi; b++ {
					at := src[b*from : (b+1)*from]
					for i, p := range passes {
						result := dst[b*to : (b+1)*to]
						if i < len(passes)-1 {
							result = scratch[i%2*largest:][:p.outer*p.out*p.inner]
						}
						p.run(result, at, 0, p.outer*p.out)
						at = result
					}
				}
			})
	}
	at := src
	for i, p := range passes {
		p.outer *= blocks
		result := dst
		if i < len(passes)-1 {
			if _, result, err = alloc[float32](x, []int{p.outer * p.out * p.inner}); err != nil {
				return nil, err
			}
		}
		if err := x.Parallel(p.outer*p.out, max(1, minWork/(4*p.inner)),
			func(lo, hi int) { p.run(result, at, lo, hi) }); err != nil {
			return nil, err
		}
		at = result
	}
	return r, nil
}

// pass weighs along one axis of [outer,in,inner].
type pass struct {
	*resampled
	outer, inner int
}

// run computes rows lo to hi-1 of the outer*out rows of inner elements that dst has.
func (p *pass) run(dst, src []float32, lo, hi int) {
	if p.inner == 1 {
		for lo < hi {
			outer, place := lo/p.out, lo%p.out
			end := min(p.out, place+hi-lo)
			p.line(dst[outer*p.out+place:outer*p.out+end], src[outer*p.in:(outer+1)*p.in], place)
			lo += end - place
		}
		return
	}
	for i := lo; i < hi; i++ {
		outer, place := i/p.out, i%p.out
		to := dst[i*p.inner : (i+1)*p.inner]
		if p.inner < 8 { // such as the colours of a picture
			clear(to)
		}
		for k := p.first[place]; k < p.first[place+1]; k++ {
			row, w := src[(outer*p.in+int(p.index[k]))*p.inner:][:p.inner], p.weight[k]
			switch {
			case p.inner < 8:
				for j, v := range row {
					to[j] += w * v
				}
			case k == p.first[place]:
				kernel.Scale(to, row, w)
			default:
				kernel.Axpy(to, row, w)
			}
		}
	}
}

// line computes places from place on of one line.
func (p *pass) line(dst, src []float32, place int) {
	first := p.first[place:]
	if p.pairs != nil {
		for i, w := range p.pairs[place : place+len(dst)] {
			dst[i] = src[w.low]*w.u + src[w.high]*w.v
		}
		return
	}
	for i := range dst {
		var sum float32
		weight := p.weight[first[i]:first[i+1]]
		for k, at := range p.index[first[i]:first[i+1]] {
			sum += weight[k] * src[at]
		}
		dst[i] = sum
	}
}
