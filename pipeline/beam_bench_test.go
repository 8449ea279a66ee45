package pipeline

import (
	"image"
	"os"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/orttest"
)

// BenchmarkBeams measures a step of beam search with four beams at BLIP's base size, where the keys
// and values of cross-attention take 42 MB a beam: 16 tokens, prefill included. `make bench-decode`
// makes the model and runs it.
func BenchmarkBeams(b *testing.B) {
	dir := os.Getenv("XPIPE_BEAM_BENCH")
	if dir == "" {
		b.Skip("XPIPE_BEAM_BENCH names no model; run make bench-decode")
	}
	engines := []engine.Engine{fallback.New()}
	if library, ok := orttest.Find(); ok {
		eng, err := ort.New(ort.WithLibrary(library))
		if err != nil {
			b.Fatal(err)
		}
		engines = append(engines, eng)
	}
	const tokens = 16
	for _, eng := range engines {
		b.Run(eng.Name(), func(b *testing.B) {
			p, err := Open(b.Context(), dir, WithEngine(eng), WithoutVerification())
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			request := Request{Image: image.NewRGBA(image.Rect(0, 0, 384, 384))}
			var took time.Duration
			for b.Loop() {
				texts, err := p.Generate(b.Context(), []Request{request}, unbounded(tokens),
					func(g *Generation) { g.NumBeams = 4 })
				if err != nil {
					b.Fatal(err)
				}
				took += texts[0][0].Stats.Generate
			}
			b.ReportMetric(1000*took.Seconds()/float64(b.N*tokens), "ms/step")
		})
	}
}
