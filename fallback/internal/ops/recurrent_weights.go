package ops

import (
	"context"
	"runtime"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// cellWeights are the packed weights of a direction.
type cellWeights struct {
	input, hidden weightMatrix // hidden is that of the gates z and r in GRU
	candidate     weightMatrix // the rest of it
}

// weightMatrix is a packed matrix of floats, or of bytes with a scale for each column.
type weightMatrix struct {
	floats *kernel.Matrix
	bytes  *kernel.ByteMatrix
	scale  []float32
}

// pack packs constant weights when the graph is opened.
func (r *recurrent) pack(n *Node) {
	needed := []int{inputW, inputR}
	if r.quantised {
		needed = append(needed, inputScaleW, inputScaleR)
		for _, i := range []int{inputZeroW, inputZeroR} {
			if !n.left(i) {
				needed = append(needed, i)
			}
		}
	}
	for _, i := range needed {
		if n.err != nil || i >= n.Inputs || n.Const[i] == nil ||
			n.Const[i].DType() == tensor.Float64 {
			return
		}
	}
	x := NewContext(context.Background(), runtime.GOMAXPROCS(0), heap{})
	w, err := r.packed(x, n.Const, true)
	if err != nil {
		n.fail("%v", err)
		return
	}
	r.weights = w
	n.drop(inputW)
	n.drop(inputR)
}

// packed packs the weights. Those of constants take half the memory where float16 holds them.
func (r *recurrent) packed(x *Context, in []*tensor.Tensor, constant bool) ([]*cellWeights, error) {
	w, rec := in[inputW], in[inputR]
	count := len(r.reverse)
	wrong := graphErr("%s in %d directions with weights %v and %v", r.op, count, w, rec)
	if w == nil || rec == nil || w.Rank() != 3 || rec.Rank() != 3 ||
		w.Dim(0) != count || rec.Dim(0) != count {
		return nil, wrong
	}
	k, hidden, columns, same := w.Dim(2), rec.Dim(2), rec.Dim(1), w.Dim(1)
	if r.quantised {
		k, hidden, columns, same = w.Dim(1), rec.Dim(1), rec.Dim(2), w.Dim(2)
	}
	if columns != r.gates*hidden || same != columns || r.hidden != 0 && r.hidden != hidden {
		return nil, wrong
	}
	list := make([]*cellWeights, count)
	if r.quantised {
		inputs, err := packedSlices(w, input(in, inputScaleW), input(in, inputZeroW))
		if err != nil {
			return nil, err
		}
		recurrence, err := packedSlices(rec, input(in, inputScaleR), input(in, inputZeroR))
		if err != nil {
			return nil, err
		}
		for d := range list {
			list[d] = &cellWeights{input: inputs[d], hidden: recurrence[d]}
		}
		return list, nil
	}
	for _, t := range []*tensor.Tensor{w, rec} {
		if t.DType() != tensor.Float32 && t.DType() != tensor.Float16 {
			return nil, typeErr(r.op+" with weights", t)
		}
	}
	inputs, recurrence := w.Float32s(), rec.Float32s()
	direct := hidden * columns // the columns that meet the hidden state as it is
	if r.gates == gruGates {
		direct = 2 * hidden * hidden
	}
	for d := range list {
		c := &cellWeights{}
		list[d] = c
		rows := recurrence[d*columns*hidden : (d+1)*columns*hidden]
		for _, m := range []struct {
			to     *weightMatrix
			values []float32
			k      int
		}{
			{&c.input, inputs[d*columns*k : (d+1)*columns*k], k},
			{&c.hidden, rows[:direct], hidden},
			{&c.candidate, rows[direct:], hidden},
		} {
			var err error
			if m.to.floats, err = packedColumns(x, m.values, m.k, constant); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// packedColumns packs columns of k values each, one after the other.
func packedColumns(x *Context, columns []float32, k int, constant bool) (*kernel.Matrix, error) {
	n := 0
	if k > 0 {
		n = len(columns) / k
	}
	var m *kernel.Matrix
	if constant && kernel.HasHalf() && kernel.Exact(columns) {
		m = kernel.NewHalfMatrix(k, n)
	} else {
		_, buf, err := alloc[float32](x, []int{kernel.PanelFloats(k, n)})
		if err != nil {
			return nil, err
		}
		m = kernel.NewMatrix(buf, k, n)
	}
	return m, fillMatrix(x, m, columns, true)
}

// large says whether the weights that each step reads are more than a core keeps near: then cores
// that share their columns, each its own again and again, are quicker than a core for each
// direction.
func (w *cellWeights) large() bool {
	bytes := 0
	for _, m := range []*kernel.Matrix{w.hidden.floats, w.candidate.floats} {
		if m != nil {
			bytes += m.Bytes()
		}
	}
	return bytes > nearBytes
}

// nearBytes is the size of weights that the second-level cache of a core has room for.
const nearBytes = 3 << 19

// packedSlices packs the matrices of 8-bit integers [D,K,N]. Each has one scale and zero point, or
// one for each column.
func packedSlices(t, scale, zero *tensor.Tensor) ([]weightMatrix, error) {
	data, flip, err := bytesOf(t)
	if err != nil {
		return nil, err
	}
	count, k, n := t.Dim(0), t.Dim(1), t.Dim(2)
	if scale == nil || scale.DType() != tensor.Float32 ||
		scale.Len() != count && scale.Len() != count*n || k == 0 || n == 0 {
		return nil, graphErr("weights %v with scales %v", t, scale)
	}
	zeros, err := byteZeros(zero)
	if err != nil {
		return nil, err
	}
	if len(zeros) != 1 && len(zeros) != count && len(zeros) != count*n {
		return nil, graphErr("weights %v with zero points %v", t, zero)
	}
	list := make([]weightMatrix, count)
	scales := tensor.Data[float32](scale)
	for d := range list {
		m := kernel.NewByteMatrix(k, n)
		own := zeros
		if len(zeros) > 1 {
			own = zeros[d*len(zeros)/count : (d+1)*len(zeros)/count]
		}
		m.SetZeros(own, flip)
		m.Fill(data[d*k*n:(d+1)*k*n], n, flip, 0, m.Panels())
		list[d].bytes = m
		own32 := scales[d*len(scales)/count : (d+1)*len(scales)/count]
		for j := range n {
			list[d].scale = append(list[d].scale, own32[j%len(own32)])
		}
	}
	return list, nil
}

func (w *cellWeights) width() int {
	if w.input.bytes != nil {
		return w.input.bytes.N
	}
	return w.input.floats.N
}

func (w *cellWeights) depth() int {
	if w.input.bytes != nil {
		return w.input.bytes.K
	}
	return w.input.floats.K
}

// product returns the rows of the inputs times m, + bias. The inputs are a tensor of floats or, for
// bytes, what DynamicQuantizeLinear makes of one.
func (m *weightMatrix) product(x *Context, in []*tensor.Tensor, bias []float32) ([]float32, error) {
	if m.floats != nil {
		rows := in[0].Dim(0) * in[0].Dim(1)
		_, dst, err := alloc[float32](x, []int{rows, m.floats.N})
		if err != nil || len(dst) == 0 {
			return dst, err
		}
		return dst, mulPacked(x, m.floats, dst, tensor.Data[float32](in[0]), rows,
			&kernel.Epilogue{Bias: bias})
	}
	scale := slices.Clone(m.scale)
	kernel.Scale(scale, scale, tensor.Data[float32](in[1])[0])
	p := &byteProduct{a: in[0], zero: in[2], w: m.bytes, scale: scale, bias: bias}
	r, err := p.run(x)
	if err != nil {
		return nil, err
	}
	return tensor.Data[float32](r), nil
}

// multiplier returns a function that adds rows of a, one after the other, times m to rows of c.
func (m *weightMatrix) multiplier(
	x *Context, rows, threads int,
) func(c []float32, ldc int, a []float32) {
	if w := m.floats; w != nil {
		pieces := w.Pieces(rows, threads)
		if pieces.Cores == 1 {
			return func(c []float32, ldc int, a []float32) {
				w.Multiply(c, ldc, a, w.K, rows, 0, w.Panels(), true, nil)
			}
		}
		return func(c []float32, ldc int, a []float32) {
			x.Parallel(pieces.Count, 1, func(lo, hi int) {
				for i := lo; i < hi; i++ {
					r0, r1, p0, p1 := pieces.At(i)
					w.Multiply(c[r0*ldc:], ldc, a[r0*w.K:], w.K, r1-r0, p0, p1, true, nil)
				}
			})
		}
	}
	w := m.bytes
	small, packed := make([]uint8, rows*w.K), w.Rows(make([]int32, w.RowInts(rows)), rows)
	scale := make([]float32, w.N)
	var result []float32
	if rows > 1 {
		result = make([]float32, rows*w.N)
	}
	return func(c []float32, ldc int, a []float32) {
		step, zero := byteRange(kernel.MinMax(a))
		kernel.Quantize(small, a, step, zero, 0)
		for r := range rows {
			packed.Pack(r, small[r*w.K:(r+1)*w.K], 0, zero)
		}
		kernel.Scale(scale, m.scale, step)
		if rows == 1 { // c goes in as the bias
			w.MultiplyFloat(c, ldc, packed, 0, 1, 0, w.Panels(),
				&kernel.ByteEpilogue{Scale: scale, Bias: c[:w.N]})
			return
		}
		w.MultiplyFloat(result, w.N, packed, 0, rows, 0, w.Panels(),
			&kernel.ByteEpilogue{Scale: scale})
		for r := range rows {
			row := c[r*ldc : r*ldc+w.N]
			kernel.Add(row, row, result[r*w.N:(r+1)*w.N])
		}
	}
}

// byteRange picks scale and zero point as DynamicQuantizeLinear does.
func byteRange(low, high float32) (scale float32, zero int32) {
	low, high = min(low, 0), max(high, 0)
	scale = (high - low) / 255
	if !(scale > 0) {
		return 1, 0
	}
	z := min(max(roundEven(float64(-low/scale)), 0), 255)
	if z != z { // a range without end
		z = 0
	}
	return scale, int32(z)
}
