package find

import (
	"slices"
	"strings"
)

// This file finds what in a sentence answers.

// span finds what in a sentence is of the kind asked for; from is -1 where there is nothing.
func (a *asked) span(s *sentence) (from, to int, fits float64) {
	if a.kind == anything || a.kind == aSentence {
		return -1, -1, 0
	}
	from, fits = -1, -1
	best := 0.0
	for _, at := range a.kind.spans(s.text) {
		lo, hi := a.trim(s, at[0], at[1])
		if lo >= hi {
			continue
		}
		f := a.kind.fits(s.text[lo:hi])
		if f < 0 {
			continue
		}
		if a.kind == aPerson && !strings.Contains(s.text[lo:hi], " ") { // a name seldom is one word
			if lo == s.words[0].from {
				continue
			}
			if f = 0.5; len(s.words) <= 4 {
				f = -0.5
			}
		}
		// The nearest to what the question says; rather behind it.
		near := 0.0
		for _, w := range s.words {
			if a.said(w.stem) && (w.to <= lo || w.from >= hi) {
				d := float64(max(lo-w.to, (w.from-hi)*3/2))
				near = max(near, 1/(1+d/8))
			}
		}
		if v := f + near; from < 0 || v > best {
			from, to, fits, best = lo, hi, f, v
		}
	}
	return from, to, fits
}

// trim takes words off the ends of a span that the question says, or that say nothing; all of them where those are all.
func (a *asked) trim(s *sentence, lo, hi int) (int, int) {
	var inside []word
	for _, w := range s.words {
		if w.from < hi && w.to > lo {
			inside = append(inside, w)
		}
	}
	empty := func(w word) bool { return a.said(w.stem) || stopped[w.stem] && !isDigit(s.text[w.from]) }
	if a.kind == aPerson || a.kind == aPlace || a.kind == anAddress {
		for len(inside) > 0 && empty(inside[0]) {
			inside = inside[1:]
			if len(inside) > 0 {
				lo = inside[0].from
			}
		}
	}
	hi = lo + len(strings.TrimRight(s.text[lo:hi], ".,;: "))
	if len(inside) == 0 || !slices.ContainsFunc(inside, func(w word) bool { return !empty(w) }) {
		return 0, 0
	}
	return lo, hi
}

// rest is the longest run of a sentence that the question does not say: what it asks for if nothing tells of what kind
// that is.
func (a *asked) rest(s *sentence) (from, to int) {
	begin, best, last := -1, 0, -1
	end := func(at int) {
		if begin >= 0 {
			n := 0
			for _, w := range s.words {
				if w.from >= begin && w.to <= at && !stopped[w.stem] {
					n++
				}
			}
			// Behind what the question says, rather than before it.
			if last >= 0 {
				n = 2*n + 1
			}
			if n > best {
				from, to, best = begin, at, n
			}
		}
		begin = -1
	}
	for i, w := range s.words {
		cut := i > 0 && strings.ContainsAny(s.text[s.words[i-1].to:max(w.from, s.words[i-1].to)], ",;:()–")
		if a.said(w.stem) || cut {
			if i > 0 {
				end(s.words[i-1].to)
			}
			if a.said(w.stem) {
				last = i
				continue
			}
		}
		if begin < 0 && !stopped[w.stem] {
			begin = w.from
		}
	}
	if n := len(s.words); n > 0 {
		end(s.words[n-1].to)
	}
	return from, to
}
