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
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
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
					requests = loadLayoutTexts(t, model).requests(t)
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
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
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
