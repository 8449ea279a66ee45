package ops

import (
	"math"
	"unsafe"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Operators that only move elements depend on their size, not on their type: they work on words.
type word interface {
	uint64 | uint32 | uint16 | uint8
}

// bits returns the elements of t as words of their size.
func bits[W word](t *tensor.Tensor) []W {
	switch t.DType() {
	case tensor.Float32:
		return as[W](tensor.Data[float32](t))
	case tensor.Float64:
		return as[W](tensor.Data[float64](t))
	case tensor.Float16:
		return as[W](tensor.Data[tensor.Half](t))
	case tensor.BFloat16:
		return as[W](tensor.Data[tensor.BF16](t))
	case tensor.Int64:
		return as[W](tensor.Data[int64](t))
	case tensor.Int32:
		return as[W](tensor.Data[int32](t))
	case tensor.Int8:
		return as[W](tensor.Data[int8](t))
	case tensor.Uint8:
		return as[W](tensor.Data[uint8](t))
	}
	return as[W](tensor.Data[bool](t))
}

func as[W word, T any](v []T) []W {
	if len(v) == 0 {
		return nil
	}
	var w W
	var t T
	if unsafe.Sizeof(w) != unsafe.Sizeof(t) {
		panic("ops: word of another size than the element")
	}
	return unsafe.Slice((*W)(unsafe.Pointer(&v[0])), len(v))
}

// raw returns the elements of t as bytes.
func raw(t *tensor.Tensor) []byte {
	if t.Len() == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(Pointer(t)), t.Len()*t.DType().Size())
}

// Pointer returns the address of the first element of t, nil if there is none or an engine holds
// them.
func Pointer(t *tensor.Tensor) unsafe.Pointer {
	if t.Len() == 0 || t.Storage() != nil {
		return nil
	}
	switch t.DType().Size() {
	case 8:
		return unsafe.Pointer(&bits[uint64](t)[0])
	case 4:
		return unsafe.Pointer(&bits[uint32](t)[0])
	case 2:
		return unsafe.Pointer(&bits[uint16](t)[0])
	}
	return unsafe.Pointer(&bits[uint8](t)[0])
}

func onnxType(t int) tensor.DType { return onnx.DType(int32(t)) }

func ceilDiv(a, b float64) float64 { return math.Ceil(a / b) }

// strided copies from src to a dense dst of the shape, stepping through src by strides (in
// elements) from offset: what Transpose and Slice are.
func strided(x *Context, t *tensor.Tensor, shape, strides []int,
	offset int) (*tensor.Tensor, error) {
	r, err := x.Alloc(t.DType(), shape)
	if err != nil || r.Len() == 0 {
		return r, err
	}
	switch t.DType().Size() {
	case 8:
		err = gatherStrided(x, bits[uint64](r), bits[uint64](t), shape, strides, offset)
	case 4:
		err = gatherStrided(x, bits[uint32](r), bits[uint32](t), shape, strides, offset)
	case 2:
		err = gatherStrided(x, bits[uint16](r), bits[uint16](t), shape, strides, offset)
	default:
		err = gatherStrided(x, bits[uint8](r), bits[uint8](t), shape, strides, offset)
	}
	return r, err
}

func gatherStrided[W word](x *Context, dst, src []W, shape, strides []int, offset int) error {
	// Merge dimensions that lie one after the other in src as in dst.
	var dims, steps []int
	for i, d := range shape {
		if d == 1 {
			continue
		}
		if last := len(dims) - 1; last >= 0 && steps[last] == strides[i]*d {
			dims[last] *= d
			steps[last] = strides[i]
			continue
		}
		dims, steps = append(dims, d), append(steps, strides[i])
	}
	if len(dims) == 0 {
		dst[0] = src[offset]
		return nil
	}
	last := len(dims) - 1
	inner, step := dims[last], steps[last]
	outer, steps := dims[:last], steps[:last]
	// If the inner step is large and the one above it is 1, a matrix is transposed: go through
	// tiles, so that each cache line is used whole.
	if last >= 1 && step != 1 && steps[last-1] == 1 && inner >= 8 && outer[last-1] >= 8 {
		return transposeTiles(x, dst, src, outer[:last-1], steps[:last-1], outer[last-1], inner,
			step, offset)
	}
	rows := len(dst) / inner
	return x.Parallel(rows, max(1, minWork/inner), func(lo, hi int) {
		index, at := odometer(lo, outer, steps, offset)
		for row := lo; row < hi; row++ {
			to := dst[row*inner : (row+1)*inner]
			if step == 1 {
				copy(to, src[at:at+inner])
			} else {
				for i, p := 0, at; i < inner; i, p = i+1, p+step {
					to[i] = src[p]
				}
			}
			at = advance(index, outer, steps, at)
		}
	})
}

// transposeTiles copies outer matrices of rows x cols, where src has the elements of a row step
// apart and those of a column next to each other.
func transposeTiles[W word](x *Context, dst, src []W, outer, steps []int,
	rows, cols, step, offset int) error {
	const tile = 16
	bands := (rows + tile - 1) / tile
	return x.Parallel(prod(outer)*bands, max(1, minWork/(tile*cols)), func(lo, hi int) {
		for b := lo; b < hi; b++ {
			matrix, band := b/bands, b%bands
			_, at := odometer(matrix, outer, steps, offset)
			r0, r1 := band*tile, min(rows, band*tile+tile)
			to := dst[matrix*rows*cols : (matrix+1)*rows*cols]
			for c0 := 0; c0 < cols; c0 += tile {
				c1 := min(cols, c0+tile)
				for r := r0; r < r1; r++ {
					line := to[r*cols+c0 : r*cols+c1]
					p := at + r + c0*step
					for i := range line {
						line[i] = src[p]
						p += step
					}
				}
			}
		}
	})
}

// odometer returns the index of item n in dimensions dims, and its offset.
func odometer(n int, dims, steps []int, offset int) ([]int, int) {
	index := make([]int, len(dims))
	for i := len(dims) - 1; i >= 0; i-- {
		index[i] = n % dims[i]
		n /= dims[i]
		offset += index[i] * steps[i]
	}
	return index, offset
}

// advance moves index to the next item and returns its offset.
func advance(index, dims, steps []int, at int) int {
	for i := len(dims) - 1; i >= 0; i-- {
		index[i]++
		at += steps[i]
		if index[i] < dims[i] {
			return at
		}
		at -= index[i] * steps[i]
		index[i] = 0
	}
	return at
}

// stridesOf returns the steps, in elements, of a dense tensor.
func stridesOf(shape []int) []int {
	s := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = step
		step *= shape[i]
	}
	return s
}

func buildTranspose(n *Node) Kernel {
	attr := n.ints("perm")
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		out[0], err = transpose(x, in[0], attr)
		return err
	}
}

// transpose permutes dimensions; a nil perm reverses them.
func transpose(x *Context, t *tensor.Tensor, perm []int) (*tensor.Tensor, error) {
	shape := t.Shape()
	if perm == nil {
		for i := len(shape) - 1; i >= 0; i-- {
			perm = append(perm, i)
		}
	}
	if len(perm) != len(shape) {
		return nil, graphErr("Transpose of %v by %v", t, perm)
	}
	perm, err := axes(perm, len(shape))
	if err != nil {
		return nil, err
	}
	from := stridesOf(shape)
	to, strides := make([]int, len(perm)), make([]int, len(perm))
	still, next := true, -1 // whether dimensions longer than 1 keep their order
	for i, p := range perm {
		to[i], strides[i] = shape[p], from[p]
		if shape[p] != 1 {
			still = still && p > next
			next = p
		}
	}
	if still {
		return reshaped(t, to)
	}
	return strided(x, t, to, strides, 0)
}

// buildSlice takes starts, ends, axes and steps as inputs; before version 10 as attributes.
func buildSlice(n *Node) Kernel {
	var attrs [4][]int
	if n.Version < 10 {
		attrs[0], attrs[1], attrs[2] = n.ints("starts"), n.ints("ends"), n.ints("axes")
	} else {
		n.want(3, 5)
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		args := attrs
		if len(in) > 1 {
			for i := range args {
				if t := input(in, i+1); t != nil {
					if args[i], err = intsOf(t); err != nil {
						return err
					}
				}
			}
		}
		out[0], err = slice(x, in[0], args[0], args[1], args[2], args[3])
		return err
	}
}

// buildLastPosition gives the last position [...,1,N] of [...,T,N]; all of them in runs of
// engine.AllPositions.
func buildLastPosition(*Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		if out[0] = in[0]; !engine.WantsAllPositions(x.ctx) {
			out[0], err = slice(x, in[0], []int{-1}, []int{math.MaxInt}, []int{-2}, nil)
		}
		return err
	}
}

func slice(x *Context, t *tensor.Tensor, starts, ends, list, steps []int) (*tensor.Tensor, error) {
	shape := t.Shape()
	if list == nil {
		list = make([]int, len(starts))
		for i := range list {
			list[i] = i
		}
	}
	if steps == nil {
		steps = make([]int, len(starts))
		for i := range steps {
			steps[i] = 1
		}
	}
	if len(ends) != len(starts) || len(list) != len(starts) || len(steps) != len(starts) {
		return nil, graphErr("Slice with %d starts, %d ends, %d axes and %d steps",
			len(starts), len(ends), len(list), len(steps))
	}
	list, err := axes(list, len(shape))
	if err != nil {
		return nil, err
	}
	to, strides, offset := clone(shape), stridesOf(shape), 0
	for i, a := range list {
		d, start, end, step := shape[a], starts[i], ends[i], steps[i]
		if step == 0 {
			return nil, graphErr("Slice with a step of 0")
		}
		if start < 0 {
			start += d
		}
		if end < 0 {
			end += d
		}
		if step > 0 {
			start, end = min(max(start, 0), d), min(max(end, 0), d)
			to[a] = max(0, (end-start+step-1)/step)
		} else {
			start, end = min(max(start, 0), d-1), min(max(end, -1), d-1)
			to[a] = max(0, (start-end-step-1)/-step)
		}
		offset += start * strides[a]
		strides[a] *= step
	}
	if prod(to) == t.Len() && offset == 0 {
		return reshaped(t, to)
	}
	return strided(x, t, to, strides, offset)
}

func buildConcat(n *Node) Kernel {
	at := n.int("axis", 0)
	if !n.has("axis") {
		n.fail("attribute \"axis\" is not given")
	}
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		for _, t := range in {
			if t == nil {
				return graphErr("an input is left out")
			}
		}
		out[0], err = concat(x, in, at)
		return err
	}
}

func concat(x *Context, in []*tensor.Tensor, at int) (*tensor.Tensor, error) {
	first := in[0]
	a, err := axis(at, first.Rank())
	if err != nil {
		return nil, err
	}
	shape := clone(first.Shape())
	whole := first // the only input that holds anything, if there is one
	parts := 0
	for i, t := range in {
		if t.DType() != first.DType() || t.Rank() != first.Rank() {
			return nil, graphErr("Concat of %v and %v", first, t)
		}
		for j, d := range t.Shape() {
			if j != a && d != shape[j] {
				return nil, graphErr("Concat of %v and %v along axis %d", first, t, a)
			}
		}
		if i > 0 {
			shape[a] += t.Dim(a)
		}
		if t.Dim(a) > 0 {
			whole = t
			parts++
		}
	}
	if parts <= 1 {
		return whole, nil
	}
	r, err := x.Alloc(first.DType(), shape)
	if err != nil || r.Len() == 0 {
		return r, err
	}
	dst, size := raw(r), r.DType().Size()
	outer, inner := prod(shape[:a]), prod(shape[a+1:])*size
	pitch := shape[a] * inner
	at = 0
	for _, t := range in {
		src, chunk := raw(t), t.Dim(a)*inner
		for i := range outer {
			copy(dst[i*pitch+at:i*pitch+at+chunk], src[i*chunk:])
		}
		at += chunk
	}
	return r, x.Err()
}

func buildSplit(n *Node) Kernel {
	at, attr, count := n.int("axis", 0), n.ints("split"), n.int("num_outputs", n.Outputs)
	if count != n.Outputs {
		n.fail("num_outputs is %d, the node has %d", count, n.Outputs)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		a, err := axis(at, t.Rank())
		if err != nil {
			return err
		}
		sizes, given, err := axesArg(in, 1, attr)
		if err != nil {
			return err
		}
		d := t.Dim(a)
		if !given {
			if n.Version < 18 && d%len(out) != 0 {
				return graphErr("Split of a dimension of %d into %d equal parts", d, len(out))
			}
			each := (d + len(out) - 1) / len(out)
			for i := range out {
				sizes = append(sizes, max(0, min(each, d-i*each)))
			}
		}
		sum := 0
		for _, s := range sizes {
			if s < 0 || s > d {
				return graphErr("Split of %v into %v", t, sizes)
			}
			sum += s
		}
		if len(sizes) != len(out) || sum != d {
			return graphErr("Split of %v into %v along axis %d", t, sizes, a)
		}
		start := 0
		for i, s := range sizes {
			if out[i], err = slice(x, t, []int{start}, []int{start + s}, []int{a}, nil); err != nil {
				return err
			}
			start += s
		}
		return nil
	}
}

func buildTile(n *Node) Kernel {
	return func(x *Context, in, out []*tensor.Tensor) error {
		repeats, err := intsOf(in[1])
		if err != nil {
			return err
		}
		t := in[0]
		if len(repeats) != t.Rank() {
			return graphErr("Tile of %v by %v", t, repeats)
		}
		// Tiling is expanding a dimension that stands before each one.
		from, to, shape := []int{}, []int{}, clone(t.Shape())
		if 2*len(shape) > maxRank {
			return graphErr("Tile of %v", t)
		}
		for i, r := range repeats {
			from = append(from, 1, shape[i])
			to = append(to, r, shape[i])
		}
		if _, err := checkShape(to); err != nil {
			return err
		}
		for i, r := range repeats {
			shape[i] *= r
		}
		split, err := reshaped(t, from)
		if err != nil {
			return err
		}
		if split, err = spreadTo(x, split, to); err != nil {
			return err
		}
		out[0], err = reshaped(split, shape)
		return err
	}
}

func buildTrilu(n *Node) Kernel {
	upper := n.int("upper", 1) == 1
	return func(x *Context, in, out []*tensor.Tensor) error {
		k := 0
		if t := input(in, 1); t != nil {
			var err error
			if k, err = scalarInt(t); err != nil {
				return err
			}
		}
		t := in[0]
		if t.Rank() < 2 {
			return graphErr("Trilu of %v", t)
		}
		r, err := x.Alloc(t.DType(), t.Shape())
		if err != nil || r.Len() == 0 {
			out[0] = r
			return err
		}
		rows, cols, size := t.Dim(-2), t.Dim(-1), t.DType().Size()
		dst, src := raw(r), raw(t)
		clear(dst)
		for line := range t.Len() / cols {
			i := line % rows
			lo, hi := 0, min(max(i+k+1, 0), cols) // keep columns up to i+k
			if upper {
				lo, hi = min(max(i+k, 0), cols), cols
			}
			at := line * cols
			copy(dst[(at+lo)*size:(at+hi)*size], src[(at+lo)*size:])
		}
		out[0] = r
		return nil
	}
}
