package ops

import (
	"math"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Operators of com.microsoft whose weights are stored in blocks of a few bits a value, each block
// with a scale and a zero point (ONNX Runtime, docs/ContribOperators.md). The weights stay as the
// file has them: what a product needs is unpacked for it, a few columns at a time.

// blocks are the weights [N,K] of MatMulNBits: the K values of a row lie in blocks of size values,
// packed from the lowest bits of a byte on.
type blocks struct {
	n, k  int
	bits  int
	size  int // values in a block
	count int // blocks in a row

	data   []uint8   // [N,count,size*bits/8]
	scales []float32 // [N,count]
	zeros  []float32 // [N,count]; nil where all are middle
	middle float32   // the zero point where there are none: half of the range
	group  []int     // the block whose scale a value has, for each of K; nil: the one it lies in
}

// unpack sets dst [K] to a row of the weights.
func (b *blocks) unpack(dst []float32, row int) {
	per := b.size * b.bits / 8
	data := b.data[row*b.count*per : (row+1)*b.count*per]
	scales := b.scales[row*b.count : (row+1)*b.count]
	if b.group != nil {
		for i := range dst {
			g := b.group[i]
			dst[i] = (b.value(data, i) - b.zero(row, g)) * scales[g]
		}
		return
	}
	for i, scale := range scales {
		zero := b.zero(row, i)
		to := dst[i*b.size : min(len(dst), (i+1)*b.size)]
		from := data[i*per : (i+1)*per]
		switch b.bits {
		case 8:
			for j := range to {
				to[j] = (float32(from[j]) - zero) * scale
			}
		case 4:
			for j := range to {
				to[j] = (float32(from[j/2]>>(j%2*4)&15) - zero) * scale
			}
		default:
			for j := range to {
				to[j] = (float32(from[j/4]>>(j%4*2)&3) - zero) * scale
			}
		}
	}
}

// value returns the packed value at a place of a row.
func (b *blocks) value(data []uint8, i int) float32 {
	at := i * b.bits
	return float32(data[at/8] >> (at % 8) & (1<<b.bits - 1))
}

func (b *blocks) zero(row, block int) float32 {
	if b.zeros == nil {
		return b.middle
	}
	return b.zeros[row*b.count+block]
}

// buildMatMulNBits multiplies by weights of 2, 4 or 8 bits in blocks. accuracy_level allows to
// compute in less than float32, which this does not do.
func buildMatMulNBits(n *Node) Kernel {
	b := &blocks{n: n.int("N", 0), k: n.int("K", 0), bits: n.int("bits", 4), size: n.int("block_size", 0)}
	switch {
	case b.bits != 2 && b.bits != 4 && b.bits != 8:
		n.fail("attribute \"bits\" is %d, of which only 2, 4 and 8 are supported", b.bits)
	case b.n <= 0 || b.k <= 0:
		n.fail("the weights are [%d,%d]", b.n, b.k)
	case b.size < 16 || b.size&(b.size-1) != 0:
		n.fail("attribute \"block_size\" is %d, not a power of 2 from 16 on", b.size)
	}
	if n.err != nil {
		return nil
	}
	b.count = (b.k + b.size - 1) / b.size
	b.middle = float32(int(1) << (b.bits - 1))
	constant := n.blockConstants(b, 1, 2, 3, 4)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		w := b
		if !constant {
			w = new(blocks)
			*w = *b
			if err := w.read(input(in, 1), input(in, 2), input(in, 3), input(in, 4)); err != nil {
				return err
			}
		}
		e := &kernel.Epilogue{}
		if bias := input(in, 5); bias != nil {
			if bias.Len() != b.n || bias.DType() != tensor.Float32 {
				return graphErr("a product with %d columns adds %v", b.n, bias)
			}
			e.Bias = tensor.Data[float32](bias)
		}
		var err error
		out[0], err = multiplyRows(x, in[0], w.n, w.k, w.unpack, e)
		return err
	})
}

// blockConstants reads the weights from inputs that are constants, once, and says whether it did.
func (n *Node) blockConstants(b *blocks, places ...int) bool {
	var t [4]*tensor.Tensor
	for i, place := range places {
		if n.left(place) {
			continue
		}
		if t[i] = n.Const[place]; t[i] == nil {
			return false
		}
	}
	if err := b.read(t[0], t[1], t[2], t[3]); err != nil {
		n.err = err
		return false
	}
	for _, place := range places {
		if !n.left(place) {
			n.drop(place)
		}
	}
	return true
}

// read takes the weights, scales, zero points and groups of values from tensors.
func (b *blocks) read(data, scales, zeros, group *tensor.Tensor) error {
	if data == nil || data.DType() != tensor.Uint8 || data.Len() != b.n*b.count*b.size*b.bits/8 {
		return graphErr("weights %v for %d rows of %d blocks of %d values of %d bits",
			data, b.n, b.count, b.size, b.bits)
	}
	if scales == nil || scales.Len() != b.n*b.count || scales.DType() != tensor.Float32 && !isNarrow(scales) {
		return graphErr("scales %v for %d rows of %d blocks", scales, b.n, b.count)
	}
	b.data, b.scales = tensor.Data[uint8](data), scales.Float32s()
	switch {
	case zeros == nil:
	case zeros.DType() == tensor.Uint8:
		per := (b.count*b.bits + 7) / 8
		if zeros.Len() != b.n*per {
			return graphErr("zero points %v for %d rows of %d blocks", zeros, b.n, b.count)
		}
		b.zeros = make([]float32, b.n*b.count)
		packed := tensor.Data[uint8](zeros)
		for i := range b.zeros {
			b.zeros[i] = b.value(packed[i/b.count*per:], i%b.count)
		}
	default:
		if zeros.Len() != b.n*b.count || zeros.DType() != tensor.Float32 && !isNarrow(zeros) {
			return graphErr("zero points %v for %d rows of %d blocks", zeros, b.n, b.count)
		}
		b.zeros = zeros.Float32s()
	}
	if group == nil {
		return nil
	}
	list, err := intsOf(group)
	if err != nil || len(list) < b.k {
		return graphErr("groups %v of %d values", group, b.k)
	}
	ordered := true
	for i, g := range list[:b.k] {
		if g < 0 || g >= b.count {
			return graphErr("a value is in group %d of %d", g, b.count)
		}
		ordered = ordered && g == i/b.size
	}
	if !ordered {
		b.group = list[:b.k]
	}
	return nil
}

// multiplyRows is a product of a [...,K] with weights [N,K] whose rows unpack gives. A few rows of
// weights are unpacked at a time: for few rows of a each is used where it is, else they become
// panels.
func multiplyRows(x *Context, a *tensor.Tensor, n, k int, unpack func(dst []float32, row int),
	e *kernel.Epilogue) (*tensor.Tensor, error) {
	if a.DType() != tensor.Float32 {
		return nil, typeErr("a product", a)
	}
	s, err := matmulShapes(a.Shape(), []int{k, n})
	if err != nil {
		return nil, err
	}
	t, dst, err := alloc[float32](x, s.out)
	if err != nil || len(dst) == 0 {
		return t, err
	}
	rows, av := len(dst)/n, tensor.Data[float32](a)
	const together = 64 // columns
	parts := (n + together - 1) / together
	floats := (together+1)*k + kernel.PanelFloats(k, together)
	err = x.ParallelScratch(parts, max(1, minFlops/(2*rows*k*together)), floats,
		func(lo, hi int, scratch []float32) {
			for part := lo; part < hi; part++ {
				c0, c1 := part*together, min((part+1)*together, n)
				w := scratch[:(c1-c0)*k]
				for c := c0; c < c1; c++ {
					unpack(w[(c-c0)*k:(c-c0+1)*k], c)
				}
				if rows < 4 {
					for r := range rows {
						kernel.Dots(dst[r*n+c0:r*n+c1], av[r*k:(r+1)*k], w, k)
					}
					continue
				}
				m := kernel.NewMatrix(scratch[(together+1)*k:], k, c1-c0)
				m.FillTransposed(w, k, 0, m.Panels())
				m.Multiply(dst[c0:], n, av, k, rows, 0, m.Panels(), false, nil)
			}
		})
	if err != nil {
		return nil, err
	}
	return t, x.Parallel(rows, max(1, minWork/n), func(lo, hi int) { e.Apply(dst, n, lo, hi, 0, n) })
}

// The values that 4 bits stand for in MatMulBnb4: FP4 and NF4 of bitsandbytes (Dettmers and others,
// 2305.14314), as ONNX Runtime's blockwise_quant_block_bnb4.h has them.
var (
	fp4 = [16]float32{
		0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25,
		-0, -5.208333333e-03, -0.66666667, -1, -0.33333333, -0.5, -0.16666667, -0.25,
	}
	nf4 = [16]float32{
		-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
		-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
		0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
		0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
	}
)

// buildMatMulBnb4 multiplies by weights [N,K] of 4 bits, flattened and cut into blocks that each
// have a largest absolute value. Of two values in a byte the first is the upper.
func buildMatMulBnb4(n *Node) Kernel {
	rows, k, size := n.int("N", 0), n.int("K", 0), n.int("block_size", 0)
	values := fp4
	switch kind := n.int("quant_type", -1); kind {
	case 0:
	case 1:
		values = nf4
	default:
		n.fail("attribute \"quant_type\" is %d, neither 0 nor 1", kind)
	}
	if rows <= 0 || k <= 0 || size < 16 || size&(size-1) != 0 {
		n.fail("weights [%d,%d] in blocks of %d", rows, k, size)
	}
	if n.int("transB", 1) == 0 {
		n.fail("attribute \"transB\" is 0, which only training uses")
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		data, largest := in[1], in[2]
		if data.DType() != tensor.Uint8 || data.Len() != (rows*k+1)/2 {
			return graphErr("weights %v for [%d,%d]", data, rows, k)
		}
		if largest.DType() != tensor.Float32 || largest.Len() != (rows*k+size-1)/size {
			return graphErr("scales %v for [%d,%d] in blocks of %d", largest, rows, k, size)
		}
		packed, scales := tensor.Data[uint8](data), tensor.Data[float32](largest)
		unpack := func(dst []float32, row int) {
			for i := range dst {
				at := row*k + i
				dst[i] = values[packed[at/2]>>(4-at%2*4)&15] * scales[at/size]
			}
		}
		var err error
		out[0], err = multiplyRows(x, in[0], rows, k, unpack, &kernel.Epilogue{})
		return err
	})
}

// buildGatherBlockQuantized gathers slices of a quantised tensor and unpacks those alone. The
// blocks lie along quantize_axis; in bytes of 4 bits two values of the last axis lie together, the
// first in the lower half.
func buildGatherBlockQuantized(n *Node) Kernel {
	gatherAxis, quantAxis := n.int("gather_axis", 0), n.int("quantize_axis", 1)
	bits, size := n.int("bits", 4), n.int("block_size", 128)
	if bits != 4 && bits != 8 && bits != 2 {
		n.fail("attribute \"bits\" is %d, of which only 2, 4 and 8 are supported", bits)
	}
	if size < 16 || size&(size-1) != 0 {
		n.fail("attribute \"block_size\" is %d, not a power of 2 from 16 on", size)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		data, scales, zeros := in[0], in[2], input(in, 3)
		if data.DType() != tensor.Uint8 {
			return typeErr("GatherBlockQuantized", data)
		}
		if data.Rank() == 0 || scales.Rank() != data.Rank() || scales.DType() != tensor.Float32 && !isNarrow(scales) {
			return graphErr("GatherBlockQuantized of %v with scales %v", data, scales)
		}
		per := 8 / bits
		shape := clone(data.Shape())
		last := len(shape) - 1
		shape[last] *= per
		g, err := axis(gatherAxis, len(shape))
		if err != nil {
			return err
		}
		q, err := axis(quantAxis, len(shape))
		if err != nil {
			return err
		}
		if g == last && per > 1 {
			return graphErr("GatherBlockQuantized gathers along the axis whose values share bytes")
		}
		blocksAlong := (shape[q] + size - 1) / size
		for i, d := range scales.Shape() {
			if want := shape[i]; i == q && d != blocksAlong || i != q && d != want {
				return graphErr("GatherBlockQuantized of %v with scales %v", shape, scales)
			}
		}
		index, err := indices(in[1], shape[g])
		if err != nil {
			return err
		}
		zero := func(int) float32 { return float32(int(1) << (bits - 1)) }
		if zeros != nil {
			// Packed along the last axis as the data are, each row from a byte of its own on; or where
			// there are as few bytes, without a gap between rows, as ONNX Runtime 1.24 reads them.
			columns := scales.Dim(last)
			row := (columns + per - 1) / per * per
			switch {
			case zeros.DType() == tensor.Uint8 && zeros.Len() == scales.Len()/max(columns, 1)*row/per:
			case zeros.DType() == tensor.Uint8 && zeros.Len() == (scales.Len()+per-1)/per:
				row = columns
			default:
				return graphErr("GatherBlockQuantized with scales %v and zero points %v", scales, zeros)
			}
			z := tensor.Data[uint8](zeros)
			zero = func(at int) float32 {
				at = at/columns*row + at%columns
				return float32(z[at/per] >> (at % per * bits) & uint8(1<<bits-1))
			}
		}
		result := append(append(clone(shape[:g]), in[1].Shape()...), shape[g+1:]...)
		r, dst, err := alloc[float32](x, result)
		if err != nil {
			return err
		}
		if len(dst) > 0 {
			packed, factor := tensor.Data[uint8](data), floatAt(scales)
			inner := prod(shape[g+1:])
			scaleSteps := stridesOf(scales.Shape())
			steps := stridesOf(shape)
			err = x.Parallel(len(dst)/inner, max(1, minWork/(8*inner)), func(lo, hi int) {
				for i := lo; i < hi; i++ {
					from := (i/len(index)*shape[g] + index[i%len(index)]) * inner
					for j := range inner {
						at := from + j
						s := 0
						for a, step := range steps {
							p := at / step % shape[a]
							if a == q {
								p /= size
							}
							s += p * scaleSteps[a]
						}
						v := packed[at/per] >> (at % per * bits) & uint8(math.MaxUint8>>(8-bits))
						dst[i*inner+j] = (float32(v) - zero(s)) * factor(s)
					}
				}
			})
			if err != nil {
				return err
			}
		}
		out[0] = r
		if isNarrow(scales) {
			out[0], err = narrow(x, r, scales.DType())
		}
		return err
	}
}

// floatAt reads single elements of a tensor of floats, of which a gather needs few.
func floatAt(t *tensor.Tensor) func(i int) float32 {
	switch t.DType() {
	case tensor.Float16:
		d := tensor.Data[tensor.Half](t)
		return func(i int) float32 { return d[i].Float32() }
	case tensor.BFloat16:
		d := tensor.Data[tensor.BF16](t)
		return func(i int) float32 { return d[i].Float32() }
	}
	d := tensor.Data[float32](t)
	return func(i int) float32 { return d[i] }
}
