package immich_test

import (
	"bytes"
	"encoding/json"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

const layouts = "../../testdata/layouts/"

var shared = sync.OnceValue(func() http.Handler { return newServer("") })

// newServer serves the embedded models and those in a folder.
func newServer(dir string) http.Handler {
	s, err := server.New(server.Config{Serving: serving.Config{Catalog: &serving.Catalog{Dir: dir}}})
	if err != nil {
		panic(err)
	}
	return s.Handler()
}

// predict sends a form as Immich does: entries, and a picture's file or a text.
func predict(t *testing.T, h http.Handler, entries, image, text string) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if entries != "" {
		form.WriteField("entries", entries)
	}
	if image != "" {
		data, err := os.ReadFile("../../testdata/images/" + image)
		if err != nil {
			t.Fatal(err)
		}
		file, err := form.CreateFormFile("image", "blob")
		if err != nil {
			t.Fatal(err)
		}
		file.Write(data)
	}
	if text != "" {
		form.WriteField("text", text)
	}
	form.Close()
	r := httptest.NewRequest("POST", "/predict", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answer is what predict gives for clip.
type answer struct {
	Clip        string
	ImageHeight *int
	ImageWidth  *int
}

func decoded(t *testing.T, w *httptest.ResponseRecorder) (a answer, vector []float32) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(a.Clip), &vector); err != nil {
		t.Fatalf("clip is %.60q: %v", a.Clip, err)
	}
	return a, vector
}

func entriesOf(kind, model string) string {
	return `{"clip":{"` + kind + `":{"modelName":"` + model + `","options":{}}}}`
}

func checkVector(t *testing.T, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d numbers, want %d", len(got), len(want))
	}
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > 1e-5 {
			t.Fatalf("number %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// The models are an embedded one, and one that lies in a folder as Immich's cache has it, by its plain
// name.
func TestPredict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, folder, at string }{
		{mini.CLIP, mini.CLIP, ""},
		{"ViT-B-32__openai", layouts + "openclip-immich", "clip/ViT-B-32__openai"},
		{"immich-app/XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k", layouts + "openclip-xlmr-immich",
			"clip/XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k/main"},
		{"XLM-Roberta-Large-Vit-B-32", layouts + "mclip-immich", "clip/XLM-Roberta-Large-Vit-B-32"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.at != "" {
				if err := os.CopyFS(filepath.Join(dir, test.at), os.DirFS(test.folder)); err != nil {
					t.Fatal(err)
				}
			}
			h := newServer(dir)
			p, err := api.Open(t.Context(), test.folder)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			img, err := p.DecodeFile("../../testdata/images/cat.jpg")
			if err != nil {
				t.Fatal(err)
			}
			pictures, err := p.EmbedImages(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			texts, err := p.EmbedTexts(t.Context(), "a sleeping cat")
			if err != nil {
				t.Fatal(err)
			}
			a, vector := decoded(t, predict(t, h, entriesOf("visual", test.name), "cat.jpg", ""))
			checkVector(t, vector, pictures[0])
			if a.ImageHeight == nil || *a.ImageHeight != img.Bounds().Dy() || *a.ImageWidth != img.Bounds().Dx() {
				t.Errorf("the picture's size is %v x %v, want %v", a.ImageWidth, a.ImageHeight, img.Bounds())
			}
			a, vector = decoded(t, predict(t, h, entriesOf("textual", test.name), "", "a sleeping cat"))
			checkVector(t, vector, texts[0])
			if a.ImageHeight != nil || a.ImageWidth != nil {
				t.Error("a text has a picture's size")
			}
		})
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil))
	if w.Code != http.StatusOK || w.Body.String() != "pong" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

const entriesOfOCR = `{"ocr":{"detection":{"modelName":"PP-OCRv5_mobile","options":{"minScore":0.5,"maxResolution":736}},` +
	`"recognition":{"modelName":"PP-OCRv5_mobile","options":{"minScore":0.8}}}}`

// What is written on a picture comes with its places and with two scores each, which Immich's settings
// bound.
func TestOCR(t *testing.T) {
	t.Parallel()
	read := func(entries string) (got struct {
		OCR struct {
			Text                     []string
			Box, BoxScore, TextScore []float64
		}
		ImageHeight, ImageWidth int
	}) {
		w := predict(t, shared(), entries, "../ocr/golden/note.png", "")
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		return got
	}
	got := read(entriesOfOCR)
	n := len(got.OCR.Text)
	if n == 0 || got.OCR.Text[0] != "Frühstück für Größe 38, weiß" || len(got.OCR.Box) != 8*n ||
		len(got.OCR.BoxScore) != n || len(got.OCR.TextScore) != n || got.ImageHeight == 0 || got.ImageWidth == 0 {
		t.Fatalf("%+v", got)
	}
	for _, v := range slices.Concat(got.OCR.Box, got.OCR.BoxScore, got.OCR.TextScore) {
		if v < 0 || v > 1 {
			t.Errorf("%v is no share", v)
		}
	}
	if got := read(strings.Replace(entriesOfOCR, `"minScore":0.8`, `"minScore":1`, 1)); len(got.OCR.Text) != 0 || got.OCR.Box == nil {
		t.Errorf("texts that are sure to 1: %+v", got)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, entries, image, text string
		status                     int
		says                       string
	}{
		{"no entries", "", "cat.jpg", "", 422, "no field entries"},
		{"entries of no JSON", "{", "cat.jpg", "", 422, "not JSON"},
		{"entries of another form", `["clip"]`, "cat.jpg", "", 422, "not JSON of the form"},
		{"no task", "{}", "cat.jpg", "", 422, "no task"},
		{"a task that is not known", `{"sing":{"visual":{"modelName":"x"}}}`, "cat.jpg", "", 422, "sing"},
		{"no type", `{"clip":{}}`, "cat.jpg", "", 422, "no type"},
		{"a type that is not known", entriesOf("tactile", "clip-mini"), "cat.jpg", "", 422, "tactile"},
		{"no model", `{"clip":{"visual":{}}}`, "cat.jpg", "", 422, "modelName"},
		{"neither picture nor text", entriesOf("visual", "clip-mini"), "", "", 400, "either image or text"},
		{"a text for a picture", entriesOf("visual", "clip-mini"), "", "x", 400, "wants an image"},
		{"a picture for a text", entriesOf("textual", "clip-mini"), "cat.jpg", "", 400, "wants a text"},
		{"a file that is no picture", entriesOf("visual", "clip-mini"), "ATTRIBUTION.md", "", 400, "image"},
		{"a model that is not here", entriesOf("textual", "ViT-L-14__openai"), "", "x", 404, "clip/ViT-L-14__openai"},
		{"a path for a model", entriesOf("textual", "../../x"), "", "x", 404, "no model"},
		{"a model of another kind", entriesOf("textual", "blip2-mini"), "", "x", 400, "embeds no texts"},
		{"languages", `{"clip":{"textual":{"modelName":"nllb-clip-base","options":{"language":"de"}}}}`, "", "x", 400, "NLLB"},
		{"faces", `{"facial-recognition":{"detection":{"modelName":"buffalo_l","options":{"minScore":0.7}},` +
			`"recognition":{"modelName":"buffalo_l"}}}`, "cat.jpg", "", 400, "faces"},
		{"a text for a page", entriesOfOCR, "", "x", 400, "wants an image"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := predict(t, shared(), test.entries, test.image, test.text)
			var failure struct{ Detail string }
			if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil {
				t.Fatalf("%q: %v", w.Body, err)
			}
			if w.Code != test.status || !strings.Contains(failure.Detail, test.says) {
				t.Errorf("%d %q, want %d with %q", w.Code, failure.Detail, test.status, test.says)
			}
		})
	}
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, httptest.NewRequest("POST", "/predict", strings.NewReader("{}")))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"detail"`) {
		t.Errorf("a body that is no form: %d %s", w.Code, w.Body)
	}
}
