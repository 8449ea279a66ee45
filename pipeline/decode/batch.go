package decode

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Sequences is a batch of sequences that a language model continues token by token.
type Sequences interface {
	// Prefill reads the prompts and returns the logits [B,V] of what follows.
	Prefill(ctx context.Context) (*tensor.Tensor, error)
	// Step appends one id to each sequence and returns the logits [B,V] of what follows.
	Step(ctx context.Context, ids []int64) (*tensor.Tensor, error)
	// Reorder replaces the batch: its row i goes on from what row rows[i] was. So sequences are
	// dropped, repeated or swapped, as beam search needs.
	Reorder(rows []int) error
	// Prompts returns the ids before the text of each row, for processors.
	Prompts() [][]int64
	// Room returns how many tokens the model's positions leave after the longest prompt.
	Room() int
}

// Prompt is the start of one sequence.
type Prompt struct {
	IDs []int64 // the text's ids, special tokens included
	// Embeds are pieces of [L,D], one behind another: a picture's rows, the text's. A decoder that
	// takes ids does not look at them.
	Embeds [][]float32
	// Beside are what an Embedding has beside its rows.
	Beside map[string]*tensor.Tensor
	// Places are the positions [3][L] of time, row and column, for a decoder that takes three; nil
	// where positions are counted.
	Places [][]int64
	// Types [L] are 1 where a position is a row of a picture, 0 elsewhere, for a decoder whose pictures'
	// rows see each other; nil stands for zeros.
	Types []int64
	// Media [L] is the picture that each position attends to, -1 for none; nil for a decoder
	// without masks of gated cross-attention. With Views it is the number of a view.
	Media []int
	// Views are what positions read in a model of which each may read several pictures, or some
	// tiles of them. nil stands for one for each picture.
	Views []View
}

// View is what a position reads by gated cross-attention.
type View struct {
	Columns []int // of the mask: pictures, or tiles
	// Shut says that what the position reads does not count as a picture of its own: its gate is 0.
	Shut bool
}

// view returns the view of a number.
func (p *Prompt) view(number int) View {
	switch {
	case number < 0:
		return View{Shut: true}
	case p.Views == nil:
		return View{Columns: []int{number}}
	}
	return p.Views[number]
}

// length returns how many positions the prompt takes in a model of the given width.
func (p *Prompt) length(width int) int {
	n := 0
	for _, piece := range p.Embeds {
		n += len(piece)
	}
	return n / width
}

// copyTo writes the prompt's positions to dst.
func (p *Prompt) copyTo(dst []float32) {
	for _, piece := range p.Embeds {
		dst = dst[copy(dst, piece):]
	}
}

// Start is the start of a batch of sequences.
type Start struct {
	Prompts []Prompt
	Width   int // D, of the embeddings
	// Fixed are the decoder's constant inputs, a row a prompt.
	Fixed map[string]*tensor.Tensor
	// Media is the number of pictures, or of the columns of Views, in the prompt that has most of
	// them, for decoders with gated cross-attention.
	Media int
	// Apart runs prompts of different lengths in batches of their own, without padding: some
	// operators of decoders that other tools exported (GroupQueryAttention) count tokens, and would
	// take padding on the left for text.
	Apart bool
	// First is the position of a prompt's first token.
	First int64
}

// batch is a Sequences of a Decoder.
type batch struct {
	*Decoder
	start     []Prompt
	tokens    *tensor.Tensor            // the prompts, padded on the left: embeddings [B,T,D] or ids [B,T]
	beside    map[string]*tensor.Tensor // [B,T,...] of the same tokens, and of later ones in their turn
	began     bool                      // whether the first step is done
	read      [][]int64                 // without a cache: for each row, all new ids so far
	mask      [][]int64                 // for each row, 1 where a token is and 0 where padding
	past      map[string]*tensor.Tensor
	constants constants
	media     [][]int // for each row, the picture or view of each new position
	most      int     // pictures, or columns of views, side by side in each row
	origin    int64   // the position of a row's first token
	length    int     // of the prompts, padded
	memory    *Memory // nil: nothing is to be remembered
	shared    bool    // whether it is of several searches, each of which checks its own rows
}

// Begin starts a sequence for each prompt, padded on the left to one length where the decoder is
// known to count positions by the mask. Prompts that fill the model's positions give an error that
// wraps graph.ErrPrompt, constants that do not fit the decoder one that wraps graph.ErrBundle.
func (d *Decoder) Begin(start Start) (Sequences, error) {
	longest := 0
	for i := range start.Prompts {
		longest = max(longest, d.lengthOf(&start.Prompts[i], start.Width))
	}
	if longest >= d.maxPositions {
		return nil, fmt.Errorf("%w: image and text together take %d positions, and the model has "+
			"%d, one of them for the answer; shorten the text",
			graph.ErrPrompt, longest, d.maxPositions)
	}
	if err := d.checkConstants(start.Fixed, len(start.Prompts)); err != nil {
		return nil, err
	}
	if !d.pads || start.Apart {
		byLength := map[int][]int{}
		for i := range start.Prompts {
			n := d.lengthOf(&start.Prompts[i], start.Width)
			byLength[n] = append(byLength[n], i)
		}
		if len(byLength) > 1 {
			return d.beginGroups(start, byLength)
		}
	}
	return d.begin(start, longest)
}

// lengthOf returns how many positions a prompt takes.
func (d *Decoder) lengthOf(p *Prompt, width int) int {
	if d.embed == nil {
		return len(p.IDs)
	}
	return p.length(width)
}

// begin starts prompts of which the longest takes so many positions.
func (d *Decoder) begin(start Start, longest int) (Sequences, error) {
	prompts := start.Prompts
	b := &batch{Decoder: d, start: prompts, past: map[string]*tensor.Tensor{}, most: start.Media,
		origin: start.First, length: longest}
	b.constants = constants{prompts: maps.Clone(start.Fixed)}
	for i := range prompts {
		pad := longest - d.lengthOf(&prompts[i], start.Width)
		mask := make([]int64, longest)
		for j := pad; j < longest; j++ {
			mask[j] = 1
		}
		b.mask = append(b.mask, mask)
		b.constants.of = append(b.constants.of, i)
		if d.seesMedia {
			b.media = append(b.media, append(slices.Repeat([]int{-1}, pad), prompts[i].Media...))
		}
		if d.next == nil {
			b.read = append(b.read, nil)
		}
	}
	var err error
	if b.tokens, err = d.prefillTokens(prompts, longest, start.Width); err != nil {
		return nil, err
	}
	if b.beside, err = d.prefillBeside(prompts, longest); err != nil {
		return nil, err
	}
	for _, c := range d.caches {
		if b.past[c.past], err = c.empty(len(prompts)); err != nil {
			return nil, err
		}
	}
	if err := b.addStates(len(prompts)); err != nil {
		return nil, err
	}
	if b.constants.prompts == nil {
		b.constants.prompts = map[string]*tensor.Tensor{}
	}
	for _, c := range d.kept {
		if b.constants.prompts[c.past], err = c.empty(len(prompts)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// prefillTokens joins prompts, padded on the left to so many positions.
func (d *Decoder) prefillTokens(prompts []Prompt, longest, width int) (*tensor.Tensor, error) {
	if d.embed == nil {
		ids := make([]int64, len(prompts)*longest)
		for i, p := range prompts {
			copy(ids[(i+1)*longest-len(p.IDs):], p.IDs)
		}
		return tensor.New([]int{len(prompts), longest}, ids)
	}
	embeds := make([]float32, len(prompts)*longest*width)
	for i := range prompts {
		pad := longest - prompts[i].length(width)
		prompts[i].copyTo(embeds[(i*longest+pad)*width:])
	}
	return tensor.New([]int{len(prompts), longest, width}, embeds)
}

// checkConstants refuses constants that are missing, of another shape or without a row a prompt.
func (d *Decoder) checkConstants(fixed map[string]*tensor.Tensor, prompts int) error {
	for _, c := range d.constants {
		if fixed[c.Name] == nil {
			return fmt.Errorf("%w: the decoder has an input this pipeline does not know: %v",
				graph.ErrBundle, c)
		}
		if err := c.Check(graph.Cast(fixed[c.Name], c.DType)); err != nil {
			return fmt.Errorf("%w: what goes to the decoder from the graph before it: %w",
				graph.ErrBundle, err)
		}
		if t := fixed[c.Name]; t.Rank() == 0 || t.Dim(0) != prompts {
			return fmt.Errorf("%w: %q is %v, not a row for each of %d texts",
				graph.ErrBundle, c.Name, t, prompts)
		}
	}
	return nil
}

func (b *batch) Prompts() [][]int64 {
	ids := make([][]int64, len(b.start))
	for i, p := range b.start {
		ids[i] = p.IDs
	}
	return ids
}

func (b *batch) Room() int { return b.maxPositions - b.length }

func (b *batch) Prefill(ctx context.Context) (logits *tensor.Tensor, err error) {
	if !b.stepwise {
		return b.forward(ctx, b.tokens)
	}
	whole, first, beside := b.mask, b.length-b.tokens.Dim(1), b.beside
	b.mask = make([][]int64, len(whole))
	for at := first; at < b.length; at++ {
		for i, mask := range whole {
			b.mask[i] = slices.Clip(mask[:at+1])
		}
		var token *tensor.Tensor
		if token, err = graph.At(b.tokens, 1, at-first, at-first+1); err != nil {
			return nil, err
		}
		if b.beside, err = between(beside, at-first, at-first+1); err != nil {
			return nil, err
		}
		if logits, err = b.forward(ctx, token); err != nil {
			return nil, err
		}
	}
	return logits, nil
}

func (b *batch) Step(ctx context.Context, ids []int64) (*tensor.Tensor, error) {
	tokens, err := b.newTokens(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range b.mask {
		b.mask[i] = append(b.mask[i], 1)
	}
	for i, m := range b.media {
		b.media[i] = m[len(m)-1:] // text goes on about the picture it was about
	}
	return b.forward(ctx, tokens)
}

// newTokens returns what the decoder takes for the next id of each row.
func (b *batch) newTokens(ctx context.Context, ids []int64) (*tensor.Tensor, error) {
	rows := len(ids)
	if b.next == nil {
		for i, id := range ids {
			b.read[i] = append(b.read[i], id)
		}
		ids = slices.Concat(b.read...)
	}
	var tokens *tensor.Tensor
	var err error
	if b.embed != nil {
		tokens, b.beside, err = b.embedTokens(ctx, ids, rows)
	} else {
		tokens, err = tensor.New([]int{rows, len(ids) / rows}, ids)
	}
	if err != nil || b.next != nil {
		return tokens, err
	}
	return b.behindPrompts(tokens)
}

// behindPrompts puts new tokens, ids [B,T] or embeddings [B,T,D], behind each row's prompt.
func (b *batch) behindPrompts(tokens *tensor.Tensor) (*tensor.Tensor, error) {
	parts := make([]*tensor.Tensor, 0, 2*tokens.Dim(0))
	shape := slices.Clone(tokens.Shape())
	for i, of := range b.constants.of {
		for _, half := range []struct {
			from *tensor.Tensor
			row  int
		}{{b.tokens, of}, {tokens, i}} {
			row, err := half.from.Slice(half.row, half.row+1)
			if err == nil {
				row, err = row.Reshape(row.Shape()[1:]...)
			}
			if err != nil {
				return nil, err
			}
			parts = append(parts, row)
		}
	}
	whole, err := tensor.Join(parts...)
	if err != nil {
		return nil, err
	}
	shape[1] += b.tokens.Dim(1)
	return whole.Reshape(shape...)
}

func (b *batch) Reorder(rows []int) error {
	if isIdentity(rows, len(b.mask)) {
		return nil
	}
	mask := make([][]int64, len(rows))
	for i, r := range rows {
		mask[i] = slices.Clone(b.mask[r])
	}
	b.mask = mask
	if b.next == nil {
		read := make([][]int64, len(rows))
		for i, r := range rows {
			read[i] = slices.Clone(b.read[r])
		}
		b.read = read
	}
	if b.seesMedia {
		media := make([][]int, len(rows))
		for i, r := range rows {
			media[i] = b.media[r]
		}
		b.media = media
	}
	for name, t := range b.past {
		picked, err := t.Take(rows)
		if err != nil {
			return err
		}
		t.Release()
		b.past[name] = picked
	}
	b.constants.reorder(rows)
	return nil
}

// isIdentity reports whether rows leaves a batch of n unchanged.
func isIdentity(rows []int, n int) bool {
	for i, r := range rows {
		if i != r {
			return false
		}
	}
	return len(rows) == n
}

// forward runs the decoder over new positions, keeps the grown cache and returns the logits [B,V] of
// the last.
func (b *batch) forward(ctx context.Context, tokens *tensor.Tensor) (*tensor.Tensor, error) {
	logits, err := b.forwardAll(ctx, tokens, b.keep, true)
	if err != nil {
		return nil, err
	}
	last, err := lastPosition(logits)
	if err != nil {
		return nil, err
	}
	if b.shared {
		return last, nil
	}
	return last, graph.CheckNumbers("the decoder's logits", tensor.Data[float32](last))
}

// forwardAll is forward that returns the logits [B,T,V] of as many of the positions as the graph gives,
// or keep says. last says that the last is enough.
func (b *batch) forwardAll(
	ctx context.Context, tokens, keep *tensor.Tensor, last bool,
) (*tensor.Tensor, error) {
	g, want := b.first, []string{graph.Logits}
	if b.head != nil {
		want[0] = b.headStates
	}
	if b.began && b.next != nil {
		g = b.next
	}
	if b.next != nil {
		for _, c := range b.caches {
			want = append(want, c.present)
		}
		for _, s := range b.states {
			want = append(want, s.present)
		}
		if !b.began {
			for _, c := range b.kept {
				want = append(want, c.present)
			}
		}
	}
	in, err := b.inputs(g, tokens, keep)
	if err != nil {
		return nil, err
	}
	out, err := g.Run(ctx, in, want...)
	if err != nil {
		return nil, err
	}
	if err := b.keepCache(out, tokens.Dim(0), tokens.Dim(1)); err != nil {
		return nil, err
	}
	b.began = true
	if b.memory != nil {
		b.memory.add(tokens, in[graph.PositionIDs])
	}
	if b.head != nil {
		return b.headOf(ctx, out[b.headStates], tokens.Dim(0), tokens.Dim(1), last)
	}
	logits := graph.AsFloat32(out[graph.Logits])
	return logits, graph.CheckOutput(graph.Logits, logits, tokens.Dim(0), -1, -1)
}

// headOf makes logits of the decoder's states [B,T,D], or of the last position's.
func (b *batch) headOf(
	ctx context.Context, states *tensor.Tensor, rows, length int, last bool,
) (logits *tensor.Tensor, err error) {
	if err = graph.CheckOutputOf(states.DType(), b.headStates, states, rows, length, -1); err != nil {
		return nil, err
	}
	if last {
		if states, err = graph.At(states, 1, length-1, length); err != nil {
			return nil, err
		}
	}
	in := b.head.Inputs()[0]
	given := map[string]*tensor.Tensor{in.Name: graph.Cast(states, in.DType)}
	return b.head.RunOne(ctx, given, graph.Logits, rows, states.Dim(1), -1)
}

// keepCache takes the cache that a run over new positions gave.
func (b *batch) keepCache(out map[string]*tensor.Tensor, rows, length int) error {
	if b.next == nil {
		return nil
	}
	for _, c := range b.caches {
		grown := b.past[c.past].Dim(2) + length
		err := graph.CheckOutputOf(c.dtype, c.present, out[c.present], rows, c.heads, grown, c.dim)
		if err != nil {
			return err
		}
		b.past[c.past].Release()
		b.past[c.past] = out[c.present]
	}
	if err := b.keepStates(out, rows); err != nil || b.began {
		return err
	}
	for _, c := range b.kept {
		err := graph.CheckOutputOf(c.dtype, c.present, out[c.present], rows, c.heads, -1, c.dim)
		if err != nil {
			return err
		}
		b.constants.prompts[c.past], b.constants.laid = out[c.present], nil
	}
	return nil
}
