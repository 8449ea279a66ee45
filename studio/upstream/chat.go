package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// File is a picture, a sound or a document of a message.
type File struct {
	Name string
	Type string // its media type
	Data []byte
}

// Message is a turn of a conversation.
type Message struct {
	Role  string // system, user or assistant
	Text  string
	Files []File
}

// Request asks for the assistant's next message. Settings that are nil are the service's choice.
type Request struct {
	Model       string
	Messages    []Message
	Temperature *float64
	TopP        *float64
	MaxTokens   int // 0: the service's choice
	Seed        *uint64
}

// Answer is what a service wrote.
type Answer struct {
	Text   string
	Model  string // as the service calls it
	Finish string // why it ended, such as stop or length; "" where the caller stopped it
	Prompt int    // tokens read, where the service says so
	Tokens int    // tokens written, likewise
}

// content is a message's content as the API wants it: a text, or a list of parts.
func (m Message) content() any {
	if len(m.Files) == 0 {
		return m.Text
	}
	var parts []map[string]any
	for _, f := range m.Files {
		encoded := base64.StdEncoding.EncodeToString(f.Data)
		url := "data:" + f.Type + ";base64," + encoded
		kind, sub, _ := strings.Cut(f.Type, "/")
		switch kind {
		case "image":
			parts = append(parts, map[string]any{"type": "image_url", "image_url": map[string]any{"url": url}})
		case "audio":
			format := map[string]string{"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}
			parts = append(parts, map[string]any{"type": "input_audio", "input_audio": map[string]any{
				"data": encoded, "format": cmp.Or(format[sub], sub),
			}})
		default:
			parts = append(parts, map[string]any{"type": "file", "file": map[string]any{
				"filename": f.Name, "file_data": url,
			}})
		}
	}
	if m.Text != "" {
		parts = append(parts, map[string]any{"type": "text", "text": m.Text})
	}
	return parts
}

// body is the request as the API wants it. limit is the name of the parameter that bounds the answer.
func (r Request) body(limit string) map[string]any {
	var messages []map[string]any
	for _, m := range r.Messages {
		messages = append(messages, map[string]any{"role": m.Role, "content": m.content()})
	}
	body := map[string]any{"model": r.Model, "messages": messages, "stream": true}
	if r.Temperature != nil {
		body["temperature"] = *r.Temperature
	}
	if r.TopP != nil {
		body["top_p"] = *r.TopP
	}
	if r.MaxTokens > 0 {
		body[limit] = r.MaxTokens
	}
	if r.Seed != nil {
		body["seed"] = *r.Seed
	}
	return body
}

// Chat asks for an answer, and gives emit each piece of it as it comes; emit ends the answer by returning
// false. Where the answer fails on the way, what came of it is returned beside the error, which wraps ErrBroken
// or is an *Error.
func (c *Client) Chat(ctx context.Context, r Request, emit func(piece string) bool) (Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := cmp.Or(c.Silence, 2*time.Minute)
	silent := time.AfterFunc(silence, func() {
		cancel(fmt.Errorf("%w: the service said nothing for %s", ErrBroken, silence))
	})
	defer silent.Stop()
	answer, err := c.chat(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	defer answer.Body.Close()
	silent.Reset(silence)
	s := stream{emit: emit, answer: Answer{Model: r.Model}}
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind == "application/json" {
		err = s.whole(answer.Body)
	} else {
		err = s.read(answer.Body, func() { silent.Reset(silence) })
	}
	s.answer.Text = s.text.String()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s.answer, err
}

// chat begins an answer. OpenAI's newer models refuse max_tokens, and other services do not know what took its
// place: the second name is tried where the first is refused.
func (c *Client) chat(ctx context.Context, r Request) (*http.Response, error) {
	const path = "/chat/completions"
	answer, err := c.do(ctx, path, r.body("max_tokens"))
	if failed, ok := errors.AsType[*Error](err); ok && r.MaxTokens > 0 && failed.Status == http.StatusBadRequest &&
		strings.Contains(failed.Message, "max_completion_tokens") {
		return c.do(ctx, path, r.body("max_completion_tokens"))
	}
	return answer, err
}

// chunk is a piece of a stream, or an answer that is none.
type chunk struct {
	told
	Model   string `json:"model"`
	Choices []struct {
		Delta   said    `json:"delta"`
		Message said    `json:"message"`
		Finish  *string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	} `json:"usage"`
}

// said is what a message says: a text, or a list of parts with some services.
type said struct {
	Content json.RawMessage `json:"content"`
	Refusal string          `json:"refusal"`
}

func (s said) text() string {
	var text string
	if json.Unmarshal(s.Content, &text) == nil && text != "" {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(s.Content, &parts) == nil {
		for _, p := range parts {
			text += p.Text
		}
	}
	return cmp.Or(text, s.Refusal)
}

// stream gathers an answer.
type stream struct {
	emit    func(string) bool
	text    strings.Builder
	answer  Answer
	stopped bool // by emit
}

// mostLine bounds an event, in bytes.
const mostLine = 8 << 20

// mostText bounds an answer, in bytes.
const mostText = 8 << 20

// whole reads an answer that is no stream.
func (s *stream) whole(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, mostList))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if err := s.take(data); err != nil {
		return err
	}
	if s.text.Len() == 0 && s.answer.Finish == "" {
		return fmt.Errorf("%w: it holds no message", ErrBroken)
	}
	return nil
}

// read reads server-sent events. heard is called with each line, comments included.
func (s *stream) read(r io.Reader, heard func()) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, mostLine)
	for lines.Scan() {
		heard()
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue // a comment, the name of an event, an empty line
		}
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			return nil
		}
		if len(data) == 0 {
			continue
		}
		if err := s.take(data); err != nil || s.stopped {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if s.answer.Finish == "" { // some end their streams without [DONE], none without this
		return ErrBroken
	}
	return nil
}

// take takes a piece.
func (s *stream) take(data []byte) error {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("%w: a piece of it is no JSON as wanted", ErrBroken)
	}
	if len(c.Choices) == 0 {
		if message := c.message(); message != "" {
			return &Error{Message: shortened(message)}
		}
	}
	s.answer.Model = cmp.Or(c.Model, s.answer.Model)
	if c.Usage != nil {
		s.answer.Prompt, s.answer.Tokens = c.Usage.Prompt, c.Usage.Completion
	}
	if len(c.Choices) == 0 {
		return nil
	}
	choice := c.Choices[0]
	if choice.Finish != nil {
		s.answer.Finish = cmp.Or(*choice.Finish, s.answer.Finish)
	}
	piece := choice.Delta.text() + choice.Message.text()
	if s.text.Len()+len(piece) > mostText {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrBroken, mostText)
	}
	s.text.WriteString(piece)
	s.stopped = piece != "" && s.emit != nil && !s.emit(piece)
	return nil
}
