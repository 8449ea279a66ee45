package openai_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
)

// failed checks an error: its status, its parameter and code, and that it has all four keys.
func failed(t *testing.T, w *httptest.ResponseRecorder, status int, param, code string) {
	t.Helper()
	var answer struct {
		Error map[string]*string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	e := answer.Error
	text := func(key string) string {
		v, ok := e[key]
		if !ok {
			t.Errorf("no key %q in %s", key, w.Body)
		}
		if v == nil {
			return ""
		}
		return *v
	}
	if w.Code != status || text("param") != param || code != "" && text("code") != code ||
		text("message") == "" || text("type") == "" || len(e) != 4 {
		t.Errorf("%d %s, want %d about %q with the code %q", w.Code, w.Body, status, param, code)
	}
	if body := w.Body.String(); strings.Contains(body, "/tmp") || strings.Contains(body, "goroutine") {
		t.Errorf("it tells of the inside: %s", body)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	dot := dataURL(t, "red-circle.png")
	chat := func(more string) string {
		return `{"model":"` + chatter + `","max_tokens":1,"messages":[{"role":"user","content":"hi"}]` + more + `}`
	}
	said := func(content string) string {
		return `{"model":"` + chatter + `","max_tokens":1,"messages":[{"role":"user","content":` + content + `}]}`
	}
	answer := func(more string) string {
		return `{"model":"` + chatter + `","max_output_tokens":1,"input":"hi"` + more + `}`
	}
	for _, test := range []struct {
		path, body  string
		status      int
		param, code string
	}{
		{"chat/completions", ``, 400, "", ""},
		{"chat/completions", `{"model":`, 400, "", ""},
		{"chat/completions", `[]`, 400, "", ""},
		{"chat/completions", `null`, 400, "", ""},
		{"chat/completions", `{} {}`, 400, "", ""},
		{"chat/completions", `{"model":"x","messages":{}}`, 400, "messages", "invalid_type"},
		{"chat/completions", `{"model":"x","messages":[]}`, 404, "model", "model_not_found"},
		{"chat/completions", `{"model":"../../etc","messages":[]}`, 404, "model", "model_not_found"},
		{"chat/completions", `{"model":"blip2-mini"}`, 400, "messages", "missing_required_parameter"},
		{"chat/completions", chat(`,"temperature":2.1`), 400, "temperature", "invalid_value"},
		{"chat/completions", chat(`,"temperature":"1"`), 400, "temperature", "invalid_type"},
		{"chat/completions", chat(`,"top_p":1.1`), 400, "top_p", "invalid_value"},
		{"chat/completions", chat(`,"n":0`), 400, "n", "invalid_value"},
		{"chat/completions", chat(`,"n":129`), 400, "n", "invalid_value"},
		{"chat/completions", chat(`,"seed":1.5`), 400, "seed", "invalid_type"},
		{"chat/completions", chat(`,"max_completion_tokens":0`), 400, "max_completion_tokens", "invalid_value"},
		{"chat/completions", chat(`,"presence_penalty":-3`), 400, "presence_penalty", "invalid_value"},
		{"chat/completions", chat(`,"frequency_penalty":3`), 400, "frequency_penalty", "invalid_value"},
		{"chat/completions", chat(`,"stop":[1]`), 400, "stop", "invalid_type"},
		{"chat/completions", chat(`,"stop":""`), 400, "stop", "invalid_value"},
		{"chat/completions", chat(`,"logit_bias":{"-1":1}`), 400, "logit_bias", "invalid_value"},
		{"chat/completions", chat(`,"logit_bias":[]`), 400, "logit_bias", "invalid_type"},
		{"chat/completions", chat(`,"top_logprobs":2`), 400, "top_logprobs", "invalid_value"},
		{"chat/completions", chat(`,"logprobs":true,"top_logprobs":21`), 400, "top_logprobs", "invalid_value"},
		{"chat/completions", chat(`,"stream_options":{}`), 400, "stream_options", "invalid_value"},
		{"chat/completions", chat(`,"store":true`), 400, "store", "unsupported_parameter"},
		{"chat/completions", chat(`,"modalities":["audio"]`), 400, "modalities", "unsupported_parameter"},
		{"chat/completions", chat(`,"verbosity":"high"`), 400, "verbosity", "unsupported_parameter"},
		{"chat/completions", chat(`,"functions":[]`), 400, "functions", "unknown_parameter"},
		{"chat/completions", chat(`,"whatever":1`), 400, "whatever", "unknown_parameter"},
		{"chat/completions", chat(`,"response_format":{"type":"xml"}`), 400, "response_format.type", "invalid_value"},
		{"chat/completions", chat(`,"response_format":{"type":"json_schema"}`), 400, "response_format.schema", "missing_required_parameter"},
		{"chat/completions", chat(`,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"pattern":"a"}}}`),
			400, "response_format.json_schema.schema", "invalid_value"},
		{"chat/completions", chat(`,"tools":[{"type":"function","function":{"name":"f"}}]`), 400, "tools", "unsupported_parameter"},
		{"chat/completions", chat(`,"tools":[{"type":"search"}]`), 400, "tools", "unsupported_parameter"},
		{"chat/completions", chat(`,"tools":[{"type":"function","function":{}}]`), 400, "tools", "missing_required_parameter"},
		{"chat/completions", chat(`,"tool_choice":"required"`), 400, "tool_choice", "invalid_value"},
		{"chat/completions", chat(`,"tool_choice":"perhaps"`), 400, "tool_choice", "invalid_value"},
		{"chat/completions", said(`null`), 400, "messages[0].content", "missing_required_parameter"},
		{"chat/completions", said(`5`), 400, "messages[0].content", "invalid_type"},
		{"chat/completions", said(`[{"text":"a"}]`), 400, "messages[0].content[0].type", "missing_required_parameter"},
		{"chat/completions", said(`[{"type":"text"}]`), 400, "messages[0].content[0].text", "missing_required_parameter"},
		{"chat/completions", said(`[{"type":"image_url"}]`), 400, "messages[0].content[0].image_url", "missing_required_parameter"},
		{"chat/completions", said(`[{"type":"image_url","image_url":"http://127.0.0.1/a.png"}]`), 400, "messages[0].content[0].image_url", ""},
		{"chat/completions", said(`[{"type":"image_url","image_url":"file:///etc/passwd"}]`), 400, "messages[0].content[0].image_url", ""},
		{"chat/completions", said(`[{"type":"image_url","image_url":"data:image/png;base64,%%"}]`), 400, "messages[0].content[0].image_url", ""},
		{"chat/completions", said(`[{"type":"image_url","image_url":"data:image/png;base64,aGVsbG8="}]`), 400, "messages[0].content[0]", "invalid_image_format"},
		{"chat/completions", said(`[{"type":"input_audio"}]`), 400, "messages[0].content[0].input_audio", "missing_required_parameter"},
		{"chat/completions", said(`[{"type":"input_audio","input_audio":{"data":"aGVsbG8=","format":"wav"}}]`), 400, "messages[0].content[0]", "unsupported"},
		{"chat/completions", said(`[{"type":"file","file":{"file_id":"x"}}]`), 400, "messages[0].content[0].file.file_id", "unsupported_parameter"},
		{"chat/completions", said(`[{"type":"input_image","file_id":"file-1"}]`), 400, "messages[0].content[0].file_id", "unsupported_parameter"},
		{"chat/completions", `{"model":"x","messages":[{"role":"king","content":"a"}]}`, 404, "model", "model_not_found"},
		{"chat/completions", strings.Replace(said(`"a"`), `"user"`, `"king"`, 1), 400, "messages[0].role", "invalid_value"},
		{"chat/completions", `{"model":"clip-mini","messages":[{"role":"user","content":"a"}]}`, 400, "model", "unsupported"},
		{"chat/completions", `{"model":"blip2-mini","messages":[{"role":"user","content":"a"}]}`, 400, "messages", "missing_required_parameter"},
		{"chat/completions", `{"model":"blip2-mini","chat_template_kwargs":{"a":1},"messages":[{"role":"user","content":"a"}]}`,
			400, "chat_template_kwargs", "unsupported_parameter"},
		{"chat/completions", fmt.Sprintf(`{"model":"blip2-mini","messages":[{"role":"user","content":[
			{"type":"image_url","image_url":%q},{"type":"image_url","image_url":%q}]}]}`, dot, dot), 400, "messages[0].content", "unsupported_parameter"},
		{"chat/completions", `{"model":"whisper-mini","messages":[{"role":"user","content":"a"}]}`, 400, "messages", "missing_required_parameter"},
		{"completions", `{"model":"llama-genai"}`, 400, "prompt", "missing_required_parameter"},
		{"completions", `{"model":"llama-genai","prompt":[1]}`, 400, "prompt", "invalid_type"},
		{"completions", `{"model":"llama-genai","prompt":[]}`, 400, "prompt", "invalid_value"},
		{"completions", `{"model":"llama-genai","prompt":"a","echo":true}`, 400, "echo", "unsupported_parameter"},
		{"completions", `{"model":"llama-genai","prompt":"a","suffix":"b"}`, 400, "suffix", "unsupported_parameter"},
		{"completions", `{"model":"llama-genai","prompt":"a","best_of":2}`, 400, "best_of", "unsupported_parameter"},
		{"completions", `{"model":"llama-genai","prompt":"a","logprobs":6}`, 400, "logprobs", "invalid_value"},
		{"completions", `{"model":"blip2-mini","prompt":"a"}`, 400, "model", "unsupported_parameter"},
		{"responses", `{"model":"blip2-mini"}`, 400, "input", "missing_required_parameter"},
		{"responses", `{"model":"blip2-mini","input":[]}`, 400, "input", "invalid_value"},
		{"responses", `{"model":"blip2-mini","input":5}`, 400, "input", "invalid_type"},
		{"responses", answer(`,"store":true`), 400, "store", "unsupported_parameter"},
		{"responses", answer(`,"previous_response_id":"a"`), 400, "previous_response_id", "unsupported_parameter"},
		{"responses", answer(`,"conversation":"a"`), 400, "conversation", "unsupported_parameter"},
		{"responses", answer(`,"prompt":{}`), 400, "prompt", "unsupported_parameter"},
		{"responses", answer(`,"background":true`), 400, "background", "unsupported_parameter"},
		{"responses", answer(`,"truncation":"auto"`), 400, "truncation", "unsupported_parameter"},
		{"responses", answer(`,"include":["x"]`), 400, "include", "unsupported_parameter"},
		{"responses", answer(`,"top_logprobs":1`), 400, "top_logprobs", "invalid_value"},
		{"responses", answer(`,"text":{"format":{"type":"grammar"}}`), 400, "text.format.type", "invalid_value"},
		{"responses", answer(`,"text":{"verbosity":"low"}`), 400, "text.verbosity", "unsupported_parameter"},
		{"responses", answer(`,"presence_penalty":3`), 400, "presence_penalty", "invalid_value"},
		{"responses", answer(`,"n":2`), 400, "n", "unknown_parameter"},
		{"responses", `{"model":"blip2-mini","input":[{"type":"item_reference","id":"a"}]}`, 400, "input[0].type", "unsupported_parameter"},
		{"responses", `{"model":"blip2-mini","input":[{"role":"tool","content":"a"}]}`, 400, "input[0].role", "invalid_value"},
		{"embeddings", `{"model":"clip-mini"}`, 400, "input", "missing_required_parameter"},
		{"embeddings", `{"model":"clip-mini","input":[]}`, 400, "input", "invalid_value"},
		{"embeddings", `{"model":"clip-mini","input":[1,2]}`, 400, "input", "invalid_type"},
		{"embeddings", `{"model":"clip-mini","input":["a",""]}`, 400, "input", ""},
		{"embeddings", `{"model":"clip-mini","input":"a","dimensions":3}`, 400, "dimensions", "unsupported_parameter"},
		{"embeddings", `{"model":"clip-mini","input":"a","encoding_format":"hex"}`, 400, "encoding_format", "invalid_value"},
		{"embeddings", `{"model":"clip-mini","input":"a","messages":[{"role":"user","content":"a"}]}`, 400, "input", "invalid_value"},
		{"embeddings", `{"model":"blip2-mini","input":"a"}`, 400, "model", "unsupported"},
		{"embeddings", `{"model":"clip-mini","messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:,a"}]}]}`,
			400, "messages[0].content[0]", "invalid_image_format"},
		{"audio/transcriptions", `{}`, 400, "", ""},
		{"nothing", `{}`, 404, "", ""},
	} {
		name, _, _ := strings.Cut(test.path+" "+test.param+" "+test.code, "\x00")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed(t, ask(t, "POST", test.path, test.body), test.status, test.param, test.code)
		})
	}
	failed(t, ask(t, "GET", "models/none", ""), 404, "model", "model_not_found")
	failed(t, ask(t, "GET", "models/"+strings.Repeat("x", 5000), ""), 404, "model", "model_not_found")
}

// What changes no answer is passed over, and so is what is null.
func TestHarmless(t *testing.T) {
	t.Parallel()
	answerOf[chatAnswer](t, "chat/completions", `{"model":"`+chatter+`","max_tokens":1,"messages":[{"role":"user","content":"hi"}],
		"user":"me","metadata":{"a":"b"},"store":false,"service_tier":"auto","safety_identifier":"x","prompt_cache_key":"y",
		"reasoning_effort":"low","parallel_tool_calls":true,"tool_choice":"none","response_format":{"type":"text"},
		"modalities":["text"],"frequency_penalty":0,"logit_bias":{},"unknown":null,"n":null,"stop":null,"tools":[]}`)
}

func TestFormErrors(t *testing.T) {
	t.Parallel()
	const sound = "RIFF no sound"
	for _, test := range []struct {
		path   string
		sound  []byte
		fields []string
		param  string
	}{
		{"audio/transcriptions", nil, nil, "file"},
		{"audio/transcriptions", []byte(sound), nil, "file"},
		{"audio/transcriptions", []byte(sound), []string{"model", "clip-mini"}, "model"},
		{"audio/transcriptions", []byte(sound), []string{"response_format", "diarized_json"}, "response_format"},
		{"audio/transcriptions", []byte(sound), []string{"temperature", "2"}, "temperature"},
		{"audio/transcriptions", []byte(sound), []string{"temperature", "NaN"}, "temperature"},
		{"audio/transcriptions", []byte(sound), []string{"stream", "perhaps"}, "stream"},
		{"audio/transcriptions", []byte(sound), []string{"include[]", "logprobs"}, "include[]"},
		{"audio/transcriptions", []byte(sound), []string{"chunking_strategy", "server_vad"}, "chunking_strategy"},
		{"audio/transcriptions", []byte(sound), []string{"nonsense", "1"}, "nonsense"},
		{"audio/transcriptions", []byte(sound), []string{"timestamp_granularities[]", "word"}, "timestamp_granularities[]"},
		{"audio/transcriptions", []byte(sound), []string{"response_format", "verbose_json", "timestamp_granularities[]", "hour"}, "timestamp_granularities[]"},
		{"audio/translations", []byte(sound), []string{"language", "de"}, "language"},
	} {
		failed(t, form(t, test.path, test.sound, test.fields...), 400, test.param, "")
	}
	failed(t, form(t, "audio/transcriptions", []byte(sound), "model", "none"), 404, "model", "model_not_found")
}

// Bodies that were cut, or changed at random, are refused or answered; nothing panics, and errors have
// their shape.
func TestDamagedBodies(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"chat/completions": `{"model":"` + chatter + `","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_tokens":1,"n":2,"stop":["a"],"logit_bias":{"5":3},"stream":true}`,
		"responses":        `{"model":"` + chatter + `","input":[{"role":"user","content":"hi"},{"type":"function_call","call_id":"a","name":"b","arguments":"{}"}],"max_output_tokens":1}`,
		"embeddings":       `{"model":"clip-mini","input":["a","b"],"dimensions":8}`,
		"completions":      `{"model":"llama-genai","prompt":["a"],"max_tokens":1,"logprobs":1}`,
	}
	random := rand.New(rand.NewPCG(1, 2))
	for path, body := range bodies {
		for range 60 {
			damaged := []byte(body)
			for range 1 + random.IntN(3) {
				switch at := random.IntN(len(damaged)); random.IntN(3) {
				case 0:
					damaged[at] = byte(random.IntN(256))
				case 1:
					damaged = append(damaged[:at], damaged[min(len(damaged), at+1+random.IntN(5)):]...)
				case 2:
					damaged = append(damaged[:at:at], append([]byte(`{"[]}:,0n`[random.IntN(9):][:1]), damaged[at:]...)...)
				}
				if len(damaged) == 0 {
					break
				}
			}
			w := ask(t, "POST", path, string(damaged))
			if w.Code >= 500 {
				t.Errorf("%s: %d %s", damaged, w.Code, w.Body)
			}
			if w.Code != 200 && !strings.Contains(w.Body.String(), `"error":{"message":`) {
				t.Errorf("%s: %d %s", damaged, w.Code, w.Body)
			}
		}
	}
}

func TestMessagesErrors(t *testing.T) {
	t.Parallel()
	ok := `"model":"` + chatter + `","max_tokens":1,`
	said := func(block string) string { return `{` + ok + `"messages":[{"role":"user","content":[` + block + `]}]}` }
	for _, test := range []struct {
		body       string
		status     int
		kind, says string
	}{
		{`{`, 400, "invalid_request_error", "JSON"},
		{`{"messages":[]}`, 400, "invalid_request_error", "max_tokens"},
		{`{"model":"none","max_tokens":1}`, 404, "not_found_error", "none"},
		{`{` + ok + `"nonsense":1}`, 400, "invalid_request_error", "nonsense"},
		{`{` + ok + `"temperature":1.5}`, 400, "invalid_request_error", "temperature"},
		{`{` + ok + `"messages":[]}`, 400, "invalid_request_error", "messages"},
		{`{` + ok + `"messages":[{"role":"system","content":"a"}]}`, 400, "invalid_request_error", "role"},
		{`{` + ok + `"messages":[{"role":"user","content":5}]}`, 400, "invalid_request_error", "content"},
		{`{` + ok + `"thinking":{"type":"enabled"}}`, 400, "invalid_request_error", "thinking"},
		{`{` + ok + `"tool_choice":{"type":"some"}}`, 400, "invalid_request_error", "tool_choice"},
		{`{` + ok + `"tools":[{"type":"web_search","name":"a"}]}`, 400, "invalid_request_error", "web_search"},
		{said(`{"type":"document"}`), 400, "invalid_request_error", "source"},
		{said(`{"type":"song"}`), 400, "invalid_request_error", "song"},
		{said(`{"type":"image","source":{"type":"file"}}`), 400, "invalid_request_error", "source"},
		{said(`{"type":"image","source":{"type":"url","url":"http://127.0.0.1/"}}`), 400, "invalid_request_error", "source.url"},
		{said(`{"type":"image","source":{"type":"base64","data":"aGVsbG8="}}`), 400, "invalid_request_error", "messages[0].content[0]"},
	} {
		w := ask(t, "POST", "messages", test.body)
		var answer struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != test.status || answer.Type != "error" ||
			answer.Error.Type != test.kind || !strings.Contains(answer.Error.Message, test.says) {
			t.Errorf("%s: %v %d %s", test.body, err, w.Code, w.Body)
		}
	}
}

// A request as PhotoPrism's engine for OpenAI makes it, whose schema holds the labels.
func TestLabelsOfPhotoPrism(t *testing.T) {
	t.Parallel()
	got := answerOf[struct {
		Output []struct{ Content []struct{ Text string } }
	}](t, "responses", fmt.Sprintf(`{"model":"blip2-mini","input":[{"role":"user","content":[{"type":"input_text","text":"Labels?"},
		{"type":"input_image","image_url":%q,"detail":"low"}]}],"text":{"format":{"type":"json_schema","name":"labels","strict":true,
		"schema":{"type":"object","required":["labels"],"additionalProperties":false,"properties":{"labels":{"type":"array",
		"items":{"type":"object","required":["name"],"additionalProperties":false,"properties":{"name":{"type":"string"}}}}}}}},
		"reasoning":{"effort":"low"},"max_output_tokens":60,"temperature":0.1,"top_p":0.9,"presence_penalty":0,
		"frequency_penalty":0}`, dataURL(t, "red-circle.png")))
	var labels struct{ Labels []struct{ Name string } }
	if err := json.Unmarshal([]byte(got.Output[0].Content[0].Text), &labels); err != nil {
		t.Errorf("%v: %+v", err, got)
	}
}
