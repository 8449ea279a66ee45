package ops

import (
	"sync"
	"unsafe"

	"github.com/crossattn/xpipe/internal/kernel"
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

// A cache of float16 is kept as it is; attention widens a piece of it at a time (kernel.Rows).

// cells are elements of float32 or of float16: one of the two is nil.
type cells struct {
	single []float32
	half   []tensor.Half
}

func isCacheType(d tensor.DType) bool { return d == tensor.Float32 || d == tensor.Float16 }

// cacheInputs refuses caches of other types; nil stands for one that is left out.
func cacheInputs(op string, in []*tensor.Tensor) error {
	for _, t := range in {
		if t != nil && !isCacheType(t.DType()) {
			return typeErr(op, t)
		}
	}
	return nil
}

// cellsOf returns the elements of a tensor of float32 or float16.
func cellsOf(t *tensor.Tensor) cells {
	if t.DType() == tensor.Float16 {
		return cells{half: tensor.Data[tensor.Half](t)}
	}
	return cells{single: tensor.Data[float32](t)}
}

// makeCells allocates n elements, which are not set.
func makeCells(d tensor.DType, n int) cells {
	words := Uncleared(max(1, (n*d.Size()+7)/8))
	if d == tensor.Float16 {
		return cells{half: unsafe.Slice((*tensor.Half)(unsafe.Pointer(&words[0])), n)}
	}
	return cells{single: unsafe.Slice((*float32)(unsafe.Pointer(&words[0])), n)}
}

// clear sets all elements to 0.
func (c cells) clear() {
	clear(c.single)
	clear(c.half)
}

// part returns the n elements from at on.
func (c cells) part(at, n int) cells {
	if c.half != nil {
		return cells{half: c.half[at : at+n]}
	}
	return cells{single: c.single[at : at+n]}
}

// rows returns the elements from at on as rows.
func (c cells) rows(at, pitch int) kernel.Rows {
	if c.half != nil {
		return kernel.Rows{Half: as[uint16](c.half[at:]), Stride: pitch}
	}
	return kernel.Rows{Data: c.single[at:], Stride: pitch}
}

// set copies src to c, whose type it gets.
func (c cells) set(src cells) {
	switch {
	case c.half != nil && src.half != nil:
		copy(c.half, src.half)
	case c.half != nil:
		kernel.ToHalf(as[uint16](c.half), src.single)
	case src.half != nil:
		kernel.FromHalf(c.single, as[uint16](src.half))
	default:
		copy(c.single, src.single)
	}
}

// kvCache is the memory of a tensor [B,H,T,D] made by Append. It implements tensor.RowStorage.
type kvCache struct {
	dtype     tensor.DType  // Float32 or Float16
	sequences []*kvSequence // B of them; one may stand more than once
	heads     int           // H
	positions int           // T
	width     int           // D
}

// kvSequence is the memory of one sequence, [H,capacity,D], shared by the caches that hold it or an
// earlier part of it.
type kvSequence struct {
	data     cells
	capacity int // positions that each head has room for

	mu    sync.Mutex
	taken int // positions that some cache has
}

// Load implements tensor.Storage.
func (c *kvCache) Load() any {
	size := c.positions * c.width
	dst := makeCells(c.dtype, len(c.sequences)*c.heads*size)
	for i, s := range c.sequences {
		for h := range c.heads {
			dst.part((i*c.heads+h)*size, size).set(c.head(s, h))
		}
	}
	if c.dtype == tensor.Float16 {
		return dst.half
	}
	return dst.single
}

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

// JoinAligned implements tensor.AlignedStorage, along the positions. Sequences of the longest cache
// stay where they are; those of shorter ones move, behind zeros.
func (c *kvCache) JoinAligned(axis int, parts []*tensor.Tensor) (tensor.Storage, bool) {
	joined := *c
	joined.sequences = nil
	for _, t := range parts {
		p := cacheOf(t)
		if p == nil || axis != 2 || p.dtype != c.dtype || p.heads != c.heads || p.width != c.width {
			return nil, false
		}
		joined.positions = max(joined.positions, p.positions)
	}
	for _, t := range parts {
		p := cacheOf(t)
		if p.positions == joined.positions {
			joined.sequences = append(joined.sequences, p.sequences...)
			continue
		}
		moved := map[*kvSequence]*kvSequence{} // beams may stand more than once
		for _, old := range p.sequences {
			if moved[old] == nil {
				s, err := joined.newSequence(true)
				if err != nil {
					return nil, false
				}
				before := joined.positions - p.positions
				for h := range p.heads {
					joined.head(s, h).part(0, before*p.width).clear()
					joined.head(s, h).part(before*p.width, p.positions*p.width).set(p.head(old, h))
				}
				moved[old] = s
			}
			joined.sequences = append(joined.sequences, moved[old])
		}
	}
	return &joined, true
}

// cacheOf returns the cache that holds t, nil if none does in t's shape.
func cacheOf(t *tensor.Tensor) *kvCache {
	c, ok := t.Storage().(*kvCache)
	if !ok || t.DType() != c.dtype || t.Rank() != 4 || t.Dim(0) != len(c.sequences) || t.Dim(1) != c.heads ||
		t.Dim(2) != c.positions || t.Dim(3) != c.width {
		return nil
	}
	return c
}

// head returns c's positions of a head of a sequence.
func (c *kvCache) head(s *kvSequence, h int) cells {
	return s.data.part(h*s.capacity*c.width, c.positions*c.width)
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
		if !isCacheType(past.DType()) || past.Rank() != 4 ||
			added.DType() != past.DType() || added.Rank() != 4 {
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
		c := &kvCache{dtype: past.DType(), heads: shape[1], positions: shape[2], width: shape[3]}
		if err := c.grow(past, x.Parallel); err != nil {
			return err
		}
		values, size := cellsOf(added), n[2]*n[3]
		for i, s := range c.sequences {
			for h := range c.heads {
				c.head(s, h).part(p[2]*p[3], size).set(values.part((i*c.heads+h)*size, size))
			}
		}
		out[0], err = tensor.NewStored(c.dtype, shape, c)
		return err
	}
}

// grow gives c the sequences of past, with room for c's positions that nobody else takes: in place
// if there is such room, else as copies, which cores share.
func (c *kvCache) grow(past *tensor.Tensor, share func(n, grain int, f func(lo, hi int)) error) error {
	have := past.Dim(2)
	old := cacheOf(past)
	var values cells // of a past that is no cache
	if old == nil {
		values = cellsOf(past)
	}
	for b := range past.Dim(0) {
		if old != nil && old.sequences[b].take(have, c.positions-have) {
			c.sequences = append(c.sequences, old.sequences[b])
			continue
		}
		// Who brings the past in memory of its own may do so at each step: no room for many.
		s, err := c.newSequence(old != nil || have == 0)
		if err != nil {
			return err
		}
		size := have * c.width
		if err := share(c.heads, max(1, minWork/(size+1)), func(lo, hi int) {
			for h := lo; h < hi; h++ {
				if old != nil {
					c.head(s, h).set(old.head(old.sequences[b], h))
				} else {
					c.head(s, h).set(values.part((b*c.heads+h)*size, size))
				}
			}
		}); err != nil {
			return err
		}
		c.sequences = append(c.sequences, s)
	}
	return nil
}

// newSequence allocates a sequence whose positions are taken, and room for a few more or for many.
func (c *kvCache) newSequence(many bool) (*kvSequence, error) {
	capacity := c.positions + leastRoom
	if many {
		capacity = withRoom(c.positions)
	}
	n, err := checkShape([]int{c.heads, capacity, c.width})
	if err != nil { // no room beyond what is needed
		capacity = c.positions
		if n, err = checkShape([]int{c.heads, capacity, c.width}); err != nil {
			return nil, err
		}
	}
	return &kvSequence{data: makeCells(c.dtype, n), capacity: capacity, taken: c.positions}, nil
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
