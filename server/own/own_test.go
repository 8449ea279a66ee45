package own_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	_ "github.com/crossattn/xpipe/audio/codecs"
	clipmini "github.com/crossattn/xpipe/models/mini/clip-mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

const testdata = "../../testdata/"

// shared answers for all tests, which change nothing.
var shared = sync.OnceValue(func() http.Handler {
	s, err := server.New(server.Config{Version: "v1.2.3", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), Serving: serving.Config{
		Library: library{},
		Catalog: &serving.Catalog{Named: []string{testdata + "layouts/" + hears}}, Idle: -1, OpenDocument: pagefiles.Data,
	}})
	if err != nil {
		panic(err)
	}
	return s.Handler()
})

type object = map[string]any

// library has two pictures, and pages with the words that are sought.
type library struct{}

func (library) Model() (name, hash string) {
	p, err := pipeline.OpenFS(context.Background(), clipmini.FS())
	if err != nil {
		panic(err)
	}
	defer p.Close()
	hash, err = p.Bundle().Hash()
	if err != nil {
		panic(err)
	}
	return clipmini.Name, hash
}

func (library) Find(_ context.Context, sought api.Sought, text, like []float32) ([]api.Hit, error) {
	if sought.After == "never" {
		return nil, api.Usagef("--after never: it is no date")
	}
	hits := []api.Hit{
		{Path: "/photos/a.jpg", Kind: api.KindPhoto, Score: 1},
		{Path: api.Name(fmt.Sprintf("/%d/%d/%v", len(text), len(like), sought.In)), Kind: api.KindPage, Page: 3, Text: sought.Text},
	}
	if sought.Explain {
		hits[0].Explain = &api.Explain{Words: &api.Rank{Rank: 1, Value: 2}}
	}
	return hits[:min(sought.Limit, len(hits))], nil
}

// form is a form of fields: "name=value", "name=@FILE" for a file of testdata, and "name=!TEXT" for a
// file that holds a text.
func form(t *testing.T, fields ...string) (kind string, body io.Reader) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		file, isFile := strings.CutPrefix(value, "@")
		text, isText := strings.CutPrefix(value, "!")
		data := []byte(text)
		if isFile {
			var err error
			if data, err = os.ReadFile(testdata + file); err != nil {
				t.Fatal(err)
			}
		}
		if !isFile && !isText {
			w.WriteField(name, value)
			continue
		}
		part, err := w.CreateFormFile(name, path.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		part.Write(data)
	}
	w.Close()
	return w.FormDataContentType(), &b
}

// ask sends a form to a verb.
func ask(t *testing.T, verb, accept string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	kind, body := form(t, fields...)
	r := httptest.NewRequest(http.MethodPost, "/xpipe/v1/"+verb, body)
	r.Header.Set("Content-Type", kind)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, r)
	return w
}

// answered reads the lines of an answer.
func answered(t *testing.T, w *httptest.ResponseRecorder) (lines []object) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	for d.More() {
		var v object
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		lines = append(lines, v)
	}
	if n := strings.Count(w.Body.String(), "\n"); n != len(lines) {
		t.Errorf("%d objects on %d lines", len(lines), n)
	}
	want := "application/x-ndjson"
	if len(lines) == 1 {
		want = "application/json"
	}
	if kind := w.Header().Get("Content-Type"); kind != want {
		t.Errorf("Content-Type %q of %d lines", kind, len(lines))
	}
	return lines
}

// newRecorder is the answer to a request without a body.
func newRecorder(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

// pipelineImage decodes a file of testdata as a model does.
func pipelineImage(p *pipeline.Pipeline, name string) (image.Image, error) {
	data, err := os.ReadFile(testdata + name)
	if err != nil {
		return nil, err
	}
	return p.Decode(bytes.NewReader(data))
}
