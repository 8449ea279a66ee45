package tokenize

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// The patterns in tokenizer files are Oniguruma's (its own syntax, UTF-8, version 6.9.10). This
// file reads them into a tree, as regparse.c does; regex_class.go reads classes, regex_tree.go
// brings the tree into the form that regex_compile.go makes a program of, and regex_match.go runs
// it. Refused, with an error that says so, are calls of groups (\g<..>), levels of back references,
// absent groups, callouts, word segments, the longest-match option, and what is named in
// regex_compile.go.

// node is a parsed pattern.
type node interface{}

type (
	strNode struct { // characters one after the other
		text []rune
		fold foldMode
	}
	charNode   struct{ set *charSet } // one character
	concatNode []node
	altNode    []node
	emptyNode  struct{}
	failNode   struct{}
	quantNode  struct {
		sub      node
		min, max int // max -1 for no limit
		lazy     bool
	}
	lookNode struct {
		sub            node
		behind, negate bool
	}
	atomicNode struct{ sub node }
	optionNode struct{ sub node } // (?i:...), which is a group of its own for quantifiers
	assertNode byte               // '^' '$' 'A' 'z' 'Z' 'b' 'B' 'c' 'C' (\b and \B of ASCII) 'G' 'y' 'Y'
	memoryNode struct {
		number int
		named  bool
		sub    node
	}
	backrefNode struct {
		numbers []int
		fold    foldMode
		check   bool // matches the empty string if one of the groups has matched
	}
	condNode struct{ cond, then, other node } // cond is never entered again once it has matched
	keepNode struct{}                         // \K
)

// foldMode says what case means.
type foldMode uint8

const (
	foldNone foldMode = iota
	foldFull
	foldASCII // (?I): only ASCII letters, and only onto such
)

// regexOptions are the options that a group may set.
type regexOptions struct {
	fold     bool // i
	dotAll   bool // m, which in Ruby's syntax is about the dot
	extended bool // x
	// \w, \d, \s and the POSIX brackets mean ASCII: W, D, S, P.
	asciiWord, asciiDigit, asciiSpace, asciiPOSIX bool
}

func (o *regexOptions) ascii(ctype int) bool {
	return ctype < unidata.CtypeASCII && o.asciiPOSIX ||
		ctype == unidata.CtypeWord && o.asciiWord ||
		ctype == unidata.CtypeDigit && o.asciiDigit ||
		ctype == unidata.CtypeSpace && o.asciiSpace
}

type regexParser struct {
	src   string
	at    int
	opt   regexOptions
	depth int
	sets  charSets

	groups    int          // groups opened so far that capture
	closed    map[int]bool // those that have ended
	names     map[string][]int
	numbered  bool // there is a back reference by number
	highest   int  // the highest group referred to
	foldASCII bool // (?I)
	noCapture bool // (?C)
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

func (p *regexParser) foldMode() foldMode {
	switch {
	case !p.opt.fold:
		return foldNone
	case p.foldASCII:
		return foldASCII
	}
	return foldFull
}

// deeper counts nesting, so that no pattern exhausts the stack.
func (p *regexParser) deeper() error {
	if p.depth++; p.depth > 100 {
		return p.fail("nested more than 100 deep")
	}
	return nil
}

// skip passes over comments and, in extended patterns, white space.
func (p *regexParser) skip() error {
	for {
		switch {
		case p.accept("(?#"):
			for !p.accept(")") {
				if p.accept(`\`); !p.more() {
					return p.fail("an open comment")
				}
				p.rune()
			}
		case p.opt.extended && p.more() && strings.IndexByte(" \t\n\r\f", p.src[p.at]) >= 0:
			p.at++
		case p.opt.extended && p.peek("#"):
			if i := strings.IndexByte(p.src[p.at:], '\n'); i >= 0 {
				p.at += i + 1
			} else {
				p.at = len(p.src)
			}
		default:
			return nil
		}
	}
}

// alternatives parses up to a closing parenthesis or the end. Options set inside hold to the end of
// the group.
func (p *regexParser) alternatives() (altNode, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	opt := p.opt
	defer func() { p.opt, p.depth = opt, p.depth-1 }()
	var alts altNode
	for {
		seq, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alts = append(alts, seq)
		if !p.accept("|") {
			return alts, nil
		}
	}
}

// one is a list of alternatives as a node.
func (a altNode) one() node {
	if len(a) == 1 {
		return a[0]
	}
	return a
}

func (p *regexParser) sequence() (node, error) {
	var seq concatNode
	for {
		if err := p.skip(); err != nil {
			return nil, err
		}
		if !p.more() || p.peek("|") || p.peek(")") {
			break
		}
		n, bare, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n, err = p.quantifiers(n, bare); err != nil {
			return nil, err
		}
		if list, ok := n.(concatNode); ok && len(seq) > 0 {
			seq = append(seq, list...)
		} else {
			seq = append(seq, n)
		}
	}
	switch len(seq) {
	case 0:
		return emptyNode{}, nil
	case 1:
		return seq[0], nil
	}
	return seq, nil
}

// quantifiers wraps n in the quantifiers that follow it. One that follows bare text is about its
// last character.
func (p *regexParser) quantifiers(n node, bare bool) (node, error) {
	for {
		if err := p.skip(); err != nil {
			return nil, err
		}
		q, keep, ok, err := p.quantifier()
		if err != nil || !ok {
			return n, err
		}
		if notRepeatable(n) {
			return nil, p.fail("a quantifier after an assertion")
		}
		if q.min == 1 && q.max == 1 {
			bare = true // (?:ab){1}+ is ab+
			continue
		}
		wrap := func(sub node) node {
			q.sub = sub
			n := reduceQuantifiers(q)
			if keep {
				return atomicNode{n}
			}
			return n
		}
		if s, ok := n.(strNode); ok && bare && len(s.text) > 1 {
			// What follows is about the last character, too.
			last := len(s.text) - 1
			rest, err := p.quantifiers(wrap(strNode{s.text[last:], s.fold}), false)
			return concatNode{strNode{s.text[:last], s.fold}, rest}, err
		}
		n, bare = wrap(n), false
	}
}

// quantifier parses one quantifier, if one follows. keep says that it never gives back.
func (p *regexParser) quantifier() (q quantNode, keep, ok bool, err error) {
	q.max = -1
	switch {
	case p.accept("*"):
	case p.accept("+"):
		q.min = 1
	case p.accept("?"):
		q.max = 1
	case p.peek("{"):
		var fixed bool
		if keep, fixed, ok, err = p.interval(&q); err != nil || !ok {
			return q, false, false, err
		}
		// {n} has no lazy form, and no interval a possessive one: the mark behind is a quantifier
		// of its own. {m,n} with m > n is possessive.
		if !keep && !fixed {
			q.lazy = p.accept("?")
		}
		return q, keep, true, nil
	default:
		return q, false, false, nil
	}
	if p.accept("?") {
		q.lazy = true
	} else {
		keep = p.accept("+")
	}
	return q, keep, true, nil
}

// maxRepeat is Oniguruma's ONIG_MAX_REPEAT_NUM.
const maxRepeat = 100_000

// interval parses {n}, {n,}, {,m} and {n,m}; anything else in braces is text.
func (p *regexParser) interval(q *quantNode) (swapped, fixed, ok bool, err error) {
	body, _, closed := strings.Cut(p.src[p.at+1:], "}")
	low, high, comma := strings.Cut(body, ",")
	if !closed || strings.Trim(low+high, "0123456789") != "" || low+high == "" {
		return false, false, false, nil
	}
	number := func(s string) int {
		n := 0
		for i := 0; i < len(s) && n <= maxRepeat; i++ {
			n = 10*n + int(s[i]-'0')
		}
		if n > maxRepeat && err == nil {
			err = p.fail("a repetition of more than %d", maxRepeat)
		}
		return n
	}
	q.min, q.max = number(low), number(high)
	switch {
	case !comma:
		q.max = q.min
	case high == "":
		q.max = -1
	case q.min > q.max:
		q.min, q.max, swapped = q.max, q.min, true
	}
	p.at += len(body) + 2
	return swapped, !comma, true, err
}

// notRepeatable reports whether n is a place in the text.
func notRepeatable(n node) bool {
	switch n := n.(type) {
	case lookNode, assertNode, keepNode:
		return true
	case altNode:
		for _, sub := range n {
			if notRepeatable(sub) {
				return true
			}
		}
	}
	return false
}

// Quantifiers in one another that Oniguruma takes for one (onig_reduce_nested_quantifier). The
// first index is the inner one's kind, the second the outer one's: ? * + ?? *? +?.
const (
	asIs        = iota
	dropOuter   // the inner one alone
	star        // *
	plus        // +
	lazyStar    // *?
	lazyOption  // ??
	plusThenOpt // (?:+)??
)

var quantifierTable = [6][6]uint8{
	{dropOuter, star, star, lazyOption, lazyStar, asIs},
	{dropOuter, dropOuter, dropOuter, plusThenOpt, plusThenOpt, dropOuter},
	{star, star, dropOuter, asIs, plusThenOpt, dropOuter},
	{dropOuter, lazyStar, lazyStar, dropOuter, lazyStar, lazyStar},
	{dropOuter, dropOuter, dropOuter, dropOuter, dropOuter, dropOuter},
	{asIs, star, plus, lazyStar, lazyStar, dropOuter},
}

func (q quantNode) kind() int {
	k := -1
	switch {
	case q.min == 0 && q.max == 1:
		k = 0
	case q.min == 0 && q.max < 0:
		k = 1
	case q.min == 1 && q.max < 0:
		k = 2
	}
	if k >= 0 && q.lazy {
		k += 3
	}
	return k
}

// reduceQuantifiers brings a quantifier of a quantifier into Oniguruma's form.
func reduceQuantifiers(q quantNode) node {
	inner, ok := q.sub.(quantNode)
	if !ok {
		return q
	}
	out, in := q.kind(), inner.kind()
	if out < 0 || in < 0 {
		switch {
		case q.min == q.max && inner.min == inner.max:
			inner.min *= q.min
			inner.max = inner.min
			inner.lazy = q.lazy
			return inner
		case (in == 1 || in == 2) && q.max > 1 && !q.lazy:
			// (?:a*){n,m} is (?:a*){n,n}.
			q.max = max(q.min, 1)
		}
		return q
	}
	one := func(min, max int, lazy bool) node { return quantNode{inner.sub, min, max, lazy} }
	switch quantifierTable[in][out] {
	case dropOuter:
		return inner
	case star:
		return one(0, -1, false)
	case plus:
		return one(1, -1, false)
	case lazyStar:
		return one(0, -1, true)
	case lazyOption:
		return one(0, 1, true)
	case plusThenOpt:
		return quantNode{one(1, -1, false), 0, 1, true}
	}
	return q
}

// atom parses one thing that a quantifier can follow. bare says that it is text that stands there
// on its own, without a group around it.
func (p *regexParser) atom() (n node, bare bool, err error) {
	switch {
	case p.accept("("):
		n, err = p.group()
		return n, false, err
	case p.accept("["):
		n, err = p.classNode()
		return n, false, err
	case p.accept("."):
		return charNode{p.anyChar(p.opt.dotAll)}, false, nil
	case p.accept("^"):
		return assertNode('^'), false, nil
	case p.accept("$"):
		return assertNode('$'), false, nil
	case p.accept(`\`):
		n, plain, err := p.escape()
		if s, ok := n.(strNode); ok && plain && err == nil {
			n, err = p.text(s.text)
		}
		return n, true, err
	case p.peek("*"), p.peek("+"), p.peek("?"):
		return nil, false, p.fail("a quantifier with nothing before it")
	case p.peek("{"):
		if _, _, ok, err := p.interval(new(quantNode)); ok || err != nil {
			return nil, false, p.fail("a quantifier with nothing before it")
		}
	}
	n, err = p.text([]rune{p.rune()})
	return n, true, err
}

// text goes on with plain characters.
func (p *regexParser) text(text []rune) (node, error) {
	mode := p.foldMode()
	for {
		if err := p.skip(); err != nil {
			return nil, err
		}
		start := p.at
		switch {
		case !p.more() || strings.IndexByte(`()[|.^$*+?`, p.src[p.at]) >= 0:
			return strNode{text, mode}, nil
		case p.peek("{"):
			_, _, ok, err := p.interval(new(quantNode))
			if p.at = start; ok || err != nil {
				return strNode{text, mode}, nil
			}
		case p.accept(`\`):
			// Most escapes are something else, and are read again then.
			before := *p
			n, plain, err := p.escape()
			if s, ok := n.(strNode); ok && plain && err == nil {
				text = append(text, s.text...)
				continue
			}
			*p = before
			p.at = start
			return strNode{text, mode}, nil
		}
		text = append(text, p.rune())
	}
}

func (p *regexParser) anyChar(newline bool) *charSet {
	if newline {
		return p.sets.of(allChars)
	}
	return p.sets.of(complement([]rune{'\n', '\n'}))
}
