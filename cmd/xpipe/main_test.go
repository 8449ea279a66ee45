package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/tensor"
)

const (
	apple    = "../../testdata/images/apple.png"
	triangle = "../../testdata/images/blue-triangle.png"
	qformer  = "../../testdata/families/blip2-opt/bundle/onnx/qformer.onnx"
	clipTiny = "../../testdata/families/clip/bundle"

	// tinyWriter captions pictures and answers questions, without sense, at a fraction of what the
	// embedded models cost.
	tinyWriter = "../../testdata/families/blip2-opt/bundle"
)

// xpipe runs one command line.
func xpipe(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnvironment()
	env.stdin = strings.NewReader(stdin)
	code = execute(t.Context(), env, args)
	return code, out.String(), errs.String()
}

// want runs a command line that must succeed.
func want(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := xpipe(t, "", args...)
	if code != 0 {
		t.Fatalf("xpipe %v: exit %d: %s", args, code, stderr)
	}
	return stdout
}

func TestFirstCommands(t *testing.T) {
	t.Parallel()
	if got := want(t, "caption", "--engine", "go", apple); !strings.Contains(got, "apple") || strings.Count(got, "\n") != 1 {
		t.Errorf("caption of the apple: %q", got)
	}
	if got := want(t, "ask", "--engine", "go", triangle, "what", "color", "is", "the", "shape?"); got != "blue\n" {
		t.Errorf("color of the triangle: %q", got)
	}
}

// badFiles writes the files of the table below.
func badFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	noise := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(i * 7)
	}
	var p, j, wide, dot bytes.Buffer
	png.Encode(&p, noise)
	jpeg.Encode(&j, noise, nil)
	png.Encode(&wide, image.NewGray(image.Rect(0, 0, 20000, 1)))
	one := image.NewRGBA(image.Rect(0, 0, 1, 1))
	one.Set(0, 0, color.White)
	png.Encode(&dot, one)
	write("zero.png", nil)
	write("cut.png", p.Bytes()[:p.Len()/2])
	write("cut.jpg", j.Bytes()[:j.Len()/2])
	write("text.png", []byte("this is no picture\n"))
	write("wide.png", wide.Bytes())
	write("dot.png", dot.Bytes())
	graph, err := os.ReadFile(qformer)
	if err != nil {
		t.Fatal(err)
	}
	write("cut.onnx", graph[:len(graph)/2])
	write("text.onnx", []byte("hello"))
	write("zero.onnx", nil)
	for name, x := range map[string]*tensor.Tensor{
		"good.npy":  tensor.Must(tensor.Zeros(tensor.Float32, 1, 17, 32)),
		"shape.npy": tensor.Must(tensor.Zeros(tensor.Float32, 1, 17, 31)),
		"rank.npy":  tensor.Must(tensor.Zeros(tensor.Float32, 17, 32)),
		"dtype.npy": tensor.Must(tensor.Zeros(tensor.Int64, 1, 17, 32)),
	} {
		if err := tensor.SaveNpy(filepath.Join(dir, name), x); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Each kind of bad input gives one line on stderr, or one object with --json, and the documented
// exit code; nothing panics.
func TestBadInput(t *testing.T) {
	t.Parallel()
	dir := badFiles(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	out := t.TempDir()
	run := func(graph string, args ...string) []string {
		return append([]string{"run", graph, "--out", out}, args...)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"caption", at("missing.png")}, api.ExitInput, "missing.png"},
		{[]string{"caption", "--model", tinyWriter, dir + "/nowhere/*.png"}, api.ExitInput, "no file matches"},
		{[]string{"ask", "--model", tinyWriter, out, "what is it?"}, api.ExitInput, "no pictures"},
		{[]string{"caption", "--model", tinyWriter, out}, api.ExitInput, "no pictures"},
		{[]string{"caption", "--model", tinyWriter, at("zero.png")}, api.ExitInput, "zero.png"},
		{[]string{"caption", "--model", tinyWriter, at("cut.png")}, api.ExitInput, "cut.png"},
		{[]string{"caption", "--model", tinyWriter, at("cut.jpg")}, api.ExitInput, "cut.jpg"},
		{[]string{"caption", "--model", tinyWriter, at("text.png")}, api.ExitInput, "text.png"},
		{[]string{"ask", apple, "  "}, api.ExitInput, "question"},
		{[]string{"ask", apple, strings.Repeat("long words ", 500)}, api.ExitInput, "shorten"},
		{[]string{"caption", "--colour", apple}, api.ExitUsage, "--colour"},
		{[]string{"caption"}, api.ExitUsage, "caption --help"},
		{[]string{"captoin", apple}, api.ExitUsage, `did you mean "caption"?`},
		{[]string{"captoin", "--model", "x"}, api.ExitUsage, `did you mean "caption"?`},
		{[]string{"help", "captoin"}, api.ExitUsage, `did you mean "caption"?`},
		{[]string{"runtime", "instal"}, api.ExitUsage, `did you mean "install"?`},
		{[]string{"caption", "--max-new-token", "3", apple}, api.ExitUsage, "did you mean --max-new-tokens?"},
		{[]string{"caption", "--threads", "two", apple}, api.ExitUsage, `--threads takes a whole number of 0 or more, not "two"`},
		{[]string{"caption", "--threads", "-1", apple}, api.ExitUsage, "--threads"},
		{[]string{"caption", "--temperature", "warm", apple}, api.ExitUsage, "--temperature takes a number"},
		{[]string{"caption", "--model"}, api.ExitUsage, "--model needs a value"},
		{[]string{"caption", "--provider", "cpu,gpu", apple}, api.ExitUsage, `no provider "gpu"`},
		{[]string{"caption", "--provider", "GPU", apple}, api.ExitUsage, `did you mean "cuda" (NVIDIA)`},
		{[]string{"caption", ""}, api.ExitInput, "the name of a picture is empty"},
		{[]string{"caption", "--out", os.TempDir(), apple}, api.ExitUsage, "is a folder; name a file in it"},
		{[]string{"caption", "--out", "", apple}, api.ExitUsage, "--out: the name is empty"},
		{[]string{"caption", "--out", "-", apple}, api.ExitUsage, "without it results go to standard output"},
		{[]string{"attend", "--text", "", apple}, api.ExitUsage, "--text is empty"},
		{[]string{"completion", "bahs"}, api.ExitUsage, `did you mean "bash"?`},
		{[]string{"classify", apple, "cat", ""}, api.ExitInput, "label 2 is empty"},
		{[]string{"classify", apple, "cat", "dog", "cat"}, api.ExitUsage, `the label "cat" is given twice`},
		{[]string{"match", apple, "a cat", "a cat"}, api.ExitUsage, `the text "a cat" is given twice`},
		{[]string{"ask", apple, "a cat?", "--choices", "yes, no,yes"}, api.ExitUsage, `--choices has "yes" twice`},
		{[]string{"caption", "--memory-limit", "much", apple}, api.ExitUsage, "--memory-limit"},
		{[]string{"caption", "--model", "clip-mni", apple}, api.ExitModel, `did you mean "clip-mini"?`},
		{[]string{"caption", "https://x.org/a.png?w=3"}, api.ExitInput, "| xpipe caption -"},
		{[]string{"ask", "file:///tmp/a.png", "what?"}, api.ExitInput, "give /tmp/a.png"},
		{[]string{"doctor", "extra"}, api.ExitUsage, `doctor takes no arguments, and "extra" is one`},
		{[]string{"inspect", "a", "b"}, api.ExitUsage, `"b" is an argument too many`},
		{[]string{"inspect"}, api.ExitUsage, "inspect needs GRAPH.onnx"},
		{[]string{"inspect", "a", "-m", "b"}, api.ExitUsage, "--model"},
		{[]string{"verify", "nope"}, api.ExitModel, `named "nope"`},
		{[]string{"classify", apple}, api.ExitUsage, "classify needs LABEL"},
		{[]string{"classify", apple, "--model", "../../testdata/layouts/timm-encoder"}, api.ExitModel, "has no classes"},
		{[]string{"classify", apple, "cat", "dog", "--model", "../../testdata/layouts/timm-classifier"}, api.ExitModel, "no labels but its own 5"},
		{[]string{"embed", apple, "--model", "../../testdata/layouts/timm-classifier"}, api.ExitModel, "no embedding"},
		{[]string{"classify", apple, "apple,dog, wild cat"}, api.ExitUsage, "apple dog 'wild cat'"},
		{[]string{"match", apple, triangle, "a dog"}, api.ExitUsage, "in a text's place"},
		{[]string{"ask", apple, triangle, "what is it?"}, api.ExitUsage, "in a question's place"},
		{[]string{"attend", apple, triangle}, api.ExitUsage, "in a question's place"},
		{[]string{"ask", apple, "--questions", "q.txt"}, api.ExitUsage, "leave out"},
		{[]string{"ask", apple, "what?", "--shot", apple + "="}, api.ExitUsage, "IMAGE=TEXT"},
		{[]string{"ask", apple, "what?", "--shot", "=x"}, api.ExitUsage, "IMAGE=TEXT"},
		{[]string{"ask", apple, "what?", "--choices", "yes, "}, api.ExitUsage, "empty answer"},
		{[]string{"ask", apple, "what?", "--choices", "a,b", "--num-beams", "2"}, api.ExitUsage, "no effect with --choices"},
		{[]string{"attend", apple, "--text", "a", "--max-new-tokens", "2"}, api.ExitUsage, "no effect with --text"},
		{[]string{"caption", "--seed", "3", apple}, api.ExitUsage, "--seed has no effect without --do-sample"},
		{[]string{"caption", "--length-penalty", "3", apple}, api.ExitUsage, "--num-beams"},
		{[]string{"run", "clip-mini/text_encodr", "-o", "x"}, api.ExitModel, `did you mean "text_encoder"?`},
		{[]string{"models", "nowhere"}, api.ExitInput, "nowhere"},
		{[]string{"ask", apple}, api.ExitUsage, "ask --help"},
		{[]string{"caption", "--do-sample", "--temperature", "-1", apple}, api.ExitUsage, "temperature"},
		{[]string{"caption", "--batch", "0", apple}, api.ExitUsage, "--batch"},
		{[]string{"caption", "--engine", "abacus", apple}, api.ExitUsage, "abacus"},
		{[]string{"caption", "--engine", "ort", "--ort-lib", at("text.png"), apple}, api.ExitEngine, "text.png"},
		{[]string{"caption", "--engine", "go", "--provider", "cuda", apple}, api.ExitEngine, "cuda"},
		{[]string{"caption", "--model", "gpt-7", apple}, api.ExitModel, "gpt-7"},
		{[]string{"caption", "--model", dir, apple}, api.ExitModel, "xpipe.json"},
		{[]string{"caption", "--model", clipTiny, apple}, api.ExitModel, "write text"},
		{[]string{"match", "-m", "blip2-mini", apple, "an apple"}, api.ExitModel, "match"},
		{run(at("missing.onnx")), api.ExitModel, "missing.onnx"},
		{run(dir), api.ExitModel, "folder"},
		{run(at("cut.onnx"), "-i", "image_embeds="+at("good.npy")), api.ExitModel, "cut.onnx"},
		{run(at("text.onnx")), api.ExitModel, "text.onnx"},
		{run(at("zero.onnx")), api.ExitModel, "zero.onnx"},
		{run(qformer), api.ExitInput, "image_embeds"},
		{run(qformer, "-i", "pictures="+at("good.npy")), api.ExitInput, "image_embeds"},
		{run(qformer, "-i", "image_embeds="+at("missing.npy")), api.ExitInput, "missing.npy"},
		{run(qformer, "-i", "image_embeds="+at("zero.png")), api.ExitInput, "zero.png"},
		{run(qformer, "-i", "image_embeds="+at("shape.npy")), api.ExitInput, "image_embeds"},
		{run(qformer, "-i", "image_embeds="+at("rank.npy")), api.ExitInput, "image_embeds"},
		{run(qformer, "-i", "image_embeds="+at("dtype.npy")), api.ExitInput, "int64"},
		{run(qformer, "-i", "image_embeds="+at("good.npy"), "--output", "answer"), api.ExitInput, "answer"},
		{run(qformer, "-i", "image_embeds"), api.ExitUsage, "NAME=FILE"},
		{[]string{"run", qformer}, api.ExitUsage, "--out"},
		{[]string{"inspect", at("text.onnx")}, api.ExitModel, "text.onnx"},
		{[]string{"inspect", at("nothing")}, api.ExitModel, "nothing"},
	} {
		args := c.args
		if !slices.Contains(args, "--engine") && args[0] != "inspect" && args[0] != "models" && c.code != api.ExitUsage {
			args = append([]string{args[0], "--engine", "go"}, args[1:]...)
		}
		code, _, stderr := xpipe(t, "", args...)
		if code != c.code || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("xpipe %.100s: exit %d, want %d with %q: %s", args, code, c.code, c.says, stderr)
		}
		code, _, stderr = xpipe(t, "", append([]string{"--json"}, args...)...)
		var object struct {
			Error string `json:"error"`
			Exit  int    `json:"exit"`
		}
		if err := json.Unmarshal([]byte(stderr), &object); err != nil || code != c.code || object.Exit != c.code || !strings.Contains(object.Error, c.says) {
			t.Errorf("xpipe --json %.100s: exit %d, stderr %s (%v)", args, code, stderr, err)
		}
	}
}

// Pictures of odd shapes are pictures.
func TestOddPictures(t *testing.T) {
	t.Parallel()
	dir := badFiles(t)
	for _, name := range []string{"dot.png", "wide.png"} {
		if got := want(t, "caption", "--engine", "go", filepath.Join(dir, name)); strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRunWritesOutputs(t *testing.T) {
	t.Parallel()
	dir := badFiles(t)
	out := filepath.Join(t.TempDir(), "new", "folder")
	want(t, "run", "--engine", "go", qformer, "-i", "image_embeds="+filepath.Join(dir, "good.npy"), "--output", "query_output", "--out", out)
	x, err := tensor.LoadNpy(filepath.Join(out, "query_output.npy"))
	if err != nil || x.Rank() != 3 || x.Dim(0) != 1 {
		t.Errorf("query_output: %v, %v", x, err)
	}
	if got := fileName("a/b:c d.1_2-3"); got != "a_b_c_d.1_2-3" {
		t.Errorf("file name: %q", got)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	if got := want(t, "inspect", "blip2-mini"); !strings.Contains(got, "pixel_values") || !strings.Contains(got, "family blip2") {
		t.Errorf("inspect: %s", got)
	}
	said := []byte(want(t, "--json", "inspect", qformer))
	var report api.GraphInfo
	var before struct { // the table of engines
		Missing   []string `json:"missing_in_go_engine"`
		Operators []struct {
			Go bool `json:"go_engine"`
		} `json:"operators"`
	}
	if err := errors.Join(json.Unmarshal(said, &report), json.Unmarshal(said, &before)); err != nil {
		t.Fatal(err)
	}
	if before.Missing == nil || len(before.Operators) == 0 || !before.Operators[0].Go {
		t.Errorf("%s", said)
	}
	if report.Nodes == 0 || len(report.Inputs) != 1 || report.Inputs[0].Name != "image_embeds" || report.Missing["go"] == nil || len(report.Missing["go"]) != 0 || report.Opsets[""] != 17 {
		t.Errorf("%+v", report)
	}
}

// lines decodes JSON lines.
func lines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// A failed picture is a line with its error, and the others go on.
func TestCaptionSeveral(t *testing.T) {
	t.Parallel()
	dir := badFiles(t)
	bad := filepath.Join(dir, "cut.png")
	code, stdout, _ := xpipe(t, "", "caption", "--engine", "go", "--json", "--batch", "2", apple, bad, triangle)
	got := lines(t, stdout)
	if code != api.ExitOther || len(got) != 3 || got[0]["caption"] == nil || got[1]["error"] == nil || got[1]["image"] != bad || got[2]["caption"] == nil {
		t.Errorf("exit %d, %v", code, got)
	}
	for _, key := range []string{"image", "tokens", "logprob", "seconds", "token_logprobs", "ids"} {
		if got[0][key] == nil {
			t.Errorf("no %q in %v", key, got[0])
		}
	}
	code, stdout, stderr := xpipe(t, apple+"\n"+triangle+"\n", "caption", "--engine", "go", "-")
	if code != 0 || !strings.Contains(stdout, apple+": ") || !strings.Contains(stdout, triangle+": ") {
		t.Errorf("list on stdin: exit %d, %q, %s", code, stdout, stderr)
	}
	data, err := os.ReadFile(apple)
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := xpipe(t, string(data), "caption", "--engine", "go", "-"); code != 0 || !strings.Contains(stdout, "apple") {
		t.Errorf("picture on stdin: exit %d, %q, %s", code, stdout, stderr)
	}
}

// A run goes on where an earlier one ended, wherever that was.
func TestCaptionResume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var names []string
	for i := range 7 {
		name := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		if err := os.Link(apple, name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	out := filepath.Join(t.TempDir(), "out.jsonl")
	args := []string{"caption", "--engine", "go", "--model", tinyWriter,
		"--batch", "3", "--out", out, dir}
	want(t, args...)
	whole, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, _ := xpipe(t, "", args...); code != api.ExitUsage {
		t.Errorf("a second run without --resume: exit %d", code)
	}
	for _, cut := range []int{0, 1, len(whole) / 3, len(whole) / 2, len(whole) - 1, len(whole)} {
		if err := os.WriteFile(out, whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		want(t, append(slices.Clone(args), "--resume")...)
		again, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, line := range lines(t, string(again)) {
			seen = append(seen, line["image"].(string))
		}
		slices.Sort(seen)
		if !slices.Equal(seen, names) {
			t.Errorf("cut at %d: %v", cut, seen)
		}
	}
	if err := os.WriteFile(out, []byte("my notes\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := xpipe(t, "", append(slices.Clone(args), "--resume")...); code != api.ExitInput {
		t.Errorf("a file of something else: exit %d", code)
	}
	if data, _ := os.ReadFile(out); string(data) != "my notes\n" {
		t.Errorf("it was changed to %q", data)
	}
}

func TestCaptionShard(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(apple)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shard-0.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for name, content := range map[string][]byte{"a.png": data, "a.txt": []byte("a label"), "b.png": []byte("broken")} {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg})
		w.Write(content)
	}
	w.Close()
	f.Close()
	code, stdout, _ := xpipe(t, "", "--json", "caption", "--engine", "go", path)
	got := lines(t, stdout)
	if code != api.ExitOther || len(got) != 2 {
		t.Fatalf("exit %d, %v", code, got)
	}
	for _, line := range got {
		if name := line["image"]; name != path+"/a.png" && name != path+"/b.png" || (line["error"] != nil) != (name == path+"/b.png") {
			t.Errorf("%v", line)
		}
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "questions.jsonl")
	questions := fmt.Sprintf("{\"image\":%q,\"question\":\"what color is the shape?\"}\n{\"image\":%q,\"question\":\"What shape is in the image\"}\n{\"image\":\"missing.png\",\"question\":\"what?\"}\n", triangle, triangle)
	if err := os.WriteFile(file, []byte(questions), 0o666); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := xpipe(t, "", "--json", "ask", "--engine", "go", "--questions", file)
	got := lines(t, stdout)
	if code != api.ExitOther || len(got) != 3 || got[0]["answer"] != "blue" || got[1]["answer"] != "triangle" || got[2]["error"] == nil {
		t.Errorf("exit %d, %v, %s", code, got, stderr)
	}
	stdout = want(t, "ask", "--engine", "go", triangle, "--question", "what color is the shape?", "--question", "What shape is in the image")
	if stdout != "blue\ntriangle\n" {
		t.Errorf("two questions: %q", stdout)
	}
	stdout = want(t, "ask", "--engine", "go", triangle, "what color is the shape?", "--choices", "red, blue")
	if !strings.HasPrefix(stdout, "blue\n") || strings.Count(stdout, "\n") != 3 {
		t.Errorf("choices: %q", stdout)
	}
	stdout = want(t, "ask", "--engine", "go", triangle, "what color is the shape?", "--num-beams", "3", "--num-return-sequences", "2")
	if !strings.HasPrefix(stdout, "blue\n") || strings.Count(stdout, "\n") != 2 {
		t.Errorf("beams: %q", stdout)
	}
}

// The verbs of families that compare, read examples or see regions work on tiny models; what those
// say does not matter.
func TestFamilies(t *testing.T) {
	t.Parallel()
	const families = "../../testdata/families/"
	figure := families + "images/figure0.png"
	go_ := []string{"--engine", "go", "--model"}
	cmd := func(verb, bundle string, args ...string) []string {
		return append(append([]string{"--json", verb}, append(slices.Clone(go_), families+bundle+"/bundle")...), args...)
	}
	for name, c := range map[string]struct {
		args  []string
		lines int
		keys  []string
	}{
		"match":    {cmd("match", "blip2-itm", figure, "a cat", "a dog"), 2, []string{"text", "probability", "similarity"}},
		"classify": {cmd("classify", "clip", figure, "cat", "dog", "tree"), 3, []string{"label", "probability"}},
		"own labels": {[]string{"--json", "classify", "--engine", "go", "--model", "../../testdata/layouts/timm-classifier",
			figure}, 5, []string{"label", "probability"}},
		"best of own labels": {[]string{"--json", "classify", "--engine", "go", "--model", "../../testdata/layouts/timm-classifier",
			figure, "--top", "2"}, 2, []string{"label", "probability"}},
		"embed":   {cmd("embed", "siglip", figure, "--text", "a cat"), 2, []string{"embedding"}},
		"shots":   {cmd("ask", "openflamingo-opt", figure, "what is it?", "--shot", figure+"=a cat"), 1, []string{"answer"}},
		"regions": {cmd("ask", "lxmert-vqa", "figure0", "what color is the cat?", "--regions", families+"lxmert-vqa/regions.npz"), 1, []string{"answer", "logprob"}},
		"tsv":     {cmd("ask", "lxmert-gqa", "figure0.jpg", "is there a boat?", "--regions", families+"lxmert-gqa/regions.tsv"), 1, []string{"answer"}},
	} {
		got := lines(t, want(t, c.args...))
		if len(got) != c.lines {
			t.Errorf("%s: %d lines: %v", name, len(got), got)
			continue
		}
		for _, key := range c.keys {
			if _, ok := got[0][key]; !ok {
				t.Errorf("%s: no %q in %v", name, key, got[0])
			}
		}
	}
}

// again decodes lines of JSON into a type, to which no key may be unknown, and encodes them.
func again[T any](t *testing.T, printed string) string {
	t.Helper()
	var b strings.Builder
	d := json.NewDecoder(strings.NewReader(printed))
	d.DisallowUnknownFields()
	for d.More() {
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, printed)
		}
		if err := api.WriteJSON(&b, v); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// Verbs print the types of package api, whose keys its tests hold.
func TestJSON(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(badFiles(t), "cut.png")
	tokenizer := filepath.Join(clipTiny, "tokenizer.json")
	for verb, c := range map[string]struct {
		args  []string
		stdin string
		again func(*testing.T, string) string
	}{
		"caption": {[]string{"caption", "--engine", "go", apple, triangle}, "", again[api.Caption]},
		"failure": {[]string{"caption", "--engine", "go", "--model", tinyWriter, bad, bad + "x"},
			"", again[api.Failure]},
		"answer": {[]string{"ask", "--engine", "go", triangle, "what color is it?", "what shape?"},
			"", again[api.Answer]},
		"choices": {[]string{"ask", "--engine", "go", "--model", tinyWriter, triangle,
			"what color is it?", "--choices", "a,b"},
			"", again[api.Answer]},
		"match":      {[]string{"match", "--engine", "go", apple, "<b>", "x"}, "", again[api.Match]},
		"classify":   {[]string{"classify", "--engine", "go", apple, "a", "b"}, "", again[api.Label]},
		"embed":      {[]string{"embed", "--engine", "go", apple, "--text", "x"}, "", again[api.Embedding]},
		"attend":     {[]string{"attend", circle, "what is it?"}, "", again[api.Attention]},
		"preprocess": {[]string{"preprocess", apple, circle}, "", again[api.Preprocessed]},
		"tokenize":   {[]string{"tokenize", "--tokenizer", tokenizer}, "a <b>\nx", again[api.Encoded]},
		"offsets": {[]string{"tokenize", "--offsets", "--tokenizer", tokenizer},
			"a <b>\nx", again[api.Encoded]},
		"decode": {[]string{"tokenize", "--decode", "--tokenizer", tokenizer}, "[3,4]", again[api.Decoded]},
	} {
		_, stdout, stderr := xpipe(t, c.stdin, append([]string{"--json"}, c.args...)...)
		if again := c.again(t, stdout); stdout == "" || again != stdout {
			t.Errorf("%s printed %swhere its type gives %s%s", verb, stdout, again, stderr)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	library := orttest.Library(t)
	for _, bundle := range []string{"blip2-t5", "idefics", "lxmert-vqa", "clip"} {
		dir := "../../testdata/families/" + bundle + "/bundle"
		got := lines(t, want(t, "--json", "verify", dir, "--ort-lib", library))
		if got[0]["ok"] != true || len(got[0]["stages"].([]any)) == 0 {
			t.Errorf("%s: %v", bundle, got)
		}
		code, stdout, stderr := xpipe(t, "", "verify", dir, "--ort-lib", library, "--tolerance", "1e-12")
		if code != api.ExitBreach || !strings.Contains(stdout, "DIFFERS") || !strings.Contains(stderr, "tolerance") {
			t.Errorf("%s: exit %d at no tolerance: %s", bundle, code, stderr)
		}
	}
}
