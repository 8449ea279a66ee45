package family

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// Whisper names the family of models that write down what they hear.
const Whisper models.Family = "whisper"

var whisperRow = Family{Name: Whisper, Layouts: whisperLayouts(), Open: openWhisper}

func whisperLayouts() (layouts []models.Layout) {
	for _, t := range []string{"whisper", "lite-whisper"} {
		layouts = append(layouts, models.Layout{
			Type: t, Family: Whisper,
			Forms: [][]string{
				{graph.Encoder, graph.Decoder},
				{graph.Encoder, graph.DecoderFirst, graph.DecoderNext},
				{graph.Encoder, graph.DecoderFirst},
			},
			Alternatives: true,
			Manifest: func(c models.Config) map[string]any {
				return map[string]any{"limits": positionLimit(cmp.Or(c.TargetPositions, c.MaxPositions))}
			},
		})
	}
	return layouts
}

// whisper is Whisper (Radford et al., 2212.04356) or a model of its kind: an encoder
// of sound, whose states the decoder reads by cross-attention.
type whisper struct {
	reader crossReader
	texts  Texts
	speech *Speech // of long sounds
	align  alignment
	init   []int64 // what a text starts with
	langs  []int64 // the tokens of languages; empty where the language is not to be found out
	behind []int64 // what stands behind the language
}

// whisperKeys are generation_config.json's keys that only models of this kind have.
type whisperKeys struct {
	Languages    map[string]int64 `json:"lang_to_id"`
	Tasks        map[string]int64 `json:"task_to_id"`
	Task         string           `json:"task"`
	Language     string           `json:"language"`
	Multilingual bool             `json:"is_multilingual"`
	NoTimes      *int64           `json:"no_timestamps_token_id"`
	Previous     *int64           `json:"prev_sot_token_id"`
	Forced       [][2]*int64      `json:"forced_decoder_ids"` // place and id, of before those
	Heads        [][2]int         `json:"alignment_heads"`    // of cross-attention: layer and head
	absent       bool             // the file is not there
}

func openWhisper(o *graph.Opener, c *Config) (Model, error) {
	m := &whisper{texts: c.Texts}
	if err := m.reader.open(o, graph.Encoder); err != nil {
		return nil, err
	}
	if o.Bundle.Has(graph.CrossKV) {
		var err error
		if m.reader.cross, err = decode.OpenCrossKV(o, graph.CrossKV); err != nil {
			return nil, err
		}
	}
	m.init = []int64{m.reader.start}
	var keys whisperKeys
	if err := o.Bundle.JSON("generation_config.json", &keys); errors.Is(err, fs.ErrNotExist) {
		keys.absent = true
	} else if err != nil {
		return nil, err
	}
	if !keys.absent {
		if err := m.start(keys); err != nil {
			return nil, err
		}
	}
	var err error
	if m.align, err = newAlignment(o.Bundle, keys.Heads); err != nil {
		return nil, err
	}
	// A model without these tokens still writes about one window.
	if m.speech, err = openSpeech(o.Bundle, c, keys, m.reader.start); errors.Is(err, errNoSpeech) {
		err = nil
	}
	return m, err
}

// start lays out what texts start with: the language, where the model has several, the task, and that
// no times are to be written. Source: _retrieve_init_tokens of generation_whisper.py, transformers
// 4.57.6; but a model with tasks transcribes, as transformers.js has it, where no task is given and
// the language is to be found out, too.
func (m *whisper) start(keys whisperKeys) error {
	missing := func(key, name string) error {
		return fmt.Errorf("%w: generation_config.json: there is no %q in %s", graph.ErrBundle, name, key)
	}
	var language *int64
	var behind []int64
	switch {
	case keys.Language != "":
		id, ok := keys.Languages[keys.Language]
		if !ok {
			id, ok = keys.Languages["<|"+keys.Language+"|>"]
		}
		if !ok {
			return missing("lang_to_id", keys.Language)
		}
		language = &id
	case keys.Task == "":
		for i, forced := range keys.Forced {
			if i == 0 {
				language = forced[1]
			} else if forced[1] != nil {
				behind = append(behind, *forced[1])
			}
		}
	}
	if language == nil {
		m.langs = slices.Sorted(maps.Values(keys.Languages))
	} else {
		m.init = append(m.init, *language)
	}
	var tasks []int64
	for _, id := range keys.Tasks {
		tasks = append(tasks, id)
	}
	given := func(id int64) bool { return slices.Contains(tasks, id) }
	if multilingual := language != nil || len(m.langs) > 0; len(tasks) > 0 && multilingual &&
		!slices.ContainsFunc(behind, given) {
		task := cmp.Or(keys.Task, "transcribe")
		id, ok := keys.Tasks[task]
		if !ok {
			return missing("task_to_id", task)
		}
		behind = append(behind, id)
	}
	if id := keys.NoTimes; id != nil && !slices.Contains(behind, *id) && !slices.Contains(m.init, *id) {
		behind = append(behind, *id)
	}
	if m.behind = behind; len(m.langs) == 0 {
		m.init, m.behind = append(m.init, behind...), nil
	}
	return nil
}

// Media lists sounds alone.
func (m *whisper) Media() []media.Kind { return []media.Kind{media.Sounds} }

// Encode returns the encoder's states [1,N,D] of each sound, whose features were prepared:
// input_features [B,mels,frames].
func (m *whisper) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	return m.reader.Encode(ctx, prepared)
}

// Compose returns the states and the ids that the text starts with: the prompt's, exactly as it is
// written, or the model's own where there is no prompt.
func (m *whisper) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	states, text, err := single(parts, encoded)
	if err != nil {
		return nil, err
	}
	segments := []Segment{{Embeds: states, Keys: encoded[0].Keys}, {Text: text}}
	if text == "" {
		return segments, nil // Begin knows the rest
	}
	ids, err := m.texts.Read(text, tokenize.WithoutSpecialTokens())
	if len(ids) == 0 || ids[0] != m.reader.start {
		ids = append([]int64{m.reader.start}, ids...)
	}
	segments[1].IDs = ids
	return segments, err
}

func (m *whisper) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	laid := make([][]Segment, len(prompts))
	for i, p := range prompts {
		laid[i] = slices.Clone(p)
		if len(p[1].IDs) > 0 {
			continue
		}
		ids := slices.Clone(m.init)
		if len(m.langs) > 0 {
			language, err := m.language(ctx, p)
			if err != nil {
				return nil, err
			}
			ids = append(append(ids, language), m.behind...)
		}
		laid[i][1].IDs = ids
	}
	return m.reader.Begin(ctx, laid)
}

// language returns the token of the likeliest language of a sound: the one that the decoder would
// write first (detect_language of generation_whisper.py).
func (m *whisper) language(ctx context.Context, prompt []Segment) (int64, error) {
	alone := []Segment{prompt[0], {IDs: []int64{m.reader.start}}}
	sequence, err := m.reader.Begin(ctx, [][]Segment{alone})
	if err != nil {
		return 0, err
	}
	logits, err := sequence.Prefill(ctx)
	if err != nil {
		return 0, err
	}
	row := tensor.Data[float32](logits)
	for _, id := range m.langs {
		if id < 0 || id >= int64(len(row)) {
			return 0, fmt.Errorf("%w: generation_config.json: lang_to_id has %d, and the decoder "+
				"gives logits for %d", graph.ErrBundle, id, len(row))
		}
	}
	return slices.MaxFunc(m.langs, func(a, b int64) int { return cmp.Compare(row[a], row[b]) }), nil
}

// StartsAfresh is true: the text starts from the model's own tokens.
func (m *whisper) StartsAfresh() bool { return true }
