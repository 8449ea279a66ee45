package pipeline

import (
	"context"
	"image"
	"iter"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Stream writes the text for one request token by token, as the tokens are
// chosen. The Text of the tokens, joined and trimmed of white space, is the
// text that Generate gives. Breaking out of the loop, like the end of ctx,
// stops the model and frees its cache before the loop is left. The last pair
// of a stream that failed has the error.
//
// Beam search decides at its end, so its tokens come all at once. Of several
// sequences, the tokens come in turn; use Generate to tell them apart.
func (p *Pipeline) Stream(ctx context.Context, request Request, opts ...GenerateOption) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		going := true
		err := func() (err error) {
			ctx, leave, err := p.enter(ctx)
			if err != nil {
				return err
			}
			defer func() { leave(&err) }()
			_, err = p.generate(ctx, []Request{request}, opts, func(_ int, t Token) bool {
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

// textStream cuts the text of a growing sequence of ids into what each adds.
type textStream struct {
	ids  []int64
	done int // bytes of the text handed out
}

// add returns what id adds to the text. An unfinished character at the end is
// held back: decoding shows it as U+FFFD until its last byte is there.
func (s *textStream) add(p *Pipeline, id int64) string {
	s.ids = append(s.ids, id)
	text := strings.TrimRight(p.decode(s.ids), string(utf8.RuneError))
	if len(text) <= s.done {
		return ""
	}
	piece := text[s.done:]
	s.done = len(text)
	return piece
}

// sameImage reports whether a and b are one picture: the same pointer, not
// merely equal pixels.
func sameImage(a, b image.Image) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Kind() == reflect.Pointer && a == b
}
