package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/server/serving"
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

// parse finds the calls in a text that a model wrote; see serving.ParseCalls. rest is the text around them.
func (b *toolbox) parse(text string) (rest string, calls []toolCall) {
	var names []string
	for _, f := range b.functions {
		names = append(names, f.Name)
	}
	rest, found := serving.ParseCalls(text, names)
	if b.one && len(found) > 1 {
		found = found[:1]
	}
	for _, c := range found {
		calls = append(calls, toolCall{
			ID: newID("call_"), Type: "function", Function: calledByName{c.Name, string(c.Arguments)},
		})
	}
	return rest, calls
}

// mayBegin reports whether a text may be the beginning of a call, so that it must not be given out.
func (b *toolbox) mayBegin(text string) bool {
	text = strings.TrimSpace(text)
	return len(b.functions) > 0 &&
		(strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.Contains(text, serving.CallBegin))
}
