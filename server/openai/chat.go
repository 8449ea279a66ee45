package openai

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// chatRequest is the body of /v1/chat/completions.
type chatRequest struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	sampling
	MaxTokens           *int                       `json:"max_tokens"`
	MaxCompletionTokens *int                       `json:"max_completion_tokens"`
	LogProbs            bool                       `json:"logprobs"`
	TopLogProbs         int                        `json:"top_logprobs"`
	Stream              bool                       `json:"stream"`
	StreamOptions       *streamOptions             `json:"stream_options"`
	ResponseFormat      *responseFormat            `json:"response_format"`
	Tools               []tool                     `json:"tools"`
	ToolChoice          json.RawMessage            `json:"tool_choice"`
	ParallelToolCalls   *bool                      `json:"parallel_tool_calls"`
	TemplateVariables   map[string]json.RawMessage `json:"chat_template_kwargs"` // vLLM's
	// Of these, one value alone is taken: what this server does anyway.
	Modalities []string `json:"modalities"`
	Store      bool     `json:"store"`
	Verbosity  string   `json:"verbosity"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
	// IncludeObfuscation has no effect: nothing is padded here.
	IncludeObfuscation bool `json:"include_obfuscation"`
}

// job checks the parameters of a chat, all but the messages.
func (b *chatRequest) job() (*job, error) {
	j := &job{sampling: b.sampling, variables: b.TemplateVariables}
	j.maxTokens, j.maxName = b.MaxTokens, "max_tokens"
	if b.MaxCompletionTokens != nil {
		j.maxTokens, j.maxName = b.MaxCompletionTokens, "max_completion_tokens"
	}
	j.topLogProbs, j.logs = b.TopLogProbs, b.LogProbs
	switch {
	case b.TopLogProbs > 0 && !b.LogProbs:
		return nil, badParam("top_logprobs", invalidValue, `"top_logprobs" needs "logprobs": true`)
	case b.StreamOptions != nil && !b.Stream:
		return nil, badParam("stream_options", invalidValue, `"stream_options" needs "stream": true`)
	case b.Store:
		return nil, badParam("store", unsupported, `this server keeps nothing: "store" can only be false`)
	case b.Verbosity != "" && b.Verbosity != "medium":
		return nil, badParam("verbosity", unsupported, `"verbosity" can only be medium here`)
	}
	for _, kind := range b.Modalities {
		if kind != "text" {
			return nil, badParam("modalities", unsupported, "models here write texts, and no %q", kind)
		}
	}
	if err := j.check(); err != nil {
		return nil, err
	}
	var err error
	if j.tools, err = readTools(b.Tools, b.ToolChoice, b.ParallelToolCalls); err != nil {
		return nil, err
	}
	return j, j.setShape("response_format", b.ResponseFormat)
}

// chat answers a conversation.
func (h handlers) chat(w http.ResponseWriter, r *http.Request) error {
	var body chatRequest
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
	if j.turns, err = h.readMessages(r.Context(), body.Messages); err != nil {
		return err
	}
	if err := h.askDocuments(r.Context(), m, j, w.Header()); err != nil {
		return err
	}
	head := chatHead{ID: newID("chatcmpl-"), Object: "chat.completion", Created: time.Now().Unix(), Model: m.Name}
	if body.Stream {
		return streamChat(w, r, m, j, head, &body)
	}
	out, err := j.write(r.Context(), m, w.Header(), nil)
	if err != nil {
		return err
	}
	answer := chatAnswer{chatHead: head, Usage: newUsage(out)}
	for i, t := range out.texts {
		c := chatChoice{Index: i, FinishReason: t.finish, Message: newChatMessage(t)}
		if body.LogProbs {
			c.LogProbs = newChatLogProbs(t.tokens)
		}
		answer.Choices = append(answer.Choices, c)
	}
	return web.WriteJSON(w, http.StatusOK, answer)
}

// chatHead begins an answer, or a chunk of one.
type chatHead struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

type chatAnswer struct {
	chatHead
	Choices []chatChoice `json:"choices"`
	Usage   usage        `json:"usage"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      chatMessage   `json:"message"`
	LogProbs     *chatLogProbs `json:"logprobs"`
	FinishReason string        `json:"finish_reason"`
}

// chatMessage is an answer's message. Its content is null where it calls tools alone.
type chatMessage struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Refusal   *string    `json:"refusal"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

func newChatMessage(t written) chatMessage {
	m := chatMessage{Role: pipeline.RoleAssistant, ToolCalls: t.calls}
	if t.text != "" || len(t.calls) == 0 {
		m.Content = &t.text
	}
	return m
}

// usage counts tokens: those that the model read, rows of pictures included, and those that it wrote,
// an end included.
type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

func newUsage(out *outcome) usage { return usage{out.prompt, out.tokens, out.prompt + out.tokens} }

type chatLogProbs struct {
	Content []tokenLogProb  `json:"content"`
	Refusal *[]tokenLogProb `json:"refusal"`
}

// tokenLogProb is a token with the natural logarithm of its probability under the model. Bytes are
// those of its text.
type tokenLogProb struct {
	Token   string          `json:"token"`
	LogProb float64         `json:"logprob"`
	Bytes   []int           `json:"bytes"`
	Top     *[]tokenLogProb `json:"top_logprobs,omitempty"` // nil within a list of alternatives
}

func newTokenLogProb(text string, logProb float64) tokenLogProb {
	t := tokenLogProb{Token: text, LogProb: max(logProb, leastLogProb), Bytes: []int{}}
	for _, b := range []byte(text) {
		t.Bytes = append(t.Bytes, int(b))
	}
	return t
}

// leastLogProb stands for the logarithm of nothing, which JSON has no word for, as in OpenAI's API.
const leastLogProb = -9999

// tokenLogProbs lists tokens with their alternatives.
func tokenLogProbs(tokens []pipeline.Token) []tokenLogProb {
	list := []tokenLogProb{}
	for _, t := range tokens {
		one := newTokenLogProb(t.Text, t.LogProb)
		one.Top = &[]tokenLogProb{}
		for _, c := range t.Top {
			*one.Top = append(*one.Top, newTokenLogProb(c.Text, c.LogProb))
		}
		list = append(list, one)
	}
	return list
}

func newChatLogProbs(tokens []pipeline.Token) *chatLogProbs {
	return &chatLogProbs{Content: tokenLogProbs(tokens)}
}

// chatChunk is an event of a stream.
type chatChunk struct {
	chatHead
	Choices []chunkChoice `json:"choices"`
	// Usage is null in all events but the last, if it was asked for, and not there otherwise.
	Usage *json.RawMessage `json:"usage,omitempty"`
}

type chunkChoice struct {
	Index        int           `json:"index"`
	Delta        delta         `json:"delta"`
	LogProbs     *chatLogProbs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type delta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

// chatStream writes a chat as events.
type chatStream struct {
	head   chatHead
	usage  bool
	logs   bool
	begin  func() *web.Stream
	stream *web.Stream
	begun  map[int]bool // texts of which there was an event
}

var jsonNull = json.RawMessage("null")

// send sends an event with one choice.
func (s *chatStream) send(c chunkChoice) error {
	if s.stream == nil {
		s.stream = s.begin()
	}
	chunk := chatChunk{chatHead: s.head, Choices: []chunkChoice{c}}
	if s.usage {
		chunk.Usage = &jsonNull
	}
	return s.stream.Send("", chunk)
}

// open sends the first event of a text, which says who speaks.
func (s *chatStream) open(text int) error {
	if s.begun[text] {
		return nil
	}
	s.begun[text] = true
	return s.send(chunkChoice{Index: text, Delta: delta{Role: pipeline.RoleAssistant, Content: ptr("")}})
}

// piece sends a piece of a text.
func (s *chatStream) piece(text int, p piece) error {
	if err := s.open(text); err != nil {
		return err
	}
	c := chunkChoice{Index: text}
	if p.text != "" || len(p.calls) == 0 {
		c.Delta.Content = &p.text
	}
	for i, call := range p.calls {
		call.Index = &i
		c.Delta.ToolCalls = append(c.Delta.ToolCalls, call)
	}
	if s.logs {
		c.LogProbs = newChatLogProbs(p.tokens)
	} else if p.text == "" && len(p.calls) == 0 {
		return nil
	}
	return s.send(c)
}

// end ends the texts and the stream.
func (s *chatStream) end(out *outcome) error {
	for i, t := range out.texts {
		if err := s.open(i); err != nil {
			return err
		}
		if err := s.send(chunkChoice{Index: i, FinishReason: &t.finish}); err != nil {
			return err
		}
	}
	if s.usage {
		data, err := json.Marshal(newUsage(out))
		if err != nil {
			return err
		}
		raw := json.RawMessage(data)
		if err := s.stream.Send("", chatChunk{s.head, []chunkChoice{}, &raw}); err != nil {
			return err
		}
	}
	return s.stream.Raw("", []byte("[DONE]"))
}

// streamChat answers a conversation event by event. What fails before the first event has a status of
// its own; behind it the error is an event.
func streamChat(
	w http.ResponseWriter, r *http.Request, m *serving.Model, j *job, head chatHead, body *chatRequest,
) error {
	head.Object = "chat.completion.chunk"
	s := &chatStream{
		head: head, logs: body.LogProbs, begun: map[int]bool{},
		begin: func() *web.Stream { return web.Events(w) },
	}
	s.usage = body.StreamOptions != nil && body.StreamOptions.IncludeUsage
	out, err := j.write(r.Context(), m, w.Header(), s.piece)
	if err == nil {
		return s.end(out)
	}
	return endStream(s.stream, err)
}

// endStream tells of an error in a stream that has begun.
func endStream(s *web.Stream, err error) error {
	if s != nil {
		s.Send("", map[string]failure{"error": streamFailure(err)})
	}
	return err
}
