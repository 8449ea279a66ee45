package ollama_test

import (
	"encoding/json"
	"fmt"
	"image"
	"net/http"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
)

func pictureItem(img image.Image) media.Item { return media.Picture{Image: img} }

func TestErrors(t *testing.T) {
	t.Parallel()
	dot := encoded(t, "red-circle.png")
	with := func(extra string) string {
		return fmt.Sprintf(`{"model":"blip2-mini","prompt":"what is it?","images":[%q]%s}`, dot, extra)
	}
	for _, test := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"no model of the name", "generate", `{"model":"nope","prompt":"x"}`, 404, "model 'nope' not found"},
		{"no model of the name", "chat", `{"model":"nope","messages":[{"role":"user","content":"x"}]}`, 404, "not found"},
		{"no model of the name", "embed", `{"model":"nope","input":"x"}`, 404, "not found"},
		{"no model of the name", "embeddings", `{"model":"nope","prompt":"x"}`, 404, "not found"},
		{"no model of the name", "show", `{"model":"nope"}`, 404, "not found"},
		{"a path for a model", "show", `{"model":"../layouts/clip-optimum"}`, 404, "not found"},
		{"unloading none", "generate", `{"model":"nope","keep_alive":0}`, 404, "not found"},
		{"no model", "generate", `{"prompt":"x"}`, 400, "model is required"},
		{"no JSON", "generate", `{"model":`, 400, "JSON"},
		{"no body", "chat", ``, 400, "no body"},
		{"more behind", "chat", `{"model":"x"} {}`, 400, "more behind"},
		{"wrong type", "generate", `{"model":"blip2-mini","prompt":1}`, 400, "prompt"},
		{"suffix", "generate", with(`,"suffix":"end"`), 400, "insert"},
		{"template", "generate", with(`,"template":"x"`), 400, "template"},
		{"context", "generate", with(`,"context":[1]`), 400, "context"},
		{"raw with system", "generate", with(`,"raw":true,"system":"x"`), 400, "raw"},
		{"think", "generate", with(`,"think":true`), 400, "thinking"},
		{"think", "generate", with(`,"think":"high"`), 400, "thinking"},
		{"top_logprobs", "generate", with(`,"logprobs":true,"top_logprobs":21`), 400, "top_logprobs"},
		{"format", "generate", with(`,"format":"yaml"`), 400, "format"},
		{"format", "generate", with(`,"format":{"type":"string","pattern":"a+"}`), 400, "pattern"},
		{"keep_alive", "generate", with(`,"keep_alive":"soon"`), 400, "keep_alive"},
		{"options", "generate", with(`,"options":{"temprature":1}`), 400, "temprature"},
		{"options", "generate", with(`,"options":{"temperature":"hot"}`), 400, "temperature"},
		{"options", "generate", with(`,"options":{"temperature":-1}`), 400, "temperature"},
		{"options", "generate", with(`,"options":{"mirostat":1}`), 400, "mirostat"},
		{"options", "generate", with(`,"options":{"top_p":2}`), 400, "top_p"},
		{"options", "generate", with(`,"options":{"stop":3}`), 400, "stop"},
		{"no picture", "generate", `{"model":"blip2-mini","prompt":"what is it?"}`, 400, "picture"},
		{"a broken picture", "generate", `{"model":"blip2-mini","images":["aGVsbG8="]}`, 400, "image"},
		{"no base64", "generate", `{"model":"blip2-mini","images":["%"]}`, 400, "images[0]"},
		{"an empty picture", "generate", `{"model":"blip2-mini","images":[""]}`, 400, "empty"},
		{"two pictures", "generate", fmt.Sprintf(`{"model":"blip2-mini","images":[%q,%q]}`, dot, dot), 400, "several"},
		{"a role", "chat", `{"model":"blip2-mini","messages":[{"role":"boss","content":"x"}]}`, 400, "boss"},
		{"tools", "chat", `{"model":"blip2-mini","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}`,
			400, "does not support tools"},
		{"a model that writes nothing", "generate", `{"model":"clip-mini","prompt":"x"}`, 400, "write"},
		{"input", "embed", `{"model":"clip-mini","input":5}`, 400, "invalid input type"},
		{"input", "embed", `{"model":"clip-mini","input":["a",null]}`, 400, "invalid input type"},
		{"truncate", "embed", `{"model":"clip-mini","input":"a","truncate":false}`, 400, "truncate"},
		{"dimensions", "embed", `{"model":"clip-mini","input":"a","dimensions":-1}`, 400, "dimensions"},
		{"a model that embeds nothing", "embed", `{"model":"blip2-mini","input":"a"}`, 400, "embeds no texts"},
		{"a model that embeds nothing", "embed", fmt.Sprintf(`{"model":"blip2-mini","images":[%q]}`, dot), 400, "embeds no pictures"},
		{"an empty text", "embed", `{"model":"clip-mini","input":["a",""]}`, 400, "input 1"},
		{"pull", "pull", `{"model":"org/name"}`, 403, "--allow-pull"},
		{"create", "create", `{"model":"x"}`, 400, "create"},
		{"push", "push", `{"model":"x"}`, 400, "push"},
		{"copy", "copy", `{"source":"x"}`, 400, "copy"},
	} {
		t.Run(test.name+" at "+test.path, func(t *testing.T) {
			t.Parallel()
			w := ask(t, shared(), "POST", "/api/"+test.path, test.body)
			var failure struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil {
				t.Fatalf("%q: %v", w.Body, err)
			}
			if w.Code != test.status || !strings.Contains(failure.Error, test.says) {
				t.Errorf("%d %q, want %d with %q", w.Code, failure.Error, test.status, test.says)
			}
		})
	}
	if w := ask(t, shared(), "DELETE", "/api/delete", `{"model":"blip2-mini"}`); w.Code != http.StatusBadRequest {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
}

// A model that is here needs no fetching.
func TestPullOfWhatIsHere(t *testing.T) {
	t.Parallel()
	got := decoded(t, ask(t, shared(), "POST", "/api/pull", object{"model": mini.CLIP, "stream": false}))
	if got["status"] != "success" {
		t.Errorf("%v", got)
	}
}
