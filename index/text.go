package index

import (
	"slices"
	"strings"
	"unicode"
)

// isIdeogram says whether a letter stands in texts that have no spaces between words, where the
// full-text index would take a whole sentence for one word.
func isIdeogram(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// spread puts a thin space behind each such letter, so that each is a word.
func spread(text string) string {
	if !strings.ContainsFunc(text, isIdeogram) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		b.WriteRune(r)
		if isIdeogram(r) {
			b.WriteRune(thin)
		}
	}
	return b.String()
}

// thin is the space that spread writes and gather takes out.
const thin = '\u2009'

// gather undoes spread, and puts a text on one line.
func gather(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, string(thin), "")), " ")
}

// common are words that say little of what is sought; they count only where there is nothing else.
var common = strings.Fields("a an and are as at be by for from in is it of on or that the this to was with " +
	"der die das ein eine und im in auf mit von le la les un une et de du des en au el los las y o")

// matchQuery is what the full-text index is asked for: any of a text's words, and those that are near
// each other in it as phrases where letters stand for words. It is empty where a text has no words.
func matchQuery(text string) string {
	var terms, rare []string
	isWord := func(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.M) }
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !isWord(r) }) {
		term := `"` + strings.TrimSpace(spread(word)) + `"` // several letters are a phrase
		terms = append(terms, term)
		if !slices.Contains(common, strings.ToLower(word)) {
			rare = append(rare, term)
		}
	}
	if len(rare) > 0 {
		terms = rare
	}
	slices.Sort(terms)
	return strings.Join(slices.Compact(terms), " OR ")
}
