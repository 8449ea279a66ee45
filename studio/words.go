package studio

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Token is a word of a text as search compares it.
type Token struct {
	Text     string // lower case, without accents
	From, To int    // bytes of the text
}

// single are the scripts that put no space between words: each of their letters is a word, and a
// word of several is a row of these.
var single = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// Tokens divides a text into words: runs of letters and digits.
func Tokens(text string) []Token {
	list := make([]Token, 0, len(text)/6+1)
	from := -1
	end := func(to int) {
		if from >= 0 {
			if folded := fold(text[from:to]); folded != "" {
				list = append(list, Token{folded, from, to})
			}
			from = -1
		}
	}
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
				if from < 0 {
					from = i
				}
			} else {
				end(i)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case unicode.IsMark(r): // goes with its letter, where there is one
		case unicode.In(r, single...):
			end(i)
			from = i
			for i += n; i < len(text); i += n { // with its marks
				if r, n = utf8.DecodeRuneInString(text[i:]); !unicode.IsMark(r) {
					break
				}
			}
			end(i)
			continue
		case unicode.IsLetter(r) || unicode.IsNumber(r):
			if from < 0 {
				from = i
			}
		default:
			end(i)
		}
		i += n
	}
	end(len(text))
	return list
}

// fold makes a word what it is compared as. What it gives holds no ASCII but a-z and 0-9.
func fold(word string) string {
	ascii, lower := true, true
	for i := range len(word) {
		ascii = ascii && word[i] < utf8.RuneSelf
		lower = lower && (word[i] < 'A' || word[i] > 'Z')
	}
	if ascii && lower {
		return word
	}
	if ascii {
		return strings.ToLower(word)
	}
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToLower(r); {
		case r >= 0x300 && r <= 0x36f, // accents of Latin, Greek and Cyrillic letters
			r >= 0x591 && r <= 0x5c7, r >= 0x610 && r <= 0x61a, r >= 0x64b && r <= 0x65f, // points of Hebrew and Arabic
			!unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r):
			return -1
		}
		return r
	}, norm.NFKD.String(unicodeLower(word)))
}

// unicodeLower is strings.ToLower with the sharp s written out.
func unicodeLower(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "ß", "ss")
}

// Phrase is words that have to follow each other.
type Phrase struct {
	Words  []string // folded
	Not    bool     // the phrase must not be there
	Prefix bool     // the last word may be longer
}

// shortPrefix is how many bytes a word has at least that may be the beginning of one.
const shortPrefix = 3

// ParseWords reads what people type into a search: words, "words in a row", -unwanted. The last word
// may be the beginning of one, unless a space or a quotation mark follows it.
func ParseWords(text string) []Phrase {
	var list []Phrase
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if unicode.IsSpace(r) {
			i += n
			continue
		}
		var p Phrase
		if r == '-' && i+1 < len(text) {
			p.Not = true
			i++
		}
		var body string
		if i < len(text) && text[i] == '"' {
			body = text[i+1:]
			if end := strings.IndexByte(body, '"'); end >= 0 {
				body = body[:end]
				i += end + 2
			} else {
				i = len(text)
			}
		} else {
			end := strings.IndexFunc(text[i:], func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
			if end < 0 {
				end = len(text) - i
				p.Prefix = true
			}
			body = text[i : i+end]
			i += end
		}
		for _, t := range Tokens(body) {
			p.Words = append(p.Words, t.Text)
		}
		if p.Prefix && len(p.Words) > 0 {
			p.Prefix = len(p.Words[len(p.Words)-1]) >= shortPrefix
		}
		if len(p.Words) > 0 {
			list = append(list, p)
		}
	}
	return list
}

// In reports whether the phrase stands among words, as those of Token.Text.
func (p *Phrase) In(words []string) bool {
	for i := 0; i+len(p.Words) <= len(words); i++ {
		last := len(p.Words) - 1
		if slices.Equal(words[i:i+last], p.Words[:last]) &&
			(words[i+last] == p.Words[last] || p.Prefix && strings.HasPrefix(words[i+last], p.Words[last])) {
			return true
		}
	}
	return false
}

// at returns how many tokens from the i-th on the phrase takes; 0 where it does not stand there.
func (p *Phrase) at(tokens []Token, i int) int {
	if i+len(p.Words) > len(tokens) {
		return 0
	}
	for k, w := range p.Words {
		got := tokens[i+k].Text
		if got != w && !(p.Prefix && k == len(p.Words)-1 && strings.HasPrefix(got, w)) {
			return 0
		}
	}
	return len(p.Words)
}

// Context cuts from a text what stands around the first place that has most of the phrases, about
// most bytes, and marks the hits. Without a hit it is the beginning.
func Context(text string, phrases []Phrase, most int) []Piece {
	phrases = slices.DeleteFunc(slices.Clone(phrases), func(p Phrase) bool { return p.Not })
	const longestText = 1 << 20 // beyond that nobody looks for hits
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "")
	}
	tokens := Tokens(text)
	type hit struct{ from, to, phrase int }
	var hits []hit
	for i := 0; i < len(tokens); {
		step := 1
		for k := range phrases {
			if n := phrases[k].at(tokens, i); n > 0 {
				hits = append(hits, hit{tokens[i].From, tokens[i+n-1].To, k})
				step = n
				break
			}
		}
		i += step
	}
	// The window that has the most phrases begins at a hit.
	best, bestCount := 0, 0
	for i := range hits {
		seen := map[int]bool{}
		for _, h := range hits[i:] {
			if h.to-hits[i].from > most*2/3 {
				break
			}
			seen[h.phrase] = true
		}
		if len(seen) > bestCount {
			best, bestCount = i, len(seen)
		}
		if bestCount == len(phrases) || i > 1000 {
			break
		}
	}
	from := 0
	if len(hits) > 0 {
		from = max(0, hits[best].from-most/3)
	}
	to := min(len(text), max(from+most, 0))
	from = max(0, min(from, to-most))
	if len(hits) > 0 {
		to = max(to, min(hits[best].to, len(text)))
	}
	from, to = wordStart(text, from), wordEnd(text, to)
	var pieces []Piece
	add := func(s string, hit bool) {
		if s != "" {
			pieces = append(pieces, Piece{s, hit})
		}
	}
	at := from
	if from > 0 {
		add("… ", false)
	}
	for _, h := range hits {
		if h.from < at || h.to > to {
			continue
		}
		add(text[at:h.from], false)
		add(text[h.from:h.to], true)
		at = h.to
	}
	add(text[at:to], false)
	if to < len(text) {
		add(" …", false)
	}
	return pieces
}

// wordStart moves a place in the text back to where its word begins, but not far.
func wordStart(text string, at int) int {
	for n := 0; at > 0 && n < 30; n++ {
		r, size := utf8.DecodeLastRuneInString(text[:at])
		if unicode.IsSpace(r) {
			break
		}
		at -= size
	}
	return at
}

func wordEnd(text string, at int) int {
	for at < len(text) && !utf8.RuneStart(text[at]) {
		at++
	}
	for n := 0; at < len(text) && n < 30; n++ {
		r, size := utf8.DecodeRuneInString(text[at:])
		if unicode.IsSpace(r) {
			break
		}
		at += size
	}
	return at
}
