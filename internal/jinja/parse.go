package jinja

import (
	"slices"
	"strings"
)

// The nodes of statements.
type (
	node      any // one of those below
	textNode  string
	printNode struct{ value expr }
	ifNode    struct {
		conditions []expr
		bodies     [][]node
		otherwise  []node
	}
	forNode struct {
		target          target
		over, condition expr
		body, otherwise []node
	}
	setNode struct {
		target target
		value  expr   // nil for a block
		body   []node // of a block
		filter expr   // of a block, over its text; may be nil
	}
	filterNode struct {
		filter expr
		body   []node
	}
	macroNode struct {
		name     string
		names    []string
		defaults []expr // nil where there is none
		body     []node
	}
	withNode struct {
		names  []string
		values []expr
		body   []node
	}
	loopControl string // break, continue
)

// target is what set and for assign to.
type target struct {
	name, attribute string
	tuple           []target
}

type parser struct {
	tokens []token
	at     int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

func (p *parser) errorf(format string, args ...any) error {
	return errorf("line %d: "+format, append([]any{p.peek().line}, args...)...)
}

// is reports whether the next token is an operator, a name or the end of a tag, with this text.
func (p *parser) is(text string) bool {
	t := p.peek()
	return t.text == text && t.kind != tokenText && t.kind != tokenString
}

func (p *parser) accept(text string) bool {
	if p.is(text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.errorf("%q where %q should be", p.peek().text, text)
	}
	return nil
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.errorf("it is nested too deeply")
	}
	return nil
}

// statements parses until a tag that ends a block, whose {% it leaves to be read.
func (p *parser) statements() ([]node, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var list []node
	for {
		t := p.peek()
		switch {
		case t.kind == tokenEnd:
			return list, nil
		case t.kind == tokenText:
			p.next()
			list = append(list, textNode(t.text))
			continue
		case t.text == "{{":
			p.next()
			value, err := p.tuple()
			if err == nil {
				err = p.expect("}}")
			}
			if err != nil {
				return nil, err
			}
			list = append(list, printNode{value})
			continue
		}
		word := p.tokens[p.at+1].text
		if slices.Contains([]string{"elif", "else"}, word) || strings.HasPrefix(word, "end") {
			return list, nil
		}
		p.next()
		n, err := p.statement()
		if err != nil {
			return nil, err
		}
		list = append(list, n...)
	}
}

func (p *parser) statement() ([]node, error) {
	var n node
	var err error
	switch word := p.next().text; word {
	case "if":
		n, err = p.ifStatement()
	case "for":
		n, err = p.forStatement()
	case "set":
		n, err = p.setStatement()
	case "macro":
		n, err = p.macro()
	case "filter":
		f := filterNode{filter: blockText{}}
		if f.filter, err = p.filters(blockText{}, true); err == nil {
			f.body, err = p.block("filter")
		}
		n = f
	case "with":
		n, err = p.with()
	case "generation": // marks what is trained on
		return p.block("generation")
	case "break", "continue":
		n, err = loopControl(word), p.expect("%}")
	default:
		p.at--
		err = p.errorf("there is no statement %q here", word)
	}
	return []node{n}, err
}

// block parses the end of a tag, a body and the tag that ends it.
func (p *parser) block(word string) ([]node, error) {
	if err := p.expect("%}"); err != nil {
		return nil, err
	}
	body, err := p.statements()
	if err == nil {
		err = p.end(word)
	}
	return body, err
}

func (p *parser) end(word string) error {
	if p.peek().kind == tokenEnd {
		return p.errorf("a %s has no end", word)
	}
	p.next()
	if err := p.expect("end" + word); err != nil {
		return err
	}
	if word == "macro" && p.peek().kind == tokenName {
		p.next()
	}
	return p.expect("%}")
}

func (p *parser) ifStatement() (n ifNode, err error) {
	for {
		condition, err := p.tuple()
		if err == nil {
			err = p.expect("%}")
		}
		if err != nil {
			return n, err
		}
		body, err := p.statements()
		if err != nil {
			return n, err
		}
		n.conditions, n.bodies = append(n.conditions, condition), append(n.bodies, body)
		if p.at+1 < len(p.tokens) && p.tokens[p.at+1].text == "elif" {
			p.at += 2
			continue
		}
		n.otherwise, err = p.otherwise()
		if err == nil {
			err = p.end("if")
		}
		return n, err
	}
}

// otherwise parses {% else %} and what is behind it, where there is one.
func (p *parser) otherwise() ([]node, error) {
	if p.at+1 >= len(p.tokens) || p.tokens[p.at+1].text != "else" {
		return nil, nil
	}
	p.at += 2
	if err := p.expect("%}"); err != nil {
		return nil, err
	}
	return p.statements()
}

func (p *parser) forStatement() (n forNode, err error) {
	if n.target, err = p.target(); err != nil {
		return n, err
	}
	if err := p.expect("in"); err != nil {
		return n, err
	}
	if n.over, err = p.tupleOf(p.or); err != nil {
		return n, err
	}
	if p.accept("if") {
		if n.condition, err = p.expression(); err != nil {
			return n, err
		}
	}
	if p.is("recursive") {
		return n, p.errorf("recursive loops are not supported")
	}
	if err := p.expect("%}"); err != nil {
		return n, err
	}
	if n.body, err = p.statements(); err != nil {
		return n, err
	}
	if n.otherwise, err = p.otherwise(); err != nil {
		return n, err
	}
	return n, p.end("for")
}

// target parses names: one, several with commas between, or an attribute of a namespace.
func (p *parser) target() (target, error) {
	var list []target
	tuple := false
	for {
		var t target
		if p.accept("(") {
			var err error
			if t, err = p.target(); err == nil {
				err = p.expect(")")
			}
			if err != nil {
				return t, err
			}
		} else {
			if p.peek().kind != tokenName {
				return t, p.errorf("%q where a name should be", p.peek().text)
			}
			t.name = p.next().text
			if p.accept(".") {
				t.attribute = p.next().text
			}
		}
		list = append(list, t)
		if !p.accept(",") {
			break
		}
		if tuple = true; p.peek().kind != tokenName && !p.is("(") {
			break
		}
	}
	if len(list) == 1 && !tuple {
		return list[0], nil
	}
	return target{tuple: list}, nil
}

func (p *parser) setStatement() (n setNode, err error) {
	if n.target, err = p.target(); err != nil {
		return n, err
	}
	if p.accept("=") {
		if n.value, err = p.tuple(); err != nil {
			return n, err
		}
		return n, p.expect("%}")
	}
	if p.is("|") {
		if n.filter, err = p.filters(blockText{}, false); err != nil {
			return n, err
		}
	}
	n.body, err = p.block("set")
	return n, err
}

func (p *parser) macro() (n macroNode, err error) {
	n.name = p.next().text
	if err := p.expect("("); err != nil {
		return n, err
	}
	for !p.accept(")") {
		if p.peek().kind != tokenName {
			return n, p.errorf("%q where a parameter's name should be", p.peek().text)
		}
		n.names = append(n.names, p.next().text)
		var value expr
		if p.accept("=") {
			if value, err = p.expression(); err != nil {
				return n, err
			}
		}
		n.defaults = append(n.defaults, value)
		if !p.accept(",") && !p.is(")") {
			return n, p.errorf("%q in the parameters of a macro", p.peek().text)
		}
	}
	n.body, err = p.block("macro")
	return n, err
}

func (p *parser) with() (n withNode, err error) {
	for !p.is("%}") {
		n.names = append(n.names, p.next().text)
		if err := p.expect("="); err != nil {
			return n, err
		}
		value, err := p.expression()
		if err != nil {
			return n, err
		}
		n.values = append(n.values, value)
		if !p.accept(",") && !p.is("%}") {
			return n, p.errorf("%q in a with", p.peek().text)
		}
	}
	n.body, err = p.block("with")
	return n, err
}
