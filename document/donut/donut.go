// Package donut reads the markup in which Donut writes pages down (Kim et al., 2111.15664): fields between
// tokens such as <s_total> and </s_total>, entries of a list parted by <sep/>.
package donut

import (
	"regexp"
	"strings"
)

const separator = "<sep/>"

var (
	markup = regexp.MustCompile(`</?s_[^<>]*>|<sep/>`)
	task   = regexp.MustCompile(`^\s*<[^<>]*>`)
)

// mostDeep bounds fields within fields.
const mostDeep = 200

// Fields returns what a text has as token2json of transformers 4.57.6's DonutProcessor does: a
// map[string]any whose values are strings, or []any of them or of maps; of a text with <sep/> between whole
// sets of fields, []any of maps. A text without markup is the field "text_sequence". known says which
// tokens, such as "<paid/>", stand for classes, and become their names. Letters of keys are compared without
// their case in ASCII alone. The time is that of reading the text once for each of its tokens.
func Fields(text string, known func(token string) bool) any {
	p := parser{known}
	fields, list := p.parse(strings.ToValidUTF8(text, "\ufffd"), false, 0)
	if list != nil {
		return list
	}
	return fields
}

// Text returns the text between the markup: each piece on a line of its own.
func Text(text string, known func(token string) bool) string {
	p := parser{known}
	var lines []string
	for _, piece := range markup.Split(text, -1) {
		if piece = strings.TrimSpace(piece); piece != "" {
			lines = append(lines, p.leaf(piece))
		}
	}
	return strings.Join(lines, "\n")
}

// WithoutTask returns a prompt without the token that it begins with, which names the task.
func WithoutTask(prompt string) string { return task.ReplaceAllString(prompt, "") }

type parser struct{ known func(token string) bool }

// leaf returns a value; of a token that stands for a class, its name.
func (p parser) leaf(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, "/>") && p.known(s) {
		return s[1 : len(s)-2]
	}
	return s
}

// parse reads fields, or a list of them where list is not nil. What stands within a field is always a list.
func (p parser) parse(text string, inner bool, deep int) (fields map[string]any, list []any) {
	fields = map[string]any{}
	before := []any{} // sets that ended with a separator
	for text != "" && deep < mostDeep {
		folded := lower(text) // as long as text
		at := strings.Index(folded, "<s_")
		if at < 0 {
			break
		}
		length := strings.IndexByte(text[at:], '>') + 1
		if length == 0 {
			break
		}
		opening, key := text[at:at+length], text[at+len("<s_"):at+length-1]
		closing := lower("</s_" + key + ">")
		end := strings.Index(folded, closing)
		if end < 0 {
			text = strings.ReplaceAll(text, opening, "")
			continue
		}
		// A closing token may also stand before the opening one: then the text goes on behind that.
		if n := strings.Index(folded[at+length:], closing); n >= 0 {
			p.set(fields, key, strings.TrimSpace(text[at+length:][:n]), deep)
		}
		text = strings.TrimSpace(text[end+len(closing):])
		if rest, ok := strings.CutPrefix(text, separator); ok {
			before = append(before, fields)
			fields, text, inner = map[string]any{}, rest, true
		}
	}
	switch {
	case inner && len(fields) > 0:
		return nil, append(before, fields)
	case inner:
		return nil, before
	case len(fields) == 0:
		fields["text_sequence"] = text
	}
	return fields, nil
}

// set sets a field: to the fields within it, or to its text.
func (p parser) set(fields map[string]any, key, content string, deep int) {
	var values []any
	if strings.Contains(content, "<s_") && strings.Contains(content, "</s_") {
		if _, values = p.parse(content, true, deep+1); len(values) == 0 {
			return
		}
	} else {
		for leaf := range strings.SplitSeq(content, separator) {
			values = append(values, p.leaf(leaf))
		}
	}
	if len(values) == 1 {
		fields[key] = values[0]
		return
	}
	fields[key] = values
}

// lower makes the letters of ASCII small.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
