package decode

import (
	"maps"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// joins reports whether the sequences of other, begun as b's were, can go on in one batch with b's, and
// each write what it would write alone. The caches of both have to line up: where the decoder counts
// positions by the mask, padding before the shorter ones does it; other decoders take one length
// alone. Constants of different shapes, such as encoder states of texts of different lengths, do not
// stand in one batch. Nor do sequences of a decoder whose activations are quantised over the batch.
func (b *batch) joins(other *batch) bool {
	if b.Decoder != other.Decoder || b.next == nil || b.dependent() || !b.began || !other.began ||
		b.memory != nil || other.memory != nil || b.origin != other.origin || b.most != other.most {
		return false
	}
	if !b.pads && len(b.mask[0]) != len(other.mask[0]) {
		return false
	}
	for name, t := range b.constants.prompts {
		o := other.constants.prompts[name]
		if o == nil || o.DType() != t.DType() || !slices.Equal(o.Shape()[1:], t.Shape()[1:]) {
			return false
		}
	}
	return true
}

// join adds the sequences of other behind b's. other ends.
func (b *batch) join(other *batch) error {
	past := make(map[string]*tensor.Tensor, len(b.past))
	for _, c := range b.caches {
		t, err := tensor.JoinAligned(2, b.past[c.past], other.past[c.past])
		if err != nil {
			return err
		}
		past[c.past] = t
	}
	for _, s := range b.states {
		t, err := tensor.Join(b.past[s.past], other.past[s.past])
		if err != nil {
			return err
		}
		past[s.past] = t
	}
	if err := b.constants.join(&other.constants, len(b.start)); err != nil {
		return err
	}
	for name, t := range past {
		b.past[name].Release()
		other.past[name].Release()
		b.past[name] = t
	}
	length := max(len(b.mask[0]), len(other.mask[0]))
	b.mask = append(padMasks(b.mask, length), padMasks(other.mask, length)...)
	b.media = append(b.media, other.media...)
	b.start = append(slices.Clip(b.start), other.start...)
	return nil
}

// padMasks puts zeros before masks, so that they are as long as length.
func padMasks(masks [][]int64, length int) [][]int64 {
	padded := make([][]int64, len(masks))
	for i, m := range masks {
		padded[i] = append(make([]int64, length-len(m), length+leastMaskRoom), m...)
	}
	return padded
}

// leastMaskRoom is the room of a mask that moves, for tokens to come.
const leastMaskRoom = 64

// leastTrim is the least padding that is worth a copy of the cache.
const leastTrim = 16

// compact forgets prompts whose sequences have all left, and padding that all rows have, once it is a
// quarter of the cache. A batch that others join never ends, and would grow otherwise.
func (b *batch) compact() error {
	if used := slices.Compact(slices.Sorted(slices.Values(b.constants.of))); len(used) < len(b.start) {
		start := make([]Prompt, len(used))
		for i, prompt := range used {
			start[i] = b.start[prompt]
		}
		if err := b.constants.keep(used); err != nil {
			return err
		}
		b.start = start
	}
	padding := len(b.mask[0])
	for _, m := range b.mask {
		padding = min(padding, max(0, slices.Index(m, 1)))
	}
	if padding < leastTrim || padding < len(b.mask[0])/4 || !b.pads {
		return nil
	}
	past := maps.Clone(b.past)
	for _, c := range b.caches {
		t := b.past[c.past]
		trimmed, err := graph.At(t, 2, padding, t.Dim(2))
		if err != nil {
			return err
		}
		past[c.past] = trimmed
	}
	for name, t := range b.past {
		if past[name] != t {
			t.Release()
		}
	}
	b.past = past
	for i := range b.mask {
		b.mask[i] = slices.Clone(b.mask[i][padding:])
	}
	return nil
}
