package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/nlpodyssey/safetensors"
)

// Directories as transformers.js and optimum lay them out, made by
// python -m xpipe_export.golden.layouts.
const layoutsDir = "../testdata/layouts"

type layoutGolden[M any] struct {
	Texts  []string     `json:"texts"`
	Images []string     `json:"images"`
	Models map[string]M `json:"models"`
}

type layoutModel struct {
	TextEmbeds    [][]float32 `json:"text_embeds"`
	ImageEmbeds   [][]float32 `json:"image_embeds"`
	Probabilities [][]float64 `json:"probabilities"` // [images,texts]
}

func loadLayouts(t *testing.T) (*layoutGolden[layoutModel], []image.Image) {
	t.Helper()
	return loadLayoutGolden[layoutModel](t, "golden.json")
}

// loadLayoutGolden reads a file of layoutsDir, and the pictures that it names.
func loadLayoutGolden[M any](t *testing.T, name string) (*layoutGolden[M], []image.Image) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(layoutsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	g := &layoutGolden[M]{}
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	var images []image.Image
	for _, name := range g.Images {
		images = append(images, loadImage(t, filepath.Join(familiesDir, "images", name)))
	}
	return g, images
}

func matrix(rows [][]float32) *tensor.Tensor {
	var all []float32
	for _, r := range rows {
		all = append(all, r...)
	}
	return tensor.Must(tensor.New([]int{len(rows), len(rows[0])}, all))
}

// only is a directory without some of its files.
func only(t *testing.T, dir string, without ...string) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		fsys[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range without {
		if fsys[name] == nil {
			t.Fatalf("%s has no %s", dir, name)
		}
		delete(fsys, name)
	}
	return fsys
}

// Embeddings and probabilities are transformers', whatever tool laid the graphs
// out.
func TestLayoutsEqualTransformers(t *testing.T) {
	t.Parallel()
	g, images := loadLayouts(t)
	for _, c := range []struct {
		model, variant string
		without        []string
		tolerance      float64 // of embeddings
	}{
		{model: "clip-transformersjs", tolerance: 1e-5},                  // two graphs, external data
		{model: "clip-transformersjs", variant: "fp16", tolerance: 2e-3}, // float16 arithmetic
		{model: "clip-optimum", tolerance: 1e-5},                         // one graph
		{model: "siglip-transformersjs", tolerance: 1e-5},                // all three
		{model: "siglip-transformersjs", without: []string{"onnx/text_model.onnx", "onnx/vision_model.onnx"}, tolerance: 1e-5},
		{model: "siglip-transformersjs", without: []string{"onnx/vision_model.onnx"}, tolerance: 1e-5},
	} {
		want := g.Models[c.model]
		t.Run(fmt.Sprintf("%s %s without %v", c.model, c.variant, c.without), func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				dir := filepath.Join(layoutsDir, c.model)
				if c.without != nil {
					dir = t.TempDir()
					if err := os.CopyFS(dir, only(t, filepath.Join(layoutsDir, c.model), c.without...)); err != nil {
						t.Fatal(err)
					}
				}
				p, err := Open(ctx, dir, WithEngine(sharing(t, eng)), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
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
				pictures, err := p.EmbedImages(ctx, images...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "pictures", matrix(pictures), matrix(want.ImageEmbeds), c.tolerance)
				for i, img := range images {
					matches, err := p.Match(ctx, img, g.Texts...)
					if err != nil {
						t.Fatal(err)
					}
					for j, m := range matches {
						near(t, "similarity of "+m.Text, m.Similarity, graph.Dot(want.ImageEmbeds[i], want.TextEmbeds[j]), 2*c.tolerance)
						if m.Unscaled != (c.model == "clip-transformersjs") { // which has two graphs alone
							t.Errorf("%+v", m)
						}
						if m.Unscaled {
							continue
						}
						// A difference of the cosine counts a hundredfold in the logit. Logarithms,
						// because most of CLIP's probabilities are next to nothing.
						near(t, "log probability of "+m.Text, math.Log(m.Probability), math.Log(want.Probabilities[i][j]), 100*c.tolerance)
					}
				}
				if _, err := p.Classify(ctx, images[0], "cat", "boat"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Two graphs embed and compare, but do not know the scale of their scores, unless a file beside them has
// it.
func TestWithoutScale(t *testing.T) {
	t.Parallel()
	g, images := loadLayouts(t)
	for model, c := range map[string]struct {
		without []string
		weights map[string]float32
	}{
		"siglip-transformersjs": {[]string{"onnx/model.onnx"}, map[string]float32{"logit_scale": 4, "logit_bias": 13}},
		"clip-transformersjs":   {nil, map[string]float32{"logit_scale": float32(math.Log(100))}},
	} {
		testWithoutScale(t, g, images, model, only(t, filepath.Join(layoutsDir, model), c.without...), c.weights)
	}
}

func testWithoutScale(
	t *testing.T, g *layoutGolden[layoutModel], images []image.Image, model string, fsys fstest.MapFS, weights map[string]float32,
) {
	t.Helper()
	want := g.Models[model]
	p, err := OpenFS(context.Background(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v, err := p.EmbedImages(context.Background(), images...)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "pictures", matrix(v), matrix(want.ImageEmbeds), 1e-5)
	found, err := p.Match(t.Context(), images[0], g.Texts...)
	if err != nil {
		t.Fatal(err)
	}
	for j, m := range found {
		near(t, "similarity of "+m.Text, m.Similarity, graph.Dot(want.ImageEmbeds[0], want.TextEmbeds[j]), 1e-5)
		if !m.Unscaled || m.Probability != 0 {
			t.Errorf("%s: %+v", model, m)
		}
	}
	labels, err := p.Classify(t.Context(), images[0], "cat", "boat", "house")
	if err != nil || !labels[0].Unscaled || labels[0].Similarity < labels[1].Similarity || labels[1].Similarity < labels[2].Similarity {
		t.Errorf("%s: %+v, %v", model, labels, err)
	}
	line, err := json.Marshal(labels[0])
	var again Label
	if err == nil {
		err = json.Unmarshal(line, &again)
	}
	if err != nil || again != labels[0] || !bytes.Contains(line, []byte(`"probability":null,"similarity":`)) {
		t.Errorf("%s, %+v, %v", line, again, err)
	}

	// A file with the scale can be put beside them.
	values := map[string]safetensors.TensorView{}
	for name, v := range weights {
		view, err := safetensors.NewTensorView(safetensors.F32, []uint64{1}, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		if err != nil {
			t.Fatal(err)
		}
		values[name] = view
	}
	var file bytes.Buffer
	if err := safetensors.SerializeToWriter(values, nil, &file); err != nil {
		t.Fatal(err)
	}
	fsys["projection.safetensors"] = &fstest.MapFile{Data: file.Bytes()}
	scaled, err := OpenFS(context.Background(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer scaled.Close()
	matches, err := scaled.Match(context.Background(), images[0], g.Texts...)
	if err != nil {
		t.Fatal(err)
	}
	for j, m := range matches {
		near(t, "log probability of "+m.Text, math.Log(m.Probability), math.Log(want.Probabilities[0][j]), 1e-3)
	}
}

// One graph for both encoders has no attention of the picture's alone.
func TestAttendWholeModel(t *testing.T) {
	t.Parallel()
	_, images := loadLayouts(t)
	p, err := Open(context.Background(), filepath.Join(layoutsDir, "clip-optimum"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Attend(context.Background(), Request{Image: images[0]}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

// Graphs whose outputs lie before CLIP's projection are refused.
func TestUnprojectedCLIP(t *testing.T) {
	t.Parallel()
	fsys := only(t, filepath.Join(layoutsDir, "siglip-transformersjs"), "onnx/model.onnx")
	config := bytes.Replace(fsys["config.json"].Data, []byte(`"model_type": "siglip",`), []byte(`"model_type": "clip",`), 1)
	fsys["config.json"] = &fstest.MapFile{Data: config}
	_, err := OpenFS(context.Background(), fsys, WithEngine(goEngine))
	if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "none of [image_embeds image_embeddings]") {
		t.Errorf("got %v", err)
	}
}

// A program may leave families out: their models are refused by name.
func TestWithFamilies(t *testing.T) {
	t.Parallel()
	bundle := filepath.Join(familiesDir, "clip", "bundle")
	var table family.Table
	for _, f := range family.Families {
		if f.Name != family.CLIP {
			table = append(table, f)
		}
	}
	_, err := Open(t.Context(), bundle, WithFamilies(table))
	if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), `"clip"`) {
		t.Errorf("without its family: %v", err)
	}
	clip, err := family.Families.Find(family.CLIP)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), bundle, WithFamilies(family.Table{*clip}))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}
