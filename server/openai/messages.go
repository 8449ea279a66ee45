package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/web"
)

// Messages answers errors in the shape of Anthropic's /v1/messages.
var Messages = messagesDialect(new(error))

func messagesDialect(failed *error) *web.Dialect {
	return &web.Dialect{Name: "anthropic", Fail: func(w http.ResponseWriter, status int, kind api.Kind, message string) {
		web.WriteJSON(w, status, newMessagesFailure(*failed, status, message))
	}}
}

type messagesFailure struct {
	Type  string `json:"type"`
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
}

// failureTypes are Anthropic's words for statuses.
var failureTypes = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
	413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}

// newMessagesFailure describes an error. It has no key for a parameter, which the message names.
func newMessagesFailure(err error, status int, message string) messagesFailure {
	f := messagesFailure{Type: "error"}
	f.Error.Type, f.Error.Message = "invalid_request_error", message
	if known, ok := failureTypes[status]; ok {
		f.Error.Type = known
	} else if status >= 500 {
		f.Error.Type = "api_error"
	}
	if about := newFailure(err, status, api.Kind{}, ""); about.Param != nil && !strings.Contains(message, *about.Param) {
		f.Error.Message = *about.Param + ": " + message
	}
	return f
}

// messagesRequest is the body of Anthropic's /v1/messages.
type messagesRequest struct {
	Model       string          `json:"model"`
	Messages    []blockMessage  `json:"messages"`
	System      json.RawMessage `json:"system"`
	MaxTokens   *int            `json:"max_tokens"`
	Temperature *float64        `json:"temperature"`
	TopP        *float64        `json:"top_p"`
	TopK        *int            `json:"top_k"`
	Stops       stopList        `json:"stop_sequences"`
	Stream      bool            `json:"stream"`
	Tools       []blockTool     `json:"tools"`
	ToolChoice  *struct {
		Type   string `json:"type"`
		Name   string `json:"name"`
		Single bool   `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
	Thinking *struct {
		Type string `json:"type"`
	} `json:"thinking"`
	OutputConfig *struct {
		Format *responseFormat `json:"format"` // beside an effort, which is passed over as reasoning_effort is
	} `json:"output_config"`
}

type blockTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"input_schema"`
}

type blockMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// block is a piece of a message.
type block struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Source struct {
		Type    string          `json:"type"`
		Data    string          `json:"data"`
		URL     string          `json:"url"`
		Content json.RawMessage `json:"content"`
	} `json:"source"`
	Title     string          `json:"title"` // of a document
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
}

// job checks the parameters, all but the messages.
func (b *messagesRequest) job() (*job, error) {
	j := &job{sampling: sampling{
		Temperature: b.Temperature, TopP: b.TopP, TopK: b.TopK, Stop: b.Stops, maxTokens: b.MaxTokens, maxName: "max_tokens",
	}}
	switch {
	case b.MaxTokens == nil:
		return nil, badParam("max_tokens", missing, `"max_tokens" is missing`)
	case b.Temperature != nil && *b.Temperature > 1:
		return nil, badParam("temperature", invalidValue, `"temperature" is %g; it goes from 0 to 1`, *b.Temperature)
	case b.Thinking != nil && b.Thinking.Type != "disabled":
		return nil, badParam("thinking", unsupported, `"thinking" can only be disabled: models here do not think before they answer`)
	}
	if err := j.check(); err != nil {
		return nil, err
	}
	var tools []tool
	for _, t := range b.Tools {
		if t.Type != "" && t.Type != "custom" {
			return nil, badParam("tools", unsupported, "a tool is of the type %q; only the client's own are known here", t.Type)
		}
		tools = append(tools, tool{Type: "function", function: function{Name: t.Name, Description: t.Description, Parameters: t.Schema}})
	}
	var choice json.RawMessage
	var parallel *bool
	if c := b.ToolChoice; c != nil {
		words := map[string]string{"auto": `"auto"`, "any": `"required"`, "none": `"none"`}
		switch {
		case c.Type == "tool":
			choice, _ = json.Marshal(map[string]string{"type": "function", "name": c.Name})
		case words[c.Type] != "":
			choice = json.RawMessage(words[c.Type])
		default:
			return nil, badParam("tool_choice", invalidValue, `"tool_choice" is %q, not auto, any, tool or none`, c.Type)
		}
		parallel = ptr(!c.Single)
	}
	var err error
	if j.tools, err = readTools(tools, choice, parallel); err != nil {
		return nil, err
	}
	var f *responseFormat
	if b.OutputConfig != nil {
		f = b.OutputConfig.Format
	}
	return j, j.setShape("output_config.format", f)
}

// readBlocks reads a text or a list of blocks.
func readBlocks(at string, raw json.RawMessage) ([]block, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []block{{Type: "text", Text: text}}, nil
	}
	var blocks []block
	if err := json.Unmarshal(raw, &blocks); err != nil || len(blocks) == 0 {
		return nil, badParam(at, "invalid_type", "%s is a text or a list of blocks with a type", at)
	}
	return blocks, nil
}

// readTurns reads a conversation. Errors name a message as messages[i].
func (h handlers) readTurns(ctx context.Context, b *messagesRequest) ([]turn, error) {
	var turns []turn
	if !isNull(b.System) {
		blocks, err := readBlocks("system", b.System)
		if err != nil {
			return nil, err
		}
		system := turn{role: pipeline.RoleSystem}
		for _, one := range blocks {
			system.parts = append(system.parts, part{text: one.Text})
		}
		turns = append(turns, system)
	}
	if len(b.Messages) == 0 {
		return nil, badParam("messages", missing, `"messages" has to have a message`)
	}
	for i, m := range b.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		if m.Role != pipeline.RoleUser && m.Role != pipeline.RoleAssistant {
			return nil, badParam(at+".role", invalidValue, "%s has the role %q; there are user and assistant", at, m.Role)
		}
		blocks, err := readBlocks(at+".content", m.Content)
		if err != nil {
			return nil, err
		}
		read, err := h.readTurn(ctx, at+".content", m.Role, blocks)
		if err != nil {
			return nil, err
		}
		turns = append(turns, read...)
	}
	return turns, nil
}

// readTurn reads the blocks of a message: a turn, behind one for each result of a tool.
func (h handlers) readTurn(ctx context.Context, at, role string, blocks []block) (turns []turn, err error) {
	own := turn{role: role}
	var calls []toolCall
	for i, b := range blocks {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch b.Type {
		case "text":
			own.parts = append(own.parts, part{text: b.Text})
		case "image":
			data, err := h.readSource(ctx, at, b)
			if err != nil {
				return nil, err
			}
			own.parts = append(own.parts, part{kind: media.Pictures, data: data})
		case "tool_use":
			calls = append(calls, toolCall{ID: b.ID, Type: "function", Function: calledByName{b.Name, string(b.Input)}})
		case "tool_result":
			m := message{ToolCallID: b.ToolUseID}
			result := turn{role: roleTool, extra: m.extra()}
			if !isNull(b.Content) {
				inside, err := readBlocks(at+".content", b.Content)
				if err != nil {
					return nil, err
				}
				read, err := h.readTurn(ctx, at+".content", roleTool, inside)
				if err != nil {
					return nil, err
				}
				result.parts = read[len(read)-1].parts
			}
			turns = append(turns, result)
		case "thinking", "redacted_thinking": // of another model; templates take none
		case "document":
			read, err := h.readDocument(ctx, at, b)
			if err != nil {
				return nil, err
			}
			own.parts = append(own.parts, read...)
		default:
			return nil, badParam(at+".type", invalidValue,
				"%s is of the type %q; text, image, document, tool_use and tool_result are read here", at, b.Type)
		}
	}
	if calls != nil {
		m := message{ToolCalls: calls}
		own.extra = m.extra()
	}
	if own.parts != nil || own.extra != nil || len(turns) == 0 {
		turns = append(turns, own)
	}
	return turns, nil
}

// readSource gets the picture of a block.
func (h handlers) readSource(ctx context.Context, at string, b block) ([]byte, error) {
	switch b.Source.Type {
	case "base64":
		data, err := web.Base64(b.Source.Data)
		return data, aboutParam(at+".source.data", err)
	case "url":
		data, err := h.media.Load(ctx, b.Source.URL)
		return data, aboutParam(at+".source.url", err)
	}
	return nil, badParam(at+".source.type", invalidValue, "%s has a source of the type %q; base64 and url are read here", at, b.Source.Type)
}

// messages answers a conversation.
func (h handlers) messages(w http.ResponseWriter, r *http.Request) error {
	var body messagesRequest
	if err := readBody(r, &body); err != nil {
		return err
	}
	j, err := body.job()
	if err != nil {
		return err
	}
	m, release, err := h.service.Use(r.Context(), h.modelName(body.Model, "chat"))
	if err != nil {
		return err
	}
	defer release()
	if j.turns, err = h.readTurns(r.Context(), &body); err != nil {
		return err
	}
	if err := h.askDocuments(r.Context(), m, j, w.Header()); err != nil {
		return err
	}
	answer := &messagesAnswer{ID: newID("msg_"), Type: "message", Role: pipeline.RoleAssistant, Model: m.Name, Content: []any{}}
	if body.Stream {
		s := &messagesStream{w: w, answer: answer}
		out, err := j.write(r.Context(), m, w.Header(), s.piece)
		if err == nil {
			return s.end(out)
		}
		if s.stream != nil {
			status, _, message := web.Describe(err)
			s.stream.Send("error", newMessagesFailure(err, status, message))
		}
		return err
	}
	out, err := j.write(r.Context(), m, w.Header(), nil)
	if err != nil {
		return err
	}
	t := out.texts[0]
	if t.text != "" || len(t.calls) == 0 {
		answer.Content = append(answer.Content, textBlock{"text", t.text})
	}
	for _, c := range t.calls {
		answer.Content = append(answer.Content, newUseBlock(c))
	}
	answer.complete(out)
	return web.WriteJSON(w, http.StatusOK, answer)
}

type messagesAnswer struct {
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	Role    string        `json:"role"`
	Model   string        `json:"model"`
	Content []any         `json:"content"` // of textBlock and useBlock
	Reason  *string       `json:"stop_reason"`
	Stop    *string       `json:"stop_sequence"`
	Usage   messagesUsage `json:"usage"`
}

type messagesUsage struct {
	Input  int `json:"input_tokens"`
	Output int `json:"output_tokens"`
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type useBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

func newUseBlock(c toolCall) useBlock {
	input := json.RawMessage(c.Function.Arguments)
	if !isObject(input) {
		input = json.RawMessage("{}")
	}
	return useBlock{"tool_use", newID("toolu_"), c.Function.Name, input}
}

// reasons are Anthropic's words for why texts end.
var reasons = map[string]string{finishStop: "end_turn", finishLength: "max_tokens", finishCalls: "tool_use"}

// complete ends an answer.
func (a *messagesAnswer) complete(out *outcome) {
	t := out.texts[0]
	a.Reason = ptr(reasons[t.finish])
	if t.stop != "" && t.finish == finishStop {
		a.Reason, a.Stop = ptr("stop_sequence"), &t.stop
	}
	a.Usage = messagesUsage{out.prompt, out.tokens}
}

// messagesStream writes an answer as events, each with its name.
type messagesStream struct {
	w      http.ResponseWriter
	stream *web.Stream
	answer *messagesAnswer
	text   bool // whether the block of the text was begun
}

func (s *messagesStream) send(name string, e event) error {
	if s.stream == nil {
		s.stream = web.Events(s.w)
		if err := s.send("message_start", event{"message": s.answer}); err != nil {
			return err
		}
	}
	e["type"] = name
	return s.stream.Send(name, e)
}

// open begins the block of the text.
func (s *messagesStream) open() error {
	if s.text {
		return nil
	}
	s.text = true
	return s.send("content_block_start", event{"index": 0, "content_block": textBlock{"text", ""}})
}

func (s *messagesStream) piece(_ int, p piece) error {
	if p.text == "" {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	return s.send("content_block_delta", event{"index": 0, "delta": textBlock{"text_delta", p.text}})
}

// end sends the calls and what ends the answer.
func (s *messagesStream) end(out *outcome) error {
	t := out.texts[0]
	blocks := 0
	if s.text || len(t.calls) == 0 {
		if err := s.open(); err != nil {
			return err
		}
		if err := s.send("content_block_stop", event{"index": 0}); err != nil {
			return err
		}
		blocks++
	}
	for _, c := range t.calls {
		use := newUseBlock(c)
		input := string(use.Input)
		use.Input = json.RawMessage("{}")
		delta := map[string]string{"type": "input_json_delta", "partial_json": input}
		for _, one := range []struct {
			name string
			e    event
		}{
			{"content_block_start", event{"content_block": use}}, {"content_block_delta", event{"delta": delta}},
			{"content_block_stop", event{}},
		} {
			one.e["index"] = blocks
			if err := s.send(one.name, one.e); err != nil {
				return err
			}
		}
		blocks++
	}
	s.answer.complete(out)
	end := event{"delta": map[string]*string{"stop_reason": s.answer.Reason, "stop_sequence": s.answer.Stop}, "usage": s.answer.Usage}
	if err := s.send("message_delta", end); err != nil {
		return err
	}
	return s.send("message_stop", event{})
}
