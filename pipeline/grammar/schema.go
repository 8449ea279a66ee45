package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrSchema is the error of a schema that is damaged, or that asks for what a Grammar cannot hold.
var ErrSchema = errors.New("schema")

// JSON returns the grammar of any JSON value.
func JSON() *Grammar {
	c := &compiler{}
	return c.finish(c.any())
}

// JSONObject returns the grammar of any JSON object.
func JSONObject() *Grammar {
	c := &compiler{}
	return c.finish(c.add(&node{kind: object, extra: c.any()}))
}

// Schema returns the grammar of the JSON values that fit a JSON Schema. It takes type (one or several),
// properties, required, additionalProperties, items, enum, const, minLength, maxLength, anyOf, and $ref
// to $defs or definitions of the same schema; title, description, default, examples and $schema say
// nothing about values. Any other keyword is an error that names it and wraps ErrSchema.
//
// Properties are written in the order of the schema. Those without a name there may be written where
// additionalProperties allows it in so many words, or where there are no properties at all.
func Schema(schema []byte) (*Grammar, error) {
	c := &compiler{refs: map[string]*node{}}
	root, err := c.value(schema, "the schema")
	if err != nil {
		return nil, err
	}
	c.root = schema
	for len(c.open) > 0 { // what $ref named, and what that names
		ref := c.open[0]
		c.open = c.open[1:]
		if err := c.resolve(ref); err != nil {
			return nil, err
		}
	}
	if err := c.flatten(); err != nil {
		return nil, err
	}
	g := c.finish(root)
	if g == nil {
		return nil, fmt.Errorf("%w: it refers to itself without an end: no value fits it", ErrSchema)
	}
	return g, nil
}

// compiler makes the nodes of a grammar.
type compiler struct {
	nodes []*node
	root  []byte
	refs  map[string]*node // by $ref
	open  []string         // those whose nodes are not made yet
	depth int
}

func (c *compiler) add(n *node) *node {
	n.id = len(c.nodes)
	c.nodes = append(c.nodes, n)
	return n
}

// finish makes the grammar; nil if a value never ends.
func (c *compiler) finish(root *node) *Grammar {
	g := &Grammar{root: root, nodes: c.nodes}
	if !g.setNeeds() {
		return nil
	}
	return g
}

// any is the node of any value.
func (c *compiler) any() *node {
	all := c.add(&node{kind: either})
	all.nodes = []*node{
		c.add(&node{kind: literals, texts: []string{"false", "null", "true"}}),
		c.text(0, -1),
		c.add(&node{kind: number}),
		c.add(&node{kind: object, extra: all}),
		c.add(&node{kind: array, items: all}),
	}
	return all
}

func (c *compiler) text(least, most int) *node {
	return c.add(&node{kind: text, least: least, most: most})
}

// silent are keywords that say nothing about values.
var silent = []string{"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions"}

// maxDepth bounds schemas inside of schemas.
const maxDepth = 64

// maxNodes bounds the size of a schema.
const maxNodes = 4096

// member is a key of a JSON object and its value.
type member struct {
	key   string
	value json.RawMessage
}

// members reads a JSON object with its keys in their order.
func members(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	token, err := d.Token()
	if err != nil || token != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	var list []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: key.(string)}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(o member) bool { return o.key == m.key }) {
			return nil, fmt.Errorf("it has the key %q twice", m.key)
		}
		list = append(list, m)
	}
	return list, nil
}

// find returns the value of a key; nil without one.
func find(list []member, key string) json.RawMessage {
	for _, m := range list {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// value makes the node of a schema; where says which it is, for errors.
func (c *compiler) value(data []byte, where string) (*node, error) {
	fail := func(format string, args ...any) (*node, error) {
		return nil, fmt.Errorf("%w: in %s: %w", ErrSchema, where, fmt.Errorf(format, args...))
	}
	if c.depth++; c.depth > maxDepth || len(c.nodes) > maxNodes {
		return fail("it is too large: at most %d schemas, %d deep", maxNodes, maxDepth)
	}
	defer func() { c.depth-- }()
	switch string(bytes.TrimSpace(data)) {
	case "true":
		return c.any(), nil
	case "false":
		return fail("false allows no value")
	}
	list, err := members(data)
	if err != nil {
		return fail("%w", err)
	}
	list = slices.DeleteFunc(list, func(m member) bool { return slices.Contains(silent, m.key) })
	if ref := find(list, "$ref"); ref != nil {
		return c.ref(list, ref, where)
	}
	if some := find(list, "anyOf"); some != nil {
		if len(list) > 1 {
			return fail("anyOf stands beside %q; put that into each of its schemas", besides(list, "anyOf"))
		}
		return c.anyOf(some, where)
	}
	if find(list, "enum") != nil || find(list, "const") != nil {
		return c.enum(list, where)
	}
	return c.typed(list, where)
}

// besides names a keyword other than one.
func besides(list []member, key string) string {
	for _, m := range list {
		if m.key != key {
			return m.key
		}
	}
	return ""
}

// ref makes, or finds, the node of a $ref.
func (c *compiler) ref(list []member, value json.RawMessage, where string) (*node, error) {
	var ref string
	err := json.Unmarshal(value, &ref)
	local := ref == "#" || strings.HasPrefix(ref, "#/$defs/") || strings.HasPrefix(ref, "#/definitions/")
	if err != nil || !local {
		return nil, fmt.Errorf("%w: in %s: $ref %s is not one to the schema's own $defs", ErrSchema, where, value)
	}
	if len(list) > 1 {
		return nil, fmt.Errorf("%w: in %s: $ref stands beside %q", ErrSchema, where, besides(list, "$ref"))
	}
	if c.refs[ref] == nil {
		c.refs[ref] = c.add(&node{kind: either}) // of one, which resolve adds
		c.open = append(c.open, ref)
	}
	return c.refs[ref], nil
}

// resolve makes what a $ref refers to.
func (c *compiler) resolve(ref string) error {
	at := json.RawMessage(c.root)
	if ref != "#" {
		for _, part := range strings.Split(ref, "/")[1:] {
			part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
			list, err := members(at)
			if err == nil {
				at = find(list, part)
			}
			if err != nil || at == nil {
				return fmt.Errorf("%w: there is no %s", ErrSchema, ref)
			}
		}
	}
	n, err := c.value(at, ref)
	if err != nil {
		return err
	}
	c.refs[ref].nodes = []*node{n}
	return nil
}

func (c *compiler) anyOf(value json.RawMessage, where string) (*node, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil || len(list) == 0 {
		return nil, fmt.Errorf("%w: in %s: anyOf is not a list of schemas", ErrSchema, where)
	}
	n := c.add(&node{kind: either})
	for i, one := range list {
		o, err := c.value(one, fmt.Sprintf("anyOf %d of %s", i, where))
		if err != nil {
			return nil, err
		}
		n.nodes = append(n.nodes, o)
	}
	return n, nil
}

// flatten puts into each either-node what the either-nodes inside it have, and refuses those that have
// nothing but themselves.
func (c *compiler) flatten() error {
	for _, n := range c.nodes {
		if n.kind != either {
			continue
		}
		var flat []*node
		seen := map[*node]bool{n: true}
		list := slices.Clone(n.nodes)
		for len(list) > 0 {
			o := list[0]
			list = list[1:]
			switch {
			case seen[o]:
			case o.kind == either:
				list = append(list, o.nodes...)
			default:
				flat = append(flat, o)
			}
			seen[o] = true
		}
		if len(flat) == 0 {
			return fmt.Errorf("%w: it refers to nothing but itself", ErrSchema)
		}
		n.nodes = flat
	}
	return nil
}
