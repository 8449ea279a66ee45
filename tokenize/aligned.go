package tokenize

import (
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// span is a byte range of the original text.
type span struct{ start, end int32 }

// aligned is a part of a text on its way through the tokenizer: the normalized bytes, and for each
// of them the range of the original text that it stands for. All bytes of one character share one
// range. The reference has NormalizedString and Split for this, with offsets from the start of the
// part; here they are from the start of the text.
type aligned struct {
	s     string
	align []span // one a byte; nil while every byte is where it was, at base + its index
	base  int32
	from  span  // the part of the original text that this was cut from, whatever became of it since
	added int32 // id of the added token that this is, or -1
}

// newAligned is a whole text before anything has changed it.
func newAligned(s string) aligned {
	return aligned{s: s, from: span{0, int32(len(s))}, added: -1}
}

// slice returns the part [a, b) of p; both must lie on character boundaries.
func (p *aligned) slice(a, b int) aligned {
	q := aligned{s: p.s[a:b], base: p.base + int32(a), added: -1}
	q.from = span{q.base, q.base + int32(b-a)}
	if p.align != nil {
		q.align = p.align[a:b:b]
		if a < b {
			q.from = span{p.align[a].start, p.align[b-1].end}
		}
	}
	return q
}

// original maps the range [a, b) of p.s, given in bytes, to the original text. A range that cuts a
// character covers it whole.
func (p *aligned) original(a, b int) (int, int) {
	switch {
	case a == b: // an empty range has no alignment; the reference hands it through
		return int(p.from.start) + a, int(p.from.start) + b
	case a > b || b > len(p.s):
		return a, b
	case p.align != nil:
		return int(p.align[a].start), int(p.align[b-1].end)
	}
	for a > 0 && !utf8.RuneStart(p.s[a]) {
		a--
	}
	for b < len(p.s) && !utf8.RuneStart(p.s[b]) {
		b++
	}
	return int(p.base) + a, int(p.base) + b
}

// alignment returns the alignment of p, built where it was implicit.
func (p *aligned) alignment() []span {
	if p.align != nil {
		return p.align
	}
	align := make([]span, 0, len(p.s))
	for i := 0; i < len(p.s); {
		n := runeLen(p.s[i:])
		c := span{p.base + int32(i), p.base + int32(i+n)}
		for range n {
			align = append(align, c)
		}
		i += n
	}
	return align
}

// change is one character of a transformed text. delta says how it came about: 1 inserted after the
// character before it, 0 in place of the next old character, -n in place of the next one with n
// more removed after that.
type change struct {
	r     rune
	delta int32
}

// transform replaces the text of p by the given characters after dropping the first `removed` old
// ones, and carries the alignment along as NormalizedString::transform does: an inserted character
// takes the alignment of the byte before it.
func (p *aligned) transform(changes []change, removed int) {
	if len(p.s) == 0 {
		return // the reference has nothing to align to
	}
	old, oldAlign := p.s, p.alignment()
	out := make([]byte, 0, len(old)+len(old)/2)
	align := make([]span, 0, cap(out))
	at := 0
	// The reference finds the text to transform by its alignment, and so leaves out leading
	// characters that stand for nothing. Where the whole part does, it puts the new text in front
	// of the old.
	inserted := p.from.start == p.from.end
	for !inserted && at < len(old) && oldAlign[at].start == oldAlign[at].end {
		at++
	}
	out = append(out, old[:at]...)
	align = append(align, oldAlign[:at]...)
	for range removed {
		if !inserted {
			at += runeLen(old[at:])
		}
	}
	for _, c := range changes {
		a := span{p.from.start, p.from.start}
		switch {
		case c.delta > 0:
			if at > 0 {
				a = oldAlign[at-1]
			}
		case at < len(old):
			a = oldAlign[at]
		default:
			a = oldAlign[len(old)-1]
		}
		if c.delta <= 0 && !inserted {
			for range 1 - c.delta {
				at += runeLen(old[at:])
			}
		}
		n := len(out)
		out = utf8.AppendRune(out, c.r)
		for range len(out) - n {
			align = append(align, a)
		}
	}
	if inserted {
		out, align = append(out, old...), append(align, oldAlign...)
	}
	p.s, p.align = string(out), align
}

// filter drops the characters for which drop is true.
func (p *aligned) filter(drop func(r rune) bool) {
	clean := true
	for _, r := range p.s {
		if drop(r) {
			clean = false
			break
		}
	}
	if clean {
		return
	}
	var changes []change
	removed := 0
	for _, r := range p.s {
		switch {
		case !drop(r):
			changes = append(changes, change{r, 0})
		case len(changes) == 0:
			removed++
		default:
			changes[len(changes)-1].delta--
		}
	}
	p.transform(changes, removed)
}

// mapRunes replaces each character by another one.
func (p *aligned) mapRunes(f func(r rune) rune) {
	same, sameLen := true, true
	for _, r := range p.s {
		if m := f(r); m != r {
			same = false
			if utf8.RuneLen(m) != utf8.RuneLen(r) {
				sameLen = false
				break
			}
		}
	}
	switch {
	case same:
	case sameLen:
		out := make([]byte, 0, len(p.s))
		for _, r := range p.s {
			out = utf8.AppendRune(out, f(r))
		}
		p.s = string(out)
	default:
		changes := make([]change, 0, len(p.s))
		for _, r := range p.s {
			changes = append(changes, change{f(r), 0})
		}
		p.transform(changes, 0)
	}
}

// lower puts p into lower case, character by character (no context rules, as in the reference).
func (p *aligned) lower() {
	upper, ascii := false, true
	for i := 0; i < len(p.s); i++ {
		c := p.s[i]
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if ascii {
		if upper {
			p.s = lowerASCII(p.s)
		}
		return
	}
	upper = false
	for _, r := range p.s {
		if _, ok := unidata.Lower(r); ok {
			upper = true
			break
		}
	}
	if !upper {
		return
	}
	changes := make([]change, 0, len(p.s))
	for _, r := range p.s {
		low, ok := unidata.Lower(r)
		if !ok {
			changes = append(changes, change{r, 0})
			continue
		}
		delta := int32(0)
		for _, l := range low {
			changes = append(changes, change{l, delta})
			delta = 1
		}
	}
	p.transform(changes, 0)
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// prepend puts text before p, unless p is empty. The new bytes share the alignment of the first
// character.
func (p *aligned) prepend(text string) {
	if len(p.s) == 0 || len(text) == 0 {
		return
	}
	align := make([]span, 0, len(text)+len(p.s))
	old := p.alignment()
	for range len(text) {
		align = append(align, old[0])
	}
	p.s, p.align = text+p.s, append(align, old...)
}

// replace puts text in place of each match, a list of byte ranges in order. New bytes take the
// alignment of the last replaced byte.
func (p *aligned) replace(matches []match, text string) {
	if len(matches) == 0 {
		return
	}
	old, oldAlign := p.s, p.alignment()
	out := make([]byte, 0, len(old)+len(matches)*len(text))
	align := make([]span, 0, cap(out))
	at := 0
	for _, m := range matches {
		out = append(out, old[at:m.start]...)
		align = append(align, oldAlign[at:m.start]...)
		out = append(out, text...)
		a := span{p.from.start, p.from.start}
		if m.end > 0 {
			a = oldAlign[m.end-1]
		}
		for range len(text) {
			align = append(align, a)
		}
		at = m.end
	}
	p.s, p.align = string(append(out, old[at:]...)), append(align, oldAlign[at:]...)
}

// strip removes white space at the ends.
func (p *aligned) strip(left, right bool) {
	a, b := 0, len(p.s)
	for left && a < b {
		r, n := utf8.DecodeRuneInString(p.s[a:])
		if !unidata.Is(r, unidata.White) {
			break
		}
		a += n
	}
	for right && a < b {
		r, n := utf8.DecodeLastRuneInString(p.s[:b])
		if !unidata.Is(r, unidata.White) {
			break
		}
		b -= n
	}
	switch {
	case a == 0 && b == len(p.s):
	case p.align != nil && p.align[0].start == p.align[0].end: // see transform
		var kept []change
		for _, r := range p.s[a:b] {
			kept = append(kept, change{r, 0})
		}
		p.transform(kept, utf8.RuneCountInString(p.s[:a]))
	default:
		from := p.from
		*p = p.slice(a, b)
		p.from = from
	}
}

// decompose puts p into NFD or, compatibly, NFKD.
func (p *aligned) decompose(compatible bool) {
	if isASCII(p.s) {
		return
	}
	if changes, same := decompose(p.s, compatible); !same {
		p.transform(changes, 0)
	}
}

// compose puts p into NFC or NFKC.
func (p *aligned) compose(compatible bool) {
	if isASCII(p.s) || !compatible && maxRuneBelow(p.s, 0x300) {
		return // no character below U+0300 composes or decomposes to another in NFC
	}
	changes, _ := decompose(p.s, compatible)
	changes = recompose(changes)
	i := 0
	for _, r := range p.s {
		if i >= len(changes) || changes[i] != (change{r, 0}) {
			p.transform(changes, 0)
			return
		}
		i++
	}
	if i != len(changes) {
		p.transform(changes, 0)
	}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func maxRuneBelow(s string, limit rune) bool {
	for _, r := range s {
		if r >= limit {
			return false
		}
	}
	return true
}

// runeLen is the length of the character at the start of s, 0 at its end.
func runeLen(s string) int {
	if len(s) == 0 {
		return 0
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}
