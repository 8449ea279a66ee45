package tokenize

import (
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// escape parses what follows a backslash outside a class. plain says that it is a character like
// any other, so that a quantifier behind a run of such is about the last.
func (p *regexParser) escape() (n node, plain bool, err error) {
	if !p.more() {
		return nil, false, p.fail("a backslash at the end")
	}
	start := p.at
	switch c := p.rune(); c {
	case 'A', 'z', 'Z', 'G', 'y', 'Y':
		return assertNode(c), false, nil
	case 'b', 'B':
		if p.opt.ascii(unidata.CtypeWord) {
			c++ // see assertNode
		}
		return assertNode(c), false, nil
	case 'K':
		return keepNode{}, false, nil
	case 'N':
		return charNode{p.anyChar(false)}, false, nil
	case 'O':
		return charNode{p.anyChar(true)}, false, nil
	case 'R':
		newline := charNode{p.sets.of([]rune{'\n', '\r', 0x85, 0x85, 0x2028, 0x2029})}
		crlf := strNode{text: []rune("\r\n")}
		return condNode{crlf, emptyNode{}, newline}, false, nil
	case 'X':
		any := charNode{p.anyChar(true)}
		more := quantNode{sub: concatNode{assertNode('Y'), any}, max: -1}
		return atomicNode{concatNode{any, more}}, false, nil
	case 'w', 'W', 's', 'S', 'd', 'D', 'h', 'H':
		return charNode{p.sets.of(p.typeSet(c, true))}, false, nil
	case 'p', 'P':
		if p.peek("{") {
			set, err := p.property(c == 'P', true)
			return charNode{p.sets.of(set)}, false, err
		}
	case 'k':
		for open, end := range map[string]string{"<": ">", "'": "'"} {
			if p.accept(open) {
				numbers, err := p.reference(end)
				return backrefNode{numbers: numbers, fold: p.foldMode()}, false, err
			}
		}
	case 'g':
		if p.peek("<") || p.peek("'") {
			return nil, false, p.fail("a call of a group is not supported")
		}
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		p.at = start
		digits := p.src[start:]
		digits = digits[:len(digits)-len(strings.TrimLeft(digits, "0123456789"))]
		if len(digits) == 1 || len(digits) <= 4 && atoi(digits) <= p.groups {
			p.at += len(digits)
			number := atoi(digits)
			p.numbered = true
			p.highest = max(p.highest, number)
			return backrefNode{numbers: []int{number}, fold: p.foldMode()}, false, nil
		}
		if c >= '8' {
			p.at++
			return strNode{[]rune{c}, p.foldMode()}, true, nil
		}
	}
	p.at = start
	text, plain, err := p.escapedText(false)
	return strNode{text, p.foldMode()}, plain, err
}

func atoi(digits string) int {
	n := 0
	for i := range len(digits) {
		n = 10*n + int(digits[i]-'0')
	}
	return n
}

// escapedText parses an escape, inside or outside a class, that stands for characters: one, but for
// \x{..} with several. plain says that it is the character behind the backslash.
func (p *regexParser) escapedText(inClass bool) (text []rune, plain bool, err error) {
	start := p.at
	one := func(r rune) ([]rune, bool, error) { return []rune{r}, false, nil }
	switch c := p.rune(); {
	case c == 'n':
		return one('\n')
	case c == 't':
		return one('\t')
	case c == 'r':
		return one('\r')
	case c == 'f':
		return one('\f')
	case c == 'v':
		return one('\v')
	case c == 'a':
		return one('\a')
	case c == 'e':
		return one(0x1B)
	case c == 'b' && inClass:
		return one('\b')
	case c == 'c', c == 'C', c == 'M':
		r, err := p.control(c)
		return []rune{r}, false, err
	case c == 'u':
		r, n := p.digits(16, 4)
		if n < 4 {
			return nil, false, p.fail("\\u takes four digits")
		}
		return one(r)
	case (c == 'x' || c == 'o') && p.peek("{"):
		text, err := p.codePoints(map[rune]int{'x': 16, 'o': 8}[c], inClass)
		if err != nil || text != nil {
			return text, false, err
		}
		return []rune{c}, true, nil // text
	case c == 'x', '0' <= c && c <= '7':
		p.at = start
		r, err := p.rawBytes()
		return []rune{r}, false, err
	default:
		return []rune{c}, true, nil
	}
}

// control parses what follows \c, \C and \M.
func (p *regexParser) control(kind rune) (rune, error) {
	if kind != 'c' && !p.accept("-") || !p.more() {
		return 0, p.fail("a control character that does not end")
	}
	c := p.rune()
	if kind != 'M' && c == '?' {
		return 0x7F, nil
	}
	if c == '\\' {
		if !p.more() {
			return 0, p.fail("a backslash at the end")
		}
		text, _, err := p.escapedText(true)
		if err != nil || len(text) != 1 {
			return 0, p.fail("a control character of this kind is not supported")
		}
		c = text[0]
	}
	if kind == 'M' {
		return c&0xFF | 0x80, nil
	}
	return c & 0x9F, nil
}

// digits reads up to limit digits of a number; n is how many there were.
func (p *regexParser) digits(base, limit int) (value rune, n int) {
	for ; n < limit && p.more(); n++ {
		d, ok := hexDigit(p.src[p.at])
		if !ok || int(d) >= base {
			break
		}
		if value <= utf8.MaxRune {
			value = value*rune(base) + rune(d)
		}
		p.at++
	}
	return value, n
}

// codePoints parses {41} and {41 42} after \x or \o. nil says that it is none, and is text.
func (p *regexParser) codePoints(base int, inClass bool) ([]rune, error) {
	start := p.at
	p.at++
	var text []rune
	for {
		r, n := p.digits(base, 11)
		if n == 0 && text == nil {
			p.at = start
			return nil, nil
		}
		if n == 0 || r > utf8.MaxRune {
			return nil, p.fail("a code point that is none")
		}
		text = append(text, r)
		if p.accept("}") {
			if inClass && len(text) > 1 {
				return nil, p.fail("several code points in a class are not supported")
			}
			return text, nil
		}
		rest := strings.TrimLeft(p.src[p.at:], " \n")
		if len(rest) == len(p.src)-p.at {
			return nil, p.fail("a code point that does not end")
		}
		p.at = len(p.src) - len(rest)
		if p.accept("}") {
			return text, nil
		}
	}
}

// rawBytes parses \xHH and \ooo, which are bytes: those of one character in a row.
func (p *regexParser) rawBytes() (rune, error) {
	var raw []byte
	for want := 1; len(raw) < want; {
		if len(raw) > 0 && !p.accept(`\`) || !p.more() {
			return 0, p.fail("bytes that are no character")
		}
		value := rune(0)
		switch c := p.rune(); {
		case c == 'x' && !p.peek("{"):
			value, _ = p.digits(16, 2)
		case c == '0':
			value, _ = p.digits(8, 2)
		case '1' <= c && c <= '7':
			p.at--
			value, _ = p.digits(8, 3)
		default:
			return 0, p.fail("bytes that are no character")
		}
		if value > 0xFF {
			return 0, p.fail("a byte above 255")
		}
		raw = append(raw, byte(value))
		switch {
		case len(raw) > 1:
		case value >= 0xF0:
			want = 4
		case value >= 0xE0:
			want = 3
		case value >= 0x80:
			want = 2
		}
	}
	r, n := utf8.DecodeRune(raw)
	if n != len(raw) || r == utf8.RuneError && n == 1 {
		return 0, p.fail("bytes that are no character")
	}
	return r, nil
}
