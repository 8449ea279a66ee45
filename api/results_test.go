package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// addTo opens a results file, adds lines about pictures, and closes it.
func addTo(t *testing.T, path string, o ResultsOptions, lines ...any) *Results {
	t.Helper()
	r, err := OpenResults(path, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		image := ""
		switch v := line.(type) {
		case Caption:
			image = string(v.Image)
		case Failure:
			image = string(v.Image)
		case Label:
			image = string(v.Image)
		}
		err = errors.Join(err, r.Add(image, line))
	}
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return r
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func captionOf(image, text string) Caption {
	return NewCaption(image, []*pipeline.Text{{Text: text}}, nil, 0)
}

func failureOf(image string) Failure { return NewFailure(image, errors.New("x")) }

// imagesIn lists the pictures of a file's lines, with "!" behind those that failed.
func imagesIn(t *testing.T, path string) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(readText(t, path)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		name := string(e.Image)
		if e.Error != nil {
			name += "!"
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

func TestResults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if r := addTo(t, path, ResultsOptions{}, captionOf("a.png", "<&>")); r.Done("a.png") {
		t.Error("a new file has a line")
	}
	if _, err := OpenResults(path, ResultsOptions{}); !errors.Is(err, ErrHasResults) {
		t.Error(err)
	}
	whole := readText(t, path)
	resume := ResultsOptions{Resume: true, Key: "caption"}
	for _, half := range []string{"", "{", `{"image":"b.png","er`, "\x00\x00\x00"} {
		writeText(t, path, whole+half)
		r := addTo(t, path, resume, captionOf("c.png", ""))
		if !r.Done("a.png") || r.Done("b.png") || r.Done("c.png") || imagesIn(t, path) != "a.png c.png" {
			t.Errorf("behind %q: %s", half, readText(t, path))
		}
	}
	if _, err := OpenResults(os.DevNull, resume); !errors.Is(err, ErrNotRegular) {
		t.Error(err)
	}
	if r, err := OpenResults(os.DevNull, ResultsOptions{}); err != nil || r.Close() != nil {
		t.Error(err)
	}
	// What is no result of this kind stays, whole lines and others.
	for _, text := range []string{
		"my notes\n", "my notes", whole + "my notes", whole + `{"image":"b.png","answer":"x"}` + "\n",
		whole + `{"caption":"x"}` + "\n", whole + "\n", whole + `{"image":"b.png","caption":"x"}{"image"` + "\n",
	} {
		writeText(t, path, text)
		_, err := OpenResults(path, resume)
		wantError(t, err, ExitInput, "is no result")
		if readText(t, path) != text {
			t.Errorf("%q was changed to %q", text, readText(t, path))
		}
	}
}

// One process has a file; a second one is told so.
func TestResultsLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "link.jsonl")
	writeText(t, path, `{"image":"a.png","error":"x"}`+"\n")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	r, err := OpenResults(link, ResultsOptions{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Notes()) > 0 {
		t.Skip(r.Notes())
	}
	// The lines of failures were taken out: the file that is there now is locked, too.
	for _, name := range []string{path, link} {
		if _, err := OpenResults(name, ResultsOptions{Resume: true}); !errors.Is(err, ErrInUse) {
			t.Errorf("%s is opened twice: %v", name, err)
		}
	}
	if err := errors.Join(r.Add("a.png", captionOf("a.png", "x")), r.Close()); err != nil {
		t.Fatal(err)
	}
	if got := imagesIn(t, path); got != "a.png" {
		t.Error(got)
	}
	addTo(t, path, ResultsOptions{Resume: true})
	if info, err := os.Lstat(link); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 2 {
		t.Errorf("%v", left)
	}
}

// Pictures that failed are tried again, and keep their lines if they are not.
func TestResultsRetry(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	addTo(t, path, ResultsOptions{},
		captionOf("a.png", "x"), failureOf("b.png"), failureOf("c.png"), failureOf("d.png"), captionOf("e.png", "x"))
	r, err := OpenResults(path, ResultsOptions{Resume: true, Key: "caption"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Done("b.png") || !r.Done("e.png") {
		t.Error("a picture that failed counts as done")
	}
	if got := imagesIn(t, path); got != "a.png e.png" { // what a kill would leave
		t.Error(got)
	}
	if err := errors.Join(r.Add("b.png", captionOf("b.png", "x")), r.Add("./c.png", failureOf("./c.png")), r.Close()); err != nil {
		t.Fatal(err)
	}
	if got := imagesIn(t, path); got != "a.png e.png b.png ./c.png! d.png!" || r.Remaining() != 1 {
		t.Errorf("%s, %d remain", got, r.Remaining())
	}
}

// A picture that has a part of its lines alone is not done.
func TestResultsOfSeveralLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	label := func(image, label string) Label { return NewLabel(image, pipeline.Label{Label: label}) }
	o := ResultsOptions{Key: "label", Lines: 2}
	addTo(t, path, o, label("a", "x"), label("a", "y"), label("b", "x"), label("c", "x"), label("c", "y"))
	o.Resume = true
	r := addTo(t, path, o)
	if got := imagesIn(t, path); !r.Done("a") || r.Done("b") || !r.Done("c") || got != "a a c c" {
		t.Error(got)
	}
	questions := ResultsOptions{Key: "answer", PerQuestion: true, Resume: true}
	path += "2"
	writeText(t, path, `{"image":"a","question":"q","answer":"x"}`+"\n")
	if r := addTo(t, path, questions); !r.DoneQuestion("./a", "q") || r.DoneQuestion("a", "r") || r.DoneQuestion("b", "q") {
		t.Error("questions are not told apart")
	}
}

// Lines of other models and settings are not gone on with; both are named.
func TestResultsOrigin(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	origin := func(change func(*Origin)) *Origin {
		o := &Origin{Model: "m", ModelHash: "sha256:0123456789abcdef", Version: "v1",
			Settings: Settings{"question": "what?", "labels": []string{"a", "b"}}, defaults: Settings{"num_beams": 1}}
		change(o)
		return o
	}
	same := origin(func(*Origin) {})
	line := captionOf("a.png", "x")
	line.Origin = same
	addTo(t, path, ResultsOptions{Origin: same}, line)
	if got, want := readText(t, path), `"token_logprobs":[],"ids":[],"model":"m","model_hash":"sha256:0123456789abcdef","version":"v1",`+
		`"settings":{"labels":["a","b"],"question":"what?"}}`+"\n"; !strings.HasSuffix(got, want) || !strings.HasPrefix(got, `{"image":`) {
		t.Errorf("%s does not end in %s", got, want)
	}
	whole := readText(t, path)
	for says, other := range map[string]*Origin{
		"":                              same,
		"line 1 was made with m, not n": origin(func(o *Origin) { o.Model = "n" }),
		"made with another m (sha256:0123456789ab, not sha256:ffff)": origin(func(o *Origin) { o.ModelHash = "sha256:ffff" }),
		`made with num_beams 1, not num_beams 3`:                     origin(func(o *Origin) { o.Settings["num_beams"] = 3 }),
		`made with question "what?", not question "who?"; no variant, not variant "fp16"`: origin(func(o *Origin) {
			o.Settings["question"], o.Settings["variant"] = "who?", "fp16"
		}),
		`made with question "what?", not no question`: origin(func(o *Origin) { delete(o.Settings, "question") }),
	} {
		r, err := OpenResults(path, ResultsOptions{Resume: true, Origin: other})
		if err == nil {
			err = r.Close()
		}
		switch {
		case says == "" && err != nil, says != "" && (!errors.Is(err, ErrOtherOrigin) || !strings.Contains(err.Error(), says)):
			t.Errorf("%v, want %q", err, says)
		}
	}
	newer := origin(func(o *Origin) { o.Version = "v2" })
	writeText(t, path, `{"image":"old.png","caption":"x"}`+"\n"+whole)
	notes := strings.Join(addTo(t, path, ResultsOptions{Resume: true, Origin: newer}).Notes(), "; ")
	if !strings.Contains(notes, "1 lines do not say") || !strings.Contains(notes, "xpipe v1 made 1 of the lines that are there; this is v2") {
		t.Error(notes)
	}
}

// What a full disk leaves of a line goes at once, or with the next run.
func TestResultsDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	r, err := OpenResults(path, ResultsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Add("a.png", captionOf("a.png", "x")); err != nil {
		t.Fatal(err)
	}
	whole := readText(t, path)
	// As a write that came half through: the file is closed to the second one.
	writeText(t, path, whole+`{"image":`)
	if err := r.truncate(); err != nil || readText(t, path) != whole {
		t.Errorf("%v: %s", err, readText(t, path))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"image":"a.png","caption":"a"}` + "\n" + `{"image":"b.png"`))
	f.Add([]byte(`{"image":"a.png","error":"a"}` + "\n" + `{"image":"b.png","caption":""}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := OpenResults(path, ResultsOptions{Resume: true, Key: "caption"})
		if err != nil { // then the file is as it was
			if left, _ := os.ReadFile(path); !bytes.Equal(left, data) {
				t.Errorf("refused, and changed %q to %q", data, left)
			}
			return
		}
		if err := errors.Join(r.Add("new", captionOf("new", "x")), r.Close()); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		left = bytes.TrimPrefix(left, []byte("\ufeff"))
		for _, line := range bytes.Split(bytes.TrimSuffix(left, []byte("\n")), []byte("\n")) {
			if !json.Valid(line) {
				t.Errorf("a line is no JSON: %q", line)
			}
		}
	})
}

// An array and the lines that name its rows are gone on with together.
func TestVectors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.npy")
	open := func(o ResultsOptions) *Vectors {
		t.Helper()
		v, err := OpenVectors(path, o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	add := func(v *Vectors, names ...string) {
		t.Helper()
		for i, name := range names {
			row := []float32{float32(len(name)), float32(i), 0.5}
			if err := v.Add(VectorRow{Image: Name(name)}, row); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := open(ResultsOptions{})
	add(v, "a", "bb")
	if err := v.AddFailure(failureOf("c")); err != nil {
		t.Fatal(err)
	}
	killed, names := readText(t, path), readText(t, VectorNames(path)) // nothing waits to be written
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if readText(t, path) != killed {
		t.Error("an array changes as it is closed")
	}
	if _, err := OpenVectors(path, ResultsOptions{}); !errors.Is(err, ErrHasResults) {
		t.Error(err)
	}
	resume := ResultsOptions{Resume: true}
	for what, left := range map[string][2]string{
		"whole":              {killed, names},
		"a row more":         {killed + "123456789012", names},
		"half a row more":    {killed + "12345", names},
		"half a line more":   {killed, names + `{"image":"d","row":`},
		"a row lost":         {killed[:len(killed)-5], names},
		"no rows":            {"", names},
		"a header of zeros":  {strings.Repeat("\x00", npyHeader) + "1234", ""},
		"a row, and no line": {killed, ""},
	} {
		writeText(t, path, left[0])
		writeText(t, VectorNames(path), left[1])
		v := open(resume)
		for _, name := range []string{"a", "bb", "c"} {
			if !v.Done(name) {
				add(v, name)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		data := readText(t, path)
		if len(data) != npyHeader+3*3*4 || !strings.Contains(data[:npyHeader], "'shape': (3, 3)") {
			t.Errorf("%s: %q", what, data)
		}
		lines := 0
		for line := range strings.Lines(readText(t, VectorNames(path))) {
			if want := fmt.Sprintf(`"row":%d}`, lines); !strings.Contains(line, want) {
				t.Errorf("%s: %s has no %s", what, line, want)
			}
			lines++
		}
		if lines != 3 {
			t.Errorf("%s: %d lines", what, lines)
		}
	}
	for what, left := range map[string][2]string{
		"rows in another order": {killed, strings.Replace(names, `"row":0`, `"row":1`, 1)},
		"lines without rows":    {killed, `{"image":"a","caption":"x"}` + "\n"},
		"another array":         {"numbers of mine", names},
	} {
		if what == "another array" {
			left[0] += strings.Repeat(".", npyHeader)
		}
		writeText(t, path, left[0])
		writeText(t, VectorNames(path), left[1])
		_, err := OpenVectors(path, resume)
		wantError(t, err, ExitInput, "")
		if readText(t, path) != left[0] || readText(t, VectorNames(path)) != left[1] {
			t.Errorf("%s: changed", what)
		}
	}
	if err := os.Remove(VectorNames(path)); err != nil {
		t.Fatal(err)
	}
	_, err := OpenVectors(path, resume)
	wantError(t, err, ExitInput, "would name its rows")
	if _, err := os.Stat(VectorNames(path)); err == nil {
		t.Error("names were made for an array that was refused")
	}
}
