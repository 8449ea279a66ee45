package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// The nodes of expressions.
type (
	expr     any // one of those below
	constant struct{ value any }
	name     string
	sequence struct {
		tuple bool
		of    []expr
	}
	dictExpr  struct{ keys, values []expr }
	attribute struct {
		of   expr
		name string
	}
	subscript struct{ of, key expr }
	slice     struct{ from, to, step expr } // nil where left out
	call      struct {
		of    expr
		args  []expr
		names []string
		named []expr
	}
	filter struct {
		of   expr // nil for the text of a block
		name string
		args call
	}
	test struct {
		of   expr
		name string
		args call
		not  bool
	}
	unary struct {
		op string
		of expr
	}
	binary struct {
		op   string
		a, b expr
	}
	comparison struct {
		first expr
		ops   []string
		rest  []expr
	}
	conditional struct{ condition, then, otherwise expr } // otherwise may be nil
	blockText   struct{}
)

// tuple parses an expression, or several with commas between.
func (p *parser) tuple() (expr, error) { return p.tupleOf(p.expression) }

func (p *parser) tupleOf(each func() (expr, error)) (expr, error) {
	first, err := each()
	if err != nil || !p.is(",") {
		return first, err
	}
	list := []expr{first}
	for p.accept(",") {
		if p.peek().kind == tokenClose || p.is(")") || p.is("=") {
			break
		}
		e, err := each()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return sequence{tuple: true, of: list}, nil
}

func (p *parser) expression() (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	for err == nil && p.accept("if") {
		c := conditional{then: e}
		if c.condition, err = p.or(); err != nil {
			return nil, err
		}
		if p.accept("else") {
			c.otherwise, err = p.expression()
		}
		e = c
	}
	return e, err
}

// chain parses operators of one precedence, from left to right.
func (p *parser) chain(each func() (expr, error), ops ...string) (expr, error) {
	a, err := each()
	for err == nil {
		op := p.peek().text
		if !slices.Contains(ops, op) || !p.accept(op) {
			return a, nil
		}
		var b expr
		b, err = each()
		a = binary{op, a, b}
	}
	return nil, err
}

func (p *parser) or() (expr, error)  { return p.chain(p.and, "or") }
func (p *parser) and() (expr, error) { return p.chain(p.not, "and") }

func (p *parser) not() (expr, error) {
	if !p.accept("not") {
		return p.compare()
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	of, err := p.not()
	return unary{"not", of}, err
}

func (p *parser) compare() (expr, error) {
	first, err := p.sum()
	c := comparison{first: first}
	for err == nil {
		op := p.peek().text
		switch {
		case p.is("not") && p.tokens[p.at+1].text == "in":
			p.at += 2
			op = "not in"
		case p.is("in"), slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, op) && p.is(op):
			p.at++
		default:
			if c.ops == nil {
				return first, nil
			}
			return c, nil
		}
		var e expr
		e, err = p.sum()
		c.ops, c.rest = append(c.ops, op), append(c.rest, e)
	}
	return nil, err
}

func (p *parser) sum() (expr, error)     { return p.chain(p.concat, "+", "-") }
func (p *parser) concat() (expr, error)  { return p.chain(p.product, "~") }
func (p *parser) product() (expr, error) { return p.chain(p.power, "*", "/", "//", "%") }
func (p *parser) power() (expr, error) {
	return p.chain(func() (expr, error) { return p.signed(true) }, "**")
}

func (p *parser) signed(filtered bool) (e expr, err error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if op := p.peek().text; (op == "-" || op == "+") && p.accept(op) {
		if e, err = p.signed(false); err == nil {
			e = unary{op, e}
		}
	} else if e, err = p.primary(); err == nil {
		e, err = p.postfix(e)
	}
	if err == nil && filtered {
		e, err = p.filters(e, false)
	}
	return e, err
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch t.kind {
	case tokenName:
		switch t.text {
		case "true", "True":
			return constant{true}, nil
		case "false", "False":
			return constant{false}, nil
		case "none", "None":
			return constant{nil}, nil
		}
		return name(t.text), nil
	case tokenString:
		for p.peek().kind == tokenString {
			t.text += p.next().text
		}
		return constant{t.text}, nil
	case tokenInt:
		n, err := strconv.ParseInt(strings.ReplaceAll(t.text, "_", ""), 10, 64)
		if err != nil {
			return nil, p.errorf("%s is too large", t.text)
		}
		return constant{n}, nil
	case tokenFloat:
		f, err := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64)
		if err != nil {
			return nil, p.errorf("%s is too large", t.text)
		}
		return constant{f}, nil
	case tokenOperator:
		switch t.text {
		case "(":
			if p.accept(")") {
				return sequence{tuple: true}, nil
			}
			e, err := p.tuple()
			if err == nil {
				err = p.expect(")")
			}
			return e, err
		case "[":
			list, err := p.list("]")
			return sequence{of: list}, err
		case "{":
			return p.dict()
		}
	}
	p.at = max(0, p.at-1)
	return nil, p.errorf("%q where a value should be", t.text)
}

func (p *parser) list(end string) (list []expr, err error) {
	for !p.accept(end) {
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.accept(",") && !p.is(end) {
			return nil, p.errorf("%q in a list", p.peek().text)
		}
	}
	return list, nil
}

func (p *parser) dict() (expr, error) {
	var d dictExpr
	for !p.accept("}") {
		key, err := p.expression()
		if err == nil {
			err = p.expect(":")
		}
		if err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, key), append(d.values, value)
		if !p.accept(",") && !p.is("}") {
			return nil, p.errorf("%q in a dict", p.peek().text)
		}
	}
	return d, nil
}

func (p *parser) postfix(e expr) (expr, error) {
	for n := 0; ; n++ {
		if n > maxDepth {
			return nil, p.errorf("it is nested too deeply")
		}
		switch {
		case p.accept("."):
			switch t := p.next(); t.kind {
			case tokenName:
				e = attribute{e, t.text}
			case tokenInt:
				key, _ := strconv.ParseInt(t.text, 10, 64)
				e = subscript{e, constant{key}}
			default:
				return nil, p.errorf("%q behind a dot", t.text)
			}
		case p.accept("["):
			key, err := p.subscript()
			if err == nil {
				err = p.expect("]")
			}
			if err != nil {
				return nil, err
			}
			e = subscript{e, key}
		case p.is("("):
			c, err := p.call()
			if err != nil {
				return nil, err
			}
			c.of = e
			e = c
		default:
			return e, nil
		}
	}
}

// subscript parses a key or a slice.
func (p *parser) subscript() (expr, error) {
	var parts [3]expr
	colons := 0
	for !p.is("]") {
		if p.accept(":") {
			if colons++; colons > 2 {
				return nil, p.errorf("a slice has three parts at most")
			}
			continue
		}
		var err error
		if parts[colons], err = p.tuple(); err != nil {
			return nil, err
		}
		if !p.is(":") && !p.is("]") {
			return nil, p.errorf("%q in a subscript", p.peek().text)
		}
	}
	if colons == 0 {
		if parts[0] == nil {
			return nil, p.errorf("a subscript is empty")
		}
		return parts[0], nil
	}
	return slice{parts[0], parts[1], parts[2]}, nil
}

func (p *parser) call() (c call, err error) {
	if err := p.expect("("); err != nil {
		return c, err
	}
	for !p.accept(")") {
		key := ""
		if p.peek().kind == tokenName && p.tokens[p.at+1].kind == tokenOperator && p.tokens[p.at+1].text == "=" {
			key = p.next().text
			p.next()
		}
		value, err := p.expression()
		switch {
		case err != nil:
			return c, err
		case key != "":
			c.names, c.named = append(c.names, key), append(c.named, value)
		default:
			c.args = append(c.args, value)
		}
		if !p.accept(",") && !p.is(")") {
			return c, p.errorf("%q in the arguments of a call", p.peek().text)
		}
	}
	return c, nil
}

// filters parses filters, tests and calls behind a value; named says that the first filter has no
// bar.
func (p *parser) filters(e expr, named bool) (expr, error) {
	for n := 0; ; n++ {
		if n > maxDepth {
			return nil, p.errorf("it is nested too deeply")
		}
		switch {
		case named || p.accept("|"):
			named = false
			if p.peek().kind != tokenName {
				return nil, p.errorf("%q where a filter should be", p.peek().text)
			}
			f := filter{of: e, name: p.next().text}
			if filters[f.name] == nil {
				return nil, p.errorf("there is no filter %q", f.name)
			}
			if p.is("(") {
				var err error
				if f.args, err = p.call(); err != nil {
					return nil, err
				}
			}
			e = f
		case p.accept("is"):
			t := test{of: e, not: p.accept("not")}
			if p.peek().kind != tokenName {
				return nil, p.errorf("%q where a test should be", p.peek().text)
			}
			t.name = p.next().text
			if tests[t.name] == nil {
				return nil, p.errorf("there is no test %q", t.name)
			}
			var err error
			next := p.peek()
			switch {
			case p.is("("):
				t.args, err = p.call()
			case next.kind == tokenString || next.kind == tokenInt || next.kind == tokenFloat ||
				p.is("[") || p.is("{") || next.kind == tokenName &&
				!slices.Contains([]string{"else", "or", "and", "is", "if", "not", "in"}, next.text):
				var arg expr
				if arg, err = p.primary(); err == nil {
					arg, err = p.postfix(arg)
				}
				t.args.args = []expr{arg}
			}
			if err != nil {
				return nil, err
			}
			e = t
		case p.is("("):
			c, err := p.call()
			if err != nil {
				return nil, err
			}
			c.of = e
			e = c
		default:
			return e, nil
		}
	}
}
