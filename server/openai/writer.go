package openai

import (
	"strings"
	"unicode"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
)

// writer gives out a text as it grows: without white space around it, up to what ends it, and without
// calls of tools.
type writer struct {
	stops []string
	tools *toolbox
	bare  bool // white space around the text is given out, too

	whole  []byte // all that the model wrote
	tokens []placed
	given  int  // bytes of whole that were given out
	begun  bool // whether any was
	ended  bool // whether one of stops is there; whole ends in front of it
	stop   string
	out    strings.Builder
	passed int // of tokens, those that were given out
}

// placed is a token and where its text begins.
type placed struct {
	pipeline.Token
	at int
}

// piece is what is given out at a time.
type piece struct {
	text   string
	tokens []pipeline.Token
	calls  []toolCall // of the last piece
}

func (p *piece) empty() bool { return p.text == "" && len(p.tokens) == 0 && len(p.calls) == 0 }

// add takes a token and returns what can be given out now.
func (w *writer) add(t pipeline.Token) piece {
	if w.ended {
		return piece{}
	}
	from := len(w.whole)
	w.tokens = append(w.tokens, placed{t, from})
	w.whole = append(w.whole, t.Text...)
	w.cut(from)
	text := string(w.whole)
	safe := len(text)
	if !w.ended {
		marks := w.stops
		if len(w.tools.functions) > 0 {
			marks = append(marks[:len(marks):len(marks)], serving.CallBegin)
		}
		safe -= serving.Begun(text[w.given:], marks)
	}
	if w.tools.mayBegin(text) {
		safe = min(safe, max(strings.Index(text, serving.CallBegin), 0))
	}
	return w.give(safe)
}

// cut ends the text in front of the first of stops in it, of which those before from were looked for.
func (w *writer) cut(from int) {
	longest := 0
	for _, s := range w.stops {
		longest = max(longest, len(s))
	}
	from = max(0, from-longest)
	text := string(w.whole[from:])
	at := -1
	for _, s := range w.stops {
		if i := strings.Index(text, s); i >= 0 && (at < 0 || i < at) {
			at, w.stop = i, s
		}
	}
	if at >= 0 {
		w.ended = true
		w.whole = w.whole[:from+at]
	}
}

// give gives out the text up to a place, but for white space at the end, which may be the text's.
func (w *writer) give(to int) (p piece) {
	if !w.bare {
		text := strings.TrimRightFunc(string(w.whole[:max(to, w.given)]), unicode.IsSpace)
		to = len(text)
	}
	to = max(to, w.given)
	if to == w.given {
		return p
	}
	p.text = string(w.whole[w.given:to])
	if !w.begun && !w.bare {
		p.text = strings.TrimLeftFunc(p.text, unicode.IsSpace)
	}
	w.given, w.begun = to, true
	w.out.WriteString(p.text)
	p.tokens = w.pass(to)
	return p
}

// pass returns the tokens that begin in front of a place and were not given out.
func (w *writer) pass(to int) (tokens []pipeline.Token) {
	for w.passed < len(w.tokens) && w.tokens[w.passed].at < to {
		tokens = append(tokens, w.tokens[w.passed].Token)
		w.passed++
	}
	return tokens
}

// finish gives out what is left of the text, and the calls in it.
func (w *writer) finish() piece {
	rest, calls := w.tools.parse(string(w.whole))
	if len(calls) == 0 {
		p := w.give(len(w.whole))
		if !w.ended { // tokens of white space, or of nothing
			p.tokens = append(p.tokens, w.pass(len(w.whole)+1)...)
		}
		return p
	}
	before := w.out.String()
	p := piece{calls: calls, tokens: w.pass(len(w.whole) + 1)}
	if left, ok := strings.CutPrefix(rest, before); ok && left != "" {
		p.text = left
		w.out.WriteString(left)
	}
	return p
}
