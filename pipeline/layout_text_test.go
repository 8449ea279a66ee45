package pipeline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/tokenize"
)

// textsDir holds language models of several types and cuts, made by
// python -m xpipe_export.golden.texts. XPIPE_TEXT_LAYOUTS names a folder with more of them.
const textsDir = "../testdata/texts"

// Language models in the cuts of other tools write PyTorch's ids: greedily, one at a time and in a
// batch of unequal lengths, and with beams.
func TestTextLayouts(t *testing.T) {
	t.Parallel()
	folders := []string{textsDir}
	if more := os.Getenv("XPIPE_TEXT_LAYOUTS"); more != "" {
		folders = append(folders, more)
	}
	for _, folder := range folders {
		dirs, err := filepath.Glob(filepath.Join(folder, "*", "golden.json"))
		if err != nil || len(dirs) == 0 {
			t.Fatal("no models in", folder, err)
		}
		for _, file := range dirs {
			dir := filepath.Dir(file)
			t.Run(filepath.Base(dir), func(t *testing.T) {
				g := decoderGoldenOf(t, dir)
				mostlyGo(t, func(t *testing.T, eng engine.Engine) { writesTexts(t, eng, dir, g.Rows) })
			})
		}
	}
}

func writesTexts(t *testing.T, eng engine.Engine, dir string, rows []decoderRow) {
	p, err := Open(t.Context(), dir, WithEngine(eng))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	greedy := func(g *Generation) { g.MaxNewTokens = 12 }
	beams := func(g *Generation) { g.MaxNewTokens, g.NumBeams = 8, 3 }
	var requests []Request
	for i, row := range rows {
		requests = append(requests, row.request(t))
		got, err := p.Generate(t.Context(), requests[i:i+1], greedy)
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
		if row.BeamIDs == nil {
			continue
		}
		if got, err = p.Generate(t.Context(), requests[i:i+1], beams); err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("beams, row ", i), got[0][0], row.BeamIDs)
	}
	got, err := p.Generate(t.Context(), requests, greedy)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		sameIDs(t, fmt.Sprint("row of a batch ", i), got[i][0], row.IDs)
	}
}

// Files of other types write what ONNX Runtime writes with the same file. testdata/variants.py makes
// them; XPIPE_VARIANTS names a folder like llama-optimum with more of them. Caches of q4f16 and q2f16
// are float16.
func TestTextVariants(t *testing.T) {
	t.Parallel()
	dir, variants := filepath.Join(layoutsDir, "llama-optimum"), []string{"q4", "q4f16", "bnb4", "q2f16", "uint8"}
	if more := os.Getenv("XPIPE_VARIANTS"); more != "" {
		dir, variants = more, []string{"fp16", "q4", "q4f16", "bnb4", "q2", "q2f16", "int8", "uint8", "quantized"}
	}
	g := loadDecoderGolden(t, "llama-optimum")
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			rows := g.Rows
			if !sweep.Whole {
				rows = rows[:1]
			}
			write := func(eng engine.Engine, options engine.Options) [][]int64 {
				p, err := Open(t.Context(), dir, WithEngine(eng), WithVariant(variant), WithEngineOptions(options))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				var all [][]int64
				for _, row := range rows { // one by one: some have one scale for a whole batch
					texts, err := p.Generate(t.Context(), []Request{row.request(t)}, func(g *Generation) { g.MaxNewTokens = 12 })
					if err != nil && variant == "q2f16" && strings.Contains(err.Error(), "nbits_ == 8") {
						t.Skip("ONNX Runtime 1.24 multiplies by no 2-bit weights in float16; 1.32 does")
					}
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, ids(texts[0][0]))
				}
				return all
			}
			// Those of dynamic int8 as written: ONNX Runtime optimises what they compute.
			want := write(runtimeEngine(t), engine.Options{NoFusion: strings.Contains(variant, "int8")})
			if got := write(goEngine, engine.Options{}); !reflect.DeepEqual(got, want) {
				t.Errorf("%v, ONNX Runtime %v", got, want)
			}
		})
	}
}

// Keys of generation_config.json change the ids as they do in transformers: those of optimum-onnx 0.1.0's
// ORTModelForCausalLM with transformers 4.57.6 on the same files, 12 new ones at most.
func TestGenerationKeys(t *testing.T) {
	t.Parallel()
	plain := []int64{196, 158, 91, 105, 51, 212, 305, 113, 86, 150, 256, 130}
	suppressed := []int64{23, 224, 44, 287, 3, 81, 225, 282, 251, 29, 186, 221}
	later := []int64{196, 158, 91, 249, 307, 256, 130, 187, 13, 224, 58, 238}
	for keys, want := range map[string][]int64{
		`{}`:                                                                plain,
		`{"suppress_tokens":[91,158,196]}`:                                  suppressed,
		`{"begin_suppress_tokens":[196]}`:                                   suppressed,
		`{"no_repeat_ngram_size":2}`:                                        plain,
		`{"bad_words_ids":[[158],[196,91]]}`:                                {196, 110, 139, 296, 61, 329, 186, 86, 61, 321, 118, 296},
		`{"eos_token_id":[331,105]}`:                                        {196, 158, 91, 105},
		`{"eos_token_id":[331,105],"min_new_tokens":5}`:                     later,
		`{"eos_token_id":[331,105],"min_length":30}`:                        later,
		`{"repetition_penalty":1.7}`:                                        plain,
		`{"num_beams":3,"length_penalty":0.6,"early_stopping":true}`:        {23, 224, 54, 61, 321, 331},
		`{"num_beams":4,"no_repeat_ngram_size":2,"min_new_tokens":6}`:       {23, 224, 54, 61, 321, 214, 125, 84, 186, 224, 320, 11},
		`{"forced_bos_token_id":7}`:                                         plain,
		`{"forced_eos_token_id":331}`:                                       {196, 158, 91, 105, 51, 212, 305, 113, 86, 150, 256, 331},
		`{"forced_eos_token_id":7}`:                                         {196, 158, 91, 105, 51, 212, 305, 113, 86, 150, 256, 7},
		`{"sequence_bias":[[[196],-20.0],[[197],10.0]]}`:                    slices.Repeat([]int64{197}, 12),
		`{"exponential_decay_length_penalty":[3,1.5]}`:                      {196, 158, 91, 105, 51, 212, 331},
		`{"temperature":0.7,"top_p":0.9,"do_sample":false}`:                 plain,
		`{"guidance_scale":1.0,"renormalize_logits":true,"use_cache":true}`: plain,
	} {
		fsys := only(t, filepath.Join(layoutsDir, "llama-optimum"))
		own := map[string]any{}
		for _, text := range []string{string(fsys["generation_config.json"].Data), keys} {
			if err := json.Unmarshal([]byte(text), &own); err != nil {
				t.Fatal(err)
			}
		}
		data, err := json.Marshal(own)
		if err != nil {
			t.Fatal(err)
		}
		fsys["generation_config.json"].Data = data
		p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Generate(t.Context(), []Request{{Prompt: "the quick brown fox and a red car"}}, WithMaxNewTokens(12))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[0][0].IDs, want) {
			t.Errorf("%s: %v, want %v", keys, got[0][0].IDs, want)
		}
		p.Close()
	}
}

// Texts lose the spaces before punctuation where transformers takes them out: as tokenizer_config.json of a
// folder says, but for BPE, and as xpipe.json of a bundle does.
func TestCleansSpaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model string
		clean bool
		want  string
	}{
		{"donut-transformersjs", true, "a cat."}, {"donut-transformersjs", false, "a cat ."},
		{"vit-gpt2-transformersjs", true, "a cat ."}, // BPE
	} {
		fsys := only(t, filepath.Join(layoutsDir, c.model))
		config := map[string]any{}
		if err := json.Unmarshal(fsys["tokenizer_config.json"].Data, &config); err != nil {
			t.Fatal(err)
		}
		config["clean_up_tokenization_spaces"] = c.clean
		fsys["tokenizer_config.json"].Data, _ = json.Marshal(config)
		p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
		if err != nil {
			t.Fatal(err)
		}
		e, err := p.texts.Tokenizer.Encode("a cat .", tokenize.WithoutSpecialTokens())
		if err != nil {
			t.Fatal(err)
		}
		if got := p.texts.Tokenizer.Decode(e.IDs, true); got != c.want {
			t.Errorf("%s, clean %v: %q, want %q", c.model, c.clean, got, c.want)
		}
		p.Close()
	}
}
