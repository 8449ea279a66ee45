package server

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
)

// ask sends a request without a body, with headers.
func ask(t *testing.T, method, url string, headers ...string) *http.Response {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			q.Host = headers[i+1]
		}
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}

func TestTokens(t *testing.T) {
	t.Parallel()
	hash := sha256.Sum256([]byte("second-token"))
	tokens, err := ReadTokens(strings.NewReader("# ours\nfirst-token  of alice\n\n" + hex.EncodeToString(hash[:]) + "  -\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, l := listen(t, Config{Tokens: tokens})
	for _, c := range []struct {
		path, header, value string
		status              int
	}{
		{"/v1/models", "", "", 401},
		{"/v1/models", "Authorization", "Bearer first-token", 200},
		{"/v1/models", "Authorization", "bearer second-token", 200},
		{"/v1/models", "X-Api-Key", "second-token", 200},
		{"/v1/models", "Authorization", "Bearer first-toke", 401},
		{"/v1/models", "Authorization", "Basic first-token", 401},
		{"/v1/models", "Authorization", "Bearer " + hex.EncodeToString(hash[:]), 401},
		{"/v1/models", "Authorization", "Bearer ", 401},
		{"/metrics", "", "", 401},
		{"/healthz", "", "", 200},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header, c.value}
		}
		if answer := ask(t, "GET", l.URL+c.path, headers...); answer.StatusCode != c.status {
			t.Errorf("%s with %q: %d, want %d", c.path, c.value, answer.StatusCode, c.status)
		}
	}
	for _, bad := range []string{"", "# nothing\n", "short", "sha256:12"} {
		if _, err := ReadTokens(strings.NewReader(bad)); err == nil {
			t.Errorf("the file %q passes", bad)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	_, l := listen(t, Config{Origins: []string{"https://app.example"}, Hosts: func(h string) bool { return h != "evil.example" }})
	for _, c := range []struct {
		headers []string
		status  int
		allowed string
	}{
		{nil, 200, ""},
		{[]string{"Origin", "https://app.example"}, 200, "https://app.example"},
		{[]string{"Origin", "https://evil.example"}, 403, ""},
		{[]string{"Origin", "null"}, 403, ""},
		{[]string{"Origin", l.URL}, 200, l.URL},
		{[]string{"Host", "evil.example"}, 403, ""},
	} {
		answer := ask(t, "GET", l.URL+"/v1/models", c.headers...)
		if got := answer.Header.Get("Access-Control-Allow-Origin"); answer.StatusCode != c.status || got != "" && got != c.allowed {
			t.Errorf("%v: %d, %q", c.headers, answer.StatusCode, got)
		}
	}
	answer := ask(t, "OPTIONS", l.URL+"/v1/models", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	if answer.StatusCode != 204 || answer.Header.Get("Access-Control-Allow-Headers") == "" {
		t.Errorf("a preflight gets %d, %v", answer.StatusCode, answer.Header)
	}
	_, closed := listen(t, Config{})
	answer = ask(t, "OPTIONS", closed.URL+"/v1/models", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	if answer.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS is on by default")
	}
}
