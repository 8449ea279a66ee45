package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline/grammar"
)

// toolCall is a call of a function that a model asks for.
type toolCall struct {
	Index    *int         `json:"index,omitempty"` // in a stream
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function calledByName `json:"function"`
}

type calledByName struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON
}

// forTemplate is how templates take calls: with arguments as an object where they are one.
func forTemplate(calls []toolCall) []map[string]any {
	var list []map[string]any
	for _, c := range calls {
		function := map[string]any{"name": c.Function.Name, "arguments": c.Function.Arguments}
		if raw := json.RawMessage(c.Function.Arguments); isObject(raw) {
			function["arguments"] = raw
		}
		list = append(list, map[string]any{"id": c.ID, "type": "function", "function": function})
	}
	return list
}

func isObject(raw json.RawMessage) bool {
	return json.Valid(raw) && strings.HasPrefix(strings.TrimSpace(string(raw)), "{")
}

// tool is a function that a model may call. Chat completions have it under "function", responses
// beside "type".
type tool struct {
	Type     string          `json:"type"`
	Function json.RawMessage `json:"function"`
	function
}

type function struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

// toolbox is what a request says of tools.
type toolbox struct {
	functions []function
	// must says that a function is to be called: the one of the name only, or any where it is "".
	must bool
	only string
	one  bool // call one at most
}

// readTools reads the parameters tools, tool_choice and parallel_tool_calls. Without functions that the
// model may call, there is nothing in the result.
func readTools(tools []tool, choice json.RawMessage, parallel *bool) (toolbox, error) {
	box := toolbox{one: parallel != nil && !*parallel}
	for _, t := range tools {
		if t.Type != "function" {
			return box, badParam("tools", unsupported, "a tool is of the type %q; only functions are known here", t.Type)
		}
		f := t.function
		if len(t.Function) > 0 {
			if err := json.Unmarshal(t.Function, &f); err != nil {
				return box, badParam("tools", "invalid_type", "a tool's function should be an object with name and parameters")
			}
		}
		if f.Name == "" {
			return box, badParam("tools", missing, "a tool has no name")
		}
		box.functions = append(box.functions, f)
	}
	return box, box.choose(choice)
}

// choose reads tool_choice.
func (b *toolbox) choose(choice json.RawMessage) error {
	var word string
	var named struct {
		Type     string   `json:"type"`
		Name     string   `json:"name"`
		Function function `json:"function"`
	}
	switch {
	case isNull(choice):
		return nil
	case json.Unmarshal(choice, &word) == nil:
		switch word {
		case "auto":
			return nil
		case "none":
			b.functions = nil
			return nil
		case "required":
			b.must = true
		default:
			return badParam("tool_choice", invalidValue, `"tool_choice" is %q, not none, auto or required`, word)
		}
	case json.Unmarshal(choice, &named) == nil && named.Type == "function":
		b.must, b.only = true, named.Name+named.Function.Name
		if !slices.ContainsFunc(b.functions, func(f function) bool { return f.Name == b.only }) {
			return badParam("tool_choice", invalidValue, `"tool_choice" names %q, which is not among the tools`, b.only)
		}
	default:
		return badParam("tool_choice", invalidValue, `"tool_choice" is none, auto, required or a function's name`)
	}
	if len(b.functions) == 0 {
		return badParam("tool_choice", invalidValue, `"tool_choice" asks for a call, and there are no tools`)
	}
	return nil
}

// shape is the form of a text that has to be a call: the JSON of one, of a function that may be called
// with arguments that fit its parameters.
func (b *toolbox) shape() (*grammar.Grammar, error) {
	type object = map[string]any
	var calls []object
	for _, f := range b.functions {
		if b.only != "" && f.Name != b.only {
			continue
		}
		parameters := f.Parameters
		if isNull(parameters) {
			parameters = json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)
		}
		calls = append(calls, object{
			"type": "object", "required": []string{"name", "arguments"}, "additionalProperties": false,
			"properties": ordered{{"name", object{"const": f.Name}}, {"arguments", parameters}},
		})
	}
	schema, err := json.Marshal(object{"anyOf": calls})
	if err != nil {
		return nil, err
	}
	shape, err := grammar.Schema(schema)
	if err != nil {
		return nil, badParam("tools", invalidValue, "the parameters of a tool: %s", err)
	}
	return shape, nil
}

// ordered is a JSON object whose keys keep their order, in which a grammar writes them.
type ordered []struct {
	key   string
	value any
}

// MarshalJSON writes the object.
func (o ordered) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, p := range o {
		key, err := json.Marshal(p.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(p.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}

// variables are what the chat template is given.
func (b *toolbox) variables() map[string]json.RawMessage {
	if len(b.functions) == 0 {
		return nil
	}
	type listed struct {
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	var list []listed
	for _, f := range b.functions {
		f.Strict = nil
		list = append(list, listed{"function", f})
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil // of JSON that was read
	}
	return map[string]json.RawMessage{"tools": data}
}

// The marks of calls: of Hermes and Qwen around each, of Mistral in front of a list.
const (
	callBegin = "<tool_call>"
	callEnd   = "</tool_call>"
	callsMark = "[TOOL_CALLS]"
)

// parse finds the calls in a text that a model wrote: <tool_call>{"name":...,"arguments":...}</tool_call>
// as Hermes and Qwen write them, or nothing but such an object or a list of them, as Mistral and Llama
// (with "parameters") do. rest is the text around the calls.
func (b *toolbox) parse(text string) (rest string, calls []toolCall) {
	if len(b.functions) == 0 {
		return text, nil
	}
	if strings.Contains(text, callBegin) {
		rest, calls = b.parseMarked(text)
	} else {
		body := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), callsMark))
		if calls = b.parseJSON(body); len(calls) == 0 {
			return text, nil
		}
	}
	if len(calls) == 0 {
		return text, nil
	}
	if b.one {
		calls = calls[:1]
	}
	return strings.TrimSpace(rest), calls
}

// parseMarked finds calls between marks. What lies between marks and is no call stays text.
func (b *toolbox) parseMarked(text string) (rest string, calls []toolCall) {
	var kept strings.Builder
	for {
		before, after, found := strings.Cut(text, callBegin)
		kept.WriteString(before)
		if !found {
			return kept.String(), calls
		}
		body, behind, closed := strings.Cut(after, callEnd)
		if some := b.parseJSON(strings.TrimSpace(body)); len(some) > 0 {
			calls = append(calls, some...)
		} else {
			kept.WriteString(callBegin + body)
			if closed {
				kept.WriteString(callEnd)
			}
		}
		text = behind
	}
}

// parseJSON reads a call, or a list of calls, of functions that there are.
func (b *toolbox) parseJSON(text string) []toolCall {
	type written struct {
		Name       string          `json:"name"`
		Arguments  json.RawMessage `json:"arguments"`
		Parameters json.RawMessage `json:"parameters"`
	}
	var list []written
	var one written
	if json.Unmarshal([]byte(text), &one) == nil {
		list = append(list, one)
	} else if json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	var calls []toolCall
	for _, w := range list {
		if !slices.ContainsFunc(b.functions, func(f function) bool { return f.Name == w.Name }) {
			return nil
		}
		arguments := string(w.Arguments)
		if arguments == "" {
			arguments = string(w.Parameters)
		}
		var quoted string
		if json.Unmarshal([]byte(arguments), &quoted) == nil {
			arguments = quoted
		}
		if arguments == "" || arguments == "null" {
			arguments = "{}"
		}
		calls = append(calls, toolCall{ID: newID("call_"), Type: "function", Function: calledByName{w.Name, arguments}})
	}
	return calls
}

// mayBegin reports whether a text may be the beginning of a call, so that it must not be given out.
func (b *toolbox) mayBegin(text string) bool {
	text = strings.TrimSpace(text)
	return len(b.functions) > 0 &&
		(strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.Contains(text, callBegin))
}
