package pipeline

import (
	"context"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// forced runs a golden model with the ids of its greedy texts, whatever its logits say, and returns the
// likeliest id of each row at each step.
func forced(t *testing.T, g *golden, p *Pipeline) (likeliest [][]int) {
	t.Helper()
	ctx := context.Background()
	prompts, err := p.prompts(g.requests(t, p))
	if err != nil {
		t.Fatal(err)
	}
	model := p.model.(family.Writer)
	segments, err := p.compose(ctx, model, prompts, new(Stats))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := model.Begin(ctx, segments)
	if err != nil {
		t.Fatal(err)
	}
	take := func(logits *tensor.Tensor, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		v, width := tensor.Data[float32](logits), logits.Dim(-1)
		var row []int
		for at := 0; at < len(v); at += width {
			row = append(row, graph.Argmax(v[at:at+width]))
		}
		likeliest = append(likeliest, row)
	}
	take(batch.Prefill(ctx))
	for step := range len(g.Greedy.IDs[0]) - 1 {
		var next []int64
		for _, row := range g.Greedy.IDs {
			next = append(next, row[step])
		}
		take(batch.Step(ctx, next))
	}
	return likeliest
}

var _ decode.Sequences

func TestPrecisionIDs(t *testing.T) {
	for _, precision := range []engine.Precision{engine.PrecisionBFloat16} {
		var tokens, same, free, freeSame int
		for _, name := range generative(t) {
			g := loadGolden(t, name)
			exact := sharedGolden(t, g, goEngine)
			other := openGolden(t, g, engine.AtPrecision(goEngine, precision))
			want, got := forced(t, g, exact), forced(t, g, other)
			n, eq := 0, 0
			for i, row := range want {
				for j, id := range row {
					n++
					if got[i][j] == id {
						eq++
					}
				}
			}
			texts, err := other.Generate(t.Context(), g.requests(t, other), unbounded(g.Greedy.MaxNewTokens))
			if err != nil {
				t.Fatal(err)
			}
			fn, feq := 0, 0
			for i, row := range g.Greedy.IDs {
				x := ids(texts[i][0])
				for j, id := range row {
					fn++
					if j < len(x) && x[j] == id {
						feq++
					}
				}
			}
			t.Logf("%s %s: forced %d of %d, free %d of %d", precision, name, eq, n, feq, fn)
			tokens, same, free, freeSame = tokens+n, same+eq, free+fn, freeSame+feq
		}
		t.Logf("%s: forced %d of %d (%.2f %%), free %d of %d (%.2f %%)", precision, same, tokens, 100*float64(same)/float64(tokens), freeSame, free, 100*float64(freeSame)/float64(free))
	}
}
