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

// StreamTexts is StreamText that gives each token with the number of its text, from 0 to
// NumReturnSequences-1, and returns all texts.
func (p *Pipeline) StreamTexts(
	ctx context.Context, request Request, emit func(text int, t Token) bool, opts ...GenerateOption,
) (texts []*Text, err error) {
	return p.streamTexts(ctx, request, emit, nil, opts)
}

// streamText is StreamText with what an earlier text has read; see generate.
func (p *Pipeline) streamText(
	ctx context.Context, request Request, emit func(Token) bool, memory *decode.Memory, opts []GenerateOption,
) (*Text, error) {
	each := func(_ int, t Token) bool { return emit == nil || emit(t) }
	texts, err := p.streamTexts(ctx, request, each, memory, opts)
	if err != nil {
		return nil, err
	}
	return texts[0], nil
}

func (p *Pipeline) streamTexts(
	ctx context.Context, request Request, emit func(int, Token) bool, memory *decode.Memory,
	opts []GenerateOption,
) (texts []*Text, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	g, err := p.generation(opts, 1)
	if err != nil {
		return nil, err
	}
	grouped, err := p.generate(ctx, []Request{request}, g, emit, memory)
	if err != nil {
		return nil, err
	}
	return grouped[0], nil
}
