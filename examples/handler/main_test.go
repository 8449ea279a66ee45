package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	blip2mini "github.com/crossattn/xpipe/models/mini/blip2-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	p, err := pipeline.OpenFS(t.Context(), blip2mini.FS(), pipeline.WithLimits(pipeline.Limits{ImageBytes: 100_000}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	apple, err := os.ReadFile("../../testdata/images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body   []byte
		status int
		says   string
	}{
		{apple, http.StatusOK, `{"text":"red apple","tokens":2,`},
		{[]byte("no picture"), http.StatusBadRequest, "image: "},
		{append(apple, make([]byte, 100_000)...), http.StatusRequestEntityTooLarge, "(Limits.Bytes)"},
	} {
		w := httptest.NewRecorder()
		captions(p)(w, httptest.NewRequest("POST", "/caption", bytes.NewReader(c.body)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("status %d: %s; want %d with %q", w.Code, w.Body, c.status, c.says)
		}
	}
}
