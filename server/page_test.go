package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// paper is a Page that says so.
type paper struct{ ended atomic.Bool }

func (p *paper) Home() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the page") })
}
func (p *paper) Routes() []web.Route { return []web.Route{{Pattern: "GET /paper", Handler: p.Home()}} }
func (p *paper) End()                { p.ended.Store(true) }

// A page is at / for browsers, the dialects for all others; it ends with the server.
func TestPage(t *testing.T) {
	t.Parallel()
	p := &paper{}
	s, err := New(Config{Page: func(*serving.Service) (Page, error) { return p, nil }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	for _, c := range []struct{ path, accept, want string }{
		{"/", "text/html,application/xhtml+xml,*/*;q=0.8", "the page"},
		{"/", "*/*", "Ollama is running"},
		{"/", "", "Ollama is running"},
		{"/", "application/json, text/plain, */*", "Immich ML"},
		{"/paper", "", "the page"},
		{"/api/version", "text/html", "version"},
	} {
		q, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Accept", c.accept)
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if !strings.Contains(string(data), c.want) {
			t.Errorf("%s with %q gives %q", c.path, c.accept, data)
		}
	}
	stop()
	if err := <-served; err != nil || !p.ended.Load() {
		t.Errorf("it ends with %v, the page %t", err, p.ended.Load())
	}
}
