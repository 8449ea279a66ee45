package ops

import (
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// recurrent is LSTM, GRU or RNN. All inputs are multiplied with their weights in one product before
// the first step. A step then multiplies the hidden state with the weights of the recurrence, adds
// that to its rows, and makes the next state of them. The directions of a layer and the sequences
// of a batch do not depend on each other: cores share them.
type recurrent struct {
	op         string
	cell       func(s *sequences, b int, gates []float32)
	gates      int
	hidden     int    // as the attribute says; 0 where it is not given
	reverse    []bool // for each direction
	batchFirst bool
	bound      float32 // of what goes into activations; 0 for none
	act        [][]func(dst, src []float32)
	// The same for one number.
	act64     [][]func(float64) float64
	coupled   bool           // LSTM: forget what the input gate does not let in
	linear    bool           // GRU: multiply before the reset
	quantised bool           // weights are 8-bit integers
	weights   []*cellWeights // for each direction; nil until a run if they are no constants
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
		r.act, r.act64 = n.activations(len(r.reverse), activations)
		r.pack(n)
		quick := viaFloat(r.run)
		return func(x *Context, in, out []*tensor.Tensor) error {
			if in[inputX].DType() == tensor.Float64 && !r.quantised && r.weights == nil {
				return r.plain(x, in, out)
			}
			return quick(x, in, out)
		}
	}
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
	work                 []float32 // [B,gates*H]: of a step whose rows do not lie together in pre
	h, c, scratch        []float32 // [B,H] each; c is LSTM's
	peephole             []float32 // [3*H], or nil
	resetBias            []float32 // [H]: GRU's, of the linear form
	y                    []float32 // [T,D,B,H] from this direction on
	pitch                int       // between steps of y
}

// fewSequences is how many sequences take less time to compute than their weights take to come from
// beyond a core's cache.
const fewSequences = 4

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
	inputs := []*tensor.Tensor{t}
	if r.quantised {
		inputs = make([]*tensor.Tensor, 3)
		quantise := buildDynamicQuantizeLinear(&Node{Outputs: len(inputs)})
		if err := quantise(x, []*tensor.Tensor{t}, inputs); err != nil {
			return err
		}
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
		if s.reverse && batch > 0 && slices.Min(lengths) < slices.Max(lengths) {
			if _, s.work, err = alloc[float32](x, []int{batch, width}); err != nil {
				return err
			}
		}
		if _, s.scratch, err = alloc[float32](x, []int{batch, hidden}); err != nil {
			return err
		}
		bias, err := s.parameters(in, d)
		if err != nil {
			return err
		}
		if s.pre, err = s.input.product(x, inputs, bias); err != nil {
			return err
		}
	}
	// Bytes are quantised by the range of a whole batch.
	parts := 1
	if !r.quantised {
		parts = min(max(x.Threads()/dirs, 1), batch)
	}
	together := dirs*parts == 1 || batch <= fewSequences && weights[0].large()
	if together {
		parts = 0
		for _, s := range list {
			s.run(x, x.Threads(), 0, batch)
		}
	}
	if err := x.Parallel(dirs*parts, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
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
	var candidate func(c []float32, ldc int, a []float32)
	if s.gates == gruGates {
		candidate = s.cellWeights.candidate.multiplier(x, b1-b0, threads)
	}
	for step := range most {
		if x.Err() != nil {
			return
		}
		work := s.rows(step, b0, b1)
		multiplier(work, width, s.h[b0*h:b1*h])
		if s.gates == gruGates {
			s.candidates(work, b0, b1, candidate)
		}
		for b := b0; b < b1; b++ {
			if step < s.lengths[b] {
				s.cell(s, b, work[(b-b0)*width:(b-b0+1)*width])
				copy(s.y[s.at(step, b)*s.pitch+b*h:], s.h[b*h:(b+1)*h])
			}
		}
	}
}

// rows returns the products of the inputs of a step of sequences b0 to b1-1, for the step to
// change. Rows of sequences that have ended count for nothing.
func (s *sequences) rows(step, b0, b1 int) []float32 {
	width := s.gates * s.hidden
	if s.work == nil {
		t := s.at(step, b0)
		return s.pre[(t*s.batch+b0)*width : (t*s.batch+b1)*width]
	}
	work := s.work[b0*width : b1*width]
	for b := b0; b < b1; b++ {
		if step < s.lengths[b] {
			t := s.at(step, b)
			copy(work[(b-b0)*width:(b-b0+1)*width], s.pre[(t*s.batch+b)*width:])
		}
	}
	return work
}

// at returns the position in time of a step of sequence b.
func (s *sequences) at(step, b int) int {
	if s.reverse {
		return s.lengths[b] - 1 - step
	}
	return step
}
