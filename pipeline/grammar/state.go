package grammar

import (
	"encoding/binary"
	"slices"
)

// State is how far a text has come: all ways in which its bytes can be read. It never changes. The
// state of a text that no shape allows has no ways.
type State []way

// way is one way to read a text: the value that it is inside of, and what comes behind that.
type way struct {
	node  *node // nil: the text is whole
	at    phase
	n     int    // of at: characters, digits, the index of a property, or of the first literal that fits
	end   int    // of literals: the index behind the last one that fits
	depth int    // bytes of a literal or of a key
	space int    // white space since the last byte that is none
	key   string // of a key that has no name in the schema: its bytes so far
	used  string // such keys that the object has, each behind a zero byte
	up    *way   // what goes on behind the value; nil: nothing
	need  int    // bytes that the shortest rest behind the value takes
}

// phase is a place inside a value.
type phase uint8

const (
	atValue phase = iota // before the first byte of a value
	inLiteral
	inText
	inEscape
	inHex1 // \u and its digits
	inHex2
	inHex2Surrogate // the second digit behind a d: surrogates are not allowed
	inHex3
	inHex4
	inRune1 // before the last byte of a character
	inRune2
	inRune3
	inRuneE0 // second bytes that have bounds of their own
	inRuneED
	inRuneF0
	inRuneF4
	inMinus
	inZero
	inDigits
	inPoint
	inFraction
	inExponent
	inExponentSign
	inExponentDigits
	inOpen // behind the { or [
	inKey
	inExtraKey
	afterKey
	afterColon
	afterMember // behind a value of an object or array
	afterComma
)

// mostDigits bounds the digits of a number before and behind the point, so that every reader holds it.
const mostDigits = 15

// mostSpace bounds the white space between two parts.
const mostSpace = 24

// Start returns the state before the first byte.
func (g *Grammar) Start() State { return enter(nil, g.root, nil, 0) }

// enter adds the ways to begin a value, behind which up goes on, which takes need bytes at least.
func enter(to State, n *node, up *way, need int) State {
	if n.kind == either {
		for _, o := range n.nodes {
			to = enter(to, o, up, need)
		}
		return to
	}
	w := way{node: n, up: up, need: need}
	if n.kind == literals {
		w.end = len(n.texts)
	}
	return to.with(w)
}

// with adds a way that is not there yet: alternatives that end alike go on as one.
func (s State) with(w way) State {
	for i := range s {
		if s[i].equals(&w) {
			return s
		}
	}
	return append(s, w)
}

// equals compares two ways, and what comes behind them.
func (w *way) equals(o *way) bool {
	for ; w != o; w, o = w.up, o.up {
		if w == nil || o == nil {
			return false
		}
		a, b := *w, *o
		if a.up, b.up = nil, nil; a != b {
			return false
		}
	}
	return true
}

// Done reports whether the text may end here.
func (s State) Done() bool {
	return slices.ContainsFunc(s, func(w way) bool { return w.whole() })
}

// whole reports whether the text may end, which numbers at the top let be seen nowhere else.
func (w way) whole() bool {
	return w.node == nil || w.node.kind == number && w.up == nil && w.endsNumber()
}

// endsNumber reports whether the number so far is one.
func (w way) endsNumber() bool {
	return w.at == inZero || w.at == inDigits || w.at == inFraction || w.at == inExponentDigits
}

// Need returns how many bytes the shortest rest of the text has.
func (s State) Need() int {
	need := unbounded
	for _, w := range s {
		need = min(need, w.rest())
	}
	return need
}

// Next returns the state behind one more byte.
func (s State) Next(b byte) State {
	var next State
	for i := range s {
		next = s[i].next(next, b)
	}
	return next
}

// NextAll returns the state behind some bytes.
func (s State) NextAll(text []byte) State {
	for _, b := range text {
		if s = s.Next(b); len(s) == 0 {
			break
		}
	}
	return s
}

// leave adds the ways to go on behind w's value.
func (w way) leave(to State) State {
	if w.up == nil {
		return to.with(way{})
	}
	return to.with(*w.up)
}

// next adds the ways to go on behind a byte.
func (w way) next(to State, b byte) State {
	if w.node == nil {
		return to
	}
	if isSpace(b) && w.takesSpace() {
		if w.space++; w.space > mostSpace || w.space > 1 && w.up == nil && w.at == atValue {
			return to
		}
		return to.with(w)
	}
	w.space = 0
	switch w.node.kind {
	case literals:
		return w.nextLiteral(to, b)
	case text:
		return w.nextText(to, b)
	case number:
		return w.nextNumber(to, b)
	case object:
		return w.nextMember(to, b)
	default:
		return w.nextItem(to, b)
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

// takesSpace reports whether white space may stand here.
func (w way) takesSpace() bool {
	switch w.at {
	case atValue, inOpen, afterMember, afterComma:
		return true
	}
	return false
}

// step moves on to a phase.
func (w way) step(to State, at phase) State {
	w.at = at
	return to.with(w)
}

// append adds a signature of the state: states of one signature go on alike, and need the same.
func (s State) append(sig []byte) []byte {
	for _, w := range s {
		for at := &w; at != nil; at = at.up {
			id := -1
			if at.node != nil {
				id = at.node.id
			}
			for _, v := range [...]int{id, int(at.at), at.n, at.end, at.depth, at.space, len(at.key), len(at.used)} {
				sig = binary.AppendVarint(sig, int64(v))
			}
			sig = append(append(sig, at.key...), at.used...)
		}
		sig = append(sig, 0xff)
	}
	return sig
}
