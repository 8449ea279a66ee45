package pipeline

import (
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// fixBatch gives all graphs of a folder a batch of 1, as exporters with fixed shapes do.
func fixBatch(t *testing.T, fsys fstest.MapFS) fstest.MapFS {
	t.Helper()
	for name, file := range fsys {
		if !strings.HasSuffix(name, ".onnx") {
			continue
		}
		model := &pb.ModelProto{}
		if err := proto.Unmarshal(file.Data, model); err != nil {
			t.Fatal(err)
		}
		for _, v := range slices.Concat(model.Graph.Input, model.Graph.Output) {
			dims, at := v.Type.GetTensorType().GetShape().GetDim(), 0
			if v.GetName() == graph.PositionIDs && len(dims) == 3 {
				at = 1
			}
			if len(dims) >= 2 && !(strings.HasPrefix(name, "onnx/vision_encoder") && len(dims) < 4) {
				dims[at].Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: 1}
			}
		}
		data, err := proto.Marshal(model)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: data}
	}
	return fsys
}

// Graphs with a fixed batch of 1 write for several requests, and with several beams, what those do
// whose batch is free.
func TestFixedBatch(t *testing.T) {
	t.Parallel()
	for _, model := range []string{
		"vit-gpt2-transformersjs", "trocr-optimum", "florence2-transformersjs", "llama-optimum",
		"llava-transformersjs", "qwen2vl-transformersjs", "smolvlm-transformersjs",
	} {
		if !sweep.KeepsName(model, 2) {
			continue
		}
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				dir := filepath.Join(layoutsDir, model)
				free, err := Open(t.Context(), dir, WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer free.Close()
				fixed, err := OpenFS(t.Context(), fixBatch(t, only(t, dir)), WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer fixed.Close()
				var requests []Request
				if strings.Contains(model, "vit") || strings.Contains(model, "trocr") || strings.Contains(model, "florence") {
					requests = loadLayoutTexts(t, model).requests(t, nil)
				} else {
					for _, row := range loadDecoderGolden(t, model).Rows {
						requests = append(requests, row.request(t))
					}
				}
				for _, beams := range []int{1, 3} {
					options := func(g *Generation) { g.MaxNewTokens, g.NumBeams = 8, beams }
					got, err := fixed.Generate(t.Context(), requests, options)
					if err != nil {
						t.Fatal(err)
					}
					for i := range requests {
						want, err := free.Generate(t.Context(), requests[i:i+1], options)
						if err != nil {
							t.Fatal(err)
						}
						if !slices.Equal(got[i][0].IDs, want[0][0].IDs) {
							t.Errorf("%d beams, row %d: %v, want %v", beams, i, got[i][0].IDs, want[0][0].IDs)
						}
					}
				}
			})
		})
	}
}

// Dual encoders with a fixed batch of 1 give the embeddings and the scores of those whose batch is free.
func TestFixedBatchOfDualEncoders(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"clip-transformersjs", "clip-optimum", "siglip-transformersjs", "dinov2-optimum"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				dir := filepath.Join(layoutsDir, model)
				fixed, err := OpenFS(t.Context(), fixBatch(t, only(t, dir)), WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer fixed.Close()
				free, err := Open(t.Context(), dir, WithEngine(eng))
				if err != nil {
					t.Fatal(err)
				}
				defer free.Close()
				var images []image.Image
				for i := range 3 {
					images = append(images, figure(t, fmt.Sprintf("figure%d.png", i)))
				}
				got, err := fixed.EmbedImages(t.Context(), images...)
				if err != nil {
					t.Fatal(err)
				}
				want, err := free.EmbedImages(t.Context(), images...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "pictures", matrix(got), matrix(want), 1e-6)
				if model == "dinov2-optimum" {
					return
				}
				one, err := fixed.Match(t.Context(), images[0], "a cat", "a boat on water", "x")
				if err != nil {
					t.Fatal(err)
				}
				other, err := free.Match(t.Context(), images[0], "a cat", "a boat on water", "x")
				if err != nil {
					t.Fatal(err)
				}
				for i := range other {
					near(t, "similarity", one[i].Similarity, other[i].Similarity, 1e-5)
					near(t, "probability", one[i].Probability, other[i].Probability, 1e-4)
				}
			})
		})
	}
}

// A Florence-2 whose decoder has no cache, as older exports have it, writes what the others do: one at a
// time, in a batch and with beams.
func TestFlorenceWithoutCache(t *testing.T) {
	t.Parallel()
	const merged = "onnx/decoder_model_merged.onnx"
	fsys := only(t, filepath.Join(layoutsDir, "florence2-transformersjs"))
	model := &pb.ModelProto{}
	if err := proto.Unmarshal(fsys[merged].Data, model); err != nil {
		t.Fatal(err)
	}
	for _, a := range model.Graph.Node[0].Attribute {
		if a.GetName() == "else_branch" { // the first step
			model.Graph.Node = a.G.Node
			model.Graph.Initializer = append(model.Graph.Initializer, a.G.Initializer...)
			model.Graph.Output = a.G.Output[:1]
		}
	}
	model.Graph.Input = slices.DeleteFunc(model.Graph.Input, func(v *pb.ValueInfoProto) bool {
		return strings.HasPrefix(v.GetName(), "past") || v.GetName() == "use_cache_branch"
	})
	data, err := proto.Marshal(model)
	if err != nil {
		t.Fatal(err)
	}
	fsys["onnx/decoder_model.onnx"] = &fstest.MapFile{Data: data}
	delete(fsys, merged)
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p, err := OpenFS(t.Context(), fsys, WithEngine(eng))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		g := loadLayoutTexts(t, "florence2-transformersjs")
		got, err := p.Generate(t.Context(), g.requests(t, nil), unbounded(g.Greedy.MaxNewTokens))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range g.Greedy.IDs {
			if !slices.Equal(ids(got[i][0]), want) {
				t.Errorf("row %d: %v, want %v", i, ids(got[i][0]), want)
			}
		}
		checkBeams(t, p, &g.golden)
	})
}

// What a graph of pictures does not declare, a run tells.
func TestUndeclaredShape(t *testing.T) {
	t.Parallel()
	images := []image.Image{figure(t, "figure0.png")}
	for _, name := range []string{"timm-encoder", "timm-classifier"} {
		dir, fsys := filepath.Join(layoutsDir, name), only(t, filepath.Join(layoutsDir, name))
		model := &pb.ModelProto{}
		if err := proto.Unmarshal(fsys["onnx/model.onnx"].Data, model); err != nil {
			t.Fatal(err)
		}
		for _, v := range model.Graph.Output {
			v.Type.GetTensorType().Shape = nil
		}
		data, err := proto.Marshal(model)
		if err != nil {
			t.Fatal(err)
		}
		fsys["onnx/model.onnx"] = &fstest.MapFile{Data: data}
		eachEngine(t, func(t *testing.T, eng engine.Engine) {
			run := func(p *Pipeline, err error) []float32 {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				embed := p.EmbedImages
				if name == "timm-classifier" {
					embed = p.Scores
				}
				rows, err := embed(t.Context(), images...)
				if err != nil {
					t.Fatal(err)
				}
				return rows[0]
			}
			got := run(OpenFS(t.Context(), fsys, WithEngine(eng)))
			want := run(Open(t.Context(), dir, WithEngine(eng)))
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		})
	}
}
