package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
)

// place makes files from pictures of testdata/images, or of a text that begins with "=", in a new
// folder.
func place(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, from := range files {
		data, text := []byte(strings.TrimPrefix(from, "=")), strings.HasPrefix(from, "=")
		if !text {
			var err error
			if data, err = os.ReadFile("../../testdata/images/" + from); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, data, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// captioned runs caption, and returns what it prints of pictures in dir, by their paths in it.
func captioned(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	code, stdout, stderr := xpipe(t, "", append([]string{"caption", "--engine", "go"}, args...)...)
	return code, strings.ReplaceAll(stdout+stderr, dir+"/", "")
}

// Links, further suffixes, resource forks, shards: what people's folders hold.
func TestCaptionFolders(t *testing.T) {
	t.Parallel()
	dir := place(t, map[string]string{
		"real/apple.png": "apple.png", "real/dog.png": "dog.png", "root/pizza.png": "pizza.png",
		"d/a.jfif": "cat.jpg", "d/b.jpe": "cat.jpg", "d/c.PNG": "apple.png",
		"m/x.png": "apple.png", "m/._x.png": "=\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ",
	})
	in := func(name string) string { return dir + "/" + name }
	if err := errors.Join(os.Symlink("real", in("link")), os.Symlink("../real", in("root/sub"))); err != nil {
		t.Skip(err)
	}
	const cat = "a photo of an egyptian mau\n"
	for source, want := range map[string]string{
		"link":                    "link/apple.png: red apple\nlink/dog.png: dog\n",
		"root":                    "root/pizza.png: pizza\nroot/sub/apple.png: red apple\nroot/sub/dog.png: dog\n",
		"d":                       "d/a.jfif: " + cat + "d/b.jpe: " + cat + "d/c.PNG: red apple\n",
		"real/{apple,dog}.png":    "real/apple.png: red apple\nreal/dog.png: dog\n",
		"{m,real}/{x,apple}*.png": "",
		"**/d*.png":               "link/dog.png: dog\nreal/dog.png: dog\nroot/sub/dog.png: dog\n",
		"m":                       "m/x.png: red apple\n",
		"m/*":                     "m/x.png: red apple\n",
		"m/x.png":                 "m/x.png: red apple\n",
	} {
		code, got := captioned(t, dir, "--json", in(source))
		var lines string
		for line := range strings.Lines(got) {
			var c api.Caption
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatal(err)
			}
			lines += fmt.Sprintf("%s: %s\n", c.Image, c.Caption)
		}
		if want == "" { // as in a shell that is asked to: each of the patterns has to match
			if code != api.ExitInput || !strings.Contains(got, "no file matches") {
				t.Errorf("%s: exit %d: %s", source, code, got)
			}
		} else if code != 0 || lines != want {
			t.Errorf("%s: exit %d: %q, want %q", source, code, lines, want)
		}
	}
	// A folder of one picture names it, as one of several does.
	if code, got := captioned(t, dir, in("m"), in("link/dog.png")); code != 0 || got != "m/x.png: red apple\nlink/dog.png: dog\n" {
		t.Errorf("exit %d: %q", code, got)
	}
}

// Shards that hold no picture are an input's fault; those with holes are read.
func TestCaptionShards(t *testing.T) {
	t.Parallel()
	const shards = "../../testdata/shards/"
	dir := place(t, map[string]string{"e.tar": "=", "a.txt": "=x"})
	says := want(t, "caption", "--engine", "go", "-m", tinyWriter, apple)
	for _, args := range [][]string{{dir + "/e.tar"}, {dir + "/e.tar", "--json"}, {"--out", dir + "/o.jsonl", dir + "/e.tar"}} {
		code, _, stderr := xpipe(t, "", append([]string{"caption", "--engine", "go", "-m", tinyWriter}, args...)...)
		if code != api.ExitInput || !strings.Contains(stderr, "e.tar: no pictures in it (.jpg") {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
	for _, sparse := range []string{"gnu", "pax-0.0", "pax-0.1", "pax-1.0"} {
		path := shards + "sparse-" + sparse + ".tar"
		if got := want(t, "caption", "--engine", "go", "-m", tinyWriter, path); got != path+"/p.png: "+says {
			t.Errorf("%s: %q", sparse, got)
		}
	}
	// Those behind a shard without pictures are captioned, in batches, too.
	path := shards + "twice.tar"
	for _, batch := range []string{"1", "2", "5"} {
		code, stdout, stderr := xpipe(t, "", "caption", "--engine", "go", "-m", tinyWriter, "--batch", batch, dir+"/e.tar", path, apple)
		if code != api.ExitInput || !strings.HasPrefix(stdout, path+"/x.png: "+says+path+"/x.png#2: ") ||
			strings.Count(stdout, "\n") != 3 || !strings.Contains(stderr, "no pictures in it") {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := xpipe(t, string(data), "caption", "--engine", "go", "-m", tinyWriter, "-")
	if code != 0 || !strings.HasPrefix(stdout, "-/x.png: "+says+"-/x.png#2: ") {
		t.Errorf("on standard input: exit %d: %s%s", code, stdout, stderr)
	}
}

// Questions and lists may begin with a byte order mark, and what is no such file says so.
func TestFileKinds(t *testing.T) {
	t.Parallel()
	dir := place(t, map[string]string{"a.png": "apple.png"})
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line := fmt.Sprintf(`{"image":%q,"question":"what is this?"}`, dir+"/a.png")
	marked := write("q.jsonl", "\ufeff"+line+"\r\n")
	if got := want(t, "ask", "--engine", "go", "--questions", marked); got != "red apple\n" {
		t.Errorf("marked: %q", got)
	}
	if code, stdout, stderr := xpipe(t, "\ufeff"+line, "ask", "--engine", "go", "--questions", "-"); stdout != "red apple\n" {
		t.Errorf("marked, on standard input: exit %d: %s%s", code, stdout, stderr)
	}
	list := write("list.txt", "\ufeff"+dir+"/a.png\r\n")
	if got := want(t, "caption", "--engine", "go", "--list", list); got != dir+"/a.png: red apple\n" {
		t.Errorf("list: %q", got)
	}
	array := write("array.json", "["+line+"]")
	for _, c := range []struct {
		says string
		args []string
	}{
		{"line 1: it is a JSON array; it should have one object a line", []string{"ask", "--questions", array}},
		{"it is a JSON array", []string{"ask", dir + "/a.png", "what?", "--shots", array}},
		{"it is no text", []string{"ask", "--questions", dir + "/a.png"}},
		{"is a folder", []string{"ask", "--questions", dir}},
		{"no such file", []string{"ask", "--questions", dir + "/none"}},
		{"it is a picture, not a list", []string{"caption", "--list", dir + "/a.png"}},
		{"a line is JSON", []string{"caption", "--list", marked, "--list", list}},
	} {
		code, _, stderr := xpipe(t, "", append([]string{c.args[0], "--engine", "go"}, c.args[1:]...)...)
		if code != api.ExitInput && code != api.ExitOther || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit %d: %s does not say %q", c.args, code, stderr, c.says)
		}
	}
}

// A run goes on where an earlier one ended, whatever bytes names have and however paths are spelt.
func TestResumeNames(t *testing.T) {
	dir := place(t, map[string]string{"a.png": "apple.png", "sub/b.png": "dog.png"})
	odd := []string{"caf\xe8.png", "caf\xe9.png", "caf\ufffd.png", "caf\ufffde9.png", "n\nl.png"}
	data, err := os.ReadFile(apple)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range odd {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Skip(err)
		}
	}
	model, err := filepath.Abs(tinyWriter)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	caption := func(args ...string) string {
		t.Helper()
		if code, _, stderr := xpipe(t, "", append([]string{"caption", "-m", model, "--engine", "go", "--out", "o.jsonl", "--resume"}, args...)...); code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, stderr)
		}
		out, err := os.ReadFile("o.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := caption(".")
	seen := map[api.Name]bool{}
	for line := range strings.Lines(first) {
		var c api.Caption
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(string(c.Image)); err != nil || seen[c.Image] {
			t.Errorf("%q: %v", c.Image, err)
		}
		seen[c.Image] = true
	}
	if len(seen) != 2+len(odd) {
		t.Errorf("%d lines: %s", len(seen), first)
	}
	for _, args := range [][]string{{"."}, {dir}, {dir + "/."}, {"../" + filepath.Base(dir)}, {dir + "//a.png", "./sub/b.png", "sub/../a.png"},
		{"**/*.png"}, {dir + "/**"}} {
		if again := caption(args...); again != first {
			t.Errorf("%v: captioned again: %s", args, again[len(first):])
		}
	}
	if err := os.Remove("o.jsonl"); err != nil {
		t.Fatal(err)
	}
	if out := caption("a.png", dir+"/a.png", "./a.png"); strings.Count(out, "\n") != 1 {
		t.Errorf("one picture by three names: %s", out)
	}
	if out := caption("../" + filepath.Base(dir) + "/sub/b.png"); strings.Count(out, "\n") != 2 {
		t.Errorf("another picture: %s", out)
	}
}

// No control character of a file's name reaches the terminal.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, err := os.ReadFile(apple)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := dir+"/a\x1b[31m\n\x07\u009b.png", dir+"/b\x1b]0;x\x07\r\xff.png"
	for path, data := range map[string][]byte{good: data, bad: []byte("no picture")} {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Skip(err)
		}
	}
	list := good + "\x1b\n" // names that are not there, too
	for _, args := range [][]string{
		{"caption", dir}, {"caption", bad}, {"caption", "-v", dir}, {"caption", dir + "/\x1b*.gif"}, {"caption", "-", good},
		{"caption", "--json", dir}, {"caption", "--out", dir + "/o\x1b.jsonl", dir}, {"caption", "--out", dir + "/none/\x1b.jsonl", dir},
		{"ask", good, "what is it?"}, {"ask", bad, "what is it?"}, {"ask", "-v", good, "what is it?", "what color is it?"},
		{"match", bad, "x"}, {"classify", bad, "a", "b"}, {"embed", bad}, {"attend", bad}, {"preprocess", good, "--out", dir + "/\x1b.npy"},
		{"preprocess", bad}, {"caption", "-m", dir + "/\x1bmodel", good}, {"inspect", dir + "/\x1bmodel"}, {"inspect", bad},
		{"run", bad, "--out", dir}, {"run", qformer, "--input", "image_embeds=" + bad, "--out", dir}, {"tokenize", "--tokenizer", bad, "x"},
		{"verify", bad}, {"bench", bad}, {"\x1bverb"}, {"caption", "--\x1bflag"}, {"caption", "--engine", "\x1b"},
		{"ask", "--questions", dir + "/\x1b.jsonl"}, {"caption", "--list", dir + "/\x1b.txt"}, {"caption", "--list", bad},
	} {
		if args[0] != "inspect" && args[0] != "preprocess" && args[0] != "tokenize" && args[0] != "verify" &&
			args[0] != "bench" && args[0] != "\x1bverb" && !slices.Contains(args, "--engine") {
			args = append([]string{args[0], "--engine", "go"}, args[1:]...)
		}
		if (args[0] == "caption" || args[0] == "ask") && !slices.Contains(args, "-m") {
			args = append(args, "-m", tinyWriter)
		}
		_, stdout, stderr := xpipe(t, list, args...)
		for _, printed := range []string{stdout, stderr} {
			if strings.ContainsAny(printed, "\x1b\x07\r\u009b") || strings.Contains(printed, "\xff") {
				t.Errorf("%q printed %q", args, printed)
			}
		}
	}
}

// Captions for training lie beside their pictures.
func TestSidecar(t *testing.T) {
	t.Parallel()
	dir := place(t, map[string]string{"a.png": "apple.png", "b.png": "blue-triangle.png", "kept.png": "dog.png", "kept.txt": "=by hand", "bad.png": "=none"})
	read := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(dir, name))
		return string(data)
	}
	run := func(code int, says string, args ...string) string {
		t.Helper()
		got, stdout, stderr := xpipe(t, "", append([]string{"caption", "--engine", "go"}, args...)...)
		if got != code || !strings.Contains(stderr, says) {
			t.Errorf("%v: exit %d: %s", args, got, stderr)
		}
		return stdout
	}
	stdout := run(api.ExitOther, "1 .txt were there already and are kept", "--sidecar", "--prefix", "sks,", dir)
	if read("a.txt") != "sks, red apple\n" || read("kept.txt") != "by hand" || read("bad.txt") != "" ||
		!strings.HasPrefix(read("b.txt"), "sks, ") || strings.Count(stdout, "\n") != 2 {
		t.Errorf("%q, %q: %s", read("a.txt"), read("kept.txt"), stdout)
	}
	run(0, "", "--sidecar", "--overwrite", dir+"/a.png", dir+"/kept.png")
	if read("a.txt") != "red apple\n" || read("kept.txt") != "dog\n" {
		t.Errorf("%q, %q", read("a.txt"), read("kept.txt"))
	}
	// A line is written of each picture, whether or not its .txt is kept.
	run(0, "3 .txt", "--sidecar", "--out", dir+"/o.jsonl", dir+"/{a,b,kept}.png")
	if n := strings.Count(read("o.jsonl"), "\n"); n != 3 {
		t.Errorf("%d lines", n)
	}
	run(api.ExitOther, "no place for a .txt", "--sidecar", "../../testdata/shards/twice.tar")
	run(api.ExitUsage, "--prefix needs --sidecar", "--prefix", "x", dir)
	run(api.ExitUsage, "--overwrite needs --sidecar", "--overwrite", dir)
}

// bug is the error for a panic inside an engine.
type bug struct{ error }

func (bug) Stack() []byte   { return []byte("goroutine 1 [running]:\nops.breaks()\n") }
func (b bug) Unwrap() error { return b.error }

// buggy is an engine that meets a bug of ours in every graph.
type buggy struct{ err error }

func (buggy) Name() string { return "buggy" }

func (b buggy) Open(context.Context, engine.Source, engine.Options) (engine.Session, error) {
	return nil, b.err
}

// A panic inside the engine is a bug of ours: exit code 5, with the stack for who asks.
func TestBug(t *testing.T) {
	before := api.Engines
	t.Cleanup(func() { api.Engines = before })
	err := bug{fmt.Errorf("%w: bug in the Go engine, please report it: node Abs/y (Abs)", engine.ErrEngine)}
	api.Engines = append(slices.Clone(before), engine.Row{
		Name: "buggy", About: "an engine with a bug",
		Open: func(engine.Config) (engine.Engine, engine.Description, error) {
			return buggy{err}, engine.Description{Built: true}, nil
		},
	})
	for _, args := range [][]string{{"caption", apple}, {"ask", apple, "what?"}, {"run", qformer, "--out", t.TempDir()}} {
		args = append([]string{args[0], "--engine", "buggy"}, args[1:]...)
		code, _, stderr := xpipe(t, "", args...)
		if code != api.ExitEngine || !strings.Contains(stderr, "please report it") || !strings.Contains(stderr, "(Abs)") ||
			strings.Contains(stderr, "breaks") || strings.Contains(stderr, "damaged") {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
		if _, _, stderr := xpipe(t, "", append(args, "-v")...); !strings.Contains(stderr, "ops.breaks()\n") {
			t.Errorf("%v -v: %s", args, stderr)
		}
	}
}
