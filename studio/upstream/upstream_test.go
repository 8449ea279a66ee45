package upstream

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/studio/upstream/upstreamtest"
)

// ask starts a stub and returns a client of it, which waits for nothing.
func ask(t *testing.T, s http.Handler) *Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &Client{Base: server.URL + "/v1/", Key: upstreamtest.Key, Wait: func(context.Context, time.Duration) error { return nil }}
}

// hello is a request.
func hello(model string) Request {
	return Request{Model: model, MaxTokens: 50, Messages: []Message{
		{Role: "system", Text: "Be kind."},
		{Role: "user", Text: "what is on it?", Files: []File{{"p.png", "image/png", upstreamtest.Picture()}, {"s.mp3", "audio/mpeg", []byte("x")}, {"d.pdf", "application/pdf", []byte("y")}}},
	}}
}

func TestChat(t *testing.T) {
	t.Parallel()
	whole := upstreamtest.Said("what is on it?", 3)
	for _, test := range []struct {
		name    string
		service *upstreamtest.Service
		model   string
		want    string // the text; "half": a beginning of it
		err     string
		asked   int
	}{
		{"openai", &upstreamtest.Service{}, "gpt-4o", whole, "", 1},
		{"another name of a parameter", &upstreamtest.Service{}, "gpt-5.2", whole, "", 2},
		{"anthropic", &upstreamtest.Service{Like: "anthropic"}, "claude", whole, "", 1},
		{"gemini", &upstreamtest.Service{Like: "gemini"}, "gemini", whole, "", 1},
		{"busy twice", &upstreamtest.Service{Busy: 2}, "gpt-4o", whole, "", 3},
		{"overloaded once", &upstreamtest.Service{Like: "anthropic", Busy: 1, RetryAfter: "1"}, "claude", whole, "", 2},
		{"busy for long", &upstreamtest.Service{Busy: 9, RetryAfter: "3600"}, "gpt-4o", "", "asks to wait 1h0m0s: Rate limit", 1},
		{"busy again and again", &upstreamtest.Service{Like: "gemini", Busy: 9}, "gemini", "", "takes no more for now: Rate limit", 3},
		{"no such model", &upstreamtest.Service{Like: "anthropic"}, "no-such-model", "", "does not exist", 1},
		{"gemini's errors", &upstreamtest.Service{Like: "gemini"}, "no-such-model", "", "does not exist", 1},
		{"cut", &upstreamtest.Service{Break: "cut"}, "gpt-4o", "half", "broke off", 1},
		{"an error on the way", &upstreamtest.Service{Break: "error"}, "gpt-4o", "half", "The server had an error", 1},
		{"an error on the way, anthropic's", &upstreamtest.Service{Like: "anthropic", Break: "error"}, "claude", "half", "The server had an error", 1},
		{"silence", &upstreamtest.Service{Break: "silent"}, "gpt-4o", "half", "said nothing for", 1},
		{"garbled", &upstreamtest.Service{Break: "garbled"}, "gpt-4o", "half", "broke off", 1},
		{"short", &upstreamtest.Service{Break: "short"}, "gpt-4o", "half", "broke off", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := ask(t, test.service)
			if test.service.Break == "silent" {
				c.Silence = 100 * time.Millisecond
			}
			var pieces strings.Builder
			answer, err := c.Chat(t.Context(), hello(test.model), func(p string) bool { pieces.WriteString(p); return true })
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("the error is %v, want %q", err, test.err)
			}
			want := test.want
			if want == "half" {
				if want = answer.Text; want == "" || len(want) >= len(whole) || !strings.HasPrefix(whole, want) {
					t.Errorf("it keeps %q", want)
				}
			}
			if answer.Text != want || pieces.String() != want {
				t.Errorf("the text is %q, its pieces %q, want %q", answer.Text, pieces.String(), want)
			}
			if err == nil && (answer.Finish != "stop" || answer.Prompt != 7 || answer.Tokens == 0) {
				t.Errorf("%+v", answer)
			}
			if n := len(test.service.Requests()); n != test.asked {
				t.Errorf("it was asked %d times, want %d", n, test.asked)
			}
			if strings.Contains(errString(err), upstreamtest.Key) {
				t.Error("the error has the key")
			}
		})
	}
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Services that stream nothing, redirect, or are none.
func TestOddServices(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, kind, body string
		status           int
		want, err        string
	}{
		{"no stream", "application/json", `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`, 200, "hi", ""},
		{"parts", "application/json", `{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"text":"b"}]}}]}`, 200, "ab", ""},
		{"nothing", "application/json", `{}`, 200, "", "holds no message"},
		{"an error with 200", "application/json", `{"error":"no room"}`, 200, "", "no room"},
		{"a page", "text/html", `<html>login</html>`, 200, "", "broke off"},
		{"a page as an error", "text/html", `<html>bad gateway</html>`, 502, "", "502 Bad Gateway"},
		{"ollama's errors", "application/json", `{"error":"model 'x' not found"}`, 404, "", "model 'x' not found"},
		{"fastapi's errors", "application/json", `{"detail":"nope"}`, 422, "", "nope"},
		{"a plain error", "text/plain", "upstream is down", 500, "", "upstream is down"},
		{"a redirection", "text/plain", "", 302, "", "redirects"},
		{"a stream without space", "text/event-stream", "data:{\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n", 200, "x", ""},
		{"a long line", "text/event-stream", "data: " + strings.Repeat("a", mostLine+1), 200, "", "broke off"},
	} {
		c := ask(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(test.status)
			w.Write([]byte(test.body))
		}))
		answer, err := c.Chat(t.Context(), hello("m"), nil)
		if answer.Text != test.want || !strings.Contains(errString(err), test.err) || test.err == "" && err != nil {
			t.Errorf("%s: %q, %v", test.name, answer.Text, err)
		}
	}
	gone := &Client{Base: "http://127.0.0.1:1/v1", Key: upstreamtest.Key}
	if _, err := gone.Models(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("a service that is not there: %v", err)
	}
}

// A reader that stops, and a context that ends, end the request.
func TestStop(t *testing.T) {
	t.Parallel()
	service := &upstreamtest.Service{Slow: 5 * time.Millisecond}
	c := ask(t, service)
	answer, err := c.Chat(t.Context(), hello("gpt-4o"), func(string) bool { return false })
	if err != nil || answer.Text != "You " {
		t.Errorf("%q, %v", answer.Text, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer, err = c.Chat(ctx, hello("gpt-4o"), func(string) bool { cancel(); return true })
	if !errors.Is(err, context.Canceled) || answer.Text == "" {
		t.Errorf("%q, %v", answer.Text, err)
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	for like, want := range map[string]string{
		"openai": "gpt-5.2", "anthropic": "claude-opus-4-5", "gemini": "gemini-3-flash",
	} {
		names, err := ask(t, &upstreamtest.Service{Like: like}).Models(t.Context())
		if err != nil || !slices.Contains(names, want) {
			t.Errorf("%s: %q, %v", like, names, err)
		}
		c := ask(t, &upstreamtest.Service{Like: like})
		c.Key = "sk-wrong"
		if _, err := c.Models(t.Context()); err == nil || !strings.Contains(err.Error(), "refuses the key: Incorrect") {
			t.Errorf("%s with a wrong key: %v", like, err)
		}
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ model, prompt, err string }{
		{"dall-e-3", "a square", ""},
		{"gpt-image-1", "a square", ""},
		{"flux-1.1", "a square", ""},   // an address of the service's own
		{"ideogram-3", "a square", ""}, // an address elsewhere
		{"gpt-image-1", "something forbidden", "safety system"},
	} {
		c := ask(t, &upstreamtest.Service{})
		c.Fetch = func(_ context.Context, u *url.URL) ([]byte, error) {
			if u.Host != "elsewhere.example" {
				t.Errorf("%s is fetched without the key", u)
			}
			return upstreamtest.Picture(), nil
		}
		files, err := c.Draw(t.Context(), Drawing{Model: test.model, Prompt: test.prompt})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v", test.model, err)
			}
			continue
		}
		if err != nil || len(files) != 1 || files[0].Type != "image/png" || !bytes.Equal(files[0].Data, upstreamtest.Picture()) {
			t.Errorf("%s: %v", test.model, err)
		}
	}
	if _, err := ask(t, &upstreamtest.Service{}).Draw(t.Context(), Drawing{Model: "ideogram-3"}); err == nil {
		t.Error("an address elsewhere is fetched by nobody")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0.5": 500 * time.Millisecond, "-1": 0, "1e99": 0, "NaN": 0, "soon": 0,
		"Tue, 01 Dec 2026 12:00:30 GMT": 30 * time.Second, "Tue, 01 Dec 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestCheckBase(t *testing.T) {
	t.Parallel()
	for base, ok := range map[string]bool{
		"https://api.openai.com/v1": true, "http://localhost:11434/v1": true, "": false, "api.openai.com": false,
		"file:///etc": false, "https://me:secret@host/v1": false, "https://host/v1?key=1": false, "http://": false,
	} {
		if err := CheckBase(base); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}
