// Package decode writes text with a decoder graph: its key/value cache, prefill and step, the
// search for a text (greedy, sampled, beams) under the parameters of transformers'
// GenerationConfig, and the scores of given texts. It knows ids and logits. Package family makes
// prompts, package tokenize turns ids into text.
package decode

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Decoder is a decoder graph with a key/value cache, and the graph that embeds its tokens where the
// decoder does not do so itself. It is safe for concurrent use.
//
// What it runs is decided by the inputs and outputs that the graphs declare. One file may serve all
// steps, whether or not it has a branch for the first one inside (optimum's decoder_model_merged,
// with an If on an input of type bool). There may be two, for the first step and for later ones
// (decoder_model and decoder_with_past_model), or one without a cache, which reads all tokens again
// at each step. The keys and values of cross-attention may come from a graph before the decoder, or
// from its own first step, or be made of the encoder's states at every step.
type Decoder struct {
	first, next  *graph.Graph   // of the first step and of later ones; next is nil without a cache
	embed        *graph.Graph   // nil where the decoder takes ids
	head         *graph.Graph   // makes logits of the output states; nil where the decoder gives them
	headStates   string         // the head's input and the decoder's output
	caches       []cache        // of self-attention, growing
	kept         []cache        // of cross-attention, made by the first step
	states       []state        // of layers without attention
	constants    []tensor.Spec  // inputs that stay the same over all steps
	blank        atomic.Bool    // whether embed fails without a picture, and is given a black one
	beside       []string       // inputs that embed gives beside embeddings, such as those of each layer
	branch       string         // the input that says whether there is a cache; "": there is none
	keep         *tensor.Tensor // 1, for the input graph.LogitsToKeep; nil without that input
	maxPositions int            // of prompt and text together
	seesMedia    bool           // whether it takes the masks of gated cross-attention
	pads         bool           // whether prompts of different lengths may share a batch
	stepwise     bool           // whether it takes one token at a time, the prompt's too
	dependent    func() bool    // whether what it computes of a token depends on those read with it
}

// cache is one tensor of the key/value cache, [B,heads,T,dim]. heads and dim are -1 where neither
// the graph nor config.json says them.
type cache struct {
	past, present string
	dtype         tensor.DType
	heads, dim    int
}

// empty returns the cache before the first step.
func (c *cache) empty(rows int) (*tensor.Tensor, error) {
	return tensor.Zeros(c.dtype, rows, max(c.heads, 0), 0, max(c.dim, 0))
}

// maxCacheSide is far beyond the heads, and their width, of any model.
const maxCacheSide = 1 << 20

// Open opens the graph of the role decoder, or model in a bundle without one, or those of
// decoder_model and decoder_with_past_model, and embed_tokens for a decoder that takes embeddings. It
// checks that they have the inputs and outputs a decoder needs; errors about those wrap
// graph.ErrBundle.
func Open(o *graph.Opener) (*Decoder, error) {
	d := &Decoder{maxPositions: o.Bundle.Limits["max_positions"]}
	if d.maxPositions <= 0 {
		d.maxPositions = math.MaxInt // the model states no limit
	}
	if err := d.openGraphs(o); err != nil {
		return nil, err
	}
	inputs := d.inputSpecs()
	sides := configSides(o.Bundle)
	for _, in := range inputs {
		if err := d.addInput(in, sides); err != nil {
			return nil, err
		}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(inputs, func(s tensor.Spec) bool { return s.Name == name })
	}
	d.stepwise = slices.ContainsFunc(d.first.Inputs(), func(s tensor.Spec) bool {
		return (s.Name == graph.InputIDs || s.Name == graph.InputsEmbeds) && len(s.Shape) > 1 && s.Shape[1] == 1
	})
	d.dependent = graph.Couples(o.Bundle, graph.Decoder, graph.DecoderFirst, graph.DecoderNext, graph.Model)
	// xpipe's own graphs count positions by the mask.
	d.pads = has(graph.AttentionMask) && (d.embed != nil || has(graph.PositionIDs)) && len(d.states) == 0
	if len(d.caches) > 0 || len(d.states) > 0 {
		return d, nil
	}
	// A graph for the first step alone reads all tokens again at each.
	again := d.embed == nil || d.first.Role == graph.DecoderFirst && !d.seesMedia
	if !again || d.next != nil && d.next != d.first || len(d.beside) > 0 {
		return nil, fmt.Errorf("%w: the decoder has no cache inputs %s*",
			graph.ErrBundle, graph.PastPrefix)
	}
	d.next = nil
	return d, nil
}

func (d *Decoder) openGraphs(o *graph.Opener) (err error) {
	role := graph.Decoder
	switch {
	case o.Bundle.Has(role):
	case o.Bundle.Has(graph.Model):
		role = graph.Model // a text model that is nothing but a decoder
	case !o.Bundle.Has(graph.DecoderFirst) && o.Bundle.Has(graph.DecoderNext):
		role = graph.DecoderNext // which begins with an empty cache
	}
	whole := o.Bundle.Has(role) || !o.Bundle.Has(graph.DecoderFirst)
	if o.Bundle.Has(graph.EmbedTokens) || whole && !o.Bundle.Has(role) {
		if d.embed, err = o.Open(graph.EmbedTokens); err != nil {
			return err
		}
	}
	if whole {
		if d.first, err = o.OpenDecoder(role); err != nil {
			return err
		}
		d.next = d.first
	} else {
		if d.first, err = o.OpenDecoder(graph.DecoderFirst); err != nil {
			return err
		}
		if d.next, err = o.OpenIfThere(graph.DecoderNext); err != nil {
			return err
		}
		if d.next == nil && slices.ContainsFunc(d.first.Inputs(), isPast) {
			d.next = d.first // a graph for all steps, under the name of the first
		}
	}
	if !d.first.HasOutput(graph.Logits) && o.Bundle.Has(graph.LMHead) {
		if err = d.openHead(o); err != nil {
			return err
		}
	}
	for _, g := range []*graph.Graph{d.first, d.next} {
		if g != nil && !g.HasOutput(graph.Logits) && d.head == nil {
			return fmt.Errorf("%w: the %s has no output %q", graph.ErrBundle, g.Role, graph.Logits)
		}
	}
	switch embeds := d.first.HasInput(graph.InputsEmbeds); {
	case embeds && d.embed == nil:
		d.embed, err = o.Open(graph.EmbedTokens)
	case !embeds && d.first.HasInput(graph.InputIDs):
		d.embed = nil
	case !embeds:
		err = fmt.Errorf("%w: the %s takes neither embeddings (%q) nor ids (%q)",
			graph.ErrBundle, d.first.Role, graph.InputsEmbeds, graph.InputIDs)
	}
	return err
}

// openHead opens the graph that makes logits of one of the decoder's outputs: the one that its only input
// names, or the only one that is no cache.
func (d *Decoder) openHead(o *graph.Opener) (err error) {
	if d.head, err = o.Open(graph.LMHead); err != nil {
		return err
	}
	var states []string
	for _, out := range d.first.Outputs() {
		if !strings.HasPrefix(out.Name, graph.PresentPrefix) {
			states = append(states, out.Name)
		}
	}
	in := d.head.Inputs()
	switch {
	case len(in) != 1 || !d.head.HasOutput(graph.Logits):
		return fmt.Errorf("%w: the graph %s takes %v and gives %v, not states to logits", graph.ErrBundle, graph.LMHead, in, d.head.Outputs())
	case slices.Contains(states, in[0].Name):
		d.headStates = in[0].Name
	case len(states) == 1:
		d.headStates = states[0]
	default:
		return fmt.Errorf("%w: none of the decoder's outputs %v is what the graph %s takes, %q",
			graph.ErrBundle, states, graph.LMHead, in[0].Name)
	}
	return nil
}

// EmbedGraph returns the graph of embeddings; nil of a decoder that takes ids.
func (d *Decoder) EmbedGraph() *graph.Graph { return d.embed }

func isPast(s tensor.Spec) bool { return strings.HasPrefix(s.Name, graph.PastPrefix) }

// inputSpecs lists the inputs of the decoder's graphs, each name once.
func (d *Decoder) inputSpecs() []tensor.Spec {
	inputs := slices.Clone(d.first.Inputs())
	if d.next == nil || d.next == d.first {
		return inputs
	}
	for _, in := range d.next.Inputs() {
		same := func(other tensor.Spec) bool { return other.Name == in.Name }
		if !slices.ContainsFunc(inputs, same) {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// addInput records the purpose of an input of the decoder. sides are those of its cache, for graphs
// that leave them open.
func (d *Decoder) addInput(in tensor.Spec, sides cacheSides) (err error) {
	layer, isPast := strings.CutPrefix(in.Name, graph.PastPrefix)
	present := graph.PresentPrefix + layer
	cross := isPast && strings.Contains(layer, graph.CrossInfix)
	presentOf, isState := presentState(in.Name)
	switch {
	case slices.Contains([]string{graph.InputsEmbeds, graph.InputIDs, graph.AttentionMask,
		graph.PositionIDs, graph.CachePosition, graph.TokenTypeIDs}, in.Name):
	case in.Name == graph.ImageAttentionMask || in.Name == graph.CrossAttentionGate:
		d.seesMedia = true
	case in.Name == graph.LogitsToKeep:
		if d.keep = tensor.Scalar[int64](1); len(in.Shape) == 1 {
			d.keep, err = d.keep.Reshape(1)
		}
	case in.DType == tensor.Bool && len(in.Shape) <= 1 && d.branch == "":
		d.branch = in.Name // use_cache_branch in current files of optimum
	case cross && d.first.HasOutput(present):
		var c cache
		if c, err = d.newCache(in, present, sides.cross); err == nil {
			d.kept = append(d.kept, c)
		}
	case isPast && !cross:
		var c cache
		if c, err = d.newCache(in, present, sides.self); err == nil {
			d.caches = append(d.caches, c)
		}
	case isState:
		err = d.addState(in, presentOf)
	case d.embed != nil && d.embed.HasOutput(in.Name):
		d.beside = append(d.beside, in.Name)
	default:
		d.constants = append(d.constants, in)
	}
	return err
}

// newCache checks an input of the cache, and that the decoder gives what it takes.
func (d *Decoder) newCache(in tensor.Spec, present string, sides [2]int) (cache, error) {
	c := cache{past: in.Name, present: present, dtype: in.DType}
	fits := len(in.Shape) == 4 && in.Shape[1] != 0 && in.Shape[3] != 0 && isCacheType(in.DType)
	if fits {
		c.heads, c.dim = in.Shape[1], in.Shape[3]
		if c.heads < 0 {
			c.heads = sides[0]
		}
		if c.dim < 0 {
			c.dim = sides[1]
		}
		// A graph with a branch for the first step does not look at the empty cache.
		fits = d.hasBranch() || min(c.heads, c.dim) > 0
	}
	if !fits || max(c.heads, c.dim) > maxCacheSide {
		return c, fmt.Errorf("%w: the decoder's cache input %v is not [batch,heads,length,dim] "+
			"with fixed heads and dim", graph.ErrBundle, in)
	}
	for _, g := range []*graph.Graph{d.first, d.next} {
		kept := strings.Contains(in.Name, graph.CrossInfix) // later steps need not give it again
		if g != nil && !(kept && g == d.next) && !g.HasOutput(present) {
			return c, fmt.Errorf("%w: the decoder takes %q but gives no %q",
				graph.ErrBundle, in.Name, present)
		}
	}
	return c, nil
}

func isCacheType(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16
}

// hasBranch reports whether the first step does not read the cache: it has a branch or a graph of
// its own.
func (d *Decoder) hasBranch() bool {
	return d.first != d.next || slices.ContainsFunc(d.first.Inputs(), func(s tensor.Spec) bool {
		return s.DType == tensor.Bool && len(s.Shape) <= 1
	})
}

// Embed is EmbedAll without what the graph gives beside embeddings.
func (d *Decoder) Embed(
	ctx context.Context, texts ...[]int64,
) (embeds [][]float32, width int, err error) {
	all, width, err := d.EmbedAll(ctx, texts...)
	embeds = make([][]float32, len(all))
	for i, e := range all {
		embeds[i] = e.Rows
	}
	return embeds, width, err
}

// Embedding is what the graph of embeddings makes of a text.
type Embedding struct {
	Rows []float32 // [L,D]
	// Beside are the decoder's other inputs that the graph gives, [L,...] each, by name: per_layer_inputs
	// of Gemma 3n. nil where it gives none.
	Beside map[string]*tensor.Tensor
}

// EmbedAll returns the embeddings of texts' ids and their width D. One run computes all of them.
// Without any id there is no run, and width is 0; so it is for a decoder that takes ids.
func (d *Decoder) EmbedAll(
	ctx context.Context, texts ...[]int64,
) (embeds []Embedding, width int, err error) {
	longest := 0
	for _, ids := range texts {
		longest = max(longest, len(ids))
	}
	embeds = make([]Embedding, len(texts))
	if longest == 0 || d.embed == nil {
		return embeds, 0, nil
	}
	padded := make([]int64, len(texts)*longest)
	for i, ids := range texts {
		copy(padded[i*longest:], ids)
	}
	all, beside, err := d.embedTokens(ctx, padded, len(texts))
	if err != nil {
		return nil, 0, err
	}
	values, err := tensor.Values[float32](all)
	if err != nil {
		return nil, 0, err
	}
	width = all.Dim(2)
	for i, ids := range texts {
		embeds[i].Rows = values[i*longest*width:][:len(ids)*width]
		for name, t := range beside {
			if embeds[i].Beside == nil {
				embeds[i].Beside = map[string]*tensor.Tensor{}
			}
			if embeds[i].Beside[name], err = textOf(t, i, len(ids)); err != nil {
				return nil, 0, err
			}
		}
	}
	return embeds, width, nil
}

// textOf takes the first positions [L,...] of a row of t [B,T,...].
func textOf(t *tensor.Tensor, row, length int) (*tensor.Tensor, error) {
	own, err := t.Slice(row, row+1)
	if err == nil {
		own, err = own.Reshape(own.Shape()[1:]...)
	}
	if err == nil {
		own, err = own.Slice(0, length)
	}
	return own, err
}

// embedTokens returns the embeddings [B,T,D] of ids, B rows of T, and what the decoder takes beside
// them, [B,T,...] each by its name.
func (d *Decoder) embedTokens(
	ctx context.Context, ids []int64, rows int,
) (embeds *tensor.Tensor, beside map[string]*tensor.Tensor, err error) {
	length := len(ids) / rows
	batch, err := tensor.New([]int{rows, length}, ids)
	if err != nil {
		return nil, nil, err
	}
	in := map[string]*tensor.Tensor{graph.InputIDs: batch}
	for _, spec := range d.embed.Inputs() {
		if spec.Name == graph.InputIDs {
			in[spec.Name] = graph.Cast(batch, spec.DType)
		} else if in[spec.Name], err = d.noMedia(spec, rows, length); err != nil {
			return nil, nil, err
		}
	}
	if len(d.beside) == 0 {
		embeds, err = d.embed.RunOne(ctx, in, graph.InputsEmbeds, rows, length, -1)
		if err != nil && ctx.Err() == nil && d.embed.HasInput(graph.SeenPlaces) && d.blank.CompareAndSwap(false, true) {
			return d.embedTokens(ctx, ids, rows)
		}
		return embeds, nil, err
	}
	if !d.embed.HasOutput(graph.InputsEmbeds) {
		return nil, nil, fmt.Errorf("%w: the graph %s lacks the output %q", graph.ErrBundle, d.embed.Role, graph.InputsEmbeds)
	}
	beside, err = d.embed.Run(ctx, in, append([]string{graph.InputsEmbeds}, d.beside...)...)
	if err != nil {
		return nil, nil, err
	}
	embeds = graph.AsFloat32(beside[graph.InputsEmbeds])
	delete(beside, graph.InputsEmbeds)
	for _, name := range d.beside {
		if t := beside[name]; t.Rank() < 3 || t.Dim(0) != rows || t.Dim(1) != length || t.Len() == 0 {
			return nil, nil, fmt.Errorf("%w: the graph's output %q is %v, not [%d,%d,...]", graph.ErrBundle, name, t, rows, length)
		}
	}
	return embeds, beside, graph.CheckOutput(graph.InputsEmbeds, embeds, rows, length, -1)
}

// EmbedsMedia reports whether the graph of embeddings takes rows of pictures, too, and sets them in the
// places of a token.
func (d *Decoder) EmbedsMedia() bool { return d.embed != nil && len(d.embed.Inputs()) > 1 }

// noMedia returns no rows for an input of the graph of embeddings: of the size that the graph declares,
// or else of the decoder's width. Masks say that none of rows texts of a length has any. A graph that
// fails without a picture is given a black one, which no mask names.
func (d *Decoder) noMedia(spec tensor.Spec, rows, length int) (*tensor.Tensor, error) {
	switch spec.Name {
	case graph.SeenPlaces:
		return tensor.Zeros(spec.DType, rows, length)
	case graph.SeenRows:
		return tensor.Zeros(spec.DType, rows, 1, 0)
	}
	shape := make([]int, len(spec.Shape))
	for i, n := range spec.Shape[min(1, len(shape)):] {
		shape[i+1] = max(n, 0)
	}
	if spec.Name == graph.PixelValues && d.blank.Load() {
		for i, n := range shape[:min(2, len(shape))] {
			shape[i] = max(n, 1)
		}
	}
	if last := len(shape) - 1; last > 0 && shape[last] == 0 {
		for _, in := range d.first.Inputs() {
			if in.Name == graph.InputsEmbeds && len(in.Shape) == 3 {
				shape[last] = max(in.Shape[2], 0)
			}
		}
	}
	return tensor.Zeros(spec.DType, shape...)
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
