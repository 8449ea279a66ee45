package photoprism_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/server"
)

var shared = sync.OnceValue(func() http.Handler {
	s, err := server.New(server.Config{})
	if err != nil {
		panic(err)
	}
	return s.Handler()
})

// response is what PhotoPrism reads.
type response struct {
	ID    string
	Code  int
	Error string
	Model struct{ Type, Name, Version string }

	Result struct {
		Labels []struct {
			Name, Source           string
			Confidence, Topicality float64
		}
		Caption *struct {
			Text, Source string
			Confidence   float64
		}
	}
}

func ask(t *testing.T, h http.Handler, task string, body any, header ...string) (*httptest.ResponseRecorder, response) {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	r := httptest.NewRequest("POST", "/api/v1/vision/"+task, strings.NewReader(text))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var v response
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	return w, v
}

func dataURL(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../testdata/images/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(data)
}

type object = map[string]any

func TestCaption(t *testing.T) {
	t.Parallel()
	p, err := api.Open(t.Context(), mini.BLIP2)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want, err := p.CaptionFile(t.Context(), "../../testdata/images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	for _, prompt := range []string{"", "Describe the picture in one sentence, in the active voice."} {
		w, got := ask(t, shared(), "caption", object{
			"id": "photo-1", "prompt": prompt, "images": []string{dataURL(t, "apple.png")},
		})
		c := got.Result.Caption
		if w.Code != http.StatusOK || got.ID != "photo-1" || got.Code != 0 || got.Model.Name != mini.BLIP2 ||
			got.Model.Type != "caption" || c == nil || c.Text != want.Text || c.Source != "image" ||
			c.Confidence != want.Confidence.Probability {
			t.Errorf("%q: %d %s, want %q", prompt, w.Code, w.Body, want.Text)
		}
	}
	_, got := ask(t, shared(), "caption", object{
		"prompt": "what color is it?", "images": []string{}, "url": dataURL(t, "red-circle.png"),
	})
	if c := got.Result.Caption; c == nil || c.Text != "red" || got.ID == "" {
		t.Errorf("a question is answered by %+v", got)
	}
}

// The labels are the thing that each picture shows.
func TestLabels(t *testing.T) {
	t.Parallel()
	for picture, want := range map[string]string{
		"cat.jpg": "cat", "coffee.jpg": "coffee", "apple.png": "apple", "guitar.png": "guitar",
		"pizza.png": "pizza", "rocket.png": "rocket", "umbrella.png": "umbrella",
	} {
		w, got := ask(t, shared(), "labels", object{"images": []string{dataURL(t, picture)}})
		if w.Code != http.StatusOK || len(got.Result.Labels) == 0 {
			t.Errorf("%s: %d %s", picture, w.Code, w.Body)
			continue
		}
		best := got.Result.Labels[0]
		if best.Name != want || best.Confidence <= 0.1 || best.Confidence > 1 || best.Topicality != 1 ||
			best.Source != "image" || got.Model.Name != mini.CLIP {
			t.Errorf("%s: %+v, want %s", picture, got, want)
		}
	}
	_, got := ask(t, shared(), "labels", object{"images": []string{dataURL(t, "cat.jpg"), dataURL(t, "apple.png")}})
	names := map[string]bool{}
	for _, l := range got.Result.Labels {
		names[l.Name] = true
	}
	if !names["cat"] || !names["apple"] {
		t.Errorf("two pictures have %+v", got.Result.Labels)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cat := dataURL(t, "cat.jpg")
	for _, test := range []struct {
		name, task string
		body       any
		status     int
		says       string
	}{
		{"no JSON", "caption", "{", 400, "JSON"},
		{"no images", "caption", object{}, 400, "no images"},
		{"no images", "labels", object{"images": []string{}}, 400, "no images"},
		{"too many images", "labels", object{"images": make([]string, 65)}, 400, "65"},
		{"a URL", "caption", object{"images": []string{"https://example.org/cat.jpg"}}, 400, "fetches nothing"},
		{"a path", "caption", object{"url": "/etc/passwd"}, 400, "data: URL"},
		{"a broken picture", "labels", object{"images": []string{cat, "data:image/png;base64,aGVsbG8="}}, 400, "images[1]"},
		{"no model of the name", "caption", object{"model": "nope", "images": []string{cat}}, 404, "nope"},
		{"a model of another kind", "caption", object{"model": mini.CLIP, "images": []string{cat}}, 400, "write"},
		{"a model of another kind", "labels", object{"model": mini.Whisper, "images": []string{cat}}, 400, "picture"},
		{"nsfw", "nsfw", object{"images": []string{cat}}, 400, "safe for work"},
		{"face", "face", object{"images": []string{cat}}, 400, "faces"},
	} {
		t.Run(test.name+" at "+test.task, func(t *testing.T) {
			t.Parallel()
			w, got := ask(t, shared(), test.task, test.body)
			if w.Code != test.status || got.Code != test.status || !strings.Contains(got.Error, test.says) {
				t.Errorf("%d %+v, want %d with %q", w.Code, got, test.status, test.says)
			}
		})
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	tokens, err := server.ReadTokens(strings.NewReader("secret-word\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "Bearer wrong"} {
		w, got := ask(t, s.Handler(), "caption", object{"images": []string{}}, "Authorization", key)
		if w.Code != http.StatusUnauthorized || got.Code != http.StatusUnauthorized || got.Error == "" {
			t.Errorf("key %q: %d %s", key, w.Code, w.Body)
		}
	}
	if w, _ := ask(t, s.Handler(), "caption", object{}, "Authorization", "Bearer secret-word"); w.Code != http.StatusBadRequest {
		t.Errorf("the right key: %d %s", w.Code, w.Body)
	}
}
