package tokenize

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNewRefused lists files that are refused, with what the error must name.
func TestNewRefused(t *testing.T) {
	t.Parallel()
	model := `"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"a":1}}`
	for _, c := range []struct{ file, says string }{
		{``, "not JSON"},
		{`[1]`, "tokenizer.json"},
		{"\xff", "UTF-8"},
		{`{}`, "model"},
		{`{"model":null}`, "model"},
		{`{"model":{"type":"Telepathy"}}`, "Telepathy"},
		{`{"version":"2.0",` + model + `}`, "version"},
		{`{"normalizer":{"type":"Rot13"},` + model + `}`, "Rot13"},
		{`{"normalizer":{"type":"Replace","pattern":{"Regex":"(?<x>a)\\g<x>"},"content":""},` + model + `}`, "normalizer.pattern.Regex"},
		{`{"normalizer":{"type":"Strip","strip_left":true},` + model + `}`, "strip_right"},
		{`{"normalizer":{"type":"Precompiled","precompiled_charsmap":"!"},` + model + `}`, "precompiled_charsmap"},
		{`{"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 40) + `{"type":"NFC"}` + strings.Repeat(`]}`, 40) + `,` + model + `}`, "nested"},
		{`{"pre_tokenizer":{"type":"UnicodeScripts"},` + model + `}`, "UnicodeScripts"},
		{`{"pre_tokenizer":{"type":"Metaspace","replacement":"ab"},` + model + `}`, "replacement"},
		{`{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}}],"pair":[],"special_tokens":{}},` + model + `}`, `"x"`},
		{`{"decoder":{"type":"Crystal"},` + model + `}`, "Crystal"},
		{`{"padding":{"strategy":"Sometimes","direction":"Left","pad_id":0,"pad_type_id":0,"pad_token":""},` + model + `}`, "Sometimes"},
		{`{"truncation":{"max_length":-1,"strategy":"LongestFirst","stride":0},` + model + `}`, "max_length"},
		{`{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`, "share"},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, "merges[0]"},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}`, "merges[0]"},
		{`{"model":{"type":"BPE","vocab":{"a":0}}}`, "merges"},
		{`{"model":{"type":"Unigram","unk_id":3,"vocab":[["a",0]]}}`, "unk_id"},
		{`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a","b"]]}}`, "vocab[0]"},
		{`{"model":{"type":"WordLevel","unk_token":"\ud800","vocab":{"?":0,"a":1}}}`, "surrogate"},
		{`{"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":4000000000}}}`, "too large"},
		{`{"added_tokens":[{"id":0,"content":"x"}],` + model + `}`, "single_word"},
		{`{"normalizer":{"type":"Strip","strip_left":true,"strip_right":true},"added_tokens":[{"id":9,"content":" ","single_word":false,"lstrip":false,"rstrip":false,"normalized":true,"special":false}],` + model + `}`, "nothing left"},
	} {
		_, err := New([]byte(c.file))
		if !errors.Is(err, ErrTokenizer) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.120s: error %v, want one that names %s", c.file, err, c.says)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.json")); !errors.Is(err, ErrTokenizer) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	path := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(path, []byte(`{"model":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrTokenizer) || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: %v", err)
	}
}

// TestEncodeRefused lists requests that fail while encoding.
func TestEncodeRefused(t *testing.T) {
	t.Parallel()
	tk, err := New([]byte(`{"pre_tokenizer":{"type":"WhitespaceSplit"},"model":{"type":"WordLevel","unk_token":"?","vocab":{"a":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		opt  Option
	}{
		{"b", WithPadding(nil)}, // an unknown word, and the file has no token for those
		{"a", WithPairs([]string{"a"})},
		{"a a a", WithTruncation(&Truncation{MaxLength: 2, Strategy: OnlySecond})},
		{"a a a", WithTruncation(&Truncation{MaxLength: 2, Stride: 2})},
		{"a a a", WithTruncation(&Truncation{MaxLength: 2, Strategy: 7})},
	} {
		if e, err := tk.Encode(c.text, c.opt); !errors.Is(err, ErrTokenizer) {
			t.Errorf("%q: %v, %v", c.text, e, err)
		}
	}
	if _, err := tk.EncodeBatch([]string{"a"}, WithPairs(nil), WithPairs([]string{"a", "a"})); !errors.Is(err, ErrTokenizer) {
		t.Errorf("two second texts for one: %v", err)
	}
	if _, err := tk.EncodeBatch([]string{"a", "b"}); !errors.Is(err, ErrTokenizer) || !strings.Contains(err.Error(), "text 1") {
		t.Errorf("an unknown word in a batch: %v", err)
	}
}

// TestLossy compares with Python's bytes.decode("utf-8", "replace"), which like Rust replaces
// maximal ill-formed parts.
func TestLossy(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a":                    "a",
		"\xff":                 "\uFFFD",
		"a\xe4\xb8b":           "a\uFFFDb",
		"\xe4\xb8\xe4\xb8\xad": "\uFFFD中",
		"\xed\xa0\x80":         "\uFFFD\uFFFD\uFFFD",
		"\xf0\x9f\x98":         "\uFFFD",
		"\xf0\x80\x80\x80":     "\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xf4\x90\x80\x80":     "\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xc0\xaf":             "\uFFFD\uFFFD",
		"\xc3\xc3\xa9":         "\uFFFDé",
		"\xf1\x80\x80":         "\uFFFD",
		"\xe0\x9f\xbf":         "\uFFFD\uFFFD\uFFFD",
	} {
		if got := lossy(in); got != want {
			t.Errorf("lossy(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestBatchPadding pads a batch on either side.
func TestBatchPadding(t *testing.T) {
	t.Parallel()
	tk, err := New([]byte(`{"pre_tokenizer":{"type":"WhitespaceSplit"},"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"a":1,"b":2}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for left, want := range map[bool][]int64{true: {9, 9, 9, 1}, false: {1, 9, 9, 9}} {
		list, err := tk.EncodeBatch([]string{"a", "a b a"}, WithPadding(&Padding{Left: left, ID: 9, Token: "p", MultipleOf: 2}))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(list[0].IDs, want) || list[1].Len() != 4 {
			t.Errorf("left %v: %v and %v", left, list[0].IDs, list[1].IDs)
		}
		for i, id := range list[0].IDs {
			if (list[0].AttentionMask[i] == 0) != (id == 9) {
				t.Errorf("attention mask %v for %v", list[0].AttentionMask, list[0].IDs)
			}
		}
	}
}

// A tokenizer behind lower case reads capitals as small letters, with a normalizer of its own and
// without; the tokenizer itself stays as it was.
func TestLowercased(t *testing.T) {
	t.Parallel()
	for _, normalizer := range []string{`null`, `{"type":"Replace","pattern":{"String":"b"},"content":"c"}`} {
		own, err := New([]byte(`{"normalizer":` + normalizer +
			`,"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"a":1,"c":2,"É":3,"é":4}}}`))
		if err != nil {
			t.Fatal(err)
		}
		lowered := own.Lowercased()
		for text, want := range map[string][2]int64{"A": {0, 1}, "C": {0, 2}, "É": {3, 4}} {
			before, err1 := own.Encode(text)
			after, err2 := lowered.Encode(text)
			if err1 != nil || err2 != nil || before.IDs[0] != want[0] || after.IDs[0] != want[1] {
				t.Errorf("%s: %q is %v and %v (%v, %v), want %v", normalizer, text, before, after,
					err1, err2, want)
			}
		}
	}
}
