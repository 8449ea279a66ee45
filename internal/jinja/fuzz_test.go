package jinja

import "testing"

// No template panics or takes forever.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"{% for m in messages %}{{ m['a'][1:] | trim }}{% endfor %}", "{%- set n = namespace(a=1) -%}{{ n.a ~ '%s' % 1 }}",
		"{% macro f(a, b=2) %}{{ loop }}{% endmacro %}{{ f(1) }}", "{# c #}{% raw %}{{{% endraw %}", "{{ d.items()|list|tojson }}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		render(source, NewDict("messages", List{NewDict("a", "b"), int64(1), nil}, "d", NewDict("x", 1.5, "y", List{})))
	})
}
