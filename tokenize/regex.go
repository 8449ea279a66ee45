package tokenize

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// The patterns in tokenizer files are Oniguruma's (its own syntax, UTF-8). This file reads the part
// of that syntax which such files use and refuses the rest: back references, conditionals, absent
// groups, \X and other rarities, and ignoring case where more than one character may be one (so
// "ss" for "ß"). regex_match.go runs them. Character classes have Oniguruma's own tables, see
// unidata.

// node is a parsed pattern.
type node interface{}

type (
	charNode   struct{ set *charSet } // one character
	concatNode []node
	altNode    []node
	emptyNode  struct{}
	repeatNode struct {
		sub        node
		min, max   int // max -1 for no limit
		lazy, keep bool
	}
	lookNode struct {
		sub            node
		behind, negate bool
	}
	atomicNode struct{ sub node }
	assertNode byte // '^' '$' 'A' 'z' 'Z' 'b' 'B'
)

type regexParser struct {
	src    string
	at     int
	fold   bool // (?i)
	dotAll bool // (?m), which in Ruby's syntax is about the dot
	depth  int
}

func (p *regexParser) fail(format string, args ...any) error {
	return fmt.Errorf("the pattern %q at byte %d: %s", p.src, p.at, fmt.Sprintf(format, args...))
}

func (p *regexParser) more() bool { return p.at < len(p.src) }

func (p *regexParser) peek(s string) bool { return strings.HasPrefix(p.src[p.at:], s) }

func (p *regexParser) accept(s string) bool {
	if p.peek(s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *regexParser) rune() rune {
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	p.at += n
	return r
}

// alternatives parses up to a closing parenthesis or the end. Options set inside hold to the end of
// the group.
func (p *regexParser) alternatives() (node, error) {
	if p.depth++; p.depth > 100 {
		return nil, p.fail("groups nested more than 100 deep")
	}
	fold, dotAll := p.fold, p.dotAll
	defer func() { p.fold, p.dotAll, p.depth = fold, dotAll, p.depth-1 }()
	var alts altNode
	for {
		seq, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alts = append(alts, seq)
		if !p.accept("|") {
			break
		}
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return alts, nil
}

func (p *regexParser) sequence() (node, error) {
	var seq concatNode
	folded := "" // letters in a row that ignore case
	for p.more() && !p.peek("|") && !p.peek(")") {
		start := p.at
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if _, ok := n.(charNode); ok && p.fold && p.at-start == 1 {
			folded += strings.ToLower(p.src[start:p.at])
			for _, multi := range []string{"ss", "ff", "fi", "fl", "st"} {
				if strings.HasSuffix(folded, multi) {
					return nil, p.fail("%q ignoring case also means single characters; "+
						"this is not supported", multi)
				}
			}
		} else {
			folded = ""
		}
		if n, err = p.quantifiers(n); err != nil {
			return nil, err
		}
		seq = append(seq, n)
	}
	if len(seq) == 1 {
		return seq[0], nil
	}
	return seq, nil
}

// quantifiers wraps n in the quantifiers that follow it.
func (p *regexParser) quantifiers(n node) (node, error) {
	for i := 0; p.more(); i++ {
		r := &repeatNode{sub: n, max: -1}
		interval := false
		switch {
		case p.accept("*"):
		case p.accept("+"):
			r.min = 1
		case p.accept("?"):
			r.max = 1
		case p.peek("{"):
			ok, err := p.interval(r)
			if err != nil {
				return nil, err
			}
			if !ok {
				return n, nil // a brace that is no interval is text
			}
			interval = true
		default:
			return n, nil
		}
		switch n.(type) {
		case lookNode, assertNode:
			return nil, p.fail("a quantifier after an assertion")
		}
		if i > 0 {
			return nil, p.fail("a quantifier after a quantifier; use a group")
		}
		if interval && (p.peek("?") && r.min == r.max || p.peek("+")) {
			return nil, p.fail("the meaning of a mark after an interval differs between engines")
		}
		if p.accept("?") {
			r.lazy = true
		} else if p.accept("+") {
			r.keep = true
		}
		if _, single := n.(charNode); !single && (r.min > 1 || r.max > 1) &&
			firstBytes(n, new([256]bool)) {
			// Oniguruma ends such a repetition at the first empty round in some cases and not in
			// others.
			return nil, p.fail("an interval after something that may be empty is not supported")
		}
		n = *r
	}
	return n, nil
}

// interval parses {n}, {n,}, {,m} and {n,m}.
func (p *regexParser) interval(r *repeatNode) (bool, error) {
	end := strings.IndexByte(p.src[p.at:], '}')
	if end < 0 {
		return false, nil
	}
	body := p.src[p.at+1 : p.at+end]
	low, high, comma := strings.Cut(body, ",")
	number := func(s string) (int, bool) {
		n := 0
		for _, c := range s {
			if c < '0' || c > '9' || n > 10000 {
				return 0, false
			}
			n = 10*n + int(c-'0')
		}
		return n, true
	}
	a, ok1 := number(low)
	b, ok2 := number(high)
	if !ok1 || !ok2 || low == "" && high == "" {
		if strings.Trim(body, "0123456789,") == "" && body != "" && body != "," {
			return false, p.fail("repetition too large")
		}
		return false, nil
	}
	r.min, r.max = a, b
	switch {
	case !comma:
		r.max = a
	case high == "":
		r.max = -1
	case b < a:
		return false, p.fail("an interval that ends before it begins")
	}
	if r.min > 1000 || r.max > 1000 {
		return false, p.fail("repetition too large")
	}
	p.at += end + 1
	return true, nil
}

func (p *regexParser) atom() (node, error) {
	switch {
	case p.accept("("):
		return p.group()
	case p.accept("["):
		set, err := p.class()
		if err != nil {
			return nil, err
		}
		if p.fold && set.letters() {
			return nil, p.fail("a class with letters that ignores case is not supported")
		}
		return charNode{set}, nil
	case p.accept("."):
		set := &charSet{negate: true}
		if !p.dotAll {
			set.ranges = []rune{'\n', '\n'}
		}
		return charNode{set.seal()}, nil
	case p.accept("^"):
		return assertNode('^'), nil
	case p.accept("$"):
		return assertNode('$'), nil
	case p.accept(`\`):
		return p.escape()
	case p.peek("*"), p.peek("+"), p.peek("?"):
		return nil, p.fail("a quantifier with nothing before it")
	}
	return p.literal(p.rune())
}

// literal is one character, with the others it stands for where case is ignored.
func (p *regexParser) literal(r rune) (node, error) {
	if !p.fold {
		return charNode{oneChar(r)}, nil
	}
	if r >= utf8.RuneSelf {
		return nil, p.fail("ignoring the case of %q is not supported", r)
	}
	set := &charSet{ranges: []rune{r, r}}
	if 'a' <= r|0x20 && r|0x20 <= 'z' {
		set.ranges = append(set.ranges, r^0x20, r^0x20)
		switch r | 0x20 {
		case 's':
			set.ranges = append(set.ranges, 'ſ', 'ſ')
		case 'k':
			set.ranges = append(set.ranges, '\u212A', '\u212A') // the Kelvin sign
		}
	}
	return charNode{set.seal()}, nil
}

func (p *regexParser) group() (node, error) {
	wrap := func(n node) node { return n }
	switch {
	case p.accept("?:"):
	case p.accept("?="):
		wrap = func(n node) node { return lookNode{sub: n} }
	case p.accept("?!"):
		wrap = func(n node) node { return lookNode{sub: n, negate: true} }
	case p.accept("?<="):
		wrap = func(n node) node { return lookNode{sub: n, behind: true} }
	case p.accept("?<!"):
		wrap = func(n node) node { return lookNode{sub: n, behind: true, negate: true} }
	case p.accept("?>"):
		wrap = func(n node) node { return atomicNode{n} }
	case p.accept("?#"):
		i := strings.IndexByte(p.src[p.at:], ')')
		if i < 0 {
			return nil, p.fail("an open comment")
		}
		p.at += i + 1
		return emptyNode{}, nil
	case p.accept("?"):
		fold, dotAll := p.fold, p.dotAll
		if err := p.groupOptions(); err != nil {
			return nil, err
		}
		if p.accept(")") {
			// To the end of the enclosing group, alternatives included: (?i)a|b is (?i:a|b).
			n, err := p.alternatives()
			p.fold, p.dotAll = fold, dotAll
			return n, err
		}
		if !p.accept(":") {
			return nil, p.fail("a group that is not supported")
		}
		n, err := p.alternatives()
		p.fold, p.dotAll = fold, dotAll
		if err != nil {
			return nil, err
		}
		if !p.accept(")") {
			return nil, p.fail("an open group")
		}
		return n, nil
	}
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, p.fail("an open group")
	}
	return wrap(n), nil
}

func (p *regexParser) groupOptions() error {
	on := true
	for p.more() && !p.peek(")") && !p.peek(":") {
		switch c := p.rune(); c {
		case '-':
			on = false
		case 'i':
			p.fold = on
		case 'm':
			p.dotAll = on
		default:
			return p.fail("the group (?%c is not supported", c)
		}
	}
	return nil
}

// escape parses what follows a backslash outside a class.
func (p *regexParser) escape() (node, error) {
	if !p.more() {
		return nil, p.fail("a backslash at the end")
	}
	switch c := p.src[p.at]; c {
	case 'A', 'z', 'Z', 'b', 'B':
		p.at++
		return assertNode(c), nil
	case 'w', 'W':
		// Outside of a class Oniguruma has its own idea of word characters below U+0100: ² and ½
		// are some.
		p.at++
		return charNode{(&charSet{props: unidata.OnigWord, negate: c == 'W'}).seal()}, nil
	}
	set, r, err := p.escapedSet()
	switch {
	case err != nil:
		return nil, err
	case set != nil:
		return charNode{set}, nil
	}
	return p.literal(r)
}
