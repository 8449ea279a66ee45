package tokenize

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// Sets of characters are sorted pairs of first and last while a pattern is read.

var allChars = []rune{0, utf8.MaxRune}

// normal sorts pairs and joins those that touch.
func normal(pairs []rune) []rune {
	type span struct{ first, last rune }
	spans := make([]span, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		spans = append(spans, span{pairs[i], pairs[i+1]})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.first - b.first) })
	var out []rune
	for _, s := range spans {
		if n := len(out); n > 0 && s.first <= out[n-1]+1 {
			out[n-1] = max(out[n-1], s.last)
		} else {
			out = append(out, s.first, s.last)
		}
	}
	return out
}

func union(a, b []rune) []rune { return normal(slices.Concat(a, b)) }

func complement(a []rune) []rune {
	var out []rune
	next := rune(0)
	for i := 0; i < len(a); i += 2 {
		if a[i] > next {
			out = append(out, next, a[i]-1)
		}
		next = a[i+1] + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, next, utf8.MaxRune)
	}
	return out
}

func intersection(a, b []rune) []rune {
	return complement(union(complement(a), complement(b)))
}

// charSet is a set of characters in the form in which a program looks them up.
type charSet struct {
	ascii  [2]uint64
	ranges []rune   // all of them, sorted pairs of first and last
	plane  []uint64 // a bit for each character below U+10000, where there are many ranges
}

func newCharSet(ranges []rune) *charSet {
	c := &charSet{ranges: ranges}
	for r := range rune(utf8.RuneSelf) {
		if unidata.InRanges(c.ranges, r) {
			c.ascii[r>>6] |= 1 << (r & 63)
		}
	}
	if len(c.ranges) > 16 {
		c.plane = make([]uint64, 0x10000/64)
		for i := 0; i < len(c.ranges); i += 2 {
			first, last := c.ranges[i], min(c.ranges[i+1], 0xFFFF)
			for r := first; r <= last; {
				if r&63 == 0 && r+63 <= last {
					c.plane[r>>6] = ^uint64(0)
					r += 64
				} else {
					c.plane[r>>6] |= 1 << (r & 63)
					r++
				}
			}
		}
	}
	return c
}

// charSets are the sets of a pattern, each of which is there once: a long pattern names few.
type charSets map[string]*charSet

// of returns the set of some pairs, which may overlap.
func (s charSets) of(pairs []rune) *charSet {
	ranges := normal(pairs)
	key := make([]byte, 0, 4*len(ranges))
	for _, r := range ranges {
		key = binary.LittleEndian.AppendUint32(key, uint32(r))
	}
	set, ok := s[string(key)]
	if !ok {
		set = newCharSet(ranges)
		s[string(key)] = set
	}
	return set
}

func (c *charSet) has(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return c.ascii[r>>6]>>(r&63)&1 != 0
	case r < 0x10000 && c.plane != nil:
		return c.plane[r>>6]>>(r&63)&1 != 0
	}
	return unidata.InRanges(c.ranges, r)
}

// ctypeSet returns the characters of one of Oniguruma's numbered properties, within ASCII where the
// options say so.
func (p *regexParser) ctypeSet(number int, negate bool) []rune {
	set := unidata.PropertyRanges(number)
	if p.opt.ascii(number) {
		set = intersection(set, []rune{0, 0x7F})
	}
	if negate {
		set = complement(set)
	}
	return set
}

// typeSet is \w, \d, \s or \h, or in upper case what is not in it.
func (p *regexParser) typeSet(c rune, alone bool) []rune {
	negate := c < 'a'
	number := map[rune]int{'w': unidata.CtypeWord, 'd': unidata.CtypeDigit,
		's': unidata.CtypeSpace, 'h': unidata.CtypeXDigit}[c|0x20]
	if number == unidata.CtypeWord && alone {
		return p.wordSet(negate)
	}
	return p.ctypeSet(number, negate)
}

// wordSet is \w outside a class, where Oniguruma has its own idea of the characters below U+0100:
// ² and ½ are words.
func (p *regexParser) wordSet(negate bool) []rune {
	set := p.ctypeSet(unidata.CtypeWord, false)
	if !p.opt.ascii(unidata.CtypeWord) {
		for r := rune(0x80); r < 0x100; r++ {
			if unidata.Is(r, unidata.OnigWord) {
				set = union(set, []rune{r, r})
			}
		}
	}
	if negate {
		set = complement(set)
	}
	return set
}

// property parses {Name} or {^Name} after \p. alone says that no class is around it.
func (p *regexParser) property(negate, alone bool) ([]rune, error) {
	p.at++
	if p.accept("^") {
		negate = !negate
	}
	i := strings.IndexAny(p.src[p.at:], "}(){|")
	if i < 0 || p.src[p.at+i] != '}' {
		return nil, p.fail("a property that does not end")
	}
	name := p.src[p.at : p.at+i]
	number, ok := unidata.Property(name)
	if !ok {
		return nil, p.fail("there is no property %q", name)
	}
	p.at += i + 1
	if number == unidata.CtypeWord && alone {
		return p.wordSet(negate), nil
	}
	return p.ctypeSet(number, negate), nil
}

// classNode parses a bracket expression after its "[". Where case is ignored, more than one
// character may be one, so that [ß] also means "ss".
func (p *regexParser) classNode() (node, error) {
	b, err := p.class()
	if err != nil {
		return nil, err
	}
	set, negate := b.set, b.negate
	var others altNode
	if mode := p.foldMode(); mode != foldNone {
		set, others = p.sets.foldClass(set, negate, mode)
	}
	if negate {
		if b.high && (len(set) == 0 || set[len(set)-1] < utf8.RuneSelf) {
			return nil, p.fail("a negated class of ASCII with a negated class inside is not supported")
		}
		set = complement(set)
	}
	c := charNode{p.sets.of(set)}
	if len(others) == 0 {
		return c, nil
	}
	return append(altNode{c}, others...), nil
}

// States of a class while it is read, as in prs_cc.
const (
	classStart    = iota // nothing has come
	classValue           // a character or a set has come; after a character a range may begin
	classRange           // a character and "-"
	classComplete        // a range or a class has ended
)

// bracket is what stands between brackets: the characters, and whether they are those that it does
// not mean. high is set where Oniguruma's bit set for bytes, which a class of ASCII alone is, has
// the bytes above 127 from a negated class inside; if such a class is negated, it loses some of the
// characters beyond ASCII.
type bracket struct {
	set    []rune
	negate bool
	high   bool
}

type classParser struct {
	*regexParser
	set   []rune
	high  bool
	state int
	last  rune
	isSet bool // what came last is a set
}

// class parses a bracket expression after its "[".
func (p *regexParser) class() (b bracket, err error) {
	if err := p.deeper(); err != nil {
		return b, err
	}
	defer func() { p.depth-- }()
	c := classParser{regexParser: p}
	b.negate = p.accept("^")
	if p.peek("]") {
		if !strings.Contains(p.src[p.at+1:], "]") {
			return b, p.fail("an empty class")
		}
		p.at++
		if err := c.char(']'); err != nil {
			return b, err
		}
	}
	anded := false // b has what stands before &&
	and := func() {
		c.flush()
		set, high := normal(c.set), c.high
		if anded {
			set, high = intersection(b.set, set), b.high && high
		}
		b.set, b.high, anded = set, high, true
	}
	for {
		switch {
		case !p.more():
			return b, p.fail("an open class")
		case p.accept("]"):
			and()
			return b, nil
		case p.accept("&&"):
			and()
			c.state, c.set, c.high = classStart, nil, false
		case p.peek("[:") && posixBracket(p.src[p.at+2:]):
			err = c.posix()
		case p.accept("["):
			c.flush()
			c.state = classComplete
			var inner bracket
			if inner, err = p.class(); inner.negate {
				inner.set = complement(inner.set)
			}
			c.set = append(c.set, inner.set...)
			c.high = c.high || inner.high != inner.negate
		case p.accept("-"):
			err = c.minus()
		case p.accept(`\`):
			err = c.escaped()
		default:
			err = c.char(p.rune())
		}
		if err != nil {
			return b, err
		}
	}
}

// posixBracket reports whether what follows "[:" is the name of a POSIX bracket.
func posixBracket(s string) bool {
	name, _, ok := strings.Cut(strings.TrimPrefix(s, "^"), ":]")
	if !ok || name == "" {
		return false
	}
	alpha := unidata.PropertyRanges(unidata.CtypeAlpha)
	for _, r := range name {
		if !unidata.InRanges(alpha, r) {
			return false
		}
	}
	return true
}

var posixNames = map[string]int{
	"alnum": unidata.CtypeAlnum, "alpha": unidata.CtypeAlpha, "blank": unidata.CtypeBlank,
	"cntrl": unidata.CtypeCntrl, "digit": unidata.CtypeDigit, "graph": unidata.CtypeGraph,
	"lower": unidata.CtypeLower, "print": unidata.CtypePrint, "punct": unidata.CtypePunct,
	"space": unidata.CtypeSpace, "upper": unidata.CtypeUpper, "xdigit": unidata.CtypeXDigit,
	"ascii": unidata.CtypeASCII, "word": unidata.CtypeWord,
}

func (c *classParser) posix() error {
	c.at += 2
	negate := c.accept("^")
	name, _, _ := strings.Cut(c.src[c.at:], ":]")
	number, ok := posixNames[name]
	if !ok {
		return c.fail("there is no class [:%s:]", name)
	}
	c.at += len(name) + 2
	return c.add(c.ctypeSet(number, negate))
}

// flush adds a character that might have begun a range.
func (c *classParser) flush() {
	if c.state == classValue && !c.isSet {
		c.set = append(c.set, c.last, c.last)
	}
}

// char takes the next character.
func (c *classParser) char(r rune) error {
	switch c.state {
	case classValue:
		c.flush()
	case classRange:
		if c.last > r {
			return c.fail("a range that ends before it begins")
		}
		c.set = append(c.set, c.last, r)
		c.state = classComplete
	default:
		c.state = classValue
	}
	c.last, c.isSet = r, false
	return nil
}

// add takes a set.
func (c *classParser) add(set []rune) error {
	if c.state == classRange {
		return c.fail("a range that ends in a class")
	}
	c.flush()
	c.set = append(c.set, set...)
	c.state, c.isSet = classValue, true
	return nil
}

// minus takes a "-", which is a range between two characters and text at the ends.
func (c *classParser) minus() error {
	if c.state != classValue || c.peek("]") || c.peek("&&") {
		return c.char('-')
	}
	if c.isSet {
		return c.fail("a range that begins with a class")
	}
	c.state = classRange
	return nil
}

func (c *classParser) escaped() error {
	if !c.more() {
		return c.fail("a backslash at the end")
	}
	start := c.at
	switch r := c.rune(); r {
	case 'w', 'W', 'd', 'D', 's', 'S', 'h', 'H':
		return c.add(c.typeSet(r, false))
	case 'p', 'P':
		if c.peek("{") {
			set, err := c.property(r == 'P', false)
			if err != nil {
				return err
			}
			return c.add(set)
		}
	}
	c.at = start
	text, _, err := c.escapedText(true)
	if err != nil {
		return err
	}
	return c.char(text[0])
}
