package chat

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// folder is a read function over files.
func folder(files map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
}

func say(role, text string) Message { return Message{Role: role, Content: []Content{{Text: text}}} }

// Where no file names the special tokens, their ids and the tokenizer do.
func TestTokensByID(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		jinjaFile:     "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
		"config.json": `{"bos_token_id": null, "eos_token_id": [3, 4], "text_config": {"bos_token_id": 1}}`,
		textFile:      `{"added_tokens": [{"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}]}`,
	}
	for _, c := range []struct{ generation, want string }{{"", "<s>hi"}, {`{"eos_token_id": 2}`, "<s>hi</s>"}} {
		if c.generation != "" {
			files["generation_config.json"] = c.generation
		}
		template, err := Load(folder(files))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := template.Apply([]Message{say("user", "hi")}, nil); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.generation, got, err, c.want)
		}
	}
	if got := BeginToken(folder(files)); got != "<s>" {
		t.Errorf("begins with %q", got)
	}
}

// The template of chat_template.jinja counts before that of chat_template.json, and that before
// processor_config.json's and tokenizer_config.json's, which may have several.
func TestLoad(t *testing.T) {
	t.Parallel()
	three := map[string]string{
		jinjaFile: "A{{ messages[0].content }}", jsonFile: `{"chat_template": "B{{ messages[0].content }}"}`,
		tokenizerFile: `{"bos_token": {"content": "<s>"}, "chat_template": [{"name": "tools", "template": ""},
			{"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"}]}`,
	}
	for _, c := range []struct{ file, want string }{{jinjaFile, "Ahi"}, {jsonFile, "Bhi"}, {tokenizerFile, "<s>hi"}} {
		template, err := Load(folder(three))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := template.Apply([]Message{say("user", "hi")}, nil); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.file, got, err, c.want)
		}
		delete(three, c.file)
	}
	three = map[string]string{
		processorFile: `{"chat_template": "C{{ messages[0].content }}"}`, tokenizerFile: `{"chat_template": "D"}`,
	}
	template, err := Load(folder(three))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := template.Apply([]Message{say("user", "hi")}, nil); err != nil || got != "Chi" {
		t.Errorf("%s: %q, %v", processorFile, got, err)
	}
	clear(three)
	if template, err := Load(folder(three)); template != nil || err != nil {
		t.Errorf("of an empty folder: %v, %v", template, err)
	}
	for _, files := range []map[string]string{{jinjaFile: "{% if %}"}, {jsonFile: "{"}, {tokenizerFile: `{"chat_template": 1}`}} {
		if _, err := Load(folder(files)); !errors.Is(err, ErrTemplate) {
			t.Errorf("%v: %v", files, err)
		}
	}
}

// Contents are lists for templates that want those, texts for others.
func TestApply(t *testing.T) {
	t.Parallel()
	const asList = "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<image>{% elif c.type == 'audio' %}" +
		"<sound>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}"
	const asText = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
	seen := []Message{{Role: "user", Content: []Content{{Type: "image"}, {Text: "what?"}}}}
	both := []Message{{Role: "user", Content: []Content{{Type: "image"}, {Type: "audio"}, {Text: "what?"}}}}
	image := map[string]string{"image": "<image>"}
	senses := map[string]string{"image": "<image>", "audio": "<sound>"}
	for _, c := range []struct {
		template     string
		placeholders map[string]string
		messages     []Message
		want         string
	}{
		{asList, image, seen, "<image>what?"}, {asText, image, seen, "user: <image>\nwhat?"},
		{asList, senses, both, "<image><sound>what?"}, {asText, senses, both, "user: <image>\n<sound>\nwhat?"},
		{asText, nil, []Message{say("user", "hi")}, "user: hi"}, {asList, nil, []Message{say("user", "hi")}, "hi"},
	} {
		template, err := Load(folder(map[string]string{jinjaFile: c.template}))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := template.Apply(c.messages, c.placeholders); err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.template, got, err, c.want)
		}
	}
	for text, want := range map[string]error{
		"nothing": ErrTemplate, "{{ raise_exception('no system') }}": ErrRefused,
	} {
		template, err := Load(folder(map[string]string{jinjaFile: text}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := template.Apply(seen, map[string]string{"image": "<image>"}); !errors.Is(err, want) ||
			errors.Is(want, ErrRefused) && !strings.Contains(err.Error(), "no system") {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}
