package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// picky opens graphs that fail without a picture, as some do that no size was left open in.
type picky struct{ engine.Engine }

func (e picky) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	s, err := e.Engine.Open(ctx, source, opts)
	return pickySession{s}, err
}

type pickySession struct{ engine.Session }

func (s pickySession) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	if pixels := in[graph.PixelValues]; pixels != nil && pixels.Len() == 0 {
		return nil, fmt.Errorf("%w: nothing to reshape", engine.ErrGraph)
	}
	return s.Session.Run(ctx, in, out...)
}

// Janus embeds texts without a picture, or with one that no mask names where its graph needs one.
func TestJanusWithoutPicture(t *testing.T) {
	t.Parallel()
	const model = "janus-transformersjs"
	g := loadDecoderGolden(t, model)
	p, err := Open(t.Context(), filepath.Join(layoutsDir, model), WithEngine(picky{goEngine}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, row := range g.Rows {
		got, err := p.Generate(t.Context(), []Request{row.request(t)}, func(o *Generation) { o.MaxNewTokens = g.New })
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
	}
}
