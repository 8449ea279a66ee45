package ollama

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/server/web"
)

// common are the keys that requests for texts share.
type common struct {
	named
	Stream      *bool           `json:"stream"` // default true
	Format      json.RawMessage `json:"format"` // "json", or a JSON schema
	Options     options         `json:"options"`
	KeepAlive   keepAlive       `json:"keep_alive"`
	Think       json.RawMessage `json:"think"` // a bool or a level
	LogProbs    bool            `json:"logprobs"`
	TopLogProbs int             `json:"top_logprobs"`
}

// mostTopLogProbs is Ollama's bound.
const mostTopLogProbs = 20

// check refuses what models here do not do.
func (c *common) check() error {
	switch {
	case c.TopLogProbs < 0 || c.TopLogProbs > mostTopLogProbs:
		return web.Badf("top_logprobs must be from 0 to %d", mostTopLogProbs)
	case c.thinks():
		return web.Badf("%q does not support thinking: leave think out, or give false", c.Model)
	}
	return nil
}

// thinks reports whether a request asks for thoughts. Clients send false as a text, too.
func (c *common) thinks() bool {
	switch strings.ToLower(strings.Trim(string(c.Think), `" `)) {
	case "", "null", "false", "none":
		return false
	}
	return true
}

// empty reports whether a key was left out, or is one of the values that say as much.
func empty(value json.RawMessage) bool {
	value = bytes.TrimSpace(value)
	return len(value) == 0 || string(value) == "null" || string(value) == `""`
}

// generateRequest is the body of /api/generate.
type generateRequest struct {
	common
	Prompt   string   `json:"prompt"`
	Suffix   string   `json:"suffix"`
	System   string   `json:"system"`
	Template string   `json:"template"`
	Context  []int64  `json:"context"`
	Raw      bool     `json:"raw"`
	Images   []string `json:"images"`
}

// said is a message of a conversation.
type said struct {
	Role      string          `json:"role"`
	Content   string          `json:"content"`
	Images    []string        `json:"images,omitempty"`
	ToolCalls json.RawMessage `json:"tool_calls,omitempty"`
	ToolName  string          `json:"tool_name,omitempty"`
}

// chatRequest is the body of /api/chat.
type chatRequest struct {
	common
	Messages []said          `json:"messages"`
	Tools    json.RawMessage `json:"tools"`
}

// job is a request for a text, of either kind.
type job struct {
	*common
	messages []said
	raw      bool // the only message is the prompt as the model reads it
	chat     bool // the answer is a message
	tools    json.RawMessage
}

// loads reports whether a request asks for nothing but that its model be opened, or closed.
func (j *job) loads() bool { return len(j.messages) == 0 }

func (h handlers) generate(w http.ResponseWriter, r *http.Request) error {
	var g generateRequest
	if err := readNamed(r, &g, &g.named); err != nil {
		return err
	}
	switch {
	case g.Suffix != "":
		return web.Badf("%q does not support insert: leave suffix out", g.Model)
	case g.Template != "":
		return web.Badf("template is not done here: a model has its own; raw takes a prompt as the model reads it")
	case len(g.Context) > 0:
		return web.Badf("context is not done here: /api/chat takes what was said before")
	case g.Raw && g.System != "":
		return web.Badf("raw takes no system: the prompt is all that the model reads")
	}
	j := job{common: &g.common, raw: g.Raw}
	if g.Prompt != "" || len(g.Images) > 0 {
		if g.System != "" {
			j.messages = append(j.messages, said{Role: pipeline.RoleSystem, Content: g.System})
		}
		j.messages = append(j.messages, said{Role: pipeline.RoleUser, Content: g.Prompt, Images: g.Images})
	}
	return h.write(w, r, j)
}

func (h handlers) chat(w http.ResponseWriter, r *http.Request) error {
	var c chatRequest
	if err := readNamed(r, &c, &c.named); err != nil {
		return err
	}
	j := job{common: &c.common, messages: c.Messages, chat: true}
	if !empty(c.Tools) && string(bytes.TrimSpace(c.Tools)) != "[]" {
		j.tools = c.Tools
	}
	for i, m := range c.Messages {
		switch m.Role {
		case pipeline.RoleSystem, pipeline.RoleUser, pipeline.RoleAssistant, roleTool:
		default:
			return web.Badf("messages[%d] has the role %.40q, not system, user, assistant or tool", i, m.Role)
		}
	}
	return h.write(w, r, j)
}

// roleTool is the role of what a tool said.
const roleTool = "tool"

// picture reads a picture of a request: base64, with or without the head of a data: URL.
func picture(text string) ([]byte, error) {
	_, data, ok, err := web.DataURL(text)
	if !ok {
		data, err = web.Base64(text)
	}
	if err == nil && len(data) == 0 {
		err = web.Badf("it is empty")
	}
	return data, err
}

// grammar is the shape that a text has to have: nil for any. "json" stands for an object, as models of
// Ollama write it; a schema may be one of what package grammar takes.
func (c *common) grammar() (*grammar.Grammar, error) {
	if empty(c.Format) {
		return nil, nil
	}
	var word string
	if json.Unmarshal(c.Format, &word) == nil {
		if word != "json" {
			return nil, web.Badf("format is %.40q; it should be \"json\" or a JSON schema", word)
		}
		return grammar.JSONObject(), nil
	}
	shape, err := grammar.Schema(c.Format)
	if err != nil {
		return nil, web.Badf("format: %w", err)
	}
	return shape, nil
}

// modelName is the model as a client named it, for the answer.
func (c *common) modelName() string { return cmp.Or(c.Model, c.Name) }
