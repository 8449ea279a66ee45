package openai_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/serving"
)

const made = "../../testdata/document/questions/"

func encoded(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

// Embedded models answer by a line of the document, in all three dialects, at once or as a stream; the header says where.
func TestDocuments(t *testing.T) {
	t.Parallel()
	form := encoded(t, made+"tune-form-3.pdf")
	question := `{"type":%q,"text":"When was the patient born?"}`
	const want = "12 May 2002 (page 1)"
	chat := fmt.Sprintf(`"messages":[{"role":"user","content":[{"type":"file","file":{"filename":"f.pdf","file_data":"data:application/pdf;base64,%s"}},`+
		question+`]}]`, form, "text")
	bodies := map[string]string{
		"chat/completions": `{"model":"blip2-mini",` + chat + `}`,
		"responses": fmt.Sprintf(`{"model":"ocr","input":[{"role":"user","content":[{"type":"input_file","filename":"f.pdf","file_data":"%s"},`+
			question+`]}]}`, form, "input_text"),
		"messages": fmt.Sprintf(`{"model":"blip2-mini","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","title":"f.pdf","source":{"type":"base64","media_type":"application/pdf","data":"%s"}},`+
			question+`]}]}`, form, "text"),
	}
	for path, body := range bodies {
		w := ask(t, "POST", path, body)
		var found struct {
			Document, Line string
			Page           int
			Box            [4]float64
			Unsure         bool
		}
		if err := json.Unmarshal([]byte(w.Header().Get("Xpipe-Found")), &found); err != nil || found.Document != "f.pdf" || found.Page != 1 ||
			found.Line != "12 May 2002" || found.Box[2] <= found.Box[0] {
			t.Errorf("%s: %v, %s", path, err, w.Header().Get("Xpipe-Found"))
		}
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d: %s", path, w.Code, w.Body)
		}
		data, _ := events(t, path, strings.Replace(body, "{", `{"stream":true,`, 1))
		if !strings.Contains(strings.Join(data, "\n"), want) {
			t.Errorf("%s: %v", path, data)
		}
	}
	// A model with a chat template reads the text, and sees the page; one that reads alone has the passages.
	for _, model := range []string{chatter, "llama-genai"} {
		body := `{"model":"` + model + `","max_tokens":2,` + chat + `}`
		with := answerOf[struct {
			Usage struct {
				Prompt int `json:"prompt_tokens"`
			}
		}](t, "chat/completions", body)
		without := answerOf[struct {
			Usage struct {
				Prompt int `json:"prompt_tokens"`
			}
		}](t, "chat/completions", `{"model":"`+model+`","max_tokens":2,"messages":[{"role":"user","content":"When was the patient born?"}]}`)
		if with.Usage.Prompt < without.Usage.Prompt+20 {
			t.Errorf("%s: %d tokens with a document, %d without", model, with.Usage.Prompt, without.Usage.Prompt)
		}
	}
	// Plain text is a text.
	if w := ask(t, "POST", "chat/completions", `{"model":"llama-genai","max_tokens":2,"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"`+
		base64.StdEncoding.EncodeToString([]byte("a,b\n1,2"))+`"}},{"type":"text","text":"sum?"}]}]}`); w.Code != http.StatusOK {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	for _, c := range []struct{ file, param, says string }{
		{`{"file_id":"f"}`, "file_id", "keeps no files"}, {`{}`, "file_data", "needs file_data"},
		{`{"file_data":"data:application/zip;base64,UEsDBAD/"}`, "file", "neither a PDF"},
		{`{"file_data":"%%%"}`, "file_data", "base64"},
		{`{"file_data":"` + base64.StdEncoding.EncodeToString([]byte("%PDF-1.7 nothing")) + `"}`, "content[0]", "document"},
		{`{"file_data":"` + encoded(t, "../../testdata/document/encrypted.pdf") + `"}`, "content[0]", "encrypted"},
	} {
		w := ask(t, "POST", "chat/completions", `{"model":"blip2-mini","messages":[{"role":"user","content":[{"type":"file","file":`+c.file+`},{"type":"text","text":"who?"}]}]}`)
		if w.Code != 400 || !strings.Contains(w.Body.String(), c.says) || !strings.Contains(w.Body.String(), c.param) {
			t.Errorf("%.60s: %d: %s", c.file, w.Code, w.Body)
		}
	}
	s, err := server.New(server.Config{Serving: serving.Config{Catalog: &serving.Catalog{}}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost/v1/chat/completions", strings.NewReader(bodies["chat/completions"])))
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "reads no documents") {
		t.Errorf("without an opener: %d: %s", w.Code, w.Body)
	}
}
