package ops

import (
	"cmp"
	"math"
	"slices"
	"unsafe"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

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
	first := slices.MinFunc(changes,
		func(a, b *resampled) int { return cmp.Compare(a.axis, b.axis) })
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

// weighDoubles is weigh for float64, one axis after the other as they come. The weights are float32.
func weighDoubles(x *Context, t *tensor.Tensor, changes []*resampled) (*tensor.Tensor, error) {
	for _, c := range changes {
		shape := clone(t.Shape())
		shape[c.axis] = c.out
		r, dst, err := zeros[float64](x, shape)
		if err != nil {
			return nil, err
		}
		src, inner := tensor.Data[float64](t), prod(shape[c.axis+1:])
		if err := x.Parallel(len(dst)/inner, max(1, minWork/(4*inner)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				outer, place := i/c.out, i%c.out
				to := dst[i*inner : (i+1)*inner]
				for k := c.first[place]; k < c.first[place+1]; k++ {
					w := float64(c.weight[k])
					for j, v := range src[(outer*c.in+int(c.index[k]))*inner:][:inner] {
						to[j] += w * v
					}
				}
			}
		}); err != nil {
			return nil, err
		}
		t = r
	}
	return t, nil
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
