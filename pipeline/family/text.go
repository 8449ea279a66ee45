package family

import (
	"cmp"
	"context"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Text names the family of language models that see nothing.
const Text models.Family = "text"

// textTypes are the model_types of decoder-only language models with a key/value cache of
// self-attention, and of LFM2, whose layers with short convolutions have states. Others whose class
// says that they are such, and whose graphs are a decoder's, are read in the same way.
var textTypes = []string{
	models.CausalLMType,
	"arcee", "codegen", "cohere", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "gpt2", "gpt_neo",
	"gpt_neox", "gptj", "granite", "helium", "lfm2", "llama", "mistral", "mpt", "olmo", "olmo2", "opt", "phi",
	"phi3", "qwen2", "qwen3", "smollm3", "stablelm",
}

var textRow = Family{Name: Text, Layouts: textLayouts(), Open: openText, TextOnly: true}

func textLayouts() (layouts []models.Layout) {
	for _, t := range textTypes {
		layouts = append(layouts, models.Layout{
			Type: t, Family: Text,
			Forms:    [][]string{{graph.Decoder}, {graph.Model}, {graph.DecoderFirst}, {graph.DecoderNext}},
			Optional: []string{graph.EmbedTokens},
			Manifest: func(c models.Config) map[string]any {
				return map[string]any{
					"prompts": map[string]string{"answer": "{}"},
					"tasks":   []string{"answer", "converse"},
					"limits":  positionLimit(cmp.Or(c.MaxPositions, c.GPTPositions)),
				}
			},
		})
	}
	return layouts
}

// maxPositionLimit is the largest limit that a manifest may state; models with more positions have
// room for every prompt within pipeline's limits.
const maxPositionLimit = 1 << 20

// positionLimit returns the limits of a manifest; none where the number of positions is unknown.
func positionLimit(positions int) map[string]int {
	if positions <= 0 || positions > maxPositionLimit {
		return nil
	}
	return map[string]int{"max_positions": positions}
}

// text is a language model of one graph: ids in, logits out.
type text struct {
	chatter
	decoder *decode.Decoder
}

func openText(o *graph.Opener, c *Config) (Model, error) {
	m := &text{}
	var err error
	if m.chatter, err = newChatter(o.Bundle, c.Texts); err != nil {
		return nil, err
	}
	m.decoder, err = decode.Open(o)
	return m, err
}

// Media is empty: the model sees nothing.
func (m *text) Media() []media.Kind { return nil }

// Encode is never called: there are no items.
func (m *text) Encode(context.Context, media.Prepared) ([]Encoded, error) {
	return nil, fmt.Errorf("%w: this model reads text alone", graph.ErrUnsupported)
}

// Compose returns the ids of the whole prompt.
func (m *text) Compose(parts []Part, _ []Encoded) ([]Segment, error) {
	prompt, err := m.Write(parts)
	if err != nil {
		return nil, err
	}
	ids, err := m.read(prompt, templated(parts), false)
	return []Segment{{Text: prompt, IDs: ids}}, err
}

func (m *text) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	ids := textIDs(prompts)
	embeds, width, err := m.decoder.EmbedAll(ctx, ids...)
	if err != nil {
		return nil, err
	}
	start := decode.Start{Width: width, Apart: true}
	for i := range prompts {
		prompt := decode.Prompt{IDs: ids[i], Embeds: [][]float32{embeds[i].Rows}, Beside: embeds[i].Beside}
		start.Prompts = append(start.Prompts, prompt)
	}
	return m.decoder.Begin(start)
}
