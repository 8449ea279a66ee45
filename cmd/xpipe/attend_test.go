package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

const circle = "../../testdata/images/red-circle.png"

func TestAttendFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, args ...string) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		var out, errs bytes.Buffer
		args = append([]string{"attend", circle, "-o", path}, args...)
		if code := execute(t.Context(), &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, args); code != api.ExitOK {
			t.Fatal(code, errs.String())
		}
		if !strings.Contains(errs.String(), "wrote "+path) {
			t.Errorf("%s: %q", name, errs.String())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var f api.Attention
	if err := json.Unmarshal(write("a.json"), &f); err != nil {
		t.Fatal(err)
	}
	if f.Text == "" || len(f.Tokens) == 0 || f.Rows != 7 || f.Cols != 7 ||
		f.Model != "blip2-mini" || f.Engine != "go" || f.Version == "" {
		t.Errorf("%+v", f)
	}
	for _, token := range f.Tokens {
		sum := 0.0
		for _, row := range token.Map {
			for _, v := range row {
				sum += float64(v)
			}
		}
		if math.Abs(sum-1) > 1e-5 || len(token.Map) != f.Rows || token.LogProb == nil {
			t.Errorf("%q: %d rows sum to %v", token.Text, len(token.Map), sum)
		}
	}

	write("a.npz")
	arrays, err := tensor.LoadNpz(filepath.Join(dir, "a.npz"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if m := arrays["maps"]; m == nil || m.Dim(0) != len(f.Tokens) || m.Dim(1) != 7 || arrays["stage1"].Rank() != 4 || arrays["ids"].Len() != len(f.Tokens) {
		t.Errorf("%v", arrays)
	}
	for i, v := range tensor.Data[float32](arrays["maps"]) {
		if v != f.Tokens[i/49].Map[i/7%7][i%7] {
			t.Fatal("the maps of .npz and .json differ")
		}
	}

	sheet, err := png.Decode(bytes.NewReader(write("a.png", "--rollout")))
	if err != nil || sheet.Bounds().Dx() < 600 || sheet.Bounds().Dy() < 250 {
		t.Error(sheet.Bounds(), err)
	}
	if file, err := os.ReadFile(filepath.Join(dir, "a.png")); err != nil ||
		!bytes.Contains(file, []byte("iTXtComment\x00\x00\x00\x00\x00Made by blip2-mini on the engine go")) {
		t.Errorf("the sheet does not say what made it: %v", err)
	}
	page := string(write("a.html"))
	for _, must := range []string{"<!doctype html>", f.Text, "data:image/png;base64,", `"stages":[{`, "Made by blip2-mini"} {
		if !strings.Contains(page, must) {
			t.Errorf("the page lacks %s", must)
		}
	}
	for _, never := range []string{"http://", "https://", "src=\"", "{{"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %s", never)
		}
	}

	// Other layers and heads, another text.
	var picked, forced api.Attention
	if err := json.Unmarshal(write("b.json", "--pick", "0", "--pick", "2/1"), &picked); err != nil {
		t.Fatal(err)
	}
	if picked.Tokens[0].Map[0][0] == f.Tokens[0].Map[0][0] {
		t.Error("--pick changes nothing")
	}
	if err := json.Unmarshal(write("c.json", "--text", "a blue square"), &forced); err != nil {
		t.Fatal(err)
	}
	if forced.Text != "a blue square" {
		t.Errorf("wrote %q", forced.Text)
	}
}

func TestAttendTerminal(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	env := &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	if code := execute(t.Context(), env, []string{"attend", circle, "what color is the shape?"}); code != api.ExitOK {
		t.Fatal(code, errs.String())
	}
	if line := out.String(); !strings.Contains(line, "\trow ") || !strings.Contains(line, "of 7x7\t") {
		t.Errorf("%q", line)
	}
	for _, args := range [][]string{
		{"attend", circle, "-o", "map.gif"}, {"attend", circle, "--pick", "two"}, {"attend", circle, "--pick", "1/-1"},
		{"attend", circle, "--pick", "99"}, {"attend", circle, "--rollout", "--pick", "1"}, {"attend"},
	} {
		if code := execute(t.Context(), env, args); code != api.ExitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	if code := execute(t.Context(), env, []string{"attend", circle, " "}); code != api.ExitInput {
		t.Errorf("an empty question: exit %d", code)
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1000": 1000, "64k": 64 << 10, "500M": 500 << 20, "2GB": 2 << 30, "1T": 1 << 40} {
		var b byteSize
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("%s: %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "M", "1.5G", "9999999999T"} {
		var b byteSize
		if err := b.Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, b)
		}
	}
}

// A terminal shows a small picture for each word.
func TestAttendDraws(t *testing.T) {
	t.Parallel()
	p, err := api.Open(t.Context(), "blip2-mini", pipeline.WithEngine(fallback.New()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	img, err := api.Sources{}.LoadPicture(circle)
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.AttendText(t.Context(), pipeline.Request{Image: img}, "a red")
	if err != nil {
		t.Fatal(err)
	}
	v, err := api.NewAttentionView(a, circle, "")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := drawAttention(&out, v, 80); err != nil {
		t.Fatal(err)
	}
	lines, words := strings.Split(out.String(), "\n"), v.Words()
	// The text, 13 lines of blocks, the words, the scale.
	if len(lines) != 17 || strings.Count(lines[1], "▀") != 26*len(words) ||
		!strings.Contains(lines[14], words[0].Text) {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	if first := lines[1]; !strings.HasPrefix(first, "\x1b[38;2;") ||
		!strings.Contains(first, "m\x1b[48;2;") ||
		!strings.HasSuffix(strings.TrimRight(first, " "), "\x1b[0m") {
		t.Errorf("colours: %q", first)
	}
}

// A limit too small for the model is the graph's failure, with its exit code.
func TestMemoryLimitFlag(t *testing.T) {
	t.Parallel()
	for limit, code := range map[string]int{"64M": api.ExitOK, "1K": api.ExitModel, "lots": api.ExitUsage} {
		var out, errs bytes.Buffer
		env := &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
		if got := execute(t.Context(), env, []string{"attend", circle, "--memory-limit", limit}); got != code {
			t.Errorf("%s: exit %d, %s", limit, got, errs.String())
		}
		if says := strings.Contains(errs.String(), "more memory than --memory-limit allows"); says != (limit == "1K") {
			t.Errorf("%s: %s", limit, errs.String())
		}
	}
}

// LXMERT's regions are drawn on the picture where there is one.
func TestAttendRegions(t *testing.T) {
	t.Parallel()
	const family = "../../testdata/families/lxmert-vqa/"
	dir := t.TempDir()
	for _, c := range []struct {
		image, out string
		code       int
	}{
		{circle, "a.png", api.ExitOK}, {circle, "a.html", api.ExitOK}, {"no-file", "b.html", api.ExitOK}, {"no-file", "b.json", api.ExitOK},
		{"no-file", "b.npz", api.ExitOK}, {"no-file", "b.png", api.ExitInput}, {"no-file", "", api.ExitOK},
	} {
		var out, errs bytes.Buffer
		env := &environment{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
		args := []string{"attend", c.image, "what is it?", "--model", family + "bundle", "--regions", family + "regions.npz"}
		if c.out != "" {
			args = append(args, "-o", filepath.Join(dir, c.out))
		}
		if code := execute(t.Context(), env, args); code != c.code {
			t.Errorf("%v: exit %d, %s", c, code, errs.String())
		}
		_, err := os.Stat(filepath.Join(dir, c.out))
		if left := err == nil; c.out != "" && left != (c.code == api.ExitOK) {
			t.Errorf("%v: a file is there: %v", c, left)
		}
		if c.out == "" && !strings.Contains(out.String(), "region ") {
			t.Errorf("%q", out.String())
		}
	}
	arrays, err := tensor.LoadNpz(filepath.Join(dir, "b.npz"), 1<<30)
	if err != nil || arrays["boxes"].Dim(0) != 36 || arrays["reverse"].Dim(2) != 36 || arrays["stage0"].Dim(3) != 36 {
		t.Errorf("%v, %v", arrays, err)
	}
}
