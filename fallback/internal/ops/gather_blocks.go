package ops

import (
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

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
		index, err := intsOf(in[1])
		if err != nil {
			return err
		}
		for i, p := range index { // one that is out of range gives zeros, unlike Gather's
			if p < 0 {
				index[i] = p + shape[g]
			}
			if index[i] < 0 || index[i] >= shape[g] {
				index[i] = -1
			}
		}
		zero := func(int) float32 { return float32(int(1) << (bits - 1)) }
		gapless := false
		if zeros != nil {
			// Packed along the last axis as the data are, each row from a byte of its own on; or where
			// there are as few bytes, without a gap between rows, as ONNX Runtime 1.24 reads them.
			columns := scales.Dim(last)
			row := (columns + per - 1) / per * per
			switch {
			case zeros.DType() == tensor.Uint8 && zeros.Len() == scales.Len()/max(columns, 1)*row/per:
			case zeros.DType() == tensor.Uint8 && zeros.Len() == (scales.Len()+per-1)/per:
				row, gapless = columns, true
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
		// Rows of whole blocks are unpacked as those of MatMulNBits.
		rows := &kernel.Blocks{K: shape[last], Bits: bits, Size: size, Count: blocksAlong,
			Data: tensor.Data[uint8](data), Scales: packedFloats(scales)}
		if zeros != nil {
			rows.Zeros = tensor.Data[uint8](zeros)
		}
		wholeRows := q == last && g < last && shape[last]%size == 0 && !gapless
		if len(dst) > 0 && wholeRows {
			inner := prod(shape[g+1 : last])
			err = x.Parallel(len(dst)/shape[last], max(1, minWork/shape[last]), func(lo, hi int) {
				for i := lo; i < hi; i++ {
					slice := i / inner
					if index[slice%len(index)] < 0 {
						clear(dst[i*shape[last] : (i+1)*shape[last]])
						continue
					}
					from := (slice/len(index)*shape[g]+index[slice%len(index)])*inner + i%inner
					rows.Unpack(dst[i*shape[last]:(i+1)*shape[last]], from)
				}
			})
			if err != nil {
				return err
			}
		} else if len(dst) > 0 {
			packed, factor := tensor.Data[uint8](data), floatAt(scales)
			inner := prod(shape[g+1:])
			scaleSteps := stridesOf(scales.Shape())
			steps := stridesOf(shape)
			err = x.Parallel(len(dst)/inner, max(1, minWork/(8*inner)), func(lo, hi int) {
				for i := lo; i < hi; i++ {
					if index[i%len(index)] < 0 {
						clear(dst[i*inner : (i+1)*inner])
						continue
					}
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
