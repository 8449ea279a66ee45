package ops

import (
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Subgraph is a graph that a node holds in an attribute, such as the body of a loop, planned.
type Subgraph struct {
	// Inputs and Outputs describe the graph's own; its operator says what they stand for.
	Inputs, Outputs []tensor.Spec
	// Run computes the outputs from the inputs and from the values of the graphs around that the
	// graph captures. Each output is held once for the caller: see Memory.
	// Behind the outputs stand the values of taps, nil but for those that are wanted.
	Run func(x *Context, in, captured []*tensor.Tensor, taps []bool) ([]*tensor.Tensor, error)

	first, count int // where the captured values stand among the inputs of the node's kernel
}

// Give gives a node the graph that an attribute holds, planned. captured is how many values it
// captures, which the kernel gets behind all the inputs that the node has so far.
func (n *Node) Give(name string, g *Subgraph, captured int) {
	g.first, g.count = n.reads, captured
	n.reads += captured
	n.attrs[name] = g
}

// subgraph returns the graph that an attribute holds.
func (n *Node) subgraph(name string) *Subgraph {
	g, ok := attribute[*Subgraph](n, name)
	if !ok || g == nil {
		n.fail("attribute %q holds no graph", name)
		return &Subgraph{}
	}
	return g
}

// run runs the graph within the kernel of its node, whose inputs are all.
func (g *Subgraph) run(x *Context, in, all []*tensor.Tensor) ([]*tensor.Tensor, error) {
	if err := x.Err(); err != nil {
		return nil, err
	}
	return g.Run(x, in, all[g.first:g.first+g.count], nil)
}

// states are values that a loop carries from one run of its body to the next, each held.
type states struct {
	memory Memory
	values []*tensor.Tensor
}

func newStates(x *Context, initial []*tensor.Tensor) *states {
	for _, t := range initial {
		x.memory.Hold(t)
	}
	return &states{x.memory, slices.Clone(initial)}
}

// next puts others, which are held already, in the place of the values.
func (s *states) next(values []*tensor.Tensor) {
	for _, t := range s.values {
		s.memory.Drop(t)
	}
	s.values = slices.Clone(values)
}

// pass hands the values to the kernel's outputs.
func (s *states) pass(out []*tensor.Tensor) {
	for i, t := range s.values {
		s.memory.Pass(t)
		if i < len(out) {
			out[i] = t
		}
	}
}

// collected is a value that each run of a body computes, one after the other.
type collected struct {
	x     *Context
	parts []*tensor.Tensor // held
	bytes int64
}

func (c *collected) add(t *tensor.Tensor) error {
	if isSequence(t) {
		return graphErr("a loop collects sequences")
	}
	if len(c.parts) > 0 {
		first := c.parts[0]
		if t.DType() != first.DType() || !slices.Equal(t.Shape(), first.Shape()) {
			return graphErr("a loop collects %v after %v", t, first)
		}
	}
	c.parts = append(c.parts, t)
	// Parts may share memory; what is made of them will not.
	c.bytes += int64(t.Len()*t.DType().Size()) + 8
	if c.bytes > min(MaxTensorBytes, c.x.memory.Room()) {
		return graphErr("a loop collects more than the memory limit allows")
	}
	return nil
}

// stack joins the parts along a new axis, the last part first if reversed, and lets go of them.
// spec describes a part where there is none.
func (c *collected) stack(at int, reversed bool, spec tensor.Spec) (*tensor.Tensor, error) {
	if len(c.parts) == 0 {
		return emptyStack(c.x, at, spec)
	}
	if reversed {
		slices.Reverse(c.parts)
	}
	t, err := stack(c.x, c.parts, at)
	for _, p := range c.parts {
		c.x.memory.Drop(p)
	}
	return t, err
}

// emptyStack is what a loop that never ran has collected. Dimensions that are not fixed are 0.
func emptyStack(x *Context, at int, spec tensor.Spec) (*tensor.Tensor, error) {
	shape := make([]int, len(spec.Shape))
	for i, d := range spec.Shape {
		shape[i] = max(d, 0)
	}
	a, err := axis(at, len(shape)+1)
	if err != nil {
		return nil, err
	}
	dtype := spec.DType
	if dtype == tensor.Invalid {
		return nil, graphErr("a loop that never runs does not say what %q is", spec.Name)
	}
	return x.Alloc(dtype, slices.Insert(shape, a, 0))
}

// stack joins tensors of one shape along a new axis.
func stack(x *Context, parts []*tensor.Tensor, at int) (*tensor.Tensor, error) {
	shape := parts[0].Shape()
	a, err := axis(at, len(shape)+1)
	if err != nil {
		return nil, err
	}
	r, err := x.Alloc(parts[0].DType(), slices.Insert(clone(shape), a, len(parts)))
	if err != nil || r.Len() == 0 {
		return r, err
	}
	outer, size := prod(shape[:a]), prod(shape[a:])*r.DType().Size()
	dst := raw(r)
	for j, t := range parts {
		src := raw(t)
		for i := range outer {
			copy(dst[(i*len(parts)+j)*size:][:size], src[i*size:])
		}
	}
	return r, x.Err()
}

// truth reads a condition, a tensor of one bool.
func truth(t *tensor.Tensor) (bool, error) {
	if t.DType() != tensor.Bool || t.Len() != 1 {
		return false, graphErr("a condition is %v", t)
	}
	return tensor.Data[bool](t)[0], nil
}

// buildIf runs one of two graphs. Their outputs need not agree in shape.
func buildIf(n *Node) Kernel {
	branches := map[bool]*Subgraph{
		true: n.subgraph("then_branch"), false: n.subgraph("else_branch"),
	}
	for _, g := range branches {
		if n.err == nil && (len(g.Inputs) != 0 || len(g.Outputs) != n.Outputs) {
			n.fail("has %d outputs, and a branch with %d inputs and %d outputs",
				n.Outputs, len(g.Inputs), len(g.Outputs))
		}
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		which, err := truth(in[0])
		if err != nil {
			return err
		}
		g := branches[which]
		var taps []bool
		if x.wanted != nil {
			taps = x.wanted[len(g.Outputs):]
		}
		if err := x.Err(); err != nil {
			return err
		}
		results, err := g.Run(x, nil, in[g.first:g.first+g.count], taps)
		for i, t := range results {
			if t != nil {
				out[i] = t
				x.memory.Pass(t)
			}
		}
		return err
	}
}

// buildLoop runs a body as often as a count (input 0) and a condition (input 1) say, either of
// which may be left out. The other inputs are carried from one run to the next. What the body
// computes besides is collected along a new first axis.
func buildLoop(n *Node) Kernel {
	body := n.subgraph("body")
	carried := max(n.Inputs-2, 0)
	gathered := len(body.Outputs) - 1 - carried
	if n.err == nil && (len(body.Inputs) != carried+2 || gathered < 0 ||
		n.Outputs > carried+gathered) {
		n.fail("has %d inputs and %d outputs, and a body of %d and %d",
			n.Inputs, n.Outputs, len(body.Inputs), len(body.Outputs))
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		most, goesOn := -1, true
		var err error
		if t := input(in, 0); n.Inputs > 0 && t != nil {
			if most, err = scalarInt(t); err != nil {
				return err
			}
			most = max(most, 0)
		}
		if t := input(in, 1); n.Inputs > 1 && t != nil {
			if goesOn, err = truth(t); err != nil {
				return err
			}
		}
		for i, t := range in[:n.Inputs] {
			if i >= 2 && t == nil {
				return graphErr("input %d is left out", i)
			}
		}
		s := newStates(x, in[min(2, n.Inputs):n.Inputs])
		parts := make([]collected, gathered)
		for i := range parts {
			parts[i].x = x
		}
		for i := 0; goesOn && (most < 0 || i < most); i++ {
			args := []*tensor.Tensor{tensor.Scalar(int64(i)), tensor.Scalar(true)}
			args = append(args, s.values...)
			results, err := body.run(x, args, in)
			if err != nil {
				return err
			}
			if goesOn, err = truth(results[0]); err != nil {
				return err
			}
			x.memory.Drop(results[0])
			s.next(results[1 : 1+carried])
			for j, t := range results[1+carried:] {
				if err := parts[j].add(t); err != nil {
					return err
				}
			}
		}
		s.pass(out)
		for i := range parts {
			if carried+i < len(out) {
				out[carried+i], err = parts[i].stack(0, false, body.Outputs[1+carried+i])
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// scan is what versions 8 and 9 of Scan have in common: a body that runs once for each position
// along an axis of its scanned inputs.
type scan struct {
	body           *Subgraph
	states, inputs int // carried, and scanned
	inAxes, outAxes,
	inReversed, outReversed []int // each may be shorter than there are inputs or outputs
}

// newScan reads the attributes; left is how many inputs come before the carried ones.
func newScan(n *Node, left int) *scan {
	n.want(left+1, -1)
	s := &scan{body: n.subgraph("body"), inputs: n.int("num_scan_inputs", 0)}
	s.states = n.Inputs - left - s.inputs
	if n.err == nil && (s.inputs < 1 || s.states < 0 || len(s.body.Inputs) != s.states+s.inputs ||
		len(s.body.Outputs) < s.states || n.Outputs > len(s.body.Outputs)) {
		n.fail("has %d inputs, %d of them scanned, and %d outputs, and a body of %d and %d",
			n.Inputs, s.inputs, n.Outputs, len(s.body.Inputs), len(s.body.Outputs))
	}
	return s
}

func at(list []int, i int) int {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// buildScan is Scan from version 9 on.
func buildScan(n *Node) Kernel {
	if n.Version < 9 {
		return buildScan8(n)
	}
	s := newScan(n, 0)
	s.inAxes, s.outAxes = n.ints("scan_input_axes"), n.ints("scan_output_axes")
	s.inReversed, s.outReversed = n.ints("scan_input_directions"), n.ints("scan_output_directions")
	return func(x *Context, in, out []*tensor.Tensor) error {
		results, err := s.run(x, in[:n.Inputs], in, -1)
		copy(out, results)
		return err
	}
}

// run scans values, the carried ones first, of which the scanned ones have length positions, -1 for
// as many as there are. all are the inputs of the node. The results belong to the kernel.
func (s *scan) run(x *Context, values, all []*tensor.Tensor, length int) ([]*tensor.Tensor, error) {
	for i, t := range values {
		if t == nil {
			return nil, graphErr("an input is left out")
		}
		if i < s.states {
			continue
		}
		if isSequence(t) {
			return nil, graphErr("Scan over a sequence")
		}
		a, err := axis(at(s.inAxes, i-s.states), t.Rank())
		if err != nil {
			return nil, err
		}
		if length < 0 {
			length = t.Dim(a)
		}
		if t.Dim(a) < length || s.outAxes != nil && t.Dim(a) != length {
			return nil, graphErr("Scan of %d positions over %v", length, t)
		}
	}
	carried := newStates(x, values[:s.states])
	parts := make([]collected, len(s.body.Outputs)-s.states)
	for i := range parts {
		parts[i].x = x
	}
	for step := range length {
		args := slices.Clone(carried.values)
		for i, t := range values[s.states:] {
			a, _ := axis(at(s.inAxes, i), t.Rank())
			position := step
			if at(s.inReversed, i) != 0 {
				position = length - 1 - step
			}
			part, err := positionOf(x, t, a, position)
			if err != nil {
				return nil, err
			}
			x.memory.Hold(part)
			args = append(args, part)
		}
		results, err := s.body.run(x, args, all)
		if err != nil {
			return nil, err
		}
		for _, part := range args[s.states:] {
			x.memory.Drop(part)
		}
		carried.next(results[:s.states])
		for i, t := range results[s.states:] {
			if err := parts[i].add(t); err != nil {
				return nil, err
			}
		}
	}
	results := make([]*tensor.Tensor, len(s.body.Outputs))
	carried.pass(results)
	for i := range parts {
		var err error
		results[s.states+i], err = parts[i].stack(
			at(s.outAxes, i), at(s.outReversed, i) != 0, s.body.Outputs[s.states+i])
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// positionOf copies what lies at one position of an axis, without that axis.
func positionOf(x *Context, t *tensor.Tensor, a, position int) (*tensor.Tensor, error) {
	shape := slices.Delete(clone(t.Shape()), a, a+1)
	r, err := x.Alloc(t.DType(), shape)
	if err != nil || r.Len() == 0 {
		return r, err
	}
	size := prod(shape[a:]) * t.DType().Size()
	dst, src := raw(r), raw(t)
	for i := range prod(shape[:a]) {
		copy(dst[i*size:(i+1)*size], src[(i*t.Dim(a)+position)*size:])
	}
	return r, nil
}

// buildScan8 is Scan of version 8: every value has a batch in front, whose sequences are scanned
// one after the other, each as far as its length (input 0) says.
func buildScan8(n *Node) Kernel {
	s := newScan(n, 1)
	s.inReversed = n.ints("directions")
	return func(x *Context, in, out []*tensor.Tensor) error {
		values := in[1:n.Inputs]
		batch, most := -1, -1
		for i, t := range values {
			if t == nil || isSequence(t) || t.Rank() < 1 || batch >= 0 && t.Dim(0) != batch ||
				i >= s.states && (t.Rank() < 2 || most >= 0 && t.Dim(1) != most) {
				return graphErr("Scan of %v", t)
			}
			if batch = t.Dim(0); i >= s.states {
				most = t.Dim(1)
			}
		}
		lengths := make([]int, batch)
		for i := range lengths {
			lengths[i] = most
		}
		if in[0] != nil {
			var err error
			if lengths, err = intsOf(in[0]); err != nil {
				return err
			}
			if len(lengths) != batch {
				return graphErr("lengths %v of %d sequences", in[0], batch)
			}
		}
		rows := make([]collected, len(s.body.Outputs))
		for i := range rows {
			rows[i].x = x
		}
		for b, length := range lengths {
			if length < 0 || length > most {
				return graphErr("a length of %d in sequences of %d", length, most)
			}
			var row []*tensor.Tensor
			for _, t := range values {
				part, err := positionOf(x, t, 0, b)
				if err != nil {
					return err
				}
				x.memory.Hold(part)
				row = append(row, part)
			}
			results, err := s.run(x, row, in, length)
			if err != nil {
				return err
			}
			for i, t := range results {
				x.memory.Hold(t)
				if i >= s.states && t.Dim(0) < most {
					if t, err = padded(x, t, most); err != nil {
						return err
					}
					x.memory.Hold(t)
					x.memory.Drop(results[i])
				}
				if err := rows[i].add(t); err != nil {
					return err
				}
			}
			for _, part := range row {
				x.memory.Drop(part)
			}
		}
		for i := range out {
			var err error
			if out[i], err = rows[i].stack(0, false, s.body.Outputs[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// padded gives t n rows, the new ones zero.
func padded(x *Context, t *tensor.Tensor, n int) (*tensor.Tensor, error) {
	shape := clone(t.Shape())
	shape[0] = n
	r, err := x.Alloc(t.DType(), shape)
	if err == nil {
		dst := raw(r)
		clear(dst[copy(dst, raw(t)):])
	}
	return r, err
}
