package ollama

import (
	"encoding/json"
	"strings"

	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// toolbox are the tools of a request: functions that the model may call.
type toolbox struct {
	list  json.RawMessage // as chat templates take them
	names []string        // nil: there are none
}

// readTools reads the key tools.
func readTools(list json.RawMessage) (toolbox, error) {
	var box toolbox
	if empty(list) {
		return box, nil
	}
	var tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if err := json.Unmarshal(list, &tools); err != nil {
		return box, web.Badf("tools should be a list of {\"type\", \"function\"}")
	}
	for i, t := range tools {
		if t.Function.Name == "" {
			return box, web.Badf("tools[%d].function has no name", i)
		}
		box.names = append(box.names, t.Function.Name)
	}
	box.list = list
	return box, nil
}

// variables are what the chat template is given.
func (b *toolbox) variables() map[string]json.RawMessage {
	if b.names == nil {
		return nil
	}
	return map[string]json.RawMessage{"tools": b.list}
}

// toolCall is a call, as messages have it: arguments are an object, not a text.
type toolCall struct {
	Function calledFunction `json:"function"`
}

type calledFunction struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

func toolCallsOf(calls []serving.Call) (list []toolCall) {
	for _, c := range calls {
		list = append(list, toolCall{calledFunction{c.Name, c.Arguments}})
	}
	return list
}

// extra is what a message has for chat templates beside its text: the calls that the assistant made, or
// which tool says something.
func (m *said) extra() json.RawMessage {
	type call struct {
		Type     string         `json:"type"`
		Function calledFunction `json:"function"`
	}
	var extra struct {
		ToolCalls []call `json:"tool_calls,omitempty"`
		Name      string `json:"name,omitempty"`
	}
	if m.ToolCalls == nil && m.ToolName == "" {
		return nil
	}
	for _, c := range m.ToolCalls {
		if c.Function.Arguments == nil {
			c.Function.Arguments = json.RawMessage("{}")
		}
		extra.ToolCalls = append(extra.ToolCalls, call{"function", c.Function})
	}
	extra.Name = m.ToolName
	data, err := json.Marshal(extra)
	if err != nil {
		return nil // of JSON that was read
	}
	return data
}

// outlet lets a text out as it grows: what no stop string ends, and what is no call of a tool.
type outlet struct {
	pieces serving.Pieces
	tools  []string

	stopped bool // by a stop string
	whole   strings.Builder
	given   string // what was let out
}

// push takes the text of a token and returns what can be let out.
func (o *outlet) push(text string) (out string) {
	if o.stopped {
		return ""
	}
	out, o.stopped = o.pieces.Push(text)
	if o.tools == nil {
		return out
	}
	// Pieces lets no white space out at the beginning, so that a call of JSON alone begins the text.
	o.whole.WriteString(out)
	text = o.whole.String()
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		return ""
	}
	safe := len(text)
	if at := strings.Index(text, serving.CallBegin); at >= 0 {
		safe = at
	} else {
		safe -= serving.Begun(text, []string{serving.CallBegin})
	}
	if safe <= len(o.given) {
		return ""
	}
	out = strings.TrimRight(text[len(o.given):safe], " \t\r\n")
	o.given += out
	return out
}

// end returns what was held back, or the calls that it is.
func (o *outlet) end() (rest string, calls []serving.Call) {
	if !o.stopped {
		rest = o.pieces.End()
	}
	if o.tools == nil {
		return rest, nil
	}
	rest, calls = serving.ParseCalls(o.whole.String()+rest, o.tools)
	left, ok := strings.CutPrefix(rest, o.given)
	if !ok {
		left = ""
	}
	return left, calls
}
