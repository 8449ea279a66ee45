package attend

import (
	"context"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// causal joins the runs of a decoder with a cache to a layer's whole map [positions,columns]: the
// first run has the prompt's rows, each later one a row more. Rows are filled up with zeros.
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

// DecoderRollout returns the rollout [tokens,columns] of a decoder's self-attention: row t says how
// much of the first columns of the prompt is in the position that chose token t. That is the last
// position of run t; the first run read the whole prompt.
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

// QueryRollout returns the rollout [queries,n] of queries that attend to each other in every layer,
// and then, in the layers that have cross-attention, to n tokens of the picture. A map of
// cross-attention may have more columns: the queries themselves, behind the picture's (Flamingo's
// resampler).
func QueryRollout(
	ctx context.Context, self, cross []Layer, queries, n int,
) (*tensor.Tensor, error) {
	// Where the queries read a text too, self-attention has its rows behind theirs.
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

// GatedRollout returns the rollout [tokens,columns] of a decoder with gated cross-attention
// (Flamingo): row t says how much of the pictures' latents, from col0 on, is in the position that
// chose token t. before lists the layers that have cross-attention before them. Positions without a
// picture read none. Gates are treated as fully open; their effect is not included.
func GatedRollout(
	ctx context.Context, runs []Run, tokens, col0, columns int, before []int,
) (*tensor.Tensor, error) {
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
