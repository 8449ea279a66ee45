package ollama_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

func TestLists(t *testing.T) {
	t.Parallel()
	h := newServer(t)
	find := func(list any, name string) object {
		for _, m := range list.([]any) {
			if m.(object)["model"] == name {
				return m.(object)
			}
		}
		return nil
	}
	tags := decoded(t, ask(t, h, "GET", "/api/tags", nil))
	for name, capabilities := range map[string]string{
		"blip2-mini:latest": "completion vision", "clip-mini:latest": "vision embedding",
		"whisper-mini:latest": "audio", chatModel + ":latest": "completion vision",
	} {
		m := find(tags["models"], name)
		if m == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		var words []string
		for _, c := range m["capabilities"].([]any) {
			words = append(words, c.(string))
		}
		if strings.Join(words, " ") != capabilities || len(m["digest"].(string)) != 64 || m["size"].(float64) < 1000 ||
			m["details"].(object)["format"] != "onnx" {
			t.Errorf("%v", m)
		}
	}
	shown := decoded(t, ask(t, h, "POST", "/api/show", object{"model": mini.CLIP}))
	if shown["details"].(object)["family"] != "clip" || shown["model_info"].(object)["general.architecture"] != "clip" {
		t.Errorf("%v", shown)
	}
	if list := decoded(t, ask(t, h, "GET", "/api/ps", nil))["models"].([]any); len(list) != 0 {
		t.Errorf("models are open at the start: %v", list)
	}
	if got := decoded(t, ask(t, h, "GET", "/api/version", nil)); got["version"] != "1.2.3" {
		t.Errorf("%v", got)
	}
}

// An empty prompt loads a model, keep_alive says for how long, and 0 unloads it.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	h := newServer(t)
	open := func() []any { return decoded(t, ask(t, h, "GET", "/api/ps", nil))["models"].([]any) }
	for _, test := range []struct {
		keep   any
		least  time.Duration
		longer bool
	}{{nil, 4 * time.Minute, false}, {"10m", 9 * time.Minute, false}, {3600, 59 * time.Minute, false}, {-1, 1000 * time.Hour, true}} {
		body := object{"model": mini.CLIP}
		if test.keep != nil {
			body["keep_alive"] = test.keep
		}
		w := ask(t, h, "POST", "/api/generate", body)
		if got := decoded(t, w); got["done_reason"] != "load" || got["done"] != true || got["response"] != "" {
			t.Errorf("%v", got)
		}
		list := open()
		if len(list) != 1 {
			t.Fatalf("open are %v", list)
		}
		expires, err := time.Parse(time.RFC3339, list[0].(object)["expires_at"].(string))
		left := time.Until(expires)
		if err != nil || left < test.least || !test.longer && left > test.least+2*time.Minute {
			t.Errorf("keep_alive %v: %v are left", test.keep, left)
		}
	}
	got := decoded(t, ask(t, h, "POST", "/api/chat", object{"model": mini.CLIP, "messages": []object{}, "keep_alive": 0}))
	if got["done_reason"] != "unload" || len(open()) != 0 {
		t.Errorf("%v; open are %v", got, open())
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"": "Ollama is running", "*/*": "Ollama is running", "text/plain, */*;q=0.1": "Ollama is running",
		"application/json": `{"message":"Immich ML"}` + "\n", "text/plain, application/json;q=0.9": `{"message":"Immich ML"}` + "\n",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		shared().ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("Accept %q: %d %q, want %q", accept, w.Code, w.Body, want)
		}
	}
	if w := ask(t, shared(), "HEAD", "/", nil); w.Code != http.StatusOK {
		t.Errorf("HEAD: %d", w.Code)
	}
}

// A client that goes away stops its text, and lets its model go.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Config{Serving: serving.Config{
		Catalog: &serving.Catalog{Named: []string{layouts + "/" + chatModel}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Service.Close)
	over := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Handler().ServeHTTP(w, r)
		close(over)
	}))
	t.Cleanup(h.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const body = `{"model":"` + chatModel + `","messages":[{"role":"user","content":"Tell me all."}],"options":{"num_predict":-1}}`
	r, err := http.NewRequestWithContext(ctx, "POST", h.URL+"/api/chat", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-over
	for _, open := range s.Service.Opened() {
		if open.Users != 0 {
			t.Errorf("%+v is still in use", open)
		}
	}
}
