package family

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// Moonshine names the family of models that write down sounds of any length from their samples.
const Moonshine models.Family = "moonshine"

var moonshineRow = Family{
	Name: Moonshine,
	Layouts: []models.Layout{{
		Type: "moonshine", Family: Moonshine, Forms: encoderForms, Alternatives: true,
		Manifest: func(c models.Config) map[string]any {
			return map[string]any{"limits": positionLimit(cmp.Or(c.MaxPositions, 512))}
		},
	}},
	Open: openMoonshine,
}

// encoderForms are the graphs of a decoder that reads an encoder's states.
var encoderForms = [][]string{
	{graph.Encoder, graph.Decoder},
	{graph.Encoder, graph.DecoderFirst, graph.DecoderNext},
	{graph.Encoder, graph.DecoderFirst},
}

// inputValues is the input [B,samples] of an encoder that hears samples themselves.
const inputValues = "input_values"

// moonshine is Moonshine (Jeffries et al., 2410.15608): an encoder of a sound's samples, as many states
// as the sound is long, which the decoder reads by cross-attention.
type moonshine struct {
	reader crossReader
	texts  Texts
}

// Of the encoder's convolutions, stateSamples is how far apart the samples of two states begin, and
// leastSamples the shortest sound that makes one (_get_feat_extract_output_lengths of
// modeling_moonshine.py, transformers 4.57.6).
const stateSamples, leastSamples = 64 * 3 * 2, 127 + 64*(7+3*2-1)

func openMoonshine(o *graph.Opener, c *Config) (Model, error) {
	m := &moonshine{texts: c.Texts}
	return m, m.reader.open(o, graph.Encoder)
}

// Media lists sounds alone.
func (m *moonshine) Media() []media.Kind { return []media.Kind{media.Sounds} }

// Encode returns the encoder's states [1,N,D] of each sound, whose samples were prepared: input_values
// [samples], one sound behind another. Sounds run one by one: the encoder normalises a whole run, so
// that padding would change it.
func (m *moonshine) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	encoded := make([]Encoded, prepared.Items())
	for i := range encoded {
		one, err := prepared.Item(i)
		if err != nil {
			return nil, err
		}
		values := one.Tensors[inputValues]
		if values == nil {
			return nil, fmt.Errorf("%w: preprocessor_config.json makes no %s of a sound", graph.ErrBundle, inputValues)
		}
		if values.Len() < leastSamples {
			return nil, fmt.Errorf("%w: the sound has %d samples, and the model hears %d or more",
				graph.ErrPrompt, values.Len(), leastSamples)
		}
		in := map[string]*tensor.Tensor{}
		if in[inputValues], err = values.Reshape(1, values.Len()); err != nil {
			return nil, err
		}
		if in[graph.AttentionMask], err = graph.Mask([]int{values.Len()}, values.Len()); err != nil {
			return nil, err
		}
		encoded[i].States, err = m.reader.vision.RunPrepared(ctx, in, m.reader.states, 1, -1, -1)
		if err != nil {
			return nil, err
		}
	}
	return encoded, nil
}

// Compose returns the states and the ids that the text goes on from: those of a prompt, exactly as it
// is written.
func (m *moonshine) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	states, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	ids, err := m.texts.Read(text, tokenize.WithoutSpecialTokens())
	if len(ids) == 0 || ids[0] != m.reader.start {
		ids = append([]int64{m.reader.start}, ids...)
	}
	return []Segment{{Embeds: states}, {Text: text, IDs: ids}}, err
}

// Begin starts a sequence from each prompt: those about sounds of as many states together.
func (m *moonshine) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	byLength := map[int][]int{}
	for i, p := range prompts {
		n := p[0].Embeds.Dim(1)
		byLength[n] = append(byLength[n], i)
	}
	var parts []decode.Sequences
	var rows [][]int
	for _, n := range slices.Sorted(maps.Keys(byLength)) {
		var group [][]Segment
		for _, i := range byLength[n] {
			group = append(group, prompts[i])
		}
		states, err := stackStates(group)
		if err != nil {
			return nil, err
		}
		// Decoders of optimum thin the samples' mask out to the states'.
		samples := n * stateSamples
		mask, err := graph.Mask(slices.Repeat([]int{samples}, len(group)), samples)
		if err != nil {
			return nil, err
		}
		fixed := map[string]*tensor.Tensor{graph.EncoderStates: states, graph.EncoderMask: mask}
		part, err := m.reader.beginFrom(ctx, fixed, textIDs(group))
		if err != nil {
			return nil, err
		}
		parts, rows = append(parts, part), append(rows, byLength[n])
	}
	return decode.Together(parts, rows), nil
}

// Pieces are of English. The tokens a second are those of the model card of UsefulSensors/moonshine-tiny,
// the longest piece is that of its training (2410.15608).
func (m *moonshine) Pieces() Pieces {
	return Pieces{Least: leastSamples, Longest: 30, Tokens: 6.5}
}

// StartsAfresh is true: the text starts from the model's own token.
func (m *moonshine) StartsAfresh() bool { return true }
