package jinja

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

type (
	// List and Tuple are Python's.
	List  []any
	Tuple []any
	// Function is a function that a template can call.
	Function func(args []any, named map[string]any) (any, error)
	// Dict keeps its keys in the order in which they were set, as Python's does.
	Dict struct {
		keys   []any
		values map[any]any
	}
	// undefined is what a name or a key that is not there gives.
	undefined struct{ name string }
	// namespace is an object whose attributes a template may set.
	namespace struct{ *Dict }
)

// NewDict returns a Dict of pairs: key, value, key, value ...
func NewDict(pairs ...any) *Dict {
	d := &Dict{values: map[any]any{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.Set(pairs[i], pairs[i+1])
	}
	return d
}

// Set sets a value; key is a string, number or bool.
func (d *Dict) Set(key, value any) {
	key = hashable(key)
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// Get returns the value of a key.
func (d *Dict) Get(key any) (any, bool) {
	if !isHashable(key) {
		return nil, false
	}
	v, ok := d.values[hashable(key)]
	return v, ok
}

// Each calls f with each key and value, in the order in which they were set.
func (d *Dict) Each(f func(key, value any)) {
	for _, key := range d.keys {
		f(key, d.values[key])
	}
}

func isHashable(key any) bool {
	switch key.(type) {
	case nil, bool, int64, float64, string:
		return true
	}
	return false
}

// hashable makes keys that are equal in Python one key.
func hashable(key any) any {
	switch k := key.(type) {
	case bool:
		if k {
			return int64(1)
		}
		return int64(0)
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int64(k)
		}
	}
	return key
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case List:
		return len(v) > 0
	case Tuple:
		return len(v) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

// number returns the value of an int, a float or a bool.
func number(v any) (f float64, ok bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// integer returns the value of an int or a bool.
func integer(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case string:
		y, ok := b.(string)
		return ok && x == y
	case undefined:
		_, ok := b.(undefined)
		return ok
	case List:
		y, ok := b.(List)
		return ok && slices.EqualFunc(x, y, equal)
	case Tuple:
		y, ok := b.(Tuple)
		return ok && slices.EqualFunc(x, y, equal)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || len(x.keys) != len(y.keys) {
			return false
		}
		for _, k := range x.keys {
			if v, ok := y.values[k]; !ok || !equal(x.values[k], v) {
				return false
			}
		}
		return true
	}
	return false
}

// compare orders two values; Python orders numbers, strings and sequences.
func compare(a, b any) (int, error) {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return cmp.Compare(x, y), nil
		}
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y), nil
		}
	case List:
		if y, ok := b.(List); ok {
			return compareAll(x, y)
		}
	case Tuple:
		if y, ok := b.(Tuple); ok {
			return compareAll(x, y)
		}
	}
	return 0, errorf("a %s and a %s have no order", typeName(a), typeName(b))
}

func compareAll(a, b []any) (int, error) {
	for i := range min(len(a), len(b)) {
		if !equal(a[i], b[i]) {
			return compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b)), nil
}

func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case undefined:
		return fmt.Sprintf("value that is undefined (%s)", v.name)
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "string"
	case List:
		return "list"
	case Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case namespace:
		return "namespace"
	}
	return "function"
}

// items returns the elements that iterating over a value gives.
func items(v any) ([]any, error) {
	switch v := v.(type) {
	case List:
		return v, nil
	case Tuple:
		return v, nil
	case undefined:
		return nil, nil
	case *Dict:
		return v.keys, nil
	case string:
		var out []any
		for _, r := range v {
			out = append(out, string(r))
		}
		return out, nil
	}
	return nil, errorf("a %s has no elements", typeName(v))
}

// str is Python's str(). What is longer than maxOutput is cut behind that, and refused where it is
// written.
func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	return repr(v)
}

// repr is Python's repr(), cut as str is.
func repr(v any) string {
	var b strings.Builder
	writeRepr(&b, v)
	return b.String()
}

func writeRepr(b *strings.Builder, v any) {
	list := func(of []any) {
		for i, item := range of {
			if i > 0 {
				b.WriteString(", ")
			}
			if writeRepr(b, item); b.Len() > maxOutput {
				return
			}
		}
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(reprFloat(v))
	case string:
		b.WriteString(reprString(v))
	case undefined:
		b.WriteString("Undefined")
	case List:
		b.WriteByte('[')
		list(v)
		b.WriteByte(']')
	case Tuple:
		b.WriteByte('(')
		list(v)
		if len(v) == 1 {
			b.WriteByte(',')
		}
		b.WriteByte(')')
	case *Dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, k)
			b.WriteString(": ")
			if writeRepr(b, v.values[k]); b.Len() > maxOutput {
				return
			}
		}
		b.WriteByte('}')
	case namespace:
		b.WriteString("<Namespace>")
	default:
		b.WriteString("<function>")
	}
}

// weigh counts the values inside a value, so that none is too large to be compared or printed, too
// deep, or inside of itself.
func weigh(v any, depth int, n *int) error {
	if *n++; *n > maxRange || depth > maxDepth/2 {
		return errorf("a value is too large")
	}
	list, _ := v.(List)
	switch v := v.(type) {
	case Tuple:
		list = List(v)
	case namespace:
		if depth > 0 {
			return errorf("a namespace inside of a value")
		}
	case *Dict:
		for _, item := range v.values {
			if err := weigh(item, depth+1, n); err != nil {
				return err
			}
		}
	}
	for _, item := range list {
		if err := weigh(item, depth+1, n); err != nil {
			return err
		}
	}
	return nil
}

func reprFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		s := strconv.FormatFloat(f, 'e', -1, 64)
		return s
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func reprString(s string) string {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f || r > 0x7f && r < 0x100 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case r >= 0x100 && r < 0x10000 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case r >= 0x10000 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}
