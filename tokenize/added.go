package tokenize

import (
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// addedToken is a token that is cut out of the text before the model sees it.
type addedToken struct {
	content    string
	singleWord bool // only where no word character stands beside it
	lstrip     bool // takes the white space before it
	rstrip     bool // takes the white space after it
	normalized bool // looked for in the normalized text, not in the original
	special    bool // left out by Decode where special tokens are skipped
}

// addedVocabulary holds the added tokens of a tokenizer.
type addedVocabulary struct {
	ids      map[string]int32
	tokens   map[int32]addedToken
	special  map[string]bool
	original addedMatcher // finds tokens in the text as given
	after    addedMatcher // finds tokens in the normalized text
}

// newAddedVocabulary registers tokens in the way of AddedVocabulary::add_tokens: a token that the
// model knows keeps its id, the others get the next free ones in order. The ids in the file are not
// used, as in the reference.
func newAddedVocabulary(tokens []addedToken, m model, n normalizer) (*addedVocabulary, error) {
	v := &addedVocabulary{
		ids:     make(map[string]int32),
		tokens:  make(map[int32]addedToken),
		special: make(map[string]bool),
	}
	var specials, others []addedToken
	for _, t := range tokens {
		if t.special && t.content != "" && !v.special[t.content] {
			specials = append(specials, t)
			v.special[t.content] = true
		}
	}
	next := int32(m.size())
	seen := make(map[addedToken]bool)
	for _, t := range tokens {
		if t.content == "" || seen[t] {
			continue
		}
		id, ok := v.ids[t.content]
		if !ok {
			id, ok = m.id(t.content)
		}
		if !ok {
			id = next
			next++
		}
		v.ids[t.content] = id
		v.tokens[id] = t
		if !v.special[t.content] {
			others = append(others, t)
		}
		seen[t] = true
	}
	for _, t := range append(specials, others...) {
		id := v.ids[t.content]
		if !t.normalized {
			v.original.add(t.content, id)
			continue
		}
		p := newAligned(t.content)
		if n != nil {
			if err := n.normalize(&p); err != nil {
				return nil, err
			}
		}
		if p.s == "" {
			return nil, refuse("added_tokens: %q has nothing left after normalization, "+
				"so it would match everywhere", t.content)
		}
		v.after.add(p.s, id)
	}
	return v, nil
}

// addedMatcher finds the leftmost longest occurrences of its tokens.
type addedMatcher struct {
	words *trie
	first [256]bool
	only  byte // the one first byte all tokens share
	kinds int  // number of distinct first bytes
}

func (m *addedMatcher) add(content string, id int32) {
	if m.words == nil {
		m.words = newTrie(0)
	}
	// Two tokens may normalize to the same text; the first one wins.
	m.words.add(content, id, true)
	if c := content[0]; !m.first[c] {
		m.first[c] = true
		m.only = c
		m.kinds++
	}
}

// next returns the first occurrence at or after from: its id and range, or -1.
func (m *addedMatcher) next(s string, from int) (id int32, start, end int) {
	if m.words == nil {
		return -1, 0, 0
	}
	for i := from; i < len(s); i++ {
		if m.kinds == 1 {
			k := strings.IndexByte(s[i:], m.only)
			if k < 0 {
				break
			}
			i += k
		} else if !m.first[s[i]] {
			continue
		}
		if id, n := m.words.longest(s[i:]); n > 0 {
			return id, i, i + n
		}
	}
	return -1, 0, 0
}

// extract cuts the tokens of m out of p and appends the parts to dst, as
// AddedVocabulary::find_matches does: a match that is not used still ends where it ends, and the
// white space that a token takes may reach into the part before it.
func (v *addedVocabulary) extract(dst []aligned, p *aligned, m *addedMatcher) []aligned {
	done := 0
	for from := 0; ; {
		id, start, end := m.next(p.s, from)
		if id < 0 {
			break
		}
		from = end
		t := v.tokens[id]
		if t.singleWord && (endsWithWord(p.s[:start]) || startsWithWord(p.s[end:])) {
			continue
		}
		if t.lstrip {
			start = max(len(trimRightSpace(p.s[:start])), done)
		}
		if t.rstrip {
			end = len(p.s) - len(trimLeftSpace(p.s[end:]))
		}
		if done < start {
			dst = append(dst, p.slice(done, start))
		}
		if start < end {
			q := p.slice(start, end)
			q.added = id
			dst = append(dst, q)
		}
		done = end
	}
	if done < len(p.s) {
		dst = append(dst, p.slice(done, len(p.s)))
	}
	return dst
}

func endsWithWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && unidata.Is(r, unidata.Word)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && unidata.Is(r, unidata.Word)
}

func isWhite(r rune) bool { return unidata.Is(r, unidata.White) }

func trimRightSpace(s string) string { return strings.TrimRightFunc(s, isWhite) }
func trimLeftSpace(s string) string  { return strings.TrimLeftFunc(s, isWhite) }
