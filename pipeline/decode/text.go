package decode

import (
	"encoding/json"
	"time"
)

// Text is a text that a model wrote, with its tokens and scores. In JSON it is a TextJSON.
type Text struct {
	Text   string
	Tokens []Token
	// IDs are the new ids as transformers' generate gives them behind the prompt: those of Tokens
	// and, where one ended the text, the end's. A decoder that reads an encoder has its start token
	// and its prompt before them; an id that it is forced to begin with is new.
	IDs []int64
	// LogProb is the sum of the tokens' natural log-probabilities.
	LogProb float64
	// Score is the score that beam search ranked by; LogProb otherwise.
	Score float64
	// Confidence says how far a caption can be trusted; nil for other texts, and where the model
	// has no calibration.
	Confidence *Confidence
	// PromptTokens is how many tokens the model read before the text: those of the prompt, and the
	// rows of pictures that stand in it or before it.
	PromptTokens int
	Stats        Stats
}

// String returns the text itself.
func (t *Text) String() string {
	if t == nil {
		return ""
	}
	return t.Text
}

// Token is one generated token.
type Token struct {
	ID int64 `json:"id"`
	// Text is the token's part of the text, cut only between whole characters: a character that
	// a token ends within belongs to the next token's Text, or to the last one's.
	Text string `json:"text"`
	// LogProb is the natural logarithm of the token's probability under the model, before any
	// processing for beams or sampling.
	LogProb float64 `json:"logprob"`
	// Top are the likeliest ids at the token's place, the best first, as many as Options.TopLogProbs
	// says; nil where that is 0.
	Top []Candidate `json:"-"`
}

// Candidate is an id that might have been chosen.
type Candidate struct {
	ID      int64
	Text    string  // that the text would have gone on with
	LogProb float64 // as of Token
}

// Confidence says how far a caption can be trusted.
type Confidence struct {
	// Probability is the measured share of right captions among those that the model found as
	// likely. The model's card says what counts as right, and which pictures were used.
	Probability float64 `json:"confidence"`
	// Unsure is true below the model's measured threshold.
	Unsure bool `json:"unsure"`
}

// Stats divides the time of a call by stages. The requests of a batch share it. In JSON durations
// are seconds: preprocess_seconds, encode_seconds, first_token_seconds, generate_seconds.
type Stats struct {
	Preprocess time.Duration // pictures to pixels
	Encode     time.Duration // pixels to the encoder's states
	FirstToken time.Duration // from the prompt to the first token
	Generate   time.Duration // from the prompt to the last token
	Tokens     int           // tokens generated, over the whole batch
}

// Total returns the time from the pictures to the last token.
func (s Stats) Total() time.Duration { return s.Preprocess + s.Encode + s.Generate }

// TextJSON is a Text in JSON. The lines of the command are made of it, too.
type TextJSON struct {
	Text          string  `json:"text"`
	Tokens        int     `json:"tokens"`  // how many there are
	LogProb       float64 `json:"logprob"` // of the whole text
	Seconds       float64 `json:"seconds"` // Stats.Total, of the whole batch
	TokenLogProbs []Token `json:"token_logprobs"`
	IDs           []int64 `json:"ids"` // Text.IDs
	*Confidence           // the keys "confidence" and "unsure", where the text has one
}

// JSON returns what MarshalJSON writes. It leaves out Score, and of Stats all but the total.
func (t *Text) JSON() TextJSON {
	tokens, ids := t.Tokens, t.IDs
	if tokens == nil {
		tokens = []Token{}
	}
	if ids == nil {
		ids = []int64{}
	}
	return TextJSON{
		Text: t.Text, Tokens: len(tokens), LogProb: t.LogProb, Seconds: t.Stats.Total().Seconds(),
		TokenLogProbs: tokens, IDs: ids, Confidence: t.Confidence,
	}
}

// MarshalJSON writes the text as a TextJSON.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(t.JSON()) }

// UnmarshalJSON reads what MarshalJSON writes, and the command's lines. Score becomes LogProb, and
// Stats stays as it is.
func (t *Text) UnmarshalJSON(data []byte) error {
	var v TextJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	t.Text, t.Tokens, t.LogProb, t.Score = v.Text, v.TokenLogProbs, v.LogProb, v.LogProb
	t.IDs, t.Confidence = v.IDs, v.Confidence
	return nil
}

type statsJSON struct {
	Preprocess float64 `json:"preprocess_seconds"`
	Encode     float64 `json:"encode_seconds"`
	FirstToken float64 `json:"first_token_seconds"`
	Generate   float64 `json:"generate_seconds"`
	Tokens     int     `json:"tokens"`
}

// MarshalJSON writes durations as seconds.
func (s Stats) MarshalJSON() ([]byte, error) {
	return json.Marshal(statsJSON{
		s.Preprocess.Seconds(), s.Encode.Seconds(), s.FirstToken.Seconds(), s.Generate.Seconds(),
		s.Tokens,
	})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Stats) UnmarshalJSON(data []byte) error {
	var v statsJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	duration := func(seconds float64) time.Duration {
		return time.Duration(seconds * float64(time.Second))
	}
	*s = Stats{
		duration(v.Preprocess), duration(v.Encode), duration(v.FirstToken), duration(v.Generate),
		v.Tokens,
	}
	return nil
}
