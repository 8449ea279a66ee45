package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline/graph"
)

type dualModel struct {
	layoutModel
	Scores [][]float32 `json:"scores"` // of a classifier
	Labels []string    `json:"labels"`
}

// loadDual reads what directories as Immich, sentence-transformers, timm and transformers.js lay them
// out give, made by python -m xpipe_export.golden.dual_layouts.
func loadDual(t *testing.T) (*layoutGolden[dualModel], []image.Image) {
	t.Helper()
	return loadLayoutGolden[dualModel](t, "dual.json")
}

// The folders give what the classes of transformers, open_clip, sentence-transformers and timm do.
func TestDualLayouts(t *testing.T) {
	t.Parallel()
	g, images := loadDual(t)
	for _, c := range []struct {
		model, variant string
		without        []string
		tolerance      float64 // of embeddings
	}{
		{model: "siglip2-transformersjs", tolerance: 1e-5},
		{model: "siglip2-transformersjs", variant: "fp16", tolerance: 2e-3},
		{model: "siglip2-transformersjs", without: []string{"onnx/text_model.onnx", "onnx/vision_model.onnx",
			"onnx/text_model_fp16.onnx", "onnx/vision_model_fp16.onnx",
			"onnx/text_model_quantized.onnx", "onnx/vision_model_quantized.onnx"}, tolerance: 1e-5},
		{model: "siglip2-naflex-transformersjs", tolerance: 1e-5},
		{model: "siglip2-naflex-transformersjs", tolerance: 1e-5,
			without: []string{"onnx/text_model.onnx", "onnx/vision_model.onnx"}},
		{model: "openclip-immich", tolerance: 1e-5},
		{model: "openclip-siglip-immich", tolerance: 1e-5},
		{model: "openclip-xlmr-immich", tolerance: 1e-5},
		{model: "mclip-immich", tolerance: 1e-5},
		{model: "mobileclip-transformersjs", tolerance: 1e-5},
		{model: "mobileclip-transformersjs", variant: "fp16", tolerance: 5e-3},
		{model: "chinese-clip-optimum", tolerance: 1e-5},
		{model: "jina-clip-v1", tolerance: 1e-5},
		{model: "jina-clip-v2", tolerance: 1e-5},
		{model: "jina-clip-v2", variant: "fp16", tolerance: 2e-3},
		{model: "clip-sentence-transformers", tolerance: 1e-5},
		{model: "timm-encoder", tolerance: 1e-5},
		{model: "dinov2-optimum", tolerance: 1e-5},
	} {
		want := g.Models[c.model]
		t.Run(fmt.Sprintf("%s %s without %v", c.model, c.variant, len(c.without)), func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				dir := filepath.Join(layoutsDir, c.model)
				if c.without != nil {
					dir = t.TempDir()
					whole := filepath.Join(layoutsDir, c.model)
					if err := os.CopyFS(dir, only(t, whole, c.without...)); err != nil {
						t.Fatal(err)
					}
				}
				p, err := Open(ctx, dir, WithEngine(eng), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				pictures, err := p.EmbedImages(ctx, images...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "pictures", matrix(pictures), matrix(want.ImageEmbeds), c.tolerance)
				if want.TextEmbeds == nil {
					_, err := p.EmbedTexts(ctx, "a cat")
					if !errors.Is(err, ErrUnsupported) {
						t.Errorf("texts of a model of pictures: %v", err)
					}
					return
				}
				words, err := p.EmbedTexts(ctx, g.Texts...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "texts", matrix(words), matrix(want.TextEmbeds), c.tolerance)
				alone, err := p.EmbedTexts(ctx, g.Texts[3]) // shorter than the batch
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "a text alone", matrix(alone), matrix(want.TextEmbeds[3:4]), c.tolerance)
				whole := p.Bundle().Has(graph.Model)
				matches, err := p.Match(ctx, images[0], g.Texts...)
				if want.Probabilities == nil || !whole {
					return // what scores are where no file has their scale is another test's
				}
				if err != nil {
					t.Fatal(err)
				}
				for j, m := range matches {
					near(t, "log probability of "+m.Text, math.Log(m.Probability),
						math.Log(want.Probabilities[0][j]), 100*c.tolerance)
				}
			})
		})
	}
}

// A classifier gives its own labels, and says what it cannot do.
func TestImageClassifier(t *testing.T) {
	t.Parallel()
	g, images := loadDual(t)
	want := g.Models["timm-classifier"]
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		ctx := context.Background()
		p, err := Open(ctx, filepath.Join(layoutsDir, "timm-classifier"), WithEngine(eng))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		scores, err := p.Scores(ctx, images...)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "scores", matrix(scores), matrix(want.Scores), 1e-5)
		for i, img := range images {
			labels, err := p.Classify(ctx, img)
			if err != nil {
				t.Fatal(err)
			}
			best := want.Labels[graph.Argmax(want.Scores[i])]
			if len(labels) != len(want.Labels) || labels[0].Label != best {
				t.Errorf("picture %d: %v, want %s", i, labels, best)
			}
		}
		if a := p.Abilities(); !a.Classify || a.Embed || a.Match {
			t.Errorf("abilities %+v", a)
		}
		if _, err := p.Classify(ctx, images[0], "cat"); !errors.Is(err, ErrUnsupported) {
			t.Errorf("with labels: %v", err)
		}
		if _, err := p.EmbedImages(ctx, images[0]); !errors.Is(err, ErrUnsupported) ||
			!strings.Contains(err.Error(), "logits") {
			t.Errorf("embed: %v", err)
		}
	})
}

// Labels that are not there are missed by name, and only where they are asked for.
func TestClassifierWithoutNames(t *testing.T) {
	t.Parallel()
	_, images := loadDual(t)
	for config, says := range map[string]string{
		`{"architecture":"x","num_classes":5,"pretrained_cfg":{"input_size":[3,32,32]}}`: "label_names",
		`{"model_type":"vit","id2label":{"0":"LABEL_0","1":"LABEL_1","2":"LABEL_2",` +
			`"3":"LABEL_3","4":"LABEL_4"},"pretrained_cfg":{"input_size":[3,32,32]}}`: "id2label",
	} {
		fsys := only(t, filepath.Join(layoutsDir, "timm-classifier"))
		fsys["config.json"] = &fstest.MapFile{Data: []byte(config)}
		p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Classify(t.Context(), images[0]); !errors.Is(err, ErrUnsupported) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", config, err)
		}
		if rows, err := p.Scores(t.Context(), images[0]); err != nil || len(rows[0]) != 5 {
			t.Errorf("scores: %v, %v", rows, err)
		}
	}
	fsys := only(t, filepath.Join(layoutsDir, "timm-classifier"))
	fsys["config.json"] = &fstest.MapFile{Data: []byte(`{"model_type":"vit","id2label":{"4":"e",` +
		`"0":"a","1":"b","2":"c","3":"d"},"pretrained_cfg":{"input_size":[3,32,32]}}`)}
	named, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	if classes, err := named.Classes(); err != nil || strings.Join(classes, "") != "abcde" {
		t.Errorf("classes %v, %v", classes, err)
	}
	fsys["config.json"] = &fstest.MapFile{Data: []byte(
		`{"architecture":"x","num_classes":5,"label_names":["a"],"pretrained_cfg":{}}`)}
	if _, err := OpenFS(t.Context(), fsys, WithEngine(goEngine)); !errors.Is(err, ErrBundle) {
		t.Errorf("one name for five classes: %v", err)
	}
	p, err := Open(t.Context(), filepath.Join(layoutsDir, "timm-encoder"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Classify(t.Context(), images[0]); !errors.Is(err, ErrUnsupported) {
		t.Errorf("classes of an encoder: %v", err)
	}
}

// Older versions of sentence-transformers put the model's files in a folder, which modules.json
// names.
func TestSentenceTransformersFolder(t *testing.T) {
	t.Parallel()
	g, images := loadDual(t)
	fsys := only(t, filepath.Join(layoutsDir, "clip-sentence-transformers"))
	for _, name := range []string{"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"} {
		fsys["0_CLIPModel/"+name] = fsys[name]
		delete(fsys, name)
	}
	modules := strings.Replace(string(fsys["modules.json"].Data), `"path": ""`, `"path": "0_CLIPModel"`, 1)
	fsys["modules.json"] = &fstest.MapFile{Data: []byte(modules)}
	p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	words, err := p.EmbedTexts(t.Context(), g.Texts...)
	if err != nil {
		t.Fatal(err)
	}
	want := g.Models["clip-sentence-transformers"]
	compare(t, "texts", matrix(words), matrix(want.TextEmbeds), 1e-5)
	pictures, err := p.EmbedImages(t.Context(), images...)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "pictures", matrix(pictures), matrix(want.ImageEmbeds), 1e-5)
}

// Quantized files give on the Go engine what they give on ONNX Runtime without its optimization,
// whose levels differ from each other on such graphs.
func TestQuantizedDualLayouts(t *testing.T) {
	t.Parallel()
	g, images := loadDual(t)
	for _, model := range []string{"siglip2-transformersjs", "jina-clip-v2"} {
		t.Run(model, func(t *testing.T) {
			var pictures, words [][][]float32
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
				options := engine.Options{NoFusion: true}
				p, err := Open(t.Context(), filepath.Join(layoutsDir, model), WithEngine(eng),
					WithVariant("quantized"), WithEngineOptions(options))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				// One by one: such a graph has one step for all rows of a batch.
				var rows, lines [][]float32
				for i := range images {
					row, err := p.EmbedImages(t.Context(), images[i])
					if err != nil {
						t.Fatal(err)
					}
					rows = append(rows, row...)
				}
				for _, text := range g.Texts {
					line, err := p.EmbedTexts(t.Context(), text)
					if err != nil {
						t.Fatal(err)
					}
					lines = append(lines, line...)
				}
				pictures, words = append(pictures, rows), append(words, lines)
			})
			for i := 1; i < len(pictures); i++ {
				compare(t, "pictures", matrix(pictures[i]), matrix(pictures[0]), 1e-4)
				compare(t, "texts", matrix(words[i]), matrix(words[0]), 1e-4)
			}
		})
	}
}

// Without its encoder of texts CLIP embeds pictures as ever, and says what it lacks.
func TestItemsAlone(t *testing.T) {
	t.Parallel()
	picture := image.NewGray(image.Rect(0, 0, 30, 20))
	whole, alone := sharedEmbedded(t, mini.CLIP, goEngine), openEmbedded(t, mini.CLIP, WithItemsAlone())
	want, err := whole.EmbedImages(t.Context(), picture)
	if err != nil {
		t.Fatal(err)
	}
	got, err := alone.EmbedImages(t.Context(), picture)
	if err != nil || !slices.Equal(got[0], want[0]) {
		t.Errorf("%v: a picture's vector differs from the whole model's", err)
	}
	if _, err := alone.EmbedTexts(t.Context(), "a dog"); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := alone.Match(t.Context(), picture, "a dog"); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
