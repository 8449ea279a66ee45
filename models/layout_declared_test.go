package models_test

import (
	"maps"
	"os"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
)

// Graphs of names that nobody knows are parts of a model by what they declare.
func TestDeclaredParts(t *testing.T) {
	t.Parallel()
	for layout, c := range map[string]struct {
		names  map[string]string // by the name in the layout
		graphs map[string]string
	}{
		"vit-gpt2-transformersjs": {
			map[string]string{"onnx/encoder_model.onnx": "onnx/look.onnx", "onnx/decoder_model_merged.onnx": "onnx/write.onnx"},
			map[string]string{"vision_encoder": "onnx/look.onnx", "decoder": "onnx/write.onnx"}},
		"trocr-optimum": {
			map[string]string{"encoder_model.onnx": "a.onnx", "decoder_model.onnx": "b.onnx", "decoder_with_past_model.onnx": "c.onnx"},
			map[string]string{"vision_encoder": "a.onnx", "decoder_model": "b.onnx", "decoder_with_past_model": "c.onnx"}},
		"florence2-transformersjs": {
			map[string]string{"onnx/vision_encoder.onnx": "v.onnx", "onnx/embed_tokens.onnx": "e.onnx",
				"onnx/encoder_model.onnx": "read.onnx", "onnx/decoder_model_merged.onnx": "write.onnx"},
			map[string]string{"vision_encoder": "v.onnx", "embed_tokens": "e.onnx", "encoder": "read.onnx", "decoder": "write.onnx"}},
		"llava-transformersjs": {
			map[string]string{"onnx/vision_encoder.onnx": "onnx/vision_tower.onnx", "onnx/embed_tokens.onnx": "onnx/embed_tokens.onnx",
				"onnx/decoder_model_merged.onnx": "onnx/language_model.onnx"},
			map[string]string{"vision_encoder": "onnx/vision_tower.onnx", "embed_tokens": "onnx/embed_tokens.onnx", "decoder": "onnx/language_model.onnx"}},
		"gemma3n-transformersjs": {
			map[string]string{"onnx/vision_encoder.onnx": "onnx/see.onnx", "onnx/audio_encoder.onnx": "onnx/hear.onnx",
				"onnx/embed_tokens.onnx": "onnx/embed_tokens.onnx", "onnx/decoder_model_merged.onnx": "onnx/write.onnx"},
			map[string]string{"vision_encoder": "onnx/see.onnx", "audio_encoder": "onnx/hear.onnx", "embed_tokens": "onnx/embed_tokens.onnx",
				"decoder": "onnx/write.onnx"}},
		"openclip-immich": {
			map[string]string{"visual/model.onnx": "visual.onnx", "textual/model.onnx": "textual.onnx"},
			map[string]string{"vision_encoder": "visual.onnx", "text_encoder": "textual.onnx"}},
		"openclip-siglip-immich": {
			map[string]string{"visual/model.onnx": "visual/net.onnx", "textual/model.onnx": "textual/net.onnx"},
			map[string]string{"vision_encoder": "visual/net.onnx", "text_encoder": "textual/net.onnx"}},
		"siglip2-transformersjs": {
			map[string]string{"onnx/vision_model_fp16.onnx": "onnx/image_fp16.onnx", "onnx/text_model.onnx": "onnx/words.onnx"},
			map[string]string{"vision_encoder": "onnx/image_fp16.onnx", "text_encoder": "onnx/words.onnx"}},
	} {
		fsys := fstest.MapFS{"damaged.onnx": {Data: []byte("no graph")}}
		add := func(name, as string) {
			data, err := os.ReadFile("../testdata/layouts/" + layout + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			fsys[as] = &fstest.MapFile{Data: data}
		}
		add("config.json", "config.json")
		for name, as := range c.names {
			add(name, as)
		}
		b, err := models.OpenFS(fsys, known)
		if err != nil {
			t.Errorf("%s: %v", layout, err)
			continue
		}
		if !maps.Equal(b.Graphs, c.graphs) {
			t.Errorf("%s: graphs %v, want %v", layout, b.Graphs, c.graphs)
		}
	}
}
