package family

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/tokenize/chat"
)

// Chatter is a Writer that goes on from text with any number of items in between, or with none.
// Parts with a role are a conversation, which the model's chat template lays out; parts without are
// the prompt as it stands.
type Chatter interface {
	Writer
	// Chats reports whether the model has a chat template.
	Chats() bool
	// Write returns the text of a prompt, with one placeholder for each item.
	Write(parts []Part) (string, error)
	// TakesTools reports whether the chat template lays out tools.
	TakesTools() bool
}

// chatter is the base of Chatters.
type chatter struct {
	texts    Texts
	template *chat.Template // nil without one
	begin    string         // the token that begins a text; "": none
	// placeholder stands for a picture in prompts, such as "<image>"; "" in models that read text
	// alone. Inside a message it is what the template writes.
	placeholder string
	heard       string // the same for a sound; "" in models that hear nothing
	around      string // what stands around either in a prompt without a template, for %s
}

// newChatter reads the chat template of a model, where it has one.
func newChatter(bundle *models.Bundle, texts Texts) (chatter, error) {
	c := chatter{texts: texts}
	var err error
	c.template, err = chat.Load(bundle.File)
	if err != nil {
		return c, fmt.Errorf("%w: %w", graph.ErrBundle, err)
	}
	c.begin = chat.BeginToken(bundle.File)
	return c, nil
}

func (c *chatter) Chats() bool { return c.template != nil }

func (c *chatter) TakesTools() bool { return c.template != nil && c.template.TakesTools() }

// StartsAfresh is false: the text goes on from the prompt.
func (c *chatter) StartsAfresh() bool { return false }

// templated reports whether parts are a conversation.
func templated(parts []Part) bool {
	return slices.ContainsFunc(parts, func(p Part) bool { return p.Role != "" })
}

// Write lays out a conversation by the template, or joins parts that are a prompt already. Text
// that names the placeholder itself, once for each item, says where they stand.
func (c *chatter) Write(parts []Part) (string, error) {
	if !templated(parts) {
		return c.join(parts), nil
	}
	if c.template == nil {
		return "", fmt.Errorf("%w: the model has no chat template; give the prompt as the model "+
			"reads it (Prompt)", graph.ErrUnsupported)
	}
	var messages []chat.Message
	variables := map[string]json.RawMessage{}
	for _, p := range parts {
		maps.Copy(variables, p.Variables)
		role := p.Role
		if role == "" {
			return "", fmt.Errorf("%w: some parts have a role and some have none", graph.ErrPrompt)
		}
		if last := len(messages) - 1; last < 0 || messages[last].Role != role || p.Begins {
			messages = append(messages, chat.Message{Role: role})
		}
		content := chat.Content{Text: p.Text}
		if p.Item != nil {
			content = chat.Content{Type: contentType(p.Item)}
		}
		m := &messages[len(messages)-1]
		m.Content = append(m.Content, content)
		if p.Extra != nil {
			m.Extra = p.Extra
		}
	}
	template, err := c.template.With(variables)
	if err != nil {
		return "", fmt.Errorf("%w: %w", graph.ErrPrompt, err)
	}
	prompt, err := template.Apply(messages, c.placeholders())
	if err != nil {
		return "", fmt.Errorf("%w: %w", graph.ErrPrompt, err)
	}
	return prompt, nil
}

// placeholders are those of items, by what templates call their kinds.
func (c *chatter) placeholders() map[string]string {
	marks := map[string]string{}
	if c.placeholder != "" {
		marks[imageContent] = c.placeholder
	}
	if c.heard != "" {
		marks[audioContent] = c.heard
	}
	return marks
}

// What templates call pictures and sounds.
const imageContent, audioContent = "image", "audio"

// contentType is what templates call the kind of an item.
func contentType(item media.Item) string {
	switch item.Kind() {
	case media.Sounds:
		return audioContent
	case media.Films:
		return "video"
	}
	return imageContent
}

// join writes a prompt without a template.
func (c *chatter) join(parts []Part) string {
	var text string
	for _, p := range parts {
		text += p.Text
	}
	marks := c.placeholders()
	var b strings.Builder
	for _, p := range parts {
		if p.Item == nil {
			b.WriteString(p.Text)
		} else if mark := marks[contentType(p.Item)]; mark != "" && !strings.Contains(text, mark) {
			b.WriteString(strings.Replace(c.around, "%s", mark, 1))
		}
	}
	return b.String()
}

// read tokenizes a prompt. A conversation has its special tokens in the template, but that
// processors of pictures add them as for any text (processors); a prompt that begins with the token
// that begins texts gets no second one. That is as transformers does it: apply_chat_template of
// tokenization_utils_base.py and of processing_utils.py, 4.57.
func (c *chatter) read(prompt string, templated, processors bool) ([]int64, error) {
	var options []tokenize.Option
	begins := c.begin != "" && strings.HasPrefix(prompt, c.begin)
	if begins || templated && !processors {
		options = append(options, tokenize.WithoutSpecialTokens())
	}
	ids, err := c.texts.Read(prompt, options...)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%w: the prompt is empty", graph.ErrPrompt)
	}
	return ids, err
}
