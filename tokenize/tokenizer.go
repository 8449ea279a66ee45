package tokenize

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"unicode/utf8"
)

// Tokenizer turns text into token ids and back. It is safe for concurrent use.
type Tokenizer struct {
	normalizer   normalizer   // may be nil, like all but the model
	preTokenizer preTokenizer //
	model        model
	processor    processor
	decoder      decoder
	added        *addedVocabulary
	truncation   *Truncation
	padding      *Padding
	scratch      sync.Pool // of *scratch
	vocabSize    int
}

// Truncation limits the number of tokens of an encoding.
type Truncation struct {
	MaxLength int // tokens kept, special ones included
	Stride    int // tokens that an overflowing part repeats of the one before
	Strategy  TruncationStrategy
	Left      bool // cut at the front instead of the back
}

// TruncationStrategy says which of two texts is cut. The zero value is LongestFirst.
type TruncationStrategy int

// The strategies of the reference.
const (
	LongestFirst TruncationStrategy = iota // evens the two texts out
	OnlyFirst
	OnlySecond
)

// Padding fills encodings up. The zero value pads to the longest of a batch, on the right, with id
// 0.
type Padding struct {
	Fixed      bool // to Length, else to the longest of the batch
	Length     int
	MultipleOf int  // round the length up to a multiple; 0 does not
	Left       bool // pad in front
	ID         int64
	TypeID     int64
	Token      string
}

// Open reads a tokenizer.json; see New.
func Open(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTokenizer, err)
	}
	t, err := New(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Lowercased returns a tokenizer that turns letters to lower case before it does what t does. The
// two share t's vocabulary.
func (t *Tokenizer) Lowercased() *Tokenizer {
	lowered := t.sharing()
	lowered.normalizer = lowercaseNormalizer{}
	if t.normalizer != nil {
		lowered.normalizer = normalizers{lowercaseNormalizer{}, t.normalizer}
	}
	return lowered
}

// sharing returns a tokenizer that does what t does with t's vocabulary.
func (t *Tokenizer) sharing() *Tokenizer {
	return &Tokenizer{
		normalizer: t.normalizer, preTokenizer: t.preTokenizer, model: t.model, processor: t.processor,
		decoder: t.decoder, added: t.added, truncation: t.truncation, padding: t.padding, vocabSize: t.vocabSize,
	}
}

// Option changes how a text is encoded.
type Option func(*options)

type options struct {
	pair       string
	pairs      []string
	paired     bool
	bare       bool
	truncation *Truncation
	padding    *Padding
}

// WithPair encodes a second text after the first one. The default is one text.
func WithPair(second string) Option {
	return func(o *options) { o.pair, o.paired = second, true }
}

// WithPairs gives each text of a batch its second one.
func WithPairs(seconds []string) Option {
	return func(o *options) { o.pairs, o.paired = seconds, true }
}

// WithoutSpecialTokens leaves out the tokens that the post-processor adds. The default adds them.
func WithoutSpecialTokens() Option { return func(o *options) { o.bare = true } }

// WithTruncation replaces the truncation that the file asks for; nil turns it off. The default is
// the file's.
func WithTruncation(t *Truncation) Option { return func(o *options) { o.truncation = t } }

// WithPadding replaces the padding that the file asks for; nil turns it off. The default is the
// file's.
func WithPadding(p *Padding) Option { return func(o *options) { o.padding = p } }

func (t *Tokenizer) options(opts []Option) options {
	o := options{truncation: t.truncation, padding: t.padding}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Encode turns text into tokens.
//
// Text that is not valid UTF-8 is encoded as if each maximal ill-formed part were U+FFFD, and
// Offsets then refer to that text.
func (t *Tokenizer) Encode(text string, opts ...Option) (*Encoding, error) {
	o := t.options(opts)
	if o.pairs != nil {
		return nil, refuse("WithPairs is for EncodeBatch; one text takes WithPair")
	}
	e, err := t.encode(text, &o)
	if err != nil {
		return nil, err
	}
	if o.padding != nil {
		padAll([]*Encoding{e}, o.padding)
	}
	return e, nil
}

// EncodeBatch encodes several texts, on as many threads as GOMAXPROCS allows, and pads them to one
// length where padding is set.
func (t *Tokenizer) EncodeBatch(texts []string, opts ...Option) ([]*Encoding, error) {
	o := t.options(opts)
	if o.pairs != nil && len(o.pairs) != len(texts) {
		return nil, refuse("%d second texts for %d first ones", len(o.pairs), len(texts))
	}
	out := make([]*Encoding, len(texts))
	errs := make([]error, len(texts))
	workers := min(runtime.GOMAXPROCS(0), len(texts))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < len(texts); i += workers {
				own := o
				if o.pairs != nil {
					own.pair = o.pairs[i]
				}
				out[i], errs[i] = t.encode(texts[i], &own)
			}
		}()
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("text %d: %w", i, err)
		}
	}
	if o.padding != nil {
		padAll(out, o.padding)
	}
	return out, nil
}

// encode does all but padding.
func (t *Tokenizer) encode(text string, o *options) (*Encoding, error) {
	first, err := t.sequence(text, 0)
	if err != nil {
		return nil, err
	}
	parts := []*Encoding{first}
	if o.paired {
		second, err := t.sequence(o.pair, 1)
		if err != nil {
			return nil, err
		}
		parts = append(parts, second)
	}
	if o.truncation != nil {
		if err := t.truncate(parts, o); err != nil {
			return nil, err
		}
	}
	if t.processor == nil {
		if len(parts) == 1 {
			return first, nil
		}
		for i, p := range parts {
			p.setSequence(i, Span{0, p.Len()})
		}
		return merge(parts), nil
	}
	for i, p := range parts {
		p.setSequence(i, Span{0, p.Len()})
		p.setTypeIDs(int64(i))
		for _, over := range p.Overflowing {
			over.setSequence(i, Span{0, over.Len()})
		}
	}
	if parts, err = t.processor.process(parts, !o.bare); err != nil {
		return nil, err
	}
	if len(parts) == 1 && len(parts[0].Overflowing) == 0 && !parts[0].shared {
		return parts[0], nil
	}
	return merge(parts), nil
}

// truncate cuts the parts so that with the tokens to be added they fit.
func (t *Tokenizer) truncate(parts []*Encoding, o *options) error {
	tr := *o.truncation
	if t.processor != nil && !o.bare {
		tr.MaxLength -= t.processor.added(len(parts) == 2)
		if tr.MaxLength < 0 {
			// The reference computes in unsigned numbers: room below zero is no limit at all.
			return nil
		}
	}
	if tr.MaxLength == 0 {
		for _, p := range parts {
			if err := p.truncate(0, tr.Stride, tr.Left); err != nil {
				return err
			}
		}
		return nil
	}
	n1, n2 := parts[0].Len(), 0
	if len(parts) == 2 {
		n2 = parts[1].Len()
	}
	excess := n1 + n2 - tr.MaxLength
	if excess <= 0 {
		return nil
	}
	switch tr.Strategy {
	case LongestFirst:
		if len(parts) == 1 {
			return parts[0].truncate(n1-excess, tr.Stride, tr.Left)
		}
		n1, n2 = evenOut(n1, n2, tr.MaxLength)
		if err := parts[0].truncate(n1, tr.Stride, tr.Left); err != nil {
			return err
		}
		return parts[1].truncate(n2, tr.Stride, tr.Left)
	case OnlyFirst, OnlySecond:
		i := int(tr.Strategy - OnlyFirst)
		if i >= len(parts) {
			return refuse("truncation of the second text, but there is only one")
		}
		if parts[i].Len() <= excess {
			return refuse("truncation: text %d has %d tokens, too few to take %d away",
				i+1, parts[i].Len(), excess)
		}
		return parts[i].truncate(parts[i].Len()-excess, tr.Stride, tr.Left)
	}
	return refuse("truncation: no strategy %d", tr.Strategy)
}

// evenOut divides limit tokens between texts of a and b tokens: the shorter keeps all it has while
// it is no more than half.
func evenOut(a, b, limit int) (int, int) {
	swap := a > b
	if swap {
		a, b = b, a
	}
	if a > limit {
		b = a
	} else {
		b = max(a, limit-a)
	}
	if a+b > limit {
		a = limit / 2
		b = a + limit%2
	}
	if swap {
		a, b = b, a
	}
	return a, b
}

// padAll brings encodings to one length.
func padAll(list []*Encoding, p *Padding) {
	n := p.Length
	if !p.Fixed {
		n = 0
		for _, e := range list {
			n = max(n, e.Len())
		}
	}
	if m := p.MultipleOf; m > 0 && n%m > 0 {
		n += m - n%m
	}
	for _, e := range list {
		e.pad(n, p)
	}
}

// scratch is the working space of one encoding.
type scratch struct {
	cut    []aligned // the text between added tokens found in the original
	parts  []aligned // the same after normalization
	words  []aligned
	tokens []token
	ends   []int // end in tokens of each word
}

// sequence encodes one text without special tokens.
func (t *Tokenizer) sequence(text string, typeID int64) (*Encoding, error) {
	text = lossy(text)
	if len(text) > math.MaxInt32/4 {
		return nil, refuse("a text of %d bytes is too long", len(text))
	}
	s, _ := t.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	defer t.scratch.Put(s)
	if err := s.split(t, text); err != nil {
		return nil, err
	}
	s.tokens, s.ends = s.tokens[:0], s.ends[:0]
	for i := range s.words {
		w := &s.words[i]
		if w.added >= 0 {
			s.tokens = append(s.tokens, token{id: w.added, end: int32(len(w.s)), text: w.s})
		} else {
			var err error
			if s.tokens, err = t.model.tokenize(s.tokens, w.s); err != nil {
				return nil, err
			}
		}
		s.ends = append(s.ends, len(s.tokens))
	}
	e := newEncoding(len(s.tokens))
	e.text = text
	at := 0
	for i := range s.words {
		w := &s.words[i]
		for ; at < s.ends[i]; at++ {
			tok := &s.tokens[at]
			name := tok.text
			if name == "" {
				name, _ = t.model.token(tok.id)
			}
			from, to := w.original(int(tok.start), int(tok.end))
			if tok.end <= tok.start || int(tok.end) > len(w.s) {
				from, to = settle(text, from, to)
			}
			e.push(int64(tok.id), name, Span{from, to}, i, typeID, 0)
		}
	}
	return e, nil
}

// settle brings the offsets of an impossible range, such as that of the bytes of an end-of-word
// suffix, to where the reference shows them: its conversion to characters moves back to the start
// of a character, and guesses at the end of the text.
func settle(s string, from, to int) (int, int) {
	floor := func(i int) int {
		for i < len(s) && !utf8.RuneStart(s[i]) {
			i--
		}
		return i
	}
	switch from = floor(from); {
	case from >= len(s) || to < len(s):
		return from, floor(to)
	case to == len(s):
		return from, to
	}
	to = from
	for range 2 {
		to += max(runeLen(s[min(to, len(s)):]), 1)
	}
	return from, to
}

// split fills s.words with the pre-tokenized words and added tokens of text.
func (s *scratch) split(t *Tokenizer, text string) error {
	s.cut, s.parts, s.words = s.cut[:0], s.parts[:0], s.words[:0]
	whole := newAligned(text)
	s.cut = t.added.extract(s.cut, &whole, &t.added.original)
	for i := range s.cut {
		p := &s.cut[i]
		if p.added >= 0 {
			s.parts = append(s.parts, *p)
			continue
		}
		if t.normalizer != nil {
			if err := t.normalizer.normalize(p); err != nil {
				return err
			}
		}
		s.parts = t.added.extract(s.parts, p, &t.added.after)
	}
	for i := range s.parts {
		p := &s.parts[i]
		if p.added >= 0 || t.preTokenizer == nil {
			s.words = append(s.words, *p)
			continue
		}
		var err error
		if s.words, err = t.preTokenizer.split(s.words, p); err != nil {
			return err
		}
	}
	return nil
}

// Decode turns ids into text. Ids that no token has are skipped; so are special tokens if
// skipSpecial is set. NewStream does the same id by id.
func (t *Tokenizer) Decode(ids []int64, skipSpecial bool) string {
	s := t.NewStream(skipSpecial)
	for _, id := range ids {
		s.add(id)
	}
	s.finish()
	return string(s.out.text)
}

// TokenToID returns the id of a token.
func (t *Tokenizer) TokenToID(token string) (int64, bool) {
	id, ok := t.added.ids[token]
	if !ok {
		id, ok = t.model.id(token)
	}
	return int64(id), ok
}

// IDToToken returns the token of an id.
func (t *Tokenizer) IDToToken(id int64) (string, bool) {
	if id < 0 || id > math.MaxInt32 {
		return "", false
	}
	if a, ok := t.added.tokens[int32(id)]; ok {
		return a.content, true
	}
	return t.model.token(int32(id))
}

// VocabSize is the number of different tokens, added ones included.
func (t *Tokenizer) VocabSize() int { return t.vocabSize }

// Vocab returns a copy of the vocabulary, from token to id, added tokens included.
func (t *Tokenizer) Vocab() map[string]int64 {
	vocab := make(map[string]int64, t.vocabSize)
	for token, id := range t.model.vocab() {
		vocab[token] = int64(id)
	}
	for token, id := range t.added.ids {
		vocab[token] = int64(id)
	}
	return vocab
}
