package pipeline

import (
	"image"
	"slices"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/pipeline/decode"
)

// Attention is that of the call alone, whatever others have written at the same time.
func TestAttendBesideOthers(t *testing.T) {
	t.Parallel()
	p := openEmbedded(t, "blip2-mini", WithScheduler(&decode.Scheduler{}), WithLimits(Limits{Concurrent: 32}))
	request := Request{Image: image.NewRGBA(image.Rect(0, 0, 64, 64))}
	alone, err := p.Attend(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	times := sweep.Count(t, 2, 4)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range times {
				if _, err := p.Generate(t.Context(), []Request{request, request}); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range times {
				a, err := p.Attend(t.Context(), request)
				if err != nil || !slices.Equal(a.Text.IDs, alone.Text.IDs) || !slices.Equal(a.Tokens, alone.Tokens) {
					t.Errorf("%v", err)
					continue
				}
				if _, err := a.Map(0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
