package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/pipeline/family"
)

// changedGolden opens a copy of a golden bundle of which one JSON file is changed.
func changedGolden(t *testing.T, name, file string, change func(map[string]any)) *Pipeline {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(familiesDir, name, "bundle"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	if err := json.Unmarshal(data, &content); err != nil {
		t.Fatal(err)
	}
	change(content)
	if data, err = json.Marshal(content); err == nil {
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), dir, WithEngine(goEngine), WithoutVerification())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func promptIDs(t *testing.T, p *Pipeline, r Request) []int64 {
	t.Helper()
	inputs, err := p.Inputs(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return inputs.TokenIDs
}

// PaliGemma's processor has the tokenizer add nothing: one that would add a BOS gives the same prompt as
// one that does not, with the one BOS that the processor writes.
func TestPaliGemmaBeginsOnce(t *testing.T) {
	t.Parallel()
	const bos = 1
	request := Request{Image: figure(t, "figure0.png"), Question: "what color is the cat?"}
	want := promptIDs(t, changedGolden(t, "paligemma", "tokenizer.json", func(map[string]any) {}), request)
	adding := changedGolden(t, "paligemma", "tokenizer.json", func(tokenizer map[string]any) {
		tokenizer["post_processor"] = map[string]any{
			"type": "TemplateProcessing",
			"single": []any{
				map[string]any{"SpecialToken": map[string]any{"id": "<s>", "type_id": 0}},
				map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
			},
			"pair":           []any{map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 1}}},
			"special_tokens": map[string]any{"<s>": map[string]any{"id": "<s>", "ids": []any{bos}, "tokens": []any{"<s>"}}},
		}
	})
	if begun, err := adding.texts.Read("a"); err != nil || begun[0] != bos {
		t.Fatal("the tokenizer adds no BOS:", begun, err)
	}
	got := promptIDs(t, adding, request)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	count := 0
	for _, id := range got {
		if id == bos {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d BOS in %v", count, got)
	}
}

// BLIP-2's generate writes a BOS where there is no text; the bundle says so where its tokenizer makes
// nothing, or something else, of an empty text.
func TestBLIP2EmptyText(t *testing.T) {
	t.Parallel()
	compose := func(p *Pipeline, text string) (ids []int64) {
		t.Helper()
		prompts, err := p.prompts([]Request{{Image: figure(t, "figure0.png"), Prompt: text}})
		if err != nil {
			t.Fatal(err)
		}
		composed, err := p.compose(t.Context(), p.model.(family.Writer), prompts, new(Stats))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range composed[0] {
			ids = append(ids, s.IDs...)
		}
		return ids
	}
	p := changedGolden(t, "blip2-opt", "xpipe.json", func(manifest map[string]any) {
		manifest["empty_text_ids"] = []int64{7}
	})
	plain := changedGolden(t, "blip2-opt", "xpipe.json", func(map[string]any) {})
	if got := compose(p, ""); !slices.Equal(got, []int64{7}) {
		t.Errorf("without a text %v", got)
	}
	if got := compose(plain, ""); !slices.Equal(got, []int64{2}) { // its tokenizer's own BOS
		t.Errorf("without a text, as the tokenizer says, %v", got)
	}
	if got, want := compose(p, "a cat"), compose(plain, "a cat"); !slices.Equal(got, want) || len(got) < 2 {
		t.Errorf("of a text %v, want %v", got, want)
	}
}
