package jinja

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// builtins are the functions that every template has: Jinja's and those that transformers adds.
func builtins(r *renderer) map[string]any {
	return map[string]any{
		"range": Function(func(args []any, _ map[string]any) (any, error) {
			var n [3]int64
			for i, a := range args {
				v, ok := integer(a)
				if !ok || i > 2 {
					return nil, errorf("range takes one to three ints")
				}
				n[i] = v
			}
			switch len(args) {
			case 0:
				return nil, errorf("range takes one to three ints")
			case 1:
				n = [3]int64{0, n[0], 1}
			case 2:
				n[2] = 1
			}
			if n[2] == 0 {
				return nil, errorf("a range steps by 0")
			}
			out := List{}
			for v := n[0]; n[2] > 0 && v < n[1] || n[2] < 0 && v > n[1]; v += n[2] {
				if out = append(out, v); len(out) > maxRange {
					return nil, errorf("a range is over %d long", maxRange)
				}
			}
			return out, r.step(len(out))
		}),
		"dict": Function(func(args []any, named map[string]any) (any, error) {
			return dictOf(args, named)
		}),
		"namespace": Function(newNamespace),
		"raise_exception": Function(func(args []any, _ map[string]any) (any, error) {
			message := ""
			if len(args) > 0 {
				message = str(args[0])
			}
			return nil, &raised{message}
		}),
		"strftime_now": Function(func(args []any, _ map[string]any) (any, error) {
			if len(args) != 1 {
				return nil, errorf("strftime_now takes a format")
			}
			return strftime(str(args[0]), time.Now())
		}),
	}
}

// raised is an error of raise_exception.
type raised struct{ message string }

func (e *raised) Error() string { return ErrRaised.Error() + ": " + e.message }
func (e *raised) Unwrap() error { return ErrRaised }

func newNamespace(args []any, named map[string]any) (any, error) {
	d, err := dictOf(args, named)
	return namespace{d}, err
}

// dictOf is Python's dict(). The order of named arguments is that of their names.
func dictOf(args []any, named map[string]any) (*Dict, error) {
	d := NewDict()
	if len(args) > 1 {
		return nil, errorf("dict takes one dict at most")
	}
	for _, a := range args {
		from, ok := a.(*Dict)
		if !ok {
			return nil, errorf("dict of a %s", typeName(a))
		}
		for _, k := range from.keys {
			d.Set(k, from.values[k])
		}
	}
	for _, k := range sortedKeys(named) {
		d.Set(k, named[k])
	}
	return d, nil
}

// method returns a method of a string, a list or a dict; nil where it has none of that name. What
// changes a value is left out, as in Jinja's immutable sandbox.
func (r *renderer) method(of any, name string) any {
	var f func(a arguments) (any, error)
	switch v := of.(type) {
	case string:
		f = r.stringMethod(v, name)
	case *Dict:
		f = r.dictMethod(v, name)
	case List:
		f = listMethod(v, name)
	case Tuple:
		f = listMethod(v, name)
	}
	if f == nil {
		return nil
	}
	return Function(func(args []any, named map[string]any) (any, error) {
		if err := r.step(1); err != nil {
			return nil, err
		}
		return f(arguments{args, named})
	})
}

func (r *renderer) dictMethod(d *Dict, name string) func(arguments) (any, error) {
	switch name {
	case "get":
		return func(a arguments) (any, error) {
			if v, ok := d.Get(a.get(0, "key", nil)); ok {
				return v, nil
			}
			return a.get(1, "default", nil), nil
		}
	case "items":
		return func(arguments) (any, error) { return d.pairs(), r.step(len(d.keys)) }
	case "keys":
		return func(arguments) (any, error) { return append(List{}, d.keys...), nil }
	case "values":
		return func(arguments) (any, error) {
			out := List{}
			for _, k := range d.keys {
				out = append(out, d.values[k])
			}
			return out, nil
		}
	case "copy":
		return func(arguments) (any, error) { return dictOf([]any{d}, nil) }
	}
	return nil
}

func listMethod(list []any, name string) func(arguments) (any, error) {
	switch name {
	case "index", "count":
		return func(a arguments) (any, error) {
			n := int64(0)
			for i, v := range list {
				if equal(v, a.get(0, "", nil)) {
					if name == "index" {
						return int64(i), nil
					}
					n++
				}
			}
			if name == "index" {
				return nil, errorf("%s is not in the list", repr(a.get(0, "", nil)))
			}
			return n, nil
		}
	case "copy":
		return func(arguments) (any, error) { return append(List{}, list...), nil }
	}
	return nil
}

func (r *renderer) stringMethod(s, name string) func(arguments) (any, error) {
	text := func(f func(string) string) func(arguments) (any, error) {
		return func(arguments) (any, error) { return f(s), r.step(len(s) / 64) }
	}
	is := func(f func(rune) bool) func(arguments) (any, error) {
		return func(arguments) (any, error) {
			return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0, nil
		}
	}
	affix := func(f func(s, affix string) bool) func(arguments) (any, error) {
		return func(a arguments) (any, error) {
			switch v := a.get(0, "", nil).(type) {
			case string:
				return f(s, v), nil
			case Tuple:
				for _, one := range v {
					if f(s, str(one)) {
						return true, nil
					}
				}
				return false, nil
			default:
				return nil, errorf("%s takes a string, not a %s", name, typeName(v))
			}
		}
	}
	switch name {
	case "upper":
		return text(strings.ToUpper)
	case "lower":
		return text(strings.ToLower)
	case "title":
		return text(title)
	case "capitalize":
		return text(capitalize)
	case "strip", "lstrip", "rstrip":
		return func(a arguments) (any, error) {
			return strip(s, a.get(0, "chars", nil), name != "rstrip", name != "lstrip")
		}
	case "startswith":
		return affix(strings.HasPrefix)
	case "endswith":
		return affix(strings.HasSuffix)
	case "removeprefix":
		return func(a arguments) (any, error) { return strings.TrimPrefix(s, str(a.get(0, "", ""))), nil }
	case "removesuffix":
		return func(a arguments) (any, error) { return strings.TrimSuffix(s, str(a.get(0, "", ""))), nil }
	case "isdigit", "isnumeric", "isdecimal":
		return is(unicode.IsDigit)
	case "isalpha":
		return is(unicode.IsLetter)
	case "isalnum":
		return is(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) })
	case "isspace":
		return is(unicode.IsSpace)
	case "isupper":
		return func(arguments) (any, error) { return tests["upper"](s, nil) }
	case "islower":
		return func(arguments) (any, error) { return tests["lower"](s, nil) }
	case "replace":
		return func(a arguments) (any, error) {
			return replace(r, s, a.get(0, "old", ""), a.get(1, "new", ""), a.get(2, "count", nil))
		}
	case "find", "rfind", "index":
		return func(a arguments) (any, error) {
			at := strings.Index(s, str(a.get(0, "", "")))
			if name == "rfind" {
				at = strings.LastIndex(s, str(a.get(0, "", "")))
			}
			if at < 0 && name == "index" {
				return nil, errorf("substring not found")
			}
			if at > 0 {
				at = utf8.RuneCountInString(s[:at])
			}
			return int64(at), nil
		}
	case "count":
		return func(a arguments) (any, error) { return int64(strings.Count(s, str(a.get(0, "", "")))), nil }
	case "join":
		return func(a arguments) (any, error) {
			list, err := items(a.get(0, "", nil))
			if err != nil {
				return nil, err
			}
			return join(r, list, arguments{args: []any{s}})
		}
	case "split", "rsplit":
		return func(a arguments) (any, error) { return r.split(s, a, name == "rsplit") }
	case "splitlines":
		return func(arguments) (any, error) {
			out := List{}
			for line := range strings.Lines(s) {
				out = append(out, strings.TrimSuffix(line, "\n"))
			}
			return out, r.step(len(out))
		}
	case "partition", "rpartition":
		return func(a arguments) (any, error) {
			sep := str(a.get(0, "sep", ""))
			at := strings.Index(s, sep)
			if name == "rpartition" {
				at = strings.LastIndex(s, sep)
			}
			switch {
			case sep == "":
				return nil, errorf("empty separator")
			case at >= 0:
				return Tuple{s[:at], sep, s[at+len(sep):]}, nil
			case name == "partition":
				return Tuple{s, "", ""}, nil
			}
			return Tuple{"", "", s}, nil
		}
	}
	return nil
}

// split is Python's split and rsplit.
func (r *renderer) split(s string, a arguments, fromRight bool) (any, error) {
	most := int64(-1)
	if n, ok := integer(a.get(1, "maxsplit", int64(-1))); ok {
		most = n
	}
	var parts []string
	switch sep := a.get(0, "sep", nil).(type) {
	case nil:
		parts = strings.Fields(s)
		if most >= 0 && int64(len(parts)) > most+1 {
			return nil, errorf("%q is split at white space everywhere or not at all", s)
		}
	case string:
		if sep == "" {
			return nil, errorf("empty separator")
		}
		parts = strings.Split(s, sep)
		if extra := len(parts) - 1 - int(min(most, int64(len(parts)))); most >= 0 && extra > 0 {
			if n := len(parts); fromRight {
				parts = append([]string{strings.Join(parts[:extra+1], sep)}, parts[extra+1:]...)
			} else {
				parts = append(parts[:n-extra-1], strings.Join(parts[n-extra-1:], sep))
			}
		}
	default:
		return nil, errorf("split takes a string, not a %s", typeName(sep))
	}
	out := make(List, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out, r.step(len(out))
}
