package family

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/reading"
	"github.com/crossattn/xpipe/tensor"
)

// Florence names the family of Florence-2.
const Florence models.Family = "florence"

var florenceRow = Family{
	Name: Florence,
	Layouts: []models.Layout{{
		Type: "florence2", Family: Florence,
		Forms: [][]string{
			{graph.VisionEncoder, graph.EmbedTokens, graph.Encoder, graph.Decoder},
			{graph.VisionEncoder, graph.EmbedTokens, graph.Encoder, graph.DecoderFirst, graph.DecoderNext},
			{graph.VisionEncoder, graph.EmbedTokens, graph.Encoder, graph.DecoderFirst},
		},
		Alternatives: true,
		Manifest: func(c models.Config) map[string]any {
			return map[string]any{
				"prompts":             map[string]string{"caption": "<CAPTION>", "answer": "{}"},
				"keep_special_tokens": true,
				"limits":              map[string]int{"max_positions": cmp.Or(c.TextConfig.MaxPositions, 1024)},
			}
		},
	}},
	Open: openFlorence,
}

// florence is Florence-2 (Xiao et al., 2311.06242): an encoder that reads a picture's rows and the
// text behind them, and a decoder that answers with text and places in the picture.
type florence struct {
	onePicture
	vision, encoder  *graph.Graph
	features, states string          // the names of their outputs
	cross            *decode.CrossKV // states -> keys and values; nil where the decoder makes them
	decoder          *decode.Decoder
	texts            Texts
	start            int64
	positions        int // of the encoder; 0: unknown
	tasks            florenceTasks
	unwritten        []int64 // ids that are no part of a text, though special tokens are
}

// florenceTasks are the maps of preprocessor_config.json: what a task token stands for, and what an
// answer to it holds.
type florenceTasks struct {
	Kinds map[string]string `json:"tasks_answer_post_processing_type"`
	Alone map[string]string `json:"task_prompts_without_inputs"`
	With  map[string]string `json:"task_prompts_with_input"` // {input} stands for the text
	Rules struct {
		Grounding struct {
			Banned []string `json:"banned_grounding_tokens"`
		} `json:"phrase_grounding"`
	} `json:"post_processor_config"`
}

// florenceDefaults are Florence2Processor's own (transformers 4.57), for checkpoints whose files do
// not have them.
var florenceDefaults = florenceTasks{
	Kinds: map[string]string{
		"<OCR>": kindText, "<OCR_WITH_REGION>": kindOCR, "<CAPTION>": kindText,
		"<DETAILED_CAPTION>": kindText, "<MORE_DETAILED_CAPTION>": kindText, "<OD>": kindBoxes,
		"<DENSE_REGION_CAPTION>": kindBoxes, "<CAPTION_TO_PHRASE_GROUNDING>": kindPhrases,
		"<REFERRING_EXPRESSION_SEGMENTATION>": kindPolygons, "<REGION_TO_SEGMENTATION>": kindPolygons,
		"<OPEN_VOCABULARY_DETECTION>": kindBoxesOrPolygons, "<REGION_TO_CATEGORY>": kindText,
		"<REGION_TO_DESCRIPTION>": kindText, "<REGION_TO_OCR>": kindText,
		"<REGION_PROPOSAL>": kindBareBoxes,
	},
	Alone: map[string]string{
		"<OCR>":                   "What is the text in the image?",
		"<OCR_WITH_REGION>":       "What is the text in the image, with regions?",
		"<CAPTION>":               "What does the image describe?",
		"<DETAILED_CAPTION>":      "Describe in detail what is shown in the image.",
		"<MORE_DETAILED_CAPTION>": "Describe with a paragraph what is shown in the image.",
		"<OD>":                    "Locate the objects with category name in the image.",
		"<DENSE_REGION_CAPTION>":  "Locate the objects in the image, with their descriptions.",
		"<REGION_PROPOSAL>":       "Locate the region proposals in the image.",
	},
	With: map[string]string{
		"<CAPTION_TO_PHRASE_GROUNDING>":       "Locate the phrases in the caption: {input}",
		"<REFERRING_EXPRESSION_SEGMENTATION>": "Locate {input} in the image with mask",
		"<REGION_TO_SEGMENTATION>":            "What is the polygon mask of region {input}",
		"<OPEN_VOCABULARY_DETECTION>":         "Locate {input} in the image.",
		"<REGION_TO_CATEGORY>":                "What is the region {input}?",
		"<REGION_TO_DESCRIPTION>":             "What does the region {input} describe?",
		"<REGION_TO_OCR>":                     "What text is in the region {input}?",
	},
}

func openFlorence(o *graph.Opener, c *Config) (Model, error) {
	m := &florence{texts: c.Texts, tasks: florenceDefaults}
	for _, name := range []string{"preprocessor_config.json", "processor_config.json"} {
		err := o.Bundle.JSON(name, &m.tasks)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var err error
	if m.positions, err = maxPositions(o.Bundle, "text_config"); err != nil {
		return nil, err
	}
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.features, err = m.vision.OutputOf(graph.ImageFeatures, graph.ImageEmbeds); err != nil {
		return nil, err
	}
	if m.encoder, err = o.Open(graph.Encoder); err != nil {
		return nil, err
	}
	if m.states, err = m.encoder.OutputOf(graph.LastStates); err != nil {
		return nil, err
	}
	if m.decoder, err = decode.Open(o); err != nil {
		return nil, err
	}
	if o.Bundle.Has(graph.CrossKV) {
		if m.cross, err = decode.OpenCrossKV(o, graph.CrossKV); err != nil {
			return nil, err
		}
	}
	for _, token := range []string{"<s>", "</s>", "<pad>"} {
		if id, ok := m.texts.TokenToID(token); ok {
			m.unwritten = append(m.unwritten, id)
		}
	}
	m.start, _, err = decode.StartToken(o.Bundle)
	return m, err
}

// Encode returns the features [1,N,D] of each picture, in the width of the text's embeddings.
func (m *florence) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	features, err := m.vision.RunPrepared(ctx, prepared.Tensors, m.features, prepared.Items(), -1, -1)
	return encodeEach(features, err)
}

// Compose lays out the picture's features and the text that the prompt's task stands for.
func (m *florence) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	features, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	if text, err = m.tasks.spell(text); err != nil {
		return nil, err
	}
	room := 0
	if m.positions > 0 {
		if room = m.positions - features.Dim(1); room <= 0 {
			return nil, fmt.Errorf("%w: a picture takes %d positions, and the encoder has %d",
				graph.ErrBundle, features.Dim(1), m.positions)
		}
	}
	ids, err := m.texts.ReadUpTo(room, text)
	return []Segment{{Embeds: features}, {Text: text, IDs: ids}}, err
}

// spell writes a prompt's task out, as Florence2Processor does. A prompt without a task is returned
// unchanged.
func (t *florenceTasks) spell(prompt string) (string, error) {
	for _, task := range slices.Sorted(maps.Keys(t.Alone)) {
		if strings.Contains(prompt, task) {
			if strings.TrimSpace(prompt) != task {
				return "", fmt.Errorf("%w: the task %s stands alone; %q has more text", graph.ErrPrompt,
					task, prompt)
			}
			return t.Alone[task], nil
		}
	}
	if task := t.taskIn(prompt); task != "" {
		text := strings.TrimSpace(strings.ReplaceAll(prompt, task, ""))
		if text == "" {
			return "", fmt.Errorf("%w: the task %s needs a text behind it: %s", graph.ErrPrompt,
				task, t.With[task])
		}
		return strings.ReplaceAll(t.With[task], "{input}", text), nil
	}
	return prompt, nil
}

// taskIn returns the task token in a prompt; "" where it has none.
func (t *florenceTasks) taskIn(prompt string) string {
	for _, tasks := range []map[string]string{t.Alone, t.With} {
		for _, task := range slices.Sorted(maps.Keys(tasks)) {
			if strings.Contains(prompt, task) {
				return task
			}
		}
	}
	return ""
}

func (m *florence) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	words, width, err := m.decoder.Embed(ctx, textIDs(prompts)...)
	if err != nil {
		return nil, err
	}
	read := make([]decode.Prompt, len(prompts))
	for i, p := range prompts {
		features := p[0].Embeds
		if features.Dim(2) != width {
			return nil, fmt.Errorf("%w: the picture's features are %d wide, the text's embeddings %d",
				graph.ErrBundle, features.Dim(2), width)
		}
		read[i].Embeds = [][]float32{tensor.Data[float32](features), words[i]}
	}
	embeds, mask, err := decode.PadRight(read, width)
	if err != nil {
		return nil, err
	}
	in, err := m.encoder.Feed(map[string]*tensor.Tensor{
		graph.InputsEmbeds: embeds, graph.AttentionMask: mask,
	})
	if err != nil {
		return nil, err
	}
	states, err := m.encoder.RunOne(ctx, in, m.states, embeds.Dim(0), embeds.Dim(1), -1)
	if err != nil {
		return nil, err
	}
	fixed := map[string]*tensor.Tensor{graph.EncoderStates: states, graph.EncoderMask: mask}
	if m.cross != nil {
		if fixed, err = m.cross.Run(ctx, map[string]*tensor.Tensor{graph.ImageEmbeds: states}, mask); err != nil {
			return nil, err
		}
	}
	return m.decoder.BeginFrom(ctx, m.start, len(prompts), fixed)
}

// StartsAfresh is true: the encoder has read the prompt.
func (m *florence) StartsAfresh() bool { return true }

// Unwritten lists <s>, </s> and <pad>: the first new id is a forced <s>.
func (m *florence) Unwritten() []int64 { return m.unwritten }

// Find returns the places that an answer to a prompt names, in pixels of a picture of width by
// height, and the answer's text without them.
func (m *florence) Find(prompt, answer string, width, height int) Found {
	kind := m.tasks.Kinds[m.tasks.taskIn(prompt)]
	return findPlaces(kind, answer, width, height, m.tasks.Rules.Grounding.Banned)
}

// pageTask is the task of writing a page down, line by line.
const pageTask = "<OCR_WITH_REGION>"

// PageQuestion returns the task of writing a page down.
func (m *florence) PageQuestion() (string, bool) {
	return pageTask, m.tasks.Kinds[pageTask] == kindOCR && m.tasks.Alone[pageTask] != ""
}

// PageOf makes a page of an answer to that task.
func (m *florence) PageOf(_, written string, width, height int) *reading.Page {
	var lines []reading.Line
	for _, place := range m.Find(pageTask, written, width, height).Places {
		if len(place.Quad) != 8 {
			continue
		}
		line := reading.Line{Text: strings.TrimSpace(place.Label), Confidence: 1, Detected: 1}
		for i := range line.Quad {
			line.Quad[i] = [2]float64{place.Quad[2*i] / float64(width), place.Quad[2*i+1] / float64(height)}
		}
		lines = append(lines, line)
	}
	return reading.NewPage(width, height, lines)
}

// UnmarshalJSON keeps the defaults of maps that a file does not have.
func (t *florenceTasks) UnmarshalJSON(data []byte) error {
	type fields florenceTasks
	file := fields{}
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	if len(file.Kinds) > 0 {
		t.Kinds = file.Kinds
	}
	if len(file.Alone) > 0 {
		t.Alone = file.Alone
	}
	if len(file.With) > 0 {
		t.With = file.With
	}
	if len(file.Rules.Grounding.Banned) > 0 {
		t.Rules = file.Rules
	}
	return nil
}
