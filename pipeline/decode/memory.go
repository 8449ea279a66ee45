package decode

import (
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Memory keeps the keys and values of what a decoder has read, for a prompt that begins with the same
// tokens: each turn of a conversation begins with those before it. It holds one sequence, and serves
// one run at a time. The zero value is empty.
type Memory struct {
	// Reused is how many tokens of the last prompt were not read again.
	Reused int

	decoder   *Decoder
	tokens    []*tensor.Tensor // ids [1,t] or embeddings [1,t,D], of each run of the decoder
	positions []*tensor.Tensor // [1,t] or [3,1,t] of the same runs; nil where the graph takes none
	past      map[string]*tensor.Tensor
}

// Forget empties the memory.
func (m *Memory) Forget() {
	for _, t := range m.past {
		t.Release()
	}
	*m = Memory{}
}

// add notes what a run has read.
func (m *Memory) add(tokens, positions *tensor.Tensor) {
	m.tokens, m.positions = append(m.tokens, tokens), append(m.positions, positions)
}

// Recall has sequences that were just begun, and are one, go on from what m remembers of their beginning,
// and m note what they read. Keep follows, once they are done. Sequences whose decoder computes a token
// otherwise where others are read with it, such as one of dynamic 8 bits or one whose pictures see all
// of themselves, start from nothing, as do those of a decoder with parts that a cache does not hold, or
// with states, which know what was read last and not what was read before.
func (m *Memory) Recall(sequences Sequences) error {
	b, ok := sequences.(*batch)
	remembers := ok && len(b.start) == 1 && b.next != nil && b.next == b.first && b.branch == "" && !b.dependent() &&
		!b.seesMedia && !b.first.HasInput(graph.TokenTypeIDs) && len(b.kept) == 0 && len(b.states) == 0 &&
		len(b.Decoder.constants) == 0
	if !remembers {
		m.Forget()
		return nil
	}
	old := *m
	*m = Memory{decoder: b.Decoder}
	b.memory = m
	if old.decoder != b.Decoder || old.past == nil {
		old.Forget()
		return nil
	}
	every := map[string]*tensor.Tensor{}
	if err := b.addPositions(b.first, every, b.length); err != nil {
		return err
	}
	positions := every[graph.PositionIDs]
	if positions != nil {
		positions = castTo(b.first, positions)
	}
	// The logits of the last token are not remembered.
	n := min(old.common(b.tokens, positions), b.length-1)
	if n == 0 {
		old.Forget()
		return nil
	}
	for _, c := range b.caches {
		whole := old.past[c.past]
		part, err := graph.At(whole, 2, 0, n)
		if err != nil {
			return err
		}
		if part != whole {
			whole.Release()
		}
		b.past[c.past].Release()
		b.past[c.past] = part
	}
	begun, err := graph.At(b.tokens, 1, 0, n)
	if err != nil {
		return err
	}
	var at *tensor.Tensor
	if positions != nil {
		if at, err = graph.At(positions, positions.Rank()-1, 0, n); err != nil {
			return err
		}
	}
	m.add(begun, at)
	m.Reused = n
	if b.tokens, err = graph.At(b.tokens, 1, n, b.length); err != nil {
		return err
	}
	b.beside, err = between(b.beside, n, b.length)
	return err
}

// castTo gives positions the type that the graph takes.
func castTo(g *graph.Graph, positions *tensor.Tensor) *tensor.Tensor {
	for _, in := range g.Inputs() {
		if in.Name == graph.PositionIDs {
			return graph.Cast(positions, in.DType)
		}
	}
	return positions
}

// Keep takes the cache of sequences that are done; they can go on no more. It forgets where there is not
// one sequence, as after a search with beams.
func (m *Memory) Keep(sequences Sequences) {
	b, ok := sequences.(*batch)
	if !ok || b.memory != m {
		return
	}
	b.memory = nil
	m.past = b.past
	length := 0
	for _, t := range m.tokens {
		length += t.Dim(1)
	}
	for _, c := range b.caches {
		if t := m.past[c.past]; t == nil || t.Dim(0) != 1 || t.Dim(2) != length {
			reused := m.Reused
			m.Forget()
			m.Reused = reused
			return
		}
	}
}

// common returns how many tokens are those of the memory, at the same positions.
func (m *Memory) common(tokens, positions *tensor.Tensor) int {
	n := 0
	for i, known := range m.tokens {
		length := known.Dim(1)
		for j := range length {
			if n == tokens.Dim(1) || !sameAt(known, j, tokens, n, 1) {
				return n
			}
			if at := m.positions[i]; (at == nil) != (positions == nil) ||
				at != nil && !sameAt(at, j, positions, n, at.Rank()-1) {
				return n
			}
			n++
		}
	}
	return n
}

// sameAt reports whether a at index i of a dimension is b at index j.
func sameAt(a *tensor.Tensor, i int, b *tensor.Tensor, j, dimension int) bool {
	if a.DType() != b.DType() || a.Rank() != b.Rank() || dimension >= a.Rank() {
		return false
	}
	x, errA := graph.At(a, dimension, i, i+1)
	y, errB := graph.At(b, dimension, j, j+1)
	if errA != nil || errB != nil || !slices.Equal(x.Shape(), y.Shape()) {
		return false
	}
	if x.DType() == tensor.Int64 {
		return slices.Equal(tensor.Data[int64](x), tensor.Data[int64](y))
	}
	return slices.Equal(x.Float32s(), y.Float32s())
}
