package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// gridSample is GridSample: each place of the result is read from where a grid says, between the
// elements of an image of any number of dimensions.
type gridSample struct {
	mode         string // nearest, linear or cubic
	padding      string // zeros, border or reflection
	alignCorners bool
}

// maxSampled bounds the spatial dimensions, and with them the elements that one place weighs.
const maxSampled = 4

func buildGridSample(n *Node) Kernel {
	g := &gridSample{alignCorners: n.int("align_corners", 0) != 0}
	g.padding = n.str("padding_mode", "zeros")
	n.oneOf("padding_mode", g.padding, "zeros", "border", "reflection")
	g.mode = n.str("mode", "linear")
	n.oneOf("mode", g.mode, "nearest", "linear", "cubic", "bilinear", "bicubic")
	switch g.mode { // the names of version 16
	case "bilinear":
		g.mode = "linear"
	case "bicubic":
		g.mode = "cubic"
	}
	return g.run
}

// run computes in float32, or in float64 where the image or the grid needs it, and converts the
// result to the image's type.
func (g *gridSample) run(x *Context, in, out []*tensor.Tensor) error {
	t, grid := in[0], in[1]
	wide := tensor.Float64
	switch t.DType() {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
		wide = tensor.Float32
	}
	switch grid.DType() {
	case tensor.Float64:
		wide = tensor.Float64
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return typeErr("GridSample with a grid", grid)
	}
	image, err := cast(x, t, wide)
	if err != nil {
		return err
	}
	if grid, err = cast(x, grid, wide); err != nil {
		return err
	}
	var r *tensor.Tensor
	if wide == tensor.Float64 {
		r, err = sampled[float64](x, g, image, grid)
	} else {
		r, err = sampled[float32](x, g, image, grid)
	}
	if err != nil {
		return err
	}
	out[0], err = cast(x, r, t.DType())
	return err
}

// sampled reads an image at the places of a grid.
func sampled[T float](x *Context, g *gridSample, t, grid *tensor.Tensor) (*tensor.Tensor, error) {
	dims := t.Rank() - 2
	if dims < 1 || dims > maxSampled || grid.Rank() != t.Rank() || grid.Dim(0) != t.Dim(0) ||
		grid.Dim(-1) != dims {
		return nil, graphErr("GridSample of %v at %v", t, grid)
	}
	size := t.Shape()[2:]
	shape := clone(t.Shape())
	copy(shape[2:], grid.Shape()[1:1+dims])
	r, dst, err := alloc[T](x, shape)
	if err != nil || len(dst) == 0 {
		return r, err
	}
	if prod(size) == 0 {
		return nil, graphErr("GridSample of %v", t)
	}
	src, at := tensor.Data[T](t), tensor.Data[T](grid)
	channels, plane, places := shape[1], prod(size), prod(shape[2:])
	strides := stridesOf(size)
	return r, x.Parallel(shape[0]*places, max(1, minWork/(16*channels)), func(lo, hi int) {
		s := &sample[T]{g: g, size: size, strides: strides}
		for i := lo; i < hi; i++ {
			s.find(at[i*dims : (i+1)*dims])
			image, place := i/places*channels, i%places
			for c := image; c < image+channels; c++ {
				from := src[c*plane : (c+1)*plane]
				var sum T
				for k, index := range s.index {
					sum += s.weight[k] * from[index]
				}
				dst[c*places+place] = sum
			}
		}
	})
}

// sample holds the elements that one place weighs.
type sample[T float] struct {
	g             *gridSample
	size, strides []int
	index         []int
	weight        []T
}

// find weighs the elements around the coordinates of a place, of which the last dimension has the
// first.
func (s *sample[T]) find(at []T) {
	s.index, s.weight = append(s.index[:0], 0), append(s.weight[:0], 1)
	for d, n := range s.size {
		low, high := T(-0.5), T(n)-0.5
		v := (T(at[len(at)-1-d]+1)*T(n) - 1) / 2
		if s.g.alignCorners {
			low, high = 0, T(n-1)
			v = (at[len(at)-1-d] + 1) / 2 * T(n-1)
		}
		if v != v {
			v = low - 1
		}
		if s.g.mode == "nearest" {
			v = T(math.RoundToEven(float64(v)))
		}
		if v < low || v > high {
			switch s.g.padding {
			case "border":
				v = min(max(v, 0), T(n-1))
			case "reflection":
				v = reflect(v, low, high)
			}
		}
		v = min(max(v, -1<<30), 1<<30)
		floor := T(math.Floor(float64(v)))
		first, f := int(floor), v-floor
		var room [4]T
		weights := room[:]
		switch s.g.mode {
		case "nearest":
			weights = append(weights[:0], 1)
		case "linear":
			weights = append(weights[:0], 1-f, f)
		default:
			c := resizer{cubic: -0.75}
			first--
			for k := range 4 {
				d := math.Abs(float64(f) - float64(k-1))
				weights[k] = T(c.cubicWeight(d))
			}
		}
		s.times(first, weights, n, s.strides[d], low, high)
	}
}

// times multiplies the elements found so far with those from first on of another dimension.
func (s *sample[T]) times(first int, weights []T, n, stride int, low, high T) {
	found := len(s.index)
	for k, w := range weights {
		i := first + k
		if i < 0 || i >= n {
			switch s.g.padding {
			case "zeros":
				continue
			case "border":
				i = min(max(i, 0), n-1)
			default:
				i = min(max(int(reflect(T(i), low, high)), 0), n-1)
			}
		}
		for j := range found {
			s.index = append(s.index, s.index[j]+i*stride)
			s.weight = append(s.weight, s.weight[j]*w)
		}
	}
	s.index = s.index[:copy(s.index, s.index[found:])]
	s.weight = s.weight[:copy(s.weight, s.weight[found:])]
}

// reflect folds a coordinate at low and high until it lies between them.
func reflect[T float](v, low, high T) T {
	width := high - low
	if width <= 0 || math.IsInf(float64(v), 0) {
		return low
	}
	over, from, to := low-v, low, high
	if v > high {
		over, from, to = v-high, high, low
	}
	if over < 0 {
		return v
	}
	times := math.Trunc(float64(over / width))
	rest := over - T(times)*width
	if math.Mod(times, 2) == 0 {
		if from < to {
			return from + rest
		}
		return from - rest
	}
	if from < to {
		return to - rest
	}
	return to + rest
}
