package server

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/server/serving"
)

// read returns an answer's status and body.
func read(t *testing.T, answer *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// The metrics tell of requests, queues, batches, tokens, times, the cache and memory.
func TestMetrics(t *testing.T) {
	t.Parallel()
	_, l := listen(t, Config{})
	for range 2 { // the second finds the picture's encoding
		answer, err := http.Post(l.URL+"/v1/chat/completions", "application/json", strings.NewReader(question(catPicture(t), 2)))
		if status, body := read(t, answer, err); status != http.StatusOK {
			t.Fatal(body)
		}
	}
	answer, err := http.Get(l.URL + "/metrics")
	_, body := read(t, answer, err)
	for _, want := range []string{
		`xpipe_requests_total{route="POST /v1/chat/completions",status="200"} 2`,
		`xpipe_request_seconds_count{route="POST /v1/chat/completions"} 2`,
		`xpipe_queue_length{model="blip2-mini"} 0`,
		`xpipe_batch_items_count{model="blip2-mini",stage="encode"} 1`,
		`xpipe_batch_rows_count{model="blip2-mini"} [1-9]`,
		`xpipe_step_seconds_count{model="blip2-mini"} [1-9]`,
		`xpipe_cache_total{model="blip2-mini",result="hit"} 1`,
		`xpipe_cache_total{model="blip2-mini",result="miss"} 1`,
		`xpipe_tokens_total{model="blip2-mini"} [2-4]`,
		`xpipe_first_token_seconds_count{model="blip2-mini"} 2`,
		`xpipe_stage_seconds_total{model="blip2-mini",stage="encode"} [0-9]`,
		`xpipe_stage_seconds_total{model="blip2-mini",stage="generate"} [0-9]`,
		`xpipe_models_open 1`,
		`xpipe_model_open_seconds_count{model="blip2-mini"} 1`,
		`xpipe_cache_bytes [1-9]`,
		`xpipe_calls_running 0`,
		`xpipe_go_memstats_heap_inuse_bytes [1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + strings.NewReplacer("{", `\{`, "}", `\}`).Replace(want)).MatchString(body) {
			t.Errorf("no %s", want)
		}
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "xpipe_") && line[0] != '#' {
			t.Errorf("another name: %s", line)
		}
	}
}

// A model whose queue is full says so in each dialect's shape, and when to come again.
func TestBusy(t *testing.T) {
	t.Parallel()
	s, l := listen(t, Config{Serving: serving.Config{Queue: 1}})
	_, release, err := s.Service.Use(t.Context(), "clip-mini")
	if err != nil {
		t.Fatal(err)
	}
	for path, c := range map[string][2]string{
		"/v1/embeddings": {`{"model":"clip-mini","input":"a"}`, `"type":"server_error"`},
		"/api/embed":     {`{"model":"clip-mini","input":"a"}`, `{"error":"model clip-mini is busy`},
	} {
		answer, err := http.Post(l.URL+path, "application/json", strings.NewReader(c[0]))
		status, body := read(t, answer, err)
		if status != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "2" || !strings.Contains(body, c[1]) {
			t.Errorf("%s: %d, %v, %s", path, status, answer.Header, body)
		}
	}
	release()
	answer, err := http.Post(l.URL+"/api/embed", "application/json", strings.NewReader(`{"model":"clip-mini","input":"a"}`))
	if status, body := read(t, answer, err); status != http.StatusOK {
		t.Errorf("with room: %d %s", status, body)
	}
}

// A server that is to end is alive, and not ready.
func TestReady(t *testing.T) {
	t.Parallel()
	s, l := listen(t, Config{})
	for _, c := range []struct {
		path   string
		ending bool
		status int
	}{
		{"/healthz", false, 200}, {"/readyz", false, 200}, {"/v2/health/ready", false, 200},
		{"/healthz", true, 200}, {"/readyz", true, 503}, {"/v2/health/live", true, 200}, {"/v2/health/ready", true, 503},
	} {
		s.ending.Store(c.ending)
		answer, err := http.Get(l.URL + c.path)
		if status, body := read(t, answer, err); status != c.status {
			t.Errorf("%s, ending %v: %d %s", c.path, c.ending, status, body)
		}
	}
}
