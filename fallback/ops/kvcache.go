package ops

import (
	"sync"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// A decoder's cache grows at every step: present = Concat(past, new) along the positions of
// [B,H,T,D]. As an ordinary tensor it would be copied whole each time. Append keeps it in memory
// with room behind the positions and writes the new ones there, as Go's append does with a slice.
//
// Each sequence of the batch has memory of its own, so that beam search can reorder the batch
// (tensor.Tensor.Take) without copying: the result refers to the same sequences. Where several
// beams continue one sequence, the first Append that gets there takes the room, and the others copy
// that sequence to room of their own. A tensor never reads positions behind its own, so pasts stay
// as they were.

// kvCache is the memory of a tensor [B,H,T,D] made by Append. It implements tensor.RowStorage.
type kvCache struct {
	sequences []*kvSequence // B of them; one may stand more than once
	heads     int           // H
	positions int           // T
	width     int           // D
	// halves says that the tensor is float16. The numbers are float32 all the same, each one that
	// float16 holds.
	halves bool
}

// kvSequence is the memory of one sequence, [H,capacity,D], shared by the caches that hold it or an
// earlier part of it.
type kvSequence struct {
	data     []float32
	capacity int // positions that each head has room for

	mu    sync.Mutex
	taken int // positions that some cache has
}

// Load implements tensor.Storage.
func (c *kvCache) Load() any {
	dst := make([]float32, 0, len(c.sequences)*c.heads*c.positions*c.width)
	for _, s := range c.sequences {
		for h := range c.heads {
			dst = append(dst, c.head(s, h)...)
		}
	}
	if !c.halves {
		return dst
	}
	rounded := make([]tensor.Half, len(dst))
	kernel.ToHalf(as[uint16](rounded), dst)
	return rounded
}

// as returns a tensor [B,H,T,D] of the cache's numbers, float16 or float32.
func (c *kvCache) as(halves bool) (*tensor.Tensor, error) {
	r := *c
	r.halves = halves
	dtype := tensor.Float32
	if halves {
		dtype = tensor.Float16
	}
	return tensor.NewStored(dtype, []int{len(c.sequences), c.heads, c.positions, c.width}, &r)
}

// round makes the positions from have on numbers that float16 holds.
func (c *kvCache) round(have int) {
	half := make([]uint16, (c.positions-have)*c.width)
	for _, s := range c.sequences {
		for h := range c.heads {
			rows := c.head(s, h)[have*c.width:]
			kernel.ToHalf(half, rows)
			kernel.FromHalf(rows, half)
		}
	}
}

// viaFloatCache is viaFloat for a kernel whose inputs 3 and 4 are caches, which grow to its outputs
// 1 and 2. Caches of float16 that grew before are not widened and rounded whole at each step.
func viaFloatCache(k Kernel) Kernel {
	plain, first := viaFloat(k), viaFloatFirst(k, 1)
	return func(x *Context, in, out []*tensor.Tensor) error {
		if !isHalf(in[0]) || !isHalf(in[3]) || !isHalf(in[4]) || in[3].Rank() != 4 || len(out) != 3 {
			return plain(x, in, out)
		}
		wide, have := append([]*tensor.Tensor{}, in...), in[3].Dim(2)
		for i := 3; i < 5; i++ {
			var err error
			if c := cacheOf(in[i]); c != nil {
				wide[i], err = c.as(false)
			} else {
				wide[i], err = widen(x, in[i])
			}
			if err != nil {
				return err
			}
		}
		if err := first(x, wide, out); err != nil {
			return err
		}
		for i := 1; i < 3; i++ {
			var err error
			if c := cacheOf(out[i]); c != nil {
				c.round(have)
				out[i], err = c.as(true)
			} else {
				out[i], err = narrow(x, out[i], tensor.Float16)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func isHalf(t *tensor.Tensor) bool { return t != nil && t.DType() == tensor.Float16 }

// Release implements tensor.Storage; the garbage collector does the rest.
func (*kvCache) Release() {}

// Rows implements tensor.RowStorage. It copies nothing.
func (c *kvCache) Rows(rows []int) (tensor.Storage, error) {
	r := *c
	r.sequences = make([]*kvSequence, len(rows))
	for i, row := range rows {
		r.sequences[i] = c.sequences[row]
	}
	return &r, nil
}

// cacheOf returns the cache that holds t, nil if none does in t's shape.
func cacheOf(t *tensor.Tensor) *kvCache {
	c, ok := t.Storage().(*kvCache)
	if !ok || t.Rank() != 4 || t.Dim(0) != len(c.sequences) || t.Dim(1) != c.heads ||
		t.Dim(2) != c.positions || t.Dim(3) != c.width {
		return nil
	}
	return c
}

// head returns c's positions of a head of a sequence.
func (c *kvCache) head(s *kvSequence, h int) []float32 {
	at := h * s.capacity * c.width
	return s.data[at : at+c.positions*c.width]
}

// take reserves n positions behind the first have for one caller.
func (s *kvSequence) take(have, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken != have || s.capacity-have < n {
		return false
	}
	s.taken += n
	return true
}

// leastRoom is the least room, in positions, that a sequence gets when it moves. A caption of BLIP
// or BLIP-2 has some 10 to 30 tokens, so most never move again.
const leastRoom = 32

// withRoom returns the positions to allocate for a sequence that has n now: half as many again. A
// position is then copied two to three times in all, however long the sequence grows, and at most a
// third of a long one's memory is unused.
func withRoom(n int) int { return n + max(n/2, leastRoom) }

// buildAppend is Concat of a past and new positions, [B,H,P,D] and [B,H,N,D]; tensors of another
// rank or type are joined along the axis as Concat does.
func buildAppend(n *Node) Kernel {
	at := n.int("axis", 2)
	return func(x *Context, in, out []*tensor.Tensor) (err error) {
		past, added := in[0], in[1]
		if past.DType() != tensor.Float32 || past.Rank() != 4 ||
			added.DType() != tensor.Float32 || added.Rank() != 4 {
			out[0], err = concat(x, in, at)
			return err
		}
		p, n := past.Shape(), added.Shape()
		if p[0] != n[0] || p[1] != n[1] || p[3] != n[3] {
			return graphErr("Concat of %v and %v along axis 2", past, added)
		}
		shape := []int{p[0], p[1], p[2] + n[2], p[3]}
		if _, err := checkShape(shape); err != nil {
			return err
		}
		c := &kvCache{heads: shape[1], positions: shape[2], width: shape[3]}
		if err := c.grow(past); err != nil {
			return err
		}
		values, size := tensor.Data[float32](added), n[2]*n[3]
		for _, s := range c.sequences {
			for h := range c.heads {
				copy(c.head(s, h)[p[2]*p[3]:], values[:size])
				values = values[size:]
			}
		}
		out[0], err = tensor.NewStored(tensor.Float32, shape, c)
		return err
	}
}

// grow gives c the sequences of past, with room for c's positions that nobody else takes: in place
// if there is such room, else as copies.
func (c *kvCache) grow(past *tensor.Tensor) error {
	have := past.Dim(2)
	old := cacheOf(past)
	var values []float32 // of a past that is no cache
	if old == nil {
		values = tensor.Data[float32](past)
	}
	for b := range past.Dim(0) {
		if old != nil && old.sequences[b].take(have, c.positions-have) {
			c.sequences = append(c.sequences, old.sequences[b])
			continue
		}
		s, err := newSequence(c.heads, c.positions, c.width)
		if err != nil {
			return err
		}
		for h := range c.heads {
			if old != nil {
				copy(c.head(s, h), old.head(old.sequences[b], h))
			} else {
				size := have * c.width
				copy(c.head(s, h), values[(b*c.heads+h)*size:][:size])
			}
		}
		c.sequences = append(c.sequences, s)
	}
	return nil
}

// newSequence allocates a sequence whose positions are taken, and room for more.
func newSequence(heads, positions, width int) (*kvSequence, error) {
	capacity := withRoom(positions)
	n, err := checkShape([]int{heads, capacity, width})
	if err != nil { // no room beyond what is needed
		capacity = positions
		if n, err = checkShape([]int{heads, capacity, width}); err != nil {
			return nil, err
		}
	}
	return &kvSequence{data: make([]float32, n), capacity: capacity, taken: positions}, nil
}

// buildTensorScatter writes rows into a cache of fixed size, from a place on for each row of the
// batch; "circular" goes on at the beginning.
func buildTensorScatter(n *Node) Kernel {
	at, mode := n.int("axis", -2), n.str("mode", "linear")
	n.oneOf("mode", mode, "linear", "circular")
	return func(x *Context, in, out []*tensor.Tensor) error {
		past, update, starts := in[0], in[1], input(in, 2)
		a, err := axis(at, past.Rank())
		if err != nil {
			return err
		}
		if a == 0 || past.DType() != update.DType() || past.Rank() != update.Rank() {
			return graphErr("TensorScatter of %v into %v along axis %d", update, past, at)
		}
		for i, d := range past.Shape() {
			if i != a && update.Dim(i) != d {
				return graphErr("TensorScatter of %v into %v along axis %d", update, past, at)
			}
		}
		first := make([]int, past.Dim(0))
		if starts != nil {
			if first, err = intsOf(starts); err != nil || len(first) != past.Dim(0) {
				return graphErr("TensorScatter from %v, of %v", starts, past)
			}
		}
		length, rows := past.Dim(a), update.Dim(a)
		for _, f := range first {
			if f < 0 || mode == "linear" && f+rows > length || rows > length {
				return graphErr("TensorScatter of %d rows from %d on into %d", rows, f, length)
			}
		}
		r, err := x.Alloc(past.DType(), past.Shape())
		if err != nil {
			return err
		}
		out[0] = r
		dst, src := raw(r), raw(update)
		copy(dst, raw(past))
		if len(src) == 0 {
			return nil
		}
		chunk := prod(past.Shape()[a+1:]) * past.DType().Size()
		between := prod(past.Shape()[1:a])
		for i := range len(src) / chunk {
			outer, row := i/rows, i%rows
			to := (first[outer/between] + row) % length
			copy(dst[(outer*length+to)*chunk:], src[i*chunk:(i+1)*chunk])
		}
		return nil
	}
}
