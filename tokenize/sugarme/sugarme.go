// Package sugarme puts the tokenizers of package tokenize behind the interfaces and types of
// github.com/sugarme/tokenizer, for programs that are built on those: NewModel gives its Model
// interface, Encoding its Encoding type.
//
// This package uses only the interfaces and data types of that library, version 0.3.0. Its
// algorithms are wrong, measured against Hugging Face tokenizers: 17 % of varied texts get wrong
// ids with BERT, 36 % with a Llama-type BPE, and CLIP panics. The comment of package tokenize lists
// the causes.
package sugarme

import (
	"fmt"

	"github.com/crossattn/xpipe/tokenize"
	"github.com/sugarme/tokenizer"
)

// Model is a tokenize.Tokenizer as a tokenizer.Model. Unlike other implementations of that
// interface it is the whole tokenizer: Tokenize takes text that was not normalized or cut before,
// and finds added tokens in it.
type Model struct{ t *tokenize.Tokenizer }

var _ tokenizer.Model = Model{}

// NewModel wraps t.
func NewModel(t *tokenize.Tokenizer) Model { return Model{t} }

// Tokenize implements tokenizer.Model. Offsets are in bytes of sequence; no special tokens are
// added.
func (m Model) Tokenize(sequence string) ([]tokenizer.Token, error) {
	e, err := m.t.Encode(sequence, tokenize.WithoutSpecialTokens(), tokenize.WithPadding(nil),
		tokenize.WithTruncation(nil))
	if err != nil {
		return nil, err
	}
	tokens := make([]tokenizer.Token, e.Len())
	for i := range tokens {
		at := e.Offsets[i]
		tokens[i] = tokenizer.Token{
			Id: int(e.IDs[i]), Value: e.Tokens[i], Offsets: []int{at.Start, at.End},
		}
	}
	return tokens, nil
}

// TokenToId implements tokenizer.Model.
func (m Model) TokenToId(token string) (int, bool) {
	id, ok := m.t.TokenToID(token)
	return int(id), ok
}

// IdToToken implements tokenizer.Model.
func (m Model) IdToToken(id int) (string, bool) { return m.t.IDToToken(int64(id)) }

// GetVocab implements tokenizer.Model; added tokens are part of it.
func (m Model) GetVocab() map[string]int {
	vocab := make(map[string]int, m.t.VocabSize())
	for token, id := range m.t.Vocab() {
		vocab[token] = int(id)
	}
	return vocab
}

// GetVocabSize implements tokenizer.Model.
func (m Model) GetVocabSize() int { return m.t.VocabSize() }

// Save implements tokenizer.Model; it always fails, since a tokenizer.json is more than a model's
// files.
func (m Model) Save(path string, prefix ...string) error {
	return fmt.Errorf("%w: saving to %s: copy the tokenizer.json instead",
		tokenize.ErrTokenizer, path)
}

// Encoding converts an encoding. Offsets stay in bytes.
func Encoding(e *tokenize.Encoding) *tokenizer.Encoding {
	out := &tokenizer.Encoding{
		Ids:              ints(e.IDs),
		TypeIds:          ints(e.TypeIDs),
		AttentionMask:    ints(e.AttentionMask),
		SpecialTokenMask: ints(e.SpecialMask),
		Tokens:           e.Tokens,
		Words:            e.Words,
		Offsets:          make([][]int, e.Len()),
		SequenceRanges:   make(map[int]tokenizer.Range, len(e.Sequences)),
	}
	for i, o := range e.Offsets {
		out.Offsets[i] = []int{o.Start, o.End}
	}
	for i, r := range e.Sequences {
		out.SequenceRanges[i] = tokenizer.NewRange(r.Start, r.End)
	}
	for _, o := range e.Overflowing {
		out.Overflowing = append(out.Overflowing, *Encoding(o))
	}
	return out
}

func ints(s []int64) []int {
	out := make([]int, len(s))
	for i, v := range s {
		out[i] = int(v)
	}
	return out
}
