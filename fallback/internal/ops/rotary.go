package ops

import (
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// rotary turns pairs of a head's values by angles that grow with the position (Su and others,
// 2104.09864).
type rotary struct {
	cos, sin    []float32 // [positions,width/2]
	width       int       // values of a head that are turned; the rest stays
	interleaved bool      // pairs are neighbours, else half a width apart
}

// rotaryOf reads the caches [positions,width/2], or [batch,length,width/2] of one for each row.
func rotaryOf(cos, sin *tensor.Tensor, interleaved bool) (rotary, error) {
	if cos == nil || sin == nil || cos.Rank() < 2 || cos.DType() != tensor.Float32 ||
		sin.DType() != tensor.Float32 || !slices.Equal(cos.Shape(), sin.Shape()) {
		return rotary{}, graphErr("rotary embedding with cosines %v and sines %v", cos, sin)
	}
	return rotary{
		cos: tensor.Data[float32](cos), sin: tensor.Data[float32](sin),
		width: 2 * cos.Dim(cos.Rank()-1), interleaved: interleaved,
	}, nil
}

// positions is how many rows the caches have.
func (r *rotary) positions() int {
	if r.width == 0 {
		return 0
	}
	return len(r.cos) / (r.width / 2)
}

// turn sets dst to a head's values at a row of the caches. dst and src may be the same.
func (r *rotary) turn(dst, src []float32, row int) {
	half := r.width / 2
	cos, sin := r.cos[row*half:(row+1)*half], r.sin[row*half:(row+1)*half]
	if r.interleaved {
		for i, c := range cos {
			a, b := src[2*i], src[2*i+1]
			dst[2*i], dst[2*i+1] = a*c-b*sin[i], b*c+a*sin[i]
		}
	} else {
		for i, c := range cos {
			a, b := src[i], src[half+i]
			dst[i], dst[half+i] = a*c-b*sin[i], b*c+a*sin[i]
		}
	}
	copy(dst[r.width:], src[r.width:])
}

// rotaryOp builds RotaryEmbedding of the default domain (inputs X, cosines, sines, positions) and
// of com.microsoft (input, positions, cosines, sines), whose positions may be one to begin from.
// The input is [B,heads,T,width] or [B,T,heads*width].
func rotaryOp(n *Node) Kernel {
	interleaved, heads, width := n.int("interleaved", 0) != 0, n.int("num_heads", 0), n.int("rotary_embedding_dim", 0)
	cosAt, sinAt, positionsAt := 1, 2, 3
	if n.Domain != "" {
		cosAt, sinAt, positionsAt = 2, 3, 1
		if n.int("is_packed_batching", 0) != 0 {
			n.fail("attribute \"is_packed_batching\" is not supported")
		}
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		t := in[0]
		r, err := rotaryOf(in[cosAt], in[sinAt], interleaved)
		if err != nil {
			return err
		}
		if t.DType() != tensor.Float32 || t.Rank() != 3 && t.Rank() != 4 {
			return graphErr("rotary embedding of %v", t)
		}
		batch, length, count, size := t.Dim(0), t.Dim(1), heads, 0
		if t.Rank() == 4 {
			count, length, size = t.Dim(1), t.Dim(2), t.Dim(3)
		} else {
			if count == 0 && r.width > 0 && width == 0 {
				count = t.Dim(2) / r.width
			}
			if count <= 0 || t.Dim(2)%count != 0 {
				return graphErr("rotary embedding of %v in %d heads", t, count)
			}
			size = t.Dim(2) / count
		}
		if width > 0 && width != r.width || r.width > size || r.width == 0 {
			return graphErr("rotary embedding of %d of %d values with cosines %v", width, size, in[cosAt])
		}
		row, err := rotaryRows(input(in, positionsAt), in[cosAt], batch, length, r.positions())
		if err != nil {
			return err
		}
		result, dst, err := alloc[float32](x, t.Shape())
		if err != nil {
			return err
		}
		out[0] = result
		src := tensor.Data[float32](t)
		return x.Parallel(batch*length*count, max(1, minWork/(4*size+1)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				b, at := i/(count*length), i/count%length
				if t.Rank() == 4 {
					at = i % length
				}
				r.turn(dst[i*size:(i+1)*size], src[i*size:(i+1)*size], row(b, at))
			}
		})
	})
}

// rotaryRows returns which row of the caches belongs to a place: the positions say so, or without
// them the caches have a row for each place.
func rotaryRows(positions, cos *tensor.Tensor, batch, length, rows int) (func(b, at int) int, error) {
	if positions == nil {
		if cos.Rank() != 3 || cos.Dim(0) != batch || cos.Dim(1) != length {
			return nil, graphErr("rotary embedding of %d rows of %d without positions, with cosines %v",
				batch, length, cos)
		}
		return func(b, at int) int { return b*length + at }, nil
	}
	list, err := intsOf(positions)
	if err != nil {
		return nil, err
	}
	single := len(list) == 1 && positions.Rank() == 1
	if !single && len(list) != batch*length {
		return nil, graphErr("positions %v for %d rows of %d", positions, batch, length)
	}
	for _, p := range list {
		last := p
		if single {
			last += max(length-1, 0)
		}
		if p < 0 || last >= rows && batch*length > 0 {
			return nil, graphErr("position %d, and the cosines have %d", last, rows)
		}
	}
	if single {
		return func(_, at int) int { return list[0] + at }, nil
	}
	return func(b, at int) int { return list[b*length+at] }, nil
}
