package pipeline

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// stageOf joins maps of layers to a stage: rows row0.. of each, columns col0..,
// of the first in a batch.
func stageOf(name string, layers []attentionMap, row0, rows, col0, cols int) (AttentionStage, error) {
	s := AttentionStage{Name: name, Layers: len(layers)}
	if len(layers) == 0 {
		return s, fmt.Errorf("%w: no attention found for %s", ErrUnsupported, name)
	}
	s.Heads = layers[0].Dim(1)
	var all []float32
	for _, m := range layers {
		if m.Dim(0) < 1 || m.Dim(1) != s.Heads || m.Dim(2) < row0+rows || m.Dim(3) < col0+cols {
			return s, fmt.Errorf("%w: attention %s is %v; %d heads, %d rows and %d columns are needed", ErrBundle, m.output, m.Tensor, s.Heads, row0+rows, col0+cols)
		}
		v := tensor.Data[float32](m.Tensor)
		for h := range s.Heads {
			for r := row0; r < row0+rows; r++ {
				at := (h*m.Dim(2)+r)*m.Dim(3) + col0
				all = append(all, v[at:at+cols]...)
			}
		}
	}
	var err error
	s.Maps, err = tensor.New([]int{s.Layers, s.Heads, rows, cols}, all)
	return s, err
}

// stageOfPlaces makes a stage of what is no attention: one map, which is its own
// rollout.
func stageOfPlaces(name string, rows, cols int, values []float32) (s AttentionStage, err error) {
	s = AttentionStage{Name: name, Layers: 1, Heads: 1}
	if s.Maps, err = tensor.New([]int{1, 1, rows, cols}, values); err == nil {
		s.Rollout, err = tensor.New([]int{rows, cols}, values)
	}
	return s, err
}

// stepsOf makes a stage of a decoder's runs: the last row of each, which chose a
// token, and columns col0...
func stepsOf(name string, runs []watchedRun, kind attentionKind, tokens, col0, cols int) (AttentionStage, error) {
	s := AttentionStage{Name: name}
	var maps []float32 // [tokens,layers,heads,columns]
	for t := range tokens {
		layers := runs[t].kind(kind)
		if len(layers) == 0 {
			return s, fmt.Errorf("%w: no attention found for %s", ErrUnsupported, name)
		}
		one, err := stageOf(name, layers, layers[0].Dim(2)-1, 1, col0, cols)
		if err != nil {
			return s, err
		}
		s.Layers, s.Heads = one.Layers, one.Heads
		maps = append(maps, tensor.Data[float32](one.Maps)...)
	}
	planes := s.Layers * s.Heads
	all := make([]float32, len(maps))
	for t := range tokens {
		for p := range planes {
			copy(all[(p*tokens+t)*cols:(p*tokens+t+1)*cols], maps[(t*planes+p)*cols:])
		}
	}
	var err error
	s.Maps, err = tensor.New([]int{s.Layers, s.Heads, tokens, cols}, all)
	return s, err
}

// meanOf is a layer's map averaged over heads, [rows,columns].
func meanOf(m attentionMap) (*tensor.Tensor, error) {
	first, err := tensor.New(m.Shape()[1:], tensor.Data[float32](m.Tensor)[:m.Len()/max(1, m.Dim(0))])
	if err != nil {
		return nil, err
	}
	return attention.MeanHeads(first)
}

// flow follows attention and residual connections through layers (rollout, Abnar
// and Zuidema, 2005.00928; with several modalities in one matrix as in Chefer et
// al., 2103.15679): row i says of what, at the input, position i is made.
type flow struct {
	ctx  context.Context
	n    int       // positions, sources that never change included
	rows []float32 // [n,n]
}

func newFlow(ctx context.Context, n int) *flow {
	f := &flow{ctx: ctx, n: n, rows: make([]float32, n*n)}
	for i := range n {
		f.rows[i*n+i] = 1
	}
	return f
}

// update is one map of a layer: positions to, to+1 ... read positions from, from+1
// ... by weights [rows,columns]. Rows for which skip is true read nothing.
type update struct {
	to, from int
	weights  *tensor.Tensor
	skip     []bool
}

// layer mixes half of what positions are with half of what they read, all from the
// state before: rows of 0.5*M + 0.5*I, scaled to sum to 1.
func (f *flow) layer(updates ...update) error {
	next := append([]float32{}, f.rows...)
	for _, u := range updates {
		rows, cols := u.weights.Dim(0), u.weights.Dim(1)
		if u.to+rows > f.n || u.from+cols > f.n {
			return fmt.Errorf("%w: attention %v does not fit its %d positions", ErrBundle, u.weights, f.n)
		}
		w := tensor.Data[float32](u.weights)
		for r := range rows {
			if err := f.ctx.Err(); err != nil {
				return err
			}
			row := w[r*cols : (r+1)*cols]
			sum := kernel.Sum(row)
			if u.skip != nil && u.skip[r] || !(sum > 0) {
				continue
			}
			to := next[(u.to+r)*f.n : (u.to+r+1)*f.n]
			clear(to)
			kernel.Combine(to, row, f.rows[u.from*f.n:], f.n)
			kernel.Axpy(to, f.rows[(u.to+r)*f.n:(u.to+r+1)*f.n], 1)
			kernel.Scale(to, to, 1/(1+sum))
		}
	}
	f.rows = next
	return nil
}

// part is rows row0.. and columns col0.. of the flow.
func (f *flow) part(row0, rows, col0, cols int) (*tensor.Tensor, error) {
	var out []float32
	for r := row0; r < row0+rows; r++ {
		out = append(out, f.rows[r*f.n+col0:][:cols]...)
	}
	return tensor.New([]int{rows, cols}, out)
}

// causal joins the runs of a decoder with a cache to its whole map of a layer:
// the first run has the prompt's rows, each later one a row more. [positions,columns],
// zeros behind a row's end where columns grow.
func causal(runs []watchedRun, kind attentionKind, layer int) (*tensor.Tensor, error) {
	var means []*tensor.Tensor
	rows, cols := 0, 0
	for i := range runs {
		m, err := meanOf(runs[i].kind(kind)[layer])
		if err != nil {
			return nil, err
		}
		rows, cols = rows+m.Dim(0), max(cols, m.Dim(1))
		means = append(means, m)
	}
	all := make([]float32, 0, rows*cols)
	for _, m := range means {
		w := m.Dim(1)
		for r := range m.Dim(0) {
			all = append(all, tensor.Data[float32](m)[r*w:(r+1)*w]...)
			all = append(all, make([]float32, cols-w)...)
		}
	}
	return tensor.New([]int{rows, cols}, all)
}
