package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// encoderMask is the decoder's constant input that says which rows of its
// cross-attention are there, [B,S].
const encoderMask = "encoder_attention_mask"

// textEncoder is a graph that makes the keys and values a decoder's
// cross-attention reads, once for all steps: present.{i}.encoder.key|value.
type textEncoder struct {
	session engine.Session
	outputs []string
	start   int64 // the id a decoder starts from
}

func openTextEncoder(graphs *graphOpener, role string) (*textEncoder, error) {
	e := &textEncoder{}
	var err error
	if e.session, err = graphs.open(role); err != nil {
		return nil, err
	}
	if e.outputs, err = crossOutputs(e.session); err != nil {
		return nil, err
	}
	e.start, err = decoderStart(graphs.bundle)
	return e, err
}

// crossOutputs lists the outputs of a graph that are a decoder's
// cross-attention cache.
func crossOutputs(s engine.Session) ([]string, error) {
	var names []string
	for _, o := range s.Outputs() {
		if strings.HasPrefix(o.Name, presentPrefix) && strings.Contains(o.Name, ".encoder.") {
			names = append(names, o.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: the graph beside the decoder gives no cross-attention cache %s*.encoder.*", ErrBundle, presentPrefix)
	}
	return names, nil
}

// asPast renames a cross-attention cache from what one graph gives to what the
// decoder takes.
func asPast(present map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	past := make(map[string]*tensor.Tensor, len(present)+1)
	for name, t := range present {
		past[pastPrefix+strings.TrimPrefix(name, presentPrefix)] = t
	}
	return past
}

// decoderStart is the id that a decoder with an encoder starts from.
func decoderStart(bundle *models.Bundle) (int64, error) {
	for _, name := range []string{models.ManifestName, "generation_config.json"} {
		var file struct {
			Start *int64 `json:"decoder_start_token_id"`
		}
		if err := bundle.JSON(name, &file); err != nil {
			return 0, err
		}
		if file.Start != nil {
			return *file.Start, nil
		}
	}
	return 0, fmt.Errorf("%w: neither %s nor generation_config.json has decoder_start_token_id", ErrBundle, models.ManifestName)
}

// run returns the decoder's constants: the cross-attention cache under the names
// the decoder takes it by, and the mask over its rows.
func (e *textEncoder) run(ctx context.Context, in map[string]*tensor.Tensor, mask *tensor.Tensor) (map[string]*tensor.Tensor, error) {
	out, err := e.session.Run(ctx, in, e.outputs...)
	if err != nil {
		return nil, err
	}
	fixed := asPast(out)
	fixed[encoderMask] = mask
	return fixed, nil
}

// begin starts rows sequences from the decoder's start token.
func (e *textEncoder) begin(ctx context.Context, d *decoder, rows int, fixed map[string]*tensor.Tensor) (languageModel, error) {
	embeds, err := d.embedText(ctx, []int64{e.start})
	if err != nil {
		return nil, err
	}
	prompts := make([]prompt, rows)
	for i := range prompts {
		prompts[i] = prompt{ids: []int64{e.start}, embeds: embeds}
	}
	return d.begin(prompts, len(embeds), fixed)
}

// padRight joins rows [L,D] of different lengths to [B,S,D], with the mask
// [B,S] of what is there.
func padRight(rows []prompt, width int) (embeds, mask *tensor.Tensor, err error) {
	longest := 0
	for _, r := range rows {
		longest = max(longest, len(r.embeds)/width)
	}
	values := make([]float32, len(rows)*longest*width)
	there := make([]int64, len(rows)*longest)
	for i, r := range rows {
		copy(values[i*longest*width:], r.embeds)
		for j := range len(r.embeds) / width {
			there[i*longest+j] = 1
		}
	}
	if embeds, err = tensor.New([]int{len(rows), longest, width}, values); err != nil {
		return nil, nil, err
	}
	mask, err = tensor.New([]int{len(rows), longest}, there)
	return embeds, mask, err
}

// textPositions is how many tokens the graph of a text encoder has positions for:
// the bundle's limit or, where it has none, what a section of config.json says; ""
// is the top. 0 where neither tells.
func (g *graphOpener) textPositions(section string) (int, error) {
	if most := g.bundle.Limits["max_text"]; most > 0 {
		return most, nil
	}
	const config = "config.json"
	if section != "" {
		var file map[string]json.RawMessage
		if err := g.bundle.JSON(config, &file); err != nil || file[section] == nil {
			return 0, ignoreMissing(err)
		}
		var part positions
		if err := json.Unmarshal(file[section], &part); err != nil {
			return 0, fmt.Errorf("%w: %s: %s: %w", ErrBundle, config, section, err)
		}
		return part.Most, nil
	}
	var whole positions
	err := g.bundle.JSON(config, &whole)
	return whole.Most, ignoreMissing(err)
}

type positions struct {
	Most int `json:"max_position_embeddings"`
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// encodeRight tokenizes texts, special tokens included, into ids [B,T] padded
// on the right, with the mask [B,T] of what is there. most is what the graph has
// positions for, 0 where that is unknown.
func (g *graphOpener) encodeRight(tokenizer *tokenize.Tokenizer, texts []string, most int, opts ...tokenize.Option) (ids, mask *tensor.Tensor, err error) {
	encodings := make([]*tokenize.Encoding, len(texts))
	longest := 0
	for i, text := range texts {
		if encodings[i], err = g.readText(tokenizer, text, opts...); err != nil {
			return nil, nil, err
		}
		if n := len(encodings[i].IDs); most > 0 && n > most {
			return nil, nil, fmt.Errorf("%w: a text takes %d positions, and the model has %d; shorten it", ErrPrompt, n, most)
		}
		longest = max(longest, len(encodings[i].IDs))
	}
	padded := make([]int64, len(texts)*longest)
	there := make([]int64, len(texts)*longest)
	for i, e := range encodings {
		copy(padded[i*longest:], e.IDs)
		for j := range e.IDs {
			there[i*longest+j] = 1
		}
	}
	if ids, err = tensor.New([]int{len(texts), longest}, padded); err != nil {
		return nil, nil, err
	}
	mask, err = tensor.New([]int{len(texts), longest}, there)
	return ids, mask, err
}
