package family

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// Texts reads texts with a model's tokenizer, within limits.
type Texts struct {
	*tokenize.Tokenizer
	MaxTokens int // of one text
}

// With returns a reader with another tokenizer and the same limits.
func (t Texts) With(other *tokenize.Tokenizer) Texts {
	return Texts{Tokenizer: other, MaxTokens: t.MaxTokens}
}

// bytesPerToken times MaxTokens bounds the bytes of a text before it is tokenized.
const bytesPerToken = 64

// Check bounds a text before it is tokenized; the error wraps graph.ErrLimit.
func (t Texts) Check(text string) error {
	if len(text)/bytesPerToken <= t.MaxTokens {
		return nil
	}
	most := t.MaxTokens * bytesPerToken
	return graph.CheckLimit("PromptTokens", "bytes of a text", len(text), most)
}

// Read tokenizes a text. Errors wrap graph.ErrLimit or graph.ErrPrompt.
func (t Texts) Read(text string, opts ...tokenize.Option) ([]int64, error) {
	if err := t.Check(text); err != nil {
		return nil, err
	}
	encoding, err := t.Encode(text, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", graph.ErrPrompt, err)
	}
	return encoding.IDs, graph.CheckLimit("PromptTokens", "tokens of a text", len(encoding.IDs), t.MaxTokens)
}

// ReadUpTo tokenizes a text for a graph that has positions for most tokens; 0 stands for an unknown
// number. Longer texts give an error that wraps graph.ErrPrompt.
func (t Texts) ReadUpTo(most int, text string, opts ...tokenize.Option) ([]int64, error) {
	ids, err := t.Read(text, opts...)
	if err == nil && most > 0 && len(ids) > most {
		err = fmt.Errorf("%w: a text takes %d positions, and the model has %d; shorten it",
			graph.ErrPrompt, len(ids), most)
	}
	return ids, err
}

// ReadAll is ReadUpTo for several texts.
func (t Texts) ReadAll(most int, texts []string, opts ...tokenize.Option) ([][]int64, error) {
	rows := make([][]int64, len(texts))
	for i, text := range texts {
		var err error
		if rows[i], err = t.ReadUpTo(most, text, opts...); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// padRight joins ids to [B,T], padded on the right, with the mask [B,T] of their positions.
func padRight(rows [][]int64) (ids, mask *tensor.Tensor, err error) {
	longest := 0
	for _, r := range rows {
		longest = max(longest, len(r))
	}
	padded := make([]int64, len(rows)*longest)
	lengths := make([]int, len(rows))
	for i, r := range rows {
		copy(padded[i*longest:], r)
		lengths[i] = len(r)
	}
	if ids, err = tensor.New([]int{len(rows), longest}, padded); err != nil {
		return nil, nil, err
	}
	mask, err = graph.Mask(lengths, longest)
	return ids, mask, err
}

// maxPositions returns how many tokens the graph of a text encoder has positions for: the bundle's
// limit max_text or, without that, max_position_embeddings in a section of config.json; the section
// "" is the file itself. It is 0 where neither is given.
func maxPositions(bundle *models.Bundle, section string) (int, error) {
	if most := bundle.Limits["max_text"]; most > 0 {
		return most, nil
	}
	const config = "config.json"
	if section != "" {
		var file map[string]json.RawMessage
		if err := bundle.JSON(config, &file); err != nil || file[section] == nil {
			return 0, ignoreMissing(err)
		}
		var part positions
		if err := json.Unmarshal(file[section], &part); err != nil {
			return 0, fmt.Errorf("%w: %s: %s: %w", graph.ErrBundle, config, section, err)
		}
		return part.Most, nil
	}
	var whole positions
	err := bundle.JSON(config, &whole)
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

// truncated returns the option that cuts texts to most tokens; none where most is 0.
func truncated(most int) []tokenize.Option {
	if most <= 0 {
		return nil
	}
	return []tokenize.Option{tokenize.WithTruncation(&tokenize.Truncation{MaxLength: most})}
}
