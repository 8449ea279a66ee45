// Package chat lays out conversations by a model's chat template, as transformers'
// apply_chat_template does (4.57).
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"strings"

	"github.com/crossattn/xpipe/internal/jinja"
)

// The kinds of failure: of the template, and of a conversation that it refuses.
var (
	ErrTemplate = jinja.ErrTemplate
	ErrRefused  = jinja.ErrRaised
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // "system", "user" or "assistant", and "tool" where the template knows tools
	Content []Content
	// Extra is a JSON object of what else the message has for the template, such as tool_calls; nil:
	// nothing.
	Extra json.RawMessage
}

// Content is a piece of a message: text, or an item.
type Content struct {
	Text string
	Type string // "image", "audio" or "video"; "" for text
}

// Template is a model's chat template. It is safe for concurrent use.
type Template struct {
	parsed    *jinja.Template
	variables map[string]any // bos_token and others, which templates name
	tools     bool           // whether the template names tools
}

// The files that may hold a template, the first that has one being the one that counts.
const (
	jinjaFile     = "chat_template.jinja"
	jsonFile      = "chat_template.json"
	processorFile = "processor_config.json" // where some processors of transformers 4 keep it
	tokenizerFile = "tokenizer_config.json"
)

// The files that give the ids of special tokens, and the texts of ids, where no file names the tokens.
var (
	idFiles  = []string{"config.json", "generation_config.json"} // the second counts
	textFile = "tokenizer.json"
)

// Load reads the template of a folder, through a function that gives the content of its files. It
// returns nil where none has one.
func Load(read func(name string) ([]byte, error)) (*Template, error) {
	source, err := find(read)
	if source == "" || err != nil {
		return nil, err
	}
	parsed, err := jinja.Parse(source)
	if err != nil {
		return nil, err
	}
	tokens, err := specialTokens(read)
	if err != nil {
		return nil, err
	}
	variables := map[string]any{"tools": nil, "documents": nil, "add_generation_prompt": true}
	for name, text := range tokens {
		variables[name] = text
	}
	return &Template{parsed, variables, toolsName.MatchString(source)}, nil
}

// toolsName finds the variable that lists tools.
var toolsName = regexp.MustCompile(`\btools\b`)

// TakesTools reports whether the template lays out tools, a variable of that name.
func (t *Template) TakesTools() bool { return t.tools }

// With returns a template with further variables in JSON, such as tools. Errors wrap ErrTemplate.
func (t *Template) With(variables map[string]json.RawMessage) (*Template, error) {
	if len(variables) == 0 {
		return t, nil
	}
	with := *t
	with.variables = maps.Clone(t.variables)
	for name, data := range variables {
		value, err := jinja.DecodeJSON(data)
		if err != nil {
			return nil, fmt.Errorf("%w: the variable %s: %w", ErrTemplate, name, err)
		}
		with.variables[name] = value
	}
	return &with, nil
}

// find returns the template's source; "" where there is none.
func find(read func(name string) ([]byte, error)) (string, error) {
	data, err := read(jinjaFile)
	if err == nil {
		return string(data), nil
	}
	for _, name := range []string{jsonFile, processorFile, tokenizerFile} {
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if data, err = read(name); err != nil {
			continue
		}
		source, jsonErr := inJSON(data)
		if jsonErr != nil {
			return "", fmt.Errorf("%w: %s: %w", ErrTemplate, name, jsonErr)
		}
		if source != "" {
			return source, nil
		}
		err = fs.ErrNotExist // it has none
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return "", err
}

// inJSON returns the key chat_template of a file: a template, or several by name, of which the one
// named default counts.
func inJSON(data []byte) (string, error) {
	var file struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return "", err
	}
	var one string
	if len(file.Template) == 0 || json.Unmarshal(file.Template, &one) == nil {
		return one, nil
	}
	var several []struct{ Name, Template string }
	if err := json.Unmarshal(file.Template, &several); err != nil {
		return "", err
	}
	for _, t := range several {
		if t.Name == "default" {
			return t.Template, nil
		}
	}
	return "", nil
}

// specialTokens reads the texts of bos_token, eos_token and others from tokenizer_config.json, or
// special_tokens_map.json without that, or finds them by their ids.
func specialTokens(read func(name string) ([]byte, error)) (map[string]string, error) {
	tokens := map[string]string{}
	for _, name := range []string{"special_tokens_map.json", tokenizerFile} {
		data, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var file map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(data, &file)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTemplate, name, err)
		}
		for key, value := range file {
			if !strings.HasSuffix(key, "_token") {
				continue
			}
			var object struct {
				Content string `json:"content"`
			}
			var text string
			if json.Unmarshal(value, &text) == nil && text != "" {
				tokens[key] = text
			} else if json.Unmarshal(value, &object) == nil && object.Content != "" {
				tokens[key] = object.Content
			}
		}
	}
	if len(tokens) == 0 {
		return tokensByID(read), nil
	}
	return tokens, nil
}

// tokensByID returns the special tokens that configurations give ids of and tokenizer.json texts. What
// cannot be read there is told by those who need it.
func tokensByID(read func(name string) ([]byte, error)) map[string]string {
	var tokenizer struct {
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
	}
	if data, err := read(textFile); err != nil || json.Unmarshal(data, &tokenizer) != nil {
		return nil
	}
	tokens := map[string]string{}
	for _, name := range idFiles {
		var config map[string]json.RawMessage
		if data, err := read(name); err != nil || json.Unmarshal(data, &config) != nil {
			continue
		}
		var text map[string]json.RawMessage // which the top of config.json overrides
		json.Unmarshal(config["text_config"], &text)
		for _, section := range []map[string]json.RawMessage{text, config} {
			for key, value := range section {
				var id int
				role, ok := strings.CutSuffix(key, "_id")
				if !ok || !strings.HasSuffix(role, "_token") || json.Unmarshal(value, &id) != nil || string(value) == "null" {
					continue
				}
				for _, t := range tokenizer.Added {
					if t.ID == id {
						tokens[role] = t.Content
					}
				}
			}
		}
	}
	return tokens
}

// BeginToken returns the text of the token that begins a text; "" where none is known.
func BeginToken(read func(name string) ([]byte, error)) string {
	tokens, err := specialTokens(read)
	if err != nil {
		return ""
	}
	return tokens["bos_token"]
}

// Apply returns the text of a conversation, which ends where the assistant is to go on. Errors wrap
// ErrTemplate, or ErrRefused where the template itself refuses the conversation.
//
// Templates take a message's content as a text or as a list of texts and items, and few take both.
// The first form is used in which the template writes every text and, for each item, the placeholder
// of its type: a list where there are placeholders, a text otherwise. In a text the placeholder
// stands for each item, on a line of its own.
func (t *Template) Apply(messages []Message, placeholders map[string]string) (string, error) {
	forms := []bool{false, true} // whether contents are lists
	if len(placeholders) > 0 {
		forms = []bool{true, false}
	}
	var first error
	for _, listed := range forms {
		text, err := t.render(messages, listed, placeholders)
		if err == nil {
			err = complete(text, messages, placeholders)
		}
		if err == nil {
			return text, nil
		}
		if first == nil || errors.Is(err, ErrRefused) && !errors.Is(first, ErrRefused) {
			first = err
		}
	}
	return "", first
}

func (t *Template) render(
	messages []Message, listed bool, placeholders map[string]string,
) (string, error) {
	list := jinja.List{}
	for _, m := range messages {
		var content any
		if listed {
			content = m.list()
		} else {
			content = m.text(placeholders)
		}
		message := jinja.NewDict("role", m.Role, "content", content)
		if err := m.addExtra(message); err != nil {
			return "", err
		}
		list = append(list, message)
	}
	variables := map[string]any{"messages": list}
	for name, v := range t.variables {
		variables[name] = v
	}
	return t.parsed.Render(variables)
}

// addExtra adds the keys of Extra to a message.
func (m *Message) addExtra(message *jinja.Dict) error {
	if len(m.Extra) == 0 {
		return nil
	}
	value, err := jinja.DecodeJSON(m.Extra)
	extra, ok := value.(*jinja.Dict)
	if err != nil || !ok {
		return fmt.Errorf("%w: what a message has beside its content is no JSON object", ErrTemplate)
	}
	extra.Each(message.Set)
	return nil
}

func (m *Message) list() jinja.List {
	content := jinja.List{}
	for _, c := range m.Content {
		if c.Type == "" {
			content = append(content, jinja.NewDict("type", "text", "text", c.Text))
		} else {
			content = append(content, jinja.NewDict("type", c.Type))
		}
	}
	return content
}

func (m *Message) text(placeholders map[string]string) string {
	var b strings.Builder
	for _, c := range m.Content {
		if c.Type == "" {
			b.WriteString(c.Text)
		} else {
			b.WriteString(placeholders[c.Type] + "\n")
		}
	}
	return b.String()
}

// complete refuses a layout that lacks a text or a placeholder.
func complete(text string, messages []Message, placeholders map[string]string) error {
	at, items := 0, map[string]int{}
	for _, m := range messages {
		for _, c := range m.Content {
			if c.Type != "" {
				items[placeholders[c.Type]]++
				continue
			}
			// Templates may cut white space and what a model thought, before the last answer.
			words := strings.TrimSpace(c.Text)
			if m.Role == "assistant" || words == "" {
				continue
			}
			i := strings.Index(text[at:], words)
			if i < 0 {
				return fmt.Errorf("%w: it does not write the text of a message", ErrTemplate)
			}
			at += i + len(words)
			if m.Role == "system" {
				at = 0 // it may stand anywhere
			}
		}
	}
	for placeholder, count := range items {
		if written := strings.Count(text, placeholder); placeholder != "" && written < count {
			return fmt.Errorf("%w: it writes %q %d times for %d items", ErrTemplate, placeholder, written, count)
		}
	}
	return nil
}
