package ops

import (
	"math"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Layers that carry a state of fixed size from run to run, in place of a cache that grows: short
// convolutions and linear attention, as com.microsoft has them (ONNX Runtime 1.32,
// docs/ContribOperators.md).

// buildCausalConvWithState is a depthwise convolution over the positions [B,C,L], or [B,L,C...]
// where channels_last is 1, that sees none behind its own. The state holds the last (k-1)*dilation
// positions, in the same layout, which the next run begins with.
func buildCausalConvWithState(n *Node) Kernel {
	c := &causalConv{dilation: n.int("dilation", 1), last: n.int("channels_last", 0) != 0}
	activation := n.str("activation", "none")
	n.oneOf("activation", activation, "none", "silu", "swish")
	c.swish = activation != "none"
	if c.dilation < 1 {
		n.fail("attribute \"dilation\" is %d", c.dilation)
	}
	if d := n.int("ndim", 1); d != 1 {
		n.fail("attribute \"ndim\" is %d, of which only 1 is supported, as by ONNX Runtime on the CPU", d)
	}
	for name, def := range map[string]int{
		"state_window": 0, "state_length": 0, "state_update_capacity": 0, "input_channel_offset": 0,
		"input_channels": 0, "state_channels_last": -1,
	} {
		if v := n.int(name, def); v != def {
			n.fail("attribute %q is %d, which is not supported, nor by ONNX Runtime on the CPU", name, v)
		}
	}
	return viaFloat(c.run)
}

type causalConv struct {
	dilation    int
	last, swish bool
}

func (c *causalConv) run(x *Context, in, out []*tensor.Tensor) error {
	t, weight, bias, past := in[0], in[1], input(in, 2), input(in, 3)
	if err := singleInputs("CausalConvWithState", []*tensor.Tensor{t, weight, bias, past}); err != nil {
		return err
	}
	if t.Rank() < 3 || !c.last && t.Rank() != 3 || weight.Rank() != 3 {
		return graphErr("a causal convolution of %v with %v", t, weight)
	}
	channels, taps, at := t.Dim(1), weight.Dim(2), 2
	if c.last {
		channels, at = prod(t.Shape()[2:]), 1
	}
	if weight.Dim(0) != channels || weight.Dim(1) != 1 || taps < 1 {
		return graphErr("a causal convolution of %v with %v", t, weight)
	}
	if bias != nil && bias.Len() != channels {
		return graphErr("a causal convolution of %d channels adds %v", channels, bias)
	}
	batch, length := t.Dim(0), t.Dim(at)
	shape := clone(t.Shape())
	shape[at] = (taps - 1) * c.dilation
	if past != nil && !slices.Equal(past.Shape(), shape) {
		return graphErr("a causal convolution of %v with a state %v, not %s", t, past, tensor.FormatShape(shape))
	}
	if _, err := checkShape(shape); err != nil {
		return err
	}
	y, dst, err := alloc[float32](x, t.Shape())
	if err != nil {
		return err
	}
	state, next, err := zeros[float32](x, shape)
	if err != nil {
		return err
	}
	out[0] = y
	if len(out) > 1 {
		out[1] = state
	}
	p := causalPart{causalConv: c, taps: taps, keep: shape[at], length: length, channels: channels,
		weight: tensor.Data[float32](weight)}
	if bias != nil {
		p.bias = tensor.Data[float32](bias)
	}
	var old []float32
	if past != nil {
		old = tensor.Data[float32](past)
	}
	src := tensor.Data[float32](t)
	rows, width := batch*channels, 1 // runs of the input that are independent, and columns of each
	each := p.channel
	if c.last {
		rows, width, each = batch, channels, p.sequence
	}
	return x.ParallelScratch(rows, max(1, minWork/max(1, length*taps*width)), (p.keep+length)*width,
		func(lo, hi int, seen []float32) {
			for i := lo; i < hi; i++ {
				// The state and the input, one behind the other.
				size := p.keep * width
				if old != nil {
					copy(seen, old[i*size:(i+1)*size])
				} else {
					clear(seen[:size])
				}
				copy(seen[size:], src[i*length*width:(i+1)*length*width])
				each(dst[i*length*width:(i+1)*length*width], seen, i%max(channels, 1))
				copy(next[i*size:(i+1)*size], seen[length*width:])
			}
		})
}

// causalPart is what a sequence of one row is convolved with.
type causalPart struct {
	*causalConv
	taps, keep, length, channels int
	weight, bias                 []float32
}

// channel convolves the positions of one channel. seen are those of the state and the input.
func (p *causalPart) channel(dst, seen []float32, channel int) {
	clear(dst)
	if p.bias != nil {
		for i := range dst {
			dst[i] = p.bias[channel]
		}
	}
	for j, w := range p.weight[channel*p.taps : (channel+1)*p.taps] {
		kernel.Axpy(dst, seen[j*p.dilation:j*p.dilation+p.length], w)
	}
	if p.swish {
		kernel.Swish(dst, dst, 1)
	}
}

// sequence convolves positions whose channels lie side by side.
func (p *causalPart) sequence(dst, seen []float32, _ int) {
	for i := range p.length {
		row := dst[i*p.channels : (i+1)*p.channels]
		clear(row)
		copy(row, p.bias)
		for j := range p.taps {
			from := seen[(i+j*p.dilation)*p.channels:][:p.channels]
			for c, v := range from {
				row[c] += v * p.weight[c*p.taps+j]
			}
		}
	}
	if p.swish {
		kernel.Swish(dst, dst, 1)
	}
}

// buildLinearAttention is attention whose past is one matrix S [keys,values] for each head. With
// each position, S decays by exp(decay) where the rule has a gate, and takes up k*v'; by the delta
// rule it takes up beta*k*(v-S'k)', what of v it does not answer to k yet. The result is
// scale*S'q. Heads of queries share those of keys, or the other way round.
func buildLinearAttention(n *Node) Kernel {
	l := &linearAttention{
		heads: n.int("q_num_heads", 0), kvHeads: n.int("kv_num_heads", 0), scale: n.float("scale", 0),
	}
	rule := n.str("update_rule", "gated_delta")
	n.oneOf("update_rule", rule, "linear", "gated", "delta", "gated_delta")
	l.gated, l.delta = rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	if l.heads <= 0 || l.kvHeads <= 0 || l.heads%l.kvHeads != 0 && l.kvHeads%l.heads != 0 {
		n.fail("%d heads of queries and %d of keys", l.heads, l.kvHeads)
	}
	if w := n.int("state_window", 0); w != 0 {
		n.fail("attribute \"state_window\" is %d, which is not supported, nor by ONNX Runtime on the CPU", w)
	}
	if l.gated && n.left(4) || l.delta && n.left(5) {
		n.fail("the update rule %q needs input 4 for a gate, and input 5 for delta", rule)
	}
	return func(x *Context, in, out []*tensor.Tensor) error {
		// The state keeps a type of its own.
		wide, types := slices.Clone(in), []tensor.DType{in[0].DType(), in[0].DType()}
		if past := input(in, 3); past != nil {
			types[1] = past.DType()
		}
		for i, t := range in {
			if !isNarrow(t) {
				continue
			}
			var err error
			if wide[i], err = widen(x, t); err != nil {
				return err
			}
		}
		if err := singleInputs(n.Op, wide); err != nil {
			return err
		}
		y, state, err := l.run(x, wide)
		if err != nil {
			return err
		}
		for i, t := range []*tensor.Tensor{y, state} {
			if i >= len(out) {
				break
			}
			if types[i] != tensor.Float32 {
				if t, err = narrow(x, t, types[i]); err != nil {
					return err
				}
			}
			out[i] = t
		}
		return nil
	}
}

type linearAttention struct {
	heads, kvHeads int
	scale          float32
	gated, delta   bool
}

func (l *linearAttention) run(x *Context, in []*tensor.Tensor) (y, state *tensor.Tensor, err error) {
	q, k, v, past, decay, beta := in[0], in[1], in[2], input(in, 3), input(in, 4), input(in, 5)
	bad := func() (*tensor.Tensor, *tensor.Tensor, error) {
		return nil, nil, graphErr("linear attention of %v, %v and %v in %d and %d heads", q, k, v, l.heads, l.kvHeads)
	}
	if q.Rank() != 3 || k.Rank() != 3 || v.Rank() != 3 {
		return bad()
	}
	batch, length := q.Dim(0), q.Dim(1)
	size, values := q.Dim(2)/l.heads, v.Dim(2)/l.kvHeads
	if !slices.Equal(k.Shape(), []int{batch, length, l.kvHeads * size}) || q.Dim(2) != l.heads*size ||
		!slices.Equal(v.Shape(), []int{batch, length, l.kvHeads * values}) || size == 0 || values == 0 {
		return bad()
	}
	shape := []int{batch, l.kvHeads, size, values}
	if past != nil && !slices.Equal(past.Shape(), shape) {
		return nil, nil, graphErr("linear attention with a state %v, not %s", past, tensor.FormatShape(shape))
	}
	gates, rates := 0, 0 // of a position
	if l.gated {
		if gates = l.kvHeads; decay.Rank() == 3 && decay.Dim(2) != gates {
			gates *= size
		}
		if !slices.Equal(decay.Shape(), []int{batch, length, gates}) {
			return nil, nil, graphErr("linear attention of %v with decays %v", q, decay)
		}
	}
	if l.delta {
		if rates = l.kvHeads; beta.Rank() == 3 && beta.Dim(2) != rates {
			rates = 1
		}
		if !slices.Equal(beta.Shape(), []int{batch, length, rates}) {
			return nil, nil, graphErr("linear attention of %v with rates %v", q, beta)
		}
	}
	results := max(l.heads, l.kvHeads)
	y, dst, err := zeros[float32](x, []int{batch, length, results * values})
	if err != nil {
		return nil, nil, err
	}
	state, all, err := zeros[float32](x, shape)
	if err != nil {
		return nil, nil, err
	}
	if past != nil {
		copy(all, tensor.Data[float32](past))
	}
	scale := scaleOr(l.scale, size)
	qs, ks, vs := tensor.Data[float32](q), tensor.Data[float32](k), tensor.Data[float32](v)
	var gate, rate []float32
	if l.gated {
		gate = tensor.Data[float32](decay)
	}
	if l.delta {
		rate = tensor.Data[float32](beta)
	}
	shared := results / l.kvHeads
	err = x.ParallelScratch(batch*l.kvHeads, max(1, minWork/max(1, 6*length*size*values)), size+values,
		func(lo, hi int, scratch []float32) {
			add, keys := scratch[:values], scratch[values:]
			for i := lo; i < hi; i++ {
				s := all[i*size*values : (i+1)*size*values]
				for t := range length {
					if t%64 == 0 && x.Err() != nil {
						return
					}
					at, head := i/l.kvHeads*length+t, i%l.kvHeads
					key := ks[(at*l.kvHeads+head)*size:][:size]
					switch {
					case gates == l.kvHeads:
						kernel.Scale(s, s, float32(math.Exp(float64(gate[at*gates+head]))))
					case gates > 0:
						for j, g := range gate[at*gates+head*size:][:size] {
							row := s[j*values : (j+1)*values]
							kernel.Scale(row, row, float32(math.Exp(float64(g))))
						}
					}
					copy(add, vs[(at*l.kvHeads+head)*values:])
					if l.delta {
						for j, w := range key {
							keys[j] = -w
						}
						kernel.Combine(add, keys, s, values)
						kernel.Scale(add, add, rate[at*rates+min(head, rates-1)])
					}
					for j, w := range key {
						kernel.Axpy(s[j*values:(j+1)*values], add, w)
					}
					for r := range shared {
						from := head*shared + r // a head of the result
						query := qs[(at*l.heads+from*l.heads/results)*size:][:size]
						to := dst[(at*results+from)*values:][:values]
						kernel.Combine(to, query, s, values)
						kernel.Scale(to, to, scale)
					}
				}
			}
		})
	return y, state, err
}
