package attend

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// StageOf joins maps of layers to a stage: rows row0.. of each, columns col0..,
// of the first in a batch.
func StageOf(name string, layers []Layer, row0, rows, col0, cols int) (Stage, error) {
	s := Stage{Name: name, Layers: len(layers)}
	if len(layers) == 0 {
		return s, fmt.Errorf("%w: no attention found for %s", graph.ErrUnsupported, name)
	}
	s.Heads = layers[0].Dim(1)
	var all []float32
	for _, m := range layers {
		if m.Dim(0) < 1 || m.Dim(1) != s.Heads || m.Dim(2) < row0+rows || m.Dim(3) < col0+cols {
			return s, fmt.Errorf("%w: attention %s is %v; %d heads, %d rows and %d columns are needed", graph.ErrBundle, m.output, m.Tensor, s.Heads, row0+rows, col0+cols)
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

// StageOfPlaces makes a stage of what is no attention: one map, which is its own
// rollout.
func StageOfPlaces(name string, rows, cols int, values []float32) (s Stage, err error) {
	s = Stage{Name: name, Layers: 1, Heads: 1}
	if s.Maps, err = tensor.New([]int{1, 1, rows, cols}, values); err == nil {
		s.Rollout, err = tensor.New([]int{rows, cols}, values)
	}
	return s, err
}

// StepsOf makes a stage of a decoder's runs: the last row of each, which chose a
// token, and columns col0...
func StepsOf(name string, runs []Run, kind Kind, tokens, col0, cols int) (Stage, error) {
	s := Stage{Name: name}
	var maps []float32 // [tokens,layers,heads,columns]
	for t := range tokens {
		layers := runs[t].Kind(kind)
		if len(layers) == 0 {
			return s, fmt.Errorf("%w: no attention found for %s", graph.ErrUnsupported, name)
		}
		one, err := StageOf(name, layers, layers[0].Dim(2)-1, 1, col0, cols)
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

// MeanOf is a layer's map averaged over heads, [rows,columns].
func MeanOf(m Layer) (*tensor.Tensor, error) {
	first, err := tensor.New(m.Shape()[1:], tensor.Data[float32](m.Tensor)[:m.Len()/max(1, m.Dim(0))])
	if err != nil {
		return nil, err
	}
	return attention.MeanHeads(first)
}

// Flow follows attention and residual connections through layers (rollout, Abnar
// and Zuidema, 2005.00928; with several modalities in one matrix as in Chefer et
// al., 2103.15679): row i says of what, at the input, position i is made.
type Flow struct {
	ctx  context.Context
	n    int       // positions, sources that never change included
	rows []float32 // [n,n]
}

func NewFlow(ctx context.Context, n int) *Flow {
	f := &Flow{ctx: ctx, n: n, rows: make([]float32, n*n)}
	for i := range n {
		f.rows[i*n+i] = 1
	}
	return f
}

// Update is one map of a layer: positions to, to+1 ... read positions from, from+1
// ... by weights [rows,columns]. Rows for which skip is true read nothing.
type Update struct {
	To, From int
	Weights  *tensor.Tensor
	Skip     []bool
}

// Layer mixes half of what positions are with half of what they read, all from the
// state before: rows of 0.5*M + 0.5*I, scaled to sum to 1.
func (f *Flow) Layer(updates ...Update) error {
	next := append([]float32{}, f.rows...)
	for _, u := range updates {
		rows, cols := u.Weights.Dim(0), u.Weights.Dim(1)
		if u.To+rows > f.n || u.From+cols > f.n {
			return fmt.Errorf("%w: attention %v does not fit its %d positions", graph.ErrBundle, u.Weights, f.n)
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

// causal joins the runs of a decoder with a cache to its whole map of a layer:
// the first run has the prompt's rows, each later one a row more. [positions,columns],
// zeros behind a row's end where columns grow.
func causal(runs []Run, kind Kind, layer int) (*tensor.Tensor, error) {
	var means []*tensor.Tensor
	rows, cols := 0, 0
	for i := range runs {
		m, err := MeanOf(runs[i].Kind(kind)[layer])
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

// DecoderRollout is the rollout of a decoder's self-attention from the positions
// that chose tokens to the first columns of the prompt. The first run has the
// prompt's rows; row t of the result belongs to the last of its t-th run.
func DecoderRollout(ctx context.Context, runs []Run, tokens, columns int) (*tensor.Tensor, error) {
	if tokens == 0 {
		return tensor.Zeros(tensor.Float32, 0, columns)
	}
	runs = runs[:tokens]
	prompt := runs[0].Kind(SelfAttention)[0].Dim(2)
	f := NewFlow(ctx, prompt+tokens-1)
	for l := range runs[0].Kind(SelfAttention) {
		m, err := causal(runs, SelfAttention, l)
		if err == nil {
			err = f.Layer(Update{Weights: m})
		}
		if err != nil {
			return nil, err
		}
	}
	return f.Part(prompt-1, tokens, 0, columns)
}

// QueryRollout follows queries that attend to each other in every layer, and then,
// in the layers that have cross-attention, to n tokens of the picture. A map of
// cross-attention may cover more columns: the queries themselves, behind the
// picture's (Flamingo's resampler).
func QueryRollout(ctx context.Context, self, cross []Layer, queries, n int) (*tensor.Tensor, error) {
	// Where a text is read along, self-attention has its rows behind the queries.
	rows := queries
	if len(self) > 0 {
		rows = self[0].Dim(2)
	}
	f := NewFlow(ctx, n+rows)
	visit := func(m Layer, from int) error {
		mean, err := MeanOf(m)
		if err != nil {
			return err
		}
		return f.Layer(Update{To: n, From: from, Weights: mean})
	}
	frequency := max(1, (len(self)+len(cross)-1)/max(1, len(cross)))
	for l := range max(len(self), len(cross)) {
		if l < len(self) {
			if err := visit(self[l], n); err != nil {
				return nil, err
			}
		}
		if len(self) == 0 {
			if err := visit(cross[l], 0); err != nil {
				return nil, err
			}
		} else if l%frequency == 0 && l/frequency < len(cross) {
			if err := visit(cross[l/frequency], 0); err != nil {
				return nil, err
			}
		}
	}
	return f.Part(n, queries, 0, n)
}

// GatedRollout is the rollout of a decoder with gated cross-attention before some
// of its layers, from the positions that chose tokens to columns of the
// pictures' latents. Positions without a picture read none. The gates count as
// open: what they hold back is not attention's.
func GatedRollout(ctx context.Context, runs []Run, tokens, col0, columns int, before []int) (*tensor.Tensor, error) {
	if tokens == 0 {
		return tensor.Zeros(tensor.Float32, 0, columns)
	}
	runs = runs[:tokens]
	self, cross := runs[0].Kind(SelfAttention), runs[0].Kind(CrossAttention)
	if len(self) == 0 {
		return nil, nil
	}
	if len(before) != len(cross) { // at even distances
		before = nil
		for j := range cross {
			before = append(before, j*len(self)/len(cross))
		}
	}
	var skip []bool
	for _, r := range runs {
		for _, open := range tensor.Data[float32](r.In[graph.CrossAttentionGate]) {
			skip = append(skip, open == 0)
		}
	}
	sources, prompt := cross[0].Dim(3), self[0].Dim(2)
	f := NewFlow(ctx, sources+prompt+tokens-1)
	next := 0
	for l := range self {
		for ; next < len(before) && before[next] == l; next++ {
			m, err := causal(runs, CrossAttention, next)
			if err == nil {
				err = f.Layer(Update{To: sources, Weights: m, Skip: skip})
			}
			if err != nil {
				return nil, err
			}
		}
		m, err := causal(runs, SelfAttention, l)
		if err == nil {
			err = f.Layer(Update{To: sources, From: sources, Weights: m})
		}
		if err != nil {
			return nil, err
		}
	}
	return f.Part(sources+prompt-1, tokens, col0, columns)
}
