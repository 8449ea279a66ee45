package ollama_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

// look is a tool, and the shape of a call of it, to which a model of random weights has to be held.
var look = object{"type": "function", "function": object{
	"name": "look", "description": "Looks at the sky.",
	"parameters": object{"type": "object", "properties": object{"far": object{"type": "boolean"}}},
}}

var callOfLook = object{
	"type": "object", "additionalProperties": false, "required": []string{"name", "arguments"},
	"properties": json.RawMessage(`{"name":{"const":"look"},"arguments":{"type":"object",` +
		`"properties":{"far":{"type":"boolean"}},"required":["far"],"additionalProperties":false}}`),
}

func TestTools(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "with-tools")
	if err := os.CopyFS(folder, os.DirFS(layouts+"/qwen3vl-transformersjs")); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile("../openai/testdata/tools.jinja")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "chat_template.jinja"), template, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Serving: serving.Config{Catalog: &serving.Catalog{Named: []string{folder}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Service.Close)
	body := object{
		"model": "with-tools", "stream": false, "options": object{"num_predict": 200},
		"messages": []object{{"role": "user", "content": "Does it rain?"}}, "format": callOfLook,
	}
	plain := decoded(t, ask(t, s.Handler(), "POST", "/api/chat", body))
	if text := plain["message"].(object)["content"].(string); !json.Valid([]byte(text)) {
		t.Errorf("without tools a call is a text, and not %q", text)
	}
	body["tools"] = []object{look}
	called := decoded(t, ask(t, s.Handler(), "POST", "/api/chat", body))
	checkCall(t, called)
	if called["prompt_eval_count"].(float64) <= plain["prompt_eval_count"].(float64) || called["done_reason"] != "stop" {
		t.Errorf("the model does not read the tools: %v", called)
	}
	body["stream"] = true
	all := lines(t, ask(t, s.Handler(), "POST", "/api/chat", body))
	if len(all) != 2 || all[0]["done"] != false || all[1]["done"] != true {
		t.Fatalf("%v", all)
	}
	checkCall(t, all[0])

	// What the tool said goes back with the call.
	body["stream"], body["format"], body["options"] = false, "", object{"num_predict": 3}
	body["messages"] = []object{
		{"role": "user", "content": "Does it rain?"},
		{"role": "assistant", "content": "", "tool_calls": []object{{"function": object{"name": "look", "arguments": object{"far": true}}}}},
		{"role": "tool", "content": "It rains.", "tool_name": "look"},
	}
	again := decoded(t, ask(t, s.Handler(), "POST", "/api/chat", body))
	if again["prompt_eval_count"].(float64) <= called["prompt_eval_count"].(float64) || again["message"].(object)["tool_calls"] != nil {
		t.Errorf("the model does not read what the tool said: %v", again)
	}
}

func checkCall(t *testing.T, line object) {
	t.Helper()
	message := line["message"].(object)
	calls, ok := message["tool_calls"].([]any)
	if !ok || len(calls) != 1 || message["content"] != "" {
		t.Fatalf("there is no call: %v", line)
	}
	function := calls[0].(object)["function"].(object)
	if _, ok := function["arguments"].(object)["far"].(bool); !ok || function["name"] != "look" {
		t.Errorf("%v", function)
	}
}
