package tokenize

import (
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// The well-known splitting patterns, written out as scanners. Each matches at every position, so a
// scanner need only say where the match that starts at i ends. pattern_test.go holds them to the
// general engine running the pattern itself.

// Character kinds as the patterns see them.
const (
	kindOther = iota // [^\s\p{L}\p{N}]
	kindLetter
	kindNumber
	kindSpace
)

// asciiKind is kindOf for ASCII.
var asciiKind = func() (t [utf8.RuneSelf]uint8) {
	for c := range t {
		t[c] = runeKind(rune(c))
	}
	return
}()

func runeKind(r rune) uint8 {
	props := unidata.Props(r)
	if props&unidata.OnigSpace != 0 {
		return kindSpace
	}
	switch props & 31 {
	case unidata.Ll, unidata.Lm, unidata.Lo, unidata.Lt, unidata.Lu:
		return kindLetter
	case unidata.Nd, unidata.Nl, unidata.No:
		return kindNumber
	}
	return kindOther
}

// kindAt returns the kind and the length of the character at i, 0 at the end.
func kindAt(s string, i int) (kind uint8, n int) {
	if i >= len(s) {
		return kindOther, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return asciiKind[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return runeKind(r), n
}

// runEnd returns the end of the run of one kind that begins at i.
func runEnd(s string, i int, kind uint8) int {
	for {
		k, n := kindAt(s, i)
		if n == 0 || k != kind {
			return i
		}
		i += n
	}
}

// spaceEnd matches \s+(?!\S)|\s+ at i, where there is white space: the run, but for its last
// character if something follows.
func spaceEnd(s string, i int) int {
	end := runEnd(s, i, kindSpace)
	if end == len(s) {
		return end
	}
	_, n := utf8.DecodeLastRuneInString(s[i:end])
	if end-n > i {
		return end - n
	}
	return end
}

// scanGPT2 is '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ .
func scanGPT2(s string, i int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	kind, n := kindAt(s, i)
	if s[i] == ' ' {
		if k, m := kindAt(s, i+1); m > 0 && k != kindSpace {
			return runEnd(s, i+1+m, k)
		}
	}
	if kind == kindSpace {
		return spaceEnd(s, i)
	}
	return runEnd(s, i+n, kind)
}

// contraction returns the length of an English contraction at the start of s: s, t, re, ve, m, ll
// or d.
func contraction(s string) int {
	if len(s) == 0 {
		return 0
	}
	switch s[0] {
	case 's', 't', 'm', 'd':
		return 1
	}
	if len(s) > 1 {
		switch s[:2] {
		case "re", "ve", "ll":
			return 2
		}
	}
	return 0
}
