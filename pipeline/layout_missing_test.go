package pipeline

import (
	"path/filepath"
	"slices"
	"strings"
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

// Graphs may have variants of their own, as models are that are mixed: Gemma 3n's folders lack some.
func TestVariantsByGraph(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(layoutsDir, "gemma3n-transformersjs")
	g := loadDecoderGolden(t, "gemma3n-transformersjs")
	const mixed = "q4,vision_encoder=fp16,audio_encoder=fp32,embed_tokens=q8"
	p, err := OpenFS(t.Context(), only(t, dir, "onnx/vision_encoder_q4.onnx", "onnx/decoder_model_merged.onnx"),
		WithEngine(goEngine), WithVariant(mixed))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for role, want := range map[string]string{
		"vision_encoder": "onnx/vision_encoder_fp16.onnx", "audio_encoder": "onnx/audio_encoder.onnx",
		"embed_tokens": "onnx/embed_tokens_quantized.onnx", "decoder": "onnx/decoder_model_merged_q4.onnx",
	} {
		if got := p.Bundle().Graphs[role]; got != want {
			t.Errorf("%s is %s, want %s", role, got, want)
		}
	}
	if _, err := p.Generate(t.Context(), []Request{g.Rows[5].request(t)}); err != nil {
		t.Error(err)
	}
	for variant, says := range map[string]string{
		"q4,fp16": "both of all graphs", "q4,vision_encoder=bnb4": "no graph vision_encoder in the variant bnb4",
		"q4,ears=fp16": "no graph ears", "q4,vision_encoder=fp17": `no variant "fp17"`,
	} {
		if _, err := Open(t.Context(), dir, WithEngine(goEngine), WithVariant(variant)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", variant, err)
		}
	}
}
