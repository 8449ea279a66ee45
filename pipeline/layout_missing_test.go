package pipeline

import (
	"path/filepath"
	"slices"
	"testing"
)

// Without tokenizer_config.json SigLIP 2 is told from SigLIP by its vocabulary: texts are in lower case and
// padded with its own token.
func TestSigLIP2WithoutTokenizerConfig(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(layoutsDir, "siglip2-transformersjs")
	whole, err := Open(t.Context(), dir, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	less, err := OpenFS(t.Context(), only(t, dir, "tokenizer_config.json"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer less.Close()
	texts := []string{"a photo of a RED cat", "boats"}
	want, err := whole.EmbedTexts(t.Context(), texts...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := less.EmbedTexts(t.Context(), texts...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range texts {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("%q: %v, want %v", texts[i], got[i], want[i])
		}
	}
}

// Without generation_config.json Florence-2 writes by what GenerationConfig.from_model_config of
// transformers 4.57.6 takes from config.json: the ids of its class, and no no_repeat_ngram_size where the
// text's section has none.
func TestFlorence2WithoutGenerationConfig(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(layoutsDir, "florence2-transformersjs")
	p, err := OpenFS(t.Context(), only(t, dir, "generation_config.json"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	g := p.Generation()
	if !slices.Equal(g.EOS, []int64{2}) || g.ForcedBOS == nil || *g.ForcedBOS != 0 || g.ForcedEOS == nil || *g.ForcedEOS != 2 ||
		g.NoRepeatNgramSize != 0 || g.NumBeams != 1 || g.MaxNewTokens != 20 {
		t.Errorf("%+v", g)
	}
}
