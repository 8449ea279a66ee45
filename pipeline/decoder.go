package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// Names a decoder graph uses, as transformers.js and optimum write them.
const (
	inputsEmbeds  = "inputs_embeds"
	attentionMask = "attention_mask"
	imageMask     = "image_attention_mask" // [B,T,I] which picture a token attends to
	imageGate     = "cross_attention_gate" // [B,T] 1 where it attends to any
	logitsName    = "logits"
	pastPrefix    = "past_key_values."
	presentPrefix = "present."
)

// languageModel continues a batch of sequences token by token.
type languageModel interface {
	// prefill reads the prompts and returns the logits [B,V] of what follows.
	prefill(ctx context.Context) (*tensor.Tensor, error)
	// step appends one id to each sequence and returns the logits [B,V] of what
	// follows.
	step(ctx context.Context, ids []int64) (*tensor.Tensor, error)
	// reorder makes row i of the batch go on from what was row rows[i], which
	// drops, repeats or swaps sequences.
	reorder(rows []int) error
	// prompts are the ids before the text of each row, as processors see them.
	prompts() [][]int64
	// room is how many tokens the model's positions leave after the longest
	// prompt.
	room() int
}

// decoder is a decoder graph with a key/value cache, and the graph that
// embeds its tokens.
type decoder struct {
	session, embed engine.Session
	caches         []cache
	constants      []tensor.Spec // inputs that stay the same over all steps
	outputs        []string      // what a run is asked for: logits and caches
	maxPositions   int           // of prompt and text together
	seesMedia      bool          // whether it takes imageMask and imageGate
}

// cache is one tensor of the growing key/value cache, [B,heads,T,dim].
type cache struct {
	past, present string
	heads, dim    int
}

// maxCacheSide is far beyond the heads, and their width, of any model.
const maxCacheSide = 1 << 20

// newDecoder opens the graphs of the roles decoder and embed_tokens, and checks
// that they have the inputs and outputs a decoder needs.
func newDecoder(graphs *graphOpener) (*decoder, error) {
	d := &decoder{maxPositions: graphs.bundle.Limits["max_positions"], outputs: []string{logitsName}}
	if d.maxPositions <= 0 {
		d.maxPositions = math.MaxInt // the model states no limit
	}
	var err error
	if d.embed, err = graphs.open("embed_tokens"); err != nil {
		return nil, err
	}
	if d.session, err = graphs.open("decoder"); err != nil {
		return nil, err
	}
	outputs := map[string]bool{}
	for _, o := range d.session.Outputs() {
		outputs[o.Name] = true
	}
	if !outputs[logitsName] {
		return nil, fmt.Errorf("%w: the decoder has no output %q", ErrBundle, logitsName)
	}
	for _, in := range d.session.Inputs() {
		layer, isPast := strings.CutPrefix(in.Name, pastPrefix)
		switch {
		case in.Name == inputsEmbeds || in.Name == attentionMask:
		case in.Name == imageMask || in.Name == imageGate:
			d.seesMedia = true
		case isPast && !strings.Contains(layer, ".encoder."):
			c := cache{past: in.Name, present: presentPrefix + layer}
			if len(in.Shape) != 4 || in.Shape[1] <= 0 || in.Shape[3] <= 0 || max(in.Shape[1], in.Shape[3]) > maxCacheSide {
				return nil, fmt.Errorf("%w: the decoder's cache input %v is not [batch,heads,length,dim] with fixed heads and dim", ErrBundle, in)
			}
			if !outputs[c.present] {
				return nil, fmt.Errorf("%w: the decoder takes %q but gives no %q", ErrBundle, c.past, c.present)
			}
			c.heads, c.dim = in.Shape[1], in.Shape[3]
			d.caches = append(d.caches, c)
			d.outputs = append(d.outputs, c.present)
		default:
			d.constants = append(d.constants, in)
		}
	}
	if len(d.caches) == 0 {
		return nil, fmt.Errorf("%w: the decoder has no cache inputs %s*", ErrBundle, pastPrefix)
	}
	return d, nil
}

// embedText returns the embeddings [L,D] of a text's ids as one row.
func (d *decoder) embedText(ctx context.Context, ids []int64) ([]float32, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	embeds, err := d.embedTokens(ctx, ids, 1)
	if err != nil {
		return nil, err
	}
	return tensor.Values[float32](embeds)
}

// embedTokens returns the embeddings [B,T,D] of ids, B rows of T.
func (d *decoder) embedTokens(ctx context.Context, ids []int64, rows int) (*tensor.Tensor, error) {
	in, err := tensor.New([]int{rows, len(ids) / rows}, ids)
	if err != nil {
		return nil, err
	}
	return runOne(ctx, d.embed, map[string]*tensor.Tensor{"input_ids": in}, inputsEmbeds, rows, len(ids)/rows, -1)
}

// runOne runs a session for one float32 output of the given shape, in which -1
// fits any size but 0. No shape fits any.
func runOne(ctx context.Context, s engine.Session, in map[string]*tensor.Tensor, output string, shape ...int) (*tensor.Tensor, error) {
	if !hasOutput(s, output) {
		return nil, fmt.Errorf("%w: a graph lacks the output %q", ErrBundle, output)
	}
	out, err := s.Run(ctx, in, output)
	if err != nil {
		return nil, err
	}
	if len(shape) > 0 {
		err = checkOutput(output, out[output], shape...)
	}
	return out[output], err
}

// runVision runs a graph over pixels [B,3,H,W], for an output of the given shape.
// Pixels that do not fit the graph are the bundle's fault: its preprocessor made
// them.
func runVision(ctx context.Context, s engine.Session, pixels *tensor.Tensor, output string, shape ...int) (*tensor.Tensor, error) {
	out, err := runOne(ctx, s, map[string]*tensor.Tensor{"pixel_values": pixels}, output, shape...)
	return out, misfit(err)
}

// misfit names the preprocessor where a graph does not take its pixels.
func misfit(err error) error {
	if errors.Is(err, engine.ErrInput) {
		return fmt.Errorf("%w: preprocessor_config.json makes what the graph does not take: %w", ErrBundle, err)
	}
	return err
}

// checkOutput refuses what a graph gave where it is not float32 of the given shape.
// A graph may declare what it likes, so what the code behind relies on is checked
// on the tensor itself.
func checkOutput(name string, t *tensor.Tensor, shape ...int) error {
	fits := t.DType() == tensor.Float32 && t.Rank() == len(shape)
	for i := 0; fits && i < len(shape); i++ {
		fits = t.Dim(i) == shape[i] || shape[i] < 0 && t.Dim(i) > 0
	}
	if !fits {
		return fmt.Errorf("%w: the graph's output %q is %v, not float32 %v (-1: any size but 0)", ErrBundle, name, t, tensor.FormatShape(shape))
	}
	return nil
}

// checkNumbers refuses values that are not numbers: damaged weights, or arithmetic
// that overflowed.
func checkNumbers(name string, values []float32) error {
	for i, v := range values {
		if v != v {
			return fmt.Errorf("%w: value %d of %s is not a number (NaN): the weights are damaged, or the arithmetic overflows in their type", ErrBundle, i, name)
		}
	}
	return nil
}

// prompt is what one sequence starts from.
type prompt struct {
	ids    []int64   // the text's ids, special tokens included
	embeds []float32 // [L,D]: the image's rows and the text's
	media  []int     // [L] which picture each position attends to, -1 none; nil where the decoder does not ask
}

// sequences is a batch in decoding.
type sequences struct {
	*decoder
	start  []prompt
	embeds *tensor.Tensor // [B,T,D] of the prompts, padded on the left
	mask   [][]int64      // for each row, 1 where a token is and 0 where padding
	past   map[string]*tensor.Tensor
	fixed  map[string]*tensor.Tensor // the decoder's constants, a row a sequence
	media  [][]int                   // for each row, which picture each new position attends to
	images int                       // pictures side by side in each row
}

// begin pads the prompts on the left to one length. width is D. fixed are the
// decoder's constant inputs, as rows of the batch. Prompts that fill the model's
// positions are an error.
func (d *decoder) begin(prompts []prompt, width int, fixed map[string]*tensor.Tensor) (*sequences, error) {
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p.embeds)/width)
	}
	if longest >= d.maxPositions {
		return nil, fmt.Errorf("%w: image and text together take %d positions, and the model has %d, one of them for the answer; shorten the text",
			ErrPrompt, longest, d.maxPositions)
	}
	for _, c := range d.constants {
		if fixed[c.Name] == nil {
			return nil, fmt.Errorf("%w: the decoder has an input this pipeline does not know: %v", ErrBundle, c)
		}
		if err := c.Check(fixed[c.Name]); err != nil {
			return nil, fmt.Errorf("%w: what goes to the decoder from the graph before it: %w", ErrBundle, err)
		}
		if t := fixed[c.Name]; t.Rank() == 0 || t.Dim(0) != len(prompts) {
			return nil, fmt.Errorf("%w: %q is %v, not a row for each of %d texts", ErrBundle, c.Name, t, len(prompts))
		}
	}
	s := &sequences{decoder: d, start: prompts, past: map[string]*tensor.Tensor{}, fixed: fixed}
	embeds := make([]float32, len(prompts)*longest*width)
	for i, p := range prompts {
		pad := longest - len(p.embeds)/width
		copy(embeds[(i*longest+pad)*width:], p.embeds)
		mask := make([]int64, longest)
		for j := pad; j < longest; j++ {
			mask[j] = 1
		}
		s.mask = append(s.mask, mask)
		if d.seesMedia {
			s.media = append(s.media, append(slices.Repeat([]int{-1}, pad), p.media...))
		}
	}
	var err error
	if s.embeds, err = tensor.New([]int{len(prompts), longest, width}, embeds); err != nil {
		return nil, err
	}
	for _, c := range d.caches {
		if s.past[c.past], err = tensor.Zeros(tensor.Float32, len(prompts), c.heads, 0, c.dim); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *sequences) prompts() [][]int64 {
	ids := make([][]int64, len(s.start))
	for i, p := range s.start {
		ids[i] = p.ids
	}
	return ids
}

func (s *sequences) room() int { return s.maxPositions - s.embeds.Dim(1) }

func (s *sequences) prefill(ctx context.Context) (*tensor.Tensor, error) {
	return s.forward(ctx, s.embeds)
}

func (s *sequences) step(ctx context.Context, ids []int64) (*tensor.Tensor, error) {
	embeds, err := s.embedTokens(ctx, ids, len(ids))
	if err != nil {
		return nil, err
	}
	for i := range s.mask {
		s.mask[i] = append(s.mask[i], 1)
	}
	for i, m := range s.media {
		s.media[i] = m[len(m)-1:] // text goes on about the picture it was about
	}
	return s.forward(ctx, embeds)
}

func (s *sequences) reorder(rows []int) error {
	if isIdentity(rows, len(s.mask)) {
		return nil
	}
	mask := make([][]int64, len(rows))
	for i, r := range rows {
		mask[i] = slices.Clone(s.mask[r])
	}
	s.mask = mask
	if s.seesMedia {
		media := make([][]int, len(rows))
		for i, r := range rows {
			media[i] = s.media[r]
		}
		s.media = media
	}
	for _, tensors := range []map[string]*tensor.Tensor{s.past, s.fixed} {
		for name, t := range tensors {
			picked, err := takeRows(t, rows)
			if err != nil {
				return err
			}
			t.Release()
			tensors[name] = picked
		}
	}
	return nil
}

// isIdentity reports whether rows keeps a batch of n as it is.
func isIdentity(rows []int, n int) bool {
	for i, r := range rows {
		if i != r {
			return false
		}
	}
	return len(rows) == n
}

// takeRows returns the given rows of t, along its first dimension.
func takeRows(t *tensor.Tensor, rows []int) (*tensor.Tensor, error) {
	switch t.DType() {
	case tensor.Float32:
		return pickRows[float32](t, rows)
	case tensor.Int64:
		return pickRows[int64](t, rows)
	}
	return nil, fmt.Errorf("%w: cannot take rows of %v", ErrBundle, t)
}

func pickRows[T tensor.Element](t *tensor.Tensor, rows []int) (*tensor.Tensor, error) {
	values := tensor.Data[T](t)
	size := 0
	if t.Dim(0) > 0 {
		size = len(values) / t.Dim(0)
	}
	picked := make([]T, 0, len(rows)*size)
	for _, r := range rows {
		picked = append(picked, values[r*size:(r+1)*size]...)
	}
	shape := slices.Clone(t.Shape())
	shape[0] = len(rows)
	return tensor.New(shape, picked)
}

// forward runs the decoder over new positions and keeps the grown cache.
func (s *sequences) forward(ctx context.Context, embeds *tensor.Tensor) (*tensor.Tensor, error) {
	in, err := s.inputs(embeds)
	if err != nil {
		return nil, err
	}
	out, err := s.session.Run(ctx, in, s.outputs...)
	if err != nil {
		return nil, err
	}
	rows, length := embeds.Dim(0), embeds.Dim(1)
	for _, c := range s.caches {
		if err := checkOutput(c.present, out[c.present], rows, c.heads, s.past[c.past].Dim(2)+length, c.dim); err != nil {
			return nil, err
		}
		s.past[c.past].Release()
		s.past[c.past] = out[c.present]
	}
	if err := checkOutput(logitsName, out[logitsName], rows, -1, -1); err != nil {
		return nil, err
	}
	last, err := lastPosition(out[logitsName])
	if err != nil {
		return nil, err
	}
	return last, checkNumbers("the decoder's logits", tensor.Data[float32](last))
}

// inputs are the decoder's for new positions.
func (s *sequences) inputs(embeds *tensor.Tensor) (map[string]*tensor.Tensor, error) {
	flat := make([]int64, 0, len(s.mask)*len(s.mask[0]))
	for _, row := range s.mask {
		flat = append(flat, row...)
	}
	mask, err := tensor.New([]int{len(s.mask), len(s.mask[0])}, flat)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{inputsEmbeds: embeds, attentionMask: mask}
	maps.Copy(in, s.past)
	for _, c := range s.constants {
		in[c.Name] = s.fixed[c.Name]
	}
	if s.seesMedia {
		err = s.addMedia(in)
	}
	return in, err
}

// addMedia adds the masks of gated cross-attention for the new positions.
func (s *sequences) addMedia(in map[string]*tensor.Tensor) error {
	length := len(s.media[0])
	mask := make([]int64, len(s.media)*length*s.images)
	gate := make([]float32, len(s.media)*length)
	for i, row := range s.media {
		for j, image := range row {
			if image >= 0 {
				at := i*length + j
				mask[at*s.images+image] = 1
				gate[at] = 1
			}
		}
	}
	var err error
	if in[imageMask], err = tensor.New([]int{len(s.media), length, s.images}, mask); err != nil {
		return err
	}
	in[imageGate], err = tensor.New([]int{len(s.media), length}, gate)
	return err
}

// lastPosition takes [B,V] from logits [B,T,V].
func lastPosition(logits *tensor.Tensor) (*tensor.Tensor, error) {
	values, err := tensor.Values[float32](logits)
	if err != nil || logits.Rank() != 3 || logits.Dim(1) == 0 {
		return nil, fmt.Errorf("%w: the decoder's logits are %v, not float32 [batch,length,vocabulary]", ErrBundle, logits)
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
