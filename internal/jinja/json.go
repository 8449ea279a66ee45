package jinja

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DecodeJSON turns JSON into values of templates, with keys in their order.
func DecodeJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return decodeValue(d)
}

func decodeValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case json.Delim:
		if v == '[' {
			list := List{}
			for d.More() {
				item, err := decodeValue(d)
				if err != nil {
					return nil, err
				}
				list = append(list, item)
			}
			_, err := d.Token()
			return list, err
		}
		dict := NewDict()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			if _, ok := key.(string); !ok {
				return nil, fmt.Errorf("%v is no key", key)
			}
			value, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			dict.Set(key, value)
		}
		_, err := d.Token()
		return dict, err
	}
	return token, nil // nil, bool, string
}

// jsonStyle holds the arguments of json.dumps.
type jsonStyle struct {
	indent      string // "" without
	pretty      bool
	item, key   string // separators
	ascii, sort bool
}

// write is Python's json.dumps.
func (s *jsonStyle) write(b *strings.Builder, v any, indent string) error {
	deeper := indent + s.indent
	list := func(open, end string, n int, each func(i int) error) error {
		b.WriteString(open)
		for i := range n {
			if i > 0 {
				b.WriteString(s.item)
			}
			if s.pretty {
				b.WriteString("\n" + deeper)
			}
			if err := each(i); err != nil {
				return err
			}
		}
		if s.pretty && n > 0 {
			b.WriteString("\n" + indent)
		}
		b.WriteString(end)
		return nil
	}
	if b.Len() > maxOutput || len(deeper) > maxOutput {
		return errorf("the text is over %d bytes", maxOutput)
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64, float64:
		switch text := repr(v); text {
		case "nan":
			b.WriteString("NaN")
		case "inf", "-inf":
			b.WriteString(strings.Replace(text, "inf", "Infinity", 1))
		default:
			b.WriteString(text)
		}
	case string:
		s.quote(b, v)
	case List:
		return list("[", "]", len(v), func(i int) error { return s.write(b, v[i], deeper) })
	case Tuple:
		return list("[", "]", len(v), func(i int) error { return s.write(b, v[i], deeper) })
	case *Dict:
		keys := v.keys
		if s.sort {
			keys = slices.Clone(keys)
			slices.SortStableFunc(keys, func(a, b any) int { return cmp.Compare(str(a), str(b)) })
		}
		return list("{", "}", len(keys), func(i int) error {
			text, ok := keys[i].(string)
			if !ok {
				var key strings.Builder
				if err := s.write(&key, keys[i], ""); err != nil {
					return err
				}
				text = key.String()
			}
			s.quote(b, text)
			b.WriteString(s.key)
			return s.write(b, v.values[keys[i]], deeper)
		})
	default:
		return errorf("a %s is no JSON", typeName(v))
	}
	return nil
}

func (s *jsonStyle) quote(b *strings.Builder, text string) {
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\b':
			b.WriteString(`\b`)
		case r < 0x20 || s.ascii && r > 0x7e && r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		case s.ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
