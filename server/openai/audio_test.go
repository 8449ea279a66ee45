package openai_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models/mini"
)

// form sends a sound with fields.
func form(t *testing.T, path string, sound []byte, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	if sound != nil {
		f, err := m.CreateFormFile("file", "a.flac")
		if err != nil {
			t.Fatal(err)
		}
		f.Write(sound)
	}
	for i := 0; i < len(fields); i += 2 {
		m.WriteField(fields[i], fields[i+1])
	}
	m.Close()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost/v1/"+path, &b)
	r.Header.Set("Content-Type", m.FormDataContentType())
	w := httptest.NewRecorder()
	shared().ServeHTTP(w, r)
	return w
}

func TestTranscriptions(t *testing.T) {
	t.Parallel()
	sound, err := os.ReadFile("../../testdata/audio/16.wav")
	if err != nil {
		t.Fatal(err)
	}
	w := form(t, "audio/transcriptions", sound, "model", mini.Whisper, "response_format", "verbose_json")
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"task":"transcribe","language":"english"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = form(t, "audio/transcriptions", sound, "stream", "true")
	body, _ := io.ReadAll(w.Body)
	if w.Code != 200 || !bytes.Contains(body, []byte(`"type":"transcript.text.done"`)) || !bytes.HasSuffix(body, []byte("data: [DONE]\n\n")) {
		t.Errorf("%d %s", w.Code, body)
	}
}
