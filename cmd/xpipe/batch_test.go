package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/tensor"
)

// tinyEmbedder compares pictures with texts, without sense.
const tinyEmbedder = clipTiny

// figures makes a folder of three pictures.
func figures(t *testing.T) string {
	t.Helper()
	return place(t, map[string]string{"a.png": "apple.png", "sub/b.png": "dog.png", "sub/x/c.png": "pizza.png"})
}

// imagesOf are the pictures of JSON lines, without the folder, with "!" behind those that failed.
func imagesOf(t *testing.T, dir, text string) string {
	t.Helper()
	var all []string
	for _, line := range lines(t, text) {
		name := strings.TrimPrefix(fmt.Sprint(line["image"]), dir+"/")
		if line["error"] != nil {
			name += "!"
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// All verbs over many pictures take folders, patterns and lists, with the question or the labels
// behind, and go on where they ended.
func TestBatchVerbs(t *testing.T) {
	t.Parallel()
	for verb, c := range map[string]struct {
		model string
		texts []string
		key   string
		lines int // of each picture
	}{
		"caption":  {tinyWriter, nil, "caption", 1},
		"ask":      {tinyWriter, []string{"what is it?"}, "answer", 1},
		"match":    {tinyEmbedder, []string{"a cat", "a dog"}, "similarity", 2},
		"classify": {tinyEmbedder, []string{"cat", "dog", "tree"}, "label", 3},
		"embed":    {tinyEmbedder, nil, "embedding", 1},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			dir := figures(t)
			out := filepath.Join(t.TempDir(), "o.jsonl")
			command := func(flags []string, picture ...string) []string {
				args := append([]string{verb, "--engine", "go", "--model", c.model}, flags...)
				return append(append(args, picture...), c.texts...)
			}
			repeat := func(names ...string) string {
				var all []string
				for _, name := range names {
					for range c.lines {
						all = append(all, name)
					}
				}
				return strings.Join(all, " ")
			}
			all := repeat("a.png", "sub/b.png", "sub/x/c.png")
			zeros := filepath.Join(t.TempDir(), "list0")
			if err := os.WriteFile(zeros, []byte(dir+"/a.png\x00"+dir+"/sub\x00"), 0o666); err != nil {
				t.Fatal(err)
			}
			for what, args := range map[string][]string{
				"a folder":  command([]string{"--json"}, dir),
				"a pattern": command([]string{"--json", "--batch", "2"}, dir+"/**/*.png"),
				"a list":    command([]string{"--json", "--list", zeros, "--batch", "5", "--jobs", "3"}),
			} {
				if got := imagesOf(t, dir, want(t, args...)); got != all {
					t.Errorf("%s: %s, want %s", what, got, all)
				}
			}
			args := command([]string{"--json", "--list", "-"})
			if code, stdout, stderr := xpipe(t, dir+"/**/*.png\n", args...); code != 0 || imagesOf(t, dir, stdout) != all {
				t.Errorf("a list on standard input: exit %d: %s%s", code, stdout, stderr)
			}
			// Of one picture the output has no name; of several, each line has.
			one, several := want(t, command(nil, dir+"/a.png")...), want(t, command(nil, dir)...)
			if strings.Contains(one, "a.png") || !strings.HasPrefix(several, dir+"/a.png: "+one[:4]) {
				t.Errorf("one: %.100q, several: %.100q", one, several)
			}
			// A run with --out, a failure in it, another model's.
			if err := os.WriteFile(dir+"/bad.png", []byte("no picture"), 0o666); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := xpipe(t, "", command([]string{"--out", out}, dir)...)
			if code != api.ExitOther || stdout != "" || !strings.Contains(stderr, "3 of 4 done, 1 failed, in ") ||
				!strings.Contains(stderr, "1 of 4 pictures failed") {
				t.Errorf("exit %d: %s%s", code, stdout, stderr)
			}
			data, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := imagesOf(t, dir, string(data)), "bad.png!"; !strings.Contains(got, want) || !strings.HasPrefix(string(data), `{"image":`) {
				t.Errorf("%s", got)
			}
			for _, line := range lines(t, string(data)) {
				if line["model"] == nil || line["version"] == nil || line["settings"] == nil ||
					!strings.HasPrefix(fmt.Sprint(line["model_hash"]), "sha256:") || line[c.key] == nil && line["error"] == nil {
					t.Errorf("%v", line)
				}
			}
			if code, _, stderr := xpipe(t, "", command([]string{"--out", out}, dir)...); code != api.ExitUsage || !strings.Contains(stderr, "--resume goes on") {
				t.Errorf("without --resume: exit %d: %s", code, stderr)
			}
			other := []string{"--out", out, "--resume", "--model", "../../testdata/families/siglip/bundle"}
			if c.model == tinyWriter {
				other[4] = "../../testdata/families/blip2-t5/bundle"
			}
			if code, _, stderr := xpipe(t, "", command(other, dir)...); code != api.ExitUsage || !strings.Contains(stderr, "was made with ") {
				t.Errorf("another model: exit %d: %s", code, stderr)
			}
			again := command([]string{"--out", out, "--resume"}, dir)
			if code, _, stderr := xpipe(t, "", again...); code != api.ExitOther || !strings.Contains(stderr, "3 of 4 done, 1 failed (3 before)") {
				t.Errorf("tried again: exit %d: %s", code, stderr)
			}
			good, err := os.ReadFile(apple)
			if err == nil {
				err = os.WriteFile(dir+"/bad.png", good, 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
			want(t, again...)
			if data, err = os.ReadFile(out); err != nil {
				t.Fatal(err)
			}
			if got, want := imagesOf(t, dir, string(data)), all+" "+repeat("bad.png"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// Questions of a file are answered once each.
func TestAskQuestionsResume(t *testing.T) {
	t.Parallel()
	dir := figures(t)
	file, out := filepath.Join(dir, "q.jsonl"), filepath.Join(dir, "o.jsonl")
	run := func(questions ...string) string {
		t.Helper()
		var b strings.Builder
		for _, q := range questions {
			image, question, _ := strings.Cut(q, " ")
			fmt.Fprintf(&b, "{\"image\":%q,\"question\":%q}\n", dir+"/"+image, question)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		want(t, "ask", "--engine", "go", "--model", tinyWriter, "--questions", file, "--out", out, "--resume", "--batch", "2")
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, line := range lines(t, string(data)) {
			all = append(all, strings.TrimPrefix(line["image"].(string), dir+"/")+" "+line["question"].(string))
		}
		return strings.Join(all, ", ")
	}
	if got := run("a.png what?", "a.png who?", "sub/b.png what?"); got != "a.png what?, a.png who?, sub/b.png what?" {
		t.Error(got)
	}
	if got := run("a.png why?", "a.png who?", "sub/b.png what?", "a.png how?"); got != "a.png what?, a.png who?, sub/b.png what?, a.png why?, a.png how?" {
		t.Error(got)
	}
}

// Two processes do not write to one file, and a lock dies with who has it.
func TestOneWriter(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	dir := figures(t)
	out := filepath.Join(dir, "o.jsonl")
	first := exec.Command(self, "caption", "--engine", "go", "--model", tinyWriter, "--out", out, "--list", "-")
	first.Env = append(os.Environ(), runEnv+"=1")
	list, err := first.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := first.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(list, dir+"/a.png\n")
	for range 6000 { // until it has the file and waits for more of its list
		if data, err := os.ReadFile(out); err == nil && len(data) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	args := []string{"caption", "--engine", "go", "--model", tinyWriter, "--out", out, "--resume", dir}
	if code, _, said := xpipe(t, "", args...); strings.Contains(said, "cannot be locked") {
		t.Log(said)
	} else if code != api.ExitUsage || !strings.Contains(said, "o.jsonl is being written by another xpipe") {
		t.Errorf("a second process: exit %d: %s", code, said)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, bufio.NewReader(stderr))
	first.Wait()
	want(t, args...)
	data, err := os.ReadFile(out)
	if got := imagesOf(t, dir, string(data)); err != nil || got != "a.png sub/b.png sub/x/c.png" {
		t.Errorf("%s, %v", got, err)
	}
}

// embed writes an array with the names of its rows, and refuses what it cannot do.
func TestEmbedOut(t *testing.T) {
	t.Parallel()
	dir := figures(t)
	npy := filepath.Join(dir, "v.npy")
	embed := func(args ...string) []string {
		return append([]string{"embed", "--engine", "go", "--model", tinyEmbedder}, args...)
	}
	want(t, embed("--out", npy, "--batch", "2", "--text", "a cat", dir)...)
	var all [][]float32
	for _, line := range lines(t, want(t, embed("--json", "--text", "a cat", dir)...)) {
		var row []float32
		for _, v := range line["embedding"].([]any) {
			row = append(row, float32(v.(float64)))
		}
		all = append(all, row)
	}
	x, err := tensor.LoadNpy(npy)
	if err != nil || len(all) != 4 || x.Dim(0) != 4 || x.Dim(1) != len(all[0]) {
		t.Fatalf("%v, %v of %d rows", err, x, len(all))
	}
	values := tensor.Data[float32](x)
	for i, row := range all {
		for j, v := range row {
			if d := values[i*len(row)+j] - v; d > 1e-6 || d < -1e-6 {
				t.Fatalf("row %d: %g, and in lines %g", i, values[i*len(row)+j], v)
			}
		}
	}
	names, err := os.ReadFile(api.VectorNames(npy))
	if err != nil {
		t.Fatal(err)
	}
	rows := lines(t, string(names))
	if len(rows) != 4 || rows[3]["text"] != "a cat" || rows[3]["row"] != 3.0 || rows[1]["image"] != dir+"/sub/b.png" {
		t.Errorf("%s", names)
	}
	before, err := os.ReadFile(npy)
	if err != nil {
		t.Fatal(err)
	}
	want(t, embed("--out", npy, "--resume", "--text", "a cat", dir)...)
	if after, _ := os.ReadFile(npy); string(after) != string(before) {
		t.Error("there was nothing to do")
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{api.ExitUsage, ".jsonl and .npy", embed("--out", dir+"/v.parquet", apple)},
		{api.ExitUsage, "v.npy has results already", embed("--out", npy, apple)},
		{api.ExitInput, "text 1 is empty", embed("--text", " ")},
		{api.ExitUsage, "JSON lines (.jsonl)", []string{"caption", "--out", dir + "/v.npy", apple}},
		{api.ExitUsage, "leave --list out", []string{"ask", "--questions", dir, "--list", dir}},
		{api.ExitUsage, "classify needs LABEL", []string{"classify", "--list", dir}},
	} {
		if code, _, stderr := xpipe(t, "", c.args...); code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
}

// What a folder holds and is not read is told at the end, and is an error for who wants it.
func TestSkipped(t *testing.T) {
	t.Parallel()
	dir := place(t, map[string]string{
		"a.png": "apple.png", "b.CR2": "=x", "c.cr2": "=x", "d.jxl": "=x", "e.txt": "=x", "._f.cr2": "=x", "deep/f.xmp": "=x",
	})
	for link, to := range map[string]string{"album": "nowhere", "deep/up": ".."} {
		if err := os.Symlink(to, dir+"/"+link); err != nil {
			t.Skip(err)
		}
	}
	out := t.TempDir()
	const says = "5 skipped: 2 .cr2, 1 .jxl, 1 broken link, 1 link in a circle"
	run := func(code int, says string, args ...string) string {
		t.Helper()
		got, stdout, stderr := xpipe(t, "", append([]string{"caption", "--engine", "go", "--model", tinyWriter, dir}, args...)...)
		if got != code || !strings.Contains(stderr, says) {
			t.Errorf("%v: exit %d: %s", args, got, stderr)
		}
		return stdout + stderr
	}
	run(0, "xpipe: warning: "+says)
	run(0, "e.jsonl: 1 of 1 done, 0 failed, "+says, "--out", out+"/e.jsonl")
	run(api.ExitOther, "5 were skipped (--strict)", "--strict")
	if got := run(0, "2 other files are no pictures", "-v"); !strings.Contains(got, "d.jxl: skipped, .jxl") {
		t.Error(got)
	}
	var summary api.Summary
	stderr := run(0, "", "--json", "--out", out+"/f.jsonl")
	if err := json.Unmarshal([]byte(stderr), &summary); err != nil || summary.Skipped[".cr2"] != 2 || summary.Summary.Done != 1 {
		t.Errorf("%v: %s", err, stderr)
	}
}

// Where nobody watches, a run tells now and then how far it is; on a terminal the line is replaced.
func TestProgress(t *testing.T) {
	t.Parallel()
	env, _, errs := testEnvironment()
	p := newProgress(env, "o.jsonl", 100)
	for i := range 50 {
		p.before()
		p.add(i%25 == 0)
	}
	p.start = p.start.Add(-10 * time.Second)
	p.tell()
	if got := errs.String(); !strings.HasPrefix(got, "xpipe: 98 of 100 done, 2 failed, 5.0 pictures/s, about 0s left\n") {
		t.Errorf("%q", got)
	}
	errs.Reset()
	p.end(nil, true)
	if got := errs.String(); got != "xpipe: o.jsonl: 98 of 100 done, 2 failed (50 before), in 10.0 s, 5.0 pictures/s; --resume goes on\n" {
		t.Errorf("%q", got)
	}
	errs.Reset()
	env.json = true
	p = newProgress(env, "o.jsonl", -1)
	p.tell()
	p.end(nil, false)
	got := lines(t, errs.String())
	if len(got) != 2 || got[0]["progress"] == nil || got[1]["summary"] == nil {
		t.Errorf("%s", errs)
	}
}
