// Package decode writes text with a decoder graph: its key/value cache, prefill and step, the
// search for a text (greedy, sampled, beams) under the parameters of transformers'
// GenerationConfig, and the scores of given texts. It knows ids and logits. Package family makes
// prompts, package tokenize turns ids into text.
package decode

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Decoder is a decoder graph with a key/value cache, and the graph that embeds its tokens. It is
// safe for concurrent use.
type Decoder struct {
	graph, embed *graph.Graph
	caches       []cache
	constants    []tensor.Spec  // inputs that stay the same over all steps
	outputs      []string       // names of the outputs of a run: logits and caches
	keep         *tensor.Tensor // 1, for the input graph.LogitsToKeep; nil without that input
	maxPositions int            // of prompt and text together
	seesMedia    bool           // whether it takes the masks of gated cross-attention
}

// cache is one tensor of the growing key/value cache, [B,heads,T,dim].
type cache struct {
	past, present string
	heads, dim    int
}

// maxCacheSide is far beyond the heads, and their width, of any model.
const maxCacheSide = 1 << 20

// Open opens the graphs of the roles decoder and embed_tokens, and checks that they have the
// inputs and outputs a decoder needs; errors about those wrap graph.ErrBundle.
func Open(o *graph.Opener) (*Decoder, error) {
	d := &Decoder{maxPositions: o.Bundle.Limits["max_positions"], outputs: []string{graph.Logits}}
	if d.maxPositions <= 0 {
		d.maxPositions = math.MaxInt // the model states no limit
	}
	var err error
	if d.embed, err = o.Open(graph.EmbedTokens); err != nil {
		return nil, err
	}
	if d.graph, err = o.Open(graph.Decoder); err != nil {
		return nil, err
	}
	if !d.graph.HasOutput(graph.Logits) {
		return nil, fmt.Errorf("%w: the decoder has no output %q", graph.ErrBundle, graph.Logits)
	}
	for _, in := range d.graph.Inputs() {
		if err := d.addInput(in); err != nil {
			return nil, err
		}
	}
	if len(d.caches) == 0 {
		return nil, fmt.Errorf("%w: the decoder has no cache inputs %s*",
			graph.ErrBundle, graph.PastPrefix)
	}
	return d, nil
}

// addInput records the purpose of an input of the decoder.
func (d *Decoder) addInput(in tensor.Spec) (err error) {
	layer, isPast := strings.CutPrefix(in.Name, graph.PastPrefix)
	switch {
	case in.Name == graph.InputsEmbeds || in.Name == graph.AttentionMask:
	case in.Name == graph.ImageAttentionMask || in.Name == graph.CrossAttentionGate:
		d.seesMedia = true
	case in.Name == graph.LogitsToKeep:
		if d.keep = tensor.Scalar[int64](1); len(in.Shape) == 1 {
			d.keep, err = d.keep.Reshape(1)
		}
	case isPast && !strings.Contains(layer, graph.CrossInfix):
		c := cache{past: in.Name, present: graph.PresentPrefix + layer}
		fixed := len(in.Shape) == 4 && min(in.Shape[1], in.Shape[3]) > 0
		if !fixed || max(in.Shape[1], in.Shape[3]) > maxCacheSide {
			return fmt.Errorf("%w: the decoder's cache input %v is not [batch,heads,length,dim] "+
				"with fixed heads and dim", graph.ErrBundle, in)
		}
		if !d.graph.HasOutput(c.present) {
			return fmt.Errorf("%w: the decoder takes %q but gives no %q",
				graph.ErrBundle, c.past, c.present)
		}
		c.heads, c.dim = in.Shape[1], in.Shape[3]
		d.caches = append(d.caches, c)
		d.outputs = append(d.outputs, c.present)
	default:
		d.constants = append(d.constants, in)
	}
	return err
}

// Embed returns the embeddings of texts' ids, [L,D] for each, and their width D. One run computes
// all of them. Without any id there is no run, and width is 0.
func (d *Decoder) Embed(
	ctx context.Context, texts ...[]int64,
) (embeds [][]float32, width int, err error) {
	longest := 0
	for _, ids := range texts {
		longest = max(longest, len(ids))
	}
	embeds = make([][]float32, len(texts))
	if longest == 0 {
		return embeds, 0, nil
	}
	padded := make([]int64, len(texts)*longest)
	for i, ids := range texts {
		copy(padded[i*longest:], ids)
	}
	all, err := d.embedTokens(ctx, padded, len(texts))
	if err != nil {
		return nil, 0, err
	}
	values, err := tensor.Values[float32](all)
	if err != nil {
		return nil, 0, err
	}
	width = all.Dim(2)
	for i, ids := range texts {
		embeds[i] = values[i*longest*width:][:len(ids)*width]
	}
	return embeds, width, nil
}

// embedTokens returns the embeddings [B,T,D] of ids, B rows of T.
func (d *Decoder) embedTokens(ctx context.Context, ids []int64, rows int) (*tensor.Tensor, error) {
	length := len(ids) / rows
	batch, err := tensor.New([]int{rows, length}, ids)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{graph.InputIDs: batch}
	return d.embed.RunOne(ctx, in, graph.InputsEmbeds, rows, length, -1)
}

// lastPosition takes [B,V] from logits [B,T,V].
func lastPosition(logits *tensor.Tensor) (*tensor.Tensor, error) {
	values, err := tensor.Values[float32](logits)
	if err != nil || logits.Rank() != 3 || logits.Dim(1) == 0 {
		return nil, fmt.Errorf(
			"%w: the decoder's logits are %v, not float32 [batch,length,vocabulary]",
			graph.ErrBundle, logits)
	}
	rows, length, vocabulary := logits.Dim(0), logits.Dim(1), logits.Dim(2)
	if length == 1 {
		return logits.Reshape(rows, vocabulary)
	}
	last := make([]float32, 0, rows*vocabulary)
	for r := range rows {
		at := (r*length + length - 1) * vocabulary
		last = append(last, values[at:at+vocabulary]...)
	}
	return tensor.New([]int{rows, vocabulary}, last)
}
