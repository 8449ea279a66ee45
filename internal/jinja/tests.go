package jinja

import "strings"

// tests by name, behind "is".
var tests map[string]func(v any, args []any) (bool, error)

func plain(f func(v any) bool) func(any, []any) (bool, error) {
	return func(v any, _ []any) (bool, error) { return f(v), nil }
}

// withOne makes a test of a function of the value and one argument.
func withOne(f func(v, arg any) (bool, error)) func(any, []any) (bool, error) {
	return func(v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, errorf("the test takes one value")
		}
		return f(v, args[0])
	}
}

func init() {
	is := func(types ...string) func(any, []any) (bool, error) {
		return plain(func(v any) bool {
			for _, t := range types {
				if typeName(v) == t {
					return true
				}
			}
			return false
		})
	}
	missing := func(v any) bool { _, ok := v.(undefined); return ok }
	eq := withOne(func(a, b any) (bool, error) { return equal(a, b), nil })
	ne := withOne(func(a, b any) (bool, error) { return !equal(a, b), nil })
	order := func(op string) func(any, []any) (bool, error) {
		return withOne(func(a, b any) (bool, error) { return new(renderer).holds(op, a, b) })
	}
	parity := func(odd bool) func(any, []any) (bool, error) {
		return func(v any, _ []any) (bool, error) {
			n, ok := integer(v)
			if !ok {
				return false, errorf("a %s is neither odd nor even", typeName(v))
			}
			return n%2 != 0 == odd, nil
		}
	}
	tests = map[string]func(any, []any) (bool, error){
		"defined": plain(func(v any) bool { return !missing(v) }), "undefined": plain(missing),
		"none": is("None"), "string": is("string"), "integer": is("int"), "float": is("float"),
		"boolean": is("bool"), "number": is("int", "float", "bool"), "mapping": is("dict"),
		"true":     plain(func(v any) bool { return v == true }),
		"false":    plain(func(v any) bool { return v == false }),
		"callable": plain(func(v any) bool { _, ok := v.(Function); return ok }),
		"iterable": plain(func(v any) bool { _, err := items(v); return err == nil }),
		"sequence": plain(func(v any) bool { _, err := items(v); return err == nil }),
		"odd":      parity(true), "even": parity(false),
		"divisibleby": withOne(func(a, b any) (bool, error) {
			left, err := arithmetic("%", a, b)
			return equal(left, int64(0)), err
		}),
		"equalto": eq, "eq": eq, "ne": ne, "sameas": withOne(func(a, b any) (bool, error) {
			return typeName(a) == typeName(b) && equal(a, b), nil
		}),
		"lt": order("<"), "lessthan": order("<"), "le": order("<="), "gt": order(">"),
		"greaterthan": order(">"), "ge": order(">="),
		"in": withOne(func(a, b any) (bool, error) { return new(renderer).contains(b, a) }),
		"upper": plain(func(v any) bool {
			return str(v) == strings.ToUpper(str(v)) && str(v) != strings.ToLower(str(v))
		}),
		"lower": plain(func(v any) bool {
			return str(v) == strings.ToLower(str(v)) && str(v) != strings.ToUpper(str(v))
		}),
	}
}
