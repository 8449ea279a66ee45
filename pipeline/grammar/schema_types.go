package grammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// enum makes the node of fixed values: those of enum or const that have the type, if there is one.
func (c *compiler) enum(list []member, where string) (*node, error) {
	fail := func(format string, args ...any) (*node, error) {
		return nil, fmt.Errorf("%w: in %s: %w", ErrSchema, where, fmt.Errorf(format, args...))
	}
	for _, m := range list {
		if m.key != "enum" && m.key != "const" && m.key != "type" {
			return fail("the keyword %q beside fixed values is not supported", m.key)
		}
	}
	var values []any
	if one := find(list, "const"); one != nil {
		values = append(values, one)
	}
	if some := find(list, "enum"); some != nil {
		var list []json.RawMessage
		if err := json.Unmarshal(some, &list); err != nil || len(values) > 0 {
			return fail("enum is not a list, or stands beside const")
		}
		for _, v := range list {
			values = append(values, v)
		}
	}
	types, err := typesOf(list)
	if err != nil {
		return fail("%w", err)
	}
	n := &node{kind: literals}
	for _, v := range values {
		var value any
		d := json.NewDecoder(bytes.NewReader(v.(json.RawMessage)))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			return fail("%w", err)
		}
		written, kind := literal(value)
		if written == "" {
			return fail("an enum of objects or arrays is not supported")
		}
		if len(types) == 0 || slices.Contains(types, kind) || kind == "integer" && slices.Contains(types, "number") {
			n.texts = append(n.texts, written)
		}
	}
	slices.Sort(n.texts)
	if n.texts = slices.Compact(n.texts); len(n.texts) == 0 {
		return fail("no value of the enum has the type")
	}
	return c.add(n), nil
}

// literal writes a value without parts as JSON, and names its type.
func literal(value any) (written, kind string) {
	switch v := value.(type) {
	case nil:
		return "null", "null"
	case bool:
		return strconv.FormatBool(v), "boolean"
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && !strings.ContainsAny(v.String(), ".eE") {
			return v.String(), "integer"
		}
		return v.String(), "number"
	case string:
		return quoted(v), "string"
	}
	return "", ""
}

// quoted writes a string as JSON, with no more escapes than it needs.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

// typesOf reads the keyword type, a name or a list of names; none where it is not there.
func typesOf(list []member) ([]string, error) {
	value := find(list, "type")
	if value == nil {
		return nil, nil
	}
	var one string
	var types []string
	if json.Unmarshal(value, &one) == nil {
		types = []string{one}
	} else if err := json.Unmarshal(value, &types); err != nil || len(types) == 0 {
		return nil, fmt.Errorf("type is %s, not a name or a list of names", value)
	}
	for _, t := range types {
		if keywords[t] == nil {
			return nil, fmt.Errorf("there is no type %q", t)
		}
	}
	return types, nil
}

// keywords are those of each type.
var keywords = map[string][]string{
	"object":  {"properties", "required", "additionalProperties"},
	"array":   {"items"},
	"string":  {"minLength", "maxLength"},
	"number":  {},
	"integer": {},
	"boolean": {},
	"null":    {},
}

// typed makes the node of a schema without fixed values. Without a type, it is what its keywords are of,
// or any value.
func (c *compiler) typed(list []member, where string) (*node, error) {
	fail := func(format string, args ...any) (*node, error) {
		return nil, fmt.Errorf("%w: in %s: %w", ErrSchema, where, fmt.Errorf(format, args...))
	}
	types, err := typesOf(list)
	if err != nil {
		return fail("%w", err)
	}
	if len(types) == 0 {
		for _, name := range []string{"object", "array", "string"} {
			if slices.ContainsFunc(list, func(m member) bool { return slices.Contains(keywords[name], m.key) }) {
				types = append(types, name)
			}
		}
	}
	for _, m := range list {
		known := m.key == "type" || slices.ContainsFunc(types, func(t string) bool { return slices.Contains(keywords[t], m.key) })
		if !known {
			return fail("the keyword %q is not supported", m.key)
		}
	}
	if len(types) == 0 {
		return c.any(), nil
	}
	var nodes []*node
	for _, t := range types {
		n, err := c.ofType(t, list, where)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	if len(nodes) == 1 {
		return nodes[0], nil
	}
	return c.add(&node{kind: either, nodes: nodes}), nil
}

func (c *compiler) ofType(name string, list []member, where string) (*node, error) {
	switch name {
	case "object":
		return c.object(list, where)
	case "array":
		n := c.add(&node{kind: array})
		items := find(list, "items")
		if items == nil {
			n.items = c.any()
			return n, nil
		}
		var err error
		n.items, err = c.value(items, "the items of "+where)
		return n, err
	case "string":
		return c.textOf(list, where)
	case "boolean":
		return c.add(&node{kind: literals, texts: []string{"false", "true"}}), nil
	case "null":
		return c.add(&node{kind: literals, texts: []string{"null"}}), nil
	}
	return c.add(&node{kind: number, whole: name == "integer"}), nil
}

// textOf makes the node of a string.
func (c *compiler) textOf(list []member, where string) (*node, error) {
	bound := func(key string, without int) (int, error) {
		value := find(list, key)
		if value == nil {
			return without, nil
		}
		var n float64
		if err := json.Unmarshal(value, &n); err != nil || n < 0 || n != math.Trunc(n) || n > 1<<20 {
			return 0, fmt.Errorf("%w: in %s: %s is %s, not a number of characters from 0 to %d",
				ErrSchema, where, key, value, 1<<20)
		}
		return int(n), nil
	}
	least, err := bound("minLength", 0)
	if err != nil {
		return nil, err
	}
	most, err := bound("maxLength", -1)
	if err != nil {
		return nil, err
	}
	if most >= 0 && most < least {
		return nil, fmt.Errorf("%w: in %s: maxLength is less than minLength", ErrSchema, where)
	}
	return c.text(least, most), nil
}

// object makes the node of an object.
func (c *compiler) object(list []member, where string) (*node, error) {
	fail := func(format string, args ...any) (*node, error) {
		return nil, fmt.Errorf("%w: in %s: %w", ErrSchema, where, fmt.Errorf(format, args...))
	}
	n := c.add(&node{kind: object})
	var required []string
	if value := find(list, "required"); value != nil {
		if err := json.Unmarshal(value, &required); err != nil {
			return fail("required is not a list of names")
		}
	}
	if value := find(list, "properties"); value != nil {
		named, err := members(value)
		if err != nil {
			return fail("properties: %w", err)
		}
		for _, m := range named {
			p := property{key: quoted(m.key), required: slices.Contains(required, m.key)}
			if p.node, err = c.value(m.value, fmt.Sprintf("property %q of %s", m.key, where)); err != nil {
				return nil, err
			}
			n.properties = append(n.properties, p)
		}
	}
	for _, name := range required {
		if !slices.ContainsFunc(n.properties, func(p property) bool { return p.key == quoted(name) }) {
			return fail("the required property %q has no schema in properties", name)
		}
	}
	var err error
	switch extra := find(list, "additionalProperties"); string(extra) {
	case "false":
	case "":
		if len(n.properties) == 0 {
			n.extra = c.any()
		}
	default:
		n.extra, err = c.value(extra, "additionalProperties of "+where)
	}
	return n, err
}
