package family

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// BLIP2 names the family of BLIP-2 and InstructBLIP.
const BLIP2 models.Family = "blip2"

var blip2Forms = [][]string{
	{graph.VisionEncoder, graph.QFormer, graph.EmbedTokens, graph.Decoder, models.ProjectionName},
	{graph.VisionEncoder, graph.QFormer, graph.TextEncoder, models.ProjectionName},
}

var blip2Row = Family{
	Name: BLIP2,
	Layouts: []models.Layout{{
		Type: "blip-2", Family: BLIP2, Forms: blip2Forms, Optional: []string{graph.Encoder},
		Manifest: models.Prompts(map[string]string{
			"caption": "", "answer": "Question: {} Answer:",
		}),
	}, {
		Type: "instructblip", Family: BLIP2, Forms: blip2Forms, Optional: []string{graph.Encoder},
		Manifest: models.Prompts(map[string]string{
			"caption": "A short image description.", "answer": "{}",
		}),
	}},
	Open: func(o *graph.Opener, c *Config) (Model, error) {
		if o.Bundle.Has(graph.Decoder) {
			return openBLIP2(o, c)
		}
		return openRetrieval(o, c, true)
	},
}

// blip2 is a model of BLIP-2 (Li et al., 2301.12597): the picture's patches are the keys and
// values that a small set of learned queries attends to in the Q-Former; the queries' outputs,
// projected to the language model's width, stand before the prompt.
//
// With a graph "encoder" the language model is of T5's kind: the encoder reads the prompt, and the
// decoder starts from one token. With an input qformer_input_ids the Q-Former reads the text as
// well, which is InstructBLIP (Dai et al., 2305.06500).
type blip2 struct {
	onePicture
	bundle          *models.Bundle
	vision, qformer *graph.Graph
	decoder         *decode.Decoder
	encoder         *decode.CrossKV // nil for decoder-only language models
	start           int64           // the id that a decoder behind an encoder starts from
	projection      *graph.Projection
	count           int // queries of a picture; 0 where the manifest does not say
	// image is the id that transformers puts before a text in each query's place. It counts where
	// parameters look at a prompt's ids: min_length, repetition_penalty. Nil: none.
	image       *int64
	texts       Texts
	nothing     []int64 // what the language model reads where there is no text; nil: as the tokenizer says
	instruction *Texts  // of the Q-Former; nil where it reads no text
	positions   int     // of an instruction; 0: unknown
}

// The Q-Former's inputs and output.
const (
	qformerIDs   = "qformer_input_ids"
	qformerMask  = "qformer_attention_mask"
	queryOutput  = "query_output"
	qformerVocab = "qformer_tokenizer/tokenizer.json"
)

func openBLIP2(o *graph.Opener, c *Config) (*blip2, error) {
	m := &blip2{bundle: o.Bundle, texts: c.Texts}
	var manifest struct {
		Queries int     `json:"num_query_tokens"`
		Image   *int64  `json:"image_token_id"`
		Nothing []int64 `json:"empty_text_ids"`
	}
	if err := o.Bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.count = manifest.Queries
	m.image, m.nothing = manifest.Image, manifest.Nothing
	weights, err := o.Bundle.Weights()
	if err != nil {
		return nil, err
	}
	if m.projection, err = graph.LoadProjection(weights, "language_projection"); err != nil {
		return nil, err
	}
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.qformer, err = o.Open(graph.QFormer); err != nil {
		return nil, err
	}
	if m.qformer.HasInput(qformerIDs) {
		if err := m.readInstructions(o.Bundle, c); err != nil {
			return nil, err
		}
	}
	if m.decoder, err = decode.Open(o); err != nil {
		return nil, err
	}
	if o.Bundle.Has(graph.Encoder) {
		if m.encoder, err = decode.OpenCrossKV(o, graph.Encoder); err != nil {
			return nil, err
		}
		m.start, _, err = decode.StartToken(o.Bundle)
	}
	return m, err
}

// readInstructions opens the Q-Former's own tokenizer.
func (m *blip2) readInstructions(bundle *models.Bundle, c *Config) error {
	data, err := bundle.File(qformerVocab)
	if err != nil {
		return err
	}
	tokenizer, err := tokenize.New(data)
	if err != nil {
		return fmt.Errorf("qformer_tokenizer: %w", err)
	}
	texts := c.Texts.With(tokenizer)
	m.instruction = &texts
	m.positions, err = maxPositions(bundle, "qformer_config")
	return err
}

// Encode returns the projected queries [1,Q,D] of each picture. A Q-Former that reads the text runs
// later, in Begin, and Encode returns the patches [1,N,Dv].
func (m *blip2) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	states, err := m.vision.RunPrepared(ctx, prepared.Tensors, graph.ImageEmbeds,
		prepared.Items(), -1, -1)
	if err == nil && m.instruction == nil {
		states, err = m.queries(ctx, map[string]*tensor.Tensor{graph.ImageEmbeds: states})
	}
	return encodeEach(states, err)
}

// queries runs the Q-Former and projects its output to [B,Q,D].
func (m *blip2) queries(ctx context.Context, in map[string]*tensor.Tensor) (*tensor.Tensor, error) {
	queries, err := m.qformer.RunOne(ctx, in, queryOutput, in[graph.ImageEmbeds].Dim(0), -1, -1)
	if err != nil {
		return nil, err
	}
	if m.count > 0 && queries.Dim(1) != m.count {
		return nil, fmt.Errorf("%w: the Q-Former gives %d queries, %s says %d",
			graph.ErrBundle, queries.Dim(1), models.ManifestName, m.count)
	}
	return m.projection.Apply(ctx, queries)
}

// Compose puts the picture's rows before the text.
func (m *blip2) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	states, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	ids, err := m.texts.Read(text)
	if text == "" && m.nothing != nil {
		ids = slices.Clone(m.nothing)
	}
	return []Segment{{Embeds: states}, {Text: text, IDs: ids}}, err
}

// instructed runs the Q-Former over the patches and the text of each prompt, and puts the queries
// in the patches' place.
func (m *blip2) instructed(ctx context.Context, prompts [][]Segment) ([][]Segment, error) {
	patches, err := stackStates(prompts)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(prompts))
	for i, p := range prompts {
		texts[i] = p[1].Text
	}
	rows, err := m.instruction.ReadAll(m.positions, texts)
	if err != nil {
		return nil, err
	}
	ids, mask, err := padRight(rows)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{
		graph.ImageEmbeds: patches, qformerIDs: ids, qformerMask: mask,
	}
	queries, err := encodeEach(m.queries(ctx, in))
	if err != nil {
		return nil, err
	}
	read := make([][]Segment, len(prompts))
	for i, p := range prompts {
		read[i] = []Segment{{Embeds: queries[i].States}, p[1]}
	}
	return read, nil
}

func (m *blip2) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	if m.instruction != nil {
		var err error
		if prompts, err = m.instructed(ctx, prompts); err != nil {
			return nil, err
		}
	}
	start, err := m.join(ctx, prompts)
	if err != nil {
		return nil, err
	}
	if m.encoder == nil {
		return m.decoder.Begin(start)
	}
	embeds, mask, err := decode.PadRight(start.Prompts, start.Width)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{graph.InputsEmbeds: embeds, graph.AttentionMask: mask}
	fixed, err := m.encoder.Run(ctx, in, mask)
	if err != nil {
		return nil, err
	}
	return m.decoder.BeginFrom(ctx, m.start, len(prompts), fixed)
}

// join puts the embeddings of each prompt's text behind its queries.
func (m *blip2) join(ctx context.Context, prompts [][]Segment) (decode.Start, error) {
	ids := textIDs(prompts)
	words, wide, err := m.decoder.Embed(ctx, ids...)
	if err != nil {
		return decode.Start{}, err
	}
	start := decode.Start{Width: prompts[0][0].Embeds.Dim(2)}
	if wide != start.Width && wide > 0 {
		return start, fmt.Errorf(
			"%w: the projected queries are %d wide, the text's embeddings are not",
			graph.ErrBundle, start.Width)
	}
	for i, p := range prompts {
		queries, err := tensor.Values[float32](p[0].Embeds)
		if err != nil {
			return start, err
		}
		read := ids[i]
		if m.image != nil && m.encoder == nil {
			read = append(slices.Repeat([]int64{*m.image}, p[0].Embeds.Dim(1)), read...)
		}
		prompt := decode.Prompt{IDs: read, Embeds: [][]float32{queries, words[i]}}
		start.Prompts = append(start.Prompts, prompt)
	}
	return start, nil
}

func (m *blip2) StartsAfresh() bool { return m.encoder != nil }

func (m *blip2) Watched() []string {
	roles := []string{graph.QFormer, graph.Decoder}
	if m.vision.HasOutput(string(attend.ImagePlaces)) {
		roles = append(roles, graph.VisionEncoder)
	}
	return roles
}

// Attend leads from a token through the language model's attention to the queries (self-attention
// to the prefix; cross-attention to the encoder's output where there is an encoder), and from a
// query through the Q-Former's cross-attention to the patches. Tokens of the picture may pass the
// Q-Former beside the queries: each leads to itself. Where the vision encoder gives the cells that
// its tokens come from, a third stage leads to those.
func (m *blip2) Attend(ctx context.Context, a *attend.Attention, w *attend.Watch) error {
	q := &w.Runs(graph.QFormer)[0]
	cross := q.Kind(attend.CrossAttention)
	if len(cross) == 0 {
		return fmt.Errorf("%w: the Q-Former shows no cross-attention", graph.ErrUnsupported)
	}
	p, err := attend.PatchesOf(m.bundle)
	if err != nil {
		return err
	}
	queries, patches, passed := cross[0].Dim(2), cross[0].Dim(3), 0
	if p != nil {
		passed = p.Passed
	}
	if queries == 0 || passed < 0 || passed > patches {
		return fmt.Errorf(
			"%w: %s: beside %d queries, %d of %d tokens of a picture pass the Q-Former",
			graph.ErrBundle, models.ManifestName, queries, passed, patches)
	}
	kind := attend.SelfAttention
	if m.encoder != nil {
		kind = attend.CrossAttention
	}
	runs, tokens, columns := w.Runs(graph.Decoder), len(a.Tokens), queries+passed
	words, err := attend.StepsOf("tokens over queries", runs, kind, tokens, 0, columns)
	if err != nil {
		return err
	}
	if m.encoder == nil {
		if words.Rollout, err = attend.DecoderRollout(ctx, runs, tokens, columns); err != nil {
			return err
		}
	}
	look, err := attend.StageOf("queries over patches", cross, 0, queries, 0, patches)
	if err != nil {
		return err
	}
	self := q.Kind(attend.SelfAttention)
	if look.Rollout, err = attend.QueryRollout(ctx, self, cross, queries, patches); err != nil {
		return err
	}
	if look.Maps, err = passedBeside(look.Maps, passed); err != nil {
		return err
	}
	if look.Rollout, err = passedBeside(look.Rollout, passed); err != nil {
		return err
	}
	a.Stages = []attend.Stage{words, look}
	if len(w.Runs(graph.VisionEncoder)) == 0 {
		return nil
	}
	cells, err := cellStage(w, patches)
	a.Stages = append(a.Stages, cells)
	return err
}

// cellStage makes the stage from the picture's tokens, of which there are patches, to the cells
// that the vision encoder says they come from.
func cellStage(w *attend.Watch, patches int) (s attend.Stage, err error) {
	places := w.Runs(graph.VisionEncoder)[0].Kind(attend.ImagePlaces)
	if len(places) == 0 || places[0].Dim(0) < 1 || places[0].Dim(1) != patches {
		return s, fmt.Errorf("%w: %s of %s are not those of its %d tokens",
			graph.ErrBundle, attend.ImagePlaces, graph.VisionEncoder, patches)
	}
	cells := places[0].Dim(2)
	values := tensor.Data[float32](places[0].Tensor)[:patches*cells] // of the first picture
	for i := range patches {
		sum := 0.0
		for _, v := range values[i*cells : (i+1)*cells] {
			if sum += float64(v); !(v >= 0 && sum <= 1+1e-3) {
				return s, fmt.Errorf("%w: %s of %s: row %d is no distribution over cells",
					graph.ErrBundle, attend.ImagePlaces, graph.VisionEncoder, i)
			}
		}
	}
	return attend.StageOfPlaces("patches over cells", patches, cells, values)
}

// passedBeside appends n rows to each matrix [...,rows,columns] of m; they lead to the last n
// columns.
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
