package pipeline

import (
	"context"
	"iter"

	"github.com/crossattn/xpipe/pipeline/decode"
)

// Stream writes the text for one request token by token, as the tokens are chosen. The Text of the
// tokens, joined and trimmed of white space, is the text that Generate gives. Breaking out of the
// loop, like the end of ctx, stops the model and frees its cache before the loop is left. The last
// pair of a stream that failed has the error.
//
// Beam search decides at its end, so its tokens come all at once. Of several sequences, the tokens
// come in turn; use Generate to tell them apart. The id that ended the text is not among the tokens;
// StreamText has it.
func (p *Pipeline) Stream(
	ctx context.Context, request Request, opts ...GenerateOption,
) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		going := true
		_, err := p.StreamText(ctx, request, func(t Token) bool {
			going = yield(t, nil)
			return going
		}, opts...)
		if err != nil && going {
			yield(Token{}, err)
		}
	}
}

// StreamText is Stream with a function that is given each token, and ends the text by returning
// false; nil takes them all. It returns the whole Text, the best where there are several, with the ids
// and the statistics that tokens do not have.
func (p *Pipeline) StreamText(
	ctx context.Context, request Request, emit func(Token) bool, opts ...GenerateOption,
) (*Text, error) {
	return p.streamText(ctx, request, emit, nil, opts)
}

// streamText is StreamText with what an earlier text has read; see generate.
func (p *Pipeline) streamText(
	ctx context.Context, request Request, emit func(Token) bool, memory *decode.Memory, opts []GenerateOption,
) (text *Text, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	g, err := p.generation(opts, 1)
	if err != nil {
		return nil, err
	}
	texts, err := p.generate(ctx, []Request{request}, g, func(_ int, t Token) bool {
		return emit == nil || emit(t)
	}, memory)
	if err != nil {
		return nil, err
	}
	return texts[0][0], nil
}
