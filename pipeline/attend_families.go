package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
)

// The roles of graphs that are watched.
const (
	decoderRole   = "decoder"
	qformerRole   = "qformer"
	resamplerRole = "resampler"
	questionRole  = "question_encoder"
	lxmertRole    = "model"
	visionRole    = "vision_encoder"
)

func (m *blip2) watched() []string {
	roles := []string{qformerRole, decoderRole}
	if hasOutput(m.vision, string(imagePlaces)) {
		roles = append(roles, visionRole)
	}
	return roles
}

// attention of BLIP-2 leads from a token through the language model's attention to
// the queries (self-attention to the prefix; cross-attention to the encoder's
// output where there is an encoder), and from a query through the Q-Former's
// cross-attention to the patches. Tokens of the picture may pass the Q-Former
// beside the queries: each leads to itself. Where the vision encoder says from
// where its tokens come, a third stage leads there.
func (m *blip2) attention(ctx context.Context, a *Attention, w *watch) error {
	q := &w.runs[qformerRole][0]
	cross := q.kind(crossAttention)
	if len(cross) == 0 {
		return fmt.Errorf("%w: the Q-Former shows no cross-attention", ErrUnsupported)
	}
	p, err := patchesOf(m.bundle)
	if err != nil {
		return err
	}
	queries, patches, passed := cross[0].Dim(2), cross[0].Dim(3), 0
	if p != nil {
		passed = p.Passed
	}
	if queries == 0 || passed < 0 || passed > patches {
		return fmt.Errorf("%w: %s: beside %d queries, %d of %d tokens of a picture pass the Q-Former", ErrBundle, models.ManifestName, queries, passed, patches)
	}
	kind := selfAttention
	if m.encoder != nil {
		kind = crossAttention
	}
	runs := w.runs[decoderRole]
	words, err := stepsOf("tokens over queries", runs, kind, len(a.Tokens), 0, queries+passed)
	if err != nil {
		return err
	}
	if m.encoder == nil {
		if words.Rollout, err = decoderRollout(ctx, runs, len(a.Tokens), queries+passed); err != nil {
			return err
		}
	}
	look, err := stageOf("queries over patches", cross, 0, queries, 0, patches)
	if err != nil {
		return err
	}
	if look.Rollout, err = queryRollout(ctx, q.kind(selfAttention), cross, queries, patches); err != nil {
		return err
	}
	if look.Maps, err = passedBeside(look.Maps, passed); err != nil {
		return err
	}
	if look.Rollout, err = passedBeside(look.Rollout, passed); err != nil {
		return err
	}
	a.Stages = []AttentionStage{words, look}
	if len(w.runs[visionRole]) == 0 {
		return nil
	}
	places := w.runs[visionRole][0].kind(imagePlaces)
	if len(places) == 0 || places[0].Dim(0) < 1 || places[0].Dim(1) != patches {
		return fmt.Errorf("%w: %s of %s are not those of its %d tokens", ErrBundle, imagePlaces, visionRole, patches)
	}
	cells := places[0].Dim(2)
	values := tensor.Data[float32](places[0].Tensor)[:patches*cells] // of the first picture
	for i := range patches {
		sum := 0.0
		for _, v := range values[i*cells : (i+1)*cells] {
			if sum += float64(v); !(v >= 0 && sum <= 1+1e-3) {
				return fmt.Errorf("%w: %s of %s: row %d is no distribution over cells", ErrBundle, imagePlaces, visionRole, i)
			}
		}
	}
	s, err := stageOfPlaces("patches over cells", patches, cells, values)
	a.Stages = append(a.Stages, s)
	return err
}

// passedBeside appends n rows to each matrix [...,rows,columns] of m, which lead to
// the last n columns.
func passedBeside(m *tensor.Tensor, n int) (*tensor.Tensor, error) {
	if n == 0 {
		return m, nil
	}
	shape := slices.Clone(m.Shape())
	rows, cols := m.Dim(-2), m.Dim(-1)
	shape[len(shape)-2] = rows + n
	var out []float32
	for matrix := range slices.Chunk(tensor.Data[float32](m), rows*cols) {
		out = append(out, matrix...)
		for i := range n {
			row := make([]float32, cols)
			row[cols-n+i] = 1
			out = append(out, row...)
		}
	}
	return tensor.New(shape, out)
}

// decoderRollout is the rollout of a decoder's self-attention from the positions
// that chose tokens to the first columns of the prompt. The first run has the
// prompt's rows; row t of the result belongs to the last of its t-th run.
func decoderRollout(ctx context.Context, runs []watchedRun, tokens, columns int) (*tensor.Tensor, error) {
	if tokens == 0 {
		return tensor.Zeros(tensor.Float32, 0, columns)
	}
	runs = runs[:tokens]
	prompt := runs[0].kind(selfAttention)[0].Dim(2)
	f := newFlow(ctx, prompt+tokens-1)
	for l := range runs[0].kind(selfAttention) {
		m, err := causal(runs, selfAttention, l)
		if err == nil {
			err = f.layer(update{weights: m})
		}
		if err != nil {
			return nil, err
		}
	}
	return f.part(prompt-1, tokens, 0, columns)
}

// queryRollout follows queries that attend to each other in every layer, and then,
// in the layers that have cross-attention, to n tokens of the picture. A map of
// cross-attention may cover more columns: the queries themselves, behind the
// picture's (Flamingo's resampler).
func queryRollout(ctx context.Context, self, cross []attentionMap, queries, n int) (*tensor.Tensor, error) {
	// Where a text is read along, self-attention has its rows behind the queries.
	rows := queries
	if len(self) > 0 {
		rows = self[0].Dim(2)
	}
	f := newFlow(ctx, n+rows)
	visit := func(m attentionMap, from int) error {
		mean, err := meanOf(m)
		if err != nil {
			return err
		}
		return f.layer(update{to: n, from: from, weights: mean})
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
	return f.part(n, queries, 0, n)
}

func (m *blip) watched() []string {
	if m.questions != nil {
		return []string{questionRole, decoderRole}
	}
	return []string{decoderRole}
}

// attention of BLIP leads from a token through the decoder's cross-attention to
// the patches, or, in a VQA model, to the question's words, and from those
// through the question encoder's to the patches.
func (m *blip) attention(ctx context.Context, a *Attention, w *watch) error {
	runs := w.runs[decoderRole]
	cross := runs[0].kind(crossAttention)
	if len(cross) == 0 {
		return fmt.Errorf("%w: the decoder shows no cross-attention", ErrUnsupported)
	}
	columns := cross[0].Dim(3)
	name := "tokens over patches"
	if m.questions != nil {
		name = "tokens over the question's words"
	}
	words, err := stepsOf(name, runs, crossAttention, len(a.Tokens), 0, columns)
	if err != nil {
		return err
	}
	a.Stages = []AttentionStage{words}
	if m.questions == nil {
		return nil
	}
	q := &w.runs[questionRole][0]
	read := q.kind(crossAttention)
	if len(read) == 0 {
		return fmt.Errorf("%w: the question encoder shows no cross-attention", ErrUnsupported)
	}
	look, err := stageOf("the question's words over patches", read, 0, columns, 0, read[0].Dim(3))
	if err != nil {
		return err
	}
	if look.Rollout, err = queryRollout(ctx, q.kind(selfAttention), read, columns, read[0].Dim(3)); err != nil {
		return err
	}
	a.Stages = append(a.Stages, look)
	return nil
}

func (m *flamingo) watched() []string {
	if m.resampler != nil {
		return []string{resamplerRole, decoderRole}
	}
	return []string{decoderRole}
}

// attention of Flamingo leads from a token through gated cross-attention to the
// latents of the last picture, and from a latent through the resampler to the
// patches. Without a resampler the patches are the latents.
func (m *flamingo) attention(ctx context.Context, a *Attention, w *watch) error {
	runs := w.runs[decoderRole]
	cross := runs[0].kind(crossAttention)
	if len(cross) == 0 {
		return fmt.Errorf("%w: the decoder shows no cross-attention", ErrUnsupported)
	}
	images := runs[0].in[imageMask].Dim(2)
	latents := cross[0].Dim(3) / images
	shown := tensor.Data[int64](runs[0].in[imageMask])
	last := -1 // the picture that what follows the prompt is about
	for i := range images {
		if shown[len(shown)-images+i] != 0 {
			last = i
		}
	}
	if last < 0 {
		return fmt.Errorf("%w: the prompt shows no picture", ErrPrompt)
	}
	name := "tokens over latents"
	if m.resampler == nil {
		name = "tokens over patches"
	}
	words, err := stepsOf(name, runs, crossAttention, len(a.Tokens), last*latents, latents)
	if err != nil {
		return err
	}
	if words.Rollout, err = gatedRollout(ctx, runs, len(a.Tokens), last*latents, latents, m.crossLayers()); err != nil {
		return err
	}
	a.Stages = []AttentionStage{words}
	if m.resampler == nil {
		return nil
	}
	q := &w.runs[resamplerRole][0]
	if len(q.maps) == 0 {
		return fmt.Errorf("%w: the resampler shows no attention", ErrUnsupported)
	}
	if last >= len(w.pictures) {
		return fmt.Errorf("%w: the prompt shows %d pictures, the decoder's mask %d", ErrBundle, len(w.pictures), images)
	}
	patches := q.in["image_embeds"].Dim(1)
	row := w.pictures[last] // of the batch, which has each picture once
	read := make([]attentionMap, len(q.maps))
	for i, t := range q.maps {
		if read[i] = t; t.Dim(0) > row {
			size := t.Len() / t.Dim(0)
			row := tensor.Data[float32](t.Tensor)[row*size : (row+1)*size]
			if read[i].Tensor, err = tensor.New(append([]int{1}, t.Shape()[1:]...), row); err != nil {
				return err
			}
		}
	}
	look, err := stageOf("latents over patches", read, 0, latents, 0, patches)
	if err != nil {
		return err
	}
	if look.Rollout, err = queryRollout(ctx, nil, read, latents, patches); err != nil {
		return err
	}
	a.Stages = append(a.Stages, look)
	return nil
}

// crossLayers are the numbers of the layers with a gated block before them; nil
// where the bundle does not say.
func (m *flamingo) crossLayers() []int {
	var manifest struct {
		Layers []int `json:"cross_layers"`
	}
	if err := m.bundle.JSON("xpipe.json", &manifest); err != nil {
		return nil
	}
	return manifest.Layers
}

// gatedRollout is the rollout of a decoder with gated cross-attention before some
// of its layers, from the positions that chose tokens to columns of the
// pictures' latents. Positions without a picture read none. The gates count as
// open: what they hold back is not attention's.
func gatedRollout(ctx context.Context, runs []watchedRun, tokens, col0, columns int, before []int) (*tensor.Tensor, error) {
	if tokens == 0 {
		return tensor.Zeros(tensor.Float32, 0, columns)
	}
	runs = runs[:tokens]
	self, cross := runs[0].kind(selfAttention), runs[0].kind(crossAttention)
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
		for _, open := range tensor.Data[float32](r.in[imageGate]) {
			skip = append(skip, open == 0)
		}
	}
	sources, prompt := cross[0].Dim(3), self[0].Dim(2)
	f := newFlow(ctx, sources+prompt+tokens-1)
	next := 0
	for l := range self {
		for ; next < len(before) && before[next] == l; next++ {
			m, err := causal(runs, crossAttention, next)
			if err == nil {
				err = f.layer(update{to: sources, weights: m, skip: skip})
			}
			if err != nil {
				return nil, err
			}
		}
		m, err := causal(runs, selfAttention, l)
		if err == nil {
			err = f.layer(update{to: sources, from: sources, weights: m})
		}
		if err != nil {
			return nil, err
		}
	}
	return f.part(sources+prompt-1, tokens, col0, columns)
}

func (m *lxmert) watched() []string { return []string{lxmertRole} }

// attention of LXMERT is that of the cross layers, both ways: words over regions
// and regions over words.
func (m *lxmert) attention(ctx context.Context, a *Attention, w *watch) error {
	run := &w.runs[lxmertRole][0]
	ids := tensor.Data[int64](run.in["input_ids"])
	for _, id := range ids {
		token, _ := m.tokenizer.IDToToken(id)
		a.Tokens = append(a.Tokens, token)
	}
	cross, back := run.kind(crossAttention), run.kind(visualCrossAttention)
	words, regions := len(ids), len(a.Boxes)
	s, err := stageOf("words over regions", cross, 0, words, 0, regions)
	if err != nil {
		return err
	}
	if s.Rollout, err = m.rollout(ctx, run, words, regions); err != nil {
		return err
	}
	a.Stages = []AttentionStage{s}
	if len(back) > 0 {
		r, err := stageOf("regions over words", back, 0, regions, 0, words)
		if err != nil {
			return err
		}
		a.Reverse = &r
	}
	return nil
}

// rollout follows both modalities at once: the layers of each alone, then the
// cross layers, in which both read the other's state from before, and then each
// its own. What the last layers do to regions reaches no answer and may be
// missing in the graph.
func (m *lxmert) rollout(ctx context.Context, run *watchedRun, words, regions int) (*tensor.Tensor, error) {
	var config struct {
		Language int `json:"l_layers"`
		Visual   int `json:"r_layers"`
		Cross    int `json:"x_layers"`
	}
	if err := m.bundle.JSON("config.json", &config); err != nil {
		return nil, err
	}
	kinds := map[attentionKind][]*tensor.Tensor{}
	for _, a := range run.maps {
		mean, err := meanOf(a)
		if err != nil {
			return nil, err
		}
		kinds[a.kind] = append(kinds[a.kind], mean)
	}
	if len(kinds[selfAttention]) < config.Language+config.Cross || len(kinds[crossAttention]) < config.Cross || config.Cross == 0 {
		return nil, nil
	}
	f := newFlow(ctx, words+regions)
	at := func(kind attentionKind, layer, to, from int) []update {
		if layer < len(kinds[kind]) {
			return []update{{to: to, from: from, weights: kinds[kind][layer]}}
		}
		return nil
	}
	var err error
	step := func(updates ...update) {
		if err == nil {
			err = f.layer(updates...)
		}
	}
	for l := range config.Language {
		step(at(selfAttention, l, 0, 0)...)
	}
	for l := range config.Visual {
		step(at(visualSelfAttention, l, words, words)...)
	}
	for l := range config.Cross {
		step(append(at(crossAttention, l, 0, words), at(visualCrossAttention, l, words, 0)...)...)
		step(append(at(selfAttention, config.Language+l, 0, 0), at(visualSelfAttention, config.Visual+l, words, words)...)...)
	}
	if err != nil {
		return nil, err
	}
	return f.part(0, words, words, regions)
}
