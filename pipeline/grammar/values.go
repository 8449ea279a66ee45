package grammar

import "strings"

// nextLiteral goes on with the texts whose next byte is b.
func (w way) nextLiteral(to State, b byte) State {
	texts := w.node.texts
	for w.n < w.end && texts[w.n][w.depth] < b {
		w.n++
	}
	from := w.n
	for from < w.end && texts[from][w.depth] == b {
		from++
	}
	if w.end = from; w.n == w.end {
		return to
	}
	w.at = inLiteral
	if w.depth++; len(texts[w.n]) == w.depth {
		to = w.leave(to)
		if w.n++; w.n == w.end {
			return to
		}
	}
	return to.with(w)
}

// nextText reads a string: characters of UTF-8 and escapes.
func (w way) nextText(to State, b byte) State {
	switch w.at {
	case atValue:
		if b == '"' {
			return w.step(to, inText)
		}
		return to
	case inText:
		return w.nextCharacter(to, b)
	case inEscape:
		switch {
		case b == 'u':
			return w.step(to, inHex1)
		case strings.IndexByte(`"\/bfnrt`, b) >= 0:
			return w.character(to)
		}
		return to
	case inHex1:
		switch {
		case b == 'd' || b == 'D':
			return w.step(to, inHex2Surrogate)
		case isHex(b):
			return w.step(to, inHex2)
		}
		return to
	case inHex2Surrogate:
		if b >= '0' && b <= '7' {
			return w.step(to, inHex3)
		}
		return to
	case inHex2, inHex3, inHex4:
		switch {
		case !isHex(b):
			return to
		case w.at == inHex2:
			return w.step(to, inHex3)
		case w.at == inHex3:
			return w.step(to, inHex4)
		}
		return w.character(to)
	}
	return w.nextContinuation(to, b)
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

// nextCharacter begins a character of a string, or ends the string.
func (w way) nextCharacter(to State, b byte) State {
	if b == '"' {
		if w.n < w.node.least {
			return to
		}
		return w.leave(to)
	}
	if w.n == w.node.most {
		return to
	}
	switch {
	case b < ' ' || b == 0x7f:
		return to
	case b == '\\':
		return w.step(to, inEscape)
	case b < 0x80:
		return w.character(to)
	case b >= 0xc2 && b <= 0xdf:
		return w.step(to, inRune1)
	case b == 0xe0:
		return w.step(to, inRuneE0)
	case b == 0xed:
		return w.step(to, inRuneED)
	case b >= 0xe1 && b <= 0xef:
		return w.step(to, inRune2)
	case b == 0xf0:
		return w.step(to, inRuneF0)
	case b == 0xf4:
		return w.step(to, inRuneF4)
	case b >= 0xf1 && b <= 0xf3:
		return w.step(to, inRune3)
	}
	return to
}

// nextContinuation reads a further byte of a character, as table 3-7 of the Unicode Standard has them.
func (w way) nextContinuation(to State, b byte) State {
	low, high := byte(0x80), byte(0xbf)
	next := inRune1
	switch w.at {
	case inRuneE0:
		low = 0xa0
	case inRuneED:
		high = 0x9f
	case inRuneF0:
		low, next = 0x90, inRune2
	case inRuneF4:
		high, next = 0x8f, inRune2
	case inRune3:
		next = inRune2
	}
	switch {
	case b < low || b > high:
		return to
	case w.at == inRune1:
		return w.character(to)
	}
	return w.step(to, next)
}

// character ends a character of a string. Behind the least number without a most, they are not counted.
func (w way) character(to State) State {
	if w.node.most >= 0 || w.n < w.node.least {
		w.n++
	}
	return w.step(to, inText)
}

// nextNumber reads a number, or ends it before b, which is then what stands behind it.
func (w way) nextNumber(to State, b byte) State {
	digit := b >= '0' && b <= '9'
	point, exponent := b == '.' && !w.node.whole, (b == 'e' || b == 'E') && !w.node.whole
	digits := func(at phase) State {
		w.n = 1
		return w.step(to, at)
	}
	more := func(most int) State {
		if w.n == most {
			return to
		}
		w.n++
		return to.with(w)
	}
	switch w.at {
	case atValue:
		if b == '-' {
			return w.step(to, inMinus)
		}
		fallthrough
	case inMinus:
		switch {
		case b == '0':
			return w.step(to, inZero)
		case digit:
			return digits(inDigits)
		}
		return to
	case inPoint:
		if digit {
			return digits(inFraction)
		}
		return to
	case inExponent:
		if b == '+' || b == '-' {
			return w.step(to, inExponentSign)
		}
		fallthrough
	case inExponentSign:
		if digit {
			return digits(inExponentDigits)
		}
		return to
	case inDigits:
		if digit {
			return more(mostDigits)
		}
	case inFraction:
		if digit {
			return more(mostDigits)
		}
	case inExponentDigits:
		if digit {
			return more(2)
		}
	}
	switch {
	case point && (w.at == inZero || w.at == inDigits):
		return w.step(to, inPoint)
	case exponent && w.at != inExponentDigits:
		return w.step(to, inExponent)
	case w.up == nil:
		return to
	}
	return w.up.next(to, b)
}

// nextMember reads an object between its values.
func (w way) nextMember(to State, b byte) State {
	switch w.at {
	case atValue:
		if b == '{' {
			return w.step(to, inOpen)
		}
	case inOpen, afterComma:
		if b == '"' {
			return w.beginKey(to)
		}
		if b == '}' && w.at == inOpen && w.node.requiredNeed(0, true) == 0 {
			return w.leave(to)
		}
	case inKey:
		if p := &w.node.properties[w.n]; b == p.key[w.depth] {
			if w.depth++; w.depth == len(p.key) {
				w.depth, w.at = 0, afterKey
			}
			return to.with(w)
		}
	case inExtraKey:
		switch {
		case b == '"' && !w.isTaken():
			w.used += "\x00" + w.key
			w.key = ""
			return w.step(to, afterKey)
		case b >= ' ' && b < 0x7f && b != '"' && b != '\\' && len(w.key) < mostKey:
			w.key += string(rune(b))
			return to.with(w)
		}
	case afterKey:
		if b == ':' {
			value := w.node.extra
			if w.n < len(w.node.properties) {
				value = w.node.properties[w.n].node
				w.n++
			}
			w.at = afterMember
			return enter(to, value, &w, w.rest())
		}
	case afterMember:
		switch {
		case b == ',' && (w.n < len(w.node.properties) || w.node.extra != nil):
			return w.step(to, afterComma)
		case b == '}' && w.node.requiredNeed(w.n, true) == 0:
			return w.leave(to)
		}
	}
	return to
}

// mostKey bounds keys that have no name in the schema, in bytes. Such keys are ASCII without escapes.
const mostKey = 64

// beginKey adds a way for each property that may come next: they stand in the schema's order, and only
// optional ones are left out. Properties without a name there come last.
func (w way) beginKey(to State) State {
	w.depth = 1
	for i := w.n; i < len(w.node.properties); i++ {
		w.n = i
		to = w.step(to, inKey)
		if w.node.properties[i].required {
			return to
		}
	}
	if w.node.extra == nil {
		return to
	}
	w.n, w.depth, w.key = len(w.node.properties), 0, ""
	return w.step(to, inExtraKey)
}

// isTaken reports whether the object has, or may have, a property of the key.
func (w way) isTaken() bool {
	for _, p := range w.node.properties {
		if p.key[1:len(p.key)-1] == w.key {
			return true
		}
	}
	return strings.Contains(w.used+"\x00", "\x00"+w.key+"\x00")
}

// nextItem reads an array between its values.
func (w way) nextItem(to State, b byte) State {
	item := func() State {
		w.at = afterMember
		return enter(nil, w.node.items, &w, w.rest())
	}
	switch {
	case w.at == atValue && b == '[':
		return w.step(to, inOpen)
	case w.at == atValue:
	case b == ']':
		return w.leave(to)
	case w.at == inOpen:
		for _, begun := range item() {
			to = begun.next(to, b)
		}
	case b == ',':
		for _, begun := range item() {
			to = to.with(begun)
		}
	}
	return to
}

// rest returns how many bytes the shortest end of the text has from here on.
func (w way) rest() int {
	n := w.node
	if n == nil {
		return 0
	}
	if w.at == atValue {
		return n.need + w.need
	}
	switch n.kind {
	case literals:
		shortest := unbounded
		for _, t := range n.texts[w.n:w.end] {
			shortest = min(shortest, len(t)-w.depth)
		}
		return shortest + w.need
	case text:
		return w.restOfText() + w.need
	case number:
		if w.endsNumber() {
			return w.need
		}
		return 1 + w.need
	case object:
		return w.restOfObject() + w.need
	}
	return 1 + w.need
}

// pending are the bytes that a begun character still has, by its phase.
var pending = map[phase]int{
	inEscape: 1, inHex1: 4, inHex2: 3, inHex2Surrogate: 3, inHex3: 2, inHex4: 1,
	inRune1: 1, inRune2: 2, inRune3: 3, inRuneE0: 2, inRuneED: 2, inRuneF0: 3, inRuneF4: 3,
}

func (w way) restOfText() int {
	begun := pending[w.at]
	missing := w.node.least - w.n
	if begun > 0 {
		missing--
	}
	return begun + max(0, missing) + 1
}

func (w way) restOfObject() int {
	n := w.node
	behind := func(from int) int { return n.requiredNeed(from, false) + 1 }
	value := n.extra
	if w.n < len(n.properties) {
		value = n.properties[w.n].node
	}
	switch w.at {
	case inOpen:
		return n.requiredNeed(0, true) + 1
	case inKey:
		return len(n.properties[w.n].key) - w.depth + 1 + value.need + behind(w.n+1)
	case inExtraKey:
		more := 0
		if w.isTaken() {
			more = 1
		}
		return more + 2 + value.need + 1
	case afterKey:
		return 1 + value.need + behind(min(w.n+1, len(n.properties)))
	case afterComma:
		shortest := unbounded
		for i := w.n; i < len(n.properties); i++ {
			p := n.properties[i]
			shortest = min(shortest, len(p.key)+1+p.node.need+behind(i+1))
			if p.required {
				return shortest
			}
		}
		if n.extra != nil {
			shortest = min(shortest, 4+n.extra.need+1)
		}
		return shortest
	}
	return behind(w.n)
}
