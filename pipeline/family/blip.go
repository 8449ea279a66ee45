package family

import (
	"context"
	"fmt"

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

// blip is a model of BLIP (Li et al., 2201.12086): a text decoder of BERT's kind whose
// cross-attention reads the picture's patches (captioning), or the states of a question encoder
// that has read them (question answering).
type blip struct {
	crossReader // its cross is nil in a VQA model
	// questions maps a question and patches to keys and values; nil in a captioning model.
	questions *decode.CrossKV
	texts     Texts
	positions int // of a question; 0: unknown
}

func openBLIP(o *graph.Opener, c *Config) (*blip, error) {
	m := &blip{texts: c.Texts}
	var err error
	if m.positions, err = maxPositions(o.Bundle, "text_config"); err != nil {
		return nil, err
	}
	if err := m.open(o, graph.VisionEncoder); err != nil {
		return nil, err
	}
	if o.Bundle.Has(graph.QuestionEncoder) {
		m.questions, err = decode.OpenCrossKV(o, graph.QuestionEncoder)
	} else {
		m.cross, err = decode.OpenCrossKV(o, graph.CrossKV)
	}
	return m, err
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
		// The decoder's start token replaces [CLS]; [SEP] would end the text.
		read := prompt.IDs
		if prompt.IDs = []int64{m.start}; len(read) > 2 {
			prompt.IDs = append(prompt.IDs, read[1:len(read)-1]...)
		}
	}
	return []Segment{{Embeds: patches, Keys: encoded[0].Keys}, prompt}, err
}

func (m *blip) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	if m.questions == nil {
		return m.crossReader.Begin(ctx, prompts)
	}
	patches, err := stackStates(prompts)
	if err != nil {
		return nil, err
	}
	ids, mask, err := padRight(textIDs(prompts))
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{
		graph.InputIDs: ids, graph.AttentionMask: mask, graph.ImageEmbeds: patches,
	}
	fixed, err := m.questions.Run(ctx, in, mask)
	if err != nil {
		return nil, err
	}
	return m.decoder.BeginFrom(ctx, m.start, len(prompts), fixed)
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
	if m.questions == nil {
		return m.crossReader.Attend(ctx, a, w)
	}
	columns, err := crossTokens(a, w, "tokens over the question's words")
	if err != nil {
		return err
	}
	q := &w.Runs(graph.QuestionEncoder)[0]
	read := q.Kind(attend.CrossAttention)
	if len(read) == 0 {
		return fmt.Errorf("%w: the question encoder shows no cross-attention", graph.ErrUnsupported)
	}
	const name = "the question's words over patches"
	patches := read[0].Dim(3)
	look, err := attend.StageOf(name, read, 0, columns, 0, patches)
	if err != nil {
		return err
	}
	self := q.Kind(attend.SelfAttention)
	look.Rollout, err = attend.QueryRollout(ctx, self, read, columns, patches)
	if err != nil {
		return err
	}
	a.Stages = append(a.Stages, look)
	return nil
}
