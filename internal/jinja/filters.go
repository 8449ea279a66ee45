package jinja

import (
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// arguments are those of a filter or method, read by place or by name.
type arguments struct {
	args  []any
	named map[string]any
}

// get returns argument i, or the one of a name, or otherwise.
func (a arguments) get(i int, name string, otherwise any) any {
	if i < len(a.args) {
		return a.args[i]
	}
	if v, ok := a.named[name]; ok {
		return v
	}
	return otherwise
}

type filterFunc func(r *renderer, v any, a arguments) (any, error)

// filters by name. Those that call others are added when the program starts.
var filters map[string]filterFunc

func (r *renderer) filter(name string, v any, args []any, named map[string]any) (any, error) {
	return filters[name](r, v, arguments{args, named})
}

// onText makes a filter of a function of strings.
func onText(f func(string) string) filterFunc {
	return func(r *renderer, v any, _ arguments) (any, error) {
		s := str(v)
		return f(s), r.step(len(s) / 64)
	}
}

// onList makes a filter of a function of elements.
func onList(f func(r *renderer, list []any, a arguments) (any, error)) filterFunc {
	return func(r *renderer, v any, a arguments) (any, error) {
		list, err := items(v)
		if err != nil {
			return nil, err
		}
		if err := r.step(len(list)); err != nil {
			return nil, err
		}
		return f(r, list, a)
	}
}

func init() {
	filters = map[string]filterFunc{
		"upper": onText(strings.ToUpper), "lower": onText(strings.ToLower),
		"title": onText(title), "capitalize": onText(capitalize), "string": onText(strings.Clone),
		"escape": onText(html.EscapeString), "e": onText(html.EscapeString), "safe": onText(strings.Clone),
		"trim": func(_ *renderer, v any, a arguments) (any, error) {
			return strip(str(v), a.get(0, "chars", nil), true, true)
		},
		"length": length, "count": length,
		"list": onList(func(_ *renderer, list []any, _ arguments) (any, error) {
			return List(slices.Clone(list)), nil
		}),
		"first": onList(func(_ *renderer, list []any, _ arguments) (any, error) {
			if len(list) == 0 {
				return undefined{"the first of nothing"}, nil
			}
			return list[0], nil
		}),
		"last": onList(func(_ *renderer, list []any, _ arguments) (any, error) {
			if len(list) == 0 {
				return undefined{"the last of nothing"}, nil
			}
			return list[len(list)-1], nil
		}),
		"join": onList(join), "map": onList(mapped), "sort": onList(sorted), "unique": onList(unique),
		"select": onList(selected(false, true)), "reject": onList(selected(false, false)),
		"selectattr": onList(selected(true, true)), "rejectattr": onList(selected(true, false)),
		"min": onList(extreme(-1)), "max": onList(extreme(1)),
		"sum": onList(func(_ *renderer, list []any, a arguments) (v any, err error) {
			v = a.get(1, "start", int64(0))
			for _, item := range list {
				if v, err = arithmetic("+", v, item); err != nil {
					return nil, err
				}
			}
			return v, nil
		}),
		"reverse": func(r *renderer, v any, _ arguments) (any, error) {
			list, err := items(v)
			if err != nil {
				return nil, err
			}
			back := slices.Clone(list)
			slices.Reverse(back)
			if _, ok := v.(string); !ok {
				return List(back), r.step(len(back))
			}
			var b strings.Builder
			for _, c := range back {
				b.WriteString(c.(string))
			}
			return b.String(), r.step(len(back))
		},
		"replace": func(r *renderer, v any, a arguments) (any, error) {
			return replace(r, str(v), a.get(0, "old", ""), a.get(1, "new", ""), a.get(2, "count", nil))
		},
		"default": otherwise, "d": otherwise,
		"int": toInt, "float": toFloat, "abs": absolute, "round": round, "indent": indent,
		"tojson": toJSON, "items": pairs, "dictsort": dictsort,
		"format": func(r *renderer, v any, a arguments) (any, error) {
			return formatPercent(str(v), Tuple(a.args))
		},
	}
}

func title(s string) string {
	var b strings.Builder
	inside := false
	for _, r := range s {
		if inside {
			r = unicode.ToLower(r)
		} else {
			r = unicode.ToTitle(r)
		}
		inside = unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\''
		b.WriteRune(r)
	}
	return b.String()
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + strings.ToLower(s[n:])
}

// strip is Python's strip, lstrip and rstrip.
func strip(s string, chars any, left, right bool) (any, error) {
	in := unicode.IsSpace
	if chars != nil {
		set, ok := chars.(string)
		if !ok {
			return nil, errorf("strip takes a string, not a %s", typeName(chars))
		}
		in = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, in)
	}
	if right {
		s = strings.TrimRightFunc(s, in)
	}
	return s, nil
}

func length(_ *renderer, v any, _ arguments) (any, error) {
	if s, ok := v.(string); ok {
		return int64(utf8.RuneCountInString(s)), nil
	}
	list, err := items(v)
	return int64(len(list)), err
}

func join(r *renderer, list []any, a arguments) (any, error) {
	between := str(a.get(0, "d", ""))
	if key := a.get(1, "attribute", nil); key != nil {
		var err error
		if list, err = attributes(r, list, str(key)); err != nil {
			return nil, err
		}
	}
	parts, total := make([]string, len(list)), 0
	for i, v := range list {
		parts[i] = str(v)
		if total += len(parts[i]) + len(between); total > maxOutput {
			return nil, errorf("the text is over %d bytes", maxOutput)
		}
	}
	return strings.Join(parts, between), r.step(total / 64)
}

// attributes takes a dotted attribute of each element.
func attributes(r *renderer, list []any, path string) ([]any, error) {
	out := make([]any, len(list))
	for i, v := range list {
		for _, key := range strings.Split(path, ".") {
			var err error
			var k any = key
			if n, bad := strconv.ParseInt(key, 10, 64); bad == nil {
				k = n
			}
			if v, err = r.subscript(v, k); err != nil {
				return nil, err
			}
		}
		out[i] = v
	}
	return out, nil
}

func mapped(r *renderer, list []any, a arguments) (any, error) {
	if key := a.named["attribute"]; key != nil && len(a.args) == 0 {
		out, err := attributes(r, list, str(key))
		if otherwise, ok := a.named["default"]; ok {
			for i, v := range out {
				if _, missing := v.(undefined); missing {
					out[i] = otherwise
				}
			}
		}
		return List(out), err
	}
	if len(a.args) == 0 || filters[str(a.args[0])] == nil {
		return nil, errorf("map takes a filter's name or attribute")
	}
	out := make(List, len(list))
	for i, v := range list {
		var err error
		if out[i], err = r.filter(str(a.args[0]), v, a.args[1:], a.named); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func selected(byAttribute, keep bool) func(*renderer, []any, arguments) (any, error) {
	return func(r *renderer, list []any, a arguments) (any, error) {
		values, args := list, a.args
		if byAttribute {
			if len(args) == 0 {
				return nil, errorf("selectattr takes an attribute")
			}
			var err error
			if values, err = attributes(r, list, str(args[0])); err != nil {
				return nil, err
			}
			args = args[1:]
		}
		out := List{}
		for i, v := range values {
			ok := truth(v)
			if len(args) > 0 {
				f := tests[str(args[0])]
				if f == nil {
					return nil, errorf("there is no test %q", str(args[0]))
				}
				var err error
				if ok, err = f(v, args[1:]); err != nil {
					return nil, err
				}
			}
			if ok == keep {
				out = append(out, list[i])
			}
		}
		return out, nil
	}
}

// folded makes strings equal that differ in case alone, as sort and unique do.
func folded(v any, a arguments, at int) any {
	if s, ok := v.(string); ok && !truth(a.get(at, "case_sensitive", false)) {
		return strings.ToLower(s)
	}
	return v
}

func sorted(r *renderer, list []any, a arguments) (any, error) {
	keys := list
	if key := a.get(2, "attribute", nil); key != nil {
		var err error
		if keys, err = attributes(r, list, str(key)); err != nil {
			return nil, err
		}
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	var failed error
	slices.SortStableFunc(order, func(i, j int) int {
		c, err := compare(folded(keys[i], a, 1), folded(keys[j], a, 1))
		if err != nil {
			failed = err
		}
		if truth(a.get(0, "reverse", false)) {
			c = -c
		}
		return c
	})
	out := make(List, len(list))
	for i, from := range order {
		out[i] = list[from]
	}
	return out, failed
}

func unique(r *renderer, list []any, a arguments) (any, error) {
	out := List{}
	for _, v := range list {
		same := func(other any) bool { return equal(folded(other, a, 0), folded(v, a, 0)) }
		if !slices.ContainsFunc(out, same) {
			out = append(out, v)
		}
		if err := r.step(len(out)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func extreme(sign int) func(*renderer, []any, arguments) (any, error) {
	return func(_ *renderer, list []any, _ arguments) (any, error) {
		if len(list) == 0 {
			return undefined{"the extreme of nothing"}, nil
		}
		best := list[0]
		for _, v := range list[1:] {
			c, err := compare(v, best)
			if err != nil {
				return nil, err
			}
			if c*sign > 0 {
				best = v
			}
		}
		return best, nil
	}
}

func replace(r *renderer, s string, before, after, count any) (any, error) {
	from, to := str(before), str(after)
	n := int64(-1)
	if c, ok := integer(count); ok {
		n = c
	}
	found := strings.Count(s, from)
	if n >= 0 {
		found = min(found, int(min(n, int64(len(s)+1))))
	}
	if len(to) > len(from) && found > 0 && len(to)-len(from) > maxOutput/found {
		return nil, errorf("the text is over %d bytes", maxOutput)
	}
	return strings.Replace(s, from, to, int(n)), r.step(len(s) / 64)
}

func otherwise(_ *renderer, v any, a arguments) (any, error) {
	_, missing := v.(undefined)
	if missing || truth(a.get(1, "boolean", false)) && !truth(v) {
		return a.get(0, "default_value", ""), nil
	}
	return v, nil
}

func toInt(_ *renderer, v any, a arguments) (any, error) {
	if f, ok := number(v); ok && math.Abs(f) < 1<<62 {
		if n, ok := integer(v); ok {
			return n, nil
		}
		return int64(f), nil
	}
	if s, ok := v.(string); ok {
		s = strings.TrimSpace(s)
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
			return int64(f), nil
		}
	}
	return a.get(0, "default", int64(0)), nil
}

func toFloat(_ *renderer, v any, a arguments) (any, error) {
	if f, ok := number(v); ok {
		return f, nil
	}
	if s, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			return f, nil
		}
	}
	return a.get(0, "default", 0.0), nil
}

func absolute(_ *renderer, v any, _ arguments) (any, error) {
	if n, ok := integer(v); ok {
		return max(n, -n), nil
	}
	if f, ok := v.(float64); ok {
		return math.Abs(f), nil
	}
	return nil, errorf("abs of a %s", typeName(v))
}

func round(_ *renderer, v any, a arguments) (any, error) {
	f, ok := number(v)
	precision, isInt := integer(a.get(0, "precision", int64(0)))
	if !ok || !isInt {
		return nil, errorf("round of a %s", typeName(v))
	}
	switch method := str(a.get(1, "method", "common")); method {
	case "ceil", "floor":
		scale := math.Pow(10, float64(precision))
		if method == "ceil" {
			return math.Ceil(f*scale) / scale, nil
		}
		return math.Floor(f*scale) / scale, nil
	}
	if precision < 0 || precision > 300 {
		scale := math.Pow(10, float64(precision))
		return math.RoundToEven(f*scale) / scale, nil
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(precision), 64), 64)
	return rounded, err
}

func indent(_ *renderer, v any, a arguments) (any, error) {
	by := a.get(0, "width", int64(4))
	pad, ok := by.(string)
	if n, isInt := integer(by); isInt && n >= 0 && n < 1<<10 {
		pad, ok = strings.Repeat(" ", int(n)), true
	}
	s := str(v)
	if !ok || strings.Count(s, "\n")*len(pad) > maxOutput {
		return nil, errorf("indent takes a width or a string")
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if (i > 0 || truth(a.get(1, "first", false))) &&
			(line != "" || truth(a.get(2, "blank", false))) {
			lines[i] = pad + line
		}
	}
	return strings.Join(lines, "\n"), nil
}

// toJSON is transformers' tojson, which is json.dumps without escapes of HTML.
func toJSON(r *renderer, v any, a arguments) (any, error) {
	s := jsonStyle{item: ", ", key: ": "}
	s.ascii = truth(a.get(0, "ensure_ascii", false))
	switch by := a.get(1, "indent", nil).(type) {
	case nil:
	case string:
		s.indent, s.pretty = by, true
	default:
		n, ok := integer(by)
		if !ok || n > 1<<10 {
			return nil, errorf("tojson: indent is a %s", typeName(by))
		}
		s.indent, s.pretty = strings.Repeat(" ", int(max(n, 0))), true
	}
	if s.pretty {
		s.item = ","
	}
	if separators := a.get(2, "separators", nil); separators != nil {
		list, err := items(separators)
		if err != nil || len(list) != 2 {
			return nil, errorf("tojson: separators are two strings")
		}
		s.item, s.key = str(list[0]), str(list[1])
	}
	s.sort = truth(a.get(3, "sort_keys", false))
	var b strings.Builder
	if err := s.write(&b, v, ""); err != nil {
		return nil, err
	}
	return b.String(), r.step(b.Len() / 64)
}

func pairs(_ *renderer, v any, _ arguments) (any, error) {
	switch d := v.(type) {
	case undefined:
		return List{}, nil
	case *Dict:
		return d.pairs(), nil
	}
	return nil, errorf("a %s has no items", typeName(v))
}

func (d *Dict) pairs() List {
	out := List{}
	for _, k := range d.keys {
		out = append(out, Tuple{k, d.values[k]})
	}
	return out
}

func dictsort(_ *renderer, v any, a arguments) (any, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, errorf("dictsort of a %s", typeName(v))
	}
	by := 0
	if str(a.get(1, "by", "key")) == "value" {
		by = 1
	}
	out := d.pairs()
	var failed error
	slices.SortStableFunc(out, func(x, y any) int {
		c, err := compare(folded(x.(Tuple)[by], a, 0), folded(y.(Tuple)[by], a, 0))
		if err != nil {
			failed = err
		}
		if truth(a.get(2, "reverse", false)) {
			c = -c
		}
		return c
	})
	return out, failed
}
