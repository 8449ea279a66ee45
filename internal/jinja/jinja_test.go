package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// Every template of testdata/reference.json gives what Python's jinja2 gives, as transformers
// configures it; testdata/reference.py made the file.
func TestReference(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Template  string          `json:"template"`
		Variables json.RawMessage `json:"variables"`
		Text      string          `json:"text"`
		Error     string          `json:"error"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		variables, err := DecodeJSON(c.Variables)
		if err != nil {
			t.Fatal(err)
		}
		text, err := render(c.Template, variables.(*Dict))
		switch {
		case c.Error == "TemplateError" && !errors.Is(err, ErrRaised):
			t.Errorf("%.200q: %v, want ErrRaised", c.Template, err)
		case c.Error != "" && err == nil:
			t.Errorf("%.200q: %q, want %s", c.Template, text, c.Error)
		case c.Error == "" && (err != nil || text != c.Text):
			t.Errorf("%.300q over %.300s:\n got  %q %v\n want %q", c.Template, c.Variables, text, err, c.Text)
		}
	}
}

func render(source string, variables *Dict) (string, error) {
	template, err := Parse(source)
	if err != nil {
		return "", err
	}
	values := map[string]any{}
	for _, k := range variables.keys {
		values[k.(string)] = variables.values[k]
	}
	return template.Render(values)
}

// A template that would take forever or all memory ends with an error.
func TestHostile(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
		"{% set n = namespace(s='aaaaaaaa') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
		"{{ 'a' * 999999999 }}", "{{ range(999999999) }}", "{{ [1] * 999999999 }}",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ '%*d' % 1 }}",
		"{{ ((((", "{% if %}", "{% for %}", "{%", "{{ 'a", "{# a", "{{ a.", "{{ a[", "{{ a[:::] }}", "{% set %}",
		"{% else %}", "{% endfor %}", "{% for a in b %}", "{{ f(a= }}", "{{ 99999999999999999999 }}", "{{ a|nothing }}",
		"{% raw %}", "{% include 'x' %}", "{{ 'aaaa'|replace('', 'b' * 9999999) }}", "{{ '%0999999999d' % 1 }}",
		"{% set a %}{% endset %}{{ a.b.c }}", "{{ [].append(1) }}", "{{ ''.__class__ }}{{ x() }}",
		"{% set n = namespace() %}{% set n.n = n %}{{ n }}", "{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}", "{% set n = namespace() %}{% set n.n = [n] %}{{ n == n }}{{ n.n|tojson }}",
	} {
		if text, err := render(source, NewDict()); err == nil {
			t.Errorf("%.80q gives %.80q", source, text)
		}
	}
}
