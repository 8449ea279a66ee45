package pipeline

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// goldenTexts are the texts of a golden file of a model that compares.
func goldenTexts(t *testing.T, g *golden) []string {
	t.Helper()
	var file struct {
		Texts []struct {
			Text string `json:"text"`
		} `json:"texts"`
	}
	readGolden(t, g, &file)
	var texts []string
	for _, text := range file.Texts {
		texts = append(texts, text.Text)
	}
	return texts
}

func readGolden(t *testing.T, g *golden, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// ITM and ITC of BLIP and BLIP-2 against transformers.
func TestRetrievalEqualsTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip2-itm", "blip-itm"} {
		g := loadGolden(t, name)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p := sharedGolden(t, g, eng)
				texts := goldenTexts(t, g)
				itm, itc := g.array(t, "itm_probability"), g.array(t, "itc_similarity") // [images,texts]
				for i, row := range g.Rows {
					matches, err := p.Match(context.Background(), loadImage(t, filepath.Join(g.dir, row.Image)), texts...)
					if err != nil {
						t.Fatal(err)
					}
					for j, m := range matches {
						near(t, "ITM of "+m.Text, m.Probability, float64(graph.Row(itm, i)[j]), 1e-4)
						near(t, "ITC of "+m.Text, m.Similarity, float64(graph.Row(itc, i)[j]), 1e-4)
					}
				}
			})
		})
	}
}

// Pixels and ITM of BridgeTower against transformers: texts of several lengths in one batch, and each
// alone.
func TestBridgeTowerEqualsTransformers(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "bridgetower-itm")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedGolden(t, g, eng)
		texts, itm := goldenTexts(t, g), g.array(t, "itm_probability") // [images,texts]
		for i, row := range g.Rows {
			img := loadImage(t, filepath.Join(g.dir, row.Image))
			prepared, err := p.preparePictures(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			pixels, err := g.array(t, "pixel_values").Slice(i, i+1)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "pixel_values", prepared.Tensors[graph.PixelValues], pixels, 1e-6)
			matches, err := p.Match(t.Context(), img, texts...)
			if err != nil {
				t.Fatal(err)
			}
			for j, m := range matches {
				near(t, "ITM of "+m.Text, m.Probability, float64(graph.Row(itm, i)[j]), 1e-4)
				alone, err := p.Match(t.Context(), img, m.Text)
				if err != nil {
					t.Fatal(err)
				}
				near(t, "ITM alone of "+m.Text, alone[0].Probability, m.Probability, 1e-5)
			}
		}
	})
}

// Embeddings and probabilities of CLIP and SigLIP against transformers.
func TestCLIPEqualsTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"clip", "clip-legacy", "siglip", "siglip2-naflex", "bridgetower-itc"} {
		g := loadGolden(t, name)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				p := sharedGolden(t, g, eng)
				texts := goldenTexts(t, g)
				words, err := p.EmbedTexts(ctx, texts...)
				if err != nil {
					t.Fatal(err)
				}
				want := g.array(t, "text_embeds")
				for i, w := range words {
					compare(t, "embedding of "+texts[i], tensor.Must(tensor.New([]int{len(w)}, w)), tensor.Must(tensor.New([]int{len(w)}, graph.Row(want, i))), 1e-4)
				}
				probabilities := g.array(t, "probabilities")
				for i, row := range g.Rows {
					img := loadImage(t, filepath.Join(g.dir, row.Image))
					v, err := p.EmbedImages(ctx, img)
					if err != nil {
						t.Fatal(err)
					}
					compare(t, "image embedding", tensor.Must(tensor.New([]int{len(v[0])}, v[0])), tensor.Must(tensor.New([]int{len(v[0])}, graph.Row(g.array(t, "image_embeds"), i))), 1e-4)
					matches, err := p.Match(ctx, img, texts...)
					if err != nil {
						t.Fatal(err)
					}
					for j, m := range matches {
						near(t, "probability of "+m.Text, m.Probability, float64(graph.Row(probabilities, i)[j]), 1e-4)
					}
				}
			})
		})
	}
}

// Answers of LXMERT from features in .npz and .tsv against transformers.
func TestLXMERTEqualsTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"lxmert-vqa", "lxmert-gqa"} {
		g := loadGolden(t, name)
		var file struct {
			Rows []struct {
				Text   string `json:"text"`
				Answer int    `json:"answer"`
				Label  string `json:"label"`
			} `json:"rows"`
			Files map[string]string `json:"files"`
		}
		readGolden(t, g, &file)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				p := sharedGolden(t, g, eng)
				var questions []string
				var regions []*Regions
				var requests []Request
				feats, boxes := g.array(t, "visual_feats"), g.array(t, "visual_pos")
				for i, row := range file.Rows {
					one := func(a *tensor.Tensor) *tensor.Tensor {
						picked, err := a.Take([]int{i})
						if err != nil {
							t.Fatal(err)
						}
						return tensor.Must(picked.Reshape(a.Shape()[1:]...))
					}
					r, err := NewRegions(one(feats), one(boxes), 1, 1)
					if err != nil {
						t.Fatal(err)
					}
					questions, regions = append(questions, row.Text), append(regions, r)
					requests = append(requests, Request{Question: row.Text, Regions: r})
				}
				logits, err := p.model.(family.Answerer).Answer(ctx, regions, questions)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "logits", logits, g.array(t, "logits"), 1e-4)
				texts, err := p.Generate(ctx, requests)
				if err != nil {
					t.Fatal(err)
				}
				for i, row := range file.Rows {
					if texts[i][0].Text != row.Label {
						t.Errorf("%q: %q, want %q", row.Text, texts[i][0].Text, row.Label)
					}
				}
				for f := range file.Files {
					all, err := LoadRegions(filepath.Join(g.dir, f))
					if err != nil {
						t.Fatal(err)
					}
					for id, r := range all {
						if id == "regions" || id == "figure0" {
							compare(t, f+" boxes", r.Boxes, regions[0].Boxes, 1e-5)
							compare(t, f+" features", r.Features, regions[0].Features, 1e-5)
						}
					}
				}
			})
		})
	}
}
