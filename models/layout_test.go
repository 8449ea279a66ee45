package models_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/family"
)

// directory makes a file system of config.json with the model type and empty
// files. A name may have its content behind "=".
// known are the families that package pipeline runs.
var known = family.Families.Known()

func directory(modelType string, names ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	if modelType != "" {
		fsys["config.json"] = &fstest.MapFile{Data: []byte(`{"model_type":"` + modelType + `","text_config":{"max_position_embeddings":33}}`)}
	}
	for _, name := range names {
		name, content, _ := strings.Cut(name, "=")
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		modelType string
		files     []string
		variant   string
		family    models.Family
		graphs    map[string]string
		dtype     string
	}{
		"transformers.js": {"clip", []string{"onnx/text_model.onnx", "onnx/vision_model.onnx", "onnx/text_model_fp16.onnx", "onnx/vision_model_fp16.onnx"}, "",
			family.CLIP, map[string]string{"text_encoder": "onnx/text_model.onnx", "vision_encoder": "onnx/vision_model.onnx"}, "fp32"},
		"transformers.js, variant": {"clip", []string{"onnx/text_model.onnx", "onnx/vision_model.onnx", "onnx/text_model_fp16.onnx", "onnx/vision_model_fp16.onnx"}, "fp16",
			family.CLIP, map[string]string{"text_encoder": "onnx/text_model_fp16.onnx", "vision_encoder": "onnx/vision_model_fp16.onnx"}, "float16"},
		"the plain variant by name": {"clip", []string{"onnx/model.onnx", "onnx/model_q4.onnx"}, "fp32", family.CLIP, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"only one variant":          {"siglip", []string{"onnx/model_quantized.onnx"}, "", family.CLIP, map[string]string{"model": "onnx/model_quantized.onnx"}, "int8"},
		"variants that differ by role": {"siglip", []string{"onnx/vision_model_q4f16.onnx", "onnx/text_model_uint8.onnx"}, "",
			family.CLIP, map[string]string{"vision_encoder": "onnx/vision_model_q4f16.onnx", "text_encoder": "onnx/text_model_uint8.onnx"}, "int8"},
		"whole model and towers": {"siglip", []string{"onnx/model.onnx", "onnx/text_model.onnx", "onnx/vision_model.onnx"}, "",
			family.CLIP, map[string]string{"model": "onnx/model.onnx", "text_encoder": "onnx/text_model.onnx", "vision_encoder": "onnx/vision_model.onnx"}, "fp32"},
		"a variant of the whole model only": {"clip", []string{"onnx/model_bnb4.onnx", "onnx/text_model.onnx", "onnx/vision_model.onnx"}, "bnb4",
			family.CLIP, map[string]string{"model": "onnx/model_bnb4.onnx"}, "bnb4"},
		"a graph in one type alone": {"llava", []string{"onnx/vision_encoder_fp16.onnx", "onnx/embed_tokens.onnx", "onnx/decoder_model_merged_q4.onnx", "onnx/decoder_model_merged_q4f16.onnx"}, "q4",
			family.LLaVA, map[string]string{"vision_encoder": "onnx/vision_encoder_fp16.onnx", "embed_tokens": "onnx/embed_tokens.onnx", "decoder": "onnx/decoder_model_merged_q4.onnx"}, "float16"},
		"external data": {"clip", []string{"onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_1"}, "", family.CLIP, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"optimum, flat": {"clip", []string{"model.onnx", "model.onnx_data"}, "", family.CLIP, map[string]string{"model": "model.onnx"}, "fp32"},
		"one flat, one below": {"clip", []string{"text_model.onnx", "onnx/vision_model.onnx"}, "",
			family.CLIP, map[string]string{"text_encoder": "text_model.onnx", "vision_encoder": "onnx/vision_model.onnx"}, "fp32"},
		"graphs of no role": {"clip", []string{"model.onnx", "model_O3.onnx", "onnx/audio.onnx"}, "", family.CLIP, map[string]string{"model": "model.onnx"}, "fp32"},
		"Immich": {"", []string{`config.json={"embed_dim":8,"vision_cfg":{},"text_cfg":{"context_length":9}}`,
			"visual/model.onnx", "visual/preprocess_cfg.json", "textual/model.onnx", "textual/tokenizer.json"}, "",
			family.CLIP, map[string]string{"text_encoder": "textual/model.onnx", "vision_encoder": "visual/model.onnx"}, "fp32"},
		"open_clip's own configuration": {"", []string{`open_clip_config.json={"model_cfg":{"vision_cfg":{},"text_cfg":{}},"preprocess_cfg":{}}`,
			"visual/model.onnx", "textual/model.onnx"}, "",
			family.CLIP, map[string]string{"text_encoder": "textual/model.onnx", "vision_encoder": "visual/model.onnx"}, "fp32"},
		"sentence-transformers": {"", []string{`modules.json=[{"path":"0_CLIPModel","type":"sentence_transformers.models.CLIPModel"}]`,
			`0_CLIPModel/config.json={"model_type":"clip"}`, "onnx/model.onnx"}, "", family.CLIP, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"timm": {"", []string{`config.json={"architecture":"vit","pretrained_cfg":{}}`, "onnx/model.onnx"}, "",
			family.Image, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"timm under another type": {"", []string{`config.json={"model_type":"mobilenet_v4","architecture":"m","pretrained_cfg":{}}`, "onnx/model_fp16.onnx"}, "",
			family.Image, map[string]string{"model": "onnx/model_fp16.onnx"}, "float16"},
		"transformers.js's dtype for all": {"", []string{`config.json={"model_type":"clip","transformers.js_config":{"dtype":"q8"}}`,
			"onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_fp16.onnx"}, "",
			family.CLIP, map[string]string{"model": "onnx/model_quantized.onnx"}, "int8"},
		"transformers.js's dtype by graph": {"", []string{`config.json={"model_type":"siglip","transformers.js_config":{"dtype":{"text_model":"q4"}}}`,
			"onnx/text_model.onnx", "onnx/text_model_q4.onnx", "onnx/vision_model.onnx", "onnx/vision_model_q4.onnx"}, "",
			family.CLIP, map[string]string{"text_encoder": "onnx/text_model_q4.onnx", "vision_encoder": "onnx/vision_model.onnx"}, "q4"},
		"transformers.js's dtype, of no file": {"", []string{`config.json={"model_type":"clip","transformers.js_config":{"dtype":"q4"}}`,
			"onnx/model.onnx", "onnx/model_fp16.onnx"}, "",
			family.CLIP, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"transformers.js's dtype, and another asked for": {"", []string{`config.json={"model_type":"clip","transformers.js_config":{"dtype":"q4"}}`,
			"onnx/model.onnx", "onnx/model_q4.onnx"}, "fp32",
			family.CLIP, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"a language model of another type": {"", []string{`config.json={"model_type":"mixtral","architectures":["MixtralForCausalLM"]}`, "onnx/model_q4.onnx"}, "",
			family.Text, map[string]string{"model": "onnx/model_q4.onnx"}, "q4"},
		"a package of another type": {"", []string{`genai_config.json={"model":{"type":"ernie4_5","decoder":{"filename":"model.onnx"}}}`, "model.onnx", "model.onnx.data"}, "",
			family.Text, map[string]string{"decoder": "model.onnx"}, "fp32"},
		"LiquidAI's names": {"llava", []string{"onnx/embed_images.onnx", "onnx/embed_tokens.onnx", "onnx/decoder.onnx"}, "",
			family.LLaVA, map[string]string{"vision_encoder": "onnx/embed_images.onnx", "embed_tokens": "onnx/embed_tokens.onnx", "decoder": "onnx/decoder.onnx"}, "fp32"},
		"lxmert": {"lxmert", []string{"onnx/model.onnx"}, "", family.LXMERT, map[string]string{"model": "onnx/model.onnx"}, "fp32"},
		"blip-2 with a T5": {"blip-2", []string{"onnx/vision_encoder.onnx", "onnx/qformer.onnx", "onnx/embed_tokens.onnx", "onnx/encoder_model.onnx",
			"onnx/decoder_model_merged.onnx", "onnx/decoder_model.onnx", "onnx/decoder_with_past_model.onnx", "projection.safetensors"}, "",
			family.BLIP2, map[string]string{"vision_encoder": "onnx/vision_encoder.onnx", "qformer": "onnx/qformer.onnx", "embed_tokens": "onnx/embed_tokens.onnx",
				"encoder": "onnx/encoder_model.onnx", "decoder": "onnx/decoder_model_merged.onnx"}, "fp32"},
		"instructblip": {"instructblip", []string{"onnx/vision_encoder_int8.onnx", "onnx/qformer.onnx", "onnx/embed_tokens.onnx", "onnx/decoder_model_merged_int8.onnx", "projection.safetensors"}, "",
			family.BLIP2, map[string]string{"vision_encoder": "onnx/vision_encoder_int8.onnx", "qformer": "onnx/qformer.onnx", "embed_tokens": "onnx/embed_tokens.onnx",
				"decoder": "onnx/decoder_model_merged_int8.onnx"}, "int8"},
		"blip retrieval": {"blip", []string{"vision_encoder.onnx", "matcher.onnx", "text_model.onnx", "projection.safetensors"}, "",
			family.BLIP, map[string]string{"vision_encoder": "vision_encoder.onnx", "matcher": "matcher.onnx", "text_encoder": "text_model.onnx"}, "fp32"},
		"onnxruntime-genai": {"blip-2", []string{`genai_config.json={"model":{"type":"other","vision":{"filename":"v.onnx"},"embedding":{"filename":"onnx/e.onnx"},"decoder":{"filename":"model.onnx"}}}`,
			"v.onnx", "onnx/e.onnx", "model.onnx", "qformer.onnx", "projection.safetensors"}, "",
			family.BLIP2, map[string]string{"vision_encoder": "v.onnx", "embed_tokens": "onnx/e.onnx", "decoder": "model.onnx", "qformer": "qformer.onnx"}, "fp32"},
	} {
		b, err := models.OpenFS(directory(c.modelType, c.files...), models.WithVariant(c.variant), known)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b.Family != c.family || !maps.Equal(b.Graphs, c.graphs) || b.DType != c.dtype {
			t.Errorf("%s: family %s, graphs %v, dtype %s, want %s, %v, %s", name, b.Family, b.Graphs, b.DType, c.family, c.graphs, c.dtype)
		}
	}
}

// What a layout leaves unsaid is in the xpipe.json that stands for it.
func TestLayoutManifest(t *testing.T) {
	t.Parallel()
	for modelType, want := range map[string]string{
		"clip":   `{"scores":"softmax","text_padding":"longest","limits":{"max_text":33},"prompts":{"classify":"a photo of a {}"}}`,
		"siglip": `{"scores":"sigmoid","text_padding":"max_length","limits":{"max_text":33},"prompts":{"classify":"This is a photo of {}."}}`,
	} {
		b, err := models.OpenFS(directory(modelType, "model.onnx"), known)
		if err != nil {
			t.Fatal(err)
		}
		var got, keys map[string]any
		if err := errors.Join(b.JSON(models.ManifestName, &got), json.Unmarshal([]byte(want), &keys)); err != nil {
			t.Fatal(err)
		}
		for key, value := range keys {
			if !reflect.DeepEqual(got[key], value) {
				t.Errorf("%s: %s is %v, want %v", modelType, key, got[key], value)
			}
		}
	}
	immich, err := models.OpenFS(directory("", `config.json={"vision_cfg":{},"init_logit_bias":-10,`+
		`"text_cfg":{"context_length":64,"tokenizer_kwargs":{"clean":"canonicalize"}}}`,
		"visual/model.onnx", "textual/model.onnx", "textual/tokenizer.json=7"), known)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := immich.JSON(models.ManifestName, &got); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]any{
		"scores": "sigmoid", "text_padding": "max_length", "text_cleaning": "canonicalize",
	} {
		if got[key] != value {
			t.Errorf("Immich's SigLIP: %s is %v, want %v", key, got[key], value)
		}
	}
	if data, err := immich.File("tokenizer.json"); err != nil || string(data) != "7" || immich.Limits["max_text"] != 64 {
		t.Errorf("tokenizer %q, %v, limits %v", data, err, immich.Limits)
	}
	fsys := directory("", `config.json={"model_type":"clip","text_config":{}}`, "model.onnx", "projection.safetensors")
	b, err := models.OpenFS(fsys, known)
	if err != nil {
		t.Fatal(err)
	}
	if b.Limits["max_text"] != 77 || b.Projection != models.ProjectionName {
		t.Errorf("limits %v, projection %q", b.Limits, b.Projection)
	}
}

func TestLayoutRefuses(t *testing.T) {
	t.Parallel()
	genAI := func(file string) string {
		return `genai_config.json={"model":{"type":"phi4mm","decoder":{"filename":"` + file + `"}}}`
	}
	for name, c := range map[string]struct {
		modelType string
		files     []string
		variant   string
		want      []string // parts of the error
	}{
		"nothing known":      {"", []string{"model.onnx"}, "", []string{"no usable xpipe.json", "config.json", "Found: model.onnx"}},
		"hub's cache":        {"", []string{"refs/main=abc"}, "", []string{"hub's cache", "ORG/NAME", "snapshots/REVISION"}},
		"unknown model type": {"gemma4", []string{"onnx/model.onnx"}, "", []string{`model_type "gemma4" is not supported`, "florence2, gemma", "moondream1", "qwen2_vl, qwen3, qwen3_vl, regnet", "whisper"}},
		"half of CLIP":       {"clip_vision_model", []string{"model.onnx"}, "", []string{`"clip_vision_model"`}},
		"no model type":      {"", []string{"config.json={}", "model.onnx"}, "", []string{`model_type ""`}},
		"config no JSON":     {"", []string{"config.json={", "model.onnx"}, "", []string{"config.json: "}},
		"config no object":   {"", []string{"config.json=[1]", "model.onnx"}, "", []string{"config.json: "}},
		"Immich without texts": {"", []string{`config.json={"vision_cfg":{},"text_cfg":{}}`, "visual/model.onnx", "textual/model.rknn"}, "",
			[]string{"no whole open_clip model", "vision_encoder (visual/model.onnx)", "Missing: text_encoder; or model"}},
		"open_clip's texts no object": {"", []string{`config.json={"vision_cfg":{},"text_cfg":7}`, "visual/model.onnx"}, "", []string{"text_cfg"}},
		"modules outside": {"", []string{`modules.json=[{"path":"../x","type":"sentence_transformers.models.CLIPModel"}]`, "model.onnx"}, "",
			[]string{`modules.json: "../x" is not a path inside`}},
		"modules of texts": {"", []string{`modules.json=[{"path":"0_Transformer","type":"sentence_transformers.models.Transformer"}]`, "model.onnx"}, "",
			[]string{"no usable xpipe.json"}},
		"sounds":         {"univnet", []string{"onnx/text_model.onnx", "onnx/audio_model.onnx"}, "", []string{`model_type "univnet" is not supported`, "Found: onnx/audio_model.onnx, onnx/text_model.onnx"}},
		"no graphs":      {"clip", nil, "", []string{"no .onnx files", "Missing: vision_encoder, text_encoder; or model"}},
		"flat and below": {"clip", []string{"model.onnx", "onnx/model.onnx"}, "", []string{`the graph "model": model.onnx, onnx/model.onnx; keep one`}},
		"two names of a role": {"siglip", []string{"onnx/vision_model.onnx", "onnx/vision_encoder.onnx", "onnx/text_model.onnx"}, "",
			[]string{`"vision_encoder": onnx/vision_encoder.onnx, onnx/vision_model.onnx; keep one`}},
		"variants, none plain": {"clip", []string{"onnx/model_fp16.onnx", "onnx/model_q4.onnx"}, "", []string{"onnx/model_fp16.onnx, onnx/model_q4.onnx; choose one with --variant"}},
		"a variant twice":      {"clip", []string{"model_fp16.onnx", "onnx/model_fp16.onnx"}, "fp16", []string{"model_fp16.onnx, onnx/model_fp16.onnx; keep one"}},
		"one variant twice":    {"clip", []string{"model_fp16.onnx", "onnx/model_fp16.onnx"}, "", []string{"model_fp16.onnx, onnx/model_fp16.onnx; keep one"}},
		"variant not there":    {"clip", []string{"model.onnx", "model_fp16.onnx"}, "int8", []string{"no whole clip model in the variant int8", "Found: model (model.onnx, model_fp16.onnx)"}},
		"unknown variant":      {"clip", []string{"model.onnx"}, "fp17", []string{`no variant "fp17"`, "bnb4, fp16, fp32, int8, q1, q1f16, q2, q2f16, q4, q4f16, quantized, uint8"}},
		"half a variant":       {"clip", []string{"text_model.onnx", "text_model_q4.onnx", "vision_model.onnx", "vision_model_fp16.onnx"}, "fp16", []string{"Missing: text_encoder; or model"}},
		"variant of no graph":  {"clip", []string{"text_model.onnx", "vision_model.onnx"}, "fp16", []string{"in the variant fp16", "text_encoder (text_model.onnx)"}},
		"optimum's BLIP-2": {"blip-2", []string{"vision_encoder.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"}, "",
			[]string{"no whole blip-2 model", "decoder_model (decoder_model.onnx)", "decoder_with_past_model", "vision_encoder (vision_encoder.onnx)",
				"Missing: qformer, embed_tokens, decoder, projection.safetensors; or"}},
		"idefics": {"idefics", []string{"onnx/vision_encoder.onnx", "onnx/embed_tokens.onnx", "onnx/cross_kv.onnx", "onnx/decoder_model_merged.onnx"}, "",
			[]string{"no whole idefics model", "Missing: xpipe.json"}},
		"genai model":          {"", []string{genAI("model.onnx"), "model.onnx", "speech.onnx"}, "", []string{`model_type "phi4mm" is not supported`}},
		"genai no JSON":        {"clip", []string{"genai_config.json={", "model.onnx"}, "", []string{"genai_config.json: "}},
		"genai outside":        {"", []string{genAI("../model.onnx"), "model.onnx"}, "", []string{`genai_config.json: "../model.onnx" is not a path inside`}},
		"genai absolute":       {"", []string{genAI("/etc/passwd"), "model.onnx"}, "", []string{"not a path inside"}},
		"genai with backslash": {"", []string{genAI(`..\\\\model.onnx`), "model.onnx"}, "", []string{"not a path inside"}},
		"genai file missing":   {"blip-2", []string{genAI("gone.onnx")}, "", []string{"genai_config.json: model.decoder", "gone.onnx"}},
		"genai and optimum": {"blip-2", []string{genAI("text.onnx"), "text.onnx", "decoder_model_merged.onnx"}, "",
			[]string{`the graph "decoder": text.onnx, decoder_model_merged.onnx`}},
	} {
		_, err := models.OpenFS(directory(c.modelType, c.files...), models.WithVariant(c.variant), known)
		if !errors.Is(err, models.ErrBundle) {
			t.Errorf("%s: got %v, want models.ErrBundle", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", name, err, want)
			}
		}
	}
}

// The configurations of a layout may not lead out of it by links either.
func TestLayoutLinks(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(outside, "config.json"), []byte(`{"model_type":"clip"}`), 0o666)
	os.WriteFile(filepath.Join(dir, "model.onnx"), nil, 0o666)
	if err := os.Symlink(filepath.Join(outside, "config.json"), filepath.Join(dir, "config.json")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if _, err := models.Open(dir, known); !errors.Is(err, models.ErrBundle) || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("link out of the directory: %v", err)
	}
	os.Remove(filepath.Join(dir, "config.json"))
	os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"clip"}`), 0o666)
	b, err := models.Open(dir, known)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Name != filepath.Base(dir) {
		t.Errorf("name %q", b.Name)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "onnx")); err != nil {
		t.Fatal(err)
	}
	if _, err := models.Open(dir, known); !errors.Is(err, models.ErrBundle) {
		t.Errorf("folder onnx out of the directory: %v", err)
	}
}

func FuzzLayout(f *testing.F) {
	f.Add(`{"model_type":"clip"}`, `{"model":{"decoder":{"filename":"a.onnx"}}}`)
	f.Fuzz(func(t *testing.T, config, genAI string) {
		b, err := models.OpenFS(directory("", "model.onnx", "config.json="+config, "genai_config.json="+genAI), known)
		if err != nil && !errors.Is(err, models.ErrBundle) {
			t.Errorf("%v is no models.ErrBundle", err)
		}
		if err == nil && len(b.Graphs) == 0 {
			t.Error("opened without graphs")
		}
	})
}
