package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// A word-level tokenizer small enough to read.
const smallTokenizer = `{"version":"1.0","truncation":null,"padding":null,
	"added_tokens":[{"id":4,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
	"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"WhitespaceSplit"},
	"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
		"pair":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<s>","type_id":1}},{"Sequence":{"id":"B","type_id":1}}],
		"special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}},
	"decoder":null,"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"two":1,"cats":2,"\ncats":3,"<s>":4}}}`

func TestTokenize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "tokenizer.json")
	if err := os.WriteFile(file, []byte(smallTokenizer), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte(`{"model":{"type":"Telepathy"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, args, stdin, stdout string
		code                      int
		stderr                    string // part of it
	}{
		{name: "lines", stdin: "two cats\nTWO dogs\n\ntwo", stdout: "[4,1,2]\n[4,1,0]\n[4]\n[4,1]\n"},
		{name: "no special", args: "--no-special", stdin: "two cats", stdout: "[1,2]\n"},
		{name: "pair after a tab", args: "--pair", stdin: "two\tcats\n", stdout: "[4,1,4,2]\n"},
		{name: "pair as an argument", args: "--pair cats", stdin: "two\n", stdout: "[4,1,4,2]\n"},
		{name: "offsets", args: "--offsets", stdin: "é two\n", stdout: `{"ids":[4,0,1],"tokens":["<s>","?","two"],"offsets":[[0,0],[0,2],[3,6]]}` + "\n"},
		{name: "jsonl", args: "--jsonl", stdin: "\"two\\n cats\"\n{\"text\":\"two\",\"pair\":\"cats\"}\n", stdout: "[4,1,2]\n[4,1,4,2]\n"},
		{name: "decode", args: "--decode", stdin: "[4,1,2]\n[]\n", stdout: "<s> two cats\n\n"},
		{name: "decode to JSON", args: "--decode --jsonl --no-special", stdin: "[4,1,3]\n", stdout: `"two \ncats"` + "\n"},
		{name: "json", args: "--json", stdin: "two\n", stdout: `{"ids":[4,1]}` + "\n"},
		{name: "bad JSON", args: "--jsonl", stdin: "two\n", code: api.ExitInput, stderr: "line 1"},
		{name: "no tab", args: "--pair", stdin: "a\tb\nc\n", stdout: "[4,0,4,0]\n", code: api.ExitInput, stderr: "line 2"},
		{name: "ids that are none", args: "--decode", stdin: "two\n", code: api.ExitInput, stderr: "array of ids"},
		{name: "an argument too many", args: "text", code: api.ExitUsage, stderr: "standard input"},
		{name: "decode and offsets", args: "--decode --offsets", code: api.ExitUsage, stderr: "--decode"},
		{name: "unknown flag", args: "--fast", code: api.ExitUsage, stderr: "--fast"},
		{name: "no such file", args: "--tokenizer " + filepath.Join(dir, "none.json"), code: api.ExitModel, stderr: "none.json"},
		{name: "a file that asks too much", args: "--tokenizer " + broken, code: api.ExitModel, stderr: "Telepathy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			env := &environment{stdin: strings.NewReader(c.stdin), stdout: &stdout, stderr: &stderr}
			args := append([]string{"tokenize", "--tokenizer", file}, strings.Fields(c.args)...)
			code := execute(t.Context(), env, args)
			if code != c.code || stdout.String() != c.stdout || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit %d (want %d), stdout %q (want %q), stderr %q", code, c.code, stdout.String(), c.stdout, stderr.String())
			}
		})
	}
}
