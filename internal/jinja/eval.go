package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// bounded returns a new value, unless it is too large.
func (r *renderer) bounded(v any) (any, error) {
	n := 0
	if err := weigh(v, 0, &n); err != nil {
		return nil, err
	}
	return v, r.step(n)
}

func (r *renderer) evalAll(list []expr, s *scope) ([]any, error) {
	values := make([]any, len(list))
	for i, e := range list {
		var err error
		if values[i], err = r.eval(e, s); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (r *renderer) eval(e expr, s *scope) (v any, err error) {
	if err := r.deeper(); err != nil {
		return nil, err
	}
	defer func() { r.depth-- }()
	switch e := e.(type) {
	case constant:
		return e.value, nil
	case blockText:
		return s.get(textOfBlock), nil
	case name:
		return s.get(string(e)), nil
	case sequence:
		list, err := r.evalAll(e.of, s)
		if err != nil {
			return nil, err
		}
		if e.tuple {
			return r.bounded(Tuple(list))
		}
		return r.bounded(List(list))
	case dictExpr:
		d := NewDict()
		for i := range e.keys {
			pair, err := r.evalAll([]expr{e.keys[i], e.values[i]}, s)
			if err != nil {
				return nil, err
			}
			if !isHashable(pair[0]) {
				return nil, errorf("a %s is no key", typeName(pair[0]))
			}
			d.Set(pair[0], pair[1])
		}
		return r.bounded(d)
	case attribute:
		of, err := r.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		return r.attribute(of, e.name)
	case subscript:
		of, err := r.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		if part, ok := e.key.(slice); ok {
			return r.slice(of, part, s)
		}
		key, err := r.eval(e.key, s)
		if err != nil {
			return nil, err
		}
		return r.subscript(of, key)
	case call:
		return r.call(e, s)
	case filter:
		of, err := r.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		args, named, err := r.arguments(e.args, s)
		if err != nil {
			return nil, err
		}
		return r.filter(e.name, of, args, named)
	case test:
		of, err := r.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		args, _, err := r.arguments(e.args, s)
		if err != nil {
			return nil, err
		}
		ok, err := tests[e.name](of, args)
		return ok != e.not, err
	case unary:
		of, err := r.eval(e.of, s)
		if err != nil {
			return nil, err
		}
		return negated(e.op, of)
	case binary:
		return r.binary(e, s)
	case comparison:
		return r.comparison(e, s)
	case conditional:
		ok, err := r.eval(e.condition, s)
		switch {
		case err != nil:
			return nil, err
		case truth(ok):
			return r.eval(e.then, s)
		case e.otherwise == nil:
			return undefined{"the inline if has no else"}, nil
		}
		return r.eval(e.otherwise, s)
	}
	return nil, errorf("unknown expression %T", e)
}

func negated(op string, of any) (any, error) {
	if op == "not" {
		return !truth(of), nil
	}
	switch v := of.(type) {
	case float64:
		if op == "-" {
			v = -v
		}
		return v, nil
	default:
		n, ok := integer(of)
		if !ok {
			return nil, errorf("%s of a %s", op, typeName(of))
		}
		if op == "-" {
			n = -n
		}
		return n, nil
	}
}

func (r *renderer) binary(e binary, s *scope) (any, error) {
	a, err := r.eval(e.a, s)
	if err != nil {
		return nil, err
	}
	if e.op == "and" && !truth(a) || e.op == "or" && truth(a) {
		return a, nil
	}
	b, err := r.eval(e.b, s)
	if err != nil {
		return nil, err
	}
	switch e.op {
	case "and", "or":
		return b, nil
	case "~":
		return r.joined(str(a), str(b))
	case "%":
		if text, ok := a.(string); ok {
			return formatPercent(text, b)
		}
	case "+":
		switch x := a.(type) {
		case string:
			if y, ok := b.(string); ok {
				return r.joined(x, y)
			}
		case List:
			if y, ok := b.(List); ok {
				return r.bounded(append(append(List{}, x...), y...))
			}
		case Tuple:
			if y, ok := b.(Tuple); ok {
				return r.bounded(append(append(Tuple{}, x...), y...))
			}
		}
	case "*":
		if v, ok, err := r.repeated(a, b); ok {
			return v, err
		}
		if v, ok, err := r.repeated(b, a); ok {
			return v, err
		}
	}
	return arithmetic(e.op, a, b)
}

func (r *renderer) joined(a, b string) (any, error) {
	if len(a)+len(b) > maxOutput {
		return nil, errorf("the text is over %d bytes", maxOutput)
	}
	return a + b, r.step((len(a) + len(b)) / 64)
}

// repeated is a sequence times a number.
func (r *renderer) repeated(a, b any) (v any, ok bool, err error) {
	n, isInt := integer(b)
	if !isInt {
		return nil, false, nil
	}
	n = max(n, 0)
	switch x := a.(type) {
	case string:
		if len(x) > 0 && n > int64(maxOutput/len(x)) {
			return nil, true, errorf("the text is over %d bytes", maxOutput)
		}
		return strings.Repeat(x, int(n)), true, r.step(len(x) * int(n) / 64)
	case List:
		if len(x) > 0 && n > int64(maxRange/len(x)) {
			return nil, true, errorf("a list is over %d long", maxRange)
		}
		var out List
		for range n {
			out = append(out, x...)
		}
		v, err := r.bounded(out)
		return v, true, err
	}
	return nil, false, nil
}

func arithmetic(op string, a, b any) (any, error) {
	x, xInt := integer(a)
	y, yInt := integer(b)
	f, ok := number(a)
	g, also := number(b)
	if !ok || !also {
		return nil, errorf("a %s %s a %s", typeName(a), op, typeName(b))
	}
	if g == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, errorf("division by zero")
	}
	if xInt && yInt {
		switch op {
		case "+":
			return x + y, nil
		case "-":
			return x - y, nil
		case "*":
			return x * y, nil
		case "//":
			return int64(math.Floor(f / g)), nil
		case "%":
			return ((x % y) + y) % y, nil
		case "**":
			if p := math.Pow(f, g); y >= 0 && math.Abs(p) < 1<<53 {
				return int64(p), nil
			}
		}
	}
	switch op {
	case "+":
		return f + g, nil
	case "-":
		return f - g, nil
	case "*":
		return f * g, nil
	case "/":
		return f / g, nil
	case "//":
		return math.Floor(f / g), nil
	case "%":
		return f - g*math.Floor(f/g), nil
	}
	return math.Pow(f, g), nil
}

func (r *renderer) comparison(e comparison, s *scope) (any, error) {
	a, err := r.eval(e.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		b, err := r.eval(e.rest[i], s)
		if err != nil {
			return nil, err
		}
		ok, err := r.holds(op, a, b)
		if err != nil || !ok {
			return false, err
		}
		a = b
	}
	return true, nil
}

func (r *renderer) holds(op string, a, b any) (bool, error) {
	switch op {
	case "==":
		return equal(a, b), nil
	case "!=":
		return !equal(a, b), nil
	case "in", "not in":
		ok, err := r.contains(b, a)
		return ok != (op == "not in"), err
	}
	c, err := compare(a, b)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

func (r *renderer) contains(in, v any) (bool, error) {
	switch in := in.(type) {
	case string:
		text, ok := v.(string)
		if !ok {
			return false, errorf("a %s is in no string", typeName(v))
		}
		return strings.Contains(in, text), r.step(len(in) / 64)
	case *Dict:
		_, ok := in.Get(v)
		return ok, nil
	}
	list, err := items(in)
	if err != nil {
		return false, err
	}
	for _, item := range list {
		if equal(item, v) {
			return true, nil
		}
	}
	return false, r.step(len(list))
}

func (r *renderer) arguments(c call, s *scope) (args []any, named map[string]any, err error) {
	if args, err = r.evalAll(c.args, s); err != nil {
		return nil, nil, err
	}
	values, err := r.evalAll(c.named, s)
	if err != nil {
		return nil, nil, err
	}
	named = map[string]any{}
	for i, name := range c.names {
		named[name] = values[i]
	}
	return args, named, nil
}

func (r *renderer) call(e call, s *scope) (any, error) {
	of, err := r.eval(e.of, s)
	if err != nil {
		return nil, err
	}
	args, named, err := r.arguments(e, s)
	if err != nil {
		return nil, err
	}
	f, ok := of.(Function)
	if !ok {
		return nil, errorf("a %s is no function", typeName(of))
	}
	v, err := f(args, named)
	if err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrRaised) {
		err = fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return v, err
}

// attribute is a dot's: methods first, then keys.
func (r *renderer) attribute(of any, name string) (any, error) {
	switch v := of.(type) {
	case undefined:
		return nil, errorf("%s is undefined", v.name)
	case *loop:
		a, _ := v.attribute(name)
		return a, nil
	case namespace:
		if value, ok := v.Get(name); ok {
			return value, nil
		}
		return undefined{name}, nil
	}
	if m := r.method(of, name); m != nil {
		return m, nil
	}
	if d, ok := of.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v, nil
		}
	}
	return undefined{name}, nil
}

// subscript is a bracket's: keys first, then methods.
func (r *renderer) subscript(of, key any) (any, error) {
	switch v := of.(type) {
	case undefined:
		return nil, errorf("%s is undefined", v.name)
	case *Dict:
		if value, ok := v.Get(key); ok {
			return value, nil
		}
	case List, Tuple, string:
		if n, ok := integer(key); ok {
			list, err := items(v)
			if err != nil {
				return nil, err
			}
			if n < 0 {
				n += int64(len(list))
			}
			if n >= 0 && n < int64(len(list)) {
				return list[n], r.step(len(list) / 64)
			}
			return undefined{"an element beyond the end"}, nil
		}
	}
	if text, ok := key.(string); ok {
		return r.attribute(of, text)
	}
	return undefined{str(key)}, nil
}

func (r *renderer) slice(of any, part slice, s *scope) (any, error) {
	list, err := items(of)
	if err != nil {
		return nil, err
	}
	if _, ok := of.(*Dict); ok {
		return nil, errorf("a dict has no slices")
	}
	var bounds [3]*int64
	for i, e := range []expr{part.from, part.to, part.step} {
		if e == nil {
			continue
		}
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := integer(v)
		if !ok {
			return nil, errorf("a %s in a slice", typeName(v))
		}
		bounds[i] = &n
	}
	out, err := sliced(list, bounds)
	if err != nil {
		return nil, err
	}
	if err := r.step(len(list) / 16); err != nil {
		return nil, err
	}
	switch of.(type) {
	case string:
		var b strings.Builder
		for _, c := range out {
			b.WriteString(c.(string))
		}
		return b.String(), nil
	case Tuple:
		return Tuple(out), nil
	}
	return List(out), nil
}

// sliced takes list[from:to:step] with Python's rules.
func sliced(list []any, bounds [3]*int64) ([]any, error) {
	n, step := int64(len(list)), int64(1)
	if bounds[2] != nil {
		if step = *bounds[2]; step == 0 {
			return nil, errorf("a slice steps by 0")
		}
	}
	low, high := int64(0), n // where from and to may lie
	from, to := int64(0), n
	if step < 0 {
		low, high = -1, n-1
		from, to = n-1, -1
	}
	clamp := func(p *int64, otherwise int64) int64 {
		if p == nil {
			return otherwise
		}
		v := *p
		if v < 0 {
			v += n
		}
		return max(low, min(high, v))
	}
	from, to = clamp(bounds[0], from), clamp(bounds[1], to)
	var out []any
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, list[i])
		if step > n || -step > n {
			break
		}
	}
	return out, nil
}
