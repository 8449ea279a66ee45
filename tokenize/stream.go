package tokenize

import "strings"

// Stream decodes ids one at a time, for text that is shown while a model still writes. What it returns joins to the decoding of all ids;
// text is held back while it may still change, that is while it ends inside a character or the next token decides about a space.
// A Stream is for one goroutine.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	ids         []int64 // the window that is decoded: tokens given out already as context, then those not yet given out
	prefix      string  // decoding of the context
	prefixLen   int     // number of ids in the context
}

// NewStream starts a stream; skipSpecial leaves special tokens out, as in Decode.
func (t *Tokenizer) NewStream(skipSpecial bool) *Stream {
	return &Stream{t: t, skipSpecial: skipSpecial}
}

// Push takes the next id and returns the text that has become certain, often that of this id, or "" while there is none.
func (s *Stream) Push(id int64) string {
	if s.prefix == "" && len(s.ids) > 0 {
		if p := s.t.Decode(s.ids, s.skipSpecial); !strings.HasSuffix(p, "\uFFFD") {
			s.prefix, s.prefixLen = p, len(s.ids)
		}
	}
	s.ids = append(s.ids, id)
	text := s.t.Decode(s.ids, s.skipSpecial)
	if len(text) <= len(s.prefix) || strings.HasSuffix(text, "\uFFFD") || !strings.HasPrefix(text, s.prefix) {
		return ""
	}
	out := text[len(s.prefix):]
	context := len(s.ids) - s.prefixLen
	s.ids = append(s.ids[:0], s.ids[s.prefixLen:]...)
	s.prefix, s.prefixLen = s.t.Decode(s.ids, s.skipSpecial), context
	return out
}

// Flush returns what is still held back, incomplete characters as U+FFFD, and ends the stream.
func (s *Stream) Flush() string {
	text := s.t.Decode(s.ids, s.skipSpecial)
	out := strings.TrimPrefix(text, s.prefix)
	s.ids, s.prefix, s.prefixLen = nil, "", 0
	return out
}
