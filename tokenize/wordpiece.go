package tokenize

import (
	"strings"
	"unicode/utf8"
)

// wordPiece takes the longest token at each place, with a prefix on all but the first of a word; a
// word with an unknown rest is unknown as a whole.
type wordPiece struct {
	*vocabulary
	first    *trie // tokens that may begin a word
	rest     *trie // tokens that may follow, their prefix cut off
	unk      string
	maxChars int
	cache    *wordCache
}

func newWordPiece(v *vocabulary, unk, prefix string, maxChars int) *wordPiece {
	m := &wordPiece{vocabulary: v, unk: unk, maxChars: maxChars, cache: newWordCache()}
	m.first, m.rest = newTrie(4*len(v.ids)), newTrie(4*len(v.ids))
	for t, id := range v.ids {
		m.first.add(t, id, false)
		if r, ok := strings.CutPrefix(t, prefix); ok {
			m.rest.add(r, id, false)
		}
	}
	return m
}

func (m *wordPiece) tokenize(dst []token, s string) ([]token, error) {
	return m.cache.through(dst, s, m.word)
}

func (m *wordPiece) word(dst []token, s string) ([]token, error) {
	if len(s) > m.maxChars && utf8.RuneCountInString(s) > m.maxChars {
		return m.unknown(dst, s)
	}
	n := len(dst)
	for at := 0; at < len(s); {
		t := m.first
		if at > 0 {
			t = m.rest
		}
		id, size := t.longest(s[at:])
		if size == 0 {
			return m.unknown(dst[:n], s)
		}
		dst = append(dst, token{id: id, start: int32(at), end: int32(at + size)})
		at += size
	}
	return dst, nil
}

func (m *wordPiece) unknown(dst []token, s string) ([]token, error) {
	id, ok := m.ids[m.unk]
	if !ok {
		return dst, refuseWord(s, m.unk)
	}
	return append(dst, token{id: id, end: int32(len(s))}), nil
}

func refuseWord(word, unk string) error {
	return refuse("the text holds the unknown word %q and the unknown token %q "+
		"is not in the vocabulary", word, unk)
}

// wordLevel knows whole words only.
type wordLevel struct {
	*vocabulary
	unk string
}

func (m *wordLevel) tokenize(dst []token, s string) ([]token, error) {
	id, ok := m.ids[s]
	if !ok {
		if id, ok = m.ids[m.unk]; !ok {
			return dst, refuseWord(s, m.unk)
		}
	}
	return append(dst, token{id: id, end: int32(len(s))}), nil
}
