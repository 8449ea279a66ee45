package decode

import "time"

// Text is what a model wrote, and how.
type Text struct {
	Text   string
	Tokens []Token
	// LogProb is the sum of the tokens' log-probabilities.
	LogProb float64
	// Score is what beam search ranked the text by; LogProb without it.
	Score float64
	Stats Stats
}

// Token is one generated token.
type Token struct {
	ID int64
	// Text is what the token adds to the text. It is cut only between whole characters: where a
	// token ends within one, the next token's Text has it.
	Text string
	// LogProb is the natural logarithm of the token's probability under the model, before any
	// processing for beams or sampling.
	LogProb float64
}

// Stats says where the time of a call went. The requests of a batch share it.
type Stats struct {
	Preprocess time.Duration // pictures to pixels
	Encode     time.Duration // pixels to what the text is conditioned on
	FirstToken time.Duration // from the prompt to the first token
	Generate   time.Duration // from the prompt to the last token
	Tokens     int           // tokens generated, over the whole batch
}
