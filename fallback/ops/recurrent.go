package ops

import (
	"context"
	"runtime"
	"slices"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// recurrent is LSTM, GRU or RNN. All inputs are multiplied with their weights in one product before
// the first step. A step then multiplies the hidden state with the weights of the recurrence, adds
// that to its rows, and makes the next state of them. The directions of a layer and the sequences of
// a batch do not depend on each other: cores share them.
type recurrent struct {
	op         string
	cell       func(s *sequences, b int, gates []float32)
	gates      int
	hidden     int    // as the attribute says; 0 where it is not given
	reverse    []bool // for each direction
	batchFirst bool
	bound      float32 // of what goes into activations; 0 for none
	act        [][]func(dst, src []float32)
	coupled    bool           // LSTM: forget what the input gate does not let in
	linear     bool           // GRU: multiply before the reset
	quantised  bool           // weights are 8-bit integers
	weights    []*cellWeights // for each direction; nil until a run if they are no constants
}

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

// The inputs of all recurrent operators; the last two are LSTM's, and the scales and zero points of
// DynamicQuantizeLSTM come behind.
const (
	inputX = iota
	inputW
	inputR
	inputB
	inputLengths
	inputH
	inputC
	inputP
	inputScaleW
	inputZeroW
	inputScaleR
	inputZeroR
)

// recurrentOp makes the builder of a recurrent operator of so many gates, from its default
// activations.
func recurrentOp(gates int, cell func(s *sequences, b int, gates []float32),
	activations ...string) func(n *Node) Kernel {
	return func(n *Node) Kernel {
		r := &recurrent{op: n.Op, cell: cell, gates: gates}
		r.hidden = n.int("hidden_size", 0)
		r.batchFirst = n.int("layout", 0) != 0
		r.bound = n.float("clip", 0)
		r.coupled = n.int("input_forget", 0) != 0
		r.linear = n.int("linear_before_reset", 0) != 0
		r.quantised = n.Op == "DynamicQuantizeLSTM"
		if r.bound < 0 || r.hidden < 0 {
			n.fail("attribute \"clip\" is %v, \"hidden_size\" %d", r.bound, r.hidden)
		}
		switch d := n.str("direction", "forward"); d {
		case "forward":
			r.reverse = []bool{false}
		case "reverse":
			r.reverse = []bool{true}
		case "bidirectional":
			r.reverse = []bool{false, true}
		default:
			n.fail("attribute \"direction\" is %q", d)
		}
		r.act = n.activations(len(r.reverse), activations)
		r.pack(n)
		return viaFloat(r.run)
	}
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
		if n.err != nil || i >= n.Inputs || n.Const[i] == nil {
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
		m := kernel.NewByteMatrix(nil, k, n)
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

// sequences is one direction of a run.
type sequences struct {
	*recurrent
	*cellWeights
	reverse              bool
	act                  []func(dst, src []float32)
	steps, batch, hidden int
	lengths              []int
	pre                  []float32 // [T,B,gates*H]: the inputs times their weights, + biases
	work                 []float32 // [B,gates*H]: of the step
	h, c, scratch        []float32 // [B,H] each; c is LSTM's
	peephole             []float32 // [3*H], or nil
	resetBias            []float32 // [H]: GRU's, of the linear form
	y                    []float32 // [T,D,B,H] from this direction on
	pitch                int       // between steps of y
}

func (r *recurrent) run(x *Context, in, out []*tensor.Tensor) error {
	t := in[inputX]
	if t.DType() != tensor.Float32 || t.Rank() != 3 {
		return graphErr("%s of %v", r.op, t)
	}
	weights := r.weights
	var err error
	if weights == nil {
		if weights, err = r.packed(x, in, false); err != nil {
			return err
		}
	}
	initial := []*tensor.Tensor{input(in, inputH), input(in, inputC)}
	if r.batchFirst {
		if t, err = transpose(x, t, []int{1, 0, 2}); err != nil {
			return err
		}
		for i, s := range initial {
			if s == nil {
				continue
			}
			if s.Rank() != 3 {
				return graphErr("%s from the state %v", r.op, s)
			}
			if initial[i], err = transpose(x, s, []int{1, 0, 2}); err != nil {
				return err
			}
		}
	}
	steps, batch, dirs := t.Dim(0), t.Dim(1), len(r.reverse)
	hidden := weights[0].width() / r.gates
	if weights[0].depth() != t.Dim(2) {
		return graphErr("%s of %v with weights for %d", r.op, t, weights[0].depth())
	}
	lengths, err := r.lengths(input(in, inputLengths), steps, batch)
	if err != nil {
		return err
	}
	state := []int{dirs, batch, hidden}
	var states [2]*tensor.Tensor
	for i := range states {
		if states[i], err = r.state(x, initial[i], state); err != nil {
			return err
		}
	}
	y, values, err := zeros[float32](x, []int{steps, dirs, batch, hidden})
	if err != nil {
		return err
	}
	list := make([]*sequences, dirs)
	width := r.gates * hidden
	for d := range list {
		s := &sequences{
			recurrent: r, cellWeights: weights[d], reverse: r.reverse[d], act: r.act[d],
			steps: steps, batch: batch, hidden: hidden, lengths: lengths,
			pitch: dirs * batch * hidden,
		}
		list[d] = s
		own := func(t *tensor.Tensor) []float32 {
			return tensor.Data[float32](t)[d*batch*hidden : (d+1)*batch*hidden]
		}
		s.h, s.c = own(states[0]), own(states[1])
		s.y = values[min(d*batch*hidden, len(values)):]
		if _, s.work, err = alloc[float32](x, []int{batch, width}); err != nil {
			return err
		}
		if _, s.scratch, err = alloc[float32](x, []int{batch, hidden}); err != nil {
			return err
		}
		bias, err := s.parameters(in, d)
		if err != nil {
			return err
		}
		if _, s.pre, err = alloc[float32](x, []int{steps * batch, width}); err != nil {
			return err
		}
		if err := s.input.product(x, s.pre, t, bias); err != nil {
			return err
		}
	}
	// Bytes are quantised by the range of a whole batch.
	parts := 1
	if !r.quantised {
		parts = min(max(x.Threads()/dirs, 1), batch)
	}
	if dirs*parts == 1 {
		list[0].run(x, x.Threads(), 0, batch)
	}
	if err := x.Parallel(dirs*parts, 1, func(lo, hi int) {
		for i := lo; i < hi && dirs*parts > 1; i++ {
			p := i % parts
			list[i/parts].run(x, 1, p*batch/parts, (p+1)*batch/parts)
		}
	}); err != nil {
		return err
	}
	results := []*tensor.Tensor{y, states[0], states[1]}
	if r.batchFirst {
		for i, perm := range [][]int{{2, 0, 1, 3}, {1, 0, 2}, {1, 0, 2}} {
			if results[i], err = transpose(x, results[i], perm); err != nil {
				return err
			}
		}
	}
	copy(out, results)
	return nil
}

// lengths reads how many steps each sequence has.
func (r *recurrent) lengths(t *tensor.Tensor, steps, batch int) ([]int, error) {
	if t == nil {
		return slices.Repeat([]int{steps}, batch), nil
	}
	lengths, err := intsOf(t)
	if err != nil {
		return nil, err
	}
	for _, n := range lengths {
		if n < 0 || n > steps || len(lengths) != batch {
			return nil, graphErr("%s with lengths %v in %d sequences of %d steps",
				r.op, lengths, batch, steps)
		}
	}
	if len(lengths) != batch {
		return nil, graphErr("%s with %d lengths for %d sequences", r.op, len(lengths), batch)
	}
	return lengths, nil
}

// state returns a copy of a state, which the steps change; zeros where there is none.
func (r *recurrent) state(x *Context, t *tensor.Tensor, shape []int) (*tensor.Tensor, error) {
	s, values, err := zeros[float32](x, shape)
	if err != nil || t == nil {
		return s, err
	}
	if t.DType() != tensor.Float32 || !slices.Equal(t.Shape(), shape) {
		return nil, graphErr("%s from the state %v, which should be %v", r.op, t, shape)
	}
	copy(values, tensor.Data[float32](t))
	return s, nil
}

// parameters reads biases and peepholes of direction d. It returns the biases that are added before
// the first step.
func (s *sequences) parameters(in []*tensor.Tensor, d int) (bias []float32, err error) {
	width, dirs := s.gates*s.hidden, len(s.recurrent.reverse)
	bias = make([]float32, width)
	s.resetBias = make([]float32, s.hidden)
	if b := input(in, inputB); b != nil {
		if b.DType() != tensor.Float32 || b.Len() != dirs*2*width {
			return nil, graphErr("%s with biases %v", s.op, b)
		}
		v := tensor.Data[float32](b)[d*2*width : (d+1)*2*width]
		both := width
		if s.gates == gruGates && s.linear {
			both = 2 * s.hidden
			copy(s.resetBias, v[width+both:])
		}
		copy(bias, v[:width])
		kernel.Add(bias[:both], bias[:both], v[width:width+both])
	}
	if p := input(in, inputP); p != nil {
		if p.DType() != tensor.Float32 || p.Len() != dirs*3*s.hidden {
			return nil, graphErr("%s with peepholes %v", s.op, p)
		}
		s.peephole = tensor.Data[float32](p)[d*3*s.hidden : (d+1)*3*s.hidden]
	}
	return bias, nil
}

// run goes through the steps of sequences b0 to b1-1 on so many cores. A sequence of no steps ends
// in a state of zeros, as ONNX Runtime has it.
func (s *sequences) run(x *Context, threads, b0, b1 int) {
	width, h := s.gates*s.hidden, s.hidden
	most := 0
	for b, n := range s.lengths[b0:b1] {
		if most = max(most, n); n == 0 {
			clear(s.h[(b0+b)*h : (b0+b+1)*h])
			clear(s.c[(b0+b)*h : (b0+b+1)*h])
		}
	}
	if h == 0 || most == 0 {
		return
	}
	multiplier := s.cellWeights.hidden.multiplier(x, b1-b0, threads)
	work := s.work[b0*width : b1*width]
	for step := range most {
		if x.Err() != nil {
			return
		}
		for b := b0; b < b1; b++ {
			if step < s.lengths[b] {
				t := s.at(step, b)
				copy(s.work[b*width:(b+1)*width], s.pre[(t*s.batch+b)*width:])
			}
		}
		multiplier(work, width, s.h[b0*h:b1*h])
		if s.gates == gruGates {
			s.candidates(b0, b1)
		}
		for b := b0; b < b1; b++ {
			if step < s.lengths[b] {
				s.cell(s, b, s.work[b*width:(b+1)*width])
				copy(s.y[s.at(step, b)*s.pitch+b*h:], s.h[b*h:(b+1)*h])
			}
		}
	}
}

// at returns the position in time of a step of sequence b.
func (s *sequences) at(step, b int) int {
	if s.reverse {
		return s.lengths[b] - 1 - step
	}
	return step
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

// product sets dst to the rows of t times m, + bias. Integers are quantised by the range of t.
func (m *weightMatrix) product(x *Context, dst []float32, t *tensor.Tensor, bias []float32) error {
	rows := t.Dim(0) * t.Dim(1)
	if len(dst) == 0 {
		return nil
	}
	if m.floats != nil {
		return mulPacked(x, m.floats, dst, tensor.Data[float32](t), rows,
			&kernel.Epilogue{Bias: bias})
	}
	quantised := make([]*tensor.Tensor, 3)
	dynamic := buildDynamicQuantizeLinear(&Node{Outputs: 3})
	if err := dynamic(x, []*tensor.Tensor{t}, quantised); err != nil {
		return err
	}
	scale := slices.Clone(m.scale)
	kernel.Scale(scale, scale, tensor.Data[float32](quantised[1])[0])
	p := &byteProduct{a: quantised[0], zero: quantised[2], w: m.bytes, scale: scale, bias: bias}
	r, err := p.run(x)
	if err == nil {
		copy(dst, tensor.Data[float32](r))
	}
	return err
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
			x.Parallel(pieces.Cores, 1, func(lo, hi int) {
				for core := lo; core < hi; core++ {
					for i := core * pieces.Count / pieces.Cores; i < (core+1)*pieces.Count/pieces.Cores; i++ {
						r0, r1, p0, p1 := pieces.At(i)
						w.Multiply(c[r0*ldc:], ldc, a[r0*w.K:], w.K, r1-r0, p0, p1, true, nil)
					}
				}
			})
		}
	}
	w, stride := m.bytes, 2*kernel.Quads(m.bytes.K)
	small, packed := make([]uint8, rows*w.K), make([]int32, rows*stride)
	sums, scale := make([]int32, rows), make([]float32, w.N)
	result := make([]float32, rows*w.N)
	return func(c []float32, ldc int, a []float32) {
		step, zero := byteRange(kernel.MinMax(a))
		kernel.Quantize(small, a, step, zero, 0)
		for r := range rows {
			sums[r] = kernel.PackBytes(packed[r*stride:(r+1)*stride], small[r*w.K:(r+1)*w.K], 0, zero)
		}
		kernel.Scale(scale, m.scale, step)
		w.MultiplyFloat(result, w.N, packed, sums, rows, 0, w.Panels(),
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
