package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// printed are the types of what verbs print, by the file of lines that the command printed before
// there was this package.
var printed = map[string]func(line []byte, escape bool) ([]byte, error){
	"caption":    again[Caption],
	"ask":        again[Answer],
	"failure":    again[Failure],
	"match":      again[Match],
	"classify":   again[Label],
	"embed":      again[Embedding],
	"attend":     again[Attention],
	"preprocess": again[Preprocessed],
	"tokenize":   again[Encoded],
	"decode":     again[Decoded],
	"error":      again[Error],
	"warning":    again[Warning],
	"run":        again[Output],
	"verify":     again[Verification],
	"installed":  again[ortlib.Installed], // runtime install and list
	"library":    again[ortlib.Library],   // runtime path

	// With the keys "engines" and "missing", which came later: see printed/before.
	"bench":          againNamed[Bench],
	"doctor":         againNamed[Diagnosis],
	"inspect":        againNamed[GraphInfo],
	"inspect_bundle": againNamed[BundleInfo],
}

// again decodes a line and encodes it; a key that T lacks is an error.
func again[T any](line []byte, escape bool) ([]byte, error) { return recode[T](line, escape, true) }

// againNamed is again for a T with keys that are made of others, such as go_ms of engines.
func againNamed[T any](line []byte, escape bool) ([]byte, error) {
	return recode[T](line, escape, false)
}

func recode[T any](line []byte, escape, strict bool) ([]byte, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(line))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escape)
	err := e.Encode(v)
	return b.Bytes(), err
}

// Keys, their order and what is left out are as they ever were.
func TestPrinted(t *testing.T) {
	t.Parallel()
	for name, again := range printed {
		data, err := os.ReadFile("testdata/printed/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			// Standard error has < and > escaped.
			got, err := again(line, name == "error" || name == "warning")
			if err != nil || !bytes.Equal(got, line) {
				t.Errorf("%s: %v\n%s is not\n%s", name, err, got, line)
			}
		}
	}
	files, err := filepath.Glob("testdata/printed/*.jsonl")
	if err != nil || len(files) != len(printed) {
		t.Errorf("%d files for %d types: %v", len(files), len(printed), err)
	}
}

// Every key that was printed before engines had a table is still there, with its value.
func TestPrintedBefore(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/printed/before/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		before := decodeLines(t, file)
		now := decodeLines(t, filepath.Join("testdata/printed", filepath.Base(file)))
		if len(before) != len(now) {
			t.Fatalf("%s: %d lines, and %d before", file, len(now), len(before))
		}
		for i := range before {
			if lost := missing(before[i], now[i], "line"); lost != nil {
				t.Errorf("%s: line %d: %s", file, i+1, strings.Join(lost, ", "))
			}
		}
	}
}

func decodeLines(t *testing.T, file string) (values []any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		values = append(values, v)
	}
	return values
}

// missing lists the places of before whose value is another one, or none, in now.
func missing(before, now any, at string) (list []string) {
	switch b := before.(type) {
	case map[string]any:
		n, _ := now.(map[string]any)
		for key, value := range b {
			if other, has := n[key]; has {
				list = append(list, missing(value, other, at+"."+key)...)
			} else {
				list = append(list, at+"."+key)
			}
		}
		return list
	case []any:
		n, _ := now.([]any)
		if len(n) != len(b) {
			return []string{at}
		}
		for i, value := range b {
			list = append(list, missing(value, n[i], fmt.Sprintf("%s[%d]", at, i))...)
		}
		return list
	}
	if before != now {
		return []string{at}
	}
	return nil
}

// keys are a line's keys in their order, of what lies in it, too; numbers in arrays count for
// nothing.
func keys(t *testing.T, line string) string {
	t.Helper()
	var b strings.Builder
	d := json.NewDecoder(strings.NewReader(line))
	var in []json.Delim
	isKey := false
	for {
		token, err := d.Token()
		if err != nil {
			return b.String()
		}
		object := len(in) > 0 && in[len(in)-1] == '{'
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				in = append(in, v)
			} else {
				in = in[:len(in)-1]
			}
			isKey = len(in) > 0 && in[len(in)-1] == '{'
			if v == '{' || v == '}' {
				fmt.Fprintf(&b, "%s", v)
			}
			continue
		case string:
			if object && isKey {
				fmt.Fprintf(&b, "%s ", v)
			}
		}
		isKey = object && !isKey
	}
}

// What is made of results has the keys that the command printed of such results.
func TestShapes(t *testing.T) {
	t.Parallel()
	text := &pipeline.Text{Text: "red apple", LogProb: -3, Tokens: []pipeline.Token{
		{ID: 421, Text: " red", LogProb: -1}, {ID: 1175, Text: " apple", LogProb: -2}}, IDs: []int64{421, 1175, 2}}
	second := &pipeline.Text{Text: "an apple"}
	sure := &pipeline.Confidence{Probability: 0.5}
	unsure := &pipeline.Confidence{Probability: 0.25, Unsure: true}
	q := Question{"a.png", "what?"}
	const each = `"token_logprobs":[` +
		`{"id":421,"text":" red","logprob":-1},{"id":1175,"text":" apple","logprob":-2}],"ids":[421,1175,2]`
	pixels := tensor.Must(tensor.New([]int{1, 1, 1, 4}, []float32{1, -1, 3, 2}))
	encoding := &tokenize.Encoding{
		IDs: []int64{4, 1}, Tokens: []string{"<s>", "two"}, Offsets: []tokenize.Span{{}, {End: 3}},
	}
	choices := []pipeline.Choice{
		{Text: "no", LogProb: -2, Probability: 0.25, Calibrated: 0.5},
		{Text: "yes", LogProb: -1, Probability: 0.75, Calibrated: 0.5},
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{NewCaption("a.png", []*pipeline.Text{text}, nil, 0.5),
			`{"image":"a.png","caption":"red apple","text":"red apple","tokens":2,"logprob":-3,"seconds":0.5,` + each + `}`},
		{NewCaption("a.png", []*pipeline.Text{text, second}, sure, 0.5),
			`{"image":"a.png","caption":"red apple","others":["an apple"],"text":"red apple",` +
				`"tokens":2,"logprob":-3,"seconds":0.5,` + each + `,"confidence":0.5,"unsure":false}`},
		{NewCaption("a.png", []*pipeline.Text{second}, unsure, 0),
			`{"image":"a.png","caption":"an apple","text":"an apple","tokens":0,"logprob":0,"seconds":0,` +
				`"token_logprobs":[],"ids":[],"confidence":0.25,"unsure":true}`},
		{NewAnswer(q, []*pipeline.Text{text, second}, 0.5),
			`{"image":"a.png","question":"what?","answer":"red apple","others":["an apple"],` +
				`"text":"red apple","tokens":2,"logprob":-3,"seconds":0.5,` + each + `}`},
		{NewChosen(q, choices, 1),
			`{"image":"a.png","question":"what?","answer":"yes","text":"yes","tokens":0,"logprob":-1,` +
				`"seconds":1,"token_logprobs":[],"ids":[],"choices":[` +
				`{"choice":"no","logprob":-2,"probability":0.25,"calibrated":0.5},` +
				`{"choice":"yes","logprob":-1,"probability":0.75,"calibrated":0.5}]}`},
		{NewMatch("a.png", pipeline.Match{Text: "<b>", Probability: 0.5, Similarity: 0.25}),
			`{"image":"a.png","text":"<b>","probability":0.5,"similarity":0.25}`},
		{NewMatch("a.png", pipeline.Match{Text: "b", Similarity: 0.25, Unscaled: true}),
			`{"image":"a.png","text":"b","probability":null,"similarity":0.25,"score":"similarity"}`},
		{NewLabel("a.png", pipeline.Label{Label: "dog", Similarity: 0.25, Unscaled: true}),
			`{"image":"a.png","label":"dog","probability":null,"similarity":0.25,"score":"similarity"}`},
		{pipeline.Match{Text: "b", Similarity: 0.25, Unscaled: true},
			`{"text":"b","probability":null,"similarity":0.25,"score":"similarity"}`},
		{NewLabel("a.png", pipeline.Label{Label: "dog", Probability: 0.5}),
			`{"image":"a.png","label":"dog","probability":0.5}`},
		{Embedding{Text: "a", Embedding: []float32{1}}, `{"text":"a","embedding":[1]}`},
		{NewPreprocessed([]string{"a.png"}, pixels),
			`{"images":["a.png"],"dtype":"float32","shape":[1,1,1,4],"min":-1,"max":3,"mean":1.25}`},
		{NewEncoded(encoding, false), `{"ids":[4,1]}`},
		{NewEncoded(encoding, true), `{"ids":[4,1],"tokens":["<s>","two"],"offsets":[[0,0],[0,3]]}`},
		{NewFailure("a.png", fmt.Errorf("one\ntwo\r\n")), `{"image":"a.png","error":"one; two"}`},
		{NewError(Usagef("odd")), `{"error":"odd","exit":2}`},
		{NewOutput("y", pixels, "out/y.npy"),
			`{"output":"y","dtype":"float32","shape":[1,1,1,4],"file":"out/y.npy"}`},
	} {
		var b strings.Builder
		if err := WriteJSON(&b, c.value); err != nil || b.String() != c.want+"\n" {
			t.Errorf("%v:\n%swant\n%s", err, b.String(), c.want)
		}
	}
}

// The lines of an opened model's results have the keys of those that were printed.
func TestShapesOfModels(t *testing.T) {
	t.Parallel()
	first := func(name string) string {
		data, err := os.ReadFile("testdata/printed/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(data), "\n")
		return line
	}
	check := func(name string, v any) {
		t.Helper()
		var b strings.Builder
		if err := WriteJSON(&b, v); err != nil {
			t.Fatal(err)
		}
		if got, want := keys(t, b.String()), keys(t, first(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	request := picture(t, "apple.png")
	p := open(t, "blip2-mini")
	texts, err := p.Generate(t.Context(), []pipeline.Request{request})
	if err != nil {
		t.Fatal(err)
	}
	check("caption", NewCaption("apple.png", texts[0], p.CaptionConfidence(texts[0][0].Tokens), 0))
	figure, err := Sources{}.LoadPicture(families + "images/figure0.png")
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, families+"blip2-opt/bundle", "a cat", pipeline.Request{Image: figure})
	data, err := v.Data()
	if err != nil {
		t.Fatal(err)
	}
	check("attend", data)
	pre, _, err := OpenPreprocessor("blip2-mini")
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := pre.Preprocess(t.Context(), image.Image(request.Image))
	if err != nil {
		t.Fatal(err)
	}
	check("preprocess", NewPreprocessed([]string{"apple.png"}, pixels))
}

func TestEachLine(t *testing.T) {
	t.Parallel()
	var got []Question
	take := func(q Question) error {
		if q.Question == "" {
			return fmt.Errorf("no question")
		}
		got = append(got, q)
		return nil
	}
	list := strings.NewReader(`{"image":"a","question":"b"}` + "\n\n" + `{"image":"c","question":"d"}`)
	err := EachLine(list, "list", take)
	if err != nil || len(got) != 2 || got[1] != (Question{"c", "d"}) {
		t.Errorf("%v, %v", got, err)
	}
	err = EachLine(strings.NewReader(`{"question":"b"}`+"\n{}"), "list", take)
	wantError(t, err, ExitInput, "list: line 2: no question")
	err = EachLine(strings.NewReader("[]"), "list", take)
	wantError(t, err, ExitInput, "list: line 1: ")
}

// A limit comes with what to do about it, and without its Go field.
func TestLimitAdvice(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		"ImagePixels": "limit: too many: scale the picture down", "ModelBytes": "limit: too many", "": "limit: too many",
	} {
		err := fmt.Errorf("a.png: %w", &pipeline.LimitError{Field: field, Text: "too many"})
		if got := OneLine(err); got != "a.png: "+want {
			t.Errorf("%q: %s", field, got)
		}
	}
}
