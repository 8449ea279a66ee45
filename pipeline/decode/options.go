package decode

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Options are the parameters of decoding. They have the names and the meaning of transformers'
// GenerationConfig (4.57), and its defaults where the bundle's generation_config.json says nothing.
type Options struct {
	// MaxNewTokens bounds the tokens to generate; default 20, where there is no MaxLength.
	MaxNewTokens int
	// MaxLength bounds the prompt's ids and the new ones together, where MaxNewTokens is 0; 0: it
	// does not. A decoder that reads an encoder counts its own ids, the start token among them.
	MaxLength    int
	MinNewTokens int // tokens before a sequence may end; default 0
	MinLength    int // the same, the prompt's ids counted in; default 0

	// Beam search, where NumBeams > 1. A beam's score is the sum of its tokens'
	// log-probabilities divided by (its length ** LengthPenalty).
	NumBeams      int           // default 1
	LengthPenalty float64       // default 1
	EarlyStopping EarlyStopping // default StopHeuristic

	// Sampling, where DoSample is true.
	DoSample    bool
	Temperature float64 // default 1
	TopK        int     // keep the k most probable ids; 0: all; default 50
	TopP        float64 // keep the fewest ids whose probabilities sum to p; default 1
	MinP        float64 // drop ids less probable than this share of the best; default 0
	TypicalP    float64 // locally typical sampling (2202.00666); default 1
	// EpsilonCutoff drops ids less probable than it, EtaCutoff those less probable than what it makes of
	// the distribution's entropy (2210.15191); default 0: none.
	EpsilonCutoff, EtaCutoff float64
	Seed                     uint64 // same seed, same text; default 0

	RepetitionPenalty float64   // default 1: none
	RepetitionLast    int       // bounds the ids that it counts to the last so many, as llama.cpp does; default 0: all
	NoRepeatNgramSize int       // default 0: none
	BadWordsIDs       [][]int64 // sequences of ids never to be completed
	BadWords          []string  // words never to be written; they join BadWordsIDs
	// SuppressTokens are ids never written, BeginSuppressTokens those that no text begins with.
	SuppressTokens, BeginSuppressTokens []int64
	StopStrings                         []string
	// SequenceBias is added to the scores of the ids that would complete a sequence.
	SequenceBias []SequenceBias
	// ExponentialDecayLengthPenalty makes the end more likely with each token behind a number of them;
	// nil: it does not.
	ExponentialDecayLengthPenalty *LengthDecay

	// Times are the rules of texts with times in them; nil: there are none. No file sets them.
	Times *Times

	// Grammar is the shape that each text has to have, such as that of a JSON Schema; nil: any. The text
	// is whole within the tokens that it may have; too few for the shortest give graph.ErrOption, a model
	// whose tokens cannot write it graph.ErrUnsupported. No file sets it.
	Grammar *grammar.Grammar

	// RenormalizeLogits makes probabilities of the scores again that all of the above have changed, which
	// beams then add up.
	RenormalizeLogits bool

	EOS []int64 // ids that end a sequence; they are not part of the text
	// ForcedBOS is the id that a text behind a prompt of one id begins with, and ForcedEOS the one
	// that a text as long as MaxNewTokens or MaxLength allows ends with, be it of EOS or not; nil: any.
	ForcedBOS, ForcedEOS *int64

	// FrequencyPenalty is taken off an id's score for each time that it was written, and PresencePenalty
	// once where it was at all; ids of the prompt do not count. They are OpenAI's, and vLLM's; no
	// file sets them. Default 0: none.
	FrequencyPenalty, PresencePenalty float64

	NumReturnSequences int // texts for each prompt; default 1
	// TopLogProbs is how many of the likeliest ids are told at each place (Token.Top); default 0. Beam
	// search tells none.
	TopLogProbs int

	refused string // a key of generation_config.json that changes texts, and that is not known here
}

// SequenceBias is what the last id of a sequence gains where the others stand before it.
type SequenceBias struct {
	IDs  []int64
	Bias float64
}

// UnmarshalJSON reads [[id,...],bias].
func (b *SequenceBias) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[2]any{&b.IDs, &b.Bias})
}

// LengthDecay has the end's score grow by Factor to the power of how many tokens there are beyond Start.
type LengthDecay struct {
	Start  int
	Factor float64
}

// UnmarshalJSON reads [start,factor].
func (d *LengthDecay) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[2]any{&d.Start, &d.Factor})
}

// EarlyStopping says when beam search ends.
type EarlyStopping int

const (
	// StopHeuristic ends when no unfinished beam is likely to beat the worst finished one.
	StopHeuristic EarlyStopping = iota
	// StopFirst ends as soon as NumBeams sequences are finished.
	StopFirst
	// StopNever ends when no unfinished beam can beat the worst finished one.
	StopNever
)

// earlyStopping are transformers' names of the values.
var earlyStopping = []string{StopHeuristic: "false", StopFirst: "true", StopNever: "never"}

// String returns the value as transformers writes it: "false", "true" or "never".
func (e EarlyStopping) String() string {
	if e < 0 || int(e) >= len(earlyStopping) {
		return strconv.Itoa(int(e))
	}
	return earlyStopping[e]
}

// ParseEarlyStopping reads the text that String writes. Another text gives an error that wraps
// graph.ErrOption.
func ParseEarlyStopping(text string) (EarlyStopping, error) {
	if i := slices.Index(earlyStopping, text); i >= 0 {
		return EarlyStopping(i), nil
	}
	return 0, fmt.Errorf("%w: early_stopping is %q, not true, false or never",
		graph.ErrOption, text)
}

const generationConfig = "generation_config.json"

// LoadOptions reads generation_config.json or, where a model has none, what config.json says in its
// place. Errors wrap graph.ErrBundle.
func LoadOptions(bundle *models.Bundle) (Options, error) {
	g := Options{
		NumBeams: 1, LengthPenalty: 1, EarlyStopping: StopHeuristic,
		Temperature: 1, TopK: 50, TopP: 1, TypicalP: 1,
		RepetitionPenalty: 1, NumReturnSequences: 1,
	}
	const name = generationConfig
	file, err := generationKeys(bundle)
	if err != nil {
		return g, err
	}
	var eos, early, forcedEOS json.RawMessage
	fields := map[string]any{
		"max_new_tokens": &g.MaxNewTokens, "max_length": &g.MaxLength,
		"min_new_tokens": &g.MinNewTokens, "min_length": &g.MinLength,
		"num_beams": &g.NumBeams, "length_penalty": &g.LengthPenalty, "early_stopping": &early,
		"do_sample": &g.DoSample, "temperature": &g.Temperature, "top_k": &g.TopK, "top_p": &g.TopP,
		"min_p": &g.MinP, "typical_p": &g.TypicalP,
		"epsilon_cutoff": &g.EpsilonCutoff, "eta_cutoff": &g.EtaCutoff, "renormalize_logits": &g.RenormalizeLogits,
		"repetition_penalty": &g.RepetitionPenalty, "no_repeat_ngram_size": &g.NoRepeatNgramSize,
		"suppress_tokens": &g.SuppressTokens, "begin_suppress_tokens": &g.BeginSuppressTokens,
		"bad_words_ids": &g.BadWordsIDs, "stop_strings": &g.StopStrings,
		"eos_token_id": &eos, "num_return_sequences": &g.NumReturnSequences,
		"sequence_bias": &g.SequenceBias, "exponential_decay_length_penalty": &g.ExponentialDecayLengthPenalty,
		"forced_bos_token_id": &g.ForcedBOS, "forced_eos_token_id": &forcedEOS,
	}
	for key, field := range fields {
		// A null leaves the default, as transformers does.
		if value, ok := file[key]; ok && string(value) != "null" {
			if err := json.Unmarshal(value, field); err != nil {
				return g, fmt.Errorf("%w: %s: %s: %w", graph.ErrBundle, name, key, err)
			}
		}
	}
	g.refused = refusedKey(file)
	if g.EOS, err = oneOrMany(eos); err != nil {
		return g, fmt.Errorf("%w: %s: eos_token_id: %w", graph.ErrBundle, name, err)
	}
	forced, err := oneOrMany(forcedEOS)
	if err != nil {
		return g, fmt.Errorf("%w: %s: forced_eos_token_id: %w", graph.ErrBundle, name, err)
	}
	if len(forced) > 0 {
		least := slices.Min(forced) // of equal scores, as transformers gives to all of a list, greedy takes the first
		g.ForcedEOS = &least
	}
	if len(early) > 0 {
		if g.EarlyStopping, err = ParseEarlyStopping(strings.Trim(string(early), `"`)); err != nil {
			return g, fmt.Errorf("%w: %s: early_stopping is %s, not true, false or \"never\"",
				graph.ErrBundle, name, early)
		}
	}
	switch {
	case g.MaxNewTokens != 0:
		g.MaxLength = 0
	case g.MaxLength == 0 || g.MaxLength == DefaultMaxNewTokens && !savedBy5(file):
		// generate of 4 takes a max_length of 20 for its default, which it counts behind the prompt
		// (_prepare_generated_length of generation/utils.py); to 5 it is a length like any.
		g.MaxNewTokens, g.MaxLength = DefaultMaxNewTokens, 0
	}
	return g, nil
}

// savedBy5 reports whether transformers 5 or later wrote these keys of generation.
func savedBy5(file map[string]json.RawMessage) bool {
	var version string
	if json.Unmarshal(file["transformers_version"], &version) != nil {
		return false
	}
	first, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(first)
	return err == nil && major >= 5
}

// DefaultMaxNewTokens is how many tokens a text has at most where neither the model nor the caller says
// more: transformers' default of max_length.
const DefaultMaxNewTokens = 20

// room returns how many ids may follow a prompt of so many. The error wraps graph.ErrPrompt.
func (g *Options) room(prompt int) (int, error) {
	if g.MaxNewTokens > 0 {
		return g.MaxNewTokens, nil
	}
	if prompt >= g.MaxLength {
		return 0, fmt.Errorf("%w: it has %d tokens, and the model's max_length, the answer counted "+
			"in, is %d; shorten it, or set max_new_tokens", graph.ErrPrompt, prompt, g.MaxLength)
	}
	return g.MaxLength - prompt, nil
}

// oneOrMany reads an id or a list of ids.
func oneOrMany(value json.RawMessage) ([]int64, error) {
	if len(value) == 0 {
		return nil, nil
	}
	var one int64
	if json.Unmarshal(value, &one) == nil {
		return []int64{one}, nil
	}
	var many []int64
	err := json.Unmarshal(value, &many)
	return many, err
}

// Check refuses parameters out of range; the error wraps graph.ErrOption, or graph.ErrUnsupported for
// those of generation_config.json that are not known here.
func (g *Options) Check() error {
	if g.refused != "" {
		return fmt.Errorf("%w: %s asks for %s, which xpipe does not do: texts would be others than "+
			"the model's own; without the key it writes", graph.ErrUnsupported, generationConfig, g.refused)
	}
	noMoreThanBeams := g.NumReturnSequences <= g.NumBeams
	for _, c := range []struct {
		ok   bool
		name string
		want string
	}{
		{g.MaxNewTokens > 0 || g.MaxNewTokens == 0 && g.MaxLength > 0,
			"max_new_tokens", "1 or more"},
		{g.MaxLength >= 0, "max_length", "0 or more"},
		{g.MinNewTokens >= 0, "min_new_tokens", "0 or more"},
		{g.MinLength >= 0, "min_length", "0 or more"},
		{g.NumBeams >= 1, "num_beams", "1 or more"},
		{!math.IsNaN(g.LengthPenalty), "length_penalty", "a number"},
		{g.EarlyStopping >= StopHeuristic && g.EarlyStopping <= StopNever,
			"early_stopping", "true, false or never"},
		{g.Temperature > 0,
			"temperature", "above 0 (for the most probable text, leave do_sample off)"},
		{g.TopK >= 0, "top_k", "0 or more"},
		{g.TopP >= 0 && g.TopP <= 1, "top_p", "from 0 to 1"},
		{g.MinP >= 0 && g.MinP <= 1, "min_p", "from 0 to 1"},
		{g.TypicalP > 0 && g.TypicalP <= 1, "typical_p", "above 0 and up to 1"},
		{g.EpsilonCutoff >= 0 && g.EpsilonCutoff < 1, "epsilon_cutoff", "from 0 to below 1"},
		{g.EtaCutoff >= 0 && g.EtaCutoff < 1, "eta_cutoff", "from 0 to below 1"},
		{g.RepetitionPenalty > 0, "repetition_penalty", "above 0"},
		{g.RepetitionLast >= 0, "repetition_last", "0 or more"},
		{g.NoRepeatNgramSize >= 0, "no_repeat_ngram_size", "0 or more"},
		{g.NumReturnSequences >= 1, "num_return_sequences", "1 or more"},
		{g.DoSample || noMoreThanBeams,
			"num_return_sequences", "at most num_beams, unless do_sample is on"},
		{g.NumBeams == 1 || noMoreThanBeams, "num_return_sequences", "at most num_beams"},
		{!math.IsNaN(g.FrequencyPenalty) && !math.IsInf(g.FrequencyPenalty, 0), "frequency_penalty", "a number"},
		{!math.IsNaN(g.PresencePenalty) && !math.IsInf(g.PresencePenalty, 0), "presence_penalty", "a number"},
		{g.TopLogProbs >= 0, "top_logprobs", "0 or more"},
		{g.TopLogProbs == 0 || g.NumBeams == 1, "top_logprobs", "0 where num_beams is more than 1"},
	} {
		if !c.ok {
			return fmt.Errorf("%w: %s must be %s", graph.ErrOption, c.name, c.want)
		}
	}
	for _, word := range g.BadWordsIDs {
		if len(word) == 0 {
			return fmt.Errorf("%w: bad_words_ids has an empty sequence", graph.ErrOption)
		}
	}
	for _, s := range g.BadWords {
		if s == "" {
			return fmt.Errorf("%w: bad_words has an empty string", graph.ErrOption)
		}
	}
	for _, b := range g.SequenceBias {
		if len(b.IDs) == 0 {
			return fmt.Errorf("%w: sequence_bias has an empty sequence", graph.ErrOption)
		}
	}
	for _, s := range g.StopStrings {
		if s == "" {
			return fmt.Errorf("%w: stop_strings has an empty string", graph.ErrOption)
		}
	}
	return nil
}
