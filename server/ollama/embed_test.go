package ollama_test

import (
	"math"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/models/mini"
)

func TestEmbed(t *testing.T) {
	t.Parallel()
	p := open(t, mini.CLIP)
	texts, err := p.EmbedTexts(t.Context(), "a dog", "a cat")
	if err != nil {
		t.Fatal(err)
	}
	img, err := p.DecodeFile("../../testdata/images/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := p.EmbedImages(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	got := decoded(t, ask(t, shared(), "POST", "/api/embed", object{
		"model": mini.CLIP, "input": []string{"a dog", "a cat"}, "images": []string{encoded(t, "cat.jpg")},
	}))
	checkRows(t, got["embeddings"], append(texts, pictures...))
	if got["prompt_eval_count"] != 8.0 { // two words, and the two ends of each text
		t.Errorf("prompt_eval_count %v, want 8", got["prompt_eval_count"])
	}
	got = decoded(t, ask(t, shared(), "POST", "/api/embed", object{"model": mini.CLIP, "input": "a dog", "dimensions": 64}))
	short := slices.Clone(texts[0][:64])
	var sum float64
	for _, v := range short {
		sum += float64(v) * float64(v)
	}
	for i := range short {
		short[i] = float32(float64(short[i]) / math.Sqrt(sum))
	}
	checkRows(t, got["embeddings"], [][]float32{short})
	got = decoded(t, ask(t, shared(), "POST", "/api/embeddings", object{"model": mini.CLIP, "prompt": "a cat"}))
	checkRows(t, []any{got["embedding"]}, texts[1:])
	got = decoded(t, ask(t, shared(), "POST", "/api/embed", object{"model": mini.CLIP, "input": ""}))
	checkRows(t, got["embeddings"], nil)
}

func checkRows(t *testing.T, got any, want [][]float32) {
	t.Helper()
	rows, ok := got.([]any)
	if !ok || len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i, row := range rows {
		numbers := row.([]any)
		if len(numbers) != len(want[i]) {
			t.Fatalf("row %d has %d numbers, want %d", i, len(numbers), len(want[i]))
		}
		for j, v := range numbers {
			if math.Abs(v.(float64)-float64(want[i][j])) > 1e-5 {
				t.Fatalf("row %d: number %d is %v, want %v", i, j, v, want[i][j])
			}
		}
	}
}
