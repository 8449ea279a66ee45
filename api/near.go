package api

import (
	"fmt"
	"strings"
)

// Nearest is the one of names that a word was probably meant to be: one that begins with it, else
// the one with the fewest typing errors between them, of which there may be one in three
// characters. It is "" where none is near.
func Nearest(word string, names []string) string {
	lower := strings.ToLower(word)
	if len(lower) >= 3 {
		for _, name := range names {
			if strings.HasPrefix(strings.ToLower(name), lower) {
				return name
			}
		}
	}
	best, nearest := "", max(2, len(lower)/3+1)
	if len(lower) < 2 {
		nearest = 1
	}
	for _, name := range names {
		if d := typos(lower, strings.ToLower(name)); d < nearest {
			best, nearest = name, d
		}
	}
	return best
}

// DidYouMean is a question to put behind an error about a word, with the nearest of names, or "".
func DidYouMean(word string, names []string) string {
	if name := Nearest(word, names); name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}

// typos is how many characters were left out, added, replaced or swapped with their neighbour
// between two words (optimal string alignment).
func typos(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row[0] = i + 1
		for j := range t {
			changed := last[j]
			if s[i] != t[j] {
				changed++
			}
			row[j+1] = min(changed, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
