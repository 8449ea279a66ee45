package ops

import (
	"math"

	"github.com/crossattn/xpipe/tensor"
)

// plain runs LSTM, GRU or RNN in float64, element by element as the specification has it. It is
// what tensors of float64 get, and what the quick form in float32 is held to.
func (r *recurrent) plain(x *Context, in, out []*tensor.Tensor) error {
	double, err := floatInputs(r.op, floatsOf(in))
	if err != nil || !double {
		return err
	}
	get := func(i int) []float64 {
		if t := input(in, i); t != nil {
			return tensor.Data[float64](t)
		}
		return nil
	}
	t, w, rec := in[inputX], in[inputW], in[inputR]
	dirs := len(r.reverse)
	wrong := graphErr("%s of %v in %d directions with weights %v and %v", r.op, t, dirs, w, rec)
	if t.Rank() != 3 || w.Rank() != 3 || rec.Rank() != 3 {
		return wrong
	}
	steps, batch, k, hidden := t.Dim(0), t.Dim(1), t.Dim(2), rec.Dim(2)
	if r.batchFirst {
		steps, batch = batch, steps
	}
	n := r.gates * hidden
	if w.Dim(0) != dirs || rec.Dim(0) != dirs || w.Dim(1) != n || w.Dim(2) != k ||
		rec.Dim(1) != n || r.hidden != 0 && r.hidden != hidden {
		return wrong
	}
	for i, size := range map[int]int{inputB: 2 * n, inputP: 3 * hidden,
		inputH: batch * hidden, inputC: batch * hidden} {
		if v := input(in, i); v != nil && v.Len() != dirs*size {
			return graphErr("%s of %v with input %d of %v", r.op, t, i, v)
		}
	}
	lengths, err := r.lengths(input(in, inputLengths), steps, batch)
	if err != nil {
		return err
	}
	all, state := []int{steps, dirs, batch, hidden}, []int{dirs, batch, hidden}
	if r.batchFirst {
		all, state = []int{batch, steps, dirs, hidden}, []int{batch, dirs, hidden}
	}
	results := make([]*tensor.Tensor, 3)
	var y []float64
	if results[0], y, err = zeros[float64](x, all); err != nil {
		return err
	}
	var last [2][]float64
	for i := range last {
		if results[1+i], last[i], err = zeros[float64](x, state); err != nil {
			return err
		}
	}
	// Where sequence b of direction d begins in a state, and where its step is in y.
	at := func(d, b int) int {
		if r.batchFirst {
			return (b*dirs + d) * hidden
		}
		return (d*batch + b) * hidden
	}
	place := func(step, d, b int) int {
		if r.batchFirst {
			return ((b*steps+step)*dirs + d) * hidden
		}
		return ((step*dirs+d)*batch + b) * hidden
	}
	for d := range dirs {
		c := &plainCell{r: r, act: r.act64[d], k: k, hidden: hidden,
			w: get(inputW)[d*n*k : (d+1)*n*k], rec: get(inputR)[d*n*hidden : (d+1)*n*hidden],
			bias: make([]float64, 2*n), peephole: make([]float64, 3*hidden)}
		if v := get(inputB); v != nil {
			copy(c.bias, v[d*2*n:])
		}
		if v := get(inputP); v != nil {
			copy(c.peephole, v[d*3*hidden:(d+1)*3*hidden])
		}
		for b, length := range lengths {
			h, memory := make([]float64, hidden), make([]float64, hidden)
			for i, s := range [][]float64{get(inputH), get(inputC)} {
				if s != nil && length > 0 {
					copy([][]float64{h, memory}[i], s[at(d, b):])
				}
			}
			for step := range length {
				if x.Err() != nil {
					return x.Err()
				}
				if r.reverse[d] {
					step = length - 1 - step
				}
				row := (step*batch + b) * k
				if r.batchFirst {
					row = (b*steps + step) * k
				}
				h, memory = c.step(get(inputX)[row:row+k], h, memory)
				copy(y[place(step, d, b):], h)
			}
			copy(last[0][at(d, b):], h)
			copy(last[1][at(d, b):], memory)
		}
	}
	copy(out, results)
	return nil
}

// floatsOf leaves out the lengths, which are integers.
func floatsOf(in []*tensor.Tensor) []*tensor.Tensor {
	list := append([]*tensor.Tensor{}, in...)
	if len(list) > inputLengths {
		list[inputLengths] = nil
	}
	return list
}

// plainCell is one direction of a layer.
type plainCell struct {
	r                      *recurrent
	act                    []func(float64) float64
	k, hidden              int
	w, rec, bias, peephole []float64
}

// gate returns what goes into the activation of a gate: the products with the input and with the
// hidden state, + biases, + more for each element.
func (c *plainCell) gate(gate int, x, h []float64, more func(i int) float64) []float64 {
	v, n := make([]float64, c.hidden), c.r.gates*c.hidden
	for i := range v {
		row := gate*c.hidden + i
		v[i] = c.bias[row] + dot(c.w[row*c.k:], x)
		if h != nil {
			v[i] += c.bias[n+row] + dot(c.rec[row*c.hidden:], h)
		}
		v[i] += more(i)
		if bound := float64(c.r.bound); bound > 0 {
			v[i] = min(max(v[i], -bound), bound)
		}
	}
	return v
}

func dot(a, b []float64) (sum float64) {
	for i, v := range b {
		sum += a[i] * v
	}
	return sum
}

// step returns the next states.
func (c *plainCell) step(x, h, memory []float64) (nextH, nextC []float64) {
	none := func(int) float64 { return 0 }
	next, kept := make([]float64, c.hidden), make([]float64, c.hidden)
	switch c.r.gates {
	case lstmGates:
		looks := func(p int, memory []float64) func(i int) float64 {
			return func(i int) float64 { return c.peephole[p*c.hidden+i] * memory[i] }
		}
		input, forget := c.gate(0, x, h, looks(0, memory)), c.gate(2, x, h, looks(2, memory))
		cell := c.gate(3, x, h, none)
		for i := range kept {
			in, f := c.act[0](input[i]), c.act[0](forget[i])
			if c.r.coupled {
				f = 1 - in
			}
			kept[i] = f*memory[i] + in*c.act[1](cell[i])
		}
		for i, v := range c.gate(1, x, h, looks(1, kept)) {
			next[i] = c.act[0](v) * c.act[2](kept[i])
		}
	case gruGates:
		z, reset := c.gate(0, x, h, none), c.gate(1, x, h, none)
		gated := make([]float64, c.hidden)
		for i := range reset {
			reset[i] = c.act[0](reset[i])
			gated[i] = reset[i] * h[i]
		}
		n := gruGates * c.hidden
		candidate := c.gate(2, x, nil, func(i int) float64 {
			row := 2*c.hidden + i
			if c.r.linear {
				return reset[i] * (dot(c.rec[row*c.hidden:], h) + c.bias[n+row])
			}
			return dot(c.rec[row*c.hidden:], gated) + c.bias[n+row]
		})
		for i, v := range candidate {
			u := c.act[0](z[i])
			next[i] = (1-u)*c.act[1](v) + u*h[i]
		}
	default:
		for i, v := range c.gate(0, x, h, none) {
			next[i] = c.act[0](v)
		}
	}
	return next, kept
}

// plainActivation is cellActivation for one float64.
func plainActivation(name string, alpha, beta float64) func(float64) float64 {
	switch name {
	case "sigmoid":
		return sigmoid
	case "tanh":
		return math.Tanh
	case "relu":
		return func(v float64) float64 { return max(v, 0) }
	case "affine":
		return func(v float64) float64 { return alpha*v + beta }
	case "scaledtanh":
		return func(v float64) float64 { return alpha * math.Tanh(beta*v) }
	case "hardsigmoid":
		return func(v float64) float64 { return max(0, min(1, alpha*v+beta)) }
	case "leakyrelu":
		return func(v float64) float64 {
			if v < 0 {
				return alpha * v
			}
			return v
		}
	case "thresholdedrelu":
		return func(v float64) float64 {
			if v >= alpha {
				return v
			}
			return 0
		}
	case "elu":
		return func(v float64) float64 {
			if v < 0 {
				return alpha * math.Expm1(v)
			}
			return v
		}
	case "softsign":
		return softsign
	case "softplus":
		return softplus
	}
	return nil
}
