package ops

import (
	"slices"
	"unsafe"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Queries, keys and values are three products of one input, and the keys and values of all layers of
// cross-attention many of one more. Where a product does not take its left operand as it is, what was
// made of it stays for the next one, until the run is done with the input.

// made is what was made of a left operand: one of *kernel.Left and *byteLeft.
type made struct {
	of      *tensor.Tensor
	scratch []*tensor.Tensor // that it lies in
	floats  *kernel.Left
	bytes   *byteLeft
}

// byteLeft is a left operand quantised by rows, with their steps.
type byteLeft struct {
	rows  *kernel.ByteRows
	steps []float32
	k     int
}

// mostMade bounds how many are kept, since not every input is forgotten: float32 made of another type
// for one operator is not a value of the graph.
const mostMade = 4

// keep keeps what was made of a left operand.
func (x *Context) keep(m made) {
	if len(x.made) == mostMade {
		x.drop(0)
	}
	for _, t := range m.scratch {
		x.memory.Hold(t)
	}
	x.made = append(x.made, m)
}

func (x *Context) drop(i int) {
	for _, t := range x.made[i].scratch {
		x.memory.Drop(t)
	}
	x.made = slices.Delete(x.made, i, i+1)
}

// Forget says that nothing needs t any more.
func (x *Context) Forget(t *tensor.Tensor) {
	for i := len(x.made) - 1; i >= 0; i-- {
		if x.made[i].of == t {
			x.drop(i)
		}
	}
}

// left returns a left operand [rows,K] in the form that m takes, nil where it takes it as it is.
func (x *Context) left(m *kernel.Matrix, a *tensor.Tensor, rows int) (*kernel.Left, error) {
	for _, k := range x.made {
		if k.of == a && k.floats != nil {
			if l := k.floats.For(m); l != nil {
				return l, nil
			}
		}
	}
	l, room, err := leftOf(x, m, tensor.Data[float32](a), rows)
	if l != nil && err == nil {
		x.keep(made{of: a, scratch: []*tensor.Tensor{room}, floats: l})
	}
	return l, err
}

// leftOf is left of an operand that only one product has, with what it lies in.
func leftOf(x *Context, m *kernel.Matrix, a []float32, rows int) (*kernel.Left, *tensor.Tensor, error) {
	n := m.LeftFloats(rows)
	if n == 0 {
		return nil, nil, nil
	}
	room, buf, err := alloc[float32](x, []int{n})
	if err != nil {
		return nil, nil, err
	}
	left := m.Left(buf, rows)
	return left, room, x.Parallel(rows, max(1, minWork/(m.K+1)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			left.Set(r, a[r*m.K:(r+1)*m.K])
		}
	})
}

// leftBytes returns a left operand [rows,K] of floats, quantised.
func (x *Context) leftBytes(m *kernel.ByteMatrix, a *tensor.Tensor, rows int) (*byteLeft, error) {
	for _, k := range x.made {
		if k.of == a && k.bytes != nil && k.bytes.k == m.K {
			return k.bytes, nil
		}
	}
	room, ints, err := alloc[int32](x, []int{m.RowInts(rows)})
	if err != nil {
		return nil, err
	}
	stepsIn, steps, err := alloc[float32](x, []int{rows})
	if err != nil {
		return nil, err
	}
	l, values := &byteLeft{m.Rows(ints, rows), steps, m.K}, tensor.Data[float32](a)
	err = x.ParallelScratch(rows, max(1, minWork/m.K), (m.K+3)/4, func(lo, hi int, scratch []float32) {
		small := unsafe.Slice((*uint8)(unsafe.Pointer(&scratch[0])), m.K)
		for r := lo; r < hi; r++ {
			steps[r] = l.rows.PackFloats(r, values[r*m.K:(r+1)*m.K], small)
		}
	})
	if err == nil {
		x.keep(made{of: a, scratch: []*tensor.Tensor{room, stepsIn}, bytes: l})
	}
	return l, err
}
