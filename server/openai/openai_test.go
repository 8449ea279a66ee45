package openai_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/api/pagefiles"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/vision"
)

const (
	layouts = "../../testdata/layouts"
	images  = "../../testdata/images/"
	chatter = "smolvlm-transformersjs"
)

// folder has the models that tests name, of which with-tools has a template for tools; TestMain makes it.
var folder string

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "xpipe-openai"); err == nil {
		err = makeModels()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

func makeModels() error {
	for name, from := range map[string]string{
		chatter: chatter, "llama-genai": "llama-genai", "with-tools": "qwen3vl-transformersjs",
	} {
		if err := os.CopyFS(filepath.Join(folder, name), os.DirFS(filepath.Join(layouts, from))); err != nil {
			return err
		}
	}
	template, err := os.ReadFile("testdata/tools.jinja")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "with-tools", "chat_template.jinja"), template, 0o666)
}

// shared is one server for all tests.
var shared = sync.OnceValue(func() http.Handler {
	s, err := server.New(server.Config{Serving: serving.Config{Catalog: &serving.Catalog{
		Dir: folder, Aliases: map[string]string{"gpt-4o": mini.BLIP2},
	}, OpenDocument: pagefiles.Data}})
	if err != nil {
		panic(err)
	}
	return s.Handler()
})

// ask sends a request with a body in JSON, or without one.
func ask(t *testing.T, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost/v1/"+path, strings.NewReader(body))
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, r)
	return w
}

// answerOf asks and decodes the answer.
func answerOf[T any](t *testing.T, path, body string) (answer T) {
	t.Helper()
	w := ask(t, "POST", path, body)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return answer
}

// events asks for a stream and returns its events' data, in order, and their names.
func events(t *testing.T, path, body string) (data, names []string) {
	t.Helper()
	w := ask(t, "POST", path, body)
	if kind := w.Header().Get("Content-Type"); w.Code != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%d %s: %s", w.Code, kind, w.Body)
	}
	lines := bufio.NewScanner(w.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			names = append(names, name)
		} else if one, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = append(data, one)
		} else if lines.Text() != "" {
			t.Errorf("a line %q", lines.Text())
		}
	}
	return data, names
}

func dataURL(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(images + name)
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(data)
}

// about is a message of a user with a picture and a text.
func about(t *testing.T, name, text string) string {
	t.Helper()
	return fmt.Sprintf(`{"role":"user","content":[{"type":"image_url","image_url":{"url":%q}},{"type":"text","text":%q}]}`,
		dataURL(t, name), text)
}

type chatAnswer struct {
	Object, Model string
	Choices       []struct {
		Index   int
		Message struct {
			Role    string
			Content *string
			Calls   []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		LogProbs *struct {
			Content []struct {
				Token   string
				LogProb float64
				Bytes   []byte
				Top     []struct {
					Token   string
					LogProb float64
				} `json:"top_logprobs"`
			}
		}
		Finish string `json:"finish_reason"`
	}
	Usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	var list struct {
		Object string
		Data   []struct {
			ID, Object string
			OwnedBy    string `json:"owned_by"`
			Created    int64
			Tasks      []string
		}
	}
	w := ask(t, "GET", "models", "")
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || list.Object != "list" {
		t.Fatal(err, w.Body)
	}
	for _, want := range []string{"with-tools", mini.BLIP2, mini.CLIP, mini.Whisper, chatter} {
		if !slices.ContainsFunc(list.Data, func(m struct {
			ID, Object string
			OwnedBy    string `json:"owned_by"`
			Created    int64
			Tasks      []string
		}) bool {
			return m.ID == want && m.Object == "model" && m.OwnedBy == "xpipe" && len(m.Tasks) > 0
		}) {
			t.Errorf("no %s in %s", want, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), folder) {
		t.Error("a path is told")
	}
	if w := ask(t, "GET", "models/"+mini.BLIP2, ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"id":"blip2-mini"`) {
		t.Error(w.Code, w.Body)
	}
}

// Answers are those of the pipeline, and tokens are counted as its decoder reads them.
func TestChatsAreThePipelines(t *testing.T) {
	t.Parallel()
	img, err := vision.DecodeFile(images + "red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	files, err := mini.FS(mini.BLIP2)
	if err != nil {
		t.Fatal(err)
	}
	blip, err := pipeline.OpenFS(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	defer blip.Close()
	smol, err := pipeline.Open(t.Context(), filepath.Join(layouts, chatter))
	if err != nil {
		t.Fatal(err)
	}
	defer smol.Close()
	const question = "what color is the shape?"
	picture := media.Picture{Image: img}
	for _, test := range []struct {
		model, text string
		p           *pipeline.Pipeline
		request     pipeline.Request
		rows        int // of the picture, beside the ids of the prompt
	}{
		{mini.BLIP2, question, blip, pipeline.Request{Item: picture, Question: question}, 77},
		{"gpt-4o", "Describe the picture.", blip, pipeline.Request{Item: picture}, 77},
		{chatter, question, smol, pipeline.Request{Messages: []pipeline.Message{
			{Role: "user", Items: []media.Item{picture}, Text: question}}}, 0},
	} {
		want, err := test.p.Generate(t.Context(), []pipeline.Request{test.request}, pipeline.WithMaxNewTokens(9))
		if err != nil {
			t.Fatal(err)
		}
		in, err := test.p.Inputs(t.Context(), test.request)
		if err != nil {
			t.Fatal(err)
		}
		got := answerOf[chatAnswer](t, "chat/completions", fmt.Sprintf(
			`{"model":%q,"messages":[%s],"max_tokens":9}`, test.model, about(t, "red-circle.png", test.text)))
		text := want[0][0]
		finish := "length"
		if len(text.IDs) > len(text.Tokens) {
			finish = "stop"
		}
		prompt := len(in.TokenIDs) + test.rows
		if c := got.Choices[0]; *c.Message.Content != text.Text || c.Finish != finish || c.Message.Role != "assistant" {
			t.Errorf("%s: %+v, want %q %s", test.model, c, text.Text, finish)
		}
		if u := got.Usage; u.Prompt != prompt || u.Completion != len(text.IDs) || u.Total != prompt+len(text.IDs) {
			t.Errorf("%s: %+v, want %d and %d", test.model, u, prompt, len(text.IDs))
		}
	}
}

// Joined, the events of a stream are the answer that comes at once.
func TestChatStreams(t *testing.T) {
	t.Parallel()
	body := fmt.Sprintf(`"model":%q,"messages":[%s],"max_tokens":10,"n":3,"temperature":1,"seed":7,"logprobs":true,"top_logprobs":2`,
		chatter, about(t, "dog.png", "what is it?"))
	whole := answerOf[chatAnswer](t, "chat/completions", "{"+body+"}")
	data, _ := events(t, "chat/completions", "{"+body+`,"stream":true,"stream_options":{"include_usage":true}}`)
	if last := data[len(data)-1]; last != "[DONE]" {
		t.Fatalf("it ends with %s", last)
	}
	texts, tokens, finish := make([]string, 3), make([]int, 3), make([]string, 3)
	for i, one := range data[:len(data)-1] {
		var chunk struct {
			Object  string
			Choices []struct {
				Index    int
				Delta    struct{ Role, Content string }
				LogProbs *struct{ Content []json.RawMessage }
				Finish   string `json:"finish_reason"`
			}
			Usage json.RawMessage
		}
		if err := json.Unmarshal([]byte(one), &chunk); err != nil || chunk.Object != "chat.completion.chunk" {
			t.Fatal(err, one)
		}
		if last := i == len(data)-2; last != (len(chunk.Choices) == 0) || last == (string(chunk.Usage) == "null") {
			t.Errorf("event %d of %d: %s", i, len(data), one)
		}
		for _, c := range chunk.Choices {
			texts[c.Index] += c.Delta.Content
			finish[c.Index] += c.Finish
			if c.LogProbs != nil {
				tokens[c.Index] += len(c.LogProbs.Content)
			}
		}
	}
	for i, c := range whole.Choices {
		if texts[i] != *c.Message.Content || finish[i] != c.Finish || tokens[i] != len(c.LogProbs.Content) || c.Index != i {
			t.Errorf("%d: %q %s %d, want %+v", i, texts[i], finish[i], tokens[i], c)
		}
		for _, token := range c.LogProbs.Content {
			if len(token.Top) != 2 || token.Top[0].LogProb < token.Top[1].LogProb {
				t.Errorf("%+v", token)
			}
		}
	}
}

// What a model without a chat template does not read of a conversation is told.
func TestConversationsWithoutTemplate(t *testing.T) {
	t.Parallel()
	w := ask(t, "POST", "chat/completions", fmt.Sprintf(
		`{"model":"blip2-mini","messages":[{"role":"system","content":"Be brief."},%s,{"role":"assistant","content":"red"},%s,
		{"role":"assistant","content":"blue"},{"role":"user","content":"what color is the shape?"}]}`,
		about(t, "red-circle.png", "what?"), about(t, "blue-triangle.png", "and this?")))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"content":"blue"`) {
		t.Fatal(w.Code, w.Body)
	}
	if got := w.Header().Get("Xpipe-Unread"); got != "messages: 1 system, 4 earlier" {
		t.Errorf("unread: %q", got)
	}
}

func TestTools(t *testing.T) {
	t.Parallel()
	const tools = `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","required":["at"],
		"additionalProperties":false,"properties":{"at":{"enum":["sky","sea"]}}}}}]`
	got := answerOf[chatAnswer](t, "chat/completions",
		`{"model":"with-tools","messages":[{"role":"user","content":"hi"}],"tool_choice":"required",`+tools+`}`)
	c := got.Choices[0]
	if c.Finish != "tool_calls" || c.Message.Content != nil || len(c.Message.Calls) != 1 {
		t.Fatalf("%+v", c)
	}
	call := c.Message.Calls[0]
	var arguments struct{ At string }
	if err := json.Unmarshal([]byte(call.Function.Arguments), &arguments); err != nil || call.Function.Name != "look" ||
		call.ID == "" || arguments.At != "sky" && arguments.At != "sea" {
		t.Fatalf("%v, %+v", err, call)
	}
	const turns = `"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[
		{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"at\": \"sky\"}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"blue"}],"max_tokens":2,"model":"with-tools"`
	with, without := answerOf[chatAnswer](t, "chat/completions", "{"+turns+","+tools+"}"), answerOf[chatAnswer](t, "chat/completions", "{"+turns+"}")
	if with.Usage.Prompt <= without.Usage.Prompt {
		t.Errorf("tools are not in the prompt: %+v, %+v", with.Usage, without.Usage)
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	body := fmt.Sprintf(`"model":"blip2-mini","input":[{"role":"user","content":[{"type":"input_image","image_url":%q},
		{"type":"input_text","text":"what color is the shape?"}]}]`, dataURL(t, "red-circle.png"))
	type answer struct {
		Status string
		Output []struct {
			Type    string
			Content []struct{ Type, Text string }
		}
		Usage struct {
			Input int `json:"input_tokens"`
		}
	}
	whole := answerOf[answer](t, "responses", "{"+body+"}")
	if whole.Status != "completed" || whole.Output[0].Content[0].Text != "red" || whole.Usage.Input < 80 {
		t.Fatalf("%+v", whole)
	}
	data, names := events(t, "responses", "{"+body+`,"stream":true}`)
	want := []string{"created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
		"output_text.done", "content_part.done", "output_item.done", "completed"}
	for i := range want {
		want[i] = "response." + want[i]
	}
	if !slices.Equal(names, want) {
		t.Fatalf("%v", names)
	}
	for i, one := range data {
		var e struct {
			Type     string
			Number   int `json:"sequence_number"`
			Response answer
		}
		if err := json.Unmarshal([]byte(one), &e); err != nil || e.Type != names[i] || e.Number != i {
			t.Errorf("event %d: %v %s", i, err, one)
		}
		if i == len(data)-1 && e.Response.Output[0].Content[0].Text != "red" {
			t.Errorf("%s", one)
		}
	}
}

func TestCompletions(t *testing.T) {
	t.Parallel()
	type answer struct {
		Choices []struct {
			Index int
			Text  string
		}
	}
	const body = `"model":"llama-genai","prompt":["Hello","there"],"max_tokens":5`
	whole := answerOf[answer](t, "completions", "{"+body+"}")
	data, _ := events(t, "completions", "{"+body+`,"stream":true}`)
	texts := make([]string, 2)
	for _, one := range data[:len(data)-1] {
		var chunk answer
		if err := json.Unmarshal([]byte(one), &chunk); err != nil {
			t.Fatal(err)
		}
		for _, c := range chunk.Choices {
			texts[c.Index] += c.Text
		}
	}
	if len(whole.Choices) != 2 || texts[0] != whole.Choices[0].Text || texts[1] != whole.Choices[1].Text || texts[0] == "" {
		t.Errorf("%q, %+v", texts, whole)
	}
}

func TestEmbeddings(t *testing.T) {
	t.Parallel()
	type answer[T any] struct {
		Data []struct {
			Index     int
			Embedding T
		}
		Usage struct {
			Prompt int `json:"prompt_tokens"`
		}
	}
	floats := answerOf[answer[[]float32]](t, "embeddings", `{"model":"clip-mini","input":"a red circle"}`)
	coded := answerOf[answer[string]](t, "embeddings", `{"model":"clip-mini","input":["a red circle"],"encoding_format":"base64"}`)
	data, err := base64.StdEncoding.DecodeString(coded.Data[0].Embedding)
	if err != nil || len(data) != 4*len(floats.Data[0].Embedding) || floats.Usage.Prompt < 3 {
		t.Fatal(err, len(data), floats.Usage)
	}
	for i, want := range floats.Data[0].Embedding {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])); math.Abs(float64(got-want)) > 1e-6 {
			t.Fatalf("%d: %g, want %g", i, got, want)
		}
	}
	both := answerOf[answer[[]float32]](t, "embeddings",
		fmt.Sprintf(`{"model":"clip-mini","messages":[%s]}`, about(t, "red-circle.png", "a red circle")))
	if len(both.Data) != 2 || both.Data[1].Index != 1 {
		t.Fatalf("%d vectors", len(both.Data))
	}
	if like := pipeline.Cosine(both.Data[1].Embedding, floats.Data[0].Embedding); like < 0.9999 {
		t.Errorf("the same text has the cosine %g", like)
	}
	if like := pipeline.Cosine(both.Data[0].Embedding, floats.Data[0].Embedding); like < 0.1 || like > 0.9 {
		t.Errorf("the picture has the cosine %g with its text", like)
	}
}

// Anthropic's messages are chats in other words.
func TestMessages(t *testing.T) {
	t.Parallel()
	picture := strings.TrimPrefix(dataURL(t, "red-circle.png"), "data:image/png;base64,")
	body := fmt.Sprintf(`"model":"blip2-mini","max_tokens":9,"system":"Be brief.","messages":[{"role":"user","content":[
		{"type":"image","source":{"type":"base64","media_type":"image/png","data":%q}},{"type":"text","text":"what color is the shape?"}]}]`, picture)
	type answer struct {
		Type, Role string
		Content    []struct{ Type, Text string }
		Reason     string `json:"stop_reason"`
		Usage      struct {
			Input  int `json:"input_tokens"`
			Output int `json:"output_tokens"`
		}
	}
	whole := answerOf[answer](t, "messages", "{"+body+"}")
	if whole.Type != "message" || whole.Content[0].Text != "red" || whole.Reason != "end_turn" || whole.Usage.Input < 80 || whole.Usage.Output != 2 {
		t.Fatalf("%+v", whole)
	}
	data, names := events(t, "messages", "{"+body+`,"stream":true}`)
	want := []string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"}
	if !slices.Equal(names, want) || !strings.Contains(data[2], `"text":"red"`) || !strings.Contains(data[4], `"output_tokens":2`) {
		t.Errorf("%v %v", names, data)
	}
}
