package grammar

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/crossattn/xpipe/internal/sweep"
)

// vocabulary has every byte, and pieces that begin and end in the middle of things.
func vocabulary() *Vocabulary {
	var pieces [][]byte
	for b := range 256 {
		pieces = append(pieces, []byte{byte(b)})
	}
	for _, p := range []string{
		`{"`, `":`, `": "`, `", "`, `"}`, `}}`, `]}`, `[[`, `[{"`, ` the`, "name", "a cat", "猫", "\xe7\x8c", "true", "fal",
		"null", `\u`, `\"`, "12", "0.5", "-1", "e+", ",\n  ", "  ", "\n", "",
	} {
		pieces = append(pieces, []byte(p))
	}
	return NewVocabulary(pieces)
}

var schemas = []string{
	`{"type":"object","properties":{"name":{"type":"string","minLength":3,"maxLength":8},"age":{"type":"integer"}},"required":["name"],"additionalProperties":false}`,
	`{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"boolean"},"c":{"type":["number","string"]}},"required":["c"]}`,
	`{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"number"},{"type":"array","items":{"type":"integer"}}]}}`,
	`{"type":"object","properties":{"labels":{"type":"array","items":{"type":"object","properties":{"name":{"enum":["cat","category","dog","naïve"]},"confidence":{"type":"number"}},"required":["name","confidence"]}}},"required":["labels"]}`,
	`{"type":"object","additionalProperties":{"type":"integer"},"properties":{"x":{"type":"string"}},"required":["x"]}`,
	`{"$defs":{"tree":{"type":"object","properties":{"value":{"type":"integer"},"left":{"anyOf":[{"$ref":"#/$defs/tree"},{"type":"null"}]}},"required":["value","left"],"additionalProperties":false}},"$ref":"#/$defs/tree"}`,
	`{"enum":[1,12,123,"x",null,true]}`,
	`{"const":"a \"quoted\" word"}`,
	`{"type":"string","maxLength":5}`,
	`{"type":"number"}`,
	`{}`,
	`{"type":"object"}`,
	`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}`,
}

// fits checks a value against a schema, by the words of JSON Schema and nothing of this package.
func fits(t *testing.T, root, schema map[string]any, value any) bool {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		at := any(root)
		for _, part := range strings.Split(ref, "/")[1:] {
			at = at.(map[string]any)[part]
		}
		return fits(t, root, at.(map[string]any), value)
	}
	if some, ok := schema["anyOf"].([]any); ok {
		for _, s := range some {
			if fits(t, root, s.(map[string]any), value) {
				return true
			}
		}
		return false
	}
	if c, ok := schema["const"]; ok {
		return c == value
	}
	if list, ok := schema["enum"].([]any); ok {
		for _, v := range list {
			if v == value {
				return true
			}
		}
		return false
	}
	if types, ok := schema["type"].([]any); ok {
		for _, name := range types {
			if fits(t, root, map[string]any{"type": name}, value) {
				return true
			}
		}
		return false
	}
	switch v := value.(type) {
	case nil:
		return schema["type"] == nil || schema["type"] == "null"
	case bool:
		return schema["type"] == nil || schema["type"] == "boolean"
	case float64:
		return schema["type"] == nil || schema["type"] == "number" || schema["type"] == "integer" && v == float64(int64(v))
	case string:
		n := float64(utf8.RuneCountInString(v))
		if least, ok := schema["minLength"].(float64); ok && n < least {
			return false
		}
		if most, ok := schema["maxLength"].(float64); ok && n > most {
			return false
		}
		return schema["type"] == nil || schema["type"] == "string"
	case []any:
		items, _ := schema["items"].(map[string]any)
		for _, item := range v {
			if items != nil && !fits(t, root, items, item) {
				return false
			}
		}
		return schema["type"] == nil || schema["type"] == "array"
	case map[string]any:
		named, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return false
			}
		}
		for key, value := range v {
			s, ok := named[key].(map[string]any)
			if !ok {
				if extra, is := schema["additionalProperties"].(map[string]any); is {
					s, ok = extra, true
				} else if schema["additionalProperties"] == false {
					return false
				}
			}
			if ok && !fits(t, root, s, value) {
				return false
			}
		}
		return schema["type"] == nil || schema["type"] == "object"
	}
	return false
}

// write draws a text of at most so many tokens.
func write(t testing.TB, m *Matcher, r *rand.Rand, tokens int) string {
	t.Helper()
	s := m.Grammar.Start()
	var text []byte
	for left := tokens; ; left-- {
		if s.Done() && (left == 0 || r.IntN(8) == 0) {
			return string(text)
		}
		var may []Choice
		for _, c := range m.Choices(s) {
			if int(c.Need) < left {
				may = append(may, c)
			}
		}
		if len(may) == 0 {
			if s.Done() {
				return string(text)
			}
			t.Fatalf("behind %q nothing may come with %d tokens left, and %d bytes are needed", text, left, s.Need())
		}
		c := may[r.IntN(len(may))]
		piece := m.Vocabulary.pieces[c.ID]
		text = append(text, piece...)
		if s = s.NextAll(piece); len(s) == 0 || s.Need() != int(c.Need) {
			t.Fatalf("behind %q: the choice of %q was wrong: %d, not %d", text, piece, s.Need(), c.Need)
		}
	}
}

// Whatever is drawn parses and fits its schema, however few tokens there are.
func TestTextsFit(t *testing.T) {
	t.Parallel()
	texts := sweep.Count(t, 40, 150)
	for i, source := range schemas {
		g, err := Schema([]byte(source))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		var schema map[string]any
		if err := json.Unmarshal([]byte(source), &schema); err != nil {
			t.Fatal(err)
		}
		m := &Matcher{Grammar: g, Vocabulary: vocabulary()}
		if err := g.Check(m.Vocabulary); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(i), 7))
		least := g.Start().Need() + 1
		for range texts {
			text := write(t, m, r, least+r.IntN(120))
			var value any
			if err := json.Unmarshal([]byte(text), &value); err != nil || !utf8.ValidString(text) {
				t.Fatalf("%s: %q: %v", source, text, err)
			}
			if !fits(t, schema, schema, value) {
				t.Fatalf("%s: %q does not fit", source, text)
			}
		}
	}
}

// JSON that other programs write is taken.
func TestTakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema, text string
		ok           bool
	}{
		{schemas[0], `{"name": "Félix", "age": 3}`, true},
		{schemas[0], "{\n  \"name\": \"Félix\"\n}", true},
		{schemas[0], `{"name":"Fe"}`, false},
		{schemas[0], `{"name":"Felix the cat"}`, false},
		{schemas[0], `{"age":3}`, false},
		{schemas[0], `{"name":"Felix","age":3.5}`, false},
		{schemas[0], `{"name":"Felix","colour":1}`, false},
		{schemas[3], `{"labels": [{"name": "category", "confidence": 0.25}, {"name":"cat","confidence":1e-3}]}`, true},
		{schemas[3], `{"labels": [{"name": "cate", "confidence": 0.25}]}`, false},
		{schemas[4], `{"x":"y","z":1}`, true},
		{schemas[4], `{"x":"y","x":1}`, false},
		{schemas[5], `{"value":1,"left":{"value":2,"left":null}}`, true},
		{`{}`, `{"a":[1,-2.5e+3,"\u00e9\n",{"b":null}],"c":false}`, true},
		{`{}`, `"\ud800"`, false},
		{`{}`, `01`, false},
		{`{}`, `[1,]`, false},
		{`{}`, "\"\xff\"", false},
		{`{"type":"object"}`, `[]`, false},
	} {
		g, err := Schema([]byte(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Start().NextAll([]byte(c.text)).Done(); got != c.ok {
			t.Errorf("%s takes %s: %t", c.schema, c.text, got)
		}
	}
	if JSONObject().Start().NextAll([]byte(`{"a":1}`)).Done() == false || JSON().Start().NextAll([]byte(`3`)).Done() == false {
		t.Error("plain JSON is not taken")
	}
}

// What a grammar cannot hold is refused by name.
func TestSchemaRefused(t *testing.T) {
	t.Parallel()
	for source, says := range map[string]string{
		`{"type":"string","pattern":"a+"}`:                                   `"pattern"`,
		`{"type":"object","properties":{"a":{"type":"number","minimum":1}}}`: `"minimum"`,
		`{"oneOf":[{"type":"string"}]}`:                                      `"oneOf"`,
		`{"type":"array","items":{},"minItems":1}`:                           `"minItems"`,
		`{"type":"string","format":"date"}`:                                  `"format"`,
		`{"type":"strin"}`:                                                   `"strin"`,
		`{"type":"object","required":["a"]}`:                                 `"a"`,
		`{"$ref":"#/$defs/none"}`:                                            `#/$defs/none`,
		`{"$ref":"other.json"}`:                                              `$ref`,
		`{"$ref":"#"}`:                                                       `itself`,
		`{"$defs":{"a":{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"required":["a"]}},"$ref":"#/$defs/a"}`: `without an end`,
		`{"enum":[]}`:                      `enum`,
		`{"enum":[{}]}`:                    `objects`,
		`[]`:                               `JSON object`,
		`false`:                            `false`,
		`{"type":"string","minLength":-1}`: `minLength`,
		`{"type":"string","minLength":5,"maxLength":4}`:                    `maxLength`,
		strings.Repeat(`{"items":`, 100) + `{}` + strings.Repeat(`}`, 100): `deep`,
	} {
		if _, err := Schema([]byte(source)); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", source, err, says)
		}
	}
}

// No schema and no text make it panic or hang.
func FuzzSchema(f *testing.F) {
	for _, s := range schemas {
		f.Add([]byte(s), uint64(1))
	}
	v := vocabulary()
	f.Fuzz(func(t *testing.T, source []byte, seed uint64) {
		g, err := Schema(source)
		if err != nil {
			return
		}
		m := &Matcher{Grammar: g, Vocabulary: v}
		least := g.Start().Need() + 1
		if least > 500 || g.Check(v) != nil {
			return
		}
		text := write(t, m, rand.New(rand.NewPCG(seed, 1)), least+20)
		if !json.Valid([]byte(text)) {
			t.Fatalf("%q is no JSON", text)
		}
	})
}
