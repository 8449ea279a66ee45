package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// ask and caption of a language model take no picture, and give the ids of transformers' generate.
func TestUnseen(t *testing.T) {
	t.Parallel()
	var golden struct {
		Rows []struct {
			Prompt string
			IDs    []int64
		}
	}
	data, err := os.ReadFile(filepath.Join(chatLlama, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"-m", chatLlama, "--engine", "go", "--max-new-tokens", "12", "--json"}
	for _, row := range golden.Rows {
		if row.Prompt == "" {
			continue
		}
		for _, verb := range []string{"ask", "caption"} {
			code, out, errors := xpipe(t, "", append([]string{verb, "--raw-prompt", row.Prompt}, flags...)...)
			var line struct{ IDs []int64 }
			if err := json.Unmarshal([]byte(out), &line); err != nil || code != 0 {
				t.Fatalf("%s: exit %d, %v: %s%s", verb, code, err, out, errors)
			}
			ids := slices.DeleteFunc(line.IDs, func(id int64) bool { return len(line.IDs) > len(row.IDs) && id == line.IDs[len(line.IDs)-1] })
			if !slices.Equal(ids, row.IDs) {
				t.Errorf("%s %q: ids %v, want %v", verb, row.Prompt, line.IDs, row.IDs)
			}
		}
	}
	code, out, errors := xpipe(t, "", append([]string{"ask", "what is it?", "and that?"}, flags...)...)
	if code != 0 || len(lines(t, out)) != 2 {
		t.Errorf("two questions: exit %d: %s%s", code, out, errors)
	}
	const figure = "../../testdata/families/images/figure0.png"
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"ask", figure, "what?", "-m", chatLlama}, api.ExitModel, "reads text alone; leave " + figure + " out"},
		{[]string{"ask", "missing.JPG", "what is it?", "-m", chatLlama}, api.ExitModel, "leave missing.JPG out"},
		{[]string{"ask", "photos/*.png", "what is it?", "-m", chatLlama}, api.ExitModel, "leave photos/*.png out"},
		{[]string{"ask", "../../testdata", "what is it?", "-m", chatLlama}, api.ExitModel, "leave ../../testdata out"},
		{[]string{"ask", "-", "what is it?", "-m", chatLlama}, api.ExitModel, "leave - out"},
		{[]string{"ask", "what?", "-m", chatLlama, "--out", "x.jsonl"}, api.ExitUsage, "--out"},
		{[]string{"ask", "what?", "-m", chatLlama, "--choices", "yes,no"}, api.ExitUsage, "--choices"},
		{[]string{"ask", "-m", chatLlama}, api.ExitUsage, "ask"},
		{[]string{"caption", "-m", chatLlama}, api.ExitUsage, "caption"},
		{[]string{"ask", "--raw-prompt", "x"}, api.ExitInput, "no picture"},
		{[]string{"ask", "--question", "x"}, api.ExitInput, "no picture"},
	} {
		if code, _, errors := xpipe(t, "", row.args...); code != row.code || !strings.Contains(errors, row.says) {
			t.Errorf("%v: exit %d: %s", row.args, code, errors)
		}
	}
	for _, flag := range []string{"--raw-prompt", "--question"} {
		code, out, errors = xpipe(t, "", "ask", flag, "hello there", "-m", chatLlava, "--engine", "go", "--max-new-tokens", "3")
		if code != 0 || strings.TrimSpace(out) == "" {
			t.Errorf("a model that sees, without a picture: exit %d: %s%s", code, out, errors)
		}
	}
}
