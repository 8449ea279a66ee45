package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/web"
)

// responseRequest is the body of /v1/responses.
type responseRequest struct {
	Model             string          `json:"model"`
	Input             json.RawMessage `json:"input"`
	Instructions      *string         `json:"instructions"`
	MaxOutputTokens   *int            `json:"max_output_tokens"`
	Temperature       *float64        `json:"temperature"`
	TopP              *float64        `json:"top_p"`
	TopLogProbs       int             `json:"top_logprobs"`
	Include           []string        `json:"include"`
	Stream            bool            `json:"stream"`
	StreamOptions     *streamOptions  `json:"stream_options"`
	Text              *responseText   `json:"text"`
	Tools             []tool          `json:"tools"`
	ToolChoice        json.RawMessage `json:"tool_choice"`
	ParallelToolCalls *bool           `json:"parallel_tool_calls"`
	// Of these, one value alone is taken: what this server does anyway.
	Store      bool   `json:"store"`
	Background bool   `json:"background"`
	Truncation string `json:"truncation"`
	// These refer to what a server has kept, and this one keeps nothing.
	PreviousID   *string         `json:"previous_response_id"`
	Conversation json.RawMessage `json:"conversation"`
	Prompt       json.RawMessage `json:"prompt"`
	// These are further parameters of decoding, which vLLM takes here.
	Seed *int64   `json:"seed"`
	Stop stopList `json:"stop"`
	TopK *int     `json:"top_k"`
	// These PhotoPrism sends.
	FrequencyPenalty *float64 `json:"frequency_penalty"`
	PresencePenalty  *float64 `json:"presence_penalty"`
}

type responseText struct {
	Format    *responseFormat `json:"format"`
	Verbosity string          `json:"verbosity"`
}

// The values of include that are known.
const (
	includeLogProbs  = "message.output_text.logprobs"
	includeReasoning = "reasoning.encrypted_content" // there is none
)

// job checks the parameters, all but the input. logs says whether logprobs are wanted.
func (b *responseRequest) job() (j *job, logs bool, err error) {
	j = &job{sampling: sampling{
		Temperature: b.Temperature, TopP: b.TopP, Seed: b.Seed, Stop: b.Stop, TopK: b.TopK,
		FrequencyPenalty: b.FrequencyPenalty, PresencePenalty: b.PresencePenalty,
		maxTokens: b.MaxOutputTokens, maxName: "max_output_tokens", topLogProbs: b.TopLogProbs,
	}}
	for _, c := range []struct {
		refused bool
		param   string
		why     string
	}{
		{b.Store, "store", `this server keeps nothing: "store" can only be false`},
		{b.PreviousID != nil, "previous_response_id", "this server keeps no answers: send the whole conversation as input"},
		{!isNull(b.Conversation), "conversation", "this server keeps no conversations: send the whole of it as input"},
		{!isNull(b.Prompt), "prompt", "this server keeps no prompts: send it as instructions and input"},
		{b.Background, "background", `"background" can only be false: answers come at once`},
		{b.Truncation != "" && b.Truncation != "disabled", "truncation",
			`"truncation" can only be disabled: an input that is too long is an error`},
		{b.Text != nil && b.Text.Verbosity != "" && b.Text.Verbosity != "medium", "text.verbosity",
			`"verbosity" can only be medium here`},
	} {
		if c.refused {
			return nil, false, badParam(c.param, unsupported, "%s", c.why)
		}
	}
	for _, what := range b.Include {
		switch what {
		case includeLogProbs:
			logs = true
		case includeReasoning:
		default:
			return nil, false, badParam("include", unsupported, `"include" can have %s, and not %q`, includeLogProbs, what)
		}
	}
	if b.TopLogProbs > 0 && !logs {
		return nil, false, badParam("top_logprobs", invalidValue, `"top_logprobs" needs %q in "include"`, includeLogProbs)
	}
	if j.logs = logs; j.check() != nil {
		return nil, false, j.check()
	}
	if j.tools, err = readTools(b.Tools, b.ToolChoice, b.ParallelToolCalls); err != nil {
		return nil, false, err
	}
	var f *responseFormat
	if b.Text != nil {
		f = b.Text.Format
	}
	return j, logs, j.setShape("text.format", f)
}

// inputItem is an item of a conversation.
type inputItem struct {
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

// readInput reads the input: a text of the user, or items. Errors name an item as input[i].
func (h handlers) readInput(ctx context.Context, instructions *string, input json.RawMessage) ([]turn, error) {
	var turns []turn
	if instructions != nil && *instructions != "" {
		turns = append(turns, turn{role: pipeline.RoleSystem, parts: []part{{text: *instructions}}})
	}
	if isNull(input) {
		return nil, badParam("input", missing, `"input" is missing`)
	}
	var text string
	if json.Unmarshal(input, &text) == nil {
		return append(turns, turn{role: pipeline.RoleUser, parts: []part{{text: text}}}), nil
	}
	var items []inputItem
	if err := json.Unmarshal(input, &items); err != nil {
		return nil, badParam("input", "invalid_type", `"input" is a text or a list of items`)
	}
	if len(items) == 0 {
		return nil, badParam("input", invalidValue, `"input" is an empty list`)
	}
	for i := 0; i < len(items); i++ {
		at := fmt.Sprintf("input[%d]", i)
		switch item := items[i]; item.Type {
		case "message", "":
			role, ok := roles[item.Role]
			if !ok || role == roleTool {
				return nil, badParam(at+".role", invalidValue,
					"%s has the role %q; there are system, developer, user and assistant", at, item.Role)
			}
			parts, err := h.readContent(ctx, at+".content", item.Content)
			if err != nil {
				return nil, err
			}
			if parts == nil {
				return nil, badParam(at+".content", missing, "%s has no content", at)
			}
			turns = append(turns, turn{role: role, parts: parts})
		case "function_call":
			m := message{}
			for ; i < len(items) && items[i].Type == "function_call"; i++ {
				call := calledByName{items[i].Name, items[i].Arguments}
				m.ToolCalls = append(m.ToolCalls, toolCall{ID: items[i].CallID, Type: "function", Function: call})
			}
			i--
			turns = append(turns, turn{role: pipeline.RoleAssistant, extra: m.extra()})
		case "function_call_output":
			parts, err := h.readContent(ctx, at+".output", item.Output)
			if err != nil {
				return nil, err
			}
			m := message{ToolCallID: item.CallID}
			turns = append(turns, turn{role: roleTool, parts: parts, extra: m.extra()})
		case "reasoning": // of another model; templates take none
		default:
			return nil, badParam(at+".type", unsupported,
				"%s is of the type %q; message, function_call and function_call_output are read here", at, item.Type)
		}
	}
	return turns, nil
}

// responses answers an input.
func (h handlers) responses(w http.ResponseWriter, r *http.Request) error {
	var body responseRequest
	if err := readBody(r, &body); err != nil {
		return err
	}
	j, logs, err := body.job()
	if err != nil {
		return err
	}
	m, release, err := h.service.Use(r.Context(), h.modelName(body.Model, "chat"))
	if err != nil {
		return err
	}
	defer release()
	if j.turns, err = h.readInput(r.Context(), body.Instructions, body.Input); err != nil {
		return err
	}
	if err := h.askDocuments(r.Context(), m, j, w.Header()); err != nil {
		return err
	}
	answer := newResponse(&body, j, m.Name)
	if body.Stream {
		return streamResponse(w, r, m, j, answer, logs)
	}
	out, err := j.write(r.Context(), m, w.Header(), nil)
	if err != nil {
		return err
	}
	t := out.texts[0]
	if t.text != "" || len(t.calls) == 0 {
		answer.Output = append(answer.Output, newOutputMessage(newID("msg_"), t, logs))
	}
	for _, call := range t.calls {
		answer.Output = append(answer.Output, newOutputCall(newID("fc_"), call))
	}
	answer.complete(out)
	return web.WriteJSON(w, http.StatusOK, answer)
}

// response is an answer, whole or as far as it is written. Keys that the request sets are as it set
// them.
type response struct {
	ID                string             `json:"id"`
	Object            string             `json:"object"`
	CreatedAt         int64              `json:"created_at"`
	Status            string             `json:"status"`
	Background        bool               `json:"background"`
	Error             *failure           `json:"error"`
	IncompleteDetails *incompleteDetails `json:"incomplete_details"`
	Instructions      *string            `json:"instructions"`
	MaxOutputTokens   *int               `json:"max_output_tokens"`
	Metadata          map[string]string  `json:"metadata"`
	Model             string             `json:"model"`
	Output            []any              `json:"output"` // of outputMessage and outputCall
	ParallelToolCalls bool               `json:"parallel_tool_calls"`
	PreviousID        *string            `json:"previous_response_id"`
	Store             bool               `json:"store"`
	Temperature       *float64           `json:"temperature"`
	Text              map[string]any     `json:"text"`
	ToolChoice        json.RawMessage    `json:"tool_choice"`
	Tools             []flatTool         `json:"tools"`
	TopLogProbs       int                `json:"top_logprobs"`
	TopP              *float64           `json:"top_p"`
	Truncation        string             `json:"truncation"`
	Usage             *responseUsage     `json:"usage"`
}

type incompleteDetails struct {
	Reason string `json:"reason"`
}

type flatTool struct {
	Type string `json:"type"`
	function
}

type responseUsage struct {
	InputTokens   int            `json:"input_tokens"`
	InputDetails  map[string]int `json:"input_tokens_details"`
	OutputTokens  int            `json:"output_tokens"`
	OutputDetails map[string]int `json:"output_tokens_details"`
	TotalTokens   int            `json:"total_tokens"`
}

// newResponse returns an answer of which nothing is written.
func newResponse(b *responseRequest, j *job, model string) *response {
	a := &response{
		ID: newID("resp_"), Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress",
		Instructions: b.Instructions, MaxOutputTokens: b.MaxOutputTokens, Metadata: map[string]string{},
		Model: model, Output: []any{}, ParallelToolCalls: !j.tools.one, Temperature: b.Temperature,
		Text:       map[string]any{"format": map[string]string{"type": "text"}},
		ToolChoice: b.ToolChoice, Tools: []flatTool{}, TopLogProbs: b.TopLogProbs, TopP: b.TopP,
		Truncation: "disabled",
	}
	if b.Text != nil && b.Text.Format != nil {
		a.Text["format"] = b.Text.Format
	}
	if isNull(a.ToolChoice) {
		a.ToolChoice = json.RawMessage(`"auto"`)
	}
	for _, f := range j.tools.functions {
		a.Tools = append(a.Tools, flatTool{"function", f})
	}
	return a
}

// complete ends an answer.
func (a *response) complete(out *outcome) {
	a.Status = "completed"
	if out.texts[0].finish == finishLength {
		a.Status, a.IncompleteDetails = "incomplete", &incompleteDetails{"max_output_tokens"}
	}
	u := newUsage(out)
	a.Usage = &responseUsage{
		u.PromptTokens, map[string]int{"cached_tokens": 0, "cache_write_tokens": 0},
		u.CompletionTokens, map[string]int{"reasoning_tokens": 0}, u.TotalTokens,
	}
}

// outputMessage is a text of an answer.
type outputMessage struct {
	ID      string       `json:"id"`
	Type    string       `json:"type"`
	Status  string       `json:"status"`
	Role    string       `json:"role"`
	Content []outputText `json:"content"`
}

type outputText struct {
	Type        string         `json:"type"`
	Text        string         `json:"text"`
	Annotations []string       `json:"annotations"` // none
	LogProbs    []tokenLogProb `json:"logprobs"`
}

func newOutputText(t written, logs bool) outputText {
	one := outputText{"output_text", t.text, []string{}, []tokenLogProb{}}
	if logs {
		one.LogProbs = tokenLogProbs(t.tokens)
	}
	return one
}

func newOutputMessage(id string, t written, logs bool) outputMessage {
	status := "completed"
	if t.finish == finishLength {
		status = "incomplete"
	}
	return outputMessage{id, "message", status, pipeline.RoleAssistant, []outputText{newOutputText(t, logs)}}
}

// outputCall is a call of a tool.
type outputCall struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func newOutputCall(id string, call toolCall) outputCall {
	return outputCall{id, "function_call", "completed", call.ID, call.Function.Name, call.Function.Arguments}
}
