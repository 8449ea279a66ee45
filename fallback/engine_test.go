package fallback_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
)

// goldenDirs lists folders with golden cases: those in the repository, and those that XPIPE_GOLDEN
// names.
func goldenDirs(t *testing.T) []string {
	t.Helper()
	dirs := filepath.SplitList(os.Getenv("XPIPE_GOLDEN"))
	found, err := filepath.Glob("../testdata/golden/*/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		dirs = append(dirs, filepath.Dir(f))
	}
	return dirs
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, fallback.New(), enginetest.Options{
		Supported: fallback.Supported, Golden: goldenDirs(t),
	})
}

// Graphs as written must pass no less than fused ones.
func TestConformanceNoFusion(t *testing.T) {
	enginetest.Run(t, fallback.New(), enginetest.Options{
		Supported: fallback.Supported, Golden: goldenDirs(t), Open: engine.Options{NoFusion: true}, Sample: 4,
	})
}

// BenchmarkOpen opens graphs of several hundred nodes with small weights: most of the time goes
// into reading and planning.
func BenchmarkOpen(b *testing.B) {
	for _, name := range []string{
		"../testdata/families/lxmert-vqa/bundle/onnx/model.onnx",
		"../testdata/families/idefics/bundle/onnx/decoder_model_merged.onnx",
		"../models/mini/blip2-mini/onnx/decoder_model_merged.onnx",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := fallback.New().Open(b.Context(), engine.FileSource(name), engine.Options{})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}
