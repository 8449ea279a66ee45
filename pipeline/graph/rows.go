package graph

import (
	"fmt"
	"math"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Split returns each row of t [N,...] as a tensor [1,...]. Rows share memory with t; a single row
// is t itself.
func Split(t *tensor.Tensor) ([]*tensor.Tensor, error) {
	rows := make([]*tensor.Tensor, t.Dim(0))
	if len(rows) == 1 {
		rows[0] = t
		return rows, nil
	}
	for i := range rows {
		var err error
		if rows[i], err = t.Slice(i, i+1); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Stack joins float32 tensors [1,...] of one shape to [N,...]; a single tensor is returned
// unchanged. Shapes that differ give an error that wraps ErrBundle.
func Stack(rows []*tensor.Tensor) (*tensor.Tensor, error) {
	if len(rows) == 1 {
		return rows[0], nil
	}
	var values []float32
	for _, r := range rows {
		v, err := tensor.Values[float32](r)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(r.Shape(), rows[0].Shape()) {
			return nil, fmt.Errorf("%w: %v and %v do not stand in one batch", ErrBundle, rows[0], r)
		}
		values = append(values, v...)
	}
	shape := slices.Clone(rows[0].Shape())
	shape[0] = len(rows)
	return tensor.New(shape, values)
}

// At returns the part from..to-1 of one dimension of t. It copies what is not in one piece.
func At(t *tensor.Tensor, dimension, from, to int) (*tensor.Tensor, error) {
	if from == 0 && to == t.Dim(dimension) {
		return t, nil
	}
	shape := slices.Clone(t.Shape())
	outer, n := 1, shape[dimension]
	for _, d := range shape[:dimension] {
		outer *= d
	}
	flat, err := t.Reshape(append([]int{outer * n}, shape[dimension+1:]...)...)
	if err != nil {
		return nil, err
	}
	rows := make([]int, 0, outer*(to-from))
	for o := range outer {
		for i := from; i < to; i++ {
			rows = append(rows, o*n+i)
		}
	}
	if flat, err = flat.Take(rows); err != nil {
		return nil, err
	}
	shape[dimension] = to - from
	return flat.Reshape(shape...)
}

// Row returns row i of t [B,V]; it shares t's memory.
func Row(t *tensor.Tensor, i int) []float32 {
	v := t.Dim(1)
	return tensor.Data[float32](t)[i*v : (i+1)*v]
}

// Mask returns the mask [B,T] int64 of rows that are padded on the right: 1 in the first lengths[i]
// columns of row i, 0 in the others.
func Mask(lengths []int, columns int) (*tensor.Tensor, error) {
	mask := make([]int64, len(lengths)*columns)
	for i, n := range lengths {
		for j := range n {
			mask[i*columns+j] = 1
		}
	}
	return tensor.New([]int{len(lengths), columns}, mask)
}

// Normalized scales each row of t [...,E] to length 1, as torch's functional.normalize does: a
// row of zeros stays zeros. NaN gives an error that wraps ErrBundle.
func Normalized(t *tensor.Tensor) (*tensor.Tensor, error) {
	values, err := tensor.Values[float32](t)
	if err != nil {
		return nil, err
	}
	if err := CheckNumbers("the embeddings", values); err != nil {
		return nil, err
	}
	width := t.Dim(-1)
	out := make([]float32, len(values))
	for at := 0; at < len(values); at += width {
		row := values[at : at+width]
		scale := 1 / max(math.Sqrt(Dot(row, row)), 1e-12)
		for i, v := range row {
			out[at+i] = float32(float64(v) * scale)
		}
	}
	return tensor.New(t.Shape(), out)
}

// Dot is the scalar product, summed in float64.
func Dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// Argmax returns the index of the largest value, the first of equals.
func Argmax(values []float32) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}
