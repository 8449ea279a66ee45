package decode

import "time"

// Text is a text that a model wrote, with its tokens and scores.
type Text struct {
	Text   string
	Tokens []Token
	// LogProb is the sum of the tokens' natural log-probabilities.
	LogProb float64
	// Score is the score that beam search ranked by; LogProb otherwise.
	Score float64
	Stats Stats
}

// Token is one generated token.
type Token struct {
	ID int64
	// Text is the token's part of the text, cut only between whole characters: a character that
	// a token ends within belongs to the next token's Text.
	Text string
	// LogProb is the natural logarithm of the token's probability under the model, before any
	// processing for beams or sampling.
	LogProb float64
}

// Stats divides the time of a call by stages. The requests of a batch share it.
type Stats struct {
	Preprocess time.Duration // pictures to pixels
	Encode     time.Duration // pixels to the encoder's states
	FirstToken time.Duration // from the prompt to the first token
	Generate   time.Duration // from the prompt to the last token
	Tokens     int           // tokens generated, over the whole batch
}
