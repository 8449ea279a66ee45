package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/upstream/upstreamtest"
)

// bench is a page over a store in memory, with one workspace, an upstream that is a stub, and a chat with it.
type bench struct {
	*memory
	page    *Page
	stub    *upstreamtest.Service
	url     string
	space   studio.ID
	up      studio.ID
	serving *serving.Service
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{memory: newMemory(t.TempDir()), stub: &upstreamtest.Service{}, serving: serving.New(serving.Config{})}
	var err error
	if b.page, err = New(Config{Store: b.memory, Serving: b.serving}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range b.page.Routes() {
		mux.Handle(r.Pattern, r.Handler)
	}
	mux.Handle("GET /{$}", b.page.Home())
	server, stub := httptest.NewServer(mux), httptest.NewServer(b.stub)
	t.Cleanup(func() {
		b.page.End()
		server.Close()
		stub.Close()
		b.serving.Close()
	})
	b.url = server.URL
	b.space = b.memory.workspaces.list[0]
	u := &studio.Upstream{Name: "Stub", URL: stub.URL + "/v1", Models: []string{"gpt-4o", "claude", "dall-e-3"}}
	if err := b.AddUpstream(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	b.SetKey(t.Context(), u.ID, upstreamtest.Key)
	b.up = u.ID
	return b
}

// ask sends a request and returns its status, headers and body. Headers are pairs.
func (b *bench) ask(t *testing.T, method, path, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == "POST" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(data)
}

// post makes a change that has to succeed, and decodes what it gives.
func (b *bench) post(t *testing.T, path string, body, into any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	status, _, text := b.ask(t, "POST", path, string(data))
	if status != 200 {
		t.Fatalf("%s: %d %s", path, status, text)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
}

// attach sends a file and returns its part.
func (b *bench) attach(t *testing.T, name string, data []byte) (part studio.Part) {
	t.Helper()
	status, _, text := b.ask(t, "POST", "/studio/files", string(data), "X-Name", name, "Content-Type", "application/octet-stream")
	if status != 200 || json.Unmarshal([]byte(text), &part) != nil {
		t.Fatalf("%s: %d %s", name, status, text)
	}
	return part
}

// begin begins a chat with the stub and waits for the answers.
func (b *bench) begin(t *testing.T, text string, parts []studio.Part, models ...string) studio.ID {
	t.Helper()
	var made struct{ Go string }
	b.post(t, "/studio/w/"+string(b.space)+"/chats", map[string]any{"text": text, "parts": parts, "models": models}, &made)
	chat := studio.ID(strings.TrimPrefix(made.Go, "/studio/chats/"))
	b.wait(t, chat)
	return chat
}

// wait waits until nothing is written in a chat.
func (b *bench) wait(t *testing.T, chat studio.ID) []studio.Message {
	t.Helper()
	for range 3000 {
		messages, err := b.Messages(t.Context(), chat)
		if err != nil {
			t.Fatal(err)
		}
		final := !b.page.runs.busy(chat)
		for _, m := range messages {
			final = final && m.State.Final()
		}
		if final {
			return messages
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the answer does not come")
	return nil
}

// gpt is the reference of the stub's model.
func (b *bench) gpt() string { return string(b.up) + "/gpt-4o" }

// svg is a drawing that would run a script.
const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`

// What each route answers to whom.
func TestAPI(t *testing.T) {
	t.Parallel()
	b := setup(t)
	file := b.attach(t, "evil.svg", []byte(svg))
	html := b.attach(t, "evil.png", []byte("<!doctype html><script>alert(1)</script>"))
	picture := b.attach(t, "p.png", upstreamtest.Picture())
	chat := b.begin(t, "<script>alert('me')</script> **hello**", []studio.Part{file, html, picture}, b.gpt())
	messages, _ := b.Messages(t.Context(), chat)
	said, answered := string(messages[0].ID), string(messages[1].ID)
	space, none := "/studio/w/"+string(b.space), string(studio.NewID())
	blob := func(p studio.Part) string { return space + "/blobs/" + string(p.Blob) }
	host := strings.TrimPrefix(b.url, "http://")
	foreign := []string{"Origin", "https://evil.example"}
	own := []string{"Origin", b.url}
	cross := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}
	visit := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", "text/html"}
	frame := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}
	sibling := []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}
	for _, c := range []struct {
		method, path string
		who          []string
		body         string
		status       int
		has, hasNot  string
	}{
		{"GET", "/", nil, "", 200, "What would you like to look at?", upstreamtest.Key},
		{"GET", "/studio/", nil, "", 200, "My workspace", ""},
		{"GET", space, own, "", 200, "New chat", ""},
		{"GET", space, visit, "", 200, "New chat", ""},
		{"GET", space, frame, "", 403, "another site", "New chat"},
		{"GET", space, foreign, "", 403, "another site", "New chat"},
		{"GET", space, sibling, "", 403, "another site", "New chat"},
		{"GET", "/studio/w/" + none, nil, "", 404, "no such thing", ""},
		{"GET", "/studio/w/..%2f..%2fetc", nil, "", 404, "no such thing", ""},
		{"GET", "/studio/chats/" + string(chat), nil, "", 200, "&lt;script&gt;", "<script>alert"},
		{"GET", "/studio/chats/" + string(chat), nil, "", 200, "You sent", upstreamtest.Key},
		{"GET", "/studio/chats/" + string(chat) + "?at=" + said, nil, "", 200, "You sent", ""},
		{"GET", "/studio/chats/" + none, []string{"Accept", "text/html"}, "", 404, "<h1>Not Found</h1>", ""},
		{"GET", "/studio/chats/" + string(chat) + "/events", nil, "", 200, "event: idle", ""},
		{"GET", "/studio/chats/" + none + "/events", nil, "", 404, "", "event"},
		{"GET", "/studio/messages/" + answered, nil, "", 200, "You sent", "<html"},
		{"GET", "/studio/messages/" + answered + "/words", nil, "", 200, `"words":[]`, ""},
		{"GET", "/studio/messages/" + said + "/words", nil, "", 400, "no answer", ""},
		{"GET", blob(picture), nil, "", 200, "PNG", ""},
		{"GET", blob(picture), cross, "", 403, "another site", "PNG"},
		{"GET", blob(picture) + "/preview?side=64", nil, "", 200, "\xff\xd8\xff", ""},
		{"GET", blob(picture) + "/preview?side=99999", nil, "", 400, "side", ""},
		{"GET", blob(file) + "/preview", nil, "", 404, "", ""},
		{"GET", blob(picture) + "/pages/1", nil, "", 400, "no pages", ""},
		{"GET", "/studio/w/" + none + "/blobs/" + string(picture.Blob), nil, "", 404, "", "PNG"},
		{"GET", space + "/blobs/..%2f..%2fsecret", nil, "", 404, "", ""},
		{"GET", space + "/settings", nil, "", 200, "has a key", upstreamtest.Key},
		{"GET", space + "/settings?edit=" + string(b.up), nil, "", 200, "gpt-4o", upstreamtest.Key},
		{"GET", space + "/search?q=hello", nil, "", 200, "<mark>hello</mark>", ""},
		{"GET", space + "/search?from=yesterday", nil, "", 200, "no date", ""},
		{"GET", space + "/search?offset=-1&q=x", nil, "", 200, "offset is a number", ""},
		{"GET", space + "/personas", nil, "", 200, "New persona", ""},
		{"GET", space + "/prompts", nil, "", 200, "New prompt", ""},
		{"GET", space + "/trash", nil, "", 200, "Nothing is in the trash", ""},
		{"GET", "/studio/static/app.js", nil, "", 404, "", ""},
		{"GET", "/studio/static/..%2fweb.go", nil, "", 404, "", ""},
		{"POST", "/studio/workspaces", foreign, `{"name":"x"}`, 403, "another site", ""},
		{"POST", "/studio/workspaces", cross, `{"name":"x"}`, 403, "another site", ""},
		{"POST", "/studio/workspaces", []string{"Origin", "null"}, `{"name":"x"}`, 403, "another site", ""},
		{"POST", "/studio/workspaces", []string{"Content-Type", "text/plain"}, `{"name":"x"}`, 400, "sent as JSON", ""},
		{"POST", "/studio/workspaces", []string{"Content-Type", "application/x-www-form-urlencoded"}, `name=x`, 400, "sent as JSON", ""},
		{"POST", "/studio/workspaces", own, `{"name":" "}`, 400, "needs a name", ""},
		{"POST", "/studio/workspaces", own, `{"name":"Second"}`, 200, "/studio/w/", ""},
		{"POST", "/studio/workspaces", own, `{`, 400, "JSON", ""},
		{"POST", "/studio/workspaces", own, `[]`, 400, "is a JSON array, not an object", "struct"},
		{"POST", space, own, `{"name":"Mine"}`, 200, "{}", ""},
		{"POST", "/studio/files", append([]string{"X-Name", "a.png"}, foreign...), "x", 403, "another site", ""},
		{"POST", "/studio/files", nil, "x", 400, "X-Name", ""},
		{"POST", "/studio/files", []string{"X-Name", "..%2f..%2fx.txt"}, "text", 200, `"name":"x.txt"`, ".."},
		{"POST", "/studio/files", []string{"X-Name", "empty"}, "", 400, "is empty", ""},
		{"POST", "/studio/files", []string{"X-Name", "broken.pdf"}, "%PDF-1.7 nothing", 400, "broken.pdf cannot be read: document: not a PDF", "the server failed"},
		{"POST", space + "/chats", own, `{"text":"  "}`, 400, "empty", ""},
		{"POST", space + "/chats", own, `{"text":"x","models":["a","b","c","d","e"]}`, 400, "more than the 4", ""},
		{"POST", space + "/chats", own, `{"text":"x","parts":[{"kind":"picture","blob":"zz"}]}`, 400, "no hash", ""},
		{"POST", "/studio/chats/" + none + "/messages", own, `{"text":"x"}`, 404, "", ""},
		{"POST", "/studio/chats/" + string(chat) + "/messages", own, `{"text":"x","parent":"` + none + `"}`, 404, "", ""},
		{"POST", "/studio/chats/" + string(chat) + "/messages", own, `{"text":"x","persona":"` + none + `"}`, 404, "", ""},
		{"POST", "/studio/chats/" + string(chat) + "/leaf", own, `{"message":"` + none + `"}`, 404, "", ""},
		{"POST", "/studio/chats/" + string(chat), own, `{"tags":"b, #a,b","pinned":true,"title":"New name"}`, 200, "", ""},
		{"GET", "/studio/chats/" + string(chat), nil, "", 200, "#a", ""},
		{"GET", space + "?tag=a", nil, "", 200, "New name", ""},
		{"GET", space + "?list=archived", nil, "", 200, "Archived chats", "New name"},
		{"POST", "/studio/messages/" + said + "/again", own, `{}`, 400, "edited", ""},
		{"POST", "/studio/messages/" + answered + "/stop", own, `{}`, 400, "not being written", ""},
		{"POST", space + "/upstreams", own, `{"name":"x","url":"ftp://x"}`, 400, "http", ""},
		{"POST", space + "/upstreams", own, `{"name":"x","url":"https://u:p@x/v1"}`, 400, "user", "u:p"},
		{"POST", "/studio/upstreams/" + string(b.up) + "/models", own, `{}`, 200, "gpt-5.2", upstreamtest.Key},
		{"POST", "/studio/upstreams/" + none + "/models", own, `{}`, 404, "", ""},
		{"POST", space + "/personas", own, `{"name":"P","settings":{"temperature":"hot"}}`, 400, "no number", ""},
		{"POST", space + "/personas", own, `{"name":"P","settings":{"rights":"all"}}`, 400, "no setting", ""},
		{"POST", "/studio/theme", own, `{"theme":"dark"}`, 200, "", ""},
		{"POST", "/studio/theme", own, `{"theme":"\"><script>"}`, 400, "", "<script>"},
		{"POST", "/studio/trash", own, `{"kind":"chat"}`, 400, "kind and id", ""},
		{"POST", "/studio/trash", foreign, `{"kind":"chat","id":"` + string(chat) + `"}`, 403, "", ""},
		{"POST", "/studio/trash", own, `{"kind":"chat","id":"` + string(chat) + `"}`, 200, string(chat), ""},
		{"GET", "/studio/chats/" + string(chat), nil, "", 404, "", "You sent"},
		{"GET", space + "/trash", nil, "", 200, "New name", ""},
		{"POST", "/studio/restore", own, `{"kind":"chat","id":"` + string(chat) + `"}`, 200, "", ""},
		{"GET", "/studio/chats/" + string(chat), nil, "", 200, "You sent", ""},
		{"PUT", "/studio/chats/" + string(chat), own, `{}`, 405, "", ""},
		{"OPTIONS", "/studio/workspaces", foreign, "", 405, "", ""},
	} {
		name := c.method + " " + strings.ReplaceAll(c.path, host, "") + " " + strings.Join(c.who, " ")
		status, header, text := b.ask(t, c.method, c.path, c.body, c.who...)
		if status != c.status || c.has != "" && !strings.Contains(text, c.has) || c.hasNot != "" && strings.Contains(text, c.hasNot) {
			t.Errorf("%s: %d %.300s, want %d with %q, without %q", name, status, text, c.status, c.has, c.hasNot)
		}
		if status == 405 {
			continue
		}
		if header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: CORS is on", name)
		}
		csp := header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
			header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s: headers are %v", name, header)
		}
		for _, cookie := range header.Values("Set-Cookie") {
			if !strings.Contains(cookie, "SameSite=Strict") || !strings.Contains(cookie, "HttpOnly") {
				t.Errorf("%s: the cookie %q", name, cookie)
			}
		}
	}
	// What could run is given to be kept, in a sandbox.
	for _, p := range []studio.Part{file, html} {
		_, header, _ := b.ask(t, "GET", blob(p), "")
		if header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(header.Get("Content-Disposition"), "attachment") ||
			!strings.Contains(header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s is served with %v", p.Name, header)
		}
	}
	if opened := b.serving.Opened(); len(opened) != 0 {
		t.Errorf("to look opened %v", opened)
	}
}

// Versions, several models, stopping and failures of a chat.
func TestConversation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	chat := b.begin(t, "one", nil, b.gpt(), string(b.up)+"/claude")
	at := "/studio/chats/" + string(chat)
	messages := b.wait(t, chat)
	if len(messages) != 3 || messages[1].Run == "" || messages[1].Run != messages[2].Run || messages[1].Text() != "You said: one" {
		t.Fatalf("%+v", messages)
	}
	// The next question: each model reads its own answers.
	b.post(t, at+"/messages", map[string]any{"text": "two", "models": []string{b.gpt(), string(b.up) + "/claude"}}, nil)
	if messages = b.wait(t, chat); len(messages) != 6 || messages[3].Parent != messages[1].ID {
		t.Fatalf("%d messages", len(messages))
	}
	// An edit is a version, and so is an answer that is asked for again.
	root := ""
	b.post(t, at+"/messages", map[string]any{"text": "uno", "parent": &root, "models": []string{b.gpt()}}, nil)
	b.wait(t, chat)
	status, _, page := b.ask(t, "GET", at, "")
	if status != 200 || !strings.Contains(page, "2/2") || !strings.Contains(page, "You said: uno") && !strings.Contains(page, ">uno<") || strings.Contains(page, ">two<") {
		t.Errorf("the edited version is not shown")
	}
	b.post(t, at+"/leaf", map[string]any{"message": messages[0].ID}, nil)
	if _, _, page = b.ask(t, "GET", at, ""); !strings.Contains(page, "1/2") || !strings.Contains(page, ">two<") {
		t.Error("the first version is lost")
	}
	b.post(t, "/studio/messages/"+string(messages[1].ID)+"/again", map[string]any{}, nil)
	messages = b.wait(t, chat)
	if last := messages[len(messages)-1]; last.Parent != messages[0].ID || last.Answer.Model != "gpt-4o" {
		t.Errorf("%+v", last)
	}
	// Failures are told, and what came before stays.
	b.stub.Break = "cut"
	b.post(t, at+"/messages", map[string]any{"text": "three", "models": []string{b.gpt()}}, nil)
	messages = b.wait(t, chat)
	if last := messages[len(messages)-1]; last.State != studio.Failed || !strings.Contains(last.Error, "broke off") || last.Text() == "" {
		t.Errorf("a stream that breaks leaves %+v", last)
	}
	b.stub.Break, b.stub.Busy, b.stub.RetryAfter = "", 1, "3600"
	b.post(t, at+"/messages", map[string]any{"text": "four", "models": []string{b.gpt()}}, nil)
	messages = b.wait(t, chat)
	if last := messages[len(messages)-1]; last.State != studio.Failed || !strings.Contains(last.Error, "wait 1h") {
		t.Errorf("a service that is busy leaves %+v", last)
	}
	b.post(t, at+"/messages", map[string]any{"text": "five", "models": []string{"no-such-model"}}, nil)
	messages = b.wait(t, chat)
	if last := messages[len(messages)-1]; last.State != studio.Failed || !strings.Contains(last.Error, "no model") {
		t.Errorf("a model that is not there leaves %+v", last)
	}
	// Stopping keeps what there is; the stream of events has the pieces.
	b.stub.Slow = 300 * time.Millisecond
	var asked struct{ Answers []studio.ID }
	b.post(t, at+"/messages", map[string]any{"text": "six seven eight nine", "models": []string{b.gpt()}}, &asked)
	events := make(chan string, 1)
	go func() {
		_, _, text := b.ask(t, "GET", at+"/events", "")
		events <- text
	}()
	for range 500 {
		if text, _ := b.page.runs.text(asked.Answers[0]); strings.Contains(text, " ") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.post(t, "/studio/messages/"+string(asked.Answers[0])+"/stop", map[string]any{}, nil)
	messages = b.wait(t, chat)
	last := messages[len(messages)-1]
	if last.State != studio.Stopped || last.Text() == "" || strings.HasSuffix(last.Text(), "nine") {
		t.Errorf("what was stopped is %q, %s", last.Text(), last.State)
	}
	if text := <-events; !strings.Contains(text, "event: done") || !strings.Contains(text, "event: idle") {
		t.Errorf("the events are %q", text)
	}
}

// A prompt is filled in, and run over pictures.
func TestPrompts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	space := "/studio/w/" + string(b.space)
	var made struct{ Go string }
	b.post(t, space+"/prompts", map[string]any{"name": "Check", "text": "{{picture}} Is this {{product}} good?", "tags": "shop"}, &made)
	first, second := b.attach(t, "one.png", upstreamtest.Picture()), b.attach(t, "=two.png", upstreamtest.Picture())
	if _, _, text := b.ask(t, "GET", made.Go, ""); !strings.Contains(text, `data-slot="picture"`) || !strings.Contains(text, `name="texts.product"`) {
		t.Error("the places are not shown")
	}
	fill := map[string]any{"texts": map[string]string{"product": "lamp"}, "files": map[string]any{"picture": []studio.Part{first}}, "models": []string{b.gpt()}}
	var chat struct{ Go string }
	b.post(t, made.Go+"/fill", fill, &chat)
	messages := b.wait(t, studio.ID(strings.TrimPrefix(chat.Go, "/studio/chats/")))
	if text := messages[1].Text(); text != "You sent 1 file(s) and said: Is this lamp good?" {
		t.Errorf("the answer is %q", text)
	}
	if status, _, text := b.ask(t, "POST", made.Go+"/fill", `{"texts":{}}`); status != 400 || !strings.Contains(text, "fill in picture, product") {
		t.Errorf("%d %s", status, text)
	}
	run := map[string]any{"texts": map[string]string{"product": "lamp"}, "slot": "picture", "over": []studio.Part{first, second}, "models": []string{b.gpt(), "no-such-model"}}
	b.post(t, made.Go+"/jobs", run, &chat)
	job := studio.ID(strings.TrimPrefix(chat.Go, "/studio/jobs/"))
	for range 1000 {
		if j, _ := b.Job(t.Context(), job); j.State.Final() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, _, table := b.ask(t, "GET", chat.Go, "")
	_, header, csv := b.ask(t, "GET", chat.Go+"/csv", "")
	if !strings.Contains(table, "2 of 2 done, 2 failed") || !strings.Contains(table, "Is this lamp good?") {
		t.Errorf("the table is %s", table)
	}
	if !strings.Contains(csv, "'=two.png,") || !strings.Contains(csv, "one.png,You sent 1 file(s)") || !strings.Contains(csv, "no model") ||
		!strings.Contains(header.Get("Content-Disposition"), "Check.csv") {
		t.Errorf("the file is %q, %v", csv, header)
	}
	if status, _, text := b.ask(t, "POST", made.Go+"/jobs", `{"slot":"product","over":[]}`); status != 400 || !strings.Contains(text, "no slot") {
		t.Errorf("%d %s", status, text)
	}
}

// An answer of an embedded model, with the source of its words; pictures are found again.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	data, err := os.ReadFile(filepath.FromSlash("../../testdata/images/red-circle.png"))
	if err != nil {
		t.Fatal(err)
	}
	circle := b.attach(t, "circle.png", data)
	chat := b.begin(t, "what color is it?", []studio.Part{circle})
	messages := b.wait(t, chat)
	answer := messages[1]
	if answer.State != studio.Done || answer.Answer.Model != "blip2-mini" || answer.Answer.Seconds <= 0 {
		t.Fatalf("%+v", answer)
	}
	if _, _, text := b.ask(t, "GET", "/studio/messages/"+string(answer.ID)+"/words?trace=1", ""); !strings.Contains(text, `"weights"`) {
		t.Errorf("the words are %.300s", text)
	}
	if _, _, text := b.ask(t, "GET", "/studio/w/"+string(b.space)+"/search?of=a+red+circle", ""); !strings.Contains(text, "likeness") {
		t.Errorf("the picture is not found: %.2000s", text)
	}
	if _, _, text := b.ask(t, "GET", "/studio/w/"+string(b.space)+"/search?like="+string(circle.Blob), ""); !strings.Contains(text, "likeness 1.00") {
		t.Error("the picture is not like itself")
	}
}

// The script is small.
func TestScriptSize(t *testing.T) {
	t.Parallel()
	total := 0
	for name, data := range served {
		if strings.HasSuffix(name, ".js") {
			total += len(data)
		}
		if bytes.Contains(data, []byte("eval(")) || bytes.Contains(data, []byte("innerHTML")) {
			t.Errorf("%s makes code or markup of texts", name)
		}
	}
	if total == 0 || total > 60_000 {
		t.Errorf("the script has %d bytes", total)
	}
}
