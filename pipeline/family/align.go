package family

import "context"

// Aligner is a model whose cross-attention tells when each token is said.
type Aligner interface {
	Model
	// Align has the decoder read a prompt and a text behind it, as it hears the encoded sound, in one
	// pass. prompt are the tokens before the text, such as those of the language and the task. Errors
	// wrap graph.ErrUnsupported where the decoder does not show its cross-attention, graph.ErrPrompt
	// where the text is longer than the decoder has positions for.
	Align(ctx context.Context, encoded Encoded, prompt, text []int64) (*Alignment, error)
}

// Alignment is what a decoder attends to in a sound while it reads a text.
type Alignment struct {
	// Heads are the probabilities [Tokens,States] of the attention heads that follow the sound. The
	// rows are those of the prompt's tokens, of the text's, and of the end.
	Heads          [][]float32
	Tokens, States int
	// Probabilities are the text's tokens', among the tokens of texts alone: one each. What the
	// decoder gives to times, tasks and the end counts nothing.
	Probabilities []float64
}
