package tokenize

import (
	"strings"
	"unicode/utf8"
)

// match is a byte range of a text.
type match struct{ start, end int }

// finder finds the matches of a pattern in a text, in order and without overlap.
type finder interface {
	find(s string) ([]match, error)
}

// literal matches a fixed string. The empty one matches at every character boundary, as the empty
// regular expression does.
type literal string

func (l literal) find(s string) ([]match, error) {
	return l.matches(s), nil
}

func (l literal) matches(s string) []match {
	var out []match
	if len(l) == 0 {
		for i := range s {
			out = append(out, match{i, i})
		}
		return append(out, match{len(s), len(s)})
	}
	for at := 0; ; {
		i := strings.Index(s[at:], string(l))
		if i < 0 {
			return out
		}
		out = append(out, match{at + i, at + i + len(l)})
		at += i + len(l)
	}
}

// runePredicate matches single characters.
type runePredicate func(r rune) bool

func (f runePredicate) find(s string) ([]match, error) {
	var out []match
	for i, r := range s {
		if f(r) {
			out = append(out, match{i, i + utf8.RuneLen(r)})
		}
	}
	return out, nil
}

// behavior says what becomes of the matches of a splitting pattern.
type behavior int

const (
	removed behavior = iota
	isolated
	mergedWithPrevious
	mergedWithNext
	contiguous
)

// section is a stretch of a text and whether it matched.
type section struct {
	match
	hit bool
}

// sections covers n bytes by the matches and the gaps between them; inverted turns matches into
// gaps.
func sections(matches []match, n int, inverted bool) []section {
	out := make([]section, 0, 2*len(matches)+1)
	at := 0
	for _, m := range matches {
		if m.start > at {
			out = append(out, section{match{at, m.start}, inverted})
		}
		out = append(out, section{m, !inverted})
		at = m.end
	}
	if at < n {
		out = append(out, section{match{at, n}, inverted})
	}
	return out
}

// split cuts p by a pattern and appends the non-empty parts to dst.
func (p *aligned) split(dst []aligned, f finder, inverted bool, how behavior) ([]aligned, error) {
	if len(p.s) == 0 {
		return dst, nil
	}
	matches, err := f.find(p.s)
	if err != nil {
		return dst, err
	}
	for _, part := range join(sections(matches, len(p.s), inverted), how) {
		if part.start < part.end {
			dst = append(dst, p.slice(part.start, part.end))
		}
	}
	return dst, nil
}

// join merges sections according to the behaviour, in the steps of NormalizedString::split.
func join(in []section, how behavior) []match {
	out := make([]match, 0, len(in))
	switch how {
	case removed:
		for _, s := range in {
			if !s.hit {
				out = append(out, s.match)
			}
		}
	case isolated:
		for _, s := range in {
			out = append(out, s.match)
		}
	case contiguous:
		previous := false
		for _, s := range in {
			if s.hit == previous && len(out) > 0 {
				out[len(out)-1].end = s.end
			} else {
				out = append(out, s.match)
			}
			previous = s.hit
		}
	case mergedWithPrevious:
		previous := false
		for _, s := range in {
			if s.hit && !previous && len(out) > 0 {
				out[len(out)-1].end = s.end
			} else {
				out = append(out, s.match)
			}
			previous = s.hit
		}
	case mergedWithNext:
		previous := false
		for i := len(in) - 1; i >= 0; i-- {
			s := in[i]
			if s.hit && !previous && len(out) > 0 {
				out[len(out)-1].start = s.start
			} else {
				out = append(out, s.match)
			}
			previous = s.hit
		}
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out
}
