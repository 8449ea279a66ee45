package serving

import (
	"encoding/json"
	"slices"
	"strings"
)

// Call is a call of a tool that a model wrote.
type Call struct {
	Name      string
	Arguments json.RawMessage // an object
}

// The marks of calls: of Hermes and Qwen around each, of Mistral in front of a list.
const (
	CallBegin = "<tool_call>"
	callEnd   = "</tool_call>"
	callsMark = "[TOOL_CALLS]"
)

// ParseCalls finds the calls of tools of some names in a text that a model wrote: between Hermes' and Qwen's
// marks, or where the text is nothing but such an object or a list of them, as Mistral's and Llama's
// models write it (these with "parameters" for "arguments"). rest is the text around the calls, with what
// lies between marks and is no call; all of it where there are none.
func ParseCalls(text string, names []string) (rest string, calls []Call) {
	if !strings.Contains(text, CallBegin) {
		body := strings.TrimPrefix(strings.TrimSpace(text), callsMark)
		if calls = parseCalls(body, names); len(calls) > 0 {
			return "", calls
		}
		return text, nil
	}
	var kept strings.Builder
	for left := text; ; {
		before, after, marked := strings.Cut(left, CallBegin)
		kept.WriteString(before)
		if !marked {
			break
		}
		body, behind, closed := strings.Cut(after, callEnd)
		if some := parseCalls(body, names); len(some) > 0 {
			calls = append(calls, some...)
		} else {
			kept.WriteString(CallBegin + body)
			if closed {
				kept.WriteString(callEnd)
			}
		}
		left = behind
	}
	if len(calls) == 0 {
		return text, nil
	}
	return strings.TrimSpace(kept.String()), calls
}

// parseCalls reads a call, or a list of calls; nil where the text is anything else, or calls what is not
// there.
func parseCalls(text string, names []string) (calls []Call) {
	type written struct {
		Name       string          `json:"name"`
		Arguments  json.RawMessage `json:"arguments"`
		Parameters json.RawMessage `json:"parameters"`
	}
	var one written
	var list []written
	if json.Unmarshal([]byte(text), &one) == nil {
		list = append(list, one)
	} else if json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	for _, w := range list {
		arguments := w.Arguments
		if arguments == nil {
			arguments = w.Parameters
		}
		var quoted string
		if json.Unmarshal(arguments, &quoted) == nil && quoted != "" {
			arguments = json.RawMessage(quoted)
		}
		var object map[string]json.RawMessage
		switch {
		case !slices.Contains(names, w.Name):
			return nil
		case arguments == nil || string(arguments) == "null":
			arguments = json.RawMessage("{}")
		case json.Unmarshal(arguments, &object) != nil:
			return nil
		}
		calls = append(calls, Call{w.Name, arguments})
	}
	return calls
}
