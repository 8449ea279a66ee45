package ops

import (
	"sync"

	"github.com/crossattn/xpipe/tensor"
)

// A decoder's cache grows by a row each step: present = Concat(past, new) along
// the rows of [B,H,T,D]. As an ordinary tensor it would be copied whole each time.
// Append instead keeps it in memory with room behind every [T,D] block and
// writes the new rows there, as Go's append does with a slice: where the room
// behind a past was taken by another run, or there is none, it copies to a
// larger place first. A tensor never sees rows behind its own, so pasts stay as
// they were.

// grown is the memory of a tensor [B,H,rows,D] made by Append: it implements
// tensor.Storage.
type grown struct {
	*growing
	rows int
}

// growing is what the tensors that grew out of each other share.
type growing struct {
	data     []float32 // blocks*capacity*width
	blocks   int       // B*H
	capacity int       // rows a block has room for
	width    int       // D

	mu    sync.Mutex
	taken int // rows that some tensor has
}

// Load implements tensor.Storage.
func (g grown) Load() any {
	dst := make([]float32, 0, g.blocks*g.rows*g.width)
	for b := range g.blocks {
		dst = append(dst, g.block(b, g.rows)...)
	}
	return dst
}

// Release implements tensor.Storage; the garbage collector does the rest.
func (grown) Release() {}

// block returns the first rows of a block.
func (g *growing) block(b, rows int) []float32 {
	at := b * g.capacity * g.width
	return g.data[at : at+rows*g.width]
}

// take reserves n rows behind the first `rows` for one caller.
func (g *growing) take(rows, n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken != rows || g.capacity-rows < n {
		return false
	}
	g.taken += n
	return true
}

// growRoom returns the rows to make room for where rows are needed now.
func growRoom(rows int) int { return rows + max(rows/2, 32) }

// buildAppend is Concat of a past and new rows, [B,H,P,D] and [B,H,N,D]; tensors
// of another rank or type are joined along the axis as Concat does.
func buildAppend(n *Node) Kernel {
	at := n.int("axis", 2)
	return func(x *Context, in, out []*tensor.Tensor) error {
		past, added := in[0], in[1]
		if past.DType() != tensor.Float32 || past.Rank() != 4 || added.DType() != tensor.Float32 || added.Rank() != 4 {
			var err error
			out[0], err = concat(x, in, at)
			return err
		}
		s, n := past.Shape(), added.Shape()
		if s[0] != n[0] || s[1] != n[1] || s[3] != n[3] {
			return graphErr("Concat of %v and %v along axis 2", past, added)
		}
		shape := []int{s[0], s[1], s[2] + n[2], s[3]}
		if _, err := checkShape(shape); err != nil {
			return err
		}
		g, ok := past.Storage().(grown)
		if !ok || !g.take(s[2], n[2]) {
			var err error
			if g, err = moved(past, shape); err != nil {
				return err
			}
		}
		values := tensor.Data[float32](added)
		size := n[2] * s[3]
		for b := range g.blocks {
			copy(g.block(b, shape[2])[s[2]*s[3]:], values[b*size:(b+1)*size])
		}
		var err error
		out[0], err = tensor.NewStored(tensor.Float32, shape, grown{g.growing, shape[2]})
		return err
	}
}

// moved copies past to memory with room to grow to the shape and beyond, whose
// rows are taken.
func moved(past *tensor.Tensor, shape []int) (grown, error) {
	room := []int{shape[0], shape[1], growRoom(shape[2]), shape[3]}
	n, err := checkShape(room)
	if err != nil { // no room beyond what is needed
		room[2] = shape[2]
		if n, err = checkShape(room); err != nil {
			return grown{}, err
		}
	}
	to := &growing{data: make([]float32, n), blocks: shape[0] * shape[1], capacity: room[2], width: shape[3], taken: shape[2]}
	rows := past.Dim(2)
	if from, ok := past.Storage().(grown); ok {
		for b := range to.blocks {
			copy(to.block(b, rows), from.block(b, rows))
		}
		return grown{to, rows}, nil
	}
	values := tensor.Data[float32](past)
	size := rows * to.width
	for b := range to.blocks {
		copy(to.block(b, rows), values[b*size:(b+1)*size])
	}
	return grown{to, rows}, nil
}
