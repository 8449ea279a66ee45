package ollama_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

// layouts has models with chat templates, of random weights.
const layouts = "../../testdata/layouts"

const chatModel = "smolvlm-transformersjs"

// shared answers for all tests that change nothing.
var shared = sync.OnceValue(func() http.Handler { return newServer(nil) })

func newServer(t *testing.T) http.Handler {
	s, err := server.New(server.Config{
		Version: "v1.2.3", Serving: serving.Config{Catalog: &serving.Catalog{Named: []string{layouts + "/" + chatModel}}},
	})
	if err != nil {
		panic(err)
	}
	if t != nil {
		t.Cleanup(s.Service.Close)
	}
	return s.Handler()
}

// ask sends a request with a JSON body, a text or a value.
func ask(t *testing.T, h http.Handler, method, path string, body any) *httptest.ResponseRecorder {
	t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(text)))
	return w
}

// object is a JSON object.
type object = map[string]any

// decoded reads an answer of status 200.
func decoded(t *testing.T, w *httptest.ResponseRecorder) object {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if kind := w.Header().Get("Content-Type"); kind != "application/json" {
		t.Errorf("Content-Type %q", kind)
	}
	if bytes.Count(w.Body.Bytes(), []byte("\n")) != 1 {
		t.Errorf("it is not one line: %q", w.Body)
	}
	var v object
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// lines reads a stream.
func lines(t *testing.T, w *httptest.ResponseRecorder) (list []object) {
	t.Helper()
	if kind := w.Header().Get("Content-Type"); w.Code != http.StatusOK || kind != "application/x-ndjson" {
		t.Fatalf("status %d, Content-Type %q: %s", w.Code, kind, w.Body)
	}
	for in := bufio.NewScanner(w.Body); in.Scan(); {
		var v object
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

func picture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../../testdata/images/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func encoded(t *testing.T, name string) string {
	return base64.StdEncoding.EncodeToString(picture(t, name))
}

// open opens a model without a server, to compare with.
func open(t *testing.T, name string) *pipeline.Pipeline {
	t.Helper()
	if !slices.Contains(mini.Names(), name) {
		name = layouts + "/" + name
	}
	p, err := api.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// checkFigures checks the last line's figures.
func checkFigures(t *testing.T, last object, tokens int) {
	t.Helper()
	if last["done"] != true || last["eval_count"] != float64(tokens) || last["prompt_eval_count"].(float64) < 1 {
		t.Errorf("%v; want done and eval_count %d", last, tokens)
	}
	for _, key := range []string{"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"} {
		d, ok := last[key].(float64)
		if !ok || d < 0 || d > float64(time.Minute) || d != math.Trunc(d) {
			t.Errorf("%s is %v", key, last[key])
		}
	}
	if last["total_duration"].(float64) < last["eval_duration"].(float64) {
		t.Errorf("a part takes longer than the whole: %v", last)
	}
}

// The bodies are those that PhotoPrism sends for captions and for labels.
func TestGenerateForPhotoPrism(t *testing.T) {
	t.Parallel()
	p := open(t, mini.BLIP2)
	want, err := p.CaptionFile(t.Context(), "../../testdata/images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	body := object{
		"model": "blip2-mini:latest", "system": "You caption photos.", "suffix": "", "stream": false, "think": "false",
		"prompt": "Create a caption with exactly one sentence in the active voice that describes the main " +
			"visual content. Begin with the main subject and clear action. Avoid text formatting.",
		"images":  []string{encoded(t, "apple.png")},
		"options": object{"top_p": 0.9, "num_ctx": 4096, "stop": []string{"\n\n"}},
	}
	got := decoded(t, ask(t, shared(), "POST", "/api/generate", body))
	if got["response"] != want.Text || got["done_reason"] != "stop" || got["model"] != "blip2-mini:latest" {
		t.Errorf("%v, want %q", got, want.Text)
	}
	checkFigures(t, got, len(want.Tokens))

	body["format"], body["prompt"] = "json", "Return label objects with name, confidence and topicality."
	got = decoded(t, ask(t, shared(), "POST", "/api/generate", body))
	var labels object
	if err := json.Unmarshal([]byte(got["response"].(string)), &labels); err != nil {
		t.Errorf("%q: %v", got["response"], err)
	}
}

func TestChatWithoutTemplate(t *testing.T) {
	t.Parallel()
	p := open(t, mini.BLIP2)
	const question = "what color is the shape?"
	img, err := p.DecodeFile("../../testdata/images/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.Answer(t.Context(), img, question)
	if err != nil {
		t.Fatal(err)
	}
	body := object{"model": mini.BLIP2, "messages": []object{
		{"role": "system", "content": "Be brief."},
		{"role": "user", "content": "What is this?", "images": []string{encoded(t, "red-circle.png")}},
		{"role": "assistant", "content": "A circle."},
		{"role": "user", "content": question},
	}}
	var text string
	answer := ask(t, shared(), "POST", "/api/chat", body)
	if unread := answer.Header().Get("Xpipe-Unread"); unread != "messages: 1 system, 2 earlier" {
		t.Errorf("unread are %q", unread)
	}
	all := lines(t, answer)
	for i, line := range all {
		message := line["message"].(object)
		text += message["content"].(string)
		if message["role"] != "assistant" || line["done"] != (i == len(all)-1) {
			t.Errorf("line %d: %v", i, line)
		}
	}
	if text != want.Text {
		t.Errorf("%q, want %q", text, want.Text)
	}
	checkFigures(t, all[len(all)-1], len(want.Tokens))
	body["stream"] = false
	if got := decoded(t, ask(t, shared(), "POST", "/api/chat", body)); got["message"].(object)["content"] != want.Text {
		t.Errorf("%v, want %q", got, want.Text)
	}
}

func TestChatByTemplate(t *testing.T) {
	t.Parallel()
	p := open(t, chatModel)
	img, err := p.DecodeFile("../../testdata/images/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	request := pipeline.Request{Messages: []pipeline.Message{
		{Role: "system", Text: "Be brief."}, {Role: "user", Text: "What is it?"}, {Role: "assistant", Text: "A cat."},
	}}
	part := pipeline.Message{Role: "user", Text: "Which one?"}
	encodedItem, err := p.Encode(t.Context(), pictureItem(img))
	if err != nil {
		t.Fatal(err)
	}
	part.Items = append(part.Items, encodedItem[0])
	request.Messages = append(request.Messages, part)
	texts, err := p.Generate(t.Context(), []pipeline.Request{request}, pipeline.WithMaxNewTokens(7))
	if err != nil {
		t.Fatal(err)
	}
	want := texts[0][0]
	got := decoded(t, ask(t, shared(), "POST", "/api/chat", object{
		"model": chatModel, "stream": false, "options": object{"num_predict": 7}, "messages": []object{
			{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"},
			{"role": "assistant", "content": "A cat."},
			{"role": "user", "content": "Which one?", "images": []string{encoded(t, "cat.jpg")}},
		}}))
	if got["message"].(object)["content"] != want.Text || got["done_reason"] != "length" {
		t.Errorf("%v, want %q", got, want.Text)
	}
	checkFigures(t, got, 7)
	if got["prompt_eval_count"] != float64(want.PromptTokens) {
		t.Errorf("%v, want %d tokens of the prompt", got["prompt_eval_count"], want.PromptTokens)
	}
}

// A model with a fixed list of answers gives one of them.
func TestChatWithAnswers(t *testing.T) {
	t.Parallel()
	p := open(t, mini.LXMERT)
	const question = "what color is the shape?"
	img, err := p.DecodeFile("../../testdata/images/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.Answer(t.Context(), img, question)
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, ask(t, shared(), "POST", "/api/chat", object{
		"model": mini.LXMERT, "stream": false,
		"messages": []object{{"role": "user", "content": question, "images": []string{encoded(t, "red-circle.png")}}},
	}))
	if got["message"].(object)["content"] != want.Text || got["done_reason"] != "stop" {
		t.Errorf("%v, want %q", got, want.Text)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	schema := object{
		"type": "object", "required": []string{"color"}, "additionalProperties": false,
		"properties": object{"color": object{"type": "string", "enum": []string{"red", "blue"}}},
	}
	for _, stream := range []bool{false, true} {
		w := ask(t, shared(), "POST", "/api/generate", object{
			"model": mini.BLIP2, "prompt": "what color is the shape?", "format": schema, "stream": stream,
			"images": []string{encoded(t, "red-circle.png")},
		})
		all := []object{}
		if stream {
			all = lines(t, w)
		} else {
			all = append(all, decoded(t, w))
		}
		var text string
		for _, line := range all {
			text += line["response"].(string)
		}
		var value struct{ Color string }
		if err := json.Unmarshal([]byte(text), &value); err != nil || value.Color != "red" && value.Color != "blue" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	write := func(options object) string {
		return decoded(t, ask(t, shared(), "POST", "/api/generate", object{
			"model": chatModel, "prompt": "Describe it.", "stream": false, "options": options,
			"images": []string{encoded(t, "cat.jpg")},
		}))["response"].(string)
	}
	greedy := write(object{"num_predict": 8})
	if text := write(object{"num_predict": 8, "temperature": 0, "seed": 1}); text != greedy {
		t.Errorf("temperature 0 writes %q, want %q", text, greedy)
	}
	drawn := object{"num_predict": 8, "temperature": 1.5, "seed": 7, "top_k": 0, "top_p": 1, "min_p": 0, "typical_p": 1}
	first := write(drawn)
	if again := write(drawn); again != first || first == greedy {
		t.Errorf("seed 7 writes %q, then %q; greedy %q", first, again, greedy)
	}
	if text := write(object{"num_predict": 8, "repeat_penalty": 0.2}); text == greedy {
		t.Errorf("a penalty changes nothing: %q", text)
	}
	if text := write(object{"num_predict": 8, "repeat_penalty": 0.2, "repeat_last_n": 0}); text != greedy {
		t.Errorf("a penalty of nothing writes %q, want %q", text, greedy)
	}
	words := strings.Fields(greedy)
	stop := words[len(words)/2]
	before, _, _ := strings.Cut(greedy, stop)
	if text := write(object{"num_predict": 8, "stop": []string{stop}}); text != strings.TrimSpace(before) {
		t.Errorf("stop %q leaves %q of %q", stop, text, greedy)
	}
}

func TestLogProbs(t *testing.T) {
	t.Parallel()
	want, err := open(t, mini.BLIP2).CaptionFile(t.Context(), "../../testdata/images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, ask(t, shared(), "POST", "/api/generate", object{
		"model": mini.BLIP2, "images": []string{encoded(t, "apple.png")}, "stream": false,
		"logprobs": true, "top_logprobs": 3,
	}))
	list := got["logprobs"].([]any)
	if len(list) != len(want.Tokens) {
		t.Fatalf("%d tokens, want %d", len(list), len(want.Tokens))
	}
	for i, each := range list {
		token := each.(object)
		top := token["top_logprobs"].([]any)
		if token["token"] != want.Tokens[i].Text || math.Abs(token["logprob"].(float64)-want.Tokens[i].LogProb) > 1e-6 ||
			len(top) != 3 || top[0].(object)["logprob"] != token["logprob"] {
			t.Errorf("%v, want %v", token, want.Tokens[i])
		}
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	p := open(t, mini.BLIP2)
	img, err := p.DecodeFile("../../testdata/images/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	const prompt = "Question: what animal is it? Answer:"
	texts, err := p.Generate(t.Context(), []pipeline.Request{{Image: img, Prompt: prompt}})
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, ask(t, shared(), "POST", "/api/generate", object{
		"model": mini.BLIP2, "prompt": prompt, "raw": true, "stream": false, "images": []string{encoded(t, "cat.jpg")},
	}))
	if got["response"] != texts[0][0].Text {
		t.Errorf("%v, want %q", got, texts[0][0].Text)
	}
}
