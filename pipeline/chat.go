package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
)

// The roles of messages, as chat templates name them.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
)

// Message is one turn of a conversation.
type Message struct {
	Role  string       // RoleSystem, RoleUser or RoleAssistant
	Items []media.Item // such as media.Picture; they stand before the text
	Text  string
	// Extra is a JSON object of what else the message has for the chat template, such as tool_calls;
	// nil: nothing.
	Extra json.RawMessage
}

// partsOf lists messages as parts with roles.
func partsOf(messages []Message) []Part {
	var parts []Part
	for _, m := range messages {
		first := len(parts)
		for _, item := range m.Items {
			parts = append(parts, Part{Item: item, Role: m.Role})
		}
		parts = append(parts, Part{Text: m.Text, Role: m.Role})
		parts[first].Begins, parts[first].Extra = true, m.Extra
	}
	return parts
}

// Chat is a conversation with a model that has a chat template. It keeps what was said, and of
// pictures what the encoder made, so that each is encoded once; and, where the decoder's cache holds all
// that it has read, that cache, so that a turn reads what is new alone. It is for one goroutine.
type Chat struct {
	p        *Pipeline
	messages []Message
	last     *Text
	memory   decode.Memory
}

// Chat begins a conversation. messages are what was said before it; a system's comes first. A model
// without a chat template gives ErrUnsupported.
func (p *Pipeline) Chat(messages ...Message) (*Chat, error) {
	if !p.Abilities().Chat {
		what := "hold a conversation: it has no chat template"
		if _, chats := p.model.(family.Chatter); !chats {
			what = "hold a conversation"
		}
		return nil, p.unsupported(what)
	}
	return &Chat{p: p, messages: slices.Clone(messages)}, nil
}

// Messages returns what was said so far. Pictures are *Encoded there.
func (c *Chat) Messages() []Message { return slices.Clone(c.messages) }

// Last returns the answer that came last, with its ids and statistics; nil before the first.
func (c *Chat) Last() *Text { return c.last }

// Reused returns how many tokens of the last turn's prompt were not read again, because an earlier turn
// began with them.
func (c *Chat) Reused() int { return c.memory.Reused }

// SetSystem sets what the system says before all else; "" takes it away. Templates may refuse it when
// something is said.
func (c *Chat) SetSystem(text string) {
	c.messages = slices.DeleteFunc(c.messages, func(m Message) bool { return m.Role == RoleSystem })
	if text != "" {
		c.messages = slices.Insert(c.messages, 0, Message{Role: RoleSystem, Text: text})
	}
}

// Say says something to the model and gives the tokens of its answer, as Stream does. Items stand
// before the text. The answer joins the conversation when the loop ends; so does one that breaking out
// of the loop or the end of ctx cuts short, as far as it was written. Where nothing was written, the
// conversation is as it was before.
func (c *Chat) Say(
	ctx context.Context, text string, items []media.Item, opts ...GenerateOption,
) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		encoded, err := c.encode(ctx, items)
		if err != nil {
			yield(Token{}, err)
			return
		}
		messages := append(slices.Clip(c.messages), Message{Role: RoleUser, Items: encoded, Text: text})
		going := true
		var written strings.Builder
		var tokens []Token
		answer, err := c.p.streamText(ctx, Request{Messages: messages}, func(t Token) bool {
			written.WriteString(t.Text)
			tokens = append(tokens, t)
			going = yield(t, nil)
			return going
		}, &c.memory, opts)
		if answer == nil {
			answer = partial(strings.TrimSpace(written.String()), tokens)
		}
		if err == nil || len(tokens) > 0 {
			c.last = answer
			c.messages = append(messages, Message{Role: RoleAssistant, Text: answer.Text})
		}
		if err != nil && going {
			yield(Token{}, err)
		}
	}
}

// partial is a text that was cut short.
func partial(text string, tokens []Token) *Text {
	t := &Text{Text: text, Tokens: tokens}
	for _, token := range tokens {
		t.IDs = append(t.IDs, token.ID)
		t.LogProb += token.LogProb
	}
	t.Score = t.LogProb
	return t
}

// encode encodes the items of a message.
func (c *Chat) encode(ctx context.Context, items []media.Item) ([]media.Item, error) {
	if len(items) == 0 {
		return nil, nil
	}
	for _, item := range items {
		if item != nil && !c.p.Abilities().Takes(item.Kind()) {
			return nil, c.p.unsupported(fmt.Sprintf("take a %s", item.Kind()))
		}
	}
	encoded, err := c.p.Encode(ctx, items...)
	if err != nil {
		return nil, err
	}
	list := make([]media.Item, len(encoded))
	for i, e := range encoded {
		list[i] = e
	}
	return list, nil
}
