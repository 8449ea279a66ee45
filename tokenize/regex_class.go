package tokenize

import (
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// charSet is a set of characters.
type charSet struct {
	ascii  [2]uint64 // membership of the characters below 128, everything taken into account
	negate bool
	ranges []rune // pairs of first and last
	gc     uint32 // general categories, a bit each
	props  uint32 // property bits of unidata
	not    []*charSet
	in     []*charSet
	and    *charSet // intersection with another set, before negation
}

func (c *charSet) has(r rune) bool {
	if r < utf8.RuneSelf {
		return c.ascii[r>>6]>>(r&63)&1 != 0
	}
	return c.lookup(r)
}

func (c *charSet) lookup(r rune) bool {
	return c.member(r) != c.negate
}

func (c *charSet) member(r rune) bool {
	if c.and != nil && !c.and.lookup(r) {
		return false
	}
	for i := 0; i < len(c.ranges); i += 2 {
		if c.ranges[i] <= r && r <= c.ranges[i+1] {
			return true
		}
	}
	if c.gc|c.props != 0 {
		p := unidata.Props(r)
		if c.gc>>(p&31)&1 != 0 || p&c.props != 0 {
			return true
		}
	}
	for _, s := range c.in {
		if s.lookup(r) {
			return true
		}
	}
	for _, s := range c.not {
		if !s.lookup(r) {
			return true
		}
	}
	return false
}

// seal fills the table for ASCII once the set is complete.
func (c *charSet) seal() *charSet {
	for r := range rune(utf8.RuneSelf) {
		if c.lookup(r) {
			c.ascii[r>>6] |= 1 << (r & 63)
		}
	}
	return c
}

func oneChar(r rune) *charSet { return (&charSet{ranges: []rune{r, r}}).seal() }

// letters reports whether case could matter to a set; ASCII without letters is certain not to.
func (c *charSet) letters() bool {
	if c.negate || c.gc|c.props != 0 || len(c.in)+len(c.not) > 0 || c.and != nil {
		return true
	}
	for i := 0; i < len(c.ranges); i += 2 {
		if c.ranges[i+1] >= 'A' {
			return true
		}
	}
	return false
}

// escapedSet parses an escape that is a set (\s, \p{..}) or a character.
func (p *regexParser) escapedSet() (*charSet, rune, error) {
	c := p.rune()
	set := &charSet{}
	switch c {
	case 's', 'S':
		set.props = unidata.OnigSpace
	case 'd', 'D':
		set.gc = 1 << unidata.Nd
	case 'w', 'W':
		set.props = unidata.OnigWordClass
	case 'h', 'H':
		set.ranges = []rune{'0', '9', 'a', 'f', 'A', 'F'}
	case 'p', 'P':
		if err := p.property(set); err != nil {
			return nil, 0, err
		}
	case 't':
		return nil, '\t', nil
	case 'n':
		return nil, '\n', nil
	case 'r':
		return nil, '\r', nil
	case 'f':
		return nil, '\f', nil
	case 'v':
		return nil, '\v', nil
	case 'a':
		return nil, '\a', nil
	case 'e':
		return nil, 0x1B, nil
	case 'x', 'u':
		r, err := p.hex(c)
		return nil, r, err
	default:
		if c < utf8.RuneSelf && ('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9') {
			return nil, 0, p.fail("the escape \\%c is not supported", c)
		}
		return nil, c, nil
	}
	if c < 'a' {
		set.negate = !set.negate
	}
	return set.seal(), 0, nil
}

func (p *regexParser) hex(kind rune) (rune, error) {
	digits := p.src[p.at:]
	switch {
	case kind == 'x' && p.accept("{"):
		i := strings.IndexByte(p.src[p.at:], '}')
		if i < 0 || i > 8 {
			return 0, p.fail("a code point that does not end")
		}
		digits = p.src[p.at : p.at+i]
		p.at += i + 1
	case kind == 'x' && len(digits) >= 2:
		digits = digits[:2]
		p.at += 2
	case kind == 'u' && len(digits) >= 4:
		digits = digits[:4]
		p.at += 4
	default:
		return 0, p.fail("a code point that does not end")
	}
	r := rune(0)
	for i := 0; i < len(digits); i++ {
		d, ok := hexDigit(digits[i])
		if !ok {
			return 0, p.fail("%q is no code point", digits)
		}
		r = r<<4 | rune(d)
	}
	if kind == 'x' && len(digits) == 2 && r >= utf8.RuneSelf || !utf8.ValidRune(r) ||
		len(digits) == 0 {
		return 0, p.fail("%q is no code point", digits)
	}
	return r, nil
}

// property parses {Name} or {^Name} after \p.
func (p *regexParser) property(set *charSet) error {
	if !p.accept("{") {
		return p.fail("\\p without braces is not supported")
	}
	i := strings.IndexByte(p.src[p.at:], '}')
	if i < 0 {
		return p.fail("a property that does not end")
	}
	name := p.src[p.at : p.at+i]
	p.at += i + 1
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		set.negate, name = true, rest
	}
	key := strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(name))
	if gc, ok := categoryNames[key]; ok {
		set.gc = gc
		return nil
	}
	switch key {
	case "alpha", "alphabetic":
		set.props = unidata.OnigAlpha
	case "space", "whitespace":
		set.props = unidata.OnigSpace
	case "upper", "uppercase":
		set.props = unidata.OnigUpper
	case "lower", "lowercase":
		set.props = unidata.OnigLower
	case "word":
		set.props = unidata.OnigWordClass
	case "digit":
		set.gc = 1 << unidata.Nd
	case "alnum":
		set.props, set.gc = unidata.OnigAlpha, 1<<unidata.Nd
	default:
		for script, ranges := range unidata.Scripts {
			if strings.ToLower(script) == key {
				set.ranges = ranges
				return nil
			}
		}
		return p.fail("the property %q is not supported", name)
	}
	return nil
}

// categoryNames maps the names of general categories to their bits.
var categoryNames = func() map[string]uint32 {
	m := map[string]uint32{
		"cc": 1 << unidata.Cc, "cf": 1 << unidata.Cf, "co": 1 << unidata.Co,
		"ll": 1 << unidata.Ll, "lm": 1 << unidata.Lm,
		"lo": 1 << unidata.Lo, "lt": 1 << unidata.Lt, "lu": 1 << unidata.Lu,
		"mc": 1 << unidata.Mc, "me": 1 << unidata.Me,
		"mn": 1 << unidata.Mn, "nd": 1 << unidata.Nd, "nl": 1 << unidata.Nl,
		"no": 1 << unidata.No, "pc": 1 << unidata.Pc,
		"pd": 1 << unidata.Pd, "pe": 1 << unidata.Pe, "pf": 1 << unidata.Pf,
		"pi": 1 << unidata.Pi, "po": 1 << unidata.Po,
		"ps": 1 << unidata.Ps, "sc": 1 << unidata.Sc, "sk": 1 << unidata.Sk,
		"sm": 1 << unidata.Sm, "so": 1 << unidata.So,
		"zl": 1 << unidata.Zl, "zp": 1 << unidata.Zp, "zs": 1 << unidata.Zs,
	}
	for name, bit := range m {
		m[name[:1]] |= bit
	}
	m["cn"] = 1<<unidata.Cn | 1<<unidata.Cs // a valid text holds no surrogates
	m["c"] |= m["cn"]
	for long, short := range map[string]string{
		"letter": "l", "mark": "m", "number": "n", "punctuation": "p", "symbol": "s",
		"separator": "z", "other": "c",
		"lowercaseletter": "ll", "uppercaseletter": "lu", "titlecaseletter": "lt",
		"modifierletter": "lm", "otherletter": "lo",
		"decimalnumber": "nd", "letternumber": "nl", "othernumber": "no", "nonspacingmark": "mn",
		"spacingmark": "mc", "enclosingmark": "me",
		"spaceseparator": "zs", "control": "cc", "format": "cf",
	} {
		m[long] = m[short]
	}
	return m
}()

// class parses a bracket expression after its "[".
func (p *regexParser) class() (*charSet, error) {
	if p.depth++; p.depth > 100 {
		return nil, p.fail("classes nested more than 100 deep")
	}
	defer func() { p.depth-- }()
	set := &charSet{}
	negate := p.accept("^")
	if p.peek("]") {
		return nil, p.fail("an empty class or one that begins with a bracket is not supported")
	}
	var and *charSet
	for {
		if !p.more() {
			return nil, p.fail("an open class")
		}
		if p.accept("]") {
			break
		}
		if p.accept("&&") {
			// What came before, and with the rest.
			left := set.seal()
			if and != nil {
				left = (&charSet{in: []*charSet{left}, and: and}).seal()
			}
			and, set = left, &charSet{}
			continue
		}
		if err := p.classItem(set, and != nil); err != nil {
			return nil, err
		}
	}
	if and != nil {
		set = &charSet{in: []*charSet{set.seal()}, and: and}
	}
	set.negate = negate
	return set.seal(), nil
}

func (p *regexParser) classItem(set *charSet, intersected bool) error {
	switch {
	case p.accept("[:"):
		name, rest, ok := strings.Cut(p.src[p.at:], ":]")
		if !ok {
			return p.fail("an open POSIX class")
		}
		p.at = len(p.src) - len(rest)
		negate := strings.HasPrefix(name, "^")
		sub := &regexParser{src: "{" + name + "}"}
		item := &charSet{}
		switch strings.TrimPrefix(name, "^") {
		case "alpha", "upper", "lower", "space", "word", "digit", "alnum":
		default:
			return p.fail("the class [:%s:] is not supported", name)
		}
		if err := sub.property(item); err != nil {
			return err
		}
		item.negate = negate
		set.in = append(set.in, item.seal())
		return nil
	case p.accept("["):
		item, err := p.class()
		if err != nil {
			return err
		}
		if item.negate && !intersected {
			// Oniguruma 6.9 loses the characters beyond Latin-1 of some such unions.
			return p.fail("a negated class inside a class, but for after &&, is not supported")
		}
		set.in = append(set.in, item)
		return nil
	}
	item, low, err := p.classChar()
	if err != nil {
		return err
	}
	if item != nil {
		if p.peek("-") && !p.peek("-]") {
			return p.fail("a range that begins with a class")
		}
		set.in = append(set.in, item)
		return nil
	}
	high := low
	if p.peek("-") && !p.peek("-]") && !p.peek("-&&") {
		p.at++
		if item, high, err = p.classChar(); err != nil {
			return err
		}
		if item != nil || high < low {
			return p.fail("a range that does not end in a later character")
		}
	}
	set.ranges = append(set.ranges, low, high)
	return nil
}

// classChar parses one character or escape inside a class.
func (p *regexParser) classChar() (*charSet, rune, error) {
	if !p.more() {
		return nil, 0, p.fail("an open class")
	}
	if !p.accept(`\`) {
		if p.peek("[") {
			return nil, 0, p.fail("a range that ends in a class")
		}
		return nil, p.rune(), nil
	}
	if !p.more() {
		return nil, 0, p.fail("a backslash at the end")
	}
	if p.accept("b") {
		return nil, '\b', nil
	}
	return p.escapedSet()
}
