package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// taken takes a tokenizer.json apart into the files of older checkpoints. listed says that
// tokenizer_config.json has the added tokens; else they are in added_tokens.json and
// special_tokens_map.json.
func taken(t *testing.T, path, class string, listed bool) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Added []addedJSON `json:"added_tokens"`
		Model struct {
			Vocab  map[string]int64
			Merges json.RawMessage
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var lines []string
	if json.Unmarshal(file.Model.Merges, &lines) != nil {
		var pairs [][2]string
		if err := json.Unmarshal(file.Model.Merges, &pairs); err != nil {
			t.Fatal(err)
		}
		lines = nil
		for _, pair := range pairs {
			lines = append(lines, pair[0]+" "+pair[1])
		}
	}
	merges := "#version: 0.2\n" + strings.Join(lines, "\n") + "\n"
	ids, decoder, special := map[string]int64{}, map[string]addedJSON{}, []string{}
	for _, a := range file.Added {
		decoder[fmt.Sprint(a.ID)] = a
		if _, ok := file.Model.Vocab[a.Content]; !ok {
			ids[a.Content] = a.ID
		}
		if a.Special {
			special = append(special, a.Content)
		}
	}
	config := map[string]any{"tokenizer_class": class}
	files := map[string]any{"vocab.json": file.Model.Vocab, "tokenizer_config.json": config}
	if listed {
		config["added_tokens_decoder"] = decoder
	} else {
		files["added_tokens.json"] = ids
		files["special_tokens_map.json"] = map[string]any{"additional_special_tokens": special}
	}
	result := map[string][]byte{"merges.txt": []byte(merges)}
	for name, content := range files {
		if result[name], err = json.Marshal(content); err != nil {
			t.Fatal(err)
		}
	}
	return result
}

func reader(files map[string][]byte) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return data, nil
		}
		return nil, fs.ErrNotExist
	}
}

// sameTokenizer compares a tokenizer.json with what is made of its parts.
func sameTokenizer(t *testing.T, path, class string, listed bool) {
	t.Helper()
	want, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(reader(taken(t, path, class, listed)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, text := range []string{"", "a photo of a red cat", "  Two boats,\n\nnear the WATER!  123's", "naïve ﬁ 日本語 🙂",
		"<s>x<mask> y</s>", "<|im_start|>user\nhi<|im_end|>", "Å A\u030a 3.14 I'LL", "<|endoftext|> <tool_call>"} {
		a, err := got.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := want.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.IDs, b.IDs) || !slices.Equal(a.Tokens, b.Tokens) {
			t.Errorf("%s: %q: %v, want %v", path, text, a.Tokens, b.Tokens)
		}
		if x, y := got.Decode(a.IDs, true), want.Decode(a.IDs, true); x != y {
			t.Errorf("%s: %q decodes to %q, want %q", path, text, x, y)
		}
	}
}

// A tokenizer made of vocab.json and merges.txt is the one that the reference wrote.
func TestLoadOfOlderFiles(t *testing.T) {
	t.Parallel()
	layout := func(name string) string { return "../testdata/layouts/" + name + "/tokenizer.json" }
	sameTokenizer(t, layout("trocr-optimum"), "RobertaTokenizer", true)
	sameTokenizer(t, layout("vit-gpt2-transformersjs"), "GPT2Tokenizer", true)
	sameTokenizer(t, layout("florence2-transformersjs"), "BartTokenizerFast", true)
	sameTokenizer(t, layout("clip-transformersjs"), "CLIPTokenizer", true)
	sameTokenizer(t, layout("clip-transformersjs"), "CLIPTokenizerFast", false)
	sameTokenizer(t, layout("llama-optimum"), "GPT2TokenizerFast", true)
	sameTokenizer(t, layout("llama-optimum"), "GPT2TokenizerFast", false)
	whole, err := os.ReadFile(layout("llama-optimum"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(reader(map[string][]byte{"tokenizer.json": whole})); err != nil {
		t.Errorf("tokenizer.json is not enough: %v", err)
	}
}

// So it is for Qwen's, whose pattern and normaliser its class has.
func TestLoadOfQwenFiles(t *testing.T) {
	t.Parallel()
	sameTokenizer(t, tokenizerFile(t, "qwen3"), "Qwen2Tokenizer", true)
}

// Files that are not enough, or of a kind that is not made, are refused with what to do.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	gpt2 := taken(t, "../testdata/layouts/vit-gpt2-transformersjs/tokenizer.json", "GPT2Tokenizer", true)
	with := func(name string, data []byte) map[string][]byte {
		files := map[string][]byte{name: data}
		for n, d := range gpt2 {
			if n != name {
				files[n] = d
			}
		}
		return files
	}
	for say, files := range map[string]map[string][]byte{
		"none is made of tokenizer.model": {"tokenizer.model": {1}},
		"none is made of vocab.txt":       {"vocab.txt": []byte("[UNK]")},
		`tokenizer_class ""`:              with("tokenizer_config.json", []byte("{}")),
		`tokenizer_class "XTokenizer"`:    with("tokenizer_config.json", []byte(`{"tokenizer_class":"XTokenizer"}`)),
		"vocab.json: ":                    with("vocab.json", []byte("[")),
		"is no id": with("tokenizer_config.json",
			[]byte(`{"tokenizer_class":"GPT2Tokenizer","added_tokens_decoder":{"x":{}}}`)),
		`the id of the special token "<s>"`: with("tokenizer_config.json",
			[]byte(`{"tokenizer_class":"RobertaTokenizer"}`)),
	} {
		if _, err := Load(reader(files)); !errors.Is(err, ErrTokenizer) || !strings.Contains(err.Error(), say) {
			t.Errorf("%v, want %s", err, say)
		}
	}
	for _, files := range []map[string][]byte{{}, {"vocab.json": []byte("{}")}, {"merges.txt": nil}} {
		if _, err := Load(reader(files)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want that there is no file", err)
		}
	}
}
