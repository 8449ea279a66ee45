package family

import (
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tokenize"
)

// EncDec names the family of transformers' VisionEncoderDecoderModel.
const EncDec models.Family = "encdec"

var encdecRow = Family{
	Name: EncDec,
	Layouts: []models.Layout{{
		Type: "vision-encoder-decoder", Family: EncDec,
		Forms: [][]string{
			{graph.VisionEncoder, graph.EmbedTokens, graph.Decoder, graph.CrossKV},
		},
		Manifest: models.Prompts(map[string]string{"caption": ""}),
	}},
	Open: openEncDec,
}

// encdec is a VisionEncoderDecoderModel: a vision encoder, and a language model whose
// cross-attention reads its states. ViT with GPT-2 captions pictures, TrOCR (Li et al., 2109.10282)
// reads a line of text, Donut (Kim et al., 2111.15664) reads a page for the task in its prompt.
type encdec struct {
	crossReader
	texts Texts
	// replaces reports whether the prompt's ids replace the start token (Donut).
	replaces bool
	encoding []tokenize.Option
}

func openEncDec(o *graph.Opener, c *Config) (Model, error) {
	m := &encdec{texts: c.Texts}
	var manifest struct {
		SpecialTokens bool `json:"prompt_special_tokens"`
		Replaces      bool `json:"prompt_replaces_start"`
	}
	if err := o.Bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.replaces = manifest.Replaces
	if !manifest.SpecialTokens {
		m.encoding = append(m.encoding, tokenize.WithoutSpecialTokens())
	}
	if err := m.open(o); err != nil {
		return nil, err
	}
	var err error
	m.cross, err = decode.OpenCrossKV(o, graph.CrossKV)
	return m, err
}

func (m *encdec) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	states, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	ids, err := m.texts.Read(text, m.encoding...)
	if !m.replaces || len(ids) == 0 {
		ids = append([]int64{m.start}, ids...)
	}
	return []Segment{{Embeds: states}, {Text: text, IDs: ids}}, err
}
