package attend

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Flow follows attention and residual connections through layers (rollout, Abnar and Zuidema,
// 2005.00928; with several modalities in one matrix as in Chefer et al., 2103.15679): row i says of
// what, at the input, position i is made.
type Flow struct {
	ctx  context.Context
	n    int       // positions, sources that never change included
	rows []float32 // [n,n]
}

// NewFlow starts with n positions that are made of themselves.
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

// Layer mixes half of what positions are with half of what they read, all from the state before:
// rows of 0.5*M + 0.5*I, scaled to sum to 1.
func (f *Flow) Layer(updates ...Update) error {
	next := append([]float32{}, f.rows...)
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

// Part is rows row0.. and columns col0.. of the Flow.
func (f *Flow) Part(row0, rows, col0, cols int) (*tensor.Tensor, error) {
	var out []float32
	for r := row0; r < row0+rows; r++ {
		out = append(out, f.rows[r*f.n+col0:][:cols]...)
	}
	return tensor.New([]int{rows, cols}, out)
}
