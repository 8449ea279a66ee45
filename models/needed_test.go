package models_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models"
)

func TestNeeded(t *testing.T) {
	t.Parallel()
	clip := "../testdata/layouts/clip-transformersjs/"
	// As onnx-community and Xenova lay out a CLIP, with weights of other frameworks beside.
	names := strings.Fields(`.gitattributes README.md LICENSE config.json preprocessor_config.json
		tokenizer.json tokenizer_config.json special_tokens_map.json vocab.json merges.txt quantize_config.json
		model.safetensors pytorch_model.bin model.safetensors.index.json
		onnx/model.onnx onnx/model_fp16.onnx onnx/text_model.onnx onnx/text_model_fp16.onnx
		onnx/text_model.onnx_data onnx/text_model.onnx_data_1 onnx/text_model_fp16.onnx_data
		onnx/vision_model.onnx onnx/vision_model.onnx_data onnx/vision_model_fp16.onnx
		onnx/vision_model_q4.onnx onnx/vision_model.onnx.data`)
	small := strings.Fields(`LICENSE README.md config.json merges.txt preprocessor_config.json quantize_config.json
		special_tokens_map.json tokenizer.json tokenizer_config.json vocab.json`)
	read := func(name string) ([]byte, error) {
		if !models.IsSmall(name) {
			t.Errorf("%s was read", name)
		}
		if !slices.Contains(names, name) {
			return nil, fs.ErrNotExist
		}
		return os.ReadFile(clip + name)
	}
	for variant, graphs := range map[string]string{
		"":     "model text_model text_model_data text_model_data_1 vision_model vision_model.data vision_model_data",
		"fp16": "model_fp16 text_model_fp16 text_model_fp16_data vision_model_fp16",
	} {
		var opts []models.Option
		if opts = append(opts, known); variant != "" {
			opts = append(opts, models.WithVariant(variant))
		}
		got, err := models.Needed(names, read, opts...)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(small)
		for g := range strings.FieldsSeq(graphs) {
			base, rest, _ := strings.Cut(g, "_data")
			name := "onnx/" + base + ".onnx"
			if strings.Contains(g, "_data") {
				name += "_data" + rest
			}
			if base, ok := strings.CutSuffix(g, ".data"); ok {
				name = "onnx/" + base + ".onnx.data"
			}
			want = append(want, name)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n%v, want\n%v", variant, got, want)
		}
	}
	if _, err := models.Needed(names, read, known, models.WithVariant("q4")); !errors.Is(err, models.ErrBundle) {
		t.Errorf("q4: %v", err)
	}
	if _, err := models.Needed([]string{"a.onnx"}, read, known); !errors.Is(err, models.ErrBundle) {
		t.Errorf("no model: %v", err)
	}
}

// Of several ways to store a decoder one is fetched.
func TestNeededAlternatives(t *testing.T) {
	t.Parallel()
	// As Xenova lays out an encoder-decoder.
	names := strings.Fields(`README.md config.json generation_config.json preprocessor_config.json tokenizer.json
		onnx/decoder_model.onnx onnx/decoder_model_fp16.onnx onnx/decoder_model_quantized.onnx
		onnx/decoder_model_merged.onnx onnx/decoder_model_merged.onnx_data onnx/decoder_model_merged_fp16.onnx
		onnx/decoder_model_merged_quantized.onnx onnx/decoder_with_past_model.onnx
		onnx/decoder_with_past_model_fp16.onnx onnx/decoder_with_past_model_quantized.onnx
		onnx/decoder_with_past_model_q4.onnx onnx/encoder_model.onnx onnx/encoder_model_fp16.onnx
		onnx/encoder_model_quantized.onnx onnx/encoder_model_q4.onnx onnx/decoder_model_q4.onnx
		onnx/vision_encoder.onnx onnx/vision_encoder_fp16.onnx onnx/embed_tokens.onnx onnx/embed_tokens_fp16.onnx`)
	graphs := func(modelType, variant string, without ...string) ([]string, error) {
		opts := []models.Option{known}
		if variant != "" {
			opts = append(opts, models.WithVariant(variant))
		}
		listed := slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			return slices.Contains(without, n)
		})
		got, err := models.Needed(listed, func(name string) ([]byte, error) {
			if name == "config.json" {
				return []byte(`{"model_type":"` + modelType + `","encoder":{"model_type":"vit"}}`), nil
			}
			return nil, fs.ErrNotExist
		}, opts...)
		return slices.DeleteFunc(got, func(n string) bool { return !strings.HasPrefix(n, "onnx/") }), err
	}
	for _, c := range []struct{ modelType, variant, without, want string }{
		{"vision-encoder-decoder", "", "onnx/vision_encoder.onnx",
			"onnx/decoder_model_merged.onnx onnx/decoder_model_merged.onnx_data onnx/encoder_model.onnx"},
		{"vision-encoder-decoder", "fp16", "onnx/vision_encoder_fp16.onnx",
			"onnx/decoder_model_merged_fp16.onnx onnx/encoder_model_fp16.onnx"},
		{"vision-encoder-decoder", "q4", "",
			"onnx/decoder_model_q4.onnx onnx/decoder_with_past_model_q4.onnx onnx/encoder_model_q4.onnx"},
		{"vision-encoder-decoder", "", "onnx/vision_encoder.onnx onnx/decoder_model_merged.onnx",
			"onnx/decoder_model.onnx onnx/decoder_with_past_model.onnx onnx/encoder_model.onnx"},
		{"florence2", "fp16", "", "onnx/decoder_model_merged_fp16.onnx onnx/embed_tokens_fp16.onnx " +
			"onnx/encoder_model_fp16.onnx onnx/vision_encoder_fp16.onnx"},
	} {
		got, err := graphs(c.modelType, c.variant, strings.Fields(c.without)...)
		if want := strings.Fields(c.want); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s %q without %s: %v %v, want %v", c.modelType, c.variant, c.without, got, err, want)
		}
	}
	_, err := graphs("florence2", "q4")
	if !errors.Is(err, models.ErrBundle) || !strings.Contains(err.Error(), "vision_encoder, embed_tokens") {
		t.Errorf("a variant that is not whole: %v", err)
	}
}

// Immich's folders hold graphs for other devices, and torch's files of weights under any name.
func TestNeededOfImmich(t *testing.T) {
	t.Parallel()
	names := strings.Fields(`README.md config.json textual/fp16/model.armnn textual/model.armnn textual/model.onnx
		textual/onnx__MatMul_6421 textual/text.token_embedding.weight textual/tokenizer.json
		textual/tokenizer_config.json visual/model.onnx visual/model.rknn visual/preprocess_cfg.json
		visual/rk3588/model.rknn`)
	read := func(name string) ([]byte, error) {
		if name == "config.json" {
			return []byte(`{"vision_cfg":{},"text_cfg":{}}`), nil
		}
		return nil, fs.ErrNotExist
	}
	got, err := models.Needed(names, read, known)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(`README.md config.json textual/model.onnx textual/onnx__MatMul_6421
		textual/text.token_embedding.weight textual/tokenizer.json textual/tokenizer_config.json
		visual/model.onnx visual/preprocess_cfg.json`)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// A repository with packages of onnxruntime-genai in its folders is the one that has a graph; of several
// none is taken.
func TestPackageInFolder(t *testing.T) {
	t.Parallel()
	const config = `{"model":{"type":"llama","decoder":{"filename":"model.onnx"}}}`
	one := []string{"README.md", "LICENSE", "cpu/int4/genai_config.json=" + config, "cpu/int4/tokenizer.json",
		"cpu/int4/model.onnx", "cpu/int4/model.onnx.data", "cuda/genai_config.json=" + config, "cuda/tokenizer.json"}
	b, err := models.OpenFS(directory("", one...), known)
	if err != nil {
		t.Fatal(err)
	}
	if b.Graphs["decoder"] != "model.onnx" {
		t.Errorf("graphs %v", b.Graphs)
	}
	var names []string
	for _, file := range one {
		name, _, _ := strings.Cut(file, "=")
		names = append(names, name)
	}
	read := func(name string) ([]byte, error) { return fs.ReadFile(directory("", one...), name) }
	got, err := models.Needed(names, read, known)
	want := strings.Fields("LICENSE README.md cpu/int4/genai_config.json cpu/int4/model.onnx cpu/int4/model.onnx.data cpu/int4/tokenizer.json")
	if slices.Sort(got); err != nil || !slices.Equal(got, want) {
		t.Errorf("needed %q, %v", got, err)
	}
	two := append(slices.Clone(one), "cuda/model.onnx")
	if _, err := models.OpenFS(directory("", two...), known); !errors.Is(err, models.ErrBundle) || !strings.Contains(err.Error(), "2 packages of onnxruntime-genai here, in cpu/int4, cuda") {
		t.Errorf("two packages: %v", err)
	}
	if _, err := models.Needed(append(names, "cuda/model.onnx"), read, known); !errors.Is(err, models.ErrBundle) {
		t.Errorf("two packages: %v", err)
	}
}
