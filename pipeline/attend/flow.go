package attend

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Flow computes attention rollout (Abnar and Zuidema, 2005.00928). It keeps a square matrix: row i
// holds how much of each input position is in position i after the layers so far. Text and picture
// share one matrix, as in Chefer et al. (2103.15679).
type Flow struct {
	ctx  context.Context
	n    int       // positions, sources that never change included
	rows []float32 // [n,n]
}

// NewFlow starts with n positions, each made of itself alone. ctx ends the work of Layer.
func NewFlow(ctx context.Context, n int) *Flow {
	f := &Flow{ctx: ctx, n: n, rows: make([]float32, n*n)}
	for i := range n {
		f.rows[i*n+i] = 1
	}
	return f
}

// Update is one map of a layer: positions To, To+1 ... read positions From, From+1 ... by Weights
// [rows,columns]. Rows for which Skip is true read nothing.
type Update struct {
	To, From int
	Weights  *tensor.Tensor
	Skip     []bool
}

// Layer adds a layer with some maps M of attention: it multiplies the matrix by 0.5*M + 0.5*I, the
// rows of M scaled to a sum of 1, so that each position is half itself and half what it reads. All
// maps of a layer read the state before it. Maps that do not fit the positions give an error that
// wraps graph.ErrBundle.
func (f *Flow) Layer(updates ...Update) error {
	next := slices.Clone(f.rows)
	for _, u := range updates {
		rows, cols := u.Weights.Dim(0), u.Weights.Dim(1)
		if u.To+rows > f.n || u.From+cols > f.n {
			return fmt.Errorf("%w: attention %v does not fit its %d positions",
				graph.ErrBundle, u.Weights, f.n)
		}
		w := tensor.Data[float32](u.Weights)
		for r := range rows {
			if err := f.ctx.Err(); err != nil {
				return err
			}
			row := w[r*cols : (r+1)*cols]
			sum := kernel.Sum(row)
			if u.Skip != nil && u.Skip[r] || !(sum > 0) {
				continue
			}
			to := next[(u.To+r)*f.n : (u.To+r+1)*f.n]
			clear(to)
			kernel.Combine(to, row, f.rows[u.From*f.n:], f.n)
			kernel.Axpy(to, f.rows[(u.To+r)*f.n:(u.To+r+1)*f.n], 1)
			kernel.Scale(to, to, 1/(1+sum))
		}
	}
	f.rows = next
	return nil
}

// Part returns the rows from row0 on and the columns from col0 on: [rows,cols].
func (f *Flow) Part(row0, rows, col0, cols int) (*tensor.Tensor, error) {
	var out []float32
	for r := row0; r < row0+rows; r++ {
		out = append(out, f.rows[r*f.n+col0:][:cols]...)
	}
	return tensor.New([]int{rows, cols}, out)
}
