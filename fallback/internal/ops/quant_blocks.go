package ops

import (
	"unsafe"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Operators of com.microsoft whose weights are stored in blocks of a few bits a value, each block
// with a scale and a zero point (ONNX Runtime, docs/ContribOperators.md). The weights stay as the
// file has them: what a product needs is unpacked for it, a few columns at a time.

// nbits are the weights of MatMulNBits, and what the products with them may do.
type nbits struct {
	kernel.Blocks
	bytes bool // the left operand may be rounded to 8 bits
	// order is the column of the left operand that each value of a row belongs to, -1 for none; nil
	// for the columns as they are.
	order []int
	// omitted is set where the weights are empty, which stands for zeros.
	omitted bool
}

// buildMatMulNBits multiplies by weights of 2, 4 or 8 bits in blocks. Only an accuracy_level of 4
// allows to round the left operand to 8 bits, as ONNX Runtime does; it is done where the weights have
// 4 bits, in blocks of 32 or more.
func buildMatMulNBits(n *Node) Kernel {
	b := &nbits{bytes: n.int("accuracy_level", 0) == 4}
	b.N, b.K, b.Bits, b.Size = n.int("N", 0), n.int("K", 0), n.int("bits", 4), n.int("block_size", 0)
	switch {
	case b.Bits != 2 && b.Bits != 4 && b.Bits != 8:
		n.fail("attribute \"bits\" is %d, of which only 2, 4 and 8 are supported", b.Bits)
	case b.N <= 0 || b.K <= 0:
		n.fail("the weights are [%d,%d]", b.N, b.K)
	case b.Size < 16 || b.Size&(b.Size-1) != 0:
		n.fail("attribute \"block_size\" is %d, not a power of 2 from 16 on", b.Size)
	case n.int("weight_prepacked", 0) != 0:
		n.fail("attribute \"weight_prepacked\" is %d: the weights are for CUDA alone", n.int("weight_prepacked", 0))
	}
	if n.err != nil {
		return nil
	}
	b.Count = (b.K + b.Size - 1) / b.Size
	columns := b.K
	constant := n.blockConstants(b, 1, 2, 3, 4)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		w := b
		if !constant {
			w = new(nbits)
			*w = *b
			if err := w.read(input(in, 1), input(in, 2), input(in, 3), input(in, 4)); err != nil {
				return err
			}
		}
		e := &kernel.Epilogue{}
		if bias := input(in, 5); bias != nil {
			if bias.Len() != b.N || bias.DType() != tensor.Float32 {
				return graphErr("a product with %d columns adds %v", b.N, bias)
			}
			e.Bias = tensor.Data[float32](bias)
		}
		a, err := in[0], error(nil)
		if w.omitted {
			out[0], err = w.zeroProduct(x, a, e)
			return err
		}
		if w.order != nil {
			if a, err = w.ordered(x, a, columns); err != nil {
				return err
			}
		}
		out[0], err = w.product(x, a, e)
		return err
	})
}

// blockConstants reads the weights from inputs that are constants, once, and says whether it did.
// Values whose groups are not the blocks that they lie in are brought into the order of the groups.
func (n *Node) blockConstants(b *nbits, places ...int) bool {
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
	b.regroup()
	for _, place := range places {
		if !n.left(place) {
			n.drop(place)
		}
	}
	return true
}

// read takes the weights, scales, zero points and groups of values from tensors, whose memory it
// keeps.
func (b *nbits) read(data, scales, zeros, group *tensor.Tensor) error {
	if data != nil && data.DType() == tensor.Uint8 && data.Rank() == 3 && data.Len() == 0 {
		b.omitted = true
		return nil
	}
	if data == nil || data.DType() != tensor.Uint8 || data.Len() != b.N*b.Count*b.Size*b.Bits/8 {
		return graphErr("weights %v for %d rows of %d blocks of %d values of %d bits",
			data, b.N, b.Count, b.Size, b.Bits)
	}
	if scales == nil || scales.Len() != b.N*b.Count || scales.DType() != tensor.Float32 && !isNarrow(scales) {
		return graphErr("scales %v for %d rows of %d blocks", scales, b.N, b.Count)
	}
	b.Data, b.Scales = tensor.Data[uint8](data), packedFloats(scales)
	switch {
	case zeros == nil:
	case zeros.DType() == tensor.Uint8:
		if per := (b.Count*b.Bits + 7) / 8; zeros.Len() != b.N*per {
			return graphErr("zero points %v for %d rows of %d blocks", zeros, b.N, b.Count)
		}
		b.Zeros = tensor.Data[uint8](zeros)
	default:
		if zeros.Len() != b.N*b.Count || zeros.DType() != tensor.Float32 && !isNarrow(zeros) {
			return graphErr("zero points %v for %d rows of %d blocks", zeros, b.N, b.Count)
		}
		b.ZeroFloats = packedFloats(zeros)
	}
	if group == nil {
		return nil
	}
	list, err := intsOf(group)
	if err != nil || len(list) < b.K {
		return graphErr("groups %v of %d values", group, b.K)
	}
	ordered := true
	for i, g := range list[:b.K] {
		if g < 0 || g >= b.Count {
			return graphErr("a value is in group %d of %d", g, b.Count)
		}
		ordered = ordered && g == i/b.Size
	}
	if !ordered {
		b.Group = list[:b.K]
	}
	return nil
}

// zeroProduct is the product of a [...,K] with weights of 0.
func (b *nbits) zeroProduct(x *Context, a *tensor.Tensor, e *kernel.Epilogue) (*tensor.Tensor, error) {
	s, err := matmulShapes(a.Shape(), []int{b.K, b.N})
	if err != nil {
		return nil, err
	}
	t, dst, err := zeros[float32](x, s.out)
	if err == nil && len(dst) > 0 {
		e.Apply(dst, b.N, 0, len(dst)/b.N, 0, b.N)
	}
	return t, err
}

// regroup copies the weights with the values of each group in a block of its own, so that the quick
// forms can take them. It leaves them where a group has more values than a block has room.
func (b *nbits) regroup() {
	if b.Group == nil {
		return
	}
	order := make([]int, b.Count*b.Size)
	for i := range order {
		order[i] = -1
	}
	used := make([]int, b.Count)
	for i, g := range b.Group {
		if used[g] == b.Size {
			return
		}
		order[g*b.Size+used[g]] = i
		used[g]++
	}
	per, bits, mask := b.Count*b.Size*b.Bits/8, b.Bits, uint8(1<<b.Bits-1)
	data := make([]uint8, len(b.Data))
	for row := range b.N {
		from, to := b.Data[row*per:(row+1)*per], data[row*per:(row+1)*per]
		for i, at := range order {
			if at >= 0 {
				v := from[at*bits/8] >> (at * bits % 8) & mask
				to[i*bits/8] |= v << (i * bits % 8)
			}
		}
	}
	b.Data, b.Group, b.order, b.K = data, nil, order, len(order)
}

// ordered brings the columns of a [...,K] into the order of the weights.
func (b *nbits) ordered(x *Context, a *tensor.Tensor, k int) (*tensor.Tensor, error) {
	if a.DType() != tensor.Float32 || a.Rank() == 0 || a.Dim(a.Rank()-1) != k {
		return nil, graphErr("a product of %v with weights of %d columns", a, k)
	}
	shape := clone(a.Shape())
	shape[len(shape)-1] = len(b.order)
	t, dst, err := alloc[float32](x, shape)
	if err != nil {
		return nil, err
	}
	src := tensor.Data[float32](a)
	for r := 0; r*k < len(src); r++ {
		row, to := src[r*k:(r+1)*k], dst[r*len(b.order):(r+1)*len(b.order)]
		for i, at := range b.order {
			to[i] = 0
			if at >= 0 {
				to[i] = row[at]
			}
		}
	}
	return t, nil
}

// packedFloats are the numbers of a tensor of floats, in its memory unless they are bfloat16.
func packedFloats(t *tensor.Tensor) kernel.Floats {
	if t.DType() != tensor.Float16 {
		return kernel.Floats{Wide: t.Float32s()}
	}
	d := tensor.Data[tensor.Half](t)
	return kernel.Floats{Half: unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(d))), len(d))}
}

// product is that of a [...,K] with the weights.
func (b *nbits) product(x *Context, a *tensor.Tensor, e *kernel.Epilogue) (*tensor.Tensor, error) {
	if b.Quick() {
		return b.multiply(x, a, e)
	}
	return multiplyRows(x, a, b.N, b.K, b.Unpack, e)
}

// fewRows is up to how many rows of a product weights are unpacked for each anew.
const fewRows = 8

// multiply is the product of a [...,K] with the weights, in the quick forms.
func (b *nbits) multiply(x *Context, a *tensor.Tensor, e *kernel.Epilogue) (*tensor.Tensor, error) {
	if a.DType() != tensor.Float32 {
		return nil, typeErr("a product", a)
	}
	s, err := matmulShapes(a.Shape(), []int{b.K, b.N})
	if err != nil {
		return nil, err
	}
	t, dst, err := alloc[float32](x, s.out)
	if err != nil || len(dst) == 0 {
		return t, err
	}
	p := blockProduct{nbits: b, dst: dst, left: tensor.Data[float32](a), rows: len(dst) / b.N, size: b.K}
	bytes := b.bytes && b.HasBytes()
	switch {
	case p.rows <= fewRows:
		form := kernel.BlockRow
		if bytes {
			form = kernel.ByteRow
		}
		if err = p.prepare(x, form); err == nil {
			err = p.few(x, form)
		}
	case bytes:
		if err = p.prepare(x, kernel.BytePanel); err == nil {
			err = p.bytePanels(x)
		}
	default:
		err = p.floatPanels(x)
	}
	if err != nil {
		return nil, err
	}
	if e.Bias == nil {
		return t, nil
	}
	return t, x.Parallel(p.rows, max(1, minWork/b.N), func(lo, hi int) { e.Apply(dst, b.N, lo, hi, 0, b.N) })
}

// blockProduct is one product. left are rows of size floats: of the left operand, or what prepare
// made of it.
type blockProduct struct {
	*nbits
	dst, left  []float32
	rows, size int
}

// prepare brings the left operand into a form.
func (p *blockProduct) prepare(x *Context, form kernel.BlockForm) error {
	size := p.LeftFloats(form)
	_, left, err := alloc[float32](x, []int{p.rows, size})
	if err != nil {
		return err
	}
	err = x.Parallel(p.rows, max(1, minWork/p.K), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			p.Prepare(left[r*size:(r+1)*size], p.left[r*p.K:(r+1)*p.K], form)
		}
	})
	p.left, p.size = left, size
	return err
}

// each cuts the columns into parts for f, columns a part; flops are worth another core.
func (p *blockProduct) each(
	x *Context, columns, scratch, flops int, f func(c0, c1 int, scratch []float32),
) error {
	grain := max(1, flops/(2*p.rows*p.K*columns))
	return x.ParallelScratch((p.N+columns-1)/columns, grain, scratch, func(lo, hi int, scratch []float32) {
		for part := lo; part < hi; part++ {
			f(part*columns, min((part+1)*columns, p.N), scratch)
		}
	})
}

// few multiplies few rows.
func (p *blockProduct) few(x *Context, form kernel.BlockForm) error {
	// Weights that meet one row take a few times as long as the same operations of a float product.
	return p.each(x, 64, p.RowScratch(), minFlops/4, func(c0, c1 int, scratch []float32) {
		for r := range p.rows {
			p.Row(p.dst[r*p.N+c0:r*p.N+c1], p.left[r*p.size:(r+1)*p.size], form, c0, c1, scratch)
		}
	})
}

// floatPanels unpacks a few columns at a time to panels of floats.
func (p *blockProduct) floatPanels(x *Context) error {
	columns := 64
	if x.Threads() > 1 && p.N < 8*columns*x.Threads() {
		columns = 32 // so that cores that share few end together
	}
	room := kernel.PanelFloats(p.K, columns)
	return p.each(x, columns, room+p.FillScratch(), minFlops, func(c0, c1 int, scratch []float32) {
		m := kernel.NewMatrix(scratch[:room], p.K, c1-c0)
		m.FillBlocks(&p.Blocks, c0, 0, m.Panels(), scratch[room:])
		m.Multiply(p.dst[c0:], p.N, p.left, p.K, p.rows, 0, m.Panels(), false, nil)
	})
}

// bytePanels does so to panels of bytes.
func (p *blockProduct) bytePanels(x *Context) error {
	const columns = 2 * kernel.PanelWidth
	room := p.BlockPanelFloats(2)
	return p.each(x, columns, room+p.rows*columns, minFlops, func(c0, c1 int, scratch []float32) {
		m := p.NewBlockPanels(scratch[:room], c0, 2)
		if c1-c0 == columns {
			m.Multiply(p.dst[c0:], p.N, p.left, p.size, p.rows)
			return
		}
		result := scratch[room:]
		m.Multiply(result, columns, p.left, p.size, p.rows)
		for r := range p.rows {
			copy(p.dst[r*p.N+c0:r*p.N+c1], result[r*columns:])
		}
	})
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
	keep := n.keep(1, 2)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		in = keep(in)
		data, largest := in[1], in[2]
		if data.DType() != tensor.Uint8 || data.Len() != (rows*k+1)/2 {
			return graphErr("weights %v for [%d,%d]", data, rows, k)
		}
		if largest.DType() != tensor.Float32 && !isNarrow(largest) || largest.Len() != (rows*k+size-1)/size {
			return graphErr("scales %v for [%d,%d] in blocks of %d", largest, rows, k, size)
		}
		var err error
		if k%size == 0 { // each row has blocks of its own
			b := &nbits{Blocks: kernel.Blocks{N: rows, K: k, Bits: 4, Size: size, Count: k / size, Table: &values,
				Data: tensor.Data[uint8](data), Scales: packedFloats(largest)}}
			out[0], err = b.product(x, in[0], &kernel.Epilogue{})
			return err
		}
		packed, scale := tensor.Data[uint8](data), floatAt(largest)
		unpack := func(dst []float32, row int) {
			for i := range dst {
				at := row*k + i
				dst[i] = values[packed[at/2]>>(4-at%2*4)&15] * scale(at/size)
			}
		}
		out[0], err = multiplyRows(x, in[0], rows, k, unpack, &kernel.Epilogue{})
		return err
	})
}
