package family

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// BLIP names the family of BLIP.
const BLIP models.Family = "blip"

var blipRow = Family{
	Name: BLIP,
	Layouts: []models.Layout{{
		Type: "blip", Family: BLIP,
		Forms: [][]string{
			{graph.VisionEncoder, graph.EmbedTokens, graph.Decoder, graph.CrossKV},
			{graph.VisionEncoder, graph.EmbedTokens, graph.Decoder, graph.QuestionEncoder},
			{graph.VisionEncoder, graph.Matcher, graph.TextEncoder, models.ProjectionName},
		},
		Manifest: models.Prompts(map[string]string{"caption": "", "answer": "{}"}),
	}},
	Open: func(o *graph.Opener, c *Config) (Model, error) {
		if o.Bundle.Has(graph.Decoder) {
			return openBLIP(o, c)
		}
		return openRetrieval(o, c, false)
	},
}

// blip is the way of BLIP (Li et al., 2201.12086): a text decoder of BERT's kind whose
// cross-attention reads the picture's patches (captioning), or the states of a question encoder
// that has read them (question answering).
type blip struct {
	onePicture
	vision    *graph.Graph
	decoder   *decode.Decoder
	captioner *decode.CrossKV // patches -> keys and values; nil in a VQA model
	questions *decode.CrossKV // question and patches -> keys and values; nil in a captioning model
	start     int64           // the id that the decoder starts from
	texts     Texts
	positions int // of a question; 0: unknown
}

func openBLIP(o *graph.Opener, c *Config) (*blip, error) {
	m := &blip{texts: c.Texts}
	var err error
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.decoder, err = decode.Open(o); err != nil {
		return nil, err
	}
	if m.positions, err = maxPositions(o.Bundle, "text_config"); err != nil {
		return nil, err
	}
	if o.Bundle.Has(graph.QuestionEncoder) {
		m.questions, err = decode.OpenCrossKV(o, graph.QuestionEncoder)
	} else {
		m.captioner, err = decode.OpenCrossKV(o, graph.CrossKV)
	}
	if err != nil {
		return nil, err
	}
	m.start, err = decode.StartToken(o.Bundle)
	return m, err
}

// Encode returns the patches [1,N,Dv] of each picture.
func (m *blip) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	return encodeEach(m.vision.RunPrepared(ctx, prepared.Tensors, graph.ImageEmbeds, prepared.Items(), -1, -1))
}

func (m *blip) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	patches, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	prompt := Segment{Text: text}
	if m.questions != nil {
		prompt.IDs, err = m.texts.ReadUpTo(m.positions, text)
	} else if prompt.IDs, err = m.texts.Read(text); err == nil {
		// [CLS] gives way to the decoder's own start, and [SEP] would end the text.
		inner := prompt.IDs[min(1, len(prompt.IDs)):max(1, len(prompt.IDs)-1)]
		prompt.IDs = append([]int64{m.start}, inner...)
	}
	return []Segment{{Embeds: patches}, prompt}, err
}

func (m *blip) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	patches, err := stackStates(prompts)
	if err != nil {
		return nil, err
	}
	if m.questions != nil {
		ids, mask, err := padRight(textIDs(prompts))
		if err != nil {
			return nil, err
		}
		in := map[string]*tensor.Tensor{graph.InputIDs: ids, graph.AttentionMask: mask, graph.ImageEmbeds: patches}
		fixed, err := m.questions.Run(ctx, in, mask)
		if err != nil {
			return nil, err
		}
		return m.decoder.BeginFrom(ctx, m.start, len(prompts), fixed)
	}
	mask, err := ones(patches.Dim(0), patches.Dim(1))
	if err != nil {
		return nil, err
	}
	fixed, err := m.captioner.Run(ctx, map[string]*tensor.Tensor{graph.ImageEmbeds: patches}, mask)
	if err != nil {
		return nil, err
	}
	return beginText(ctx, m.decoder, prompts, fixed)
}

// beginText starts sequences from the text of prompts, whose items the decoder reads by
// cross-attention alone.
func beginText(
	ctx context.Context, d *decode.Decoder, prompts [][]Segment, fixed map[string]*tensor.Tensor,
) (decode.Sequences, error) {
	ids := textIDs(prompts)
	embeds, width, err := d.Embed(ctx, ids...)
	if err != nil {
		return nil, err
	}
	start := decode.Start{Width: width, Fixed: fixed}
	for i := range prompts {
		start.Prompts = append(start.Prompts, decode.Prompt{IDs: ids[i], Embeds: embeds[i : i+1]})
	}
	return d.Begin(start)
}

// ones is a mask [B,S] of what is all there.
func ones(rows, length int) (*tensor.Tensor, error) {
	values := make([]int64, rows*length)
	for i := range values {
		values[i] = 1
	}
	return tensor.New([]int{rows, length}, values)
}

func (m *blip) StartsAfresh() bool { return m.questions != nil }

func (m *blip) Watched() []string {
	if m.questions != nil {
		return []string{graph.QuestionEncoder, graph.Decoder}
	}
	return []string{graph.Decoder}
}

// Attend leads from a token through the decoder's cross-attention to the patches, or, in a VQA
// model, to the question's words, and from those through the question encoder's to the patches.
func (m *blip) Attend(ctx context.Context, a *attend.Attention, w *attend.Watch) error {
	name := "tokens over patches"
	if m.questions != nil {
		name = "tokens over the question's words"
	}
	columns, err := crossTokens(a, w, name)
	if err != nil || m.questions == nil {
		return err
	}
	q := &w.Runs(graph.QuestionEncoder)[0]
	read := q.Kind(attend.CrossAttention)
	if len(read) == 0 {
		return fmt.Errorf("%w: the question encoder shows no cross-attention", graph.ErrUnsupported)
	}
	look, err := attend.StageOf("the question's words over patches", read, 0, columns, 0, read[0].Dim(3))
	if err != nil {
		return err
	}
	look.Rollout, err = attend.QueryRollout(ctx, q.Kind(attend.SelfAttention), read, columns, read[0].Dim(3))
	if err != nil {
		return err
	}
	a.Stages = append(a.Stages, look)
	return nil
}

// crossTokens makes the stage from tokens to the columns of the decoder's cross-attention, and
// returns how many those are.
func crossTokens(a *attend.Attention, w *attend.Watch, name string) (columns int, err error) {
	runs := w.Runs(graph.Decoder)
	cross := runs[0].Kind(attend.CrossAttention)
	if len(cross) == 0 {
		return 0, fmt.Errorf("%w: the decoder shows no cross-attention", graph.ErrUnsupported)
	}
	columns = cross[0].Dim(3)
	stage, err := attend.StepsOf(name, runs, attend.CrossAttention, len(a.Tokens), 0, columns)
	a.Stages = []attend.Stage{stage}
	return columns, err
}
