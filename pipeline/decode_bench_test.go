package pipeline

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/tensor"
)

// clock is an engine that adds up the time spent inside graphs.
type clock struct {
	engine.Engine
	inside time.Duration
}

func (c *clock) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	s, err := c.Engine.Open(ctx, source, opts)
	return &clockSession{s, c}, err
}

type clockSession struct {
	engine.Session
	clock *clock
}

func (s *clockSession) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	start := time.Now()
	defer func() { s.clock.inside += time.Since(start) }()
	return s.Session.Run(ctx, in, out...)
}

// BenchmarkDecode measures decoding with a language model of OPT-125m's size,
// 32 tokens after 32 queries and a prompt: the share of the time spent outside
// the graphs, and what a batch of 8 gains in tokens a second over single rows,
// measured in turns: over whole texts, and over the steps after the prompts, whose
// cost grows with the rows whatever is done. `make bench-decode` makes the model and runs it.
func BenchmarkDecode(b *testing.B) {
	dir := os.Getenv("XPIPE_DECODE_BENCH")
	if dir == "" {
		b.Skip("XPIPE_DECODE_BENCH names no model; run make bench-decode")
	}
	engines := []engine.Engine{goEngine}
	if library, ok := orttest.Find(); ok {
		if eng, err := ort.New(ort.WithLibrary(library)); err == nil {
			engines = append(engines, eng)
		}
	}
	for _, eng := range engines {
		b.Run(eng.Name(), func(b *testing.B) {
			c := &clock{Engine: eng}
			p, err := Open(context.Background(), dir, WithEngine(c), WithoutVerification())
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			img := loadImage(b, familiesDir+"/images/figure0.png")
			run := func(rows int) (tokens int, generate, outside, steps time.Duration) {
				requests := make([]Request, rows)
				for i := range requests {
					requests[i] = Request{Image: img, Question: "what color is the cat?"}
				}
				c.inside = 0
				texts, err := p.Generate(context.Background(), requests, unbounded(32))
				if err != nil {
					b.Fatal(err)
				}
				s := texts[0][0].Stats
				total := s.Encode + s.Generate
				return s.Tokens, s.Generate, total - c.inside, s.Generate - s.FirstToken
			}
			run(1)
			var tokens, tokens8 int
			var took, took8, outside, steps, steps8 time.Duration
			for b.Loop() {
				n, d, o, s := run(1)
				tokens, took, outside, steps = tokens+n, took+d, outside+o, steps+s
				n, d, _, s = run(8)
				tokens8, took8, steps8 = tokens8+n, took8+d, steps8+s
			}
			single, batch := float64(tokens)/took.Seconds(), float64(tokens8)/took8.Seconds()
			b.ReportMetric(single, "tokens/s")
			b.ReportMetric(batch, "tokens/s-batch8")
			b.ReportMetric(batch/single, "batch8-gain")
			b.ReportMetric(8*steps.Seconds()/steps8.Seconds(), "batch8-gain-steps")
			b.ReportMetric(100*outside.Seconds()/took.Seconds(), "%outside")
			b.ReportMetric(1000*took.Seconds()/float64(tokens), "ms/token")
		})
	}
}
