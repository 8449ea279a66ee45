package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
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
