package jinja

import "strings"

// scope holds variables; those of an outer scope are seen, not set. Few have more than a handful.
type scope struct {
	parent *scope
	names  []string
	values []any
}

func (s *scope) get(name string) any {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				return s.values[i]
			}
		}
	}
	return undefined{name}
}

func (s *scope) set(name string, v any) {
	for i, n := range s.names {
		if n == name {
			s.values[i] = v
			return
		}
	}
	s.names, s.values = append(s.names, name), append(s.values, v)
}

// renderer is one rendering.
type renderer struct {
	out   *strings.Builder
	steps int
	depth int
}

// step counts work, so that no template runs without end.
func (r *renderer) step(n int) error {
	if r.steps += n; r.steps > maxSteps || r.steps < 0 {
		return errorf("it takes more than %d steps", maxSteps)
	}
	return nil
}

func (r *renderer) deeper() error {
	if r.depth++; r.depth > maxDepth {
		return errorf("it is nested too deeply")
	}
	return r.step(1)
}

func (r *renderer) write(text string) error {
	if r.out.Len()+len(text) > maxOutput {
		return errorf("the text is over %d bytes", maxOutput)
	}
	r.out.WriteString(text)
	return nil
}

// run runs statements; control is break or continue where one of them ended it.
func (r *renderer) run(list []node, s *scope) (control loopControl, err error) {
	if err := r.deeper(); err != nil {
		return "", err
	}
	defer func() { r.depth-- }()
	for _, n := range list {
		if err := r.step(1); err != nil {
			return "", err
		}
		switch n := n.(type) {
		case textNode:
			err = r.write(string(n))
		case printNode:
			var v any
			if v, err = r.eval(n.value, s); err == nil {
				err = r.write(str(v))
			}
		case ifNode:
			control, err = r.runIf(n, s)
		case forNode:
			control, err = "", r.runFor(n, s)
		case setNode:
			err = r.runSet(n, s)
		case filterNode:
			var v any
			if v, err = r.filtered(n.body, n.filter, s); err == nil {
				err = r.write(str(v))
			}
		case macroNode:
			s.set(n.name, r.macro(n, s))
		case withNode:
			inner := &scope{parent: s}
			for i, name := range n.names {
				v, err := r.eval(n.values[i], s)
				if err != nil {
					return "", err
				}
				inner.set(name, v)
			}
			control, err = r.run(n.body, inner)
		case loopControl:
			return n, nil
		}
		if err != nil || control != "" {
			return control, err
		}
	}
	return "", nil
}

func (r *renderer) runIf(n ifNode, s *scope) (loopControl, error) {
	for i, condition := range n.conditions {
		v, err := r.eval(condition, s)
		if err != nil {
			return "", err
		}
		if truth(v) {
			return r.run(n.bodies[i], s)
		}
	}
	return r.run(n.otherwise, s)
}

func (r *renderer) runFor(n forNode, s *scope) error {
	over, err := r.eval(n.over, s)
	if err != nil {
		return err
	}
	list, err := items(over)
	if err != nil {
		return err
	}
	if n.condition != nil {
		var kept []any
		for _, v := range list {
			inner := &scope{parent: s}
			if err := assign(n.target, v, inner); err != nil {
				return err
			}
			ok, err := r.eval(n.condition, inner)
			if err != nil {
				return err
			}
			if truth(ok) {
				kept = append(kept, v)
			}
		}
		list = kept
	}
	if len(list) == 0 {
		_, err := r.run(n.otherwise, s)
		return err
	}
	l := &loop{list: list}
	for i, v := range list {
		l.at = i
		inner := &scope{parent: s, names: []string{"loop"}, values: []any{l}}
		if err := assign(n.target, v, inner); err != nil {
			return err
		}
		control, err := r.run(n.body, inner)
		if err != nil {
			return err
		}
		if control == "break" {
			break
		}
	}
	return nil
}

// loop is the variable of that name.
type loop struct {
	list []any
	at   int
	last any // of changed
}

func (l *loop) attribute(name string) (any, bool) {
	n := len(l.list)
	switch name {
	case "index":
		return int64(l.at + 1), true
	case "index0":
		return int64(l.at), true
	case "revindex":
		return int64(n - l.at), true
	case "revindex0":
		return int64(n - l.at - 1), true
	case "first":
		return l.at == 0, true
	case "last":
		return l.at == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(1), true
	case "depth0":
		return int64(0), true
	case "previtem":
		if l.at > 0 {
			return l.list[l.at-1], true
		}
	case "nextitem":
		if l.at < n-1 {
			return l.list[l.at+1], true
		}
	case "cycle":
		return Function(func(args []any, _ map[string]any) (any, error) {
			if len(args) == 0 {
				return nil, errorf("loop.cycle has no values")
			}
			return args[l.at%len(args)], nil
		}), true
	case "changed":
		return Function(func(args []any, _ map[string]any) (any, error) {
			now := Tuple(args)
			before, ok := l.last.(Tuple)
			l.last = now
			return !ok || !equal(now, before), nil
		}), true
	}
	return undefined{"loop." + name}, true
}

// assign sets a target in a scope.
func assign(t target, v any, s *scope) error {
	switch {
	case t.tuple != nil:
		list, err := items(v)
		if err != nil {
			return err
		}
		if len(list) != len(t.tuple) {
			return errorf("%d values for %d names", len(list), len(t.tuple))
		}
		for i, inner := range t.tuple {
			if err := assign(inner, list[i], s); err != nil {
				return err
			}
		}
	case t.attribute != "":
		ns, ok := s.get(t.name).(namespace)
		if !ok {
			return errorf("%s is no namespace, whose attributes alone may be set", t.name)
		}
		n := 0
		if err := weigh(v, 1, &n); err != nil {
			return err
		}
		ns.Set(t.attribute, v)
	default:
		s.set(t.name, v)
	}
	return nil
}

func (r *renderer) runSet(n setNode, s *scope) (err error) {
	var v any
	if n.value != nil {
		v, err = r.eval(n.value, s)
	} else {
		v, err = r.filtered(n.body, n.filter, s)
	}
	if err != nil {
		return err
	}
	return assign(n.target, v, s)
}

// filtered returns the text of a block, through a filter where that is not nil.
func (r *renderer) filtered(body []node, f expr, s *scope) (any, error) {
	text, err := r.capture(body, &scope{parent: s})
	if err != nil || f == nil {
		return text, err
	}
	return r.eval(f, &scope{parent: s, names: []string{textOfBlock}, values: []any{text}})
}

// textOfBlock is where a filter finds the text of its block; no template can name it.
const textOfBlock = "%text"

// capture returns what statements write.
func (r *renderer) capture(body []node, s *scope) (string, error) {
	before := r.out
	r.out = &strings.Builder{}
	defer func() { r.out = before }()
	if _, err := r.run(body, s); err != nil {
		return "", err
	}
	return r.out.String(), r.step(r.out.Len() / 64)
}

// macro returns a macro as a function.
func (r *renderer) macro(n macroNode, s *scope) Function {
	return func(args []any, named map[string]any) (any, error) {
		inner := &scope{parent: s}
		if len(args) > len(n.names) {
			return nil, errorf("macro %s takes %d arguments, not %d", n.name, len(n.names), len(args))
		}
		used := 0
		for i, name := range n.names {
			v, given := named[name]
			if given {
				used++
			}
			switch {
			case i < len(args):
				v = args[i]
			case given:
			case n.defaults[i] != nil:
				var err error
				if v, err = r.eval(n.defaults[i], inner); err != nil {
					return nil, err
				}
			default:
				v = undefined{name}
			}
			inner.set(name, v)
		}
		if used < len(named) {
			return nil, errorf("macro %s has no such parameter", n.name)
		}
		return r.capture(n.body, inner)
	}
}
