package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/web"
)

// turn is a message of a conversation, with what it refers to at hand.
type turn struct {
	role  string // as chat templates name it
	parts []part
	extra json.RawMessage // what else the message has for the template; nil: nothing
}

// part is a text, or a picture, sound or document (media.Pages) as the client sent it.
type part struct {
	text string
	kind media.Kind // "" of a text
	data []byte
	name string // of a document
}

// text joins the texts of a turn.
func (t *turn) text() string {
	var texts []string
	for _, p := range t.parts {
		if p.kind == "" && p.text != "" {
			texts = append(texts, p.text)
		}
	}
	return strings.Join(texts, "\n")
}

// roles are the roles of messages by the names that clients give them.
var roles = map[string]string{
	"system": pipeline.RoleSystem, "developer": pipeline.RoleSystem, "user": pipeline.RoleUser,
	"assistant": pipeline.RoleAssistant, "tool": roleTool,
}

// roleTool is the role of what a tool answered, which templates with tools know.
const roleTool = "tool"

// contentPart is a part of a message, of chat completions or of responses.
type contentPart struct {
	Type       string          `json:"type"`
	Text       *string         `json:"text"`
	Refusal    string          `json:"refusal"`
	ImageURL   json.RawMessage `json:"image_url"` // {"url":...}, or the URL itself
	InputAudio *struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
	fileContent
	File *fileContent `json:"file"` // as chat completions have it
}

// fileContent is a document in a message: a data: URL, base64, or in responses an address.
type fileContent struct {
	Data   string `json:"file_data"`
	URL    string `json:"file_url"`
	Name   string `json:"filename"`
	FileID string `json:"file_id"`
}

// readContent reads the content of a message: a text, or a list of parts. Errors name at.
func (h handlers) readContent(ctx context.Context, at string, raw json.RawMessage) ([]part, error) {
	if isNull(raw) {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []part{{text: text}}, nil
	}
	var list []contentPart
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, badParam(at, "invalid_type", "%s is a text or a list of parts with a type", at)
	}
	var parts []part
	for i, c := range list {
		one, err := h.readPart(ctx, fmt.Sprintf("%s[%d]", at, i), c)
		if err != nil {
			return nil, err
		}
		parts = append(parts, one)
	}
	return parts, nil
}

// readPart reads a part of a message, and gets what it refers to.
func (h handlers) readPart(ctx context.Context, at string, c contentPart) (part, error) {
	switch c.Type {
	case "text", "input_text", "output_text":
		if c.Text == nil {
			return part{}, badParam(at+".text", missing, "%s has no text", at)
		}
		return part{text: *c.Text}, nil
	case "refusal":
		return part{text: c.Refusal}, nil
	case "image_url", "input_image":
		if c.FileID != "" {
			return part{}, badParam(at+".file_id", unsupported, "this server keeps no files; send the picture itself as a data: URL")
		}
		url, err := imageURL(c.ImageURL)
		if err != nil || url == "" {
			return part{}, badParam(at+".image_url", missing, `%s needs an image_url: {"url": "data:..."}`, at)
		}
		data, err := h.media.Load(ctx, url)
		return part{kind: media.Pictures, data: data}, aboutParam(at+".image_url", err)
	case "input_audio":
		if c.InputAudio == nil || c.InputAudio.Data == "" {
			return part{}, badParam(at+".input_audio", missing, `%s needs input_audio: {"data": base64, "format": "wav"}`, at)
		}
		data, err := web.Base64(c.InputAudio.Data)
		return part{kind: media.Sounds, data: data}, aboutParam(at+".input_audio.data", err)
	case "file", "input_file":
		file := c.fileContent
		if c.File != nil {
			file, at = *c.File, at+".file"
		}
		return h.readFile(ctx, at, file)
	case "":
		return part{}, badParam(at+".type", missing, "%s has no type", at)
	}
	return part{}, badParam(at+".type", invalidValue,
		"%s is of the type %q; text, image_url, input_audio and file are read here", at, c.Type)
}

// imageURL reads {"url":...}, or the URL itself, as some clients send it.
func imageURL(raw json.RawMessage) (string, error) {
	var url string
	if json.Unmarshal(raw, &url) == nil {
		return url, nil
	}
	var object struct {
		URL string `json:"url"`
	}
	err := json.Unmarshal(raw, &object)
	return object.URL, err
}

// message is a message of a chat.
type message struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Refusal    string          `json:"refusal"`
	Name       string          `json:"name"`
	ToolCalls  []toolCall      `json:"tool_calls"`
	ToolCallID string          `json:"tool_call_id"`
}

// readMessages reads a conversation. Errors name a message as messages[i].
func (h handlers) readMessages(ctx context.Context, messages []message) ([]turn, error) {
	if len(messages) == 0 {
		return nil, badParam("messages", missing, `"messages" has to have a message`)
	}
	var turns []turn
	for i, m := range messages {
		at := fmt.Sprintf("messages[%d]", i)
		role, ok := roles[m.Role]
		if !ok {
			return nil, badParam(at+".role", invalidValue,
				"%s has the role %q; there are system, developer, user, assistant and tool", at, m.Role)
		}
		parts, err := h.readContent(ctx, at+".content", m.Content)
		if err != nil {
			return nil, err
		}
		if parts == nil && m.Refusal != "" {
			parts = []part{{text: m.Refusal}}
		}
		if parts == nil && len(m.ToolCalls) == 0 {
			return nil, badParam(at+".content", missing, "%s has no content", at)
		}
		turns = append(turns, turn{role: role, parts: parts, extra: m.extra()})
	}
	return turns, nil
}

// extra is what templates are given of a message beside role and content.
func (m *message) extra() json.RawMessage {
	extra := map[string]any{}
	if m.Name != "" {
		extra["name"] = m.Name
	}
	if len(m.ToolCalls) > 0 {
		extra["tool_calls"] = forTemplate(m.ToolCalls)
	}
	if m.ToolCallID != "" {
		extra["tool_call_id"] = m.ToolCallID
	}
	if len(extra) == 0 {
		return nil
	}
	data, err := json.Marshal(extra)
	if err != nil {
		return nil // of nothing but texts, and JSON that was read
	}
	return data
}
