package family

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Hearer is a Writer that writes down speech window by window. Package speech knows what a text's
// tokens are to be.
type Hearer interface {
	Writer
	// Speech tells the tokens that texts are made of. The error wraps graph.ErrUnsupported where the
	// model lacks what long sounds need.
	Speech() (*Speech, error)
	// Hear makes ready what texts about the states of windows read, a row each. The texts may be
	// begun any number of times.
	Hear(ctx context.Context, windows ...Encoded) (Begin, error)
}

// PieceHearer is a Writer that writes down speech piece by piece, each by itself, and tells no times in
// it.
type PieceHearer interface {
	Writer
	// Pieces tells what the pieces may be.
	Pieces() Pieces
}

// Pieces are the sounds that a PieceHearer hears.
type Pieces struct {
	Least   int     // the samples of the shortest
	Longest float64 // the seconds of the longest that it was trained on
	Tokens  float64 // of a text, a second at most; more are likely repeats
}

// Begin starts a sequence from each of prompts, as many as there are rows.
type Begin func(ctx context.Context, prompts [][]int64) (decode.Sequences, error)

// Speech are the tokens of a Hearer's texts beside words. An id is -1 where the model has none.
type Speech struct {
	Start     int64            // what the part of a prompt about the sound starts with
	End       int64            // what ends a text; ids below it are text
	Previous  int64            // what stands before the text of earlier windows
	Languages map[string]int64 // by code; nil for a model of English alone
	Write     int64            // the task of writing down what is said
	Translate int64            // that of translating it into English
	NoSpeech  int64            // what a window without speech begins with, at Start's place
	NoTimes   int64            // what says that the text has no times
	FirstTime int64            // time 0; those behind it are each a step later
	// Positions bounds the ids of a prompt and its text together.
	Positions int
	// Suppressed are never written, BeginSuppressed not first.
	Suppressed, BeginSuppressed []int64
}

// Language returns the code of a language's token; "" of another token.
func (s *Speech) Language(id int64) string {
	for code, l := range s.Languages {
		if l == id {
			return code
		}
	}
	return ""
}

// Codes lists the languages' codes in order.
func (s *Speech) Codes() []string { return slices.Sorted(maps.Keys(s.Languages)) }

// smallestMultilingual is the vocabulary of the smallest multilingual Whisper (is_multilingual of
// openai-whisper's model.py).
const smallestMultilingual = 51865

// errNoSpeech says what a model of one window lacks.
var errNoSpeech = fmt.Errorf("%w: neither generation_config.json nor the tokenizer tells <|notimestamps|> "+
	"and an end (eos_token_id), without which sounds cannot be transcribed", graph.ErrUnsupported)

// openSpeech reads the tokens of a bundle's texts from generation_config.json and, where that does not
// tell them, from the tokenizer. Without them the error is errNoSpeech.
func openSpeech(b *models.Bundle, c *Config, keys whisperKeys, start int64) (*Speech, error) {
	token := func(names ...string) int64 {
		for _, name := range names {
			if id, ok := c.Texts.TokenToID(name); ok {
				return id
			}
		}
		return -1
	}
	s := &Speech{
		Start: start, End: -1, Previous: token("<|startofprev|>"),
		Write: token("<|transcribe|>"), Translate: token("<|translate|>"),
		NoTimes: token("<|notimestamps|>"), NoSpeech: token("<|nospeech|>", "<|nocaptions|>"),
		Positions:       b.Limits["max_positions"],
		BeginSuppressed: c.Options.BeginSuppressTokens,
	}
	if len(c.Options.EOS) > 0 {
		s.End = c.Options.EOS[0]
	}
	if keys.NoTimes != nil {
		s.NoTimes = *keys.NoTimes
	}
	for name, id := range map[string]*int64{"transcribe": &s.Write, "translate": &s.Translate} {
		if given, ok := keys.Tasks[name]; ok {
			*id = given
		}
	}
	if keys.Previous != nil {
		s.Previous = *keys.Previous
	}
	if s.NoTimes < 0 || s.End < 0 {
		return nil, errNoSpeech
	}
	s.FirstTime = s.NoTimes + 1
	if s.NoSpeech < 0 {
		s.NoSpeech = s.NoTimes - 1 // as transformers takes it
	}
	s.Suppressed = slices.Concat(c.Options.SuppressTokens,
		[]int64{s.Write, s.Translate, s.Start, s.Previous, s.NoSpeech, token("<|startoflm|>")})
	s.Suppressed = slices.DeleteFunc(s.Suppressed, func(id int64) bool { return id < 0 })
	var err error
	s.Languages, err = languagesOf(b, keys, token)
	return s, err
}

// languagesOf returns the languages of a multilingual model by code; nil of one of English alone.
func languagesOf(b *models.Bundle, keys whisperKeys, token func(...string) int64) (map[string]int64, error) {
	languages := map[string]int64{}
	for name, id := range keys.Languages {
		languages[strings.TrimSuffix(strings.TrimPrefix(name, "<|"), "|>")] = id
	}
	if len(languages) > 0 {
		return languages, nil
	}
	var config struct {
		Vocabulary int64 `json:"vocab_size"`
	}
	if err := b.JSON("config.json", &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if keys.Multilingual || keys.absent && config.Vocabulary >= smallestMultilingual {
		for _, code := range languageCodes {
			if id := token("<|" + code + "|>"); id >= 0 && id < config.Vocabulary {
				languages[code] = id
			}
		}
	}
	if len(languages) == 0 {
		return nil, nil
	}
	return languages, nil
}

// Speech tells the tokens of m's texts.
func (m *whisper) Speech() (*Speech, error) {
	if m.speech == nil {
		return nil, errNoSpeech
	}
	return m.speech, nil
}

// Hear computes the keys and values of the decoder's cross-attention, or lets the decoder read the
// states itself.
func (m *whisper) Hear(ctx context.Context, windows ...Encoded) (Begin, error) {
	rows := make([]*tensor.Tensor, len(windows))
	for i, w := range windows {
		rows[i] = w.States
	}
	states, err := graph.Stack(rows)
	if err != nil {
		return nil, err
	}
	fixed, err := m.reader.reads(ctx, states, nil)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, prompts [][]int64) (decode.Sequences, error) {
		return m.reader.beginFrom(ctx, fixed, prompts)
	}, nil
}
