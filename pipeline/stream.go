package pipeline

import (
	"context"
	"iter"
)

// Stream writes the text for one request token by token, as the tokens are chosen. The Text of the
// tokens, joined and trimmed of white space, is the text that Generate gives. Breaking out of the
// loop, like the end of ctx, stops the model and frees its cache before the loop is left. The last
// pair of a stream that failed has the error.
//
// Beam search decides at its end, so its tokens come all at once. Of several sequences, the tokens
// come in turn; use Generate to tell them apart.
func (p *Pipeline) Stream(
	ctx context.Context, request Request, opts ...GenerateOption,
) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		going := true
		err := func() (err error) {
			ctx, leave, err := p.enter(ctx)
			if err != nil {
				return err
			}
			defer func() { leave(&err) }()
			g, err := p.generation(opts, 1)
			if err != nil {
				return err
			}
			_, err = p.generate(ctx, []Request{request}, g, func(_ int, t Token) bool {
				going = yield(t, nil)
				return going
			})
			return err
		}()
		if err != nil && going {
			yield(Token{}, err)
		}
	}
}
