package tokenize

import "bytes"

// Stream decodes ids one at a time, to show text while a model still writes. The texts that Push
// and Flush return join to the text that Decode returns for all ids, for every tokenizer.
//
// A Stream returns text as soon as no later id can change it. It holds back a character whose last
// bytes are missing, and tokens that a decoder joins: a run of byte tokens such as <0xE4> until it
// ends, the suffix that ends a word until the next token, repetitions of CTC. Text that ends in
// U+FFFD is held back too, because most tokenizers write an unfinished character so.
//
// Each id is decoded once. A Stream is for one goroutine.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	in          sink
	out         *decoded
	given       int // bytes of the text given out
	flushed     bool
}

// NewStream starts a stream. skipSpecial leaves special tokens out, as in Decode.
func (t *Tokenizer) NewStream(skipSpecial bool) *Stream {
	out := new(decoded)
	return &Stream{t: t, skipSpecial: skipSpecial, in: t.decoder.onto(out), out: out}
}

// Push takes the next id and returns the text that has become final, often that of this id, or "".
// After Flush it does nothing.
func (s *Stream) Push(id int64) string {
	if s.flushed {
		return ""
	}
	before := len(s.out.text)
	s.add(id)
	if n := len(bytes.TrimRight(s.out.text[before:], "\uFFFD")); n > 0 {
		return s.give(before + n)
	}
	return ""
}

// Flush ends the stream and returns the text still held back, an incomplete character as U+FFFD.
func (s *Stream) Flush() string {
	s.finish()
	return s.give(len(s.out.text))
}

// Text returns all that the stream has given out so far.
func (s *Stream) Text() string { return string(s.out.text[:s.given]) }

// Clone returns a second stream that goes on from here on its own, as the beams of a search do.
func (s *Stream) Clone() *Stream {
	c := *s
	c.out = &decoded{bytes.Clone(s.out.text)}
	c.in = s.in.fork(c.out)
	return &c
}

// add decodes an id. One that no token has is skipped.
func (s *Stream) add(id int64) {
	token, ok := s.t.IDToToken(id)
	if !ok || s.skipSpecial && s.t.added.special[token] {
		return
	}
	s.in.write(token)
	s.in.next()
}

func (s *Stream) finish() {
	if !s.flushed {
		s.in.close()
		s.flushed = true
	}
}

// give returns the text from where the last piece ended up to byte end.
func (s *Stream) give(end int) string {
	text := string(s.out.text[s.given:end])
	s.given = end
	return text
}
