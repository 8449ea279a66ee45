package decode

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// state is a tensor of a layer without attention that goes from step to step at one size, such as
// what a short convolution last read (LFM2): [B,...], zeros before the first step.
type state struct {
	past, present string
	dtype         tensor.DType
	shape         []int // without the batch
}

// statePrefixes are those of states' inputs, and of the outputs that replace them, as
// transformers.js has them (getPastKeyValues, 4.2).
var statePrefixes = map[string]string{
	"past_conv.": "present_conv.", "past_ssm.": "present_ssm.", "past_recurrent.": "present_recurrent.",
}

// presentState returns the name of the output that replaces an input that is a state; ok is false
// for others.
func presentState(name string) (present string, ok bool) {
	for past, present := range statePrefixes {
		if rest, ok := strings.CutPrefix(name, past); ok {
			return present + rest, true
		}
	}
	return "", false
}

// addState records an input that is a state.
func (d *Decoder) addState(in tensor.Spec, present string) error {
	if len(in.Shape) < 2 || slices.ContainsFunc(in.Shape[1:], func(n int) bool { return n <= 0 || n > maxCacheSide }) ||
		!isCacheType(in.DType) {
		return fmt.Errorf("%w: the decoder's state %v is not of a fixed size", graph.ErrBundle, in)
	}
	for _, g := range []*graph.Graph{d.first, d.next} {
		if g != nil && !g.HasOutput(present) {
			return fmt.Errorf("%w: the decoder takes %q but gives no %q", graph.ErrBundle, in.Name, present)
		}
	}
	d.states = append(d.states, state{in.Name, present, in.DType, slices.Clone(in.Shape[1:])})
	return nil
}

// addStates adds the states before the first step, a row a sequence.
func (b *batch) addStates(rows int) (err error) {
	for _, s := range b.states {
		if b.past[s.past], err = tensor.Zeros(s.dtype, append([]int{rows}, s.shape...)...); err != nil {
			return err
		}
	}
	return nil
}

// keepStates takes the states that a run gave.
func (b *batch) keepStates(out map[string]*tensor.Tensor, rows int) error {
	for _, s := range b.states {
		err := graph.CheckOutputOf(s.dtype, s.present, out[s.present], append([]int{rows}, s.shape...)...)
		if err != nil {
			return err
		}
		b.past[s.past].Release()
		b.past[s.past] = out[s.present]
	}
	return nil
}
