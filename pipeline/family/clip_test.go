package family

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// TestPadID has the ids that transformers 4.57.6 pads with (AutoTokenizer.from_pretrained on such
// folders), and what it says where there is none.
func TestPadID(t *testing.T) {
	t.Parallel()
	vocab := map[string]int{"<unk>": 0, "!": 1, "<|endoftext|>": 2, "</s>": 3, "<pad>": 4, "a": 5}
	file := func(padding any) string {
		data, err := json.Marshal(map[string]any{
			"model":   map[string]any{"type": "WordLevel", "unk_token": "<unk>", "vocab": vocab},
			"padding": padding,
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	padded := file(map[string]any{
		"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": nil,
		"pad_id": 5, "pad_type_id": 0, "pad_token": "a",
	})
	const object = `{"__type":"AddedToken","content":"!","lstrip":false,"rstrip":false}`
	for name, c := range map[string]struct {
		config, special string
		sigmoid, padded bool
		id              int64
		none            string // why there is no such token
		err             string
	}{
		"no file":                     {id: 2},
		"empty file":                  {config: `{}`, id: 2},
		"no key":                      {config: `{"tokenizer_class":"CLIPTokenizer"}`, id: 2},
		"no key, fast":                {config: `{"tokenizer_class":"CLIPTokenizerFast"}`, id: 2},
		"no key, Gemma":               {config: `{"tokenizer_class":"GemmaTokenizer"}`, sigmoid: true, id: 4},
		"no file, SigLIP":             {sigmoid: true, id: 3},
		"no key, no class of its own": {config: `{"tokenizer_class":"PreTrainedTokenizerFast"}`, none: "no pad_token"},
		"padding of tokenizer.json":   {config: `{"tokenizer_class":"PreTrainedTokenizerFast"}`, padded: true, id: 5},
		"padding of tokenizer.json, with a class": {padded: true, id: 2},
		"string":                    {config: `{"pad_token":"!"}`, id: 1},
		"object":                    {config: `{"pad_token":` + object + `}`, id: 1},
		"null":                      {config: `{"pad_token":null}`, none: "no pad_token"},
		"null, padded":              {config: `{"pad_token":null}`, padded: true, none: "no pad_token"},
		"empty":                     {config: `{"pad_token":""}`, none: "no pad_token"},
		"not in the vocabulary":     {config: `{"pad_token":"<none>"}`, none: `no token "<none>"`},
		"number":                    {config: `{"pad_token":5}`, err: "no usable pad_token"},
		"list":                      {config: `{"pad_token":["!"]}`, err: "no usable pad_token"},
		"map alone":                 {special: `{"pad_token":"!"}`, id: 1},
		"map alone, object":         {special: `{"pad_token":` + object + `}`, id: 1},
		"map and no key":            {config: `{}`, special: `{"pad_token":"!"}`, id: 1},
		"map before the config":     {config: `{"pad_token":"a"}`, special: `{"pad_token":"!"}`, id: 1},
		"map before null":           {config: `{"pad_token":null}`, special: `{"pad_token":"!"}`, id: 1},
		"map is not read":           {config: `{"added_tokens_decoder":{}}`, special: `{"pad_token":"!"}`, id: 2},
		"map without the key":       {config: `{"pad_token":"!"}`, special: `{"eos_token":"a"}`, id: 1},
		"config that is damaged":    {config: `{"pad_token":`, err: "tokenizer_config.json"},
		"map that is damaged":       {special: `[]`, err: "special_tokens_map.json"},
		"config with a mark before": {config: "\ufeff" + `{"pad_token":"!"}`, id: 1},
	} {
		fsys := fstest.MapFS{
			models.ManifestName: {Data: []byte(`{"format":1,"family":"clip","graphs":{"model":"m.onnx"}}`)},
			"m.onnx":            {},
			"tokenizer.json":    {Data: []byte(file(nil))},
		}
		if c.padded {
			fsys["tokenizer.json"].Data = []byte(padded)
		}
		if c.config != "" {
			fsys["tokenizer_config.json"] = &fstest.MapFile{Data: []byte(c.config)}
		}
		if c.special != "" {
			fsys["special_tokens_map.json"] = &fstest.MapFile{Data: []byte(c.special)}
		}
		bundle, err := models.OpenFS(fsys)
		if err != nil {
			t.Fatal(err)
		}
		tokenizer, err := tokenize.New(fsys["tokenizer.json"].Data)
		if err != nil {
			t.Fatal(err)
		}
		words, err := openDualTexts(bundle, Texts{Tokenizer: tokenizer}, c.sigmoid)
		id, none := words.pad, words.noPad
		says := func(err error, part string) bool {
			if part == "" {
				return err == nil
			}
			return errors.Is(err, graph.ErrBundle) && strings.Contains(err.Error(), part)
		}
		if id != c.id || !says(none, c.none) || !says(err, c.err) {
			t.Errorf("%s: %d, %v, %v, want %d, %q, %q", name, id, none, err, c.id, c.none, c.err)
		}
	}
}

// TestPaddingSide pads texts of one length on the side that tokenizer_config.json names.
func TestPaddingSide(t *testing.T) {
	t.Parallel()
	const vocab = `{"model":{"type":"WordLevel","unk_token":"</s>","vocab":{"</s>":0,"a":5}}}`
	const manifest = `{"format":1,"family":"clip","graphs":{"model":"m.onnx"},"limits":{"max_text":4},
		"text_padding":"max_length"}`
	for config, want := range map[string][]int64{
		`{}`:                       {5, 0, 0, 0},
		`{"padding_side":"right"}`: {5, 0, 0, 0},
		`{"padding_side":"left"}`:  {0, 0, 0, 5},
		`{"padding_side":"both"}`:  nil,
	} {
		bundle, err := models.OpenFS(fstest.MapFS{
			models.ManifestName:     {Data: []byte(manifest)},
			"m.onnx":                {},
			"tokenizer.json":        {Data: []byte(vocab)},
			"tokenizer_config.json": {Data: []byte(config)},
		})
		if err != nil {
			t.Fatal(err)
		}
		tokenizer, err := tokenize.New([]byte(vocab))
		if err != nil {
			t.Fatal(err)
		}
		words, err := openDualTexts(bundle, Texts{Tokenizer: tokenizer, MaxTokens: 9}, true)
		if want == nil {
			if !errors.Is(err, graph.ErrBundle) {
				t.Errorf("%s: %v", config, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ids, mask, err := words.tokens([]string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := tensor.Values[int64](ids)
		seen, _ := tensor.Values[int64](mask)
		if !slices.Equal(got, want) || !slices.Equal(seen, []int64{1, 1, 1, 1}) {
			t.Errorf("%s: %v, mask %v, want %v", config, got, seen, want)
		}
	}
}
