package tokenize

import (
	"strings"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// group parses what follows an opening parenthesis, up to the closing one.
func (p *regexParser) group() (node, error) {
	if p.peek("*") {
		return nil, p.fail("a callout is not supported")
	}
	if !p.accept("?") {
		if p.noCapture {
			return p.inner()
		}
		return p.capture("")
	}
	wrap := func(in func(node) node) (node, error) {
		n, err := p.inner()
		if err != nil {
			return nil, err
		}
		return in(n), nil
	}
	switch {
	case p.accept(":"):
		return p.inner()
	case p.accept("="):
		return wrap(func(n node) node { return lookNode{sub: n} })
	case p.accept("!"):
		return wrap(func(n node) node { return lookNode{sub: n, negate: true} })
	case p.accept(">"):
		return wrap(func(n node) node { return atomicNode{n} })
	case p.accept("<="):
		return wrap(func(n node) node { return lookNode{sub: n, behind: true} })
	case p.accept("<!"):
		return wrap(func(n node) node { return lookNode{sub: n, behind: true, negate: true} })
	case p.accept("<"):
		return p.namedGroup(">")
	case p.accept("'"):
		return p.namedGroup("'")
	case p.accept("("):
		return p.conditional()
	case p.accept("~"):
		return nil, p.fail("an absent group is not supported")
	case p.accept("{"):
		return nil, p.fail("a callout is not supported")
	}
	return p.optionGroup()
}

// inner parses the alternatives of a group and its closing parenthesis.
func (p *regexParser) inner() (node, error) {
	alts, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, p.fail("an open group")
	}
	return alts.one(), nil
}

func (p *regexParser) capture(name string) (node, error) {
	p.groups++
	number := p.groups
	if name != "" {
		p.names[name] = append(p.names[name], number)
	}
	n, err := p.inner()
	if err != nil {
		return nil, err
	}
	p.closed[number] = true
	return memoryNode{number, name != "", n}, nil
}

func (p *regexParser) namedGroup(end string) (node, error) {
	name, _, ok := strings.Cut(p.src[p.at:], end)
	if !ok || !validName(name) {
		return nil, p.fail("a group's name that is not one")
	}
	p.at += len(name) + len(end)
	return p.capture(name)
}

func validName(name string) bool {
	for i, r := range name {
		if !unidata.Is(r, unidata.OnigWord) || i == 0 && '0' <= r && r <= '9' {
			return false
		}
	}
	return name != ""
}

// conditional parses (?(condition)then|else) after the second parenthesis. The condition is a
// group, by number or by name in brackets, or a pattern.
func (p *regexParser) conditional() (node, error) {
	var cond node
	checker := true
	start := p.at
	var numbers []int
	var err error
	switch {
	case p.accept("<"):
		numbers, err = p.reference(">")
	case p.accept("'"):
		numbers, err = p.reference("'")
	case p.more() && strings.IndexByte("0123456789+-", p.src[p.at]) >= 0:
		if numbers, err = p.reference(")"); err != nil {
			// Not a number: a pattern that begins like one.
			p.at, numbers, err = start, nil, nil
		} else {
			p.at--
		}
	case p.peek("*"):
		return nil, p.fail("a callout is not supported")
	}
	if err != nil {
		return nil, err
	}
	if numbers != nil {
		cond = backrefNode{numbers: numbers, check: true}
		if !p.accept(")") {
			return nil, p.fail("an open condition")
		}
	} else {
		checker = false
		if cond, err = p.inner(); err != nil {
			return nil, err
		}
	}
	if p.accept(")") {
		if !checker {
			return nil, p.fail("a condition with nothing that depends on it")
		}
		return cond, nil
	}
	noThen := p.accept("|")
	alts, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, p.fail("an open group")
	}
	n := condNode{cond, emptyNode{}, emptyNode{}}
	switch {
	case noThen:
		n.other = alts.one()
	case len(alts) == 1:
		n.then = alts[0]
	default:
		n.then, n.other = alts[0], alts[1:].one()
	}
	return n, nil
}

// reference parses the name or the number of a group up to end, and returns the numbers of the
// groups that it may be.
func (p *regexParser) reference(end string) ([]int, error) {
	name, _, ok := strings.Cut(p.src[p.at:], end)
	if !ok || name == "" {
		return nil, p.fail("a reference to a group that does not end")
	}
	digits := strings.TrimLeft(name, "+-")
	if len(digits) < len(name)-1 || strings.Trim(digits, "0123456789") != "" || digits == "" {
		if !validName(name) {
			return nil, p.fail("the reference to the group %q is not supported", name)
		}
		numbers := p.names[name]
		if len(numbers) == 0 {
			return nil, p.fail("there is no group %q before this place", name)
		}
		p.at += len(name) + len(end)
		return numbers, nil
	}
	number := 0
	for _, c := range digits {
		if number = 10*number + int(c-'0'); number > maxGroups {
			return nil, p.fail("there is no group %s", name)
		}
	}
	switch {
	case name[0] == '+':
		number += p.groups
	case name[0] == '-':
		number = p.groups + 1 - number
	}
	if number <= 0 {
		return nil, p.fail("there is no group %s", name)
	}
	p.at += len(name) + len(end)
	p.numbered = true
	p.highest = max(p.highest, number)
	return []int{number}, nil
}

// maxGroups is Oniguruma's ONIG_MAX_BACKREF_NUM.
const maxGroups = 1000

// optionGroup parses (?i) and (?i:...). Without a colon the options hold to the end of the group
// around, alternatives included: (?i)a|b is (?i:a|b).
func (p *regexParser) optionGroup() (node, error) {
	outer := p.opt
	on, whole := true, false
	for {
		if !p.more() {
			return nil, p.fail("an open group")
		}
		at := p.at
		switch c := p.rune(); c {
		case '-':
			on = false
		case 'i':
			p.opt.fold = on
		case 'm':
			p.opt.dotAll = on
		case 'x':
			p.opt.extended = on
		case 'W':
			p.opt.asciiWord = on
		case 'D':
			p.opt.asciiDigit = on
		case 'S':
			p.opt.asciiSpace = on
		case 'P':
			p.opt.asciiPOSIX = on
		case 'I', 'C':
			// These are about the whole pattern and stand at its start.
			whole = true
			if !on || strings.Trim(p.src[1:at], "?imxWDSPIC") != "" {
				return nil, p.fail("the option %c anywhere but at the start of the pattern", c)
			}
			p.foldASCII = p.foldASCII || c == 'I'
			p.noCapture = p.noCapture || c == 'C'
		case 'y':
			if !p.accept("{g}") { // the default
				return nil, p.fail("word segments are not supported")
			}
		case ')':
			alts, err := p.alternatives()
			p.opt = outer
			if err != nil {
				return nil, err
			}
			return optionNode{alts.one()}, nil
		case ':':
			n, err := p.inner()
			p.opt = outer
			if err != nil {
				return nil, err
			}
			if whole && p.more() {
				return nil, p.fail("an option of the whole pattern for a part of it")
			}
			return optionNode{n}, nil
		default:
			return nil, p.fail("the group (?%c is not supported", c)
		}
	}
}
