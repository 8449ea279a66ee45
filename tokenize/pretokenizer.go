package tokenize

import (
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// preTokenizer cuts a part of a text into the words that the model will see, possibly rewriting it,
// and appends them to dst. Empty words are dropped.
type preTokenizer interface {
	split(dst []aligned, p *aligned) ([]aligned, error)
}

// preTokenizers runs one after the other, each on the words of the one before.
type preTokenizers []preTokenizer

func (ps preTokenizers) split(dst []aligned, p *aligned) ([]aligned, error) {
	words := []aligned{*p}
	for i, pre := range ps {
		var out []aligned
		if i == len(ps)-1 {
			out = dst
		} else {
			out = make([]aligned, 0, 2*len(words))
		}
		for k := range words {
			var err error
			if out, err = pre.split(out, &words[k]); err != nil {
				return dst, err
			}
		}
		words = out
	}
	if len(ps) == 0 {
		return append(dst, *p), nil
	}
	return words, nil
}

// splitter cuts by a pattern. It is the Split, Digits, Punctuation, WhitespaceSplit and
// CharDelimiterSplit of the reference.
type splitter struct {
	pattern finder
	invert  bool
	how     behavior
}

func (t splitter) split(dst []aligned, p *aligned) ([]aligned, error) {
	return p.split(dst, t.pattern, t.invert, t.how)
}

// scanner keeps the matches of a pattern and drops what lies between them: scan returns the end of
// the match that starts at i, or i where there is none.
type scanner struct {
	scan func(s string, i int) int
}

func (t scanner) split(dst []aligned, p *aligned) ([]aligned, error) {
	for at := 0; at < len(p.s); {
		end := t.scan(p.s, at)
		if end == at {
			at += runeLen(p.s[at:])
			continue
		}
		dst = append(dst, p.slice(at, end))
		at = end
	}
	return dst, nil
}

// bertPreTokenizer cuts at white space and around each punctuation character.
type bertPreTokenizer struct{}

func (bertPreTokenizer) split(dst []aligned, p *aligned) ([]aligned, error) {
	s, word := p.s, 0
	emit := func(end int) {
		if word < end {
			dst = append(dst, p.slice(word, end))
		}
	}
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		switch props := unidata.Props(r); {
		case props&unidata.White != 0:
			emit(i)
			word = i + n
		case props&unidata.Punct != 0:
			emit(i)
			dst = append(dst, p.slice(i, i+n))
			word = i + n
		}
		i += n
	}
	emit(len(s))
	return dst, nil
}

// whitespacePreTokenizer keeps the matches of \w+|[^\w\s]+.
type whitespacePreTokenizer struct{}

func (whitespacePreTokenizer) split(dst []aligned, p *aligned) ([]aligned, error) {
	const none, word, other = 0, 1, 2
	start, kind := 0, none
	for i, r := range p.s {
		k := other
		switch props := unidata.Props(r); {
		case props&unidata.Word != 0:
			k = word
		case props&unidata.White != 0:
			k = none
		}
		if k != kind {
			if kind != none {
				dst = append(dst, p.slice(start, i))
			}
			start, kind = i, k
		}
	}
	if kind != none {
		dst = append(dst, p.slice(start, len(p.s)))
	}
	return dst, nil
}

// byteLevelPreTokenizer optionally puts a space in front, cuts by the pattern of GPT-2, and writes
// bytes as characters. The last step is left out where the model reads raw bytes itself.
type byteLevelPreTokenizer struct {
	addPrefixSpace bool
	useRegex       bool
	raw            bool
}

func (t byteLevelPreTokenizer) split(dst []aligned, p *aligned) ([]aligned, error) {
	if t.addPrefixSpace && (len(p.s) == 0 || p.s[0] != ' ') {
		p.prepend(" ")
	}
	n := len(dst)
	if t.useRegex {
		dst, _ = scanner{scanGPT2}.split(dst, p)
	} else {
		dst = append(dst, *p)
	}
	for i := n; !t.raw && i < len(dst); i++ {
		dst[i].byteLevel()
	}
	return dst, nil
}

// metaspacePreTokenizer writes spaces as another character, may put one in front, and may cut
// before each.
type metaspacePreTokenizer struct {
	replacement string
	prepend     prependScheme
	cut         bool
}

type prependScheme int

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

func (t metaspacePreTokenizer) split(dst []aligned, p *aligned) ([]aligned, error) {
	p.replace(literal(" ").matches(p.s), t.replacement)
	if len(p.s) >= len(t.replacement) && p.s[:len(t.replacement)] == t.replacement {
		// begins with one already
	} else if t.prepend == prependAlways || t.prepend == prependFirst && p.from.start == 0 {
		p.prepend(t.replacement)
	}
	if !t.cut {
		return append(dst, *p), nil
	}
	return p.split(dst, literal(t.replacement), false, mergedWithNext)
}

// fixedLength cuts every n characters.
type fixedLength int

func (n fixedLength) split(dst []aligned, p *aligned) ([]aligned, error) {
	start, k := 0, 0
	for i := range p.s {
		if k == int(n) {
			dst = append(dst, p.slice(start, i))
			start, k = i, 0
		}
		k++
	}
	if start < len(p.s) {
		dst = append(dst, p.slice(start, len(p.s)))
	}
	return dst, nil
}

func isPunctuation(r rune) bool { return unidata.Is(r, unidata.Punct) }
func isNumeric(r rune) bool     { return unidata.Is(r, unidata.Numeric) }
