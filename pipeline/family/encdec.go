package family

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
			{graph.VisionEncoder, graph.Decoder},
			{graph.VisionEncoder, graph.DecoderFirst, graph.DecoderNext},
			{graph.VisionEncoder, graph.DecoderFirst},
		},
		Alternatives: true,
		Roles:        map[string]string{"encoder_model": graph.VisionEncoder},
		Manifest:     encdecManifest,
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
	task     string // the prompt of a request without one, where no start token is given either
	encoding []tokenize.Option
	// writes is what the model writes down, as its config.json says.
	writes written
}

// Donut's prompts are tasks. These are of the released checkpoints, those of pre-training, which
// all of them have, last.
const donutQuestion = "<s_docvqa>"

var donutTasks = []string{
	"<s_cord-v2>", "<s_cord-v1>", "<s_zhtrainticket>", "<s_rvlcdip>", "<s_synthdog>", "<s_iitcdip>",
}

// decoderPositions are the positions of decoders whose configuration leaves them at the default.
var decoderPositions = map[string]int{"gpt2": 1024, "trocr": 512, "mbart": 1024}

// encdecManifest says what BUNDLE.md lists for this family.
func encdecManifest(c models.Config) map[string]any {
	prompts := map[string]string{"caption": ""}
	manifest := map[string]any{"prompts": prompts}
	if strings.Contains(c.Encoder.ModelType, "donut") {
		prompts["answer"] = donutQuestion + "<s_question>{}</s_question><s_answer>"
		manifest["prompt_replaces_start"], manifest["keep_special_tokens"] = true, true
	}
	most := cmp.Or(c.Decoder.MaxPositions, c.Decoder.Positions, decoderPositions[c.Decoder.ModelType])
	if most > 0 {
		manifest["limits"] = map[string]int{"max_positions": most}
	}
	return manifest
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
	if err := m.open(o, graph.VisionEncoder); err != nil {
		return nil, err
	}
	if err := m.openWritten(o); err != nil {
		return nil, err
	}
	if m.replaces && !m.startGiven {
		known := func(task string) bool { _, ok := m.texts.TokenToID(task); return ok }
		if at := slices.IndexFunc(donutTasks, known); at >= 0 {
			m.task = donutTasks[at]
		}
	}
	if !o.Bundle.Has(graph.CrossKV) {
		return m, nil // the decoder reads the encoder's states itself
	}
	var err error
	m.cross, err = decode.OpenCrossKV(o, graph.CrossKV)
	return m, err
}

// Compose makes the decoder's ids of a prompt, exactly as it is written, task tokens included.
func (m *encdec) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	states, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	if m.replaces {
		if _, ok := m.texts.TokenToID(donutQuestion); !ok && strings.HasPrefix(text, donutQuestion) {
			return nil, fmt.Errorf("%w: this model answers no questions: its tokenizer has no %s; "+
				"its prompts are tasks, such as %s",
				graph.ErrUnsupported, donutQuestion, cmp.Or(m.task, "<s_cord-v2>"))
		}
		text = cmp.Or(text, m.task)
	}
	ids, err := m.texts.Read(text, m.encoding...)
	// transformers' generate sets the start token before ids that do not begin with it, except for
	// Donut's.
	begun := len(ids) > 0 && (m.replaces || ids[0] == m.start)
	if !begun {
		ids = append([]int64{m.start}, ids...)
	}
	return []Segment{{Embeds: states, Keys: encoded[0].Keys}, {Text: text, IDs: ids}}, err
}
