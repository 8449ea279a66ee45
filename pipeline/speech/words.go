package speech

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// word is a word of a window, or a part of one, with its times from the window's beginning.
type word struct {
	text       string
	ids        []int64
	start, end float64
	p          float64 // its probability
}

// spaceless are the languages that write no spaces between words.
var spaceless = map[string]bool{"zh": true, "ja": true, "th": true, "lo": true, "my": true, "yue": true}

// splitWords cuts a text's tokens into words: at spaces and before punctuation or, in a language
// without spaces, wherever whole characters end. decode returns the text of tokens, special ones among
// them. Source: split_to_word_tokens of tokenizer.py, openai-whisper 20250625; but a text that breaks
// off inside a character ends with what there is of it, while there its last word is lost.
func splitWords(ids []int64, language string, decode func([]int64) string) []word {
	parts := splitCharacters(ids, decode)
	if spaceless[language] {
		return parts
	}
	const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	var words []word
	for _, p := range parts {
		apart := strings.HasPrefix(p.text, " ") || strings.Contains(punctuation, trim(p.text))
		if last := len(words) - 1; apart || last < 0 {
			words = append(words, p)
		} else {
			words[last].text += p.text
			words[last].ids = append(words[last].ids, p.ids...)
		}
	}
	return words
}

// trim is Python's strip, which takes four control characters for space, too.
func trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || 0x1C <= r && r <= 0x1F })
}

// splitCharacters cuts a text's tokens into the shortest runs that are whole characters.
func splitCharacters(ids []int64, decode func([]int64) string) (parts []word) {
	whole := []rune(decode(ids))
	from, at := 0, 0 // the run's first token, and its place in the whole
	for to := 1; to <= len(ids); to++ {
		text := decode(ids[from:to])
		if before, _, broken := strings.Cut(text, "\uFFFD"); broken && to < len(ids) {
			place := at + utf8.RuneCountInString(before)
			if place >= len(whole) || whole[place] != utf8.RuneError {
				continue // the rest of the character follows
			}
		}
		parts = append(parts, word{text: text, ids: ids[from:to:to]})
		from, at = to, at+utf8.RuneCountInString(text)
	}
	return parts
}

// Punctuation that goes to the word behind it, and to the word before it: prepend_punctuations and
// append_punctuations of timing.py.
const (
	opening = "\"'“¿([{-"
	closing = "\"'.。,，!！?？:：”)]}、"
)

// mergePunctuation gives punctuation to the words beside it, which keep their times. What is given away
// stays behind without text. Source: merge_punctuations of timing.py, openai-whisper 20250625.
func mergePunctuation(words []word) {
	following := len(words) - 1
	for i := len(words) - 2; i >= 0; i-- {
		if w := &words[i]; strings.HasPrefix(w.text, " ") && strings.Contains(opening, trim(w.text)) {
			next := &words[following]
			next.text, next.ids = w.text+next.text, append(w.ids, next.ids...)
			w.text, w.ids = "", nil
		} else {
			following = i
		}
	}
	previous := 0
	for i := 1; i < len(words); i++ {
		before, w := &words[previous], &words[i]
		if !strings.HasSuffix(before.text, " ") && strings.Contains(closing, w.text) {
			before.text, before.ids = before.text+w.text, append(before.ids, w.ids...)
			w.text, w.ids = "", nil
		} else {
			previous = i
		}
	}
}
