package jinja

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// strftime is Python's, in the C locale.
func strftime(format string, t time.Time) (string, error) {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
		'B': "January", 'b': "Jan", 'A': "Monday", 'a': "Mon", 'y': "06", 'j': "002", 'Z': "MST",
		'z': "-0700", 'F': "2006-01-02",
		'T': "15:04:05", 'e': "_2", 'D': "01/02/06", 'h': "Jan", 'R': "15:04",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		unpadded := format[i] == '-' && i+1 < len(format)
		if unpadded {
			i++
		}
		switch layout, ok := layouts[format[i]]; {
		case format[i] == '%':
			b.WriteByte('%')
		case ok && unpadded:
			text := strings.TrimLeft(t.Format(layout), "0 ")
			if text == "" {
				text = "0"
			}
			b.WriteString(text)
		case ok:
			b.WriteString(t.Format(layout))
		default:
			return "", fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		}
	}
	return b.String(), nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// formatPercent is the operator % of strings: %s, %r, %d, %i, %f, %x with flags, width and
// precision.
func formatPercent(format string, v any) (any, error) {
	args, ok := v.(Tuple)
	if !ok {
		args = Tuple{v}
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		end := i + 1
		for end < len(format) && strings.IndexByte("0123456789.-+ #", format[end]) >= 0 {
			end++
		}
		if end == len(format) || end-i > 8 {
			return nil, errorf("%q is no format", format)
		}
		verb := format[end]
		if verb == '%' {
			b.WriteByte('%')
			i = end
			continue
		}
		if len(args) == 0 {
			return nil, errorf("not enough values for the format %q", format)
		}
		arg := args[0]
		args = args[1:]
		switch verb {
		case 's':
			arg = str(arg)
		case 'r':
			arg, verb = repr(arg), 's'
		case 'd', 'i', 'x':
			f, ok := number(arg)
			if !ok {
				return nil, errorf("a %s where the format %q wants a number", typeName(arg), format)
			}
			if arg = int64(f); verb == 'i' {
				verb = 'd'
			}
		case 'f', 'g', 'e':
			f, ok := number(arg)
			if !ok {
				return nil, errorf("a %s where the format %q wants a number", typeName(arg), format)
			}
			arg = f
		default:
			return nil, errorf("%%%c is no format", verb)
		}
		fmt.Fprintf(&b, format[i:end]+string(verb), arg)
		i = end
	}
	if len(args) > 0 {
		return nil, errorf("too many values for the format %q", format)
	}
	return b.String(), nil
}
