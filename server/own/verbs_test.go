package own_test

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
)

const (
	apple  = "image=@images/apple.png"
	rocket = "image=@images/rocket.png"
	page   = "image=@ocr/golden/note.png"
)

// asCommand makes what the command prints of a value, but for seconds.
func asCommand(t *testing.T, v any) object {
	t.Helper()
	var b strings.Builder
	if err := api.WriteJSON(&b, v); err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal([]byte(b.String()), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func equal(t *testing.T, got, want object) {
	t.Helper()
	delete(got, "seconds")
	delete(want, "seconds")
	if !near(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// near compares values of JSON, numbers within rounding: those of a batch may differ from one alone.
func near(a, b any) bool {
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		return ok && math.Abs(a-b) <= 1e-6*max(1, math.Abs(b))
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, near)
	case object:
		b, ok := b.(object)
		return ok && maps.EqualFunc(a, b, near)
	}
	return reflect.DeepEqual(a, b)
}

// open opens a model without a server.
func open(t *testing.T, name string) *pipeline.Pipeline {
	t.Helper()
	p, err := api.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// A caption is the line of the library's text, with what made it; options have either name.
func TestCaption(t *testing.T) {
	t.Parallel()
	p := open(t, "blip2-mini")
	img, err := pipelineImage(p, "images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	options := []pipeline.GenerateOption{func(g *pipeline.Generation) { g.NumBeams, g.NumReturnSequences = 3, 2 }}
	texts, err := p.Generate(t.Context(), []pipeline.Request{{Image: img}}, options...)
	if err != nil {
		t.Fatal(err)
	}
	want := api.NewCaption("apple.png", texts[0], p.CaptionConfidence(texts[0][0].Tokens), 0)
	settings := api.Settings{}
	if err := settings.SetGeneration(p, options); err != nil {
		t.Fatal(err)
	}
	if want.Origin, err = api.NewOrigin(p, "v1.2.3", settings); err != nil {
		t.Fatal(err)
	}
	got := answered(t, ask(t, "caption", "", apple, "num_beams=3", "num-return-sequences=2"))
	equal(t, got[0], asCommand(t, want))
}

// Several pictures are lines in their order, a broken one has its error, and a list is there for who
// asks for JSON.
func TestSeveral(t *testing.T) {
	t.Parallel()
	fields := []string{apple, "image=!no picture", rocket}
	lines := answered(t, ask(t, "caption", "", fields...))
	if len(lines) != 3 || lines[0]["caption"] != "red apple" || lines[1]["error"] == nil || lines[2]["image"] != "rocket.png" {
		t.Errorf("%v", lines)
	}
	w := ask(t, "caption", "application/json, text/plain, */*", fields...)
	var list []object
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != 3 {
		t.Errorf("%v: %s", err, w.Body)
	}
	if kind := w.Header().Get("Content-Type"); kind != "application/json" {
		t.Error(kind)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	lines := answered(t, ask(t, "ask", "", "image=@images/red-circle.png", "question=what color is it?", "question=what shape is it?"))
	if len(lines) != 2 || lines[0]["answer"] != "red" || lines[1]["question"] != "what shape is it?" {
		t.Errorf("%v", lines)
	}
	line := answered(t, ask(t, "ask", "", "image=@images/red-circle.png", "question=is it red?", "choices=yes, no"))[0]
	if choices, _ := line["choices"].([]any); len(choices) != 2 || line["answer"] != "yes" {
		t.Errorf("%v", line)
	}
	line = answered(t, ask(t, "ask", "", "shot=@images/apple.png", "shot_text=zudo", "image=@images/apple.png", "question=what is this?"))[0]
	if line["model"] != "flamingo-mini" {
		t.Errorf("%v", line)
	}
}

// Documents are asked as the command asks them: by a line, or by the model that is named.
func TestAskDocuments(t *testing.T) {
	t.Parallel()
	const form = "image=@document/questions/tune-form-3.pdf"
	lines := answered(t, ask(t, "ask", "", form, page, "read=true", "image=!none", "question=what is the name?"))
	if len(lines) != 3 || lines[0]["answer"] != "Ruth Okafor" || lines[1]["answer"] != "Zoë Brontë" || lines[2]["error"] == "" ||
		lines[0]["page"] != 1.0 || lines[0]["model"] != "ocr" {
		t.Errorf("%v", lines)
	}
	line := answered(t, ask(t, "ask", "", "image=@document/questions/tune-report-0.pdf", "question=what is shown in figure 2?", "model=blip2-mini"))[0]
	if line["from"] != "figure" || line["page"] != 3.0 || line["model"] != "blip2-mini" {
		t.Errorf("%v", line)
	}
	for _, c := range []struct{ field, says string }{
		{"page=9", "there is no page 9"}, {"page=x", "not a number"}, {"read=perhaps", "not true or false"}, {"choices=a,b", "not for documents"},
	} {
		if w := ask(t, "ask", "", form, "question=who?", c.field); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d: %s", c.field, w.Code, w.Body)
		}
	}
	if w := ask(t, "ask", "", "image=@document/encrypted.pdf", "question=who?"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "password") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

func TestMatchClassify(t *testing.T) {
	t.Parallel()
	p := open(t, "clip-mini")
	img, err := pipelineImage(p, "images/apple.png")
	if err != nil {
		t.Fatal(err)
	}
	matches, err := p.Match(t.Context(), img, "an apple", "a rocket")
	if err != nil {
		t.Fatal(err)
	}
	lines := answered(t, ask(t, "match", "", apple, "text=an apple", "text=a rocket"))
	for i, m := range matches {
		want := api.NewMatch("apple.png", m)
		settings := api.Settings{}
		settings.SetList("texts", []string{"an apple", "a rocket"})
		if want.Origin, err = api.NewOrigin(p, "v1.2.3", settings); err != nil {
			t.Fatal(err)
		}
		equal(t, lines[i], asCommand(t, want))
	}
	for _, fields := range [][]string{{"label=apple", "label=rocket"}, {"labels=apple, rocket"}} {
		lines := answered(t, ask(t, "classify", "", append(fields, apple, "top=1")...))
		if len(lines) != 1 || lines[0]["label"] != "apple" || lines[0]["settings"].(object)["top"] != 1. {
			t.Errorf("%v", lines)
		}
	}
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	lines := answered(t, ask(t, "embed", "", apple, "text=an apple"))
	if len(lines) != 2 || lines[0]["image"] != "apple.png" || lines[1]["text"] != "an apple" || len(lines[1]["embedding"].([]any)) == 0 {
		t.Errorf("%v", lines)
	}
}

func TestAttend(t *testing.T) {
	t.Parallel()
	line := answered(t, ask(t, "attend", "", apple, "pick=0", "pick=1/1"))[0]
	if line["text"] != "red apple" || line["model"] != "blip2-mini" || line["engine"] != "go" || line["version"] != "v1.2.3" {
		t.Errorf("%v", line)
	}
	line = answered(t, ask(t, "attend", "", apple, "text=a rocket", "rollout=true"))[0]
	if line["text"] != "a rocket" {
		t.Errorf("%v", line)
	}
}

// hears is a model of random weights that hears.
const hears = "whisper-transformersjs"

func TestTranscribe(t *testing.T) {
	t.Parallel()
	p := open(t, testdata+"layouts/"+hears)
	heard, err := p.TranscribeFile(t.Context(), testdata+"speech/jfk.flac", func(o *pipeline.Transcription) {
		o.Temperatures, o.MaxNewTokens, o.MostRepeats = []float64{0}, 8, math.NaN()
	})
	if err != nil {
		t.Fatal(err)
	}
	want := api.NewAudioTranscript("jfk.flac", heard, 0)
	settings := api.Settings{
		"temperature": []float64{0}, "max_new_tokens": 8, "compression_ratio_threshold": "none",
	}
	if want.Origin, err = api.NewOrigin(p, "v1.2.3", settings); err != nil {
		t.Fatal(err)
	}
	got := answered(t, ask(t, "transcribe", "", "audio=@speech/jfk.flac", "model="+hears, "temperature=0", "max_new_tokens=8",
		"compression-ratio-threshold=none"))
	equal(t, got[0], asCommand(t, want))
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		verb   string
		fields []string
		status int
		kind   string
		says   string
	}{
		{"caption", nil, 400, "usage", "needs a picture"},
		{"caption", []string{"image=!text"}, 400, "image", ""},
		{"caption", []string{apple, "model=none"}, 404, "no_model", "none"},
		{"caption", []string{apple, "model=clip-mini"}, 400, "unsupported", "clip-mini"},
		{"caption", []string{apple, "model=../testdata"}, 404, "no_model", ""},
		{"caption", []string{apple, "num_beam=3"}, 400, "usage", `did you mean "num-beams"?`},
		{"caption", []string{apple, "num_beams=three"}, 400, "usage", "a whole number"},
		{"caption", []string{apple, "num_beams=0"}, 400, "option", "num_beams"},
		{"caption", []string{apple, rocket, "num_beams=0"}, 400, "option", "num_beams"},
		{"caption", []string{apple, "temperature=0.5"}, 400, "usage", "without do-sample"},
		{"caption", []string{apple, "early_stopping=soon", "num_beams=2"}, 400, "option", "early_stopping"},
		{"caption", []string{apple, "model=blip2-mini", "model=clip-mini"}, 400, "usage", "2 times"},
		{"caption", []string{"image=/etc/passwd"}, 400, "usage", "data: URL"},
		{"caption", []string{"image=http://127.0.0.1/x.png"}, 400, "usage", "fetches nothing"},
		{"ask", []string{apple}, 400, "usage", "question"},
		{"ask", []string{apple, "question= "}, 400, "prompt", "empty"},
		{"ask", []string{"question=what?"}, 400, "usage", "needs a picture"},
		{"ask", []string{apple, "question=what?", "choices=yes,yes"}, 400, "usage", "twice"},
		{"ask", []string{apple, "question=what?", "choices=yes,no", "num-beams=2"}, 400, "usage", "no effect"},
		{"ask", []string{apple, "question=what?", "raw-prompt=x"}, 400, "usage", "takes the place"},
		{"ask", []string{apple, "question=what?", "shot=@images/apple.png"}, 400, "usage", "shot-text"},
		{"ask", []string{apple, "question=@images/apple.png"}, 400, "usage", "not a file"},
		{"match", []string{apple}, 400, "usage", "text"},
		{"match", []string{"text=x"}, 400, "usage", "needs a picture"},
		{"match", []string{apple, "text=x", "text=x"}, 400, "usage", "twice"},
		{"match", []string{apple, "text=x", "model=" + hears}, 400, "unsupported", "whisper"},
		{"classify", []string{apple}, 400, "usage", "label"},
		{"classify", []string{apple, "label=x", "top=-1"}, 400, "usage", "top"},
		{"embed", nil, 400, "usage", "image"},
		{"embed", []string{"text= "}, 400, "prompt", "empty"},
		{"attend", []string{apple, rocket}, 400, "usage", "one picture"},
		{"attend", []string{apple, "pick=x"}, 400, "usage", "LAYER/HEAD"},
		{"attend", []string{apple, "pick=99/1"}, 400, "option", ""},
		{"attend", []string{apple, "pick=1/1", "rollout=1"}, 400, "usage", "exclude"},
		{"attend", []string{apple, "text=a", "max-new-tokens=3"}, 400, "usage", "no effect"},
		{"transcribe", nil, 400, "usage", "audio"},
		{"transcribe", []string{"audio=!none"}, 400, "sound", ""},
		{"transcribe", []string{"audio=@speech/jfk.flac", "language=xx"}, 400, "option", "xx"},
		{"transcribe", []string{"audio=@speech/jfk.flac", "task=sing"}, 400, "usage", "task"},
		{"transcribe", []string{"audio=@speech/jfk.flac", "num-beams=0"}, 400, "option", "num_beams"},
		{"transcribe", []string{"audio=@speech/jfk.flac", "model=clip-mini"}, 400, "unsupported", "clip-mini"},
		{"read", nil, 400, "usage", "needs a picture"},
		{"read", []string{apple, "words=perhaps"}, 400, "usage", "not true or false"},
		{"read", []string{apple, "least-confidence=2"}, 400, "usage", "from 0 to 1"},
		{"read", []string{apple, "model=clip-mini"}, 400, "unsupported", "clip-mini"},
	} {
		w := ask(t, test.verb, "", test.fields...)
		var got struct{ Error, Kind string }
		err := json.Unmarshal(w.Body.Bytes(), &got)
		if err != nil || w.Code != test.status || got.Kind != test.kind || got.Error == "" || !strings.Contains(got.Error, test.says) {
			t.Errorf("%s %q: status %d, %v, %s", test.verb, test.fields, w.Code, err, w.Body)
		}
	}
}

// What is written on pages comes as the command has it; a picture that is none has its line.
func TestRead(t *testing.T) {
	t.Parallel()
	p, err := api.Open(t.Context(), mini.OCR)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	img, err := pipelineImage(p, "ocr/golden/note.png")
	if err != nil {
		t.Fatal(err)
	}
	read, err := p.Read(t.Context(), img, pipeline.WithPlacedWords())
	if err != nil {
		t.Fatal(err)
	}
	lines := answered(t, ask(t, "read", "", page, "words=true", "image=!none"))
	if len(lines) != 2 || lines[1]["document"] != "!none" || lines[1]["error"] == "" {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	want := asCommand(t, api.NewPage("note.png", 1, read, 0))
	for name := range lines[0] {
		if _, ok := want[name]; !ok && name != "seconds" { // the origin
			delete(lines[0], name)
		}
	}
	equal(t, lines[0], want)
	if none := answered(t, ask(t, "read", "", page, "least-confidence=1"))[0]; len(none["lines"].([]any)) != 0 {
		t.Errorf("lines of less than 1: %v", none["lines"])
	}
}

// The document names every route, and says of the verbs what they answer and refuse.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	get := func(method, path string) (int, object) {
		w := newRecorder(method, path)
		var v object
		json.Unmarshal(w.Body.Bytes(), &v)
		return w.Code, v
	}
	status, document := get(http.MethodGet, "/openapi.json")
	if status != http.StatusOK || document["openapi"] != "3.1.0" {
		t.Fatalf("status %d", status)
	}
	schemas := document["components"].(object)["schemas"].(object)
	good := map[string][]string{
		"caption": {apple}, "ask": {apple, "question=what is it?"}, "match": {apple, "text=x"}, "classify": {apple, "label=x", "label=y"},
		"embed": {"text=x"}, "attend": {apple}, "transcribe": {"audio=@speech/jfk.flac", "model=" + hears, "temperature=0", "max-new-tokens=8"},
		"read": {page, "words=true"}, "find": {"text=x", "explain=true"},
	}
	for path, methods := range document["paths"].(object) {
		verb, own := strings.CutPrefix(path, "/xpipe/v1/")
		for method, described := range methods.(object) {
			operation := described.(object)
			if !own {
				if strings.Contains(path, "{") {
					continue
				}
				if status, _ := get(strings.ToUpper(method), path); status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
					t.Errorf("%s %s: status %d", method, path, status)
				}
				continue
			}
			fields, known := good[verb]
			if !known {
				t.Errorf("no example of %s", verb)
				continue
			}
			delete(good, verb)
			responses := operation["responses"].(object)
			form := operation["requestBody"].(object)["content"].(object)["multipart/form-data"].(object)["schema"].(object)
			for _, f := range fields {
				if name, _, _ := strings.Cut(f, "="); form["properties"].(object)[name] == nil {
					t.Errorf("%s: the document has no field %s", verb, name)
				}
			}
			line := responses["200"].(object)["content"].(object)["application/x-ndjson"].(object)["schema"].(object)
			if any, ok := line["anyOf"].([]any); ok {
				line = any[0].(object)
			}
			name := strings.TrimPrefix(line["$ref"].(string), "#/components/schemas/")
			schema, _ := schemas[name].(object)
			if schema == nil {
				t.Fatalf("%s: no schema %q", verb, name)
			}
			checkKeys(t, verb, schema, answered(t, ask(t, verb, "", fields...))[0])
		}
	}
	if len(good) > 0 {
		t.Errorf("the document lacks %v", good)
	}
}

// checkKeys compares the keys of a line with its schema.
func checkKeys(t *testing.T, verb string, schema, line object) {
	t.Helper()
	for _, name := range schema["required"].([]any) {
		if _, ok := line[name.(string)]; !ok {
			t.Errorf("%s: the answer lacks %s", verb, name)
		}
	}
	properties := schema["properties"].(object)
	for name := range line {
		if properties[name] == nil {
			t.Errorf("%s: the schema lacks %s", verb, name)
		}
	}
}

// Every field of the command's flags of decoding is a field.
func TestFieldsOfGeneration(t *testing.T) {
	t.Parallel()
	w := newRecorder(http.MethodGet, "/openapi.json")
	for _, name := range api.GenerationNames() {
		if !slices.Contains(strings.Split(w.Body.String(), `"`), name) {
			t.Errorf("no field %s", name)
		}
	}
}

// find gives the library what is sought, with the vectors of its model.
func TestFind(t *testing.T) {
	t.Parallel()
	lines := answered(t, ask(t, "find", "", "text= a dog ", "like=@images/dog.png", "in=photos,pages"))
	if len(lines) != 2 || lines[1]["path"] != "/320/320/[photos pages]" || lines[1]["text"] != "a dog" || lines[0]["start"] != nil {
		t.Errorf("%v", lines)
	}
	if lines := answered(t, ask(t, "find", "", "all=true", "limit=1")); len(lines) != 1 {
		t.Errorf("%v", lines)
	}
	for field, says := range map[string]string{
		"limit=-1": "limit", "explain=perhaps": "true or false", "all=true": "needs the field text", "after=never": "no date",
		"model=whisper-mini": "another state", "place=x": "no field",
	} {
		if w := ask(t, "find", "", "text=x", field); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s", field, w.Code, w.Body)
		}
	}
}
