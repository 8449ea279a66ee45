package ops

import (
	"math"
	"slices"
	"unsafe"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// byteConv is a convolution of 8-bit images [N,H,W,C] by constant 8-bit weights in one group,
// scaled to float32.
type byteConv struct {
	*window
	act    activation
	shape  []int
	matrix *kernel.ByteMatrix  // [window and channels, M]
	scale  []float32           // of each channel of the result
	to     *byteScale          // of the result, where it is bytes
	narrow *kernel.Requantizer // from sums to such bytes; nil where floats come between
}

// buildFusedConvInteger is the integer convolution of X with constant weights W, times a scale, one
// number or one for each channel, + bias, activated, + residual. Its inputs are X, W, bias,
// residual, the zero points of X and W, and the scale. X, the residual and the result are
// [N,H,W,C]. Two more inputs, a scale and a zero point, make the result bytes; there is no residual
// then.
func buildFusedConvInteger(n *Node) Kernel {
	k := &byteConv{window: newWindow(n), act: n.activation()}
	if n.Inputs == 9 {
		to := n.byteScale(7)
		k.to = &to
	}
	if n.Inputs != 7 && k.to == nil || k.to != nil && !n.left(3) ||
		n.Const[1] == nil || n.Const[1].Rank() != 4 || n.Const[1].Len() == 0 ||
		n.Const[6] == nil || n.Const[6].DType() != tensor.Float32 ||
		n.int("channels_last", 0) == 0 || n.int("group", 1) != 1 ||
		!n.left(5) && n.Const[5] == nil {
		n.fail("a quantised convolution of images in one group has constant weights and scales, " +
			"and channels last")
		return nil
	}
	w, scale := n.Const[1], tensor.Data[float32](n.Const[6])
	k.shape = clone(w.Shape())
	m, channels, taps := w.Dim(0), w.Dim(1), w.Dim(2)*w.Dim(3)
	data, flip, err := bytesOf(w)
	if err != nil {
		n.fail("weights %v", w)
		return nil
	}
	zeros, err := byteZeros(n.Const[5])
	if err != nil || len(zeros) != 1 && len(zeros) != m || len(scale) != 1 && len(scale) != m {
		n.fail("%d zero points and %d scales for %d channels", len(zeros), len(scale), m)
		return nil
	}
	data = windowFirst(data, channels, taps)
	k.matrix = kernel.NewByteMatrix(channels*taps, m)
	k.matrix.SetZeros(zeros, flip)
	k.matrix.FillTransposed(data, k.matrix.K, flip, 0, k.matrix.Panels())
	k.scale = make([]float32, m)
	for i := range k.scale {
		k.scale[i] = scale[i%len(scale)]
	}
	if k.to != nil && (n.left(2) || n.Const[2] != nil) {
		k.narrow = k.requantizer(n.Const[2])
	}
	n.drop(1)
	return k.run
}

// requantizer returns what makes bytes of the sums; nil where the bias, which may be nil, is not
// that of integers in steps of the scale, as QLinearConv has it, or an activation needs floats.
func (k *byteConv) requantizer(bias *tensor.Tensor) *kernel.Requantizer {
	if k.act.f != nil || bias != nil && (bias.Len() != len(k.scale) || bias.DType() != tensor.Float32) {
		return nil
	}
	var ends [2]uint8
	kernel.Quantize(ends[:], []float32{k.act.low, k.act.high}, k.to.scale, k.to.zero, 0)
	q := &kernel.Requantizer{
		Bias: make([]int32, len(k.scale)), Scale: make([]float32, len(k.scale)),
		Low: float32(int32(ends[0]) - k.to.zero), High: float32(int32(ends[1]) - k.to.zero),
		Zero: k.to.zero, Flip: k.to.flip,
	}
	for i, scale := range k.scale {
		q.Scale[i] = scale / k.to.scale
		if !(q.Scale[i] > 0) || math.IsInf(float64(q.Scale[i]), 0) {
			return nil
		}
		if bias != nil {
			b := tensor.Data[float32](bias)[i]
			steps := math.RoundToEven(float64(b / scale))
			if !(math.Abs(steps) < 1<<30) || float32(steps)*scale != b {
				return nil
			}
			q.Bias[i] = int32(steps)
		}
	}
	return q
}

func (k *byteConv) run(x *Context, in, out []*tensor.Tensor) error {
	src, flip, err := bytesOf(in[0])
	if err != nil {
		return err
	}
	if in[0].Rank() != 4 {
		return graphErr("a convolution of %v by %v", in[0], tensor.FormatShape(k.shape))
	}
	s := in[0].Shape()
	c, err := planConv(k.window, 1, []int{s[0], s[3], s[1], s[2]}, k.shape)
	if err != nil {
		return err
	}
	zeros, err := byteZeros(input(in, 4))
	if err != nil || len(zeros) != 1 {
		return graphErr("a convolution with zero points %v", input(in, 4))
	}
	bytes := &kernel.ByteEpilogue{Scale: k.scale}
	if b := input(in, 2); b != nil {
		if b.Len() != c.m || b.DType() != tensor.Float32 {
			return graphErr("a convolution to %d channels with bias %v", c.m, b)
		}
		bytes.Bias = tensor.Data[float32](b)
	}
	dtype := tensor.Float32
	if k.to != nil {
		dtype = k.to.dtype
	}
	r, err := x.Alloc(dtype, []int{c.n, c.out[2], c.out[3], c.m})
	out[0] = r
	if err != nil || r.Len() == 0 {
		return err
	}
	e, added := k.act.epilogue(), input(in, 3)
	if added != nil && added.DType() == tensor.Float32 && slices.Equal(added.Shape(), r.Shape()) {
		e.Residual, added = tensor.Data[float32](added), nil
	}
	var dst []float32
	var narrow []uint8
	if k.to == nil {
		dst = tensor.Data[float32](r)
	} else if narrow, _, err = bytesOf(r); err != nil {
		return err
	}
	depth, rows := k.matrix.K, r.Len()/c.m
	plain := c.plain()
	step := 32 * max(1, (1<<10)/(depth+1)) // 32 kB of bytes, in tiles of all heights
	wide := 0
	if k.to != nil { // and 128 kB of floats
		step = min(step, 32*max(1, (1<<10)/c.m))
		wide = step * c.m
	}
	pieces := (rows + step - 1) / step
	packedInts := k.matrix.RowInts(step)
	floats := wide + packedInts + (depth+3)/4
	grain := max(1, minFlops/(2*step*depth*c.m+1))
	err = x.ParallelScratch(pieces, grain, floats, func(lo, hi int, room []float32) {
		block := room[:wide]
		ints := unsafe.Slice((*int32)(unsafe.Pointer(&room[wide])), len(room)-wide)
		packed := k.matrix.Rows(ints[:packedInts], step)
		row := unsafe.Slice((*uint8)(unsafe.Pointer(&ints[packedInts])), depth)
		for i := lo; i < hi; i++ {
			r0, r1 := i*step, min(rows, (i+1)*step)
			for r := r0; r < r1; r++ {
				from := row
				if plain {
					from = src[r*depth : (r+1)*depth]
				} else {
					k.gather(row, src, c, r, uint8(zeros[0]))
				}
				packed.Pack(r-r0, from, flip, zeros[0]+int32(flip))
			}
			to, first := block, 0
			if k.to == nil {
				to, first = dst[r0*c.m:], r0
			}
			to = to[:(r1-r0)*c.m]
			if k.narrow != nil {
				sums := unsafe.Slice((*int32)(unsafe.Pointer(&to[0])), len(to))
				k.matrix.Multiply(sums, c.m, packed, 0, r1-r0, 0, k.matrix.Panels(), nil)
				k.narrow.Rows(narrow[r0*c.m:r1*c.m], sums)
				continue
			}
			k.matrix.MultiplyFloat(to, c.m, packed, 0, r1-r0, 0, k.matrix.Panels(), bytes)
			if e.Activate != nil || e.Bounds != nil || e.Residual != nil {
				part := after(e, first*c.m)
				part.Apply(to, c.m, 0, r1-r0, 0, c.m)
			}
			if k.to != nil {
				kernel.Quantize(narrow[r0*c.m:r1*c.m], to, k.to.scale, k.to.zero, k.to.flip)
			}
		}
	})
	if err != nil || added == nil {
		return err
	}
	out[0], err = binary(x, r, added, kernel.Add)
	return err
}

// gather copies what the window covers at position r to row; padding is the zero point.
func (k *byteConv) gather(row, src []uint8, c *convolution, r int, zero uint8) {
	h, w, oh, ow := c.in[0], c.in[1], c.out[2], c.out[3]
	kh, kw := c.kernel[0], c.kernel[1]
	n, y, x := r/(oh*ow), r/ow%oh*c.strides[0]-c.before[0], r%ow*c.strides[1]-c.before[1]
	x0, x1 := inside(x, c.dilations[1], kw, w)
	y0, y1 := inside(y, c.dilations[0], kh, h)
	if y1-y0 < kh || x1-x0 < kw {
		for i := range row {
			row[i] = zero
		}
	}
	count := x1 - x0 // elements that lie side by side are copied together
	if c.dilations[1] > 1 {
		count = 1
	}
	for ky := y0; ky < y1; ky++ {
		line := ((n*h+y+ky*c.dilations[0])*w + x) * c.c
		for kx := x0; kx < x1; kx += count {
			copy(row[(ky*kw+kx)*c.c:(ky*kw+kx+count)*c.c], src[line+kx*c.dilations[1]*c.c:])
		}
	}
}
